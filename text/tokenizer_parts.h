/* What the parts of a tokenizer share; private to text/tokenizer_*.c.
 *
 *   text -> [added tokens] -> normalizers -> [normalized added tokens] -> splitters -> model -> ids -> templates
 *   ids -> tokens -> decoders -> text
 *
 * Everything here is immutable once opened, but for the Unigram trie, which the first encode builds under a lock.
 * Growing buffers carry a `failed` flag that sticks, so that writers need not check each append for lack of memory. */
#ifndef LKS_TOKENIZER_PARTS_H
#define LKS_TOKENIZER_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "fusion/status.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

/* --- growing buffers (tokenizer_buffers.c) --- */

typedef struct lks_str {
    char *at; /* [n], not terminated */
    size_t n, cap;
    size_t most; /* bytes that it may hold; 0: as many as memory does */
    bool failed;
} lks_str;

void lks_str_put(lks_str *s, const char *bytes, size_t n);
void lks_str_put_char(lks_str *s, uint32_t c);
void lks_str_clear(lks_str *s);
void lks_str_release(lks_str *s);
void lks_str_swap(lks_str *a, lks_str *b);
/* What steps that a file lists may make of a text of n bytes: a damaged file could have them double it without end. */
static inline size_t lks_most_text(size_t n)
{
    const size_t per_byte = 64, more = (size_t)1 << 20;
    return n > (SIZE_MAX - more) / per_byte ? SIZE_MAX : n * per_byte + more;
}

typedef struct lks_ids {
    int32_t *at;
    size_t n, cap;
    bool failed;
} lks_ids;

void lks_ids_put(lks_ids *ids, int32_t id);
void lks_ids_release(lks_ids *ids);

/* A stretch of text on its way to the model, or an added token that was found. */
typedef struct lks_piece {
    size_t start, n; /* in the text of its lks_pieces */
    int32_t id;      /* an added token's, else -1 */
    bool first;      /* begins where the caller's text begins */
} lks_piece;

typedef struct lks_pieces {
    lks_str text;
    lks_piece *at;
    size_t n, cap;
    bool failed;
} lks_pieces;

/* Appends text [n] as a piece. */
void lks_pieces_put(lks_pieces *p, const char *text, size_t n, int32_t id, bool first);
/* Makes a piece of what p->text gained since `start`. */
void lks_pieces_close(lks_pieces *p, size_t start, int32_t id, bool first);
void lks_pieces_clear(lks_pieces *p);
void lks_pieces_release(lks_pieces *p);
void lks_pieces_swap(lks_pieces *a, lks_pieces *b);
bool lks_pieces_failed(const lks_pieces *p);

/* --- byte tries (tokenizer_trie.c): prefixes of many strings at once, one hash table of (node, byte) edges --- */

typedef struct lks_trie {
    struct lks_trie_edge {
        uint32_t key; /* node << 8 | byte, plus one; 0: empty */
        uint32_t node;
    } * edges;
    size_t n_slots, n_edges;
    int32_t *value; /* [n_nodes], -1: no string ends here */
    size_t n_nodes, cap_nodes;
} lks_trie;

bool lks_trie_init(lks_trie *trie, size_t n_bytes_hint);
/* Later values replace earlier ones. False when out of memory or past 16 million nodes. */
bool lks_trie_add(lks_trie *trie, const char *s, size_t n, int32_t value);
/* The node after `node` by `byte`; 0 (the root) when there is none. */
uint32_t lks_trie_step(const lks_trie *trie, uint32_t node, unsigned char byte);
void lks_trie_release(lks_trie *trie);

/* --- vocabulary (tokenizer_vocab.c): strings <-> ids --- */

typedef struct lks_token {
    const char *at;
    uint32_t n;
    bool present;
} lks_token;

typedef struct lks_vocab {
    char *bytes;       /* every token's text */
    lks_token *tokens; /* [n_ids] */
    int32_t n_ids;     /* largest id + 1 */
    int32_t n_tokens;  /* how many ids have a token */
    int32_t *slots;    /* open addressing: id + 1; 0: empty */
    size_t n_slots;    /* a power of two */
    size_t used;       /* of bytes */
} lks_vocab;

