/* SentencePiece model files: a protobuf with the pieces, the kind of model and the character map.
 *
 *   ModelProto      1 pieces*  2 trainer_spec  3 normalizer_spec
 *   SentencePiece   1 piece  2 score (float)  3 type (1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte)
 *   TrainerSpec     3 model_type (1 unigram, 2 BPE)  35 byte_fallback  40 unk_id  45 unk_piece
 *   NormalizerSpec  2 precompiled_charsmap
 *
 * The result is the JSON of a tokenizer.json as transformers builds it: for XLM-RoBERTa (and TrOCR, which uses it) with
 * that family's own order of ids, for others as the file says. */
#include "text/tokenizer_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/file.h"

enum { MOST_FILE = 256 << 20, MOST_PIECES = 1 << 22 };
enum { PIECE_UNKNOWN = 2, PIECE_CONTROL = 3, PIECE_USER = 4 };

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* varint, or 4 or 8 bytes little-endian */
    const unsigned char *at;
    size_t n; /* wire type 2 */
} field;

typedef struct cursor {
    const unsigned char *at, *end;
} cursor;

static bool read_varint(cursor *c, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && c->at < c->end; shift += 7) {
        unsigned char byte = *c->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The next field: false at the end, and with *bad when the bytes make no field. */
static bool read_field(cursor *c, field *f, bool *bad)
{
    uint64_t key;
    if (c->at == c->end)
        return false;
    *bad = true;
    if (!read_varint(c, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3)
        return false;
    *f = (field){.number = (uint32_t)(key >> 3), .wire = (uint32_t)(key & 7)};
    if (f->wire == 0) {
        if (!read_varint(c, &f->value))
            return false;
    } else if (f->wire == 1 || f->wire == 5) {
        size_t n = f->wire == 1 ? 8 : 4;
        if ((size_t)(c->end - c->at) < n)
            return false;
        for (size_t i = 0; i < n; i++)
            f->value |= (uint64_t)c->at[i] << (8 * i);
        c->at += n;
    } else if (f->wire == 2) {
        uint64_t n;
        if (!read_varint(c, &n) || n > (size_t)(c->end - c->at))
            return false;
        f->at = c->at;
        f->n = (size_t)n;
        c->at += n;
    } else {
        return false;
    }
    *bad = false;
    return true;
}

typedef struct piece {
    const char *text;
    size_t n;
    double score;
    uint64_t type;
} piece;

typedef struct spm {
    piece *pieces;
    size_t n, cap;
    uint64_t model_type, unk_id;
    bool byte_fallback;
    field unk_piece; /* .at NULL: the default */
    const unsigned char *map;
    size_t n_map;
    int failed; /* for want of memory */
} spm;

static bool is_text(const unsigned char *s, size_t n)
{
    return lks_utf8_valid((const char *)s, n) && !memchr(s, 0, n);
}

static bool read_piece(spm *m, const field *message)
{
    cursor c = {message->at, message->at + message->n};
    piece p = {.text = "", .type = 1};
    field f;
    bool bad = false;
    while (read_field(&c, &f, &bad)) {
        if (f.number == 1 && f.wire == 2) {
            if (!is_text(f.at, f.n))
                return false;
            p.text = (const char *)f.at;
            p.n = f.n;
        } else if (f.number == 2 && f.wire == 5) {
            uint32_t bits = (uint32_t)f.value;
            float score;
            memcpy(&score, &bits, sizeof score);
            p.score = (double)score;
        } else if (f.number == 3 && f.wire == 0) {
            p.type = f.value;
        }
    }
    if (bad || !isfinite(p.score) || m->n >= MOST_PIECES)
        return false;
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 1024;
        piece *moved = realloc(m->pieces, cap * sizeof *moved);
        m->failed = !moved;
        if (!moved)
            return false;
        m->pieces = moved;
        m->cap = cap;
    }
    m->pieces[m->n++] = p;
    return true;
}

static bool read_trainer(spm *m, const field *message)
{
    cursor c = {message->at, message->at + message->n};
    field f;
    bool bad = false;
    while (read_field(&c, &f, &bad)) {
        if (f.number == 3)
            m->model_type = f.value;
        else if (f.number == 35)
            m->byte_fallback = f.value != 0;
        else if (f.number == 40)
            m->unk_id = f.value;
        else if (f.number == 45 && f.wire == 2 && is_text(f.at, f.n))
            m->unk_piece = f;
    }
    return !bad;
}

static bool read_normalizer(spm *m, const field *message)
{
    cursor c = {message->at, message->at + message->n};
    field f;
    bool bad = false;
    while (read_field(&c, &f, &bad)) {
        if (f.number == 2 && f.wire == 2) {
            m->map = f.at;
            m->n_map = f.n;
        }
    }
    return !bad;
}

static lks_status read_model(spm *m, const char *data, size_t n, const char *name, lks_error *err)
{
    const unsigned char *bytes = (const unsigned char *)data;
    cursor c = {bytes, bytes + n};
    field f;
    bool bad = false, fine = true;
    *m = (spm){.model_type = 1};
    while (fine && read_field(&c, &f, &bad)) {
        if (f.wire == 2 && f.number == 1)
            fine = read_piece(m, &f);
        else if (f.wire == 2 && f.number == 2)
            fine = read_trainer(m, &f);
        else if (f.wire == 2 && f.number == 3)
            fine = read_normalizer(m, &f);
    }
    if (m->failed)
        return lks_text_nomem(name, err);
    if (bad || !fine || m->n == 0)
        return lks_token_json_damaged(name, "this is no SentencePiece model", err);
    if (m->model_type != 1 && m->model_type != 2)
        return lks_token_json_unsupported(name, "SentencePiece model type", m->model_type == 3 ? "word" : "char", err);
    return LKS_OK;
}

static json_t *base64(const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(n / 3 * 4 + 5), *out = text;
    for (size_t i = 0; text && i < n; i += 3) {
        uint32_t word =
            (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) | (i + 2 < n ? bytes[i + 2] : 0);
        *out++ = digits[word >> 18];
        *out++ = digits[word >> 12 & 63];
        *out++ = i + 1 < n ? digits[word >> 6 & 63] : '=';
        *out++ = i + 2 < n ? digits[word & 63] : '=';
    }
    json_t *value = text ? json_stringn(text, (size_t)(out - text)) : NULL;
    free(text);
    return value;
}

static void put(spm *m, json_t *list, json_t *value)
{
    m->failed |= json_array_append_new(list, value);
}

static void put_unigram(spm *m, json_t *list, const char *text, size_t n, double score)
{
    json_t *pair = json_array();
    put(m, pair, json_stringn(text, n));
    put(m, pair, json_real(score));
    put(m, list, pair);
}

/* fairseq's order of ids: <s> <pad> </s> <unk>, the pieces from the fourth on, <mask>. */
static json_t *xlm_roberta(spm *m, const json_t *config)
{
    static const char *const keys[] = {"bos_token", "pad_token", "eos_token", "unk_token", "mask_token"};
    static const char *const usual[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
    const char *names[5];
    for (size_t i = 0; i < 5; i++) {
        const json_t *value = json_object_get(config, keys[i]);
        const char *text =
            json_is_string(value) ? json_string_value(value) : json_string_value(json_object_get(value, "content"));
        names[i] = text ? text : usual[i];
    }
    json_t *vocab = json_array();
    for (size_t i = 0; i < 4; i++)
        put_unigram(m, vocab, names[i], strlen(names[i]), 0.0);
    for (size_t i = 3; i < m->n; i++)
        put_unigram(m, vocab, m->pieces[i].text, m->pieces[i].n, m->pieces[i].score);
    put_unigram(m, vocab, names[4], strlen(names[4]), 0.0);
    return json_pack("{s:s, s:i, s:b, s:o}", "type", "Unigram", "unk_id", 3, "byte_fallback", false, "vocab", vocab);
}

static json_t *unigram(spm *m)
{
    json_t *vocab = json_array();
    for (size_t i = 0; i < m->n; i++)
        put_unigram(m, vocab, m->pieces[i].text, m->pieces[i].n, m->pieces[i].score);
    return json_pack("{s:s, s:I, s:b, s:o}", "type", "Unigram", "unk_id", (json_int_t)m->unk_id, "byte_fallback",
                     m->byte_fallback, "vocab", vocab);
}

/* A BPE model of SentencePiece holds no merges: every way to cut a piece into two pieces is one, in the order of ids. */
static json_t *bpe(spm *m)
{
    json_t *vocab = json_object(), *merges = json_array();
    for (size_t i = 0; i < m->n; i++)
        m->failed |= json_object_setn_new(vocab, m->pieces[i].text, m->pieces[i].n, json_integer((json_int_t)i));
    for (size_t i = 0; i < m->n; i++) {
        const piece *p = &m->pieces[i];
        if (p->n > 256)
            continue;
        for (size_t cut = 1; cut < p->n; cut++) {
            if (((unsigned char)p->text[cut] & 0xC0) == 0x80 || !json_object_getn(vocab, p->text, cut) ||
                !json_object_getn(vocab, p->text + cut, p->n - cut))
                continue;
            put(m, merges, json_pack("[s%, s%]", p->text, cut, p->text + cut, p->n - cut));
        }
    }
    const char *unk = m->unk_piece.at ? (const char *)m->unk_piece.at : "<unk>";
    size_t n_unk = m->unk_piece.at ? m->unk_piece.n : strlen(unk);
    return json_pack("{s:s, s:s%, s:b, s:b, s:o, s:o}", "type", "BPE", "unk_token", unk, n_unk, "fuse_unk", true,
                     "byte_fallback", m->byte_fallback, "vocab", vocab, "merges", merges);
}

static json_t *char_map(const spm *m)
{
    return json_pack("{s:s, s:o}", "type", "Precompiled", "precompiled_charsmap", base64(m->map, m->n_map));
}

static json_t *plain_steps(spm *m, json_t *model)
{
    json_t *normalizers = json_array(), *decoders = json_array();
    if (m->n_map)
        put(m, normalizers, char_map(m));
    put(m, normalizers,
        json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", " ", "content", "\xE2\x96\x81"));
    put(m, decoders,
        json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", "\xE2\x96\x81", "content", " "));
    if (m->byte_fallback) {
        put(m, decoders, json_pack("{s:s}", "type", "ByteFallback"));
        put(m, decoders, json_pack("{s:s}", "type", "Fuse"));
    }
    return json_pack("{s:{s:s, s:o}, s:{s:s, s:o}, s:o}", "normalizer", "type", "Sequence", "normalizers", normalizers,
                     "decoder", "type", "Sequence", "decoders", decoders, "model", model);
}

/* Control pieces are special tokens, user-defined ones added tokens. The unknown piece is special where no family says
 * what is. */
static json_t *added_pieces(spm *m, bool of_family)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n; i++) {
        bool special = m->pieces[i].type == PIECE_CONTROL || (m->pieces[i].type == PIECE_UNKNOWN && !of_family);
        if (!special && m->pieces[i].type != PIECE_USER)
            continue;
        put(m, list,
            json_pack("{s:s%, s:b, s:b}", "content", m->pieces[i].text, m->pieces[i].n, "normalized", false, "special",
                      special));
    }
    return list;
}

static lks_status build(json_t **out, spm *m, bool like_xlm_roberta, const json_t *config, const char *name,
                        lks_error *err)
{
    json_t *root;
    if (like_xlm_roberta && m->model_type == 1)
        root = json_pack("{s:o, s:o}", "model", xlm_roberta(m, config), "normalizer",
                         m->n_map ? char_map(m) : json_null());
    else
        root = plain_steps(m, m->model_type == 2 ? bpe(m) : unigram(m));
    m->failed |= json_object_set_new(root, "added_tokens", added_pieces(m, like_xlm_roberta));
    if (m->failed) {
        json_decref(root);
        return lks_text_nomem(name, err);
    }
    *out = root;
    return LKS_OK;
}

lks_status lks_spm_read(json_t **out, const char *path, bool like_xlm_roberta, const json_t *config, lks_error *err)
{
    char *data = NULL;
    size_t n;
    lks_status st = lks_file_read(&data, &n, path, MOST_FILE, err);
    if (st != LKS_OK)
        return st;
    spm m;
    st = read_model(&m, data, n, path, err);
    if (st == LKS_OK)
        st = build(out, &m, like_xlm_roberta, config, path, err);
    free(m.pieces);
    free(data);
    return st;
}
