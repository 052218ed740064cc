/* A tokenizer from the files of a model directory. Whatever the files are, they become the JSON of a tokenizer.json:
 *
 *   tokenizer.json | vocab.json + merges.txt | vocab.txt | SentencePiece model      the model and its steps
 *   tokenizer_config.json, special_tokens_map.json, added_tokens.json               special tokens, options, clean-up
 *
 * Options and defaults are those of the tokenizer class that transformers would take. */
#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fusion/weights/file.h"

enum { MOST_BYTES = 256 << 20, MOST_PATH = 4096 };

/* Everything the directory says, as read. Missing files are NULL. */
typedef struct directory {
    const char *path;
    char name[MOST_PATH];     /* of the file that holds the vocabulary */
    json_t *config;           /* tokenizer_config.json */
    json_t *specials;         /* special_tokens_map.json */
    json_t *added;            /* added_tokens.json */
    json_t *model_config;     /* config.json */
    const lks_family *family; /* NULL: none known */
    bool
        numbered_raw; /* tokens of added_tokens_decoder are looked for before the text is normalised, whatever they say */
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
        st = lks_token_json_parse(out, data, n, path, err);
    free(data);
    return st;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* The class that transformers takes: named by a file, else the model type's. Without a tokenizer.json the decoder's model
 * type helps where transformers gives up. */
static void find_family(directory *d)
{
    char path[MOST_PATH];
    const char *class = text_of(d->config, "tokenizer_class");
    if (!class)
        class = text_of(d->model_config, "tokenizer_class");
    d->family = lks_family_of(class);
    if (class)
        return;
    d->family = lks_family_of(text_of(d->model_config, "model_type"));
    if (!d->family && !file_path(path, d->path, "tokenizer.json"))
        d->family = lks_family_of(text_of(json_object_get(d->model_config, "decoder"), "model_type"));
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

/* Tokens in the order in which they are added, and the same by their content. */
typedef struct added {
    json_t *list, *by_content; /* items are shared */
} added;

/* Adds a token with the flags of `value` (an object, or text alone), or marks the one that is there as special. */
static int add_token(const added *to, const char *content, const json_t *value, bool special)
{
    json_t *there = json_object_get(to->by_content, content);
    if (there)
        return special ? json_object_set_new(there, "special", json_true()) : 0;
    special |= lks_token_json_bool(value, "special", false);
    json_t *item =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content", content, "single_word",
                  lks_token_json_bool(value, "single_word", false), "lstrip",
                  lks_token_json_bool(value, "lstrip", false), "rstrip", lks_token_json_bool(value, "rstrip", false),
                  "normalized", lks_token_json_bool(value, "normalized", !special), "special", special);
    return json_array_append(to->list, item) | json_object_set_new(to->by_content, content, item);
}

static int compare_numbers(const void *a, const void *b)
{
    long x = strtol(*(const char *const *)a, NULL, 10), y = strtol(*(const char *const *)b, NULL, 10);
    return (x > y) - (x < y);
}

/* added_tokens_decoder: {"7": {"content": ...}, ...}, in the order of the numbers. */
static int add_numbered(const added *to, const json_t *decoder, bool raw)
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
        if (!content)
            continue;
        failed |= add_token(to, content, value, lks_token_json_bool(value, "special", false));
        if (raw)
            failed |= json_object_set_new(json_object_get(to->by_content, content), "normalized", json_false());
    }
    free(keys);
    return failed;
}

typedef struct plain {
    const char *content;
    json_int_t id;
} plain;

static int compare_ids(const void *a, const void *b)
{
    const plain *x = a, *y = b;
    int order = (x->id > y->id) - (x->id < y->id);
    return order ? order : strcmp(x->content, y->content);
}

