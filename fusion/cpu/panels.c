/* Packing of weights into panels: a blocked transposition. */
#include "fusion/cpu/panels.h"

#include <string.h>

#define BLOCK 16 /* inputs transposed at a time: one cache line of each weight row, 4 KiB of the panel */

size_t lks_panels_count(int d_in, int d_out)
{
    size_t n_panels = ((size_t)d_out + LKS_PANEL - 1) / LKS_PANEL;
    return n_panels * LKS_PANEL * (size_t)d_in;
}

static void pack_panel(float *panel, const float *w, int d_in, int n_columns)
{
    if (n_columns < LKS_PANEL)
        memset(panel, 0, (size_t)d_in * LKS_PANEL * sizeof *panel);
    for (int begin = 0; begin < d_in; begin += BLOCK) {
        int end = d_in - begin < BLOCK ? d_in : begin + BLOCK;
        for (int c = 0; c < n_columns; c++) {
            const float *row = w + (size_t)c * (size_t)d_in;
            for (int k = begin; k < end; k++)
                panel[(size_t)k * LKS_PANEL + (size_t)c] = row[k];
        }
    }
}

void lks_panels_pack(float *packed, const float *w, int d_in, int d_out, int column_begin, int column_end)
{
    (void)d_out;
    for (int c = column_begin; c < column_end; c += LKS_PANEL) {
        int n_columns = column_end - c < LKS_PANEL ? column_end - c : LKS_PANEL;
        pack_panel(packed + (size_t)c * (size_t)d_in, w + (size_t)(c - column_begin) * (size_t)d_in, d_in, n_columns);
    }
}
