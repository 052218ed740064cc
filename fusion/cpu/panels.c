/* Packing of weights into panels: a blocked transposition. */
#include "fusion/cpu/panels.h"

#include <string.h>

#define BLOCK 16 /* inputs transposed at a time: one cache line of each weight row */

size_t lks_panels_count(int d_in, int d_out)
{
    size_t n_panels = ((size_t)d_out + LKS_PANEL - 1) / LKS_PANEL;
    return n_panels * LKS_PANEL * (size_t)d_in;
}

static void pack_strip(float *packed, const float *w, int d_in, int n_columns, int strip)
{
    if (n_columns < strip)
        memset(packed, 0, (size_t)d_in * (size_t)strip * sizeof *packed);
    for (int begin = 0; begin < d_in; begin += BLOCK) {
        int end = d_in - begin < BLOCK ? d_in : begin + BLOCK;
        for (int c = 0; c < n_columns; c++) {
            const float *row = w + (size_t)c * (size_t)d_in;
            for (int k = begin; k < end; k++)
                packed[(size_t)k * (size_t)strip + (size_t)c] = row[k];
        }
    }
}

void lks_panels_pack(float *packed, const float *w, int d_in, int column_begin, int column_end, int strip)
{
    const int end = (column_end + LKS_PANEL - 1) / LKS_PANEL * LKS_PANEL;
    for (int c = column_begin; c < end; c += strip) {
        int left = column_end - c, n_columns = left < 0 ? 0 : left < strip ? left : strip;
        const float *rows = n_columns > 0 ? w + (size_t)(c - column_begin) * (size_t)d_in : w;
        pack_strip(packed + (size_t)c * (size_t)d_in, rows, d_in, n_columns, strip);
    }
}

void lks_panels_unpack(float *row, const float *packed, int d_in, int o, int strip)
{
    const float *column = packed + (size_t)(o / strip) * (size_t)strip * (size_t)d_in + o % strip;
    for (int k = 0; k < d_in; k++)
        row[k] = column[(size_t)k * (size_t)strip];
}