/* added_tokens.json: {"<token>": id, ...}, in the order of the ids, of which the first token of each counts. */
static int add_plain(const added *to, const json_t *tokens)
{
    size_t n = 0;
    plain *sorted = calloc(json_object_size(tokens) + 1, sizeof *sorted);
    if (!sorted)
        return -1;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)tokens, key, value) sorted[n++] = (plain){key, json_integer_value(value)};
    qsort(sorted, n, sizeof *sorted, compare_ids);
    int failed = 0;
    for (size_t i = 0; i < n; i++)
        if (sorted[i].id >= 0 && (i == 0 || sorted[i].id != sorted[i - 1].id))
            failed |= add_token(to, sorted[i].content, NULL, false);
    free(sorted);
    return failed;
}

/* Behind those that are there. */
static int add_all(const directory *d, json_t *list)
{
    const added to = {list, json_object()};
    if (!to.by_content)
        return -1;
    int failed = 0;
    size_t index;
    json_t *there;
    json_array_foreach(list, index, there)
    {
        const char *content = text_of(there, "content");
        if (content && !json_object_get(to.by_content, content))
            failed |= json_object_set(to.by_content, content, there);
    }
    failed |= add_numbered(&to, json_object_get(d->config, "added_tokens_decoder"), d->numbered_raw);
    failed |= add_plain(&to, d->added);
    for (size_t i = 0; i < LKS_N_SPECIALS; i++) {
        const char *content = lks_special_text(d->family, d->config, d->specials, i);
        if (content)
            failed |= add_token(&to, content, lks_special_value(d->config, d->specials, i), true);
    }
    static const char *const more[] = {"additional_special_tokens", "extra_special_tokens"};
    for (size_t k = 0; k < 4; k++) {
        const json_t *extra = json_object_get(k < 2 ? d->specials : d->config, more[k % 2]);
        for (size_t i = 0; i < json_array_size(extra); i++) {
            const json_t *item = json_array_get(extra, i);
            const char *content = json_is_string(item) ? json_string_value(item) : text_of(item, "content");
            if (content && *content)
                failed |= add_token(&to, content, item, true);
        }
    }
    json_decref(to.by_content);
    return failed;
}

/* --- vocab.txt, vocab.json + merges.txt --- */

