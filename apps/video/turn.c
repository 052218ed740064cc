/* Quarter turns and mirrors: see turn.h. */
#include "apps/video/turn.h"

#include <math.h>
#include <string.h>

static int sign(double v)
{
    return v > 0.0 ? 1 : -1;
}

turn turn_of_matrix(const int32_t matrix[9])
{
    double a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    if (a * d - b * c == 0.0)
        return TURN_NONE;
    int upright = fabs(a) + fabs(d) >= fabs(b) + fabs(c);
    if (upright)
        return (turn){.xx = sign(a), .yy = sign(d)};
    return (turn){.xy = sign(c), .yx = sign(b)};
}

int turn_is_sideways(turn t)
{
    return t.xx == 0;
}

void turn_pixels(uint8_t *to, const uint8_t *from, int width, int height, size_t stride, turn t)
{
    long new_width = turn_is_sideways(t) ? height : width;
    long shift_x = t.xx + t.xy < 0 ? new_width - 1 : 0;
    long shift_y = t.yx + t.yy < 0 ? (turn_is_sideways(t) ? width : height) - 1 : 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            long new_x = t.xx * x + t.xy * y + shift_x, new_y = t.yx * x + t.yy * y + shift_y;
            memcpy(to + (new_y * new_width + new_x) * 3, from + (size_t)y * stride + (size_t)x * 3, 3);
        }
}
