/* A session: one thread's path from pixels to words. All buffers are sized when it opens; only the decoder state grows, when
 * more beams are asked for than before. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/captioner/features.h"
#include "apps/captioner/model.h"
#include "apps/captioner/phrases.h"
#include "apps/captioner/picture.h"
#include "apps/captioner/result.h"
#include "apps/captioner/session.h"

double lks_session_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

enum { MAX_ROWS = 256 };

static size_t scratch_bytes(const lks_session *s, int rows, int positions, int n_memory)
{
    const lks_model *model = s->model;
    int n_threads = lks_threads_count(s->threads);
    size_t encode = lks_vit_scratch(model->vit, n_threads);
    size_t decode = lks_decoder_scratch(model->decoder, rows, positions, n_memory, n_threads);
    size_t read = model->reader ? lks_text_encoder_scratch(model->reader, n_threads) : 0;
    size_t most = encode > decode ? encode : decode;
    return read > most ? read : most;
}

/* Numbers in the tokens of one picture. */
static size_t picture_floats(const lks_model *model)
{
    return (size_t)lks_vit_n_tokens(model->vit) * (size_t)lks_vit_width(model->vit);
}

lks_status lks_session_open(lks_session **out, const lks_model *model, const lks_session_options *options,
                            lks_error *err)
{
    lks_session *s = calloc(1, sizeof *s);
    if (!s)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    s->model = model;
    int width, height;
    lks_vit_image_size(model->vit, &width, &height);
    s->pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *s->pixels);
    s->memory_floats = picture_floats(model);
    s->memory = malloc(s->memory_floats * sizeof *s->memory);
    lks_status st = LKS_OK;
    if (!s->pixels || !s->memory)
        st = lks_error_set(err, LKS_ERR_NOMEM, "out of memory for an image of %d x %d pixels", width, height);
    if (st == LKS_OK)
        st = lks_threads_open(&s->threads, options ? options->n_threads : 0, err);
    if (st != LKS_OK) {
        lks_session_close(s);
        return st;
    }
    *out = s;
    return LKS_OK;
}

void lks_session_close(lks_session *session)
{
    if (!session)
        return;
    lks_decoder_state_close(session->state);
    lks_threads_close(session->threads);
    lks_arena_release(&session->scratch);
    free(session->pixels);
    free(session->memory);
    free(session);
}

/* Makes room for `rows` rows of `positions` tokens that attend to n_memory tokens; keeps what is there when it suffices. */
static lks_status reserve(lks_session *s, int rows, int positions, int n_memory, bool maps, lks_error *err)
{
    if (s->state && rows <= s->state_rows && positions <= s->state_positions && n_memory <= s->state_memory &&
        maps == s->state_maps && lks_model_halves_memory(s->model, n_memory) == s->state_half)
        return LKS_OK;
    lks_decoder_state_close(s->state);
    s->state = NULL;
    size_t bytes = scratch_bytes(s, rows, positions, n_memory);
    if (bytes > s->scratch.size) {
        lks_arena_release(&s->scratch);
        lks_status st = lks_arena_init(&s->scratch, bytes, err);
        if (st != LKS_OK)
            return st;
    }
    s->compute = (lks_compute){.ops = s->model->ops, .threads = s->threads, .scratch = &s->scratch};
    bool half = lks_model_halves_memory(s->model, n_memory);
    unsigned flags = (maps ? LKS_DECODER_KEEP_MAPS : 0u) | (half ? LKS_DECODER_BF16_MEMORY : 0u);
    lks_status st =
        lks_decoder_state_open(&s->state, s->model->decoder, &s->compute, rows, positions, n_memory, flags, err);
    if (st == LKS_OK) {
        s->state_rows = rows;
        s->state_positions = positions;
        s->state_memory = n_memory;
        s->state_maps = maps;
        s->state_half = half;
    }
    return st;
}

/* Makes room for a memory of n_floats; keeps what is in it. */
static lks_status reserve_memory(lks_session *s, size_t n_floats, lks_error *err)
{
    if (n_floats <= s->memory_floats)
        return LKS_OK;
    float *grown = realloc(s->memory, n_floats * sizeof *grown);
    if (!grown)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for %zu numbers to attend to", n_floats);
    s->memory = grown;
    s->memory_floats = n_floats;
    return LKS_OK;
}

