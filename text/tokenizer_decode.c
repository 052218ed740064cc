/* Decoders: what turns tokens back into text. Each rewrites the list of tokens; what is left is joined. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static lks_status open_strip(lks_decoder *step, const json_t *root, const char *name, lks_error *err)
{
    json_int_t start = json_integer_value(json_object_get(root, "start"));
    json_int_t stop = json_integer_value(json_object_get(root, "stop"));
    size_t length = 0;
    bool given = lks_token_json_text(root, "content", &step->content);
    if (step->content.failed)
        return lks_text_nomem(name, err);
    if (!given || step->content.n == 0 || start < 0 || stop < 0 ||
        (lks_utf8_next(step->content.at, step->content.n, &length), length != step->content.n))
        return lks_token_json_damaged(name, "a Strip decoder is malformed", err);
    step->start = (size_t)start;
    step->stop = (size_t)stop;
    return LKS_OK;
}

static lks_status open_decoder(void *list_pointer, const json_t *root, const char *name, lks_error *err)
{
    lks_decoders *list = list_pointer;
    lks_decoder *step;
    lks_status st = lks_stage_new(&step, &list->at, &list->n, sizeof *step, "too many decoders", name, err);
    if (st != LKS_OK)
        return st;
    const char *type = lks_token_json_type(root);
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = LKS_DECODE_BYTE_LEVEL;
    } else if (strcmp(type, "WordPiece") == 0) {
        step->kind = LKS_DECODE_WORDPIECE;
        step->cleanup = lks_token_json_bool(root, "cleanup", true);
        if (!lks_token_json_text(root, "prefix", &step->content))
            lks_str_put(&step->content, "##", 2);
    } else if (strcmp(type, "Metaspace") == 0) {
        step->kind = LKS_DECODE_METASPACE;
        return lks_metaspace_open(&step->prepend, &step->content, root, name, err);
    } else if (strcmp(type, "Replace") == 0) {
        step->kind = LKS_DECODE_REPLACE;
        if (!lks_token_json_text(root, "content", &step->content))
            return lks_token_json_damaged(name, "a Replace decoder has no content", err);
        if (step->content.failed)
            return lks_text_nomem(name, err);
        return lks_pattern_open(&step->pattern, json_object_get(root, "pattern"), name, err);
    } else if (strcmp(type, "Strip") == 0) {
        step->kind = LKS_DECODE_STRIP;
        return open_strip(step, root, name, err);
    } else if (strcmp(type, "Fuse") == 0) {
        step->kind = LKS_DECODE_FUSE;
    } else if (strcmp(type, "ByteFallback") == 0) {
        step->kind = LKS_DECODE_BYTE_FALLBACK;
    } else if (strcmp(type, "BPEDecoder") == 0) {
        step->kind = LKS_DECODE_BPE;
        if (!lks_token_json_text(root, "suffix", &step->content))
            lks_str_put(&step->content, "</w>", 4);
    } else {
        return lks_token_json_unsupported(name, "decoder", type, err);
    }
    return step->content.failed ? lks_text_nomem(name, err) : LKS_OK;
}

lks_status lks_decoders_open(lks_decoders *list, const json_t *root, const char *name, lks_error *err)
{
    list->none = !root || json_is_null(root);
    return lks_stages_open(list, root, "decoders", open_decoder, name, err);
}

void lks_decoders_release(lks_decoders *list)
{
    for (size_t i = 0; i < list->n; i++) {
        lks_str_release(&list->at[i].content);
        lks_pattern_release(&list->at[i].pattern);
    }
    free(list->at);
    *list = (lks_decoders){0};
}

static void replace_all(lks_str *text, lks_str *spare, const char *from, const char *to)
{
    size_t n_from = strlen(from), at = 0;
    const char *found = text->n ? memmem(text->at, text->n, from, n_from) : NULL;
    if (!found)
        return;
    lks_str_clear(spare);
    while (found) {
        lks_str_put(spare, text->at + at, (size_t)(found - text->at) - at);
        lks_str_put(spare, to, strlen(to));
        at = (size_t)(found - text->at) + n_from;
        found = at < text->n ? memmem(text->at + at, text->n - at, from, n_from) : NULL;
    }
    lks_str_put(spare, text->at + at, text->n - at);
    lks_str_swap(text, spare);
}

void lks_clean_up(lks_str *text, lks_str *spare, bool dont)
{
    static const char *const rules[][2] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (dont || strcmp(rules[i][0], " do not") != 0)
            replace_all(text, spare, rules[i][0], rules[i][1]);
    }
}

/* All tokens as one: bytes of GPT-2's alphabet; a token with other characters stands as it is. */
static void decode_byte_level(lks_pieces *out, const lks_pieces *in)
{
    lks_str bytes = {0};
    for (size_t k = 0; k < in->n; k++) {
        const char *token = in->text.at + in->at[k].start;
        size_t n = in->at[k].n, before = bytes.n;
        for (size_t i = 0, length; i < n; i += length) {
            int byte = lks_char_to_byte(lks_utf8_next(token + i, n - i, &length));
            if (byte < 0) {
                bytes.n = before;
                lks_str_put(&bytes, token, n);
                break;
            }
            char c = (char)byte;
            lks_str_put(&bytes, &c, 1);
        }
    }
    size_t start = out->text.n;
    for (size_t i = 0, length; i < bytes.n; i += length)
        lks_str_put_char(&out->text, lks_utf8_next(bytes.at + i, bytes.n - i, &length));
    out->failed |= bytes.failed;
    lks_pieces_close(out, start, -1, false);
    lks_str_release(&bytes);
}

