/* bf16 linear layers: packing of weights. See fusion/bf16.h. */
#include "fusion/bf16.h"

#include <string.h>

void lks_bf16_round(uint16_t *out, const float *x, size_t n)
{
    enum { BLOCK = 64 };
    size_t i = 0;
    for (; i + BLOCK <= n; i += BLOCK)
        for (size_t k = 0; k < BLOCK; k++)
            out[i + k] = lks_bf16_from_float(x[i + k]);
    for (; i < n; i++)
        out[i] = lks_bf16_from_float(x[i]);
}

float lks_bf16_to_float(uint16_t value)
{
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

static size_t n_groups(int d_in)
{
    return ((size_t)d_in + LKS_BF16_GROUP - 1) / LKS_BF16_GROUP;
}

size_t lks_bf16_panel_count(int d_in, int d_out)
{
    size_t n_panels = ((size_t)d_out + LKS_BF16_COLUMNS - 1) / LKS_BF16_COLUMNS;
    return n_panels * n_groups(d_in) * LKS_BF16_COLUMNS * LKS_BF16_GROUP;
}

/* One output channel: its weights go LKS_BF16_COLUMNS groups apart. */
static void pack_row(uint16_t *column, const float *w, int d_in)
{
    enum { BLOCK = 256, GROUP = LKS_BF16_GROUP, STEP = LKS_BF16_COLUMNS * LKS_BF16_GROUP };
    for (int k = 0; k < d_in; k += BLOCK) {
        uint16_t values[BLOCK];
        int n = d_in - k < BLOCK ? d_in - k : BLOCK;
        lks_bf16_round(values, w + k, (size_t)n);
        if (n % GROUP)
            values[n] = 0;
        for (int i = 0; i < n; i += GROUP, column += STEP)
            memcpy(column, values + i, GROUP * sizeof *values);
    }
}

void lks_bf16_pack(uint16_t *panels, const float *w, int d_in, int row_begin, int row_end)
{
    size_t panel_count = n_groups(d_in) * LKS_BF16_COLUMNS * LKS_BF16_GROUP;
    for (int row = row_begin; row < row_end; row++) {
        uint16_t *panel = panels + (size_t)(row / LKS_BF16_COLUMNS) * panel_count;
        if (row % LKS_BF16_COLUMNS == 0)
            memset(panel, 0, panel_count * sizeof *panel);
        pack_row(panel + (size_t)(row % LKS_BF16_COLUMNS) * LKS_BF16_GROUP,
                 w + (size_t)(row - row_begin) * (size_t)d_in, d_in);
    }
}

void lks_bf16_unpack(float *row, const lks_bf16_weights *weights, int d_in, int o)
{
    enum { COLUMNS = LKS_BF16_COLUMNS, GROUP = LKS_BF16_GROUP };
    const uint16_t *panel = weights->panels + (size_t)(o / COLUMNS) * n_groups(d_in) * COLUMNS * GROUP;
    for (int k = 0; k < d_in; k++)
        row[k] = lks_bf16_to_float(panel[(k / GROUP * COLUMNS + o % COLUMNS) * GROUP + k % GROUP]);
}
