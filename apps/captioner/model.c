/* Opening a model: which family it is, then encoder, decoder, tokenizer and defaults. */
#include "apps/captioner/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/json.h"

const char *lks_version(void)
{
    return LKS_VERSION;
}

void lks_free(void *memory)
{
    free(memory);
}

/* What config.json says about the parts: their objects, types and tensor name prefixes. */
typedef struct anatomy {
    const json_t *vision, *text;
    const char *vision_type, *text_type, *vision_prefix, *text_prefix;
    const char *processor; /* preprocessing class when preprocessor_config.json is absent */
    bool blip;
} anatomy;

static lks_status describe(anatomy *out, const json_t *config, const char *path, lks_error *err)
{
    const char *type = lks_json_string(config, "model_type", "");
    anatomy a = {0};
    if (strcmp(type, "vision-encoder-decoder") == 0) {
        a = (anatomy){.vision = json_object_get(config, "encoder"),
                      .text = json_object_get(config, "decoder"),
                      .vision_prefix = "encoder.",
                      .text_prefix = "decoder.",
                      .processor = "ViTImageProcessor"};
        a.vision_type = lks_json_string(a.vision, "model_type", "");
        a.text_type = lks_json_string(a.text, "model_type", "");
    } else if (strcmp(type, "blip") == 0) {
        a = (anatomy){.vision = json_object_get(config, "vision_config"),
                      .text = json_object_get(config, "text_config"),
                      .vision_type = "blip_vision_model",
                      .text_type = "blip_text_model",
                      .vision_prefix = "vision_model.",
                      .text_prefix = "text_decoder.",
                      .processor = "BlipImageProcessor",
                      .blip = true};
    } else if (strcmp(type, "looksay") == 0) {
        a = (anatomy){.vision = json_object_get(config, "vision"),
                      .text = json_object_get(config, "text"),
                      .vision_type = "looksay",
                      .text_type = "looksay",
                      .vision_prefix = "",
                      .text_prefix = "",
                      .processor = "ViTImageProcessor"};
    } else {
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: model_type '%s' is not served (vision-encoder-decoder, blip and looksay are)", path,
                             type);
    }
    *out = a;
    return LKS_OK;
}

static lks_status parse_preprocess(lks_model *model, const lks_model_files *files, const anatomy *parts, lks_error *err)
{
    if (files->preprocessor)
        return lks_preprocess_parse(&model->preprocess, files->preprocessor, files->n_preprocessor, model->path, err);
    char text[96];
    int n = snprintf(text, sizeof text, "{\"image_processor_type\": \"%s\"}", parts->processor);
    return lks_preprocess_parse(&model->preprocess, text, (size_t)n, model->path, err);
}

static lks_status check_tokens(const lks_model *model, lks_error *err)
{
    const lks_search_options *s = &model->generation.search;
    int vocab = lks_decoder_describe(model->decoder)->vocab_size;
    bool valid = s->start_token < vocab && s->forced_first_token < vocab && s->forced_last_token < vocab;
    for (int i = 0; i < s->n_end_tokens; i++)
        valid &= s->end_tokens[i] < vocab;
    const lks_languages *l = &model->languages;
    for (int i = 0; i < l->n; i++)
        valid &= l->items[i].token < vocab;
    valid &= l->fill_token < vocab && l->mask_token < vocab;
    if (valid)
        return LKS_OK;
    return lks_error_set(err, LKS_ERR_MODEL,
                         "%s: a start, end, forced or language token lies outside the vocabulary of %d", model->path,
                         vocab);
}

static lks_status check_precision(const lks_weights *weights, lks_precision asked, lks_error *err)
{
    lks_precision stored = lks_weights_precision(weights);
    if (asked == LKS_PRECISION_AS_STORED || stored == LKS_PRECISION_F32 || asked == stored)
        return LKS_OK;
    return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                         "%s: holds %s weights and cannot be run as %s; open the model it was made from",
                         lks_weights_path(weights), lks_precision_name(stored), lks_precision_name(asked));
}

