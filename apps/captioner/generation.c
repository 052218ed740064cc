/* Generation defaults: which tokens start and end a caption, and how it is searched, as transformers would decide. */
#include "apps/captioner/model.h"
#include "fusion/json.h"

/* Where a key may stand, in order of precedence. */
typedef struct sources {
    const json_t *objects[3];
    const char *path;
    lks_error *err;
} sources;

static const json_t *lookup(const sources *from, const char *key)
{
    for (int i = 0; i < 3; i++) {
        const json_t *item = json_object_get(from->objects[i], key);
        if (item && !json_is_null(item))
            return from->objects[i];
    }
    return NULL;
}

static lks_status get_int(int *value, const sources *from, const char *key, int low, int high)
{
    return lks_json_int(value, lookup(from, key), key, *value, low, high, from->path, from->err);
}

static lks_status get_float(float *value, const sources *from, const char *key)
{
    return lks_json_float(value, lookup(from, key), key, (double)*value, from->path, from->err);
}

/* A token id, or the first of a list. */
static lks_status get_token(int32_t *value, const sources *from, const char *key)
{
    const json_t *owner = lookup(from, key), *item = json_object_get(owner, key);
    if (json_is_array(item) && json_array_size(item) > 0)
        item = json_array_get(item, 0);
    if (!item)
        return LKS_OK;
    if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) > INT32_MAX)
        return lks_error_set(from->err, LKS_ERR_MODEL, "%s: '%s' is not a token id", from->path, key);
    *value = (int32_t)json_integer_value(item);
    return LKS_OK;
}

/* One id or a list of ids. */
static lks_status get_tokens(int32_t *values, int *n, int capacity, const sources *from, const char *key)
{
    const json_t *owner = lookup(from, key), *item = json_object_get(owner, key);
    if (!item)
        return LKS_OK;
    size_t count = json_is_array(item) ? json_array_size(item) : 1;
    *n = 0;
    for (size_t i = 0; i < count && *n < capacity; i++) {
        const json_t *id = json_is_array(item) ? json_array_get(item, i) : item;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return lks_error_set(from->err, LKS_ERR_MODEL, "%s: '%s' is not a token id", from->path, key);
        values[(*n)++] = (int32_t)json_integer_value(id);
    }
    return LKS_OK;
}

static lks_status get_early_stopping(int *value, const sources *from)
{
    const json_t *item = json_object_get(lookup(from, "early_stopping"), "early_stopping");
    if (json_is_string(item))
        *value = 2; /* "never" */
    else if (item)
        *value = json_is_true(item) ? 1 : 0;
    return LKS_OK;
}

lks_status lks_generation_parse(lks_generation *out, const json_t *generation, const json_t *config,
                                const json_t *text_config, bool blip, const char *path, lks_error *err)
{
    /* BLIP's generate() runs the text decoder alone, so only its configuration counts. */
    sources from = {.objects = {blip ? NULL : generation, blip ? NULL : config, text_config}, .path = path, .err = err};
    lks_generation g = {0};
    lks_search_options *s = &g.search;
    lks_search_defaults(s);
    int32_t bos = blip ? 30522 : -1, start = -1;
    s->pad_token = blip ? 0 : -1;
    if (blip) {
        g.end_tokens[0] = 102;
        s->n_end_tokens = 1;
    }
    int max_length = 0, max_new = 0;
    lks_status st;
    if ((st = get_token(&bos, &from, "bos_token_id")) != LKS_OK ||
        (st = get_token(&start, &from, "decoder_start_token_id")) != LKS_OK ||
        (st = get_token(&s->pad_token, &from, "pad_token_id")) != LKS_OK ||
        (st = get_tokens(g.end_tokens, &s->n_end_tokens, LKS_MAX_END_TOKENS, &from,
                         blip ? "sep_token_id" : "eos_token_id")) != LKS_OK ||
        (st = get_tokens(g.suppressed, &s->n_suppressed, LKS_MAX_SUPPRESSED, &from, "suppress_tokens")) != LKS_OK ||
        (st = get_token(&s->forced_first_token, &from, "forced_bos_token_id")) != LKS_OK ||
        (st = get_token(&s->forced_last_token, &from, "forced_eos_token_id")) != LKS_OK ||
        (st = get_int(&s->n_beams, &from, "num_beams", 1, 256)) != LKS_OK ||
        (st = get_int(&max_length, &from, "max_length", 0, 1 << 20)) != LKS_OK ||
        (st = get_int(&max_new, &from, "max_new_tokens", 0, 1 << 20)) != LKS_OK ||
        (st = get_int(&s->min_tokens, &from, "min_new_tokens", 0, 1 << 20)) != LKS_OK ||
        (st = get_int(&s->no_repeat_ngram, &from, "no_repeat_ngram_size", 0, 1 << 20)) != LKS_OK ||
        (st = get_float(&s->length_penalty, &from, "length_penalty")) != LKS_OK ||
        (st = get_float(&s->repetition_penalty, &from, "repetition_penalty")) != LKS_OK ||
        (st = get_early_stopping(&s->early_stopping, &from)) != LKS_OK ||
        (st = lks_calibration_parse(&g.calibration, generation, path, err)) != LKS_OK)
        return st;
    s->start_token = blip || start < 0 ? bos : start;
    if (s->start_token < 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: neither decoder_start_token_id nor bos_token_id is given", path);
    if (max_new > 0)
        s->max_tokens = max_new;
    else if (max_length > 1)
        s->max_tokens = max_length - 1;
    if (s->pad_token < 0 && s->n_end_tokens > 0)
        s->pad_token = g.end_tokens[0];
    *out = g;
    out->search.end_tokens = out->end_tokens;
    out->search.suppressed = out->suppressed;
    return LKS_OK;
}
