/* A tokenizer from the files of a model directory. Whatever the files are, they become the JSON of a tokenizer.json:
 *
 *   tokenizer.json | vocab.json + merges.txt | vocab.txt | SentencePiece model      the model and its steps
 *   tokenizer_config.json, special_tokens_map.json, added_tokens.json               special tokens, options, clean-up
 *
 * Options and defaults are those of the tokenizer class that transformers would take. */
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fusion/weights/file.h"

enum { MOST_BYTES = 256 << 20, MOST_PATH = 4096 };

static const char *const SPECIAL_KEYS[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};
enum { N_SPECIAL_KEYS = sizeof SPECIAL_KEYS / sizeof *SPECIAL_KEYS };

/* The special tokens that a tokenizer class has when no file names others, in the order of SPECIAL_KEYS. */
typedef struct family {
    const char *class;
    const char *specials[N_SPECIAL_KEYS];
} family;

static const family FAMILIES[] = {
    {"BertTokenizer", {NULL, NULL, "[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"}},
    {"GPT2Tokenizer", {"<|endoftext|>", "<|endoftext|>", "<|endoftext|>", NULL, NULL, NULL, NULL}},
    {"RobertaTokenizer", {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
    {"XLMRobertaTokenizer", {"<s>", "</s>", "<unk>", "</s>", "<pad>", "<s>", "<mask>"}},
};

/* Tokenizer classes and model types that behave as one of the families. */
static const struct {
    const char *name, *class;
} ALIASES[] = {
    {"BertTokenizer", "BertTokenizer"},
    {"DistilBertTokenizer", "BertTokenizer"},
    {"ElectraTokenizer", "BertTokenizer"},
    {"BlipTokenizer", "BertTokenizer"},
    {"GPT2Tokenizer", "GPT2Tokenizer"},
    {"RobertaTokenizer", "RobertaTokenizer"},
    {"BartTokenizer", "RobertaTokenizer"},
    {"LEDTokenizer", "RobertaTokenizer"},
    {"XLMRobertaTokenizer", "XLMRobertaTokenizer"},
    {"bert", "BertTokenizer"},
    {"blip", "BertTokenizer"},
    {"blip_text_model", "BertTokenizer"},
    {"distilbert", "BertTokenizer"},
    {"git", "BertTokenizer"},
    {"gpt2", "GPT2Tokenizer"},
    {"roberta", "RobertaTokenizer"},
    {"bart", "RobertaTokenizer"},
    {"florence2", "RobertaTokenizer"},
    {"xlm-roberta", "XLMRobertaTokenizer"},
};

/* Everything the directory says, as read. Missing files are NULL. */
typedef struct directory {
    const char *path;
    char name[MOST_PATH]; /* of the file that holds the vocabulary */
    json_t *config;       /* tokenizer_config.json */
    json_t *specials;     /* special_tokens_map.json */
    json_t *added;        /* added_tokens.json */
    json_t *model_config; /* config.json */
    const family *family; /* NULL: none known */
} directory;

static bool file_path(char *out, const char *dir, const char *file)
{
    int n = snprintf(out, MOST_PATH, "%s/%s", dir, file);
    struct stat info;
    return n > 0 && n < MOST_PATH && stat(out, &info) == 0;
}

/* A JSON file of the directory; *out stays NULL when there is none. */
static lks_status read_json(json_t **out, const char *dir, const char *file, lks_error *err)
{
    char path[MOST_PATH], *data = NULL;
    size_t n;
    if (!file_path(path, dir, file))
        return LKS_OK;
    lks_status st = lks_file_read(&data, &n, path, MOST_BYTES, err);
    if (st == LKS_OK)
        st = lks_json_parse(out, data, n, path, err);
    free(data);
    return st;
}

static const family *family_of(const char *name)
{
    if (!name)
        return NULL;
    size_t n = strlen(name);
    if (n > 4 && strcmp(name + n - 4, "Fast") == 0)
        n -= 4;
    for (size_t i = 0; i < sizeof ALIASES / sizeof *ALIASES; i++) {
        if (strlen(ALIASES[i].name) != n || memcmp(ALIASES[i].name, name, n) != 0)
            continue;
        for (size_t k = 0; k < sizeof FAMILIES / sizeof *FAMILIES; k++) {
            if (strcmp(FAMILIES[k].class, ALIASES[i].class) == 0)
                return &FAMILIES[k];
        }
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The class that tokenizer_config.json names, else the one of the model type, its decoder's first. */
static void find_family(directory *d)
{
    const char *class = text_of(d->config, "tokenizer_class");
    if (!class)
        class = text_of(d->model_config, "tokenizer_class");
    d->family = family_of(class);
    if (!class) {
        d->family = family_of(text_of(json_object_get(d->model_config, "decoder"), "model_type"));
        if (!d->family)
            d->family = family_of(text_of(d->model_config, "model_type"));
    }
}

static lks_status directory_open(directory *d, const char *path, lks_error *err)
{
    *d = (directory){.path = path};
    lks_status st = read_json(&d->config, path, "tokenizer_config.json", err);
    if (st == LKS_OK)
        st = read_json(&d->model_config, path, "config.json", err);
    if (st == LKS_OK && !json_object_get(d->config, "added_tokens_decoder")) {
        st = read_json(&d->specials, path, "special_tokens_map.json", err);
        if (st == LKS_OK)
            st = read_json(&d->added, path, "added_tokens.json", err);
    }
    if (st == LKS_OK)
        find_family(d);
    return st;
}

static void directory_close(directory *d)
{
    json_decref(d->config);
    json_decref(d->specials);
    json_decref(d->added);
    json_decref(d->model_config);
}

/* A special token as the files give it: text, or an object with flags; NULL when there is none. */
static const json_t *special_value(const directory *d, size_t which)
{
    const char *key = SPECIAL_KEYS[which];
    const json_t *value = json_object_get(d->specials, key);
    return value && !json_is_null(value) ? value : json_object_get(d->config, key);
}

static const char *special_text(const directory *d, size_t which)
{
    const json_t *value = special_value(d, which);
    const char *text = json_is_string(value) ? json_string_value(value) : text_of(value, "content");
    if (!text && !json_is_null(value) && d->family)
        text = d->family->specials[which];
    return text;
}

static size_t special_index(const char *key)
{
    size_t i = 0;
    while (strcmp(SPECIAL_KEYS[i], key) != 0)
        i++;
    return i;
}

static json_t *find_added(const json_t *list, const char *content)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *item = json_array_get(list, i);
        const char *text = text_of(item, "content");
        if (text && strcmp(text, content) == 0)
            return item;
    }
    return NULL;
}

/* Adds a token with the flags of `value` (an object, or text alone), or marks the one that is there as special. */
static int add_token(json_t *list, const char *content, const json_t *value, bool special)
{
    json_t *there = find_added(list, content);
    if (there)
        return special ? json_object_set_new(there, "special", json_true()) : 0;
    special |= lks_json_bool(value, "special", false);
    return json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", content, "single_word",
                                                 lks_json_bool(value, "single_word", false), "lstrip",
                                                 lks_json_bool(value, "lstrip", false), "rstrip",
                                                 lks_json_bool(value, "rstrip", false), "normalized",
                                                 lks_json_bool(value, "normalized", !special), "special", special));
}

