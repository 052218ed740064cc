/* SentencePiece model files: a protobuf with the pieces, the kind of model and the character map.
 *
 *   ModelProto      1 pieces*  2 trainer_spec  3 normalizer_spec
 *   SentencePiece   1 piece  2 score (float)  3 type (1 normal, 2 unknown, 3 control, 4 user-defined, 6 byte)
 *   TrainerSpec     3 model_type (1 unigram, 2 BPE)  35 byte_fallback  40 unk_id  41 bos_id  42 eos_id  45 unk_piece  46 bos_piece
 *                   47 eos_piece
 *   NormalizerSpec  2 precompiled_charsmap  3 add_dummy_prefix  4 remove_extra_whitespaces  5 escape_whitespaces
 *
 * The result is the JSON of a tokenizer.json as transformers builds it: for XLM-RoBERTa (and TrOCR, which uses it) with
 * that family's own order of ids, for others as the file says, so that it encodes as SentencePiece does. */
#include "text/tokenizer_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/weights/file.h"

enum { MOST_FILE = 256 << 20, MOST_PIECES = 1 << 22 };
enum { PIECE_NORMAL = 1, PIECE_CONTROL = 3, PIECE_USER = 4 };

#define MARK "\xE2\x96\x81" /* U+2581, a space */

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
    uint64_t model_type;
    bool byte_fallback, dummy_prefix, fewer_spaces, escape_spaces;
    struct {
        const char *key, *text; /* in tokenizer_config.json; the piece */
        size_t n;
        int64_t id; /* below 0: there is none */
    } special[3];   /* unknown, beginning, end */
    const unsigned char *map;
    size_t n_map;
    int failed; /* for want of memory */
} spm;

static const spm DEFAULTS = {
    .model_type = 1,
    .dummy_prefix = true,
    .fewer_spaces = true,
    .escape_spaces = true,
    .special = {{"unk_token", "<unk>", 5, 0}, {"bos_token", "<s>", 3, 1}, {"eos_token", "</s>", 4, 2}}};

static bool is_text(const unsigned char *s, size_t n)
{
    return lks_utf8_valid((const char *)s, n) && !memchr(s, 0, n);
}

static bool read_piece(spm *m, const field *message)
{
    cursor c = {message->at, message->at + message->n};
    piece p = {.text = "", .type = PIECE_NORMAL};
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
        else if (f.number >= 40 && f.number <= 42 && f.wire == 0)
            m->special[f.number - 40].id = (int64_t)f.value;
        else if (f.number >= 45 && f.number <= 47 && f.wire == 2 && f.n > 0 && is_text(f.at, f.n)) {
            m->special[f.number - 45].text = (const char *)f.at;
            m->special[f.number - 45].n = f.n;
        }
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
        } else if (f.number == 3 && f.wire == 0) {
            m->dummy_prefix = f.value != 0;
        } else if (f.number == 4 && f.wire == 0) {
            m->fewer_spaces = f.value != 0;
        } else if (f.number == 5 && f.wire == 0) {
            m->escape_spaces = f.value != 0;
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
    *m = DEFAULTS;
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
    return json_pack("{s:s, s:I, s:b, s:o}", "type", "Unigram", "unk_id", (json_int_t)m->special[0].id, "byte_fallback",
                     m->byte_fallback, "vocab", vocab);
}

/* What tokenizer_config.json says of the token `id`, or NULL. */
static const json_t *entry_of(const json_t *names, size_t id)
{
    char key[24];
    snprintf(key, sizeof key, "%zu", id);
    return json_object_get(names, key);
}

/* The text of a piece, or the one that tokenizer_config.json gives its id: placeholders are renamed there. */
static const char *piece_text(const spm *m, const json_t *names, size_t i, size_t *n)
{
    const json_t *name = json_object_get(entry_of(names, i), "content");
    *n = json_is_string(name) ? json_string_length(name) : m->pieces[i].n;
    return json_is_string(name) ? json_string_value(name) : m->pieces[i].text;
}

