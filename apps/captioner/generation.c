/* Generation defaults: which tokens start and end a caption, and how it is searched, as transformers would decide. */
#include <limits.h>
#include <stdlib.h>

#include "apps/captioner/model.h"
#include "fusion/json.h"

/* Where a key may stand, in order of precedence; absent ones are NULL. Start and end tokens may stand in any; how to
 * search and what to suppress counts in generation_config.json, or in the configuration of a model without that file. */
typedef struct sources {
    const json_t *tokens[3], *settings[2];
    const char *path;
    lks_error *err;
} sources;

static sources find_sources(const json_t *generation, const json_t *config, const json_t *text_config, bool blip,
                            const char *path, lks_error *err)
{
    if (blip) /* its generate() runs the text decoder alone, which was opened without settings */
        return (sources){.tokens = {text_config}, .path = path, .err = err};
    if (json_object_size(generation) == 0) /* a GGUF file of a model without that file holds {} */
        generation = NULL;
    sources from = {.tokens = {generation, config, text_config}, .path = path, .err = err};
    from.settings[0] = generation ? generation : config;
    from.settings[1] = generation ? NULL : text_config;
    return from;
}

static const json_t *first_with(const json_t *const *objects, int n, const char *key)
{
    for (int i = 0; i < n; i++) {
        const json_t *item = json_object_get(objects[i], key);
        if (item && !json_is_null(item))
            return objects[i];
    }
    return NULL;
}

static const json_t *find_setting(const sources *from, const char *key)
{
    return first_with(from->settings, 2, key);
}

static lks_status get_int(int *value, const sources *from, const char *key, int low, int high)
{
    return lks_json_int(value, find_setting(from, key), key, *value, low, high, from->path, from->err);
}

static lks_status get_float(float *value, const sources *from, const char *key)
{
    return lks_json_float(value, find_setting(from, key), key, (double)*value, from->path, from->err);
}

static bool is_token(const json_t *item)
{
    return json_is_integer(item) && json_integer_value(item) >= 0 && json_integer_value(item) <= INT32_MAX;
}

/* A token id, or the first of a list; `owner` (may be NULL) holds the key. */
static lks_status read_token(int32_t *value, const json_t *owner, const sources *from, const char *key)
{
    const json_t *item = json_object_get(owner, key);
    if (json_is_array(item) && json_array_size(item) > 0)
        item = json_array_get(item, 0);
    if (!item)
        return LKS_OK;
    if (!is_token(item))
        return lks_error_set(from->err, LKS_ERR_MODEL, "%s: '%s' is not a token id", from->path, key);
    *value = (int32_t)json_integer_value(item);
    return LKS_OK;
}

static lks_status get_token(int32_t *value, const sources *from, const char *key)
{
    return read_token(value, first_with(from->tokens, 3, key), from, key);
}

static lks_status get_forced(int32_t *value, const sources *from, const char *key)
{
    return read_token(value, find_setting(from, key), from, key);
}