static int compare_numbers(const void *a, const void *b)
{
    long x = strtol(*(const char *const *)a, NULL, 10), y = strtol(*(const char *const *)b, NULL, 10);
    return (x > y) - (x < y);
}

/* added_tokens_decoder: {"7": {"content": ...}, ...}, in the order of the numbers. */
static int add_numbered(json_t *list, const json_t *decoder)
{
    size_t n = 0;
    const char **keys = calloc(json_object_size(decoder) + 1, sizeof *keys);
    if (!keys)
        return -1;
    for (void *i = json_object_iter((json_t *)decoder); i; i = json_object_iter_next((json_t *)decoder, i))
        keys[n++] = json_object_iter_key(i);
    qsort(keys, n, sizeof *keys, compare_numbers);
    int failed = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = json_object_get(decoder, keys[i]);
        const char *content = text_of(value, "content");
        if (content)
            failed |= add_token(list, content, value, lks_json_bool(value, "special", false));
    }
    free(keys);
    return failed;
}

/* added_tokens.json: {"<token>": id, ...}, in the order of the ids. */
static int add_plain(json_t *list, const json_t *added)
{
    int failed = 0;
    json_int_t before = -1;
    for (size_t round = 0; round < json_object_size(added); round++) {
        const char *key, *best = NULL;
        json_t *value;
        json_int_t least = 0;
        json_object_foreach((json_t *)added, key, value)
        {
            json_int_t id = json_integer_value(value);
            if (id > before && (!best || id < least)) {
                best = key;
                least = id;
            }
        }
        if (!best)
            break;
        failed |= add_token(list, best, NULL, false);
        before = least;
    }
    return failed;
}

