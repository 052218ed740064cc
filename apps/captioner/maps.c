/* Where the model looked: see maps.h. */
#include "apps/captioner/maps.h"

#include <string.h>

void lks_maps_layers(float *layers, const lks_model *model, const lks_decoder_state *state, const lks_hypothesis *h,
                     int n_prompt)
{
    int n_memory = lks_vit_n_tokens(model->vit), n_prefix = lks_vit_n_prefix(model->vit), n = n_memory - n_prefix;
    int n_layers = lks_decoder_describe(model->decoder)->n_layers;
    for (int i = 0; i < h->n_tokens; i++) {
        const float *from = lks_decoder_map(state, h->rows[i], n_prompt + i);
        for (int layer = 0; layer < n_layers; layer++, layers += n)
            if (from)
                memcpy(layers, from + layer * n_memory + n_prefix, (size_t)n * sizeof *layers);
            else
                memset(layers, 0, (size_t)n * sizeof *layers);
    }
}

/* Scales to sum 1; what has no weight at all becomes even. */
static void normalise(float *map, int n)
{
    double sum = 0.0;
    for (int j = 0; j < n; j++)
        sum += (double)map[j];
    for (int j = 0; j < n; j++)
        map[j] = sum > 0.0 ? (float)((double)map[j] / sum) : 1.0f / (float)n;
}

/* mean [n] of rows [n_rows, n]. */
static void mean_rows(float *mean, const float *rows, int n_rows, int n)
{
    memset(mean, 0, (size_t)n * sizeof *mean);
    for (int i = 0; i < n_rows; i++)
        for (int j = 0; j < n; j++)
            mean[j] += rows[(size_t)i * (size_t)n + (size_t)j] / (float)n_rows;
}

void lks_maps_tokens(float *tokens, const float *layers, int n_tokens, int n_layers, int n_patches)
{
    for (int i = 0; i < n_tokens; i++) {
        float *to = tokens + (size_t)i * (size_t)n_patches;
        mean_rows(to, layers + (size_t)i * (size_t)n_layers * (size_t)n_patches, n_layers, n_patches);
        normalise(to, n_patches);
    }
}

void lks_maps_word(float *map, const float *tokens, int n_tokens, int n_patches)
{
    mean_rows(map, tokens, n_tokens, n_patches);
    normalise(map, n_patches);
}