/* One id or a list of ids, malloc'ed; left as they are when the key is absent. */
static lks_status read_tokens(int32_t **values, int *n, const json_t *item, const sources *from, const char *key)
{
    size_t count = json_is_array(item) ? json_array_size(item) : 1;
    int32_t *tokens = malloc((count + 1) * sizeof *tokens);
    if (!tokens || count > INT_MAX) {
        free(tokens);
        return lks_error_set(from->err, LKS_ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(item) ? json_array_get(item, i) : item;
        if (!is_token(id)) {
            free(tokens);
            return lks_error_set(from->err, LKS_ERR_MODEL, "%s: '%s' is not a token id", from->path, key);
        }
        tokens[i] = (int32_t)json_integer_value(id);
    }
    free(*values);
    *values = tokens;
    *n = (int)count;
    return LKS_OK;
}

static lks_status get_end_tokens(int32_t **values, int *n, const sources *from, const char *key)
{
    const json_t *item = json_object_get(first_with(from->tokens, 3, key), key);
    return item ? read_tokens(values, n, item, from, key) : LKS_OK;
}

static lks_status get_suppressed(int32_t **values, int *n, const sources *from, const char *key)
{
    const json_t *item = json_object_get(find_setting(from, key), key);
    return item ? read_tokens(values, n, item, from, key) : LKS_OK;
}

/* bad_words_ids: a list of sequences that never appear. An end token alone cannot be forbidden so. */
static lks_status get_banned(lks_phrases *out, const lks_search_options *s, const sources *from)
{
    static const char key[] = "bad_words_ids";
    const json_t *list = json_object_get(find_setting(from, key), key);
    if (list && !json_is_array(list))
        return lks_error_set(from->err, LKS_ERR_MODEL, "%s: '%s' is not a list of token sequences", from->path, key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        int32_t *tokens = NULL;
        int n = 0;
        lks_status st = read_tokens(&tokens, &n, json_array_get(list, i), from, key);
        if (st == LKS_OK && !(n == 1 && lks_search_is_end(s, tokens[0])))
            st = lks_phrases_add(out, tokens, n, from->err);
        free(tokens);
        if (st != LKS_OK)
            return st;
    }
    return LKS_OK;
}

static lks_status get_early_stopping(int *value, const sources *from)
{
    const json_t *item = json_object_get(find_setting(from, "early_stopping"), "early_stopping");
    if (json_is_string(item))
        *value = 2; /* "never" */
    else if (item)
        *value = json_is_true(item) ? 1 : 0;
    return LKS_OK;
}

/* Lengths: those that count generated tokens only win over those that count start token and prompt too. */
static lks_status get_lengths(lks_search_options *s, const sources *from)
{
    int max_new = 0, min_new = -1;
    lks_status st;
    if ((st = get_int(&s->max_length, from, "max_length", 0, 1 << 20)) != LKS_OK ||
        (st = get_int(&s->min_length, from, "min_length", 0, 1 << 20)) != LKS_OK ||
        (st = get_int(&max_new, from, "max_new_tokens", 0, 1 << 20)) != LKS_OK ||
        (st = get_int(&min_new, from, "min_new_tokens", 0, 1 << 20)) != LKS_OK)
        return st;
    if (max_new > 0) {
        s->max_tokens = max_new;
        s->max_length = 0;
    } else if (s->max_length > 1) {
        s->max_tokens = s->max_length - 1;
    } else {
        s->max_length = 0;
    }
    if (min_new >= 0) {
        s->min_tokens = min_new;
        s->min_length = 0;
    }
    return LKS_OK;
}

/* null, false, {}, [] or the number at which a setting does nothing. */
static bool is_idle(const json_t *value, double neutral)
{
    if (json_is_number(value))
        return json_number_value(value) == neutral;
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0);
}

/* Settings that transformers obeys and the search here does not know: captions would be others than theirs. */
static lks_status refuse_unserved(const sources *from)
{
    static const struct {
        const char *key;
        double neutral;
    } unserved[] = {
        {"sequence_bias", 0},     {"exponential_decay_length_penalty", 0},
        {"force_words_ids", 0},   {"forced_decoder_ids", 0},
        {"stop_strings", 0},      {"renormalize_logits", 0},
        {"penalty_alpha", 0},     {"dola_layers", 0},
        {"diversity_penalty", 0}, {"num_beam_groups", 1},
        {"guidance_scale", 1},    {"watermarking_config", 0},
    };
    for (size_t i = 0; i < sizeof unserved / sizeof *unserved; i++) {
        const char *key = unserved[i].key;
        if (!is_idle(json_object_get(find_setting(from, key), key), unserved[i].neutral))
            return lks_error_set(
                from->err, LKS_ERR_UNSUPPORTED,
                "%s: its generation settings use '%s', which is not served; without that key the model "
                "opens, and its captions may differ from transformers'",
                from->path, key);
    }
    return LKS_OK;
}