static lks_status open_parts(lks_model *model, lks_model_files *files, const lks_bind_options *bind, lks_error *err)
{
    anatomy parts = {0};
    lks_status st = check_precision(model->weights, bind->precision, err);
    if (st == LKS_OK)
        st = describe(&parts, files->config, model->path, err);
    if (st == LKS_OK)
        st = parse_preprocess(model, files, &parts, err);
    if (st != LKS_OK)
        return st;
    snprintf(model->family, sizeof model->family, "%s", lks_json_string(files->config, "model_type", ""));
    snprintf(model->encoder_type, sizeof model->encoder_type, "%s", parts.vision_type);
    snprintf(model->decoder_type, sizeof model->decoder_type, "%s", parts.text_type);

    int width, height; /* of the tensor of a square picture */
    st = lks_preprocess_size(&model->preprocess, &width, &height, 1, 1, err);
    if (st != LKS_OK)
        return st;
    if (strcmp(parts.vision_type, "looksay") == 0 && !lks_preprocess_is_fixed(&model->preprocess))
        return lks_error_set(
            err, LKS_ERR_UNSUPPORTED,
            "%s: the pictures of such a model have one size: give \"size\" as height and width, or crop", model->path);
    lks_bind_options seeing = *bind; /* int4 is for decoding, where weights are read again for every word */
    if (seeing.precision == LKS_PRECISION_INT4)
        seeing.precision = LKS_PRECISION_INT8;
    st = lks_vit_open(&model->vit, model->weights, parts.vision_prefix, parts.vision, parts.vision_type, width, height,
                      &seeing, err);
    if (st != LKS_OK)
        return st;
    lks_decoder_config config;
    int encoder_width = lks_vit_width(model->vit);
    st = lks_decoder_config_parse(&config, parts.text, parts.text_type, encoder_width, model->path, err);
    if (st == LKS_OK)
        st = lks_decoder_open(&model->decoder, model->weights, parts.text_prefix, &config, encoder_width, bind, err);
    const json_t *reader = json_object_get(parts.text, "encoder");
    if (st == LKS_OK && json_is_object(reader))
        st = lks_text_encoder_open(&model->reader, model->weights, reader, model->decoder, bind, model->path, err);
    if (st == LKS_OK)
        st = lks_model_files_tokenizer(files, &model->tokenizer, err);
    if (st == LKS_OK)
        st = lks_languages_parse(&model->languages, files->config, model->tokenizer, model->path, err);
    if (st == LKS_OK)
        st = lks_generation_parse(&model->generation, files->generation, files->config, parts.text, parts.blip,
                                  model->path, err);
    if (st == LKS_OK)
        st = check_tokens(model, err);
    return st;
}