/* Room for ids below n_ids and n_bytes of text in total. */
bool lks_vocab_init(lks_vocab *vocab, size_t n_ids, size_t n_bytes);
/* Gives `id` the text s [n]; a text given twice belongs to the later id. */
void lks_vocab_put(lks_vocab *vocab, int32_t id, const char *s, size_t n);
int32_t lks_vocab_find(const lks_vocab *vocab, const char *s, size_t n); /* -1: none */
void lks_vocab_release(lks_vocab *vocab);

/* --- models --- */

typedef enum lks_token_model_kind {
    LKS_MODEL_BPE,
    LKS_MODEL_WORDPIECE,
    LKS_MODEL_UNIGRAM,
    LKS_MODEL_WORDLEVEL
} lks_token_model_kind;

typedef struct lks_merge {
    uint64_t pair; /* left << 32 | right */
    int32_t rank;  /* -1: empty slot */
    int32_t id;    /* of the two together */
} lks_merge;

/* The trie of a Unigram model, built at the first encode: decoding never needs it. */
typedef struct lks_lazy_trie {
    pthread_mutex_t lock;
    atomic_bool ready;
    lks_trie trie;
} lks_lazy_trie;

typedef struct lks_token_model {
    lks_token_model_kind kind;
    lks_vocab vocab;
    int32_t unk; /* -1: none */
    lks_str unk_text;
    lks_str prefix, suffix; /* continuing_subword_prefix, end_of_word_suffix */
    bool fuse_unk, byte_fallback, ignore_merges;
    int32_t byte_ids[256]; /* of <0x00>..<0xFF>; -1: none */
    lks_merge *merges;     /* open addressing, [n_merge_slots] */
    size_t n_merge_slots;
    size_t max_chars; /* WordPiece: longer words are unknown */
    double *scores;   /* Unigram [n_ids] */
    double unk_score;
    lks_lazy_trie *lazy;
} lks_token_model;

/* `lines`: where the vocabulary and merges are that `root` lacks; NULL: nowhere else. */
lks_status lks_token_model_open(lks_token_model *model, const json_t *root, const lks_tokenizer_texts *lines,
                                const char *name, lks_error *err);
void lks_token_model_release(lks_token_model *model);
/* Appends the ids of one piece, text [n > 0]. */
lks_status lks_token_model_encode(const lks_token_model *model, lks_ids *ids, const char *text, size_t n,
                                  lks_error *err);

lks_status lks_bpe_open(lks_token_model *model, const json_t *root, const lks_tokenizer_texts *lines, const char *name,
                        lks_error *err);
lks_status lks_bpe_encode(const lks_token_model *model, lks_ids *ids, const char *text, size_t n, lks_error *err);
lks_status lks_unigram_open(lks_token_model *model, const json_t *root, const char *name, lks_error *err);
lks_status lks_unigram_encode(const lks_token_model *model, lks_ids *ids, const char *text, size_t n, lks_error *err);

/* --- patterns (tokenizer_pattern.c): the few that published tokenizers use, matched by hand --- */

typedef enum lks_pattern_kind {
    LKS_PATTERN_TEXT,   /* a fixed string */
    LKS_PATTERN_SPACES, /* " {n,}" */
    LKS_PATTERN_WHITES, /* "\s+" */
    LKS_PATTERN_ENDS,   /* "\A +| +\z" */
    LKS_PATTERN_HEAD,   /* "\A" and a fixed string */
    LKS_PATTERN_WORDS,  /* one of several fixed strings, the first that fits */
    LKS_PATTERN_GPT2    /* GPT-2's words */
} lks_pattern_kind;

typedef struct lks_pattern {
    lks_pattern_kind kind;
    lks_str text; /* WORDS: each with a NUL behind it */
    size_t least; /* LKS_PATTERN_SPACES: how many */
} lks_pattern;

/* What has to stand behind a backslash to mean itself, as Python's re.escape has it. */
#define LKS_REGEX_SIGNS "()[]{}?*+-|^$\\.&~# \t\n\r\v\f"

