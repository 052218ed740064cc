/* Source texts: see source.h. */
#include "apps/captioner/source.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

lks_status lks_source_check(const lks_model *model, const char *task, lks_error *err)
{
    if (model->reader && model->languages.n > 0 && model->generation.search.n_end_tokens > 0)
        return LKS_OK;
    return lks_error_set(
        err, LKS_ERR_UNSUPPORTED,
        "%s: this model captions pictures but cannot %s; open one that reads texts (apps/train/README.md "
        "makes one)",
        model->path, task);
}

lks_status lks_source_encode(lks_source *out, const lks_model *model, const lks_language *language, const char *text,
                             const char *kept, lks_error *err)
{
    char *clean = lks_sentence_clean(text, strlen(text), language->form, kept);
    if (!clean)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    if (!*clean) {
        free(clean);
        return lks_error_set(err, LKS_ERR_ARGUMENT, "the text has no words");
    }
    int32_t *ids = NULL;
    size_t n = 0;
    lks_status st = lks_tokenizer_encode(model->tokenizer, &ids, &n, clean, strlen(clean), false, err);
    free(clean);
    if (st != LKS_OK)
        return st;
    int32_t *tokens = n < INT_MAX - 2 ? malloc((n + 2) * sizeof *tokens) : NULL;
    if (!tokens) {
        free(ids);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    tokens[0] = language->token;
    if (n > 0)
        memcpy(tokens + 1, ids, n * sizeof *tokens);
    tokens[n + 1] = model->generation.end_tokens[0];
    free(ids);
    *out = (lks_source){tokens, (int)n + 2};
    return LKS_OK;
}

void lks_source_release(lks_source *source)
{
    free(source->tokens);
    *source = (lks_source){0};
}

lks_status lks_source_attend(lks_session *session, int *n_memory, lks_features *features, double *read_ms,
                             double *encode_ms, const lks_source *source, const lks_image_source *picture,
                             lks_error *err)
{
    const lks_caption_options plain = {.size = sizeof plain};
    lks_seen seen = {.read_ms = 0.0};
    lks_status st = LKS_OK;
    if (picture)
        st = lks_session_look(session, &seen, 0, picture, &plain, err);
    lks_image_release(&seen.image);
    *read_ms += seen.read_ms;
    *encode_ms += seen.encode_ms;
    int n_image = seen.shape.n_tokens;
    double began = lks_now_ms();
    if (st == LKS_OK)
        st = lks_session_read(session, n_image, source->tokens, source->n, err);
    *encode_ms += lks_now_ms() - began;
    *n_memory = n_image + source->n;
    if (features) {
        *features = seen.features;
        features->tokens = picture ? session->memory : NULL; /* which may have moved */
    }
    return st;
}

lks_search_options lks_source_search(const lks_model *model, const int32_t *task)
{
    const lks_search_options *own = &model->generation.search;
    lks_search_options options;
    lks_search_defaults(&options);
    options.start_token = own->start_token;
    options.end_tokens = own->end_tokens;
    options.n_end_tokens = own->n_end_tokens;
    options.suppressed = own->suppressed;
    options.n_suppressed = own->n_suppressed;
    options.prompt = task;
    options.n_prompt = 1;
    return options;
}