void lks_caption_options_init(lks_caption_options *options, const lks_model *model)
{
    const lks_search_options *s = &model->generation.search;
    *options = (lks_caption_options){
        .size = sizeof *options,
        .n_beams = s->n_beams,
        .n_best = 1,
        .max_tokens = LKS_AS_MODEL,
        .min_tokens = LKS_AS_MODEL,
        .no_repeat_ngram = s->no_repeat_ngram,
        .early_stopping = s->early_stopping,
        .length_penalty = s->length_penalty,
        .repetition_penalty = s->repetition_penalty,
        .temperature = 1.0f,
        .top_p = 1.0f,
    };
}

static lks_status check_options(const lks_caption_options *o, lks_error *err)
{
    if (o->size != sizeof *o)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "caption options were not set up with lks_caption_options_init");
    if (o->n_beams < 1 || o->n_beams > MAX_ROWS || o->n_best < 1 || o->n_best > MAX_ROWS)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "beams and n-best must lie in 1..%d", MAX_ROWS);
    if (o->n_best > o->n_beams && !o->sample)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "n-best %d needs at least as many beams (%d given)", o->n_best,
                             o->n_beams);
    if ((o->max_tokens < 1 && o->max_tokens != LKS_AS_MODEL) || o->min_tokens < LKS_AS_MODEL ||
        o->no_repeat_ngram < 0 || o->top_k < 0)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "max-tokens must be positive; min-tokens, no-repeat-ngram and "
                             "top-k must not be negative");
    if (!(o->temperature > 0.0f) || !(o->top_p > 0.0f && o->top_p <= 1.0f) || !(o->repetition_penalty > 0.0f) ||
        !isfinite(o->length_penalty))
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "temperature and repetition-penalty must be positive, top-p in (0, 1]");
    return LKS_OK;
}

static bool should_stop(void *context)
{
    const lks_caption_options *options = context;
    return options->stop(options->stop_context) != 0;
}

static void fill_search(lks_search_options *s, const lks_model *model, const lks_caption_options *o,
                        const lks_phrases *prompt, const lks_phrases *banned, const lks_phrases *required)
{
    *s = model->generation.search;
    s->n_beams = o->n_beams;
    s->n_best = o->n_best;
    if (o->max_tokens != LKS_AS_MODEL) {
        s->max_tokens = o->max_tokens;
        s->max_length = 0;
    }
    if (o->min_tokens != LKS_AS_MODEL) {
        s->min_tokens = o->min_tokens;
        s->min_length = 0;
    }
    s->no_repeat_ngram = o->no_repeat_ngram;
    s->early_stopping = o->early_stopping;
    s->length_penalty = o->length_penalty;
    s->repetition_penalty = o->repetition_penalty;
    s->sample = o->sample != 0;
    s->temperature = o->temperature;
    s->top_k = o->top_k;
    s->top_p = o->top_p;
    s->seed = o->seed;
    if (prompt->n > 0) {
        s->prompt = prompt->tokens[0];
        s->n_prompt = prompt->lengths[0];
    }
    s->banned = (const int32_t *const *)banned->tokens;
    s->banned_lengths = banned->lengths;
    s->n_banned = banned->n;
    s->required = (const int32_t *const *)required->tokens;
    s->required_lengths = required->lengths;
    s->n_required = required->n;
    s->stop = o->stop ? should_stop : NULL;
    s->stop_context = (void *)(uintptr_t)o;
}

/* The decoder with a guide beside it. */
typedef struct guided {
    lks_decoder_state *state;
    const lks_guide *guide;
} guided;

static lks_status guided_step(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens,
                              lks_error *err)
{
    const guided *g = context;
    lks_status st = lks_decoder_step(g->state, logits, tokens, n_rows, n_tokens, err);
    if (st == LKS_OK)
        g->guide->follow(g->guide->context, logits, tokens, n_rows, n_tokens);
    return st;
}

static void guided_reorder(void *context, const int32_t *parents, int n_rows)
{
    const guided *g = context;
    lks_decoder_reorder(g->state, parents, n_rows);
    g->guide->reorder(g->guide->context, parents, n_rows);
}