lks_status lks_pattern_open(lks_pattern *pattern, const json_t *value, const char *name, lks_error *err);
void lks_pattern_release(lks_pattern *pattern);
/* The first match at or after `from`: true with [*start, *end), never empty. */
bool lks_pattern_find(const lks_pattern *pattern, const char *text, size_t n, size_t from, size_t *start, size_t *end);
/* The end of GPT-2's word that begins at `at` < n. */
size_t lks_gpt2_word(const char *text, size_t n, size_t at);

/* --- normalizers (tokenizer_normalize.c, tokenizer_charsmap.c) --- */

typedef struct lks_charsmap {
    uint32_t *units; /* a double-array trie */
    size_t n_units;
    char *texts; /* NUL-terminated replacements */
    size_t n_texts;
} lks_charsmap;

lks_status lks_charsmap_open(lks_charsmap *map, const char *base64, size_t n, const char *name, lks_error *err);
void lks_charsmap_release(lks_charsmap *map);
void lks_charsmap_apply(const lks_charsmap *map, lks_str *out, const char *text, size_t n);

typedef enum lks_normalizer_kind {
    LKS_NORMALIZE_BERT,
    LKS_NORMALIZE_FORM,
    LKS_NORMALIZE_LOWERCASE,
    LKS_NORMALIZE_STRIP_ACCENTS,
    LKS_NORMALIZE_STRIP,
    LKS_NORMALIZE_REPLACE,
    LKS_NORMALIZE_PREPEND,
    LKS_NORMALIZE_NMT,
    LKS_NORMALIZE_BYTES,
    LKS_NORMALIZE_CHARSMAP
} lks_normalizer_kind;

typedef struct lks_normalizer {
    lks_normalizer_kind kind;
    bool clean, han, strip_accents, lowercase; /* BERT */
    bool left, right;                          /* strip */
    lks_form form;
    lks_pattern pattern;
    lks_str content; /* replace: the new text; prepend: what */
    lks_charsmap map;
} lks_normalizer;

typedef struct lks_normalizers {
    lks_normalizer *at;
    size_t n;
} lks_normalizers;

lks_status lks_normalizers_open(lks_normalizers *list, const json_t *root, const char *name, lks_error *err);
void lks_normalizers_release(lks_normalizers *list);
/* Rewrites `text` in place; `spare` is scratch. *first is cleared when characters at the very beginning went. */
void lks_normalizers_apply(const lks_normalizers *list, lks_str *text, lks_str *spare, bool *first);

/* --- splitters, called pre-tokenizers in the file (tokenizer_split.c) --- */

typedef enum lks_splitter_kind {
    LKS_SPLIT_BYTE_LEVEL,
    LKS_SPLIT_BERT,
    LKS_SPLIT_WHITESPACE,
    LKS_SPLIT_WHITESPACE_ONLY,
    LKS_SPLIT_METASPACE,
    LKS_SPLIT_DIGITS,
    LKS_SPLIT_PUNCTUATION,
    LKS_SPLIT_PATTERN,
    LKS_SPLIT_DELIMITER
} lks_splitter_kind;

typedef enum lks_behavior {
    LKS_REMOVED,
    LKS_ISOLATED,
    LKS_MERGED_WITH_PREVIOUS,
    LKS_MERGED_WITH_NEXT,
    LKS_CONTIGUOUS
} lks_behavior;

typedef enum lks_prepend { LKS_PREPEND_ALWAYS, LKS_PREPEND_FIRST, LKS_PREPEND_NEVER } lks_prepend;

typedef struct lks_splitter {
    lks_splitter_kind kind;
    lks_behavior behavior;
    bool add_prefix_space, use_regex; /* byte level */
    bool individual;                  /* digits */
    bool split;                       /* metaspace */
    bool invert;                      /* pattern */
    lks_prepend prepend;              /* metaspace */
    lks_str replacement;              /* metaspace, delimiter: one character */
    lks_pattern pattern;
} lks_splitter;

typedef struct lks_splitters {
    lks_splitter *at;
    size_t n;
} lks_splitters;