/* {piece: id}. A name that another piece keeps is not given twice. */
static json_t *bpe_vocab(spm *m, const json_t *names)
{
    json_t *vocab = json_object(), *kept = json_object();
    for (size_t i = 0; i < m->n; i++)
        if (!entry_of(names, i))
            m->failed |= json_object_setn_new(kept, m->pieces[i].text, m->pieces[i].n, json_true());
    for (size_t i = 0; i < m->n; i++) {
        piece *p = &m->pieces[i];
        size_t n;
        const char *text = piece_text(m, names, i, &n);
        if (!json_object_getn(kept, text, n)) {
            p->text = text;
            p->n = n;
        }
        m->failed |= json_object_setn_new(vocab, p->text, p->n, json_integer((json_int_t)i));
    }
    json_decref(kept);
    return vocab;
}

/* Pieces in the order of a rank, equal ones in that of ids. */
typedef struct ranked {
    double rank;
    size_t id;
} ranked;

static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static size_t count_chars(const piece *p)
{
    size_t count = 0;
    for (size_t i = 0; i < p->n; i++)
        count += ((unsigned char)p->text[i] & 0xC0) != 0x80;
    return count;
}

/* The normal pieces by score, or the user-defined ones by length, in new memory; the highest first. */
static ranked *rank_pieces(spm *m, size_t *n, uint64_t type)
{
    ranked *list = calloc(m->n + 1, sizeof *list);
    *n = 0;
    m->failed |= !list;
    for (size_t i = 0; list && i < m->n; i++) {
        const piece *p = &m->pieces[i];
        if (p->type == type && p->n > 0)
            list[(*n)++] = (ranked){type == PIECE_NORMAL ? -p->score : -(double)count_chars(p), i};
    }
    if (list)
        qsort(list, *n, sizeof *list, by_rank);
    return list;
}

/* A BPE model of SentencePiece holds no merges: every way to cut a normal piece into two normal pieces is one, in the order of
 * scores. */
static json_t *bpe_merges(spm *m)
{
    json_t *normal = json_object(), *merges = json_array();
    size_t n;
    ranked *list = rank_pieces(m, &n, PIECE_NORMAL);
    for (size_t i = 0; i < n; i++) {
        const piece *p = &m->pieces[list[i].id];
        m->failed |= json_object_setn_new(normal, p->text, p->n, json_true());
    }
    for (size_t i = 0; i < n; i++) {
        const piece *p = &m->pieces[list[i].id];
        if (p->n > 256)
            continue;
        for (size_t cut = 1; cut < p->n; cut++) {
            if (((unsigned char)p->text[cut] & 0xC0) == 0x80 || !json_object_getn(normal, p->text, cut) ||
                !json_object_getn(normal, p->text + cut, p->n - cut))
                continue;
            put(m, merges, json_pack("[s%, s%]", p->text, cut, p->text + cut, p->n - cut));
        }
    }
    free(list);
    json_decref(normal);
    return merges;
}

static bool has_user_pieces(const spm *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->pieces[i].type == PIECE_USER)
            return true;
    return false;
}

static json_t *bpe(spm *m, const json_t *config)
{
    json_t *vocab = bpe_vocab(m, json_object_get(config, "added_tokens_decoder"));
    return json_pack("{s:s, s:s%, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "unk_token", m->special[0].text,
                     m->special[0].n, "fuse_unk", true, "byte_fallback", m->byte_fallback, "ignore_merges",
                     has_user_pieces(m), "vocab", vocab, "merges", bpe_merges(m));
}

static json_t *char_map(const spm *m)
{
    return json_pack("{s:s, s:o}", "type", "Precompiled", "precompiled_charsmap", base64(m->map, m->n_map));
}

static json_t *replace(const char *kind, const char *pattern, const char *content)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", kind, pattern, "content", content);
}

/* In SentencePiece's order. A Metaspace puts no mark before a text that begins with one; SentencePiece does. */
static json_t *plain_normalizers(spm *m, bool legacy)
{
    json_t *list = json_array();
    if (m->n_map)
        put(m, list, char_map(m));
    if (m->fewer_spaces) {
        put(m, list, replace("Regex", "\\A +| +\\z", ""));
        put(m, list, replace("Regex", " {2,}", " "));
    }
    if (m->escape_spaces)
        put(m, list, replace("String", " ", MARK));
    if (m->dummy_prefix && legacy)
        put(m, list, replace("Regex", "\\A" MARK, MARK MARK));
    return json_pack("{s:s, s:o}", "type", "Sequence", "normalizers", list);
}