lks_status lks_session_search(lks_session *s, lks_hypothesis **hypotheses, int *n, int n_memory,
                              const lks_search_options *options, const lks_guide *guide, bool keep_maps, lks_error *err)
{
    const lks_decoder *decoder = s->model->decoder;
    int limit = lks_decoder_max_positions(decoder), positions = options->n_prompt + 1;
    if (positions >= limit)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "the prompt's %d tokens leave no room: this model holds %d",
                             options->n_prompt, limit);
    positions = options->max_tokens > limit - positions ? limit : positions + options->max_tokens;
    lks_status st = reserve(s, lks_search_rows(options), positions, n_memory, keep_maps, err);
    if (st != LKS_OK)
        return st;
    lks_decoder_attend(s->state, n_memory);
    st = lks_decoder_begin(s->state, s->memory, err);
    if (st != LKS_OK)
        return st;
    lks_step_model steps = {.context = s->state,
                            .vocab_size = lks_decoder_describe(decoder)->vocab_size,
                            .max_positions = positions,
                            .step = lks_decoder_step,
                            .step_top = lks_decoder_step_top,
                            .max_top = LKS_DECODER_MAX_TOP,
                            .reorder = lks_decoder_reorder};
    guided with_guide = {s->state, guide};
    if (guide) {
        steps.context = &with_guide;
        steps.step = guided_step;
        steps.step_top = NULL; /* a guide looks at all words */
        steps.reorder = guided_reorder;
    }
    return lks_search_run(hypotheses, n, &steps, options, err);
}

lks_status lks_session_read(lks_session *s, int n_before, const int32_t *tokens, int n, lks_error *err)
{
    size_t d = (size_t)lks_vit_width(s->model->vit);
    lks_status st = reserve_memory(s, ((size_t)n_before + (size_t)n) * d, err);
    if (st == LKS_OK)
        st = reserve(s, 1, 1, n_before + n, s->state_maps, err);
    if (st != LKS_OK)
        return st;
    return lks_text_encoder_run(s->model->reader, &s->compute, s->memory + (size_t)n_before * d, tokens, n, err);
}

/* The tokens that come before a caption's own: the language's, where the model has languages, and the prompt's. */
static lks_status encode_prompt(lks_phrases *out, const lks_model *model, const lks_caption_options *o, lks_error *err)
{
    const lks_language *language = NULL;
    lks_status st = LKS_OK;
    if (o->language || model->languages.n > 0)
        st = lks_languages_find(&language, &model->languages, o->language, err);
    if (st == LKS_OK)
        st = lks_phrases_encode_prompt(out, model->tokenizer, o->prompt, err);
    return st == LKS_OK && language ? lks_phrases_begin_with(out, language->token, err) : st;
}

/* How sure the model can be of its captions, in the language that it is calibrated for. */
static void judge(lks_caption *caption, const lks_model *model, const lks_caption_options *o)
{
    const lks_calibration *c = &model->generation.calibration;
    const char *own = model->languages.n > 0 ? model->languages.items[0].code : "";
    if (strcmp(c->language[0] ? c->language : own, o->language ? o->language : own) != 0 && model->languages.n > 0)
        return;
    lks_sequence *sequences = (lks_sequence *)(uintptr_t)caption->sequences;
    for (int i = 0; i < caption->n_sequences; i++)
        sequences[i].confidence = lks_calibration_judge(c, sequences[i].logprobs, sequences[i].n_tokens);
}

