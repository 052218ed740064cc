/* Normalizers: what is done to a text before it is split. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static lks_status open_replace(lks_normalizer *step, const json_t *root, const char *name, lks_error *err)
{
    step->kind = LKS_NORMALIZE_REPLACE;
    if (!lks_token_json_text(root, "content", &step->content))
        return lks_token_json_damaged(name, "a Replace normalizer has no content", err);
    if (step->content.failed)
        return lks_text_nomem(name, err);
    return lks_pattern_open(&step->pattern, json_object_get(root, "pattern"), name, err);
}

static lks_status open_charsmap(lks_normalizer *step, const json_t *root, const char *name, lks_error *err)
{
    step->kind = LKS_NORMALIZE_CHARSMAP;
    const json_t *text = json_object_get(root, "precompiled_charsmap");
    if (json_is_null(text))
        return LKS_OK;
    if (!json_is_string(text))
        return lks_token_json_damaged(name, "a Precompiled normalizer has no precompiled_charsmap", err);
    return lks_charsmap_open(&step->map, json_string_value(text), json_string_length(text), name, err);
}

static lks_status open_step(void *list_pointer, const json_t *root, const char *name, lks_error *err)
{
    static const struct {
        const char *type;
        lks_normalizer_kind kind;
        lks_form form;
    } plain[] = {
        {"NFC", LKS_NORMALIZE_FORM, LKS_NFC},
        {"NFD", LKS_NORMALIZE_FORM, LKS_NFD},
        {"NFKC", LKS_NORMALIZE_FORM, LKS_NFKC},
        {"NFKD", LKS_NORMALIZE_FORM, LKS_NFKD},
        {"Lowercase", LKS_NORMALIZE_LOWERCASE, LKS_NFC},
        {"StripAccents", LKS_NORMALIZE_STRIP_ACCENTS, LKS_NFC},
        {"Nmt", LKS_NORMALIZE_NMT, LKS_NFC},
        {"ByteLevel", LKS_NORMALIZE_BYTES, LKS_NFC},
    };
    lks_normalizers *list = list_pointer;
    lks_normalizer *step;
    lks_status st = lks_stage_new(&step, &list->at, &list->n, sizeof *step, "too many normalizers", name, err);
    if (st != LKS_OK)
        return st;
    const char *type = lks_token_json_type(root);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        if (strcmp(type, plain[i].type) == 0) {
            step->kind = plain[i].kind;
            step->form = plain[i].form;
            return LKS_OK;
        }
    }
    if (strcmp(type, "BertNormalizer") == 0) {
        step->kind = LKS_NORMALIZE_BERT;
        step->clean = lks_token_json_bool(root, "clean_text", true);
        step->han = lks_token_json_bool(root, "handle_chinese_chars", true);
        step->lowercase = lks_token_json_bool(root, "lowercase", true);
        step->strip_accents = lks_token_json_bool(root, "strip_accents", step->lowercase);
        return LKS_OK;
    }
    if (strcmp(type, "Strip") == 0) {
        step->kind = LKS_NORMALIZE_STRIP;
        step->left = lks_token_json_bool(root, "strip_left", true);
        step->right = lks_token_json_bool(root, "strip_right", true);
        return LKS_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        step->kind = LKS_NORMALIZE_PREPEND;
        if (!lks_token_json_text(root, "prepend", &step->content))
            return lks_token_json_damaged(name, "a Prepend normalizer has no text", err);
        return step->content.failed ? lks_text_nomem(name, err) : LKS_OK;
    }
    if (strcmp(type, "Replace") == 0)
        return open_replace(step, root, name, err);
    if (strcmp(type, "Precompiled") == 0)
        return open_charsmap(step, root, name, err);
    return lks_token_json_unsupported(name, "normalizer", type, err);
}

lks_status lks_normalizers_open(lks_normalizers *list, const json_t *root, const char *name, lks_error *err)
{
    return lks_stages_open(list, root, "normalizers", open_step, name, err);
}

void lks_normalizers_release(lks_normalizers *list)
{
    for (size_t i = 0; i < list->n; i++) {
        lks_pattern_release(&list->at[i].pattern);
        lks_str_release(&list->at[i].content);
        lks_charsmap_release(&list->at[i].map);
    }
    free(list->at);
    *list = (lks_normalizers){0};
}

static void put_form(lks_str *out, const lks_str *text, lks_form form)
{
    size_t n;
    char *normal = lks_utf8_normalize(&n, text->at, text->n, form);
    if (normal)
        lks_str_put(out, normal, n);
    else
        out->failed = true;
    free(normal);
}

/* SentencePiece's nmt: some controls go, odd spaces become plain ones. */
static bool nmt_keeps(uint32_t c)
{
    return !((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F);
}

static bool nmt_is_space(uint32_t c)
{
    return c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

typedef enum char_step {
    STEP_CLEAN,
    STEP_HAN,
    STEP_LOWER,
    STEP_NO_NONSPACING,
    STEP_NO_MARKS,
    STEP_NMT,
    STEP_BYTES
} char_step;

/* One pass over the characters; sets *cut when the first one went. */
static void put_chars(lks_str *out, const lks_str *text, char_step step, bool *cut)
{
    uint32_t lower[2];
    for (size_t i = 0, length; i < text->n; i += length) {
        uint32_t c = lks_utf8_next(text->at + i, text->n - i, &length);
        bool keep = true;
        switch (step) {
        case STEP_CLEAN:
            keep = c != 0 && c != LKS_CHAR_BAD && !lks_char_is_control(c);
            c = lks_char_is_space(c) ? ' ' : c;
            break;
        case STEP_HAN:
            if (lks_char_is_han(c)) {
                lks_str_put_char(out, ' ');
                lks_str_put_char(out, c);
                c = ' ';
            }
            break;
        case STEP_LOWER:
            if (lks_char_lower(lower, c) == 2)
                lks_str_put_char(out, lower[0]);
            c = c == 0x130 ? lower[1] : lower[0];
            break;
        case STEP_NO_NONSPACING:
            keep = !lks_char_is_nonspacing(c);
            break;
        case STEP_NO_MARKS:
            keep = !lks_char_is_mark(c);
            break;
        case STEP_NMT:
            keep = nmt_keeps(c);
            c = nmt_is_space(c) ? ' ' : c;
            break;
        default:
            for (size_t k = 0; k < length; k++)
                lks_str_put_char(out, lks_byte_to_char((unsigned char)text->at[i + k]));
            keep = false;
        }
        if (keep)
            lks_str_put_char(out, c);
        else if (i == 0 && step != STEP_BYTES)
            *cut = true;
    }
}

static void put_replaced(const lks_normalizer *step, lks_str *out, const lks_str *text, bool *cut)
{
    size_t at = 0, start, end;
    while (lks_pattern_find(&step->pattern, text->at, text->n, at, &start, &end)) {
        *cut |= start == 0 && step->content.n == 0;
        lks_str_put(out, text->at + at, start - at);
        lks_str_put(out, step->content.at, step->content.n);
        at = end;
    }
    lks_str_put(out, text->at + at, text->n - at);
}

static void put_stripped(const lks_normalizer *step, lks_str *out, const lks_str *text, bool *cut)
{
    size_t start = 0, end = text->n, length;
    while (step->left && start < end && lks_char_is_space(lks_utf8_next(text->at + start, end - start, &length)))
        start += length;
    while (step->right && start < end) {
        size_t last = start + lks_utf8_last(text->at + start, end - start);
        if (!lks_char_is_space(lks_utf8_next(text->at + last, end - last, &length)))
            break;
        end = last;
    }
    *cut |= start > 0;
    lks_str_put(out, text->at + start, end - start);
}

/* text becomes out, out becomes empty. */
static void advance(lks_str *text, lks_str *out)
{
    lks_str_swap(text, out);
    lks_str_clear(out);
}

static void apply_bert(const lks_normalizer *step, lks_str *text, lks_str *out, bool *cut)
{
    if (step->clean) {
        put_chars(out, text, STEP_CLEAN, cut);
        advance(text, out);
    }
    if (step->han) {
        put_chars(out, text, STEP_HAN, cut);
        advance(text, out);
    }
    if (step->strip_accents) {
        put_form(out, text, LKS_NFD);
        advance(text, out);
        put_chars(out, text, STEP_NO_NONSPACING, cut);
        advance(text, out);
    }
    if (step->lowercase) {
        put_chars(out, text, STEP_LOWER, cut);
        advance(text, out);
    }
}

void lks_normalizers_apply(const lks_normalizers *list, lks_str *text, lks_str *spare, bool *first)
{
    bool cut = false;
    text->most = spare->most = lks_most_text(text->n);
    for (size_t i = 0; i < list->n && !text->failed; i++) {
        const lks_normalizer *step = &list->at[i];
        lks_str_clear(spare);
        switch (step->kind) {
        case LKS_NORMALIZE_BERT:
            apply_bert(step, text, spare, &cut);
            continue;
        case LKS_NORMALIZE_FORM:
            put_form(spare, text, step->form);
            break;
        case LKS_NORMALIZE_LOWERCASE:
            put_chars(spare, text, STEP_LOWER, &cut);
            break;
        case LKS_NORMALIZE_STRIP_ACCENTS:
            put_chars(spare, text, STEP_NO_MARKS, &cut);
            break;
        case LKS_NORMALIZE_STRIP:
            put_stripped(step, spare, text, &cut);
            break;
        case LKS_NORMALIZE_REPLACE:
            put_replaced(step, spare, text, &cut);
            break;
        case LKS_NORMALIZE_PREPEND:
            if (text->n)
                lks_str_put(spare, step->content.at, step->content.n);
            lks_str_put(spare, text->at, text->n);
            break;
        case LKS_NORMALIZE_NMT:
            put_chars(spare, text, STEP_NMT, &cut);
            break;
        case LKS_NORMALIZE_BYTES:
            put_chars(spare, text, STEP_BYTES, &cut);
            break;
        case LKS_NORMALIZE_CHARSMAP:
            lks_charsmap_apply(&step->map, spare, text->at, text->n);
            break;
        }
        advance(text, spare);
    }
    text->most = spare->most = 0;
    *first &= !cut;
}
