/* A tokenizer from the JSON of Hugging Face `tokenizers`: opening, encoding, decoding.
 *
 * Besides the members that tokenizers knows, "looksay_clean_up": true asks for transformers' clean-up of spaces after
 * decoding (clean_up_tokenization_spaces of tokenizer_config.json). "truncation" and "padding" are not obeyed: they
 * concern batches. */
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

#include "fusion/json.h"

lks_status lks_token_json_parse(json_t **out, const char *text, size_t n, const char *name, lks_error *err)
{
    json_error_t where;
    json_t *root = json_loadb(text, n, JSON_ALLOW_NUL, &where);
    if (!root && lks_json_exhausted(&where))
        return lks_text_nomem(name, err);
    if (!root)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: not valid JSON at line %d, column %d: %.120s; fetch the file again", name, where.line,
                             where.column, where.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return lks_token_json_damaged(name, "the JSON is not an object", err);
    }
    *out = root;
    return LKS_OK;
}

lks_status lks_tokenizer_open_root(lks_tokenizer **out, const json_t *root, const lks_tokenizer_texts *lines,
                                   const char *name, lks_error *err)
{
    lks_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return lks_text_nomem(name, err);
    lks_status st = lks_token_model_open(&t->model, json_object_get(root, "model"), lines, name, err);
    if (st == LKS_OK)
        st = lks_normalizers_open(&t->normalizers, json_object_get(root, "normalizer"), name, err);
    if (st == LKS_OK)
        st = lks_splitters_open(&t->splitters, json_object_get(root, "pre_tokenizer"), name, err);
    if (st == LKS_OK)
        st = lks_templates_open(&t->templates, json_object_get(root, "post_processor"), name, err);
    if (st == LKS_OK)
        st = lks_decoders_open(&t->decoders, json_object_get(root, "decoder"), name, err);
    if (st == LKS_OK)
        st = lks_added_open(&t->added, json_object_get(root, "added_tokens"), &t->model.vocab, &t->normalizers, name,
                            err);
    if (st != LKS_OK) {
        lks_tokenizer_close(t);
        return st;
    }
    t->clean_up = lks_token_json_bool(root, LKS_CLEAN_UP_KEY, false);
    *out = t;
    return LKS_OK;
}

lks_status lks_tokenizer_keep(lks_tokenizer *t, const json_t *root, char *source, size_t n_source, const char *name,
                              lks_error *err)
{
    static const char *const small[] = {"normalizer", "pre_tokenizer", "post_processor", "decoder"};
    lks_templates_release(&t->templates);
    lks_status st = lks_templates_open(&t->templates, json_object_get(root, "post_processor"), name, err);
    if (st != LKS_OK)
        return st;
    if (!source) {
        t->root = json_incref((json_t *)(uintptr_t)root);
        return LKS_OK;
    }
    /* Vocabulary and merges are large and the source has them: keep only what may differ from the source. */
    json_t *model = json_object();
    if (json_object_update(model, json_object_get(root, "model")) != 0) {
        json_decref(model);
        return lks_text_nomem(name, err);
    }
    json_object_del(model, "vocab");
    json_object_del(model, "merges");
    t->root = json_object();
    if (json_object_set_new(t->root, "model", model) != 0)
        return lks_text_nomem(name, err);
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        json_t *value = json_object_get(root, small[i]);
        if (json_object_set_new(t->root, small[i], value ? json_incref(value) : json_null()) != 0)
            return lks_text_nomem(name, err);
    }
    t->source = source;
    t->n_source = n_source;
    return LKS_OK;
}

lks_status lks_tokenizer_open_texts(lks_tokenizer **out, const lks_tokenizer_texts *texts, const char *name,
                                    lks_error *err)
{
    json_t *root = NULL;
    lks_status st = lks_token_json_parse(&root, texts->json, texts->n_json, name, err);
    if (st != LKS_OK)
        return st;
    lks_tokenizer *t = NULL;
    st = lks_tokenizer_open_root(&t, root, texts, name, err);
    json_decref(root);
    if (st != LKS_OK)
        return st;
    t->source = malloc(texts->n_json + 1);
    if (!t->source) {
        lks_tokenizer_close(t);
        return lks_text_nomem(name, err);
    }
    memcpy(t->source, texts->json, texts->n_json);
    t->n_source = texts->n_json;
    *out = t;
    return LKS_OK;
}

void lks_tokenizer_close(lks_tokenizer *t)
{
    if (!t)
        return;
    lks_added_release(&t->added);
    lks_token_model_release(&t->model);
    lks_normalizers_release(&t->normalizers);
    lks_splitters_release(&t->splitters);
    lks_templates_release(&t->templates);
    lks_decoders_release(&t->decoders);
    free(t->source);
    json_decref(t->root);
    free(t);
}

int lks_tokenizer_id(const lks_tokenizer *t, const char *token)
{
    size_t n = strlen(token);
    const lks_added *added = lks_added_by_text(&t->added, token, n);
    return added ? added->id : lks_vocab_find(&t->model.vocab, token, n);
}

/* Of the model's vocabulary, byte-level alphabet not undone, *n bytes; NULL for an id without one. */
static const char *stored_text(const lks_tokenizer *t, int id, size_t *n)
{
    if (id < 0 || id >= t->model.vocab.n_ids || !t->model.vocab.tokens[id].present)
        return NULL;
    *n = t->model.vocab.tokens[id].n;
    return t->model.vocab.tokens[id].at;
}

