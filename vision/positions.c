/* Bicubic interpolation of position tables: see positions.h. */
#include "vision/positions.h"

#include <math.h>
#include <stddef.h>

/* Four taps around source coordinate `at`: indices (clamped) and weights of the cubic convolution kernel. */
static void cubic_taps(int index[4], float weight[4], float at, int n)
{
    const float a = -0.75f;
    float base = floorf(at), t = at - base;
    for (int k = 0; k < 4; k++) {
        int i = (int)base + k - 1;
        index[k] = i < 0 ? 0 : i >= n ? n - 1 : i;
        float x = fabsf(t - (float)(k - 1));
        weight[k] = x <= 1.0f ? ((a + 2.0f) * x - (a + 3.0f)) * x * x + 1.0f
                              : ((a * x - 5.0f * a) * x + 8.0f * a) * x - 4.0f * a;
    }
}

void lks_positions_interpolate(float *out, int rows, int columns, const float *table, int table_rows, int table_columns,
                               int d)
{
    float row_scale = (float)table_rows / (float)rows, column_scale = (float)table_columns / (float)columns;
    for (int y = 0; y < rows; y++) {
        int row_index[4];
        float row_weight[4];
        cubic_taps(row_index, row_weight, ((float)y + 0.5f) * row_scale - 0.5f, table_rows);
        for (int x = 0; x < columns; x++) {
            int column_index[4];
            float column_weight[4];
            cubic_taps(column_index, column_weight, ((float)x + 0.5f) * column_scale - 0.5f, table_columns);
            float *cell = out + ((size_t)y * (size_t)columns + (size_t)x) * (size_t)d;
            for (int j = 0; j < d; j++)
                cell[j] = 0.0f;
            for (int r = 0; r < 4; r++)
                for (int k = 0; k < 4; k++) {
                    size_t source = (size_t)row_index[r] * (size_t)table_columns + (size_t)column_index[k];
                    const float *from = table + source * (size_t)d;
                    float weight = row_weight[r] * column_weight[k];
                    for (int j = 0; j < d; j++)
                        cell[j] += weight * from[j];
                }
        }
    }
}
