/* Rows of a map whose channels stand in planes: where the kernels that expand a map write what those that filter it read. Private to
 * fusion/cpu. */
#ifndef LKS_CPU_PLANES_H
#define LKS_CPU_PLANES_H

#include <stdint.h>

/* A panel of channels as planes of a vector of channels each; row r of the map is row r % n_rows of every plane, in the place of one
 * that is done with. */
typedef struct lks_planes {
    float *pixels; /* of the first plane: pixel 0 of row 0 */
    int width;     /* pixels of a row that are the map's */
    int n_rows;
    int64_t plane, row; /* floats from plane to plane and from row to row */
} lks_planes;

/* A walk over the pixels of a map in raster order. */
typedef struct lks_pixel_walk {
    float *row;
    int column;
} lks_pixel_walk;

static inline lks_pixel_walk lks_walk_from(const lks_planes *planes, int row, int column)
{
    return (lks_pixel_walk){planes->pixels + row % planes->n_rows * planes->row, column};
}

/* Where the next pixel is in the first plane; lanes: channels of a plane. */
static inline float *lks_next_pixel(lks_pixel_walk *walk, const lks_planes *planes, int lanes)
{
    float *pixel = walk->row + walk->column * lanes;
    if (++walk->column == planes->width) {
        walk->column = 0;
        walk->row =
            walk->row == planes->pixels + planes->plane - planes->row ? planes->pixels : walk->row + planes->row;
    }
    return pixel;
}

#endif