/* Finds the words for the n_pictures whose tokens the session holds. */
static lks_status search(lks_session *s, lks_caption **out, int n_pictures, const lks_caption_options *o,
                         lks_error *err)
{
    const lks_model *model = s->model;
    lks_phrases prompt = {0}, banned = {0}, required = {0};
    lks_hypothesis *hypotheses = NULL;
    int n = 0;
    lks_status st = encode_prompt(&prompt, model, o, err);
    if (st == LKS_OK)
        st = lks_phrases_encode(&banned, model->tokenizer, o->banned, o->n_banned, LKS_PHRASES_ALL_FORMS, err);
    const lks_phrases *never = &model->generation.banned;
    for (int i = 0; i < never->n && st == LKS_OK; i++)
        st = lks_phrases_add(&banned, never->tokens[i], never->lengths[i], err);
    if (st == LKS_OK)
        st = lks_phrases_encode(&required, model->tokenizer, o->required, o->n_required, LKS_PHRASES_INNER_FORM, err);
    lks_search_options options = {0};
    if (st == LKS_OK) {
        fill_search(&options, model, o, &prompt, &banned, &required);
        st = lks_session_search(s, &hypotheses, &n, n_pictures * lks_vit_n_tokens(model->vit), &options, NULL,
                                o->keep_maps != 0, err);
    }
    if (st == LKS_OK)
        st = lks_result_make(out, model, o->keep_maps ? s->state : NULL, hypotheses, n, options.prompt,
                             options.n_prompt, err);
    if (st == LKS_OK)
        judge(*out, model, o);
    lks_hypotheses_free(hypotheses);
    lks_phrases_release(&prompt);
    lks_phrases_release(&banned);
    lks_phrases_release(&required);
    return st;
}

/* Where the grid of patches lies on a picture of that size. */
static lks_box find_grid(const lks_model *model, int width, int height)
{
    lks_view view = lks_preprocess_view(&model->preprocess, width, height);
    int tensor_width, tensor_height, covered_width, covered_height;
    lks_preprocess_size(&model->preprocess, &tensor_width, &tensor_height);
    lks_vit_covered_size(model->vit, &covered_width, &covered_height);
    return (lks_box){.x = view.x,
                     .y = view.y,
                     .width = view.width * covered_width / tensor_width,
                     .height = view.height * covered_height / tensor_height};
}

/* Resizes and encodes a decoded image; its tokens become those of picture `at` of n_pictures. Adds to the times. */
static lks_status encode_image(lks_session *s, double *read_ms, double *encode_ms, const lks_image *image, int at,
                               int n_pictures, double began, bool keep_maps, lks_error *err)
{
    lks_status st = lks_preprocess_run(&s->model->preprocess, s->pixels, image, s->threads, err);
    if (st != LKS_OK)
        return st;
    double read = lks_session_now_ms();
    st = reserve(s, 1, 1, n_pictures * lks_vit_n_tokens(s->model->vit), keep_maps, err);
    if (st == LKS_OK)
        st = lks_vit_encode(s->model->vit, &s->compute, s->memory + (size_t)at * picture_floats(s->model), s->pixels,
                            err);
    *read_ms += read - began;
    *encode_ms += lks_session_now_ms() - read;
    return st;
}

/* Captions the n_pictures whose tokens the session holds; width and height are the first one's. */
static lks_status caption_tokens(lks_session *s, lks_caption **out, int n_pictures, int width, int height,
                                 const lks_caption_options *o, lks_error *err)
{
    double began = lks_session_now_ms();
    lks_caption *caption;
    lks_status st = search(s, &caption, n_pictures, o, err);
    if (st != LKS_OK)
        return st;
    caption->decode_ms = lks_session_now_ms() - began;
    caption->width = width;
    caption->height = height;
    lks_vit_grid(s->model->vit, &caption->grid_rows, &caption->grid_columns);
    caption->grid_box = find_grid(s->model, width, height);
    *out = caption;
    return LKS_OK;
}

/* Resizes and encodes a decoded image; *seen borrows its tokens from the session. Adds to the times. */
static lks_status look_at(lks_session *s, lks_features *seen, double *read_ms, double *encode_ms,
                          const lks_image *image, bool damaged, double began, bool keep_maps, lks_error *err)
{
    lks_picture_kind kind = lks_picture_judge(image);
    lks_status st = encode_image(s, read_ms, encode_ms, image, 0, 1, began, keep_maps, err);
    if (st == LKS_OK)
        *seen = (lks_features){.n_tokens = lks_vit_n_tokens(s->model->vit),
                               .d_token = lks_vit_width(s->model->vit),
                               .tokens = s->memory,
                               .width = image->width,
                               .height = image->height,
                               .damaged = damaged,
                               .kind = kind};
    return st;
}

