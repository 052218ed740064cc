/* Pictures turned upright: what a camera was held like stands in a clip as a matrix. */
#ifndef LOOKSAY_VIDEO_TURN_H
#define LOOKSAY_VIDEO_TURN_H

#include <stddef.h>
#include <stdint.h>

/* Where a pixel goes: x' = xx x + xy y, y' = yx x + yy y up to a shift, each row and column one entry of +1 or -1. */
typedef struct turn {
    int xx, xy, yx, yy;
} turn;

#define TURN_NONE ((turn){1, 0, 0, 1})

/* From the display matrix of a clip, 9 numbers of which a b, c d stand at 0 1, 3 4: x' = a x + c y, y' = b x + d y. Angles are
 * rounded to quarter turns, scales do not count; no rotation where it makes no sense. */
turn turn_of_matrix(const int32_t matrix[9]);

/* Whether width and height change places. */
int turn_is_sideways(turn t);

/* to [height', width', 3] = the turned from [height, width, 3], rows of `stride` bytes; height' and width' changed places when the
 * turn is sideways. */
void turn_pixels(uint8_t *to, const uint8_t *from, int width, int height, size_t stride, turn t);

#endif
