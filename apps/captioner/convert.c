/* Packing a model into one GGUF file: the weights that binding uses, and the texts that the model was opened from. */
#include <errno.h>
#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/captioner/calibrate.h"
#include "apps/captioner/model.h"
#include "fusion/json.h"
#include "fusion/weights/convert.h"

enum { MAX_STRINGS = 16 };

/* What is carried over from a GGUF file as it is. */
static const char *const carried[] = {"general.name",    "general.author",      "general.license",
                                      "general.version", "general.description", "general.url"};

typedef struct string_list {
    lks_gguf_string items[MAX_STRINGS];
    size_t n;
    char *owned[MAX_STRINGS];
    size_t n_owned;
    lks_tokenizer_texts tokenizer;
} string_list;

static void add_text(string_list *list, const char *key, const char *value, size_t n)
{
    list->items[list->n++] = (lks_gguf_string){key, value, n};
}

/* Adds a text that the list frees; false when it is NULL. */
static bool add_owned(string_list *list, const char *key, char *value)
{
    if (!value)
        return false;
    list->owned[list->n_owned++] = value;
    add_text(list, key, value, strlen(value));
    return true;
}

static bool add_json(string_list *list, const char *key, const json_t *value)
{
    return add_owned(list, key, lks_json_print(value, JSON_COMPACT));
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static lks_status collect_strings(string_list *list, const lks_model *model, const lks_model_files *files,
                                  lks_error *err)
{
    bool named = false;
    add_text(list, "general.architecture", "looksay", strlen("looksay"));
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
        size_t n;
        const char *value = lks_weights_string(model->weights, carried[i], &n);
        if (!value)
            continue;
        named |= i == 0;
        add_text(list, carried[i], value, n);
    }
    const char *name = last_part(model->path);
    if (!named)
        add_text(list, carried[0], name, strlen(name));
    if (files->preprocessor)
        add_text(list, "looksay.preprocessor", files->preprocessor, files->n_preprocessor);
    json_t *none = json_object();
    bool done = none && add_json(list, "looksay.config", files->config) &&
                add_json(list, "looksay.generation", files->generation ? files->generation : none);
    json_decref(none);
    if (!done)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    lks_tokenizer_texts *texts = &list->tokenizer;
    lks_status st = lks_tokenizer_to_texts(model->tokenizer, texts, err);
    if (st != LKS_OK)
        return st;
    add_text(list, "looksay.tokenizer", texts->json, texts->n_json);
    if (texts->tokens)
        add_text(list, "looksay.tokens", texts->tokens, texts->n_tokens);
    if (texts->merges)
        add_text(list, "looksay.merges", texts->merges, texts->n_merges);
    return LKS_OK;
}

static lks_status parse_target(lks_dtype *dtype, lks_precision *precision, const lks_convert_options *options,
                               lks_error *err)
{
    static const struct {
        const char *name;
        lks_dtype dtype;
        lks_precision precision;
    } targets[] = {{"f32", LKS_F32, LKS_PRECISION_F32},
                   {"f16", LKS_F16, LKS_PRECISION_F32},
                   {"bf16", LKS_F32, LKS_PRECISION_BF16},
                   {"int8", LKS_F32, LKS_PRECISION_INT8},
                   {"int4", LKS_F32, LKS_PRECISION_INT4}};
    const char *name = options && options->dtype ? options->dtype : "f32";
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++)
        if (strcmp(targets[i].name, name) == 0) {
            *dtype = targets[i].dtype;
            *precision = targets[i].precision;
            return LKS_OK;
        }
    return lks_error_set(err, LKS_ERR_ARGUMENT, "unknown dtype '%s': use f32, f16, bf16, int8 or int4", name);
}

static lks_status refuse_packed(const lks_weights *weights, const char *path, lks_error *err)
{
    lks_precision precision = lks_weights_precision(weights);
    if (precision == LKS_PRECISION_F32)
        return LKS_OK;
    return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: holds %s weights already; convert the model it was made from",
                         path, lks_precision_name(precision));
}

static lks_status write_model(lks_convert_result *result, const lks_model *model, const lks_model_files *files,
                              const lks_converter *converter, const char *out_path, lks_error *err)
{
    string_list strings = {.n = 0};
    lks_status st = collect_strings(&strings, model, files, err);
    uint64_t before = lks_weights_bytes(model->weights); /* the file may be the one that is replaced */
    if (st == LKS_OK)
        st = lks_converter_write(converter, out_path, strings.items, strings.n, err);
    for (size_t i = 0; i < strings.n_owned; i++)
        free(strings.owned[i]);
    lks_tokenizer_texts_free(&strings.tokenizer);
    struct stat info = {0};
    if (st == LKS_OK && result) {
        stat(out_path, &info);
        *result = (lks_convert_result){.bytes_before = before,
                                       .bytes_after = (uint64_t)info.st_size,
                                       .n_tensors = lks_converter_n_tensors(converter),
                                       .n_packed_layers = lks_converter_n_packed_layers(converter)};
    }
    return st;
}

enum { MAX_KEPT = 64 };

/* What a model becomes. */
typedef struct target {
    lks_dtype dtype;
    lks_precision precision;
    const char *const *kept, *const *photos;
    size_t n_kept, n_photos;
    int n_threads;
    const char *called; /* the model, in messages; NULL: what its path says */
} target;

typedef struct conversion {
    lks_converter *converter;
    const target *to;
    bool matched[MAX_KEPT];
    lks_calibrator *calibrator; /* or NULL */
} conversion;