/* Puts features back where encode_image leaves them. image: the picture's pixels, or NULL when nobody wants them. */
static lks_status recall(lks_session *s, lks_features *seen, const lks_features *features, const lks_image *image,
                         lks_error *err)
{
    lks_status st = lks_features_check(features, s->model, err);
    if (st != LKS_OK)
        return st;
    if (image && (image->width != features->width || image->height != features->height))
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the features are those of another picture: %d x %d pixels, not %d x %d", features->width,
                             features->height, image->width, image->height);
    memcpy(s->memory, features->tokens, picture_floats(s->model) * sizeof *s->memory);
    *seen = *features;
    seen->tokens = s->memory;
    return LKS_OK;
}

/* Captions a picture: resizes and encodes the decoded image, unless there are features, whose image may be NULL. The pixels
 * move into the caption when they are to be kept. began: when reading started. */
static lks_status caption_image(lks_session *s, lks_caption **out, lks_image *image, bool damaged, double began,
                                const lks_caption_options *o, lks_error *err)
{
    double read_ms = 0.0, encode_ms = 0.0;
    lks_caption *caption = NULL;
    lks_features seen = {0};
    lks_status st = o->features
                        ? recall(s, &seen, o->features, image, err)
                        : look_at(s, &seen, &read_ms, &encode_ms, image, damaged, began, o->keep_maps != 0, err);
    if (st == LKS_OK)
        st = caption_tokens(s, &caption, 1, seen.width, seen.height, o, err);
    if (st == LKS_OK && o->keep_features)
        st = lks_features_copy(&caption->features, &seen, err);
    if (st != LKS_OK) {
        lks_caption_free(caption);
        return st;
    }
    caption->read_ms = read_ms;
    caption->encode_ms = encode_ms;
    caption->damaged = seen.damaged;
    caption->kind = seen.kind;
    if (o->keep_picture) {
        caption->picture = image->rgb;
        image->rgb = NULL;
    }
    *out = caption;
    return LKS_OK;
}

/* Whether the picture need not be read. */
static bool is_known(const lks_caption_options *o)
{
    return o->features && !o->keep_picture;
}

static lks_decode_options decode_options(const lks_session *s, const lks_caption_options *o)
{
    lks_decode_options decode = {.max_pixels = o->max_pixels, .lenient = o->lenient != 0};
    const lks_preprocess *p = &s->model->preprocess;
    if (p->do_resize) {
        decode.target_width = p->shortest_edge ? p->shortest_edge : p->resize_width;
        decode.target_height = p->shortest_edge ? p->shortest_edge : p->resize_height;
    }
    return decode;
}

lks_status lks_caption_file(lks_session *session, lks_caption **out, const char *path,
                            const lks_caption_options *options, lks_error *err)
{
    lks_status st = check_options(options, err);
    if (st != LKS_OK)
        return st;
    double began = lks_session_now_ms();
    if (is_known(options))
        return caption_image(session, out, NULL, false, began, options, err);
    lks_decode_options decode = decode_options(session, options);
    lks_image image;
    bool damaged = false;
    st = lks_image_read(&image, &damaged, path, &decode, err);
    if (st != LKS_OK)
        return st;
    st = caption_image(session, out, &image, damaged, began, options, err);
    lks_image_release(&image);
    return st;
}

lks_status lks_caption_bytes(lks_session *session, lks_caption **out, const void *bytes, size_t n_bytes,
                             const char *name, const lks_caption_options *options, lks_error *err)
{
    lks_status st = check_options(options, err);
    if (st != LKS_OK)
        return st;
    double began = lks_session_now_ms();
    if (is_known(options))
        return caption_image(session, out, NULL, false, began, options, err);
    lks_decode_options decode = decode_options(session, options);
    lks_image image;
    bool damaged = false;
    st = lks_image_decode(&image, &damaged, bytes, n_bytes, name ? name : "image", &decode, err);
    if (st != LKS_OK)
        return st;
    st = caption_image(session, out, &image, damaged, began, options, err);
    lks_image_release(&image);
    return st;
}