static int add_all(const directory *d, json_t *list)
{
    int failed = add_numbered(list, json_object_get(d->config, "added_tokens_decoder"));
    if (json_object_size(d->added) <= 4096)
        failed |= add_plain(list, d->added);
    for (size_t i = 0; i < N_SPECIAL_KEYS; i++) {
        const char *content = special_text(d, i);
        if (content && *content)
            failed |= add_token(list, content, special_value(d, i), true);
    }
    const char *const more[] = {"additional_special_tokens", "extra_special_tokens"};
    for (size_t k = 0; k < 4; k++) {
        const json_t *extra = json_object_get(k < 2 ? d->specials : d->config, more[k % 2]);
        for (size_t i = 0; i < json_array_size(extra); i++) {
            const json_t *item = json_array_get(extra, i);
            const char *content = json_is_string(item) ? json_string_value(item) : text_of(item, "content");
            if (content && *content)
                failed |= add_token(list, content, item, true);
        }
    }
    return failed;
}

/* --- vocab.txt, vocab.json + merges.txt --- */

static lks_status put_lines(json_t *vocab, char *data, size_t n, const char *name, lks_error *err)
{
    json_int_t id = 0;
    for (char *line = data, *end; line < data + n; line = end + 1, id++) {
        end = memchr(line, '\n', (size_t)(data + n - line));
        end = end ? end : data + n;
        size_t length = (size_t)(end - line), used;
        while (length) { /* white space at the end does not belong to the token */
            size_t last = lks_utf8_last(line, length);
            if (!lks_char_is_space(lks_utf8_next(line + last, length - last, &used)))
                break;
            length = last;
        }
        line[length] = '\0'; /* data is one byte longer than n */
        if (memchr(line, '\0', length) || json_object_set_new(vocab, line, json_integer(id)) != 0)
            return lks_error_set(err, LKS_ERR_MODEL, "%s: line %lld is not UTF-8 text; the vocabulary is damaged", name,
                                 (long long)id + 1);
    }
    return LKS_OK;
}