static lks_status put_lines(json_t *vocab, const char *text, size_t n, const char *name, lks_error *err)
{
    const char *line;
    size_t length, used;
    for (json_int_t id = 0; lks_next_line(&text, &n, &line, &length); id++) {
        while (length) { /* white space at the end does not belong to the token */
            size_t last = lks_utf8_last(line, length);
            if (!lks_char_is_space(lks_utf8_next(line + last, length - last, &used)))
                break;
            length = last;
        }
        if (memchr(line, '\0', length) || !lks_utf8_valid(line, length))
            return lks_error_set(err, LKS_ERR_MODEL, "%s: line %lld is not UTF-8 text; the vocabulary is damaged", name,
                                 (long long)id + 1);
        if (json_object_setn_new(vocab, line, length, json_integer(id)) != 0)
            return lks_text_nomem(name, err);
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
    *out = json_pack("{s:{s:s, s:o}}", "model", "type", "WordPiece", "vocab", vocab);
    return *out ? LKS_OK : lks_text_nomem(d->name, err);
}

static lks_status read_merges(json_t **out, const char *path, lks_error *err)
{
    char *data = NULL;
    size_t n;
    lks_status st = lks_file_read(&data, &n, path, MOST_BYTES, err);
    json_t *merges = json_array();
    const char *rest = data, *line;
    size_t length;
    while (st == LKS_OK && lks_next_line(&rest, &n, &line, &length)) {
        length -= length && line[length - 1] == '\r';
        if (length == 0 || (length >= 8 && memcmp(line, "#version", 8) == 0))
            continue;
        if (!lks_utf8_valid(line, length))
            st = lks_error_set(err, LKS_ERR_MODEL, "%s: the merges are not UTF-8 text; the file is damaged", path);
        else if (json_array_append_new(merges, json_stringn(line, length)) != 0)
            st = lks_text_nomem(path, err);
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
        d->family = lks_family_of(json_object_get(vocab, "<s>") && json_object_get(vocab, "</s>") ? "roberta" : "gpt2");
    *out = json_pack("{s:{s:s, s:o, s:o}}", "model", "type", "BPE", "vocab", vocab, "merges", merges);
    return *out ? LKS_OK : lks_text_nomem(d->name, err);
}

/* The path of the directory's SentencePiece model: the usual names first, then the first of any name in order. */
static bool find_spm(char *out, const char *dir)
{
    static const char *const usual[] = {"sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "source.spm"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (file_path(out, dir, usual[i]))
            return true;
    }
    char best[256] = "";
    DIR *handle = opendir(dir);
    for (struct dirent *entry; handle && (entry = readdir(handle)) != NULL;) {
        size_t n = strlen(entry->d_name);
        bool fits = (n > 6 && strcmp(entry->d_name + n - 6, ".model") == 0) ||
                    (n > 4 && strcmp(entry->d_name + n - 4, ".spm") == 0);
        if (fits && n < sizeof best && (!*best || strcmp(entry->d_name, best) < 0))
            memcpy(best, entry->d_name, n + 1);
    }
    if (handle)
        closedir(handle);
    return *best && file_path(out, dir, best);
}

/* --- opening --- */

static lks_status read_root(json_t **out, directory *d, char **source, size_t *n_source, lks_error *err)
{
    char merges[MOST_PATH];
    if (file_path(d->name, d->path, "tokenizer.json")) {
        lks_status st = lks_file_read(source, n_source, d->name, MOST_BYTES, err);
        return st == LKS_OK ? lks_token_json_parse(out, *source, *n_source, d->name, err) : st;
    }
    if (file_path(merges, d->path, "merges.txt") && file_path(d->name, d->path, "vocab.json"))
        return build_bpe(out, d, merges, err);
    if (file_path(d->name, d->path, "vocab.txt")) {
        d->family = d->family ? d->family : lks_family_of("bert");
        return build_bert(out, d, err);
    }
    if (find_spm(d->name, d->path))
        return lks_spm_read(out, &d->numbered_raw, d->name, lks_family_is_xlm_roberta(d->family), d->config, err);
    return lks_error_set(err, LKS_ERR_MODEL,
                         "%s: no tokenizer here; one of tokenizer.json, vocab.json with merges.txt, vocab.txt or a "
                         "SentencePiece .model is needed",
                         d->path);
}

static lks_status complete(const directory *d, json_t *root, lks_error *err)
{
    json_t *list = json_object_get(root, "added_tokens");
    int failed = lks_family_apply(d->family, root, d->config, d->specials);
    if (!json_is_array(list)) {
        list = json_array();
        failed |= json_object_set_new(root, "added_tokens", list);
    }
    failed |= add_all(d, list);
    failed |= json_object_set_new(root, "looksay_clean_up",
                                  json_boolean(lks_token_json_bool(d->config, "clean_up_tokenization_spaces", false)));
    return failed ? lks_text_nomem(d->name, err) : LKS_OK;
}

lks_status lks_tokenizer_open_dir(lks_tokenizer **out, const char *dir, lks_error *err)
{
    directory d;
    json_t *root = NULL;
    char *source = NULL;
    size_t n_source = 0;
    lks_tokenizer *t = NULL;
    lks_status st = directory_open(&d, dir, err);
    if (st == LKS_OK)
        st = read_root(&root, &d, &source, &n_source, err);
    if (st == LKS_OK)
        st = complete(&d, root, err);
    if (st == LKS_OK)
        st = lks_tokenizer_open_root(&t, root, NULL, d.name, err);
    if (st == LKS_OK && lks_family_set_template(d.family, root, t, d.config, d.specials) != 0)
        st = lks_text_nomem(d.name, err);
    if (st == LKS_OK)
        st = lks_tokenizer_keep(t, root, source, n_source, d.name, err);
    if (st == LKS_OK) {
        source = NULL;
        *out = t;
    } else {
        lks_tokenizer_close(t);
    }
    free(source);
    json_decref(root);
    directory_close(&d);
    return st;
}
