/* The languages of a model: see languages.h. */
#include "apps/captioner/languages.h"

#include <stdio.h>
#include <string.h>

#include "apps/captioner/model.h"
#include "fusion/json.h"

static lks_status find_token(int32_t *out, const lks_tokenizer *tokenizer, const char *token, const char *path,
                             lks_error *err)
{
    int id = lks_tokenizer_id(tokenizer, token);
    if (id < 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: the tokenizer has no token '%s'", path, token);
    *out = id;
    return LKS_OK;
}

static lks_status parse_language(lks_language *out, const json_t *item, const lks_tokenizer *tokenizer,
                                 const char *path, lks_error *err)
{
    const char *code = lks_json_string(item, "code", ""), *form = lks_json_string(item, "form", "");
    bool words = strcmp(form, "words") == 0;
    if (!*code || strlen(code) >= sizeof out->code || (!words && strcmp(form, "plain") != 0))
        return lks_error_set(err, LKS_ERR_MODEL, "%s: a language needs a short code and the form words or plain", path);
    snprintf(out->code, sizeof out->code, "%s", code);
    out->form = words ? LKS_SENTENCE_WORDS : LKS_SENTENCE_PLAIN;
    return find_token(&out->token, tokenizer, lks_json_string(item, "token", ""), path, err);
}

lks_status lks_languages_parse(lks_languages *out, const json_t *config, const lks_tokenizer *tokenizer,
                               const char *path, lks_error *err)
{
    lks_languages l = {.fill_token = -1, .mask_token = -1};
    const json_t *list = json_object_get(config, "languages"), *fill = json_object_get(config, "fill");
    size_t n = json_array_size(list);
    if (n > LKS_MAX_LANGUAGES)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: %zu languages, more than the %d that are served", path, n,
                             LKS_MAX_LANGUAGES);
    lks_status st = LKS_OK;
    for (size_t i = 0; i < n && st == LKS_OK; i++)
        st = parse_language(&l.items[i], json_array_get(list, i), tokenizer, path, err);
    l.n = (int)n;
    if (st == LKS_OK && json_is_object(fill)) {
        const char *mask = lks_json_string(fill, "mask", "");
        if (!*mask || strlen(mask) >= sizeof l.mask)
            return lks_error_set(err, LKS_ERR_MODEL, "%s: 'fill' needs a short 'mask'", path);
        snprintf(l.mask, sizeof l.mask, "%s", mask);
        st = find_token(&l.mask_token, tokenizer, mask, path, err);
        if (st == LKS_OK)
            st = find_token(&l.fill_token, tokenizer, lks_json_string(fill, "token", ""), path, err);
    }
    if (st == LKS_OK)
        *out = l;
    return st;
}

/* "en, de, fr and cs" */
static void list_codes(char *text, size_t n, const lks_languages *languages)
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < languages->n && at < n; i++) {
        const char *join = i == 0 ? "" : i + 1 < languages->n ? ", " : " and ";
        at += (size_t)snprintf(text + at, n - at, "%s%s", join, languages->items[i].code);
    }
}

lks_status lks_languages_find(const lks_language **out, const lks_languages *languages, const char *code,
                              lks_error *err)
{
    if (languages->n == 0)
        return lks_error_set(
            err, LKS_ERR_UNSUPPORTED,
            "this model knows one language only and cannot be asked for another; open one that has several "
            "(apps/train/README.md makes one)");
    for (int i = 0; i < languages->n; i++)
        if (!code || strcmp(languages->items[i].code, code) == 0) {
            *out = &languages->items[i];
            return LKS_OK;
        }
    char known[LKS_MAX_LANGUAGES * 12];
    list_codes(known, sizeof known, languages);
    return lks_error_set(err, LKS_ERR_ARGUMENT, "the language '%s' is not among those of this model: %s", code, known);
}

const char *lks_model_language(const lks_model *model, size_t i)
{
    return i < (size_t)model->languages.n ? model->languages.items[i].code : NULL;
}
