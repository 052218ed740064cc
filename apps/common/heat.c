/* Maps and pictures at the size they are shown: see heat.h. */
#include "apps/common/heat.h"

#include <math.h>

/* Which three patches of an axis a pixel mixes, and how much of each. */
typedef struct spline {
    int at[3];
    float weight[3]; /* all zero outside the grid */
} spline;

static int clamp(int value, int high)
{
    return value < 0 ? 0 : value > high ? high : value;
}

/* position: along the axis in patches, the first one's centre at 0. */
static spline spline_at(double position, int n)
{
    spline s = {0};
    if (!(position >= -0.5 && position <= n - 0.5))
        return s;
    int nearest = clamp((int)floor(position + 0.5), n - 1);
    float f = (float)(position - nearest);
    for (int k = 0; k < 3; k++)
        s.at[k] = clamp(nearest + k - 1, n - 1);
    s.weight[0] = 0.5f * (0.5f - f) * (0.5f - f);
    s.weight[1] = 0.75f - f * f;
    s.weight[2] = 0.5f * (0.5f + f) * (0.5f + f);
    return s;
}

void heat_fill(float *heat, int width, int height, const lks_caption *caption, const float *map)
{
    const lks_box *box = &caption->grid_box;
    int rows = caption->grid_rows, columns = caption->grid_columns;
    double x_step = (double)caption->width / width, y_step = (double)caption->height / height;
    float highest = 0.0f;
    for (int y = 0; y < height; y++) {
        spline down = spline_at(((y + 0.5) * y_step - box->y) / box->height * rows - 0.5, rows);
        for (int x = 0; x < width; x++) {
            spline across = spline_at(((x + 0.5) * x_step - box->x) / box->width * columns - 0.5, columns);
            float sum = 0.0f;
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++)
                    sum += down.weight[i] * across.weight[j] * map[down.at[i] * columns + across.at[j]];
            heat[(size_t)y * (size_t)width + (size_t)x] = sum;
            highest = sum > highest ? sum : highest;
        }
    }
    for (size_t i = 0; highest > 0.0f && i < (size_t)width * (size_t)height; i++)
        heat[i] /= highest;
}

void picture_fit(int *width, int *height, const lks_caption *caption, int max_width, int max_height)
{
    double scale = fmin(1.0, fmin((double)max_width / caption->width, (double)max_height / caption->height));
    *width = (int)fmax(1.0, floor(caption->width * scale + 0.5));
    *height = (int)fmax(1.0, floor(caption->height * scale + 0.5));
}

void picture_scale(uint8_t *rgb, int width, int height, const lks_caption *caption)
{
    for (int y = 0; y < height; y++) {
        int64_t top = (int64_t)y * caption->height / height, bottom = (int64_t)(y + 1) * caption->height / height;
        for (int x = 0; x < width; x++, rgb += 3) {
            int64_t left = (int64_t)x * caption->width / width, right = (int64_t)(x + 1) * caption->width / width;
            uint64_t sum[3] = {0}, n = (uint64_t)((bottom - top) * (right - left));
            for (int64_t v = top; v < bottom; v++) {
                const uint8_t *from = caption->picture + (v * caption->width + left) * 3;
                for (int64_t u = left; u < right; u++, from += 3)
                    for (int c = 0; c < 3; c++)
                        sum[c] += from[c];
            }
            for (int c = 0; c < 3; c++)
                rgb[c] = (uint8_t)((sum[c] + n / 2) / n);
        }
    }
}

void heat_glow(uint8_t out[3], const uint8_t rgb[3], float heat)
{
    static const float warm[3] = {255.0f, 150.0f, 20.0f};
    float grey = 0.299f * (float)rgb[0] + 0.587f * (float)rgb[1] + 0.114f * (float)rgb[2];
    for (int c = 0; c < 3; c++) {
        float dark = 0.3f * grey, lit = 0.78f * (float)rgb[c] + 0.22f * warm[c];
        out[c] = (uint8_t)(dark + heat * (lit - dark) + 0.5f);
    }
}
