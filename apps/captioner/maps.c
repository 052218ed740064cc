/* Where the model looked: see maps.h. */
#include "apps/captioner/maps.h"

#include <stdlib.h>
#include <string.h>

lks_status lks_maps_layers(float *layers, const lks_model *model, const lks_decoder_state *state,
                           const lks_hypothesis *h, int n_prompt, int n_patches, lks_error *err)
{
    int n_prefix = lks_vit_n_prefix(model->vit), n_memory = n_prefix + n_patches, n = n_patches;
    int n_layers = lks_decoder_describe(model->decoder)->n_layers;
    float *maps = malloc((size_t)n_layers * (size_t)n_memory * sizeof *maps);
    bool kept = maps != NULL;
    for (int i = 0; kept && i < h->n_tokens; i++) {
        kept = lks_decoder_map(state, maps, h->rows[i], n_prompt + i);
        for (int layer = 0; kept && layer < n_layers; layer++, layers += n)
            memcpy(layers, maps + layer * n_memory + n_prefix, (size_t)n * sizeof *layers);
    }
    free(maps);
    return kept ? LKS_OK : lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the attention maps");
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

lks_status lks_maps_tokens(float *tokens, const lks_model *model, const lks_decoder_state *state,
                           const lks_hypothesis *h, int n_prompt, int n_patches, lks_error *err)
{
    int n_prefix = lks_vit_n_prefix(model->vit), n = n_patches;
    lks_status st = lks_decoder_credit(state, tokens, h->tokens, h->rows, n_prompt, h->n_tokens, n_prefix, err);
    for (int i = 0; st == LKS_OK && i < h->n_tokens; i++, tokens += n) {
        for (int j = 0; j < n; j++)
            tokens[j] = tokens[j] > 0.0f ? tokens[j] : 0.0f;
        normalise(tokens, n);
    }
    return st;
}

void lks_maps_word(float *map, const float *tokens, int n_tokens, int n_patches)
{
    memset(map, 0, (size_t)n_patches * sizeof *map);
    for (int i = 0; i < n_tokens; i++)
        for (int j = 0; j < n_patches; j++)
            map[j] += tokens[(size_t)i * (size_t)n_patches + (size_t)j];
    normalise(map, n_patches);
}