static lks_status build_bert(json_t **out, const directory *d, lks_error *err)
{
    char *data = NULL;
    size_t n;
    lks_status st = lks_file_read(&data, &n, d->name, MOST_BYTES, err);
    json_t *vocab = json_object();
    if (st == LKS_OK)
        st = put_lines(vocab, data, n, d->name, err);
    free(data);
    if (st != LKS_OK) {
        json_decref(vocab);
        return st;
    }
    const json_t *accents = json_object_get(d->config, "strip_accents");
    const char *unk = special_text(d, special_index("unk_token"));
    *out = json_pack("{s:{s:s, s:b, s:b, s:o, s:b}, s:{s:s}, s:{s:s, s:s, s:b}, s:{s:s, s:s, s:s, s:i, s:o}}",
                     "normalizer", "type", "BertNormalizer", "clean_text", true, "handle_chinese_chars",
                     lks_json_bool(d->config, "tokenize_chinese_chars", true), "strip_accents",
                     json_is_boolean(accents) ? json_boolean(json_is_true(accents)) : json_null(), "lowercase",
                     lks_json_bool(d->config, "do_lower_case", true), "pre_tokenizer", "type", "BertPreTokenizer",
                     "decoder", "type", "WordPiece", "prefix", "##", "cleanup", true, "model", "type", "WordPiece",
                     "unk_token", unk ? unk : "[UNK]", "continuing_subword_prefix", "##", "max_input_chars_per_word",
                     100, "vocab", vocab);
    return *out ? LKS_OK : lks_text_nomem(d->name, err);
}

static lks_status read_merges(json_t **out, const char *path, lks_error *err)
{
    char *data = NULL;
    size_t n;
    lks_status st = lks_file_read(&data, &n, path, MOST_BYTES, err);
    json_t *merges = json_array();
    for (char *line = data, *end; st == LKS_OK && line < data + n; line = end + 1) {
        end = memchr(line, '\n', (size_t)(data + n - line));
        end = end ? end : data + n;
        size_t length = (size_t)(end - line);
        length -= length && line[length - 1] == '\r';
        if (length == 0 || (length >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        if (json_array_append_new(merges, json_stringn(line, length)) != 0)
            st = lks_error_set(err, LKS_ERR_MODEL, "%s: the merges are not UTF-8 text; the file is damaged", path);
    }
    free(data);
    if (st != LKS_OK) {
        json_decref(merges);
        return st;
    }
    *out = merges;
    return LKS_OK;
}

static lks_status build_bpe(json_t **out, directory *d, const char *merges_path, lks_error *err)
{
    json_t *vocab = NULL, *merges = NULL;
    lks_status st = read_json(&vocab, d->path, "vocab.json", err);
    if (st == LKS_OK)
        st = read_merges(&merges, merges_path, err);
    if (st != LKS_OK) {
        json_decref(vocab);
        return st;
    }
    if (!d->family) /* nothing names a class: RoBERTa's special tokens tell the two apart */
        d->family = family_of(json_object_get(vocab, "<s>") && json_object_get(vocab, "</s>") ? "roberta" : "gpt2");
    *out = json_pack("{s:n, s:{s:s, s:b}, s:{s:s}, s:{s:s, s:o, s:o}}", "normalizer", "pre_tokenizer", "type",
                     "ByteLevel", "add_prefix_space", lks_json_bool(d->config, "add_prefix_space", false), "decoder",
                     "type", "ByteLevel", "model", "type", "BPE", "vocab", vocab, "merges", merges);
    return *out ? LKS_OK : lks_text_nomem(d->name, err);
}

/* --- templates that depend on the ids of special tokens --- */

static json_t *template_of(const char *before, int before_id, const char *after, int after_id)
{
    json_t *single = json_array(), *special = json_object();
    if (before) {
        json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", before, "type_id", 0));
        json_object_set_new(special, before,
                            json_pack("{s:s, s:[i], s:[s]}", "id", before, "ids", before_id, "tokens", before));
    }
    json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0));
    if (after) {
        json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "SpecialToken", "id", after, "type_id", 0));
        json_object_set_new(special, after,
                            json_pack("{s:s, s:[i], s:[s]}", "id", after, "ids", after_id, "tokens", after));
    }
    return json_pack("{s:s, s:o, s:o}", "type", "TemplateProcessing", "single", single, "special_tokens", special);
}