static bool starts_with(const char *s, size_t n, const lks_str *prefix)
{
    return n >= prefix->n && memcmp(s, prefix->at, prefix->n) == 0;
}

static void decode_wordpiece(const lks_decoder *step, lks_pieces *out, const lks_pieces *in)
{
    lks_str word = {0}, spare = {0};
    for (size_t k = 0; k < in->n; k++) {
        const char *token = in->text.at + in->at[k].start;
        size_t n = in->at[k].n, skip = 0;
        lks_str_clear(&word);
        if (k > 0 && starts_with(token, n, &step->content))
            skip = step->content.n;
        else if (k > 0)
            lks_str_put(&word, " ", 1);
        lks_str_put(&word, token + skip, n - skip);
        if (step->cleanup)
            lks_clean_up(&word, &spare, true);
        out->failed |= word.failed || spare.failed;
        if (!out->failed)
            lks_pieces_put(out, word.at, word.n, -1, false);
    }
    lks_str_release(&word);
    lks_str_release(&spare);
}

static void put_metaspaced(const lks_decoder *step, lks_pieces *out, const char *token, size_t n, bool leads)
{
    size_t start = out->text.n;
    for (size_t i = 0, length; i < n; i += length) {
        lks_utf8_next(token + i, n - i, &length);
        if (!starts_with(token + i, length, &step->content))
            lks_str_put(&out->text, token + i, length);
        else if (!leads || step->prepend == LKS_PREPEND_NEVER)
            lks_str_put(&out->text, " ", 1);
    }
    lks_pieces_close(out, start, -1, false);
}

static void put_replaced(const lks_decoder *step, lks_pieces *out, const char *token, size_t n)
{
    size_t begin = out->text.n, at = 0, start, end;
    while (lks_pattern_find(&step->pattern, token, n, at, &start, &end)) {
        lks_str_put(&out->text, token + at, start - at);
        lks_str_put(&out->text, step->content.at, step->content.n);
        at = end;
    }
    lks_str_put(&out->text, token + at, n - at);
    lks_pieces_close(out, begin, -1, false);
}