lks_status lks_splitters_open(lks_splitters *list, const json_t *root, const char *name, lks_error *err);
void lks_splitters_release(lks_splitters *list);
/* Rewrites `pieces` in place; `spare` is scratch. */
void lks_splitters_apply(const lks_splitters *list, lks_pieces *pieces, lks_pieces *spare);
lks_status lks_metaspace_open(lks_prepend *prepend, lks_str *replacement, const json_t *root, const char *name,
                              lks_error *err);

/* GPT-2's alphabet: every byte as a visible character, and back (-1: not of the alphabet). */
uint32_t lks_byte_to_char(unsigned char byte);
int lks_char_to_byte(uint32_t c);

/* --- templates, called post-processors in the file (tokenizer_template.c) --- */

typedef struct lks_template {
    int32_t *parts; /* ids; -1 stands for the sequence */
    size_t n;
} lks_template;

typedef struct lks_templates {
    lks_template *at;
    size_t n;
} lks_templates;

lks_status lks_templates_open(lks_templates *list, const json_t *root, const char *name, lks_error *err);
void lks_templates_release(lks_templates *list);
void lks_templates_apply(const lks_templates *list, lks_ids *ids, lks_ids *spare);

/* --- decoders (tokenizer_decode.c) --- */

typedef enum lks_decoder_kind {
    LKS_DECODE_BYTE_LEVEL,
    LKS_DECODE_WORDPIECE,
    LKS_DECODE_METASPACE,
    LKS_DECODE_REPLACE,
    LKS_DECODE_STRIP,
    LKS_DECODE_FUSE,
    LKS_DECODE_BYTE_FALLBACK,
    LKS_DECODE_BPE
} lks_decoder_kind;

typedef struct lks_decoder {
    lks_decoder_kind kind;
    bool cleanup;        /* WordPiece */
    lks_prepend prepend; /* metaspace */
    size_t start, stop;  /* strip */
    lks_str content;     /* WordPiece: prefix; metaspace and strip: the character; replace: new text; BPE: suffix */
    lks_pattern pattern; /* replace */
} lks_decoder;

typedef struct lks_decoders {
    lks_decoder *at;
    size_t n;
    bool none; /* the file names no decoder: tokens are joined by spaces */
} lks_decoders;

lks_status lks_decoders_open(lks_decoders *list, const json_t *root, const char *name, lks_error *err);
void lks_decoders_release(lks_decoders *list);
/* Rewrites the tokens in `pieces`; they are then to be joined without anything between. */
void lks_decoders_apply(const lks_decoders *list, lks_pieces *pieces, lks_pieces *spare);
/* transformers' clean-up of spaces before punctuation and contractions; with `dont`, also tokenizers' extra rule. */
void lks_clean_up(lks_str *text, lks_str *spare, bool dont);

/* --- added tokens (tokenizer_added.c) --- */

typedef struct lks_added {
    char *content;
    size_t n;
    lks_str shown; /* what decoding makes of it: a normalized token's content as the normalizers leave it */
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
} lks_added;

typedef struct lks_added_tokens {
    lks_added *at;
    size_t n;
    lks_trie by_text, raw, normalized; /* values: indices into at, which is in the order of ids */
    int32_t n_ids;                     /* largest id + 1 of all, the model's included */
} lks_added_tokens;

lks_status lks_added_open(lks_added_tokens *added, const json_t *array, const lks_vocab *vocab,
                          const lks_normalizers *normalizers, const char *name, lks_error *err);
void lks_added_release(lks_added_tokens *added);
const lks_added *lks_added_by_id(const lks_added_tokens *added, int32_t id);
const lks_added *lks_added_by_text(const lks_added_tokens *added, const char *text, size_t n);
/* Cuts text [n] at added tokens of the raw or the normalized kind; `first`: the text is the caller's from the start. */
void lks_added_split(const lks_added_tokens *added, bool normalized, lks_pieces *out, const char *text, size_t n,
                     bool first);

/* --- lines (tokenizer_texts.c) --- */

/* Takes the next line, without its end, off text [n]; false when nothing is left. */
bool lks_next_line(const char **text, size_t *n, const char **line, size_t *n_line);
size_t lks_count_lines(const char *text, size_t n);

/* --- reading JSON (tokenizer_json.c) --- */

