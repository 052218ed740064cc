/* Finding a model's parts: a Hugging Face directory, or one GGUF file that carries everything. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apps/captioner/model.h"
#include "fusion/json.h"
#include "fusion/weights/file.h"

enum { MAX_CONFIG_BYTES = 16 << 20 };

static bool file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

/* dir/name; malloc'ed. */
static char *join(const char *dir, const char *name)
{
    size_t n = strlen(dir) + strlen(name) + 2;
    char *path = malloc(n);
    if (path)
        snprintf(path, n, "%s/%s", dir, name);
    return path;
}

/* *text = the file's bytes, or NULL when there is no such file and it is optional. */
static lks_status read_part(char **text, size_t *n, const char *dir, const char *name, bool optional, lks_error *err)
{
    char *path = join(dir, name);
    if (!path)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    lks_status st = LKS_OK;
    *text = NULL;
    if (file_exists(path))
        st = lks_file_read(text, n, path, MAX_CONFIG_BYTES, err);
    else if (!optional)
        st = lks_error_set(err, LKS_ERR_MODEL, "%s is missing: a model directory needs it", path);
    free(path);
    return st;
}

static lks_status read_json(json_t **out, const char *dir, const char *name, bool optional, lks_error *err)
{
    char *text;
    size_t n;
    lks_status st = read_part(&text, &n, dir, name, optional, err);
    if (st != LKS_OK || !text)
        return st;
    char *path = join(dir, name);
    st = path ? lks_json_parse(out, text, n, path, err) : lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    free(path);
    free(text);
    return st;
}

/* Newer directories keep preprocessing in processor_config.json, as the object "image_processor". */
static lks_status read_processor(lks_model_files *files, const char *path, lks_error *err)
{
    json_t *processor = NULL;
    lks_status st = read_json(&processor, path, "processor_config.json", true, err);
    const json_t *image = json_object_get(processor, "image_processor");
    if (st == LKS_OK && json_is_object(image)) {
        files->preprocessor = lks_json_print(image, JSON_COMPACT);
        if (!files->preprocessor)
            st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
        else
            files->n_preprocessor = strlen(files->preprocessor);
    }
    json_decref(processor);
    return st;
}

/* A vocabulary takes about as long to read as weights take to bind, and neither needs the other. */
typedef struct lks_tokenizer_reader {
    char *path;
    lks_tokenizer_texts texts; /* without JSON: what the directory at `path` holds */
    bool runs;
    pthread_t thread;
    lks_status status;
    lks_tokenizer *tokenizer;
    lks_error err;
} lks_tokenizer_reader;

static void *read_tokenizer(void *argument)
{
    lks_tokenizer_reader *r = argument;
    r->status = r->texts.json ? lks_tokenizer_open_texts(&r->tokenizer, &r->texts, r->path, &r->err)
                              : lks_tokenizer_open_dir(&r->tokenizer, r->path, &r->err);
    return NULL;
}

static void await_tokenizer(lks_tokenizer_reader *r)
{
    if (r->runs)
        pthread_join(r->thread, NULL);
    r->runs = false;
}

static lks_status begin_tokenizer(lks_model_files *files, const char *path, lks_tokenizer_texts texts, lks_error *err)
{
    lks_tokenizer_reader *r = calloc(1, sizeof *r);
    if (!r || !(r->path = strdup(path))) {
        free(r);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    r->texts = texts;
    sigset_t all, before; /* signals belong to the caller's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r->runs = pthread_create(&r->thread, NULL, read_tokenizer, r) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!r->runs)
        read_tokenizer(r);
    files->tokenizer = r;
    return LKS_OK;
}

lks_status lks_model_files_tokenizer(lks_model_files *files, lks_tokenizer **out, lks_error *err)
{
    lks_tokenizer_reader *r = files->tokenizer;
    await_tokenizer(r);
    lks_status st = r->status;
    if (st == LKS_OK)
        *out = r->tokenizer;
    else if (err)
        *err = r->err;
    free(r->path);
    free(r);
    files->tokenizer = NULL;
    return st;
}

static lks_status open_directory(lks_model_files *files, const char *path, lks_error *err)
{
    lks_status st = read_json(&files->config, path, "config.json", false, err);
    if (st == LKS_OK)
        st = read_json(&files->generation, path, "generation_config.json", true, err);
    if (st == LKS_OK)
        st = read_part(&files->preprocessor, &files->n_preprocessor, path, "preprocessor_config.json", true, err);
    if (st == LKS_OK && !files->preprocessor)
        st = read_processor(files, path, err);
    if (st == LKS_OK)
        st = lks_weights_open(&files->weights, path, err);
    return st == LKS_OK ? begin_tokenizer(files, path, (lks_tokenizer_texts){0}, err) : st;
}

/* A string value of the GGUF file as JSON. */
static lks_status gguf_json(json_t **out, const lks_weights *weights, const char *key, lks_error *err)
{
    size_t n;
    const char *text = lks_weights_string(weights, key, &n);
    if (!text)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: the key '%s' is missing; this is no Looksay model",
                             lks_weights_path(weights), key);
    return lks_json_parse(out, text, n, lks_weights_path(weights), err);
}

static lks_status open_gguf(lks_model_files *files, const char *path, lks_error *err)
{
    lks_status st = lks_weights_open(&files->weights, path, err);
    if (st != LKS_OK)
        return st;
    if (strcmp(lks_weights_format(files->weights), "gguf") != 0)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s holds weights only: give the model's directory (with config.json and tokenizer)",
                             path);
    st = gguf_json(&files->config, files->weights, "looksay.config", err);
    if (st == LKS_OK)
        st = gguf_json(&files->generation, files->weights, "looksay.generation", err);
    if (st != LKS_OK)
        return st;
    size_t n;
    const char *text = lks_weights_string(files->weights, "looksay.preprocessor", &n);
    if (text) {
        files->preprocessor = malloc(n + 1);
        if (!files->preprocessor)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
        memcpy(files->preprocessor, text, n);
        files->preprocessor[n] = '\0';
        files->n_preprocessor = n;
    }
    lks_tokenizer_texts texts = {0};
    texts.json = lks_weights_string(files->weights, "looksay.tokenizer", &texts.n_json);
    texts.tokens = lks_weights_string(files->weights, "looksay.tokens", &texts.n_tokens);
    texts.merges = lks_weights_string(files->weights, "looksay.merges", &texts.n_merges);
    if (!texts.json)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: the key 'looksay.tokenizer' is missing; this is no Looksay model",
                             path);
    return begin_tokenizer(files, path, texts, err);
}

lks_status lks_model_files_open(lks_model_files *files, const char *path, lks_error *err)
{
    *files = (lks_model_files){0};
    struct stat info;
    if (stat(path, &info) != 0)
        return lks_error_set(err, LKS_ERR_MODEL, "model %s: %s", path, strerror(errno));
    lks_status st = S_ISDIR(info.st_mode) ? open_directory(files, path, err) : open_gguf(files, path, err);
    if (st != LKS_OK)
        lks_model_files_close(files);
    return st;
}

void lks_model_files_close(lks_model_files *files)
{
    lks_tokenizer *unused = NULL;
    if (files->tokenizer && lks_model_files_tokenizer(files, &unused, NULL) == LKS_OK)
        lks_tokenizer_close(unused);
    json_decref(files->config);
    json_decref(files->generation);
    free(files->preprocessor);
    lks_weights_close(files->weights);
    *files = (lks_model_files){0};
}