/* Up to `start` of the character go at the front and up to `stop` at the back. */
static void put_stripped(const lks_decoder *step, lks_pieces *out, const char *token, size_t n)
{
    size_t width = step->content.n, begin = 0, end = n;
    for (size_t i = 0; i < step->start && starts_with(token + begin, n - begin, &step->content); i++)
        begin += width;
    for (size_t i = 0; i < step->stop && end - begin >= width; i++) {
        if (memcmp(token + end - width, step->content.at, width) != 0)
            break;
        end -= width;
    }
    lks_pieces_put(out, token + begin, end - begin, -1, false);
}

/* The byte that a token like <0x4A> stands for, -1 for others. */
static int byte_of(const char *token, size_t n)
{
    if (n != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    int value = 0;
    for (int i = 3; i < 5; i++) {
        char c = token[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static void flush_bytes(lks_pieces *out, lks_str *bytes)
{
    if (bytes->n && lks_utf8_valid(bytes->at, bytes->n)) {
        lks_pieces_put(out, bytes->at, bytes->n, -1, false);
    } else {
        for (size_t i = 0; i < bytes->n; i++)
            lks_pieces_put(out, "\xEF\xBF\xBD", 3, -1, false);
    }
    lks_str_clear(bytes);
}

static void decode_byte_fallback(lks_pieces *out, const lks_pieces *in)
{
    lks_str bytes = {0};
    for (size_t k = 0; k < in->n; k++) {
        const char *token = in->text.at + in->at[k].start;
        int byte = byte_of(token, in->at[k].n);
        if (byte >= 0) {
            char c = (char)byte;
            lks_str_put(&bytes, &c, 1);
            continue;
        }
        flush_bytes(out, &bytes);
        lks_pieces_put(out, token, in->at[k].n, -1, false);
    }
    flush_bytes(out, &bytes);
    out->failed |= bytes.failed;
    lks_str_release(&bytes);
}

static void put_bpe(const lks_decoder *step, lks_pieces *out, const char *token, size_t n, bool last)
{
    size_t start = out->text.n, at = 0;
    const char *found;
    while (step->content.n && at < n && (found = memmem(token + at, n - at, step->content.at, step->content.n))) {
        lks_str_put(&out->text, token + at, (size_t)(found - token) - at);
        lks_str_put(&out->text, " ", last ? 0 : 1);
        at = (size_t)(found - token) + step->content.n;
    }
    lks_str_put(&out->text, token + at, n - at);
    lks_pieces_close(out, start, -1, false);
}

static void decode(const lks_decoder *step, lks_pieces *out, const lks_pieces *in)
{
    switch (step->kind) {
    case LKS_DECODE_BYTE_LEVEL:
        decode_byte_level(out, in);
        return;
    case LKS_DECODE_WORDPIECE:
        decode_wordpiece(step, out, in);
        return;
    case LKS_DECODE_FUSE:
        lks_pieces_put(out, in->text.at, in->text.n, -1, false);
        return;
    case LKS_DECODE_BYTE_FALLBACK:
        decode_byte_fallback(out, in);
        return;
    default:
        break;
    }
    for (size_t k = 0; k < in->n; k++) {
        const char *token = in->text.at + in->at[k].start;
        size_t n = in->at[k].n;
        if (step->kind == LKS_DECODE_METASPACE)
            put_metaspaced(step, out, token, n, k == 0);
        else if (step->kind == LKS_DECODE_REPLACE)
            put_replaced(step, out, token, n);
        else if (step->kind == LKS_DECODE_STRIP)
            put_stripped(step, out, token, n);
        else
            put_bpe(step, out, token, n, k + 1 == in->n);
    }
}

void lks_decoders_apply(const lks_decoders *list, lks_pieces *pieces, lks_pieces *spare)
{
    pieces->text.most = spare->text.most = lks_most_text(pieces->text.n);
    for (size_t i = 0; i < list->n && pieces->n && !lks_pieces_failed(pieces); i++) {
        lks_pieces_clear(spare);
        decode(&list->at[i], spare, pieces);
        lks_pieces_swap(pieces, spare);
    }
    pieces->text.most = spare->text.most = 0;
}