/* What the settings ask for and a caption gets only from who asks for it. */
static void note_unasked(lks_generation *g, const sources *from)
{
    const json_t *n_captions = json_object_get(find_setting(from, "num_return_sequences"), "num_return_sequences");
    if (json_is_true(json_object_get(find_setting(from, "do_sample"), "do_sample")))
        g->notes[g->n_notes++] =
            "its generation settings draw captions at random (do_sample); the likeliest is written, "
            "unless sampling is asked for";
    if (json_is_integer(n_captions) && json_integer_value(n_captions) > 1)
        g->notes[g->n_notes++] = "its generation settings return several captions (num_return_sequences); the best is "
                                 "written, unless more are asked for";
}

static lks_status parse(lks_generation *g, const sources *from, bool blip)
{
    lks_search_options *s = &g->search;
    int32_t bos = blip ? 30522 : -1, start = -1;
    lks_status st;
    if ((st = get_token(&bos, from, "bos_token_id")) != LKS_OK ||
        (st = get_token(&start, from, "decoder_start_token_id")) != LKS_OK ||
        (st = get_end_tokens(&g->end_tokens, &s->n_end_tokens, from, blip ? "sep_token_id" : "eos_token_id")) !=
            LKS_OK ||
        (st = get_suppressed(&g->suppressed, &s->n_suppressed, from, "suppress_tokens")) != LKS_OK ||
        (st = get_suppressed(&g->begin_suppressed, &s->n_begin_suppressed, from, "begin_suppress_tokens")) != LKS_OK ||
        (st = get_forced(&s->forced_first_token, from, "forced_bos_token_id")) != LKS_OK ||
        (st = get_forced(&s->forced_last_token, from, "forced_eos_token_id")) != LKS_OK ||
        (st = get_int(&s->n_beams, from, "num_beams", 1, 256)) != LKS_OK || (st = get_lengths(s, from)) != LKS_OK ||
        (st = get_int(&s->no_repeat_ngram, from, "no_repeat_ngram_size", 0, 1 << 20)) != LKS_OK ||
        (st = get_float(&s->length_penalty, from, "length_penalty")) != LKS_OK ||
        (st = get_float(&s->repetition_penalty, from, "repetition_penalty")) != LKS_OK ||
        (st = get_early_stopping(&s->early_stopping, from)) != LKS_OK || (st = refuse_unserved(from)) != LKS_OK)
        return st;
    note_unasked(g, from);
    s->start_token = blip || start < 0 ? bos : start;
    if (s->start_token < 0)
        return lks_error_set(from->err, LKS_ERR_MODEL, "%s: neither decoder_start_token_id nor bos_token_id is given",
                             from->path);
    s->end_tokens = g->end_tokens;
    s->suppressed = g->suppressed;
    s->begin_suppressed = g->begin_suppressed;
    return get_banned(&g->banned, s, from);
}

/* BlipTextConfig's default sep_token_id. */
static lks_status set_blip_end(lks_generation *g, lks_error *err)
{
    g->end_tokens = malloc(sizeof *g->end_tokens);
    if (!g->end_tokens)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    g->end_tokens[0] = 102;
    g->search.n_end_tokens = 1;
    return LKS_OK;
}

lks_status lks_generation_parse(lks_generation *out, const json_t *generation, const json_t *config,
                                const json_t *text_config, bool blip, const char *path, lks_error *err)
{
    const sources from = find_sources(generation, config, text_config, blip, path, err);
    lks_generation g = {0};
    lks_search_defaults(&g.search);
    lks_status st = blip ? set_blip_end(&g, err) : LKS_OK;
    if (st == LKS_OK)
        st = parse(&g, &from, blip);
    if (st == LKS_OK)
        st = lks_calibration_parse(&g.calibration, generation, path, err);
    if (st != LKS_OK) {
        lks_generation_release(&g);
        return st;
    }
    *out = g;
    return LKS_OK;
}

void lks_generation_release(lks_generation *generation)
{
    free(generation->end_tokens);
    free(generation->suppressed);
    free(generation->begin_suppressed);
    lks_phrases_release(&generation->banned);
}