bool lks_tokenizer_is_special(const lks_tokenizer *t, int id)
{
    const lks_added *added = lks_added_by_id(&t->added, id);
    return added && added->special;
}

/* The pieces of `text` that the model is to see, added tokens set apart. */
static void cut_text(const lks_tokenizer *t, lks_pieces *out, const char *text, size_t n)
{
    lks_pieces pieces = {0};
    lks_str clean = {0}, spare = {0};
    lks_str_put(&clean, "", 0);
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = lks_utf8_next(text + i, n - i, &length);
        if (c == LKS_CHAR_BAD)
            lks_str_put_char(&clean, c);
        else
            lks_str_put(&clean, text + i, length);
    }
    if (!clean.failed)
        lks_added_split(&t->added, false, &pieces, clean.at, clean.n, true);
    for (size_t k = 0; k < pieces.n && !lks_pieces_failed(&pieces) && !clean.failed; k++) {
        const lks_piece *piece = &pieces.at[k];
        const char *part = pieces.text.at + piece->start;
        bool first = piece->first;
        if (piece->id >= 0) {
            lks_pieces_put(out, part, piece->n, piece->id, first);
            continue;
        }
        lks_str_clear(&clean);
        lks_str_put(&clean, part, piece->n);
        lks_normalizers_apply(&t->normalizers, &clean, &spare, &first);
        if (!clean.failed)
            lks_added_split(&t->added, true, out, clean.at, clean.n, first);
    }
    out->failed |= clean.failed || spare.failed || lks_pieces_failed(&pieces);
    lks_pieces_clear(&pieces);
    lks_splitters_apply(&t->splitters, out, &pieces);
    out->failed |= lks_pieces_failed(&pieces);
    lks_pieces_release(&pieces);
    lks_str_release(&clean);
    lks_str_release(&spare);
}

lks_status lks_tokenizer_encode(const lks_tokenizer *t, int32_t **ids, size_t *n_ids, const char *text, size_t n,
                                bool add_special, lks_error *err)
{
    if (n > INT32_MAX / 8)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "tokenizer: a text of %zu bytes is too long", n);
    lks_pieces pieces = {0};
    lks_ids list = {0}, spare = {0};
    cut_text(t, &pieces, text, n);
    lks_status st = lks_pieces_failed(&pieces) ? lks_text_nomem("tokenizer", err) : LKS_OK;
    for (size_t k = 0; k < pieces.n && st == LKS_OK; k++) {
        const lks_piece *piece = &pieces.at[k];
        if (piece->id >= 0)
            lks_ids_put(&list, piece->id);
        else if (piece->n)
            st = lks_token_model_encode(&t->model, &list, pieces.text.at + piece->start, piece->n, err);
    }
    if (st == LKS_OK && add_special)
        lks_templates_apply(&t->templates, &list, &spare);
    if (st == LKS_OK && !list.at && !list.failed) { /* no ids is not no memory */
        lks_ids_put(&list, 0);
        list.n = 0;
    }
    if (st == LKS_OK && (list.failed || spare.failed))
        st = lks_text_nomem("tokenizer", err);
    lks_pieces_release(&pieces);
    lks_ids_release(&spare);
    if (st != LKS_OK) {
        lks_ids_release(&list);
        return st;
    }
    *ids = list.at;
    *n_ids = list.n;
    return LKS_OK;
}

/* As in tokenizers, what is skipped goes by its text: a special token that the normalizers change is not. */
static bool is_special_text(const lks_tokenizer *t, const char *text, size_t n)
{
    const lks_added *added = lks_added_by_text(&t->added, text, n);
    return added && added->special;
}

lks_status lks_tokenizer_decode(const lks_tokenizer *t, char **text, const int32_t *ids, size_t n_ids,
                                bool skip_special, lks_error *err)
{
    lks_pieces pieces = {0}, spare_pieces = {0};
    lks_str spare = {0};
    for (size_t i = 0; i < n_ids; i++) {
        size_t n = 0;
        const char *token = stored_text(t, ids[i], &n);
        const lks_added *added = lks_added_by_id(&t->added, ids[i]);
        if (added) {
            token = added->shown.n ? added->shown.at : "";
            n = added->shown.n;
        }
        if (!token || (skip_special && added && is_special_text(t, token, n)))
            continue;
        if (t->decoders.none && pieces.n)
            lks_pieces_put(&pieces, " ", 1, -1, false);
        lks_pieces_put(&pieces, token, n, -1, false);
    }
    lks_decoders_apply(&t->decoders, &pieces, &spare_pieces);

    lks_str *line = &pieces.text; /* the pieces lie in order and without gaps: this is their join */
    if (t->clean_up && t->model.kind != LKS_MODEL_BPE && !line->failed)
        lks_clean_up(line, &spare, false);
    size_t kept = 0;
    for (size_t i = 0; i < line->n && !line->failed; i++) { /* a C string cannot hold U+0000 */
        if (line->at[i])
            line->at[kept++] = line->at[i];
    }
    line->n = kept;
    lks_str_put(line, "", 1);
    lks_status st = LKS_OK;
    if (lks_pieces_failed(&pieces) || lks_pieces_failed(&spare_pieces) || spare.failed) {
        st = lks_text_nomem("tokenizer", err);
    } else {
        *text = line->at;
        *line = (lks_str){0};
    }
    lks_pieces_release(&pieces);
    lks_pieces_release(&spare_pieces);
    lks_str_release(&spare);
    return st;
}
