/* What the encoder made of a picture, kept for later: see features.h. */
#include "apps/captioner/features.h"

#include <math.h>
#include <stdlib.h>

static size_t count(const lks_features *f)
{
    return (size_t)f->n_tokens * (size_t)f->d_token;
}

lks_status lks_features_copy(const lks_features **out, const lks_features *features, const lks_compute *compute,
                             lks_error *err)
{
    size_t n = count(features);
    lks_features *copy = malloc(sizeof *copy + n * sizeof *copy->tokens);
    if (!copy)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for the features of a picture");
    *copy = *features;
    float *tokens = (float *)(void *)(copy + 1);
    copy->tokens = tokens;
    compute->ops->download(compute, tokens, features->tokens, n * sizeof *tokens);
    lks_status st = compute->ops->sync(compute, err);
    if (st != LKS_OK) {
        free(copy);
        return st;
    }
    *out = copy;
    return LKS_OK;
}

lks_status lks_features_check(const lks_features *features, const lks_model *model, const lks_vit_shape *shape,
                              lks_error *err)
{
    int n_tokens = shape->n_tokens, d_token = lks_vit_width(model->vit);
    if (features->n_tokens != n_tokens || features->d_token != d_token || !features->tokens)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "features of %d x %d numbers are not this model's: it makes %d x %d", features->n_tokens,
                             features->d_token, n_tokens, d_token);
    bool sound = true;
    for (size_t i = 0; i < count(features); i++)
        sound &= isfinite(features->tokens[i]) != 0;
    return sound ? LKS_OK : lks_error_set(err, LKS_ERR_ARGUMENT, "the features of a picture are damaged");
}