/* A regular expression for the user-defined pieces, the longest first; NULL: there are none. */
static json_t *user_pattern(spm *m)
{
    lks_str regex = {0};
    size_t n;
    ranked *list = rank_pieces(m, &n, PIECE_USER);
    for (size_t i = 0; i < n; i++) {
        const piece *p = &m->pieces[list[i].id];
        if (i > 0)
            lks_str_put(&regex, "|", 1);
        for (size_t k = 0; k < p->n; k++) {
            const char *byte = p->text + k;
            if (strchr(LKS_REGEX_SIGNS, *byte))
                lks_str_put(&regex, "\\", 1);
            lks_str_put(&regex, byte, 1);
        }
    }
    json_t *value = n ? json_stringn(regex.at, regex.n) : NULL;
    m->failed |= regex.failed || (n && !value);
    free(list);
    lks_str_release(&regex);
    return value;
}

/* User-defined pieces stay whole, and are cut out behind the mark at the beginning. */
static json_t *plain_splitters(spm *m, bool legacy)
{
    json_t *list = json_array(), *user = user_pattern(m);
    if (m->dummy_prefix)
        put(m, list,
            json_pack("{s:s, s:s, s:s, s:b}", "type", "Metaspace", "replacement", MARK, "prepend_scheme",
                      legacy ? "always" : "first", "split", false));
    if (user)
        put(m, list,
            json_pack("{s:s, s:{s:o}, s:s, s:b}", "type", "Split", "pattern", "Regex", user, "behavior", "Isolated",
                      "invert", false));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

static json_t *plain_decoders(spm *m)
{
    json_t *list = json_array();
    put(m, list, replace("String", MARK, " "));
    if (m->byte_fallback)
        put(m, list, json_pack("{s:s}", "type", "ByteFallback"));
    if (m->byte_fallback || m->dummy_prefix)
        put(m, list, json_pack("{s:s}", "type", "Fuse"));
    if (m->dummy_prefix)
        put(m, list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", 1, "stop", 0));
    return json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list);
}

/* The steps of a model that no class claims. */
static json_t *plain(spm *m, const json_t *config)
{
    bool legacy = lks_token_json_bool(config, "legacy", true);
    json_t *model = m->model_type == 2 ? bpe(m, config) : unigram(m);
    return json_pack("{s:o, s:o, s:o, s:o}", "normalizer", plain_normalizers(m, legacy), "pre_tokenizer",
                     plain_splitters(m, legacy), "decoder", plain_decoders(m), "model", model);
}

static void put_added(spm *m, json_t *list, const char *text, size_t n, bool special)
{
    put(m, list, json_pack("{s:s%, s:b, s:b}", "content", text, n, "normalized", false, "special", special));
}

/* Control pieces are special tokens. Where a family's class splits the text, user-defined ones are added tokens; elsewhere the
 * unknown, beginning and end pieces are special that tokenizer_config.json does not replace. */
static json_t *added_pieces(spm *m, bool of_family, const json_t *config)
{
    json_t *list = json_array();
    for (size_t i = 0; i < m->n; i++) {
        uint64_t type = m->pieces[i].type;
        if (type == PIECE_CONTROL || (type == PIECE_USER && of_family))
            put_added(m, list, m->pieces[i].text, m->pieces[i].n, type == PIECE_CONTROL);
    }
    for (size_t i = 0; i < 3 && !of_family; i++)
        if (m->special[i].id >= 0 && !json_object_get(config, m->special[i].key))
            put_added(m, list, m->special[i].text, m->special[i].n, true);
    return list;
}

static lks_status build(json_t **out, spm *m, bool like_xlm_roberta, const json_t *config, const char *name,
                        lks_error *err)
{
    json_t *root, *added = added_pieces(m, like_xlm_roberta, config); /* under the names of the file */
    if (like_xlm_roberta && m->model_type == 1)
        root = json_pack("{s:o, s:o}", "model", xlm_roberta(m, config), "normalizer",
                         m->n_map ? char_map(m) : json_null());
    else
        root = plain(m, config);
    m->failed |= json_object_set_new(root, "added_tokens", added);
    if (m->failed) {
        json_decref(root);
        return lks_text_nomem(name, err);
    }
    *out = root;
    return LKS_OK;
}

lks_status lks_spm_read(json_t **out, bool *numbered_raw, const char *path, bool like_xlm_roberta, const json_t *config,
                        lks_error *err)
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
    *numbered_raw = !like_xlm_roberta && m.dummy_prefix;
    free(m.pieces);
    free(data);
    return st;
}