lks_status lks_model_open_files(lks_model **out, lks_model_files *files, const char *path, const lks_bind_options *bind,
                                lks_error *err)
{
    lks_model *model = calloc(1, sizeof *model);
    if (!model || !(model->path = strdup(path))) {
        free(model);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    model->ops = bind->ops;
    model->weights = files->weights;
    files->weights = NULL;
    lks_status st = open_parts(model, files, bind, err);
    if (st != LKS_OK) {
        lks_tokenizer *unread = NULL; /* its text lies in the weights, maybe */
        if (files->tokenizer && lks_model_files_tokenizer(files, &unread, NULL) == LKS_OK)
            model->tokenizer = unread;
        lks_model_close(model);
        return st;
    }
    *out = model;
    return LKS_OK;
}

/* The precision that options ask for. Callers built before `dtype` existed have smaller options. */
static lks_status parse_dtype(lks_precision *out, const lks_model_options *options, lks_error *err)
{
    bool given = options && options->size >= offsetof(lks_model_options, dtype) + sizeof options->dtype;
    const char *dtype = given && options->dtype ? options->dtype : "auto";
    if (lks_precision_parse(out, dtype))
        return LKS_OK;
    return lks_error_set(err, LKS_ERR_ARGUMENT, "unknown dtype '%s': use auto, f32, bf16, int8 or int4", dtype);
}

/* The device that options ask for, NULL for the CPU. Callers built before `device` existed have smaller options. */
static lks_status open_device(lks_device **out, const lks_model_options *options, lks_error *err)
{
    bool given = options && options->size >= offsetof(lks_model_options, device) + sizeof options->device;
    const char *name = given && options->device ? options->device : "cpu";
    if (strcmp(name, "cpu") == 0)
        return LKS_OK;
    if (strcmp(name, "cuda") == 0)
        return lks_device_open(out, err);
    if (strcmp(name, "auto") == 0) {
        (void)lks_device_open(out, NULL); /* *out stays NULL: the CPU */
        return LKS_OK;
    }
    return lks_error_set(err, LKS_ERR_ARGUMENT, "unknown device '%s': use cpu, cuda or auto", name);
}

const char *lks_model_device(const lks_model *model)
{
    return model->device ? "cuda" : "cpu";
}

lks_status lks_model_open(lks_model **out, const char *path, const lks_model_options *options, lks_error *err)
{
    lks_isa isa = LKS_ISA_AUTO;
    if (options && options->isa && !lks_isa_parse(&isa, options->isa))
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "unknown instruction set '%s': use ref, blas, avx2, avx-vnni, avx512, avx512-vnni, "
                             "avx512-bf16, neon, neon-dotprod or auto",
                             options->isa);
    lks_precision precision = LKS_PRECISION_AS_STORED;
    lks_status st = parse_dtype(&precision, options, err);
    if (st != LKS_OK)
        return st;
    const lks_ops *ops = lks_ops_get(isa);
    if (!ops)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "the instruction set '%s' is not available on this machine",
                             lks_isa_name(isa));
    lks_model_files files = {0};
    lks_threads *threads = NULL;
    lks_device *device = NULL;
    st = open_device(&device, options, err);
    if (st == LKS_OK)
        st = lks_threads_open(&threads, options ? options->n_threads : 0, err);
    if (st == LKS_OK)
        st = lks_model_files_open(&files, path, err);
    if (st == LKS_OK) {
        lks_bind_options bind = {.ops = ops, .threads = threads, .precision = precision, .device = device};
        if (device)
            bind.ops = lks_device_ops(device);
        st = lks_model_open_files(out, &files, path, &bind, err);
    }
    if (st == LKS_OK)
        (*out)->device = device;
    else
        lks_device_close(device);
    lks_model_files_close(&files);
    lks_threads_close(threads);
    return st;
}

void lks_model_close(lks_model *model)
{
    if (!model)
        return;
    lks_generation_release(&model->generation);
    lks_tokenizer_close(model->tokenizer);
    lks_text_encoder_close(model->reader);
    lks_decoder_close(model->decoder);
    lks_vit_close(model->vit);
    lks_device_close(model->device);
    lks_weights_close(model->weights);
    free(model->path);
    free(model);
}

bool lks_model_halves_memory(const lks_model *model, int n_memory)
{
    const size_t cache_bytes = (size_t)4 << 20;
    const lks_decoder_config *c = lks_decoder_describe(model->decoder);
    size_t bytes = (size_t)c->n_layers * (size_t)n_memory * 2 * (size_t)c->width * sizeof(float);
    return lks_decoder_precision(model->decoder) != LKS_PRECISION_F32 && bytes > cache_bytes;
}