static lks_status add_layer(void *context, const lks_bound *bound, lks_error *err)
{
    conversion *c = context;
    for (size_t i = 0; bound->layer && i < c->to->n_kept; i++)
        c->matched[i] |= fnmatch(c->to->kept[i], bound->name, 0) == 0;
    lks_status st = c->calibrator ? lks_calibrator_add(c->calibrator, bound, err) : LKS_OK;
    return st == LKS_OK ? lks_converter_add(c->converter, bound, err) : st;
}

static lks_status check_kept(const conversion *c, const char *path, lks_error *err)
{
    for (size_t i = 0; i < c->to->n_kept; i++)
        if (!c->matched[i])
            return lks_error_set(err, LKS_ERR_ARGUMENT,
                                 "%s: has no layer whose name matches '%s'; names are those of its tensors", path,
                                 c->to->kept[i]);
    return LKS_OK;
}

/* lks_model_convert in one step: a model that is calibrated is not packed yet. */
static lks_status convert_once(lks_convert_result *result, const char *path, const char *out_path, const target *to,
                               lks_error *err)
{
    lks_model_files files = {0};
    lks_threads *threads = NULL;
    conversion job = {.to = to};
    lks_model *model = NULL;
    size_t n_calibrated = 0;
    lks_status st = lks_threads_open(&threads, to->n_threads, err);
    if (st == LKS_OK)
        st = lks_converter_open(&job.converter, to->dtype, to->precision, err);
    if (st == LKS_OK)
        st = lks_model_files_open(&files, path, err);
    if (st == LKS_OK)
        st = refuse_packed(files.weights, path, err);
    const lks_ops *ops = lks_ops_get(LKS_ISA_AUTO);
    if (st == LKS_OK && to->n_photos > 0)
        st = lks_calibrator_open(&job.calibrator, ops, err);
    if (st == LKS_OK) {
        lks_bind_options bind = {.ops = job.calibrator ? lks_calibrator_ops(job.calibrator) : ops,
                                 .threads = threads,
                                 .precision = to->precision,
                                 .kept = to->kept,
                                 .n_kept = to->n_kept,
                                 .listener = add_layer,
                                 .listener_context = &job};
        st = lks_model_open_files(&model, &files, path, &bind, err);
    }
    if (st == LKS_OK)
        st = check_kept(&job, to->called ? to->called : path, err);
    if (st == LKS_OK && job.calibrator)
        st = lks_calibrator_look(job.calibrator, model, path, to->photos, to->n_photos, to->n_threads, err);
    if (st == LKS_OK && job.calibrator)
        st = lks_calibrator_apply(job.calibrator, job.converter, &n_calibrated, err);
    if (st == LKS_OK)
        st = write_model(result, model, &files, job.converter, out_path, err);
    if (st == LKS_OK && result)
        result->n_calibrated_layers = n_calibrated;
    lks_converter_close(job.converter);
    lks_model_close(model);
    lks_calibrator_close(job.calibrator);
    lks_model_files_close(&files);
    lks_threads_close(threads);
    return st;
}

/* Calibrates the model into a new file beside the result, and packs that. */
static lks_status convert_calibrated(lks_convert_result *result, const char *path, const char *out_path,
                                     const target *to, lks_error *err)
{
    static const char suffix[] = ".XXXXXX";
    char *between = malloc(strlen(out_path) + sizeof suffix);
    if (!between)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    int fd = mkstemp(strcat(strcpy(between, out_path), suffix));
    if (fd < 0) {
        lks_status failed =
            lks_error_set(err, LKS_ERR_IO, "%s: cannot be written beside: %s", out_path, strerror(errno));
        free(between);
        return failed;
    }
    close(fd);
    const target scaled = {.dtype = LKS_F32,
                           .precision = LKS_PRECISION_F32,
                           .photos = to->photos,
                           .n_photos = to->n_photos,
                           .n_threads = to->n_threads};
    target packed = *to;
    packed.n_photos = 0;
    packed.called = path;
    lks_convert_result first, second;
    lks_status st = convert_once(&first, path, between, &scaled, err);
    if (st == LKS_OK)
        st = convert_once(&second, between, out_path, &packed, err);
    unlink(between);
    if (st == LKS_OK && result) {
        *result = second;
        result->bytes_before = first.bytes_before;
        result->n_calibrated_layers = first.n_calibrated_layers;
    }
    free(between);
    return st;
}

lks_status lks_model_convert(lks_convert_result *result, const char *path, const char *out_path,
                             const lks_convert_options *options, lks_error *err)
{
    target to = {.dtype = LKS_F32, .precision = LKS_PRECISION_F32};
    lks_status st = parse_target(&to.dtype, &to.precision, options, err);
    if (options) {
        to.kept = options->kept;
        to.n_kept = options->n_kept;
        to.n_threads = options->n_threads;
        if (options->size >= offsetof(lks_convert_options, n_photos) + sizeof options->n_photos) {
            to.photos = options->photos;
            to.n_photos = options->n_photos;
        }
    }
    if (st == LKS_OK && to.n_kept > MAX_KEPT)
        st = lks_error_set(err, LKS_ERR_ARGUMENT, "more than %d patterns of layers", MAX_KEPT);
    if (st != LKS_OK)
        return st;
    const bool packs = to.precision != LKS_PRECISION_F32;
    return packs && to.n_photos > 0 ? convert_calibrated(result, path, out_path, &to, err)
                                    : convert_once(result, path, out_path, &to, err);
}