/* The template that the class would make, for files that hold none, or that tokenizer_config.json asks for. */
static lks_status set_template(const directory *d, json_t *root, const lks_tokenizer *plain, bool built, lks_error *err)
{
    const json_t *add_bos = json_object_get(d->config, "add_bos_token");
    const json_t *add_eos = json_object_get(d->config, "add_eos_token");
    bool asked = json_is_boolean(add_bos) || json_is_boolean(add_eos);
    bool around = built && d->family && strcmp(d->family->class, "GPT2Tokenizer") != 0;
    if (!asked && !around)
        return LKS_OK;
    bool bert = around && !asked && strcmp(d->family->class, "XLMRobertaTokenizer") != 0;
    const char *before = special_text(d, special_index(bert ? "cls_token" : "bos_token"));
    const char *after = special_text(d, special_index(bert ? "sep_token" : "eos_token"));
    before = asked && !json_is_true(add_bos) ? NULL : before;
    after = asked && !json_is_true(add_eos) ? NULL : after;
    json_t *made = template_of(before, before ? lks_tokenizer_id(plain, before) : -1, after,
                               after ? lks_tokenizer_id(plain, after) : -1);
    return json_object_set_new(root, "post_processor", made) == 0 ? LKS_OK : lks_text_nomem(d->name, err);
}

/* --- opening --- */

static lks_status read_root(json_t **out, directory *d, bool *built, char **source, size_t *n_source, lks_error *err)
{
    char merges[MOST_PATH];
    *built = true;
    if (file_path(d->name, d->path, "tokenizer.json")) {
        *built = false;
        lks_status st = lks_file_read(source, n_source, d->name, MOST_BYTES, err);
        return st == LKS_OK ? lks_json_parse(out, *source, *n_source, d->name, err) : st;
    }
    if (file_path(merges, d->path, "merges.txt") && file_path(d->name, d->path, "vocab.json"))
        return build_bpe(out, d, merges, err);
    if (file_path(d->name, d->path, "vocab.txt")) {
        d->family = d->family ? d->family : family_of("bert");
        return build_bert(out, d, err);
    }
    return lks_error_set(err, LKS_ERR_MODEL,
                         "%s: no tokenizer here; one of tokenizer.json, vocab.json with merges.txt, or vocab.txt is "
                         "needed",
                         d->path);
}

static lks_status complete(const directory *d, json_t *root, bool built, lks_error *err)
{
    json_t *list = json_object_get(root, "added_tokens");
    int failed = 0;
    if (!json_is_array(list)) {
        list = json_array();
        failed |= json_object_set_new(root, "added_tokens", list);
    }
    failed |= add_all(d, list);
    failed |= json_object_set_new(root, "looksay_clean_up",
                                  json_boolean(lks_json_bool(d->config, "clean_up_tokenization_spaces", false)));
    if (failed)
        return lks_text_nomem(d->name, err);

    lks_tokenizer *plain = NULL; /* knows the ids of the special tokens, which the template needs */
    lks_status st = lks_tokenizer_open_root(&plain, root, d->name, err);
    if (st == LKS_OK)
        st = set_template(d, root, plain, built, err);
    lks_tokenizer_close(plain);
    return st;
}

lks_status lks_tokenizer_open_dir(lks_tokenizer **out, const char *dir, lks_error *err)
{
    directory d;
    json_t *root = NULL;
    char *source = NULL;
    size_t n_source = 0;
    bool built = false;
    lks_tokenizer *t = NULL;
    lks_status st = directory_open(&d, dir, err);
    if (st == LKS_OK)
        st = read_root(&root, &d, &built, &source, &n_source, err);
    if (st == LKS_OK)
        st = complete(&d, root, built, err);
    if (st == LKS_OK)
        st = lks_tokenizer_open_root(&t, root, d.name, err);
    if (st == LKS_OK) {
        t->root = json_incref(root);
        *out = t;
    }
    free(source);
    json_decref(root);
    directory_close(&d);
    return st;
}