/* The member's text into `out`; false when it is missing, null or no string. */
bool lks_token_json_text(const json_t *object, const char *key, lks_str *out);
bool lks_token_json_bool(const json_t *object, const char *key, bool otherwise);
const char *lks_token_json_type(const json_t *object); /* "" when there is none */
lks_status lks_token_json_unsupported(const char *name, const char *part, const char *type, lks_error *err);
lks_status lks_token_json_damaged(const char *name, const char *what, lks_error *err);
lks_status lks_text_nomem(const char *name, lks_error *err);

/* Calls open(list, item, name, err) for `root`, or for each item of a Sequence (member `items`), nested ones flattened. */
typedef lks_status lks_stage_open(void *list, const json_t *stage, const char *name, lks_error *err);
lks_status lks_stages_open(void *list, const json_t *root, const char *items, lks_stage_open *open, const char *name,
                           lks_error *err);
/* Grows an array of `n` stages of `size` bytes by one zeroed stage; `what` they are, for the error of too many. *stage is untouched
 * on failure. */
lks_status lks_stage_new(void *stage_pointer, void *array_pointer, size_t *n, size_t size, const char *what,
                         const char *name, lks_error *err);

/* --- directories (tokenizer_dir.c, tokenizer_family.c, tokenizer_spm.c) --- */

enum { LKS_N_SPECIALS = 7 }; /* bos, eos, unk, sep, pad, cls, mask */

typedef struct lks_family lks_family;

/* The family of a tokenizer class or a model type; NULL when it is none that is known. */
const lks_family *lks_family_of(const char *name);
bool lks_family_is_xlm_roberta(const lks_family *family);
/* A special token as tokenizer_config.json and special_tokens_map.json (NULL: absent) give it: text, or an object with
 * flags; and its text, by default the family's. NULL: there is none. */
const json_t *lks_special_value(const json_t *config, const json_t *specials, size_t which);
const char *lks_special_text(const lks_family *family, const json_t *config, const json_t *specials, size_t which);
/* Gives `root`, a tokenizer.json, the steps of the family's class, when its model is of the family's kind. 0: done. */
int lks_family_apply(const lks_family *family, json_t *root, const json_t *config, const json_t *specials);
/* Gives `root` the family's template, or the one that add_bos_token and add_eos_token ask for; `plain` is the tokenizer
 * of `root` as it stands, which knows the ids. */
int lks_family_set_template(const lks_family *family, json_t *root, const lks_tokenizer *plain, const json_t *config,
                            const json_t *specials);

/* A SentencePiece file as the JSON of a tokenizer.json (new reference in *out). *numbered_raw: its added_tokens_decoder's tokens are
 * looked for in the text as it is, each text between them with a mark of its own before it. */
lks_status lks_spm_read(json_t **out, bool *numbered_raw, const char *path, bool like_xlm_roberta, const json_t *config,
                        lks_error *err);

/* --- the tokenizer --- */

struct lks_tokenizer {
    lks_token_model model;
    lks_normalizers normalizers;
    lks_splitters splitters;
    lks_templates templates;
    lks_decoders decoders;
    lks_added_tokens added;
    bool clean_up;
    char *source; /* the text of the tokenizer.json [n_source]; NULL: root stands for it */
    size_t n_source;
    json_t *root; /* members that replace those of `source`, or all of them */
};

#define LKS_CLEAN_UP_KEY "looksay_clean_up"

/* Opens from parsed JSON, and lines (NULL: none) as for the model. */
lks_status lks_tokenizer_open_root(lks_tokenizer **out, const json_t *root, const lks_tokenizer_texts *lines,
                                   const char *name, lks_error *err);
/* Lets the tokenizer keep what lks_tokenizer_to_texts needs: `root`, whose post_processor it takes anew, and `source` (may
 * be NULL), the text that `root` came from, which it owns on success. */
lks_status lks_tokenizer_keep(lks_tokenizer *tokenizer, const json_t *root, char *source, size_t n_source,
                              const char *name, lks_error *err);
/* Text as JSON; syntax errors name the place. */
lks_status lks_token_json_parse(json_t **out, const char *text, size_t n, const char *name, lks_error *err);

#endif