/* The pixels as an image of our own, without gaps between rows; released by lks_image_release. */
static lks_status copy_pixels(lks_image *out, const lks_picture *p, const lks_caption_options *o, lks_error *err)
{
    int64_t max_pixels = o->max_pixels ? o->max_pixels : LKS_IMAGE_MAX_PIXELS;
    if (!p->rgb || p->width < 1 || p->height < 1 || (int64_t)p->width * p->height > max_pixels ||
        p->stride < (size_t)p->width * 3)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "an image of %d x %d pixels with %zu bytes a row is not valid",
                             p->width, p->height, p->stride);
    size_t row = (size_t)p->width * 3;
    lks_image image = {.width = p->width, .height = p->height, .rgb = malloc(row * (size_t)p->height)};
    if (!image.rgb)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for an image of %d x %d pixels", p->width, p->height);
    for (int y = 0; y < p->height; y++)
        memcpy(image.rgb + (size_t)y * row, p->rgb + (size_t)y * p->stride, row);
    *out = image;
    return LKS_OK;
}

lks_status lks_caption_rgb(lks_session *session, lks_caption **out, const uint8_t *rgb, int width, int height,
                           size_t stride, const lks_caption_options *options, lks_error *err)
{
    lks_status st = check_options(options, err);
    if (st != LKS_OK)
        return st;
    double began = lks_session_now_ms();
    if (is_known(options))
        return caption_image(session, out, NULL, false, began, options, err);
    const lks_picture picture = {.rgb = rgb, .width = width, .height = height, .stride = stride};
    lks_image image;
    st = copy_pixels(&image, &picture, options, err);
    if (st != LKS_OK)
        return st;
    st = caption_image(session, out, &image, false, began, options, err);
    lks_image_release(&image);
    return st;
}

lks_status lks_session_look(lks_session *s, double *read_ms, double *encode_ms, const lks_image_source *picture,
                            lks_error *err)
{
    const lks_caption_options plain = {.size = sizeof plain};
    double began = lks_session_now_ms();
    lks_decode_options decode = decode_options(s, &plain);
    lks_image image;
    bool damaged = false;
    lks_status st;
    if (picture->path)
        st = lks_image_read(&image, &damaged, picture->path, &decode, err);
    else if (picture->bytes)
        st = lks_image_decode(&image, &damaged, picture->bytes, picture->n_bytes, "image", &decode, err);
    else
        st = copy_pixels(&image, &picture->pixels, &plain, err);
    if (st != LKS_OK)
        return st;
    st = encode_image(s, read_ms, encode_ms, &image, 0, 1, began, s->state_maps, err);
    lks_image_release(&image);
    return st;
}

lks_status lks_caption_joint(lks_session *session, lks_caption **out, const lks_picture *pictures, int n_pictures,
                             const lks_caption_options *options, lks_error *err)
{
    lks_status st = check_options(options, err);
    if (st != LKS_OK)
        return st;
    if (n_pictures < 1 || n_pictures > LKS_MAX_JOINT)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "from 1 to %d pictures are captioned together, not %d",
                             LKS_MAX_JOINT, n_pictures);
    if (options->keep_maps || options->keep_picture || options->keep_features || options->features)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "maps, pixels and features are kept of single pictures only");
    st = reserve_memory(session, (size_t)n_pictures * picture_floats(session->model), err);
    double read_ms = 0.0, encode_ms = 0.0;
    lks_picture_kind kind = LKS_PICTURE_PHOTO;
    for (int i = 0; i < n_pictures && st == LKS_OK; i++) {
        double began = lks_session_now_ms();
        lks_image image;
        st = copy_pixels(&image, &pictures[i], options, err);
        if (st != LKS_OK)
            return st;
        if (i == 0)
            kind = lks_picture_judge(&image);
        st = encode_image(session, &read_ms, &encode_ms, &image, i, n_pictures, began, false, err);
        lks_image_release(&image);
    }
    lks_caption *caption;
    if (st == LKS_OK)
        st = caption_tokens(session, &caption, n_pictures, pictures[0].width, pictures[0].height, options, err);
    if (st != LKS_OK)
        return st;
    caption->read_ms = read_ms;
    caption->encode_ms = encode_ms;
    caption->kind = kind;
    *out = caption;
    return LKS_OK;
}
