/* Turns an image upright. EXIF orientation says where row 0 and column 0 of the stored pixels belong; for the pixel (x, y)
 * of the upright image the stored pixel is, with stored size W x H:
 *   2: (W-1-x, y)   3: (W-1-x, H-1-y)   4: (x, H-1-y)
 *   5: (y, x)       6: (y, H-1-x)       7: (W-1-y, H-1-x)   8: (W-1-y, x) */
#include <stdlib.h>
#include <string.h>

#include "vision/decode.h"

lks_status lks_image_orient(lks_image *image, int orientation, const char *name, lks_error *err)
{
    if (orientation < 2 || orientation > 8)
        return LKS_OK;
    const bool transposed = orientation >= 5;
    const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const int width = transposed ? image->height : image->width;
    const int height = transposed ? image->width : image->height;
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3);
    if (!rgb)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory turning %d x %d pixels upright", name, width,
                             height);

    /* Bytes from one stored pixel to the next as x or y of the upright image grows. */
    const ptrdiff_t right = flip_x ? -3 : 3;
    const ptrdiff_t down = (flip_y ? -3 : 3) * (ptrdiff_t)image->width;
    const ptrdiff_t step_x = transposed ? down : right, step_y = transposed ? right : down;
    const uint8_t *first = image->rgb;
    if (flip_x)
        first += 3 * (ptrdiff_t)(image->width - 1);
    if (flip_y)
        first += 3 * (ptrdiff_t)image->width * (image->height - 1);
    uint8_t *to = rgb;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++, to += 3) {
            const uint8_t *from = first + y * step_y + x * step_x;
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
    free(image->rgb);
    *image = (lks_image){.width = width, .height = height, .rgb = rgb};
    return LKS_OK;
}