void lks_model_cost_estimate(const lks_model *model, lks_model_cost *cost)
{
    const lks_decoder_config *c = lks_decoder_describe(model->decoder);
    int n_tokens = lks_vit_usual_shape(model->vit)->n_tokens;
    double n = n_tokens, d = c->width;
    double cross = c->n_layers * n * 2 * d * c->d_memory;
    double parameters = (double)lks_decoder_multiply_adds(model->decoder, true);
    lks_precision precision = lks_decoder_precision(model->decoder);
    bool int8 = precision == LKS_PRECISION_INT8 || precision == LKS_PRECISION_INT4; /* both multiply bytes */
    double body = (double)lks_decoder_multiply_adds(model->decoder, false), head = parameters - body;
    double cross_bytes = (lks_model_halves_memory(model, n_tokens) ? 2 : 4) * c->n_layers * 2 * n * d;
    *cost = (lks_model_cost){
        .encode_flops = 2 * ((double)lks_vit_multiply_adds(model->vit) + cross),
        .decode_flops_per_token = 2 * (parameters + c->n_layers * 2 * n * d),
        .decode_bytes_per_token =
            lks_linear_bytes(precision, body) +
            lks_linear_bytes(precision == LKS_PRECISION_INT4 ? LKS_PRECISION_INT8 : precision, head) + cross_bytes,
        .weight_bytes = (double)(lks_vit_weight_bytes(model->vit) + lks_decoder_weight_bytes(model->decoder) +
                                 (model->reader ? lks_text_encoder_weight_bytes(model->reader) : 0)),
        .encode_int8_ops = 2 * ((double)lks_vit_int8_multiply_adds(model->vit) + (int8 ? cross : 0)),
        .decode_int8_ops_per_token = int8 ? 2 * parameters : 0,
    };
}

const char *lks_model_dtype(const lks_model *model)
{
    return lks_precision_name(lks_decoder_precision(model->decoder));
}

const char *lks_model_note(const lks_model *model, size_t i)
{
    return i < model->generation.n_notes ? model->generation.notes[i] : NULL;
}

lks_status lks_model_info(const lks_model *model, char **json, lks_error *err)
{
    const lks_decoder_config *c = lks_decoder_describe(model->decoder);
    const lks_vit_shape *shape = lks_vit_usual_shape(model->vit);
    lks_model_cost cost;
    lks_model_cost_estimate(model, &cost);
    const lks_search_options *s = &model->generation.search;
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s,"
                  " s:{s:s, s:i, s:i, s:i, s:i, s:[i, i]},"
                  " s:{s:s, s:i, s:i, s:i, s:i, s:i, s:i},"
                  " s:{s:i, s:i, s:f, s:i}, s:{s:f, s:f, s:I}}",
                  "path", model->path, "family", model->family, "format", lks_weights_format(model->weights), "dtype",
                  lks_model_dtype(model), "file_bytes", (json_int_t)lks_weights_bytes(model->weights), "tensors",
                  (json_int_t)lks_weights_count(model->weights), "isa", lks_isa_name(model->ops->isa), "vision", "type",
                  model->encoder_type, "width", lks_vit_width(model->vit), "tokens", shape->n_tokens, "image_width",
                  shape->width, "image_height", shape->height, "grid", shape->rows, shape->columns, "text", "type",
                  model->decoder_type, "width", c->width, "layers", c->n_layers, "heads", c->n_heads, "vocabulary",
                  c->vocab_size, "positions", lks_decoder_max_positions(model->decoder), "memory_width", c->d_memory,
                  "generation", "beams", s->n_beams, "max_tokens", s->max_tokens, "length_penalty",
                  (double)s->length_penalty, "no_repeat_ngram", s->no_repeat_ngram, "cost", "encode_gflop",
                  cost.encode_flops / 1e9, "decode_mflop_per_token", cost.decode_flops_per_token / 1e6, "weight_bytes",
                  (json_int_t)cost.weight_bytes);
    json_t *languages = json_array(), *notes = json_array();
    int failed = 0;
    for (int i = 0; i < model->languages.n; i++)
        failed |= json_array_append_new(languages, json_string(model->languages.items[i].code));
    for (size_t i = 0; i < model->generation.n_notes; i++)
        failed |= json_array_append_new(notes, json_string(model->generation.notes[i]));
    failed |= json_object_set_new(root, "languages", languages);
    failed |= json_object_set_new(root, "notes", notes);
    failed |= json_object_set_new(root, "calibrated", json_boolean(model->generation.calibration.known));
    char *text = failed ? NULL : lks_json_print(root, JSON_INDENT(2));
    json_decref(root);
    if (!text)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    *json = text;
    return LKS_OK;
}
