/* A session: one thread's path from pixels to words. Buffers are sized when it opens, for a picture of the usual shape; they grow
 * when a picture of more tokens comes, the decoder state when more beams or pictures are asked for than before. */
#include "apps/captioner/session.h"

#include <stdlib.h>
#include <string.h>

#include "vision/staging.h"

/* For looking at n_pictures at once, and for a search of `rows` rows whose steps feed up to `tokens` tokens. */
static size_t scratch_bytes(const lks_session *s, const lks_vit_shape *shape, int n_pictures, int rows, int tokens,
                            int positions, int n_memory)
{
    const lks_model *model = s->model;
    int n_threads = lks_threads_count(s->threads);
    size_t encode = lks_vit_scratch(model->vit, shape, n_pictures, n_threads);
    size_t look = lks_decoder_look_scratch(model->decoder, n_pictures, shape->n_tokens, n_threads);
    size_t decode = lks_decoder_scratch(model->decoder, rows, tokens, positions, n_memory, n_threads);
    size_t place = s->queue ? lks_staging_scratch(shape->width, shape->height, n_pictures) : 0;
    size_t read = model->reader ? lks_text_encoder_scratch(model->reader, n_threads) : 0;
    if (s->queue) /* a device writes logits, or the likeliest tokens, to memory of its own before the host has them */
        decode +=
            lks_arena_cost((size_t)rows * (size_t)lks_decoder_describe(model->decoder)->vocab_size, sizeof(float)) +
            3 * lks_arena_cost((size_t)rows * LKS_DECODER_MAX_TOP, sizeof(float));
    size_t most = encode > decode ? encode : decode;
    most = look > most ? look : most;
    most = place > most ? place : most;
    return read > most ? read : most;
}

/* Of a host. */
static lks_status reserve_pixels(lks_session *s, size_t n, lks_error *err)
{
    if (n <= s->n_pixels)
        return LKS_OK;
    float *pixels = malloc(n * sizeof *pixels);
    if (!pixels)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for images of %zu numbers", n);
    free(s->pixels);
    s->pixels = pixels;
    s->n_pixels = n;
    return LKS_OK;
}

/* Makes room for a memory of n_floats and, on a device, n_pixels; keeps the first n_before tokens of the memory. */
static lks_status reserve_room(lks_session *s, int n_before, size_t n_floats, size_t n_pixels, lks_error *err)
{
    int d = lks_vit_width(s->model->vit);
    size_t bytes;
    if (s->memory && n_floats <= s->memory_floats && n_pixels <= s->n_pixels)
        return LKS_OK;
    if (n_floats < s->memory_floats)
        n_floats = s->memory_floats;
    if (n_pixels < s->n_pixels)
        n_pixels = s->n_pixels;
    const lks_ops *ops = s->compute.ops;
    lks_arena room = {0};
    if (!lks_size_add(&bytes, lks_arena_cost(n_floats, sizeof(float)),
                      s->queue ? lks_arena_cost(n_pixels, sizeof(float)) : 0) ||
        ops->arena_open(&s->compute, &room, bytes, NULL) != LKS_OK)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for %zu numbers to attend to", n_floats);
    float *memory = lks_arena_take(&room, n_floats, sizeof *memory);
    const lks_copy keep = {
        .n_outer = n_before, .n_inner = 1, .d = d, .to = memory, .to_outer = d, .from = s->memory, .from_outer = d};
    if (n_before > 0)
        ops->copy(&s->compute, &keep);
    lks_status st = ops->sync(&s->compute, err);
    ops->arena_close(&s->compute, &s->room);
    s->room = room;
    s->memory = memory;
    s->memory_floats = n_floats;
    if (s->queue) {
        s->pixels = lks_arena_take(&s->room, n_pixels, sizeof *s->pixels);
        s->n_pixels = n_pixels;
    }
    return st;
}

lks_status lks_session_reserve_memory(lks_session *s, int n_before, size_t n_floats, lks_error *err)
{
    return reserve_room(s, n_before, n_floats, s->n_pixels, err);
}

/* Both, for a memory of n_floats and n pictures of that shape. */
static lks_status reserve_pictures(lks_session *s, int n_before, size_t n_floats, const lks_vit_shape *shape, int n,
                                   lks_error *err)
{
    const size_t n_pixels = (size_t)n * lks_look_pixels(shape);
    lks_status st = s->queue ? LKS_OK : reserve_pixels(s, n_pixels, err);
    return st == LKS_OK ? reserve_room(s, n_before, n_floats, n_pixels, err) : st;
}

lks_status lks_session_open(lks_session **out, const lks_model *model, const lks_session_options *options,
                            lks_error *err)
{
    lks_session *s = calloc(1, sizeof *s);
    if (!s)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    s->model = model;
    const lks_vit_shape *usual = lks_vit_usual_shape(model->vit);
    lks_status st = lks_threads_open(&s->threads, options ? options->n_threads : 0, err);
    if (st == LKS_OK && model->device)
        st = lks_queue_open(&s->queue, model->device, err);
    if (st == LKS_OK) {
        bool rounds = lks_decoder_precision(model->decoder) != LKS_PRECISION_F32;
        s->compute = (lks_compute){
            .ops = model->ops, .threads = s->threads, .scratch = &s->scratch, .queue = s->queue, .rounds = rounds};
        st = reserve_pictures(s, 0, lks_look_tokens(model, usual), usual, 1, err);
    }
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
    lks_desks_close(session->desks, lks_threads_count(session->threads));
    if (session->compute.ops) {
        session->compute.ops->arena_close(&session->compute, &session->scratch);
        session->compute.ops->arena_close(&session->compute, &session->room);
    }
    if (!session->queue)
        free(session->pixels);
    lks_queue_close(session->queue);
    lks_threads_close(session->threads);
    free(session);
}

/* Makes room in the arena for `bytes`; one that must grow takes the decoder state along. */
static lks_status reserve_scratch(lks_session *s, size_t bytes, lks_error *err)
{
    if (bytes <= s->scratch.size)
        return LKS_OK;
    lks_decoder_state_close(s->state);
    s->state = NULL;
    s->compute.ops->arena_close(&s->compute, &s->scratch);
    return s->compute.ops->arena_open(&s->compute, &s->scratch, bytes, err);
}

/* Makes room for `rows` rows of `positions` tokens, up to `tokens` fed at once, that attend to n_images images of n_memory tokens; keeps
 * what is there when it suffices. */
static lks_status reserve(lks_session *s, int rows, int tokens, int positions, int n_images, int n_memory, bool maps,
                          lks_error *err)
{
    bool half = lks_model_halves_memory(s->model, n_memory);
    int total = n_images * n_memory;
    if (s->state && rows <= s->state_rows && tokens <= s->state_tokens && positions <= s->state_positions &&
        n_memory <= s->state_memory && total <= s->state_total && maps == s->state_maps && half == s->state_half)
        return LKS_OK;
    lks_decoder_state_close(s->state);
    s->state = NULL;
    const lks_vit_shape *usual = lks_vit_usual_shape(s->model->vit);
    lks_status st = reserve_scratch(s, scratch_bytes(s, usual, 1, rows, tokens, positions, n_memory), err);
    if (st != LKS_OK)
        return st;
    unsigned flags = (maps ? LKS_DECODER_KEEP_MAPS : 0u) | (half ? LKS_DECODER_BF16_MEMORY : 0u);
    st = lks_decoder_state_open(&s->state, s->model->decoder, &s->compute, rows, positions, total, flags, err);
    if (st == LKS_OK) {
        s->state_rows = rows;
        s->state_tokens = tokens;
        s->state_positions = positions;
        s->state_memory = n_memory;
        s->state_total = total;
        s->state_maps = maps;
        s->state_half = half;
    }
    return st;
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

/* Tokens that a row of the search may have, start token and prompt included; 0: the prompt leaves no room. */
static int count_positions(const lks_session *s, const lks_search_options *options)
{
    int limit = lks_decoder_max_positions(s->model->decoder), begun = options->n_prompt + 1;
    if (begun >= limit)
        return 0;
    return options->max_tokens > limit - begun ? limit : begun + options->max_tokens;
}

lks_status lks_session_prepare(lks_session *s, int n_images, int n_memory, const lks_search_options *options,
                               bool keep_maps, lks_error *err)
{
    int positions = count_positions(s, options);
    if (positions == 0)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "the prompt's %d tokens leave no room: this model holds %d",
                             options->n_prompt, lks_decoder_max_positions(s->model->decoder));
    const int begun = n_images * (options->n_prompt + 1);
    lks_status st =
        reserve(s, n_images * lks_search_rows(options), begun, positions, n_images, n_memory, keep_maps, err);
    if (st == LKS_OK)
        lks_decoder_attend(s->state, n_images, n_memory);
    return st;
}

/* The decoder as the search sees it, with a guide beside it, if there is one, kept in *with_guide. */
static lks_step_model step_model(const lks_session *s, const lks_search_options *options, const lks_guide *guide,
                                 guided *with_guide)
{
    lks_step_model steps = {.context = s->state,
                            .vocab_size = lks_decoder_describe(s->model->decoder)->vocab_size,
                            .max_positions = count_positions(s, options),
                            .step = lks_decoder_step,
                            .step_top = lks_decoder_step_top,
                            .max_top = LKS_DECODER_MAX_TOP,
                            .reorder = lks_decoder_reorder};
    if (guide) {
        *with_guide = (guided){s->state, guide};
        steps.context = with_guide;
        steps.step = guided_step;
        steps.step_top = NULL; /* a guide looks at all words */
        steps.reorder = guided_reorder;
    }
    return steps;
}

lks_status lks_session_find(lks_session *s, lks_hypothesis **hypotheses, int *n, const int32_t *images, int n_images,
                            const lks_search_options *options, const lks_guide *guide, lks_error *err)
{
    guided with_guide;
    const lks_step_model steps = step_model(s, options, guide, &with_guide);
    lks_decoder_begin(s->state, images, n_images);
    return lks_search_run(hypotheses, n, &steps, options, n_images, err);
}

/* The session will attend to n_memory tokens of the memory behind the first n_before. */
static lks_status attend(lks_session *s, int n_before, int n_memory, const lks_search_options *options, lks_error *err)
{
    lks_status st = lks_session_prepare(s, 1, n_memory, options, false, err);
    size_t d = (size_t)lks_vit_width(s->model->vit);
    return st == LKS_OK ? lks_decoder_look(&s->compute, s->state, 0, 1, s->memory + (size_t)n_before * d, err) : st;
}

lks_status lks_session_search(lks_session *s, lks_hypothesis **hypotheses, int *n, int n_memory,
                              const lks_search_options *options, const lks_guide *guide, lks_error *err)
{
    lks_status st = attend(s, 0, n_memory, options, err);
    return st == LKS_OK ? lks_session_find(s, hypotheses, n, NULL, 1, options, guide, err) : st;
}

lks_status lks_session_score(lks_session *s, double *scores, int n_before, int n_memory,
                             const lks_hypothesis *hypotheses, int n, const lks_search_options *options,
                             const lks_guide *guide, lks_error *err)
{
    lks_status st = attend(s, n_before, n_memory, options, err);
    if (st != LKS_OK)
        return st;
    guided with_guide;
    const lks_step_model steps = step_model(s, options, guide, &with_guide);
    lks_decoder_begin(s->state, NULL, 1);
    return lks_search_score(scores, &steps, options, hypotheses, n, err);
}

lks_status lks_session_looker(lks_session *s, lks_looker *out, const lks_vit_shape *shape, int n, int n_before,
                              lks_error *err)
{
    size_t d = (size_t)lks_vit_width(s->model->vit), n_tokens = (size_t)n_before + (size_t)n * (size_t)shape->n_tokens;
    lks_status st = reserve_pictures(s, n_before, n_tokens * d, shape, n, err);
    if (st == LKS_OK)
        st = reserve_scratch(s, scratch_bytes(s, shape, n, 1, 1, 1, n_before + shape->n_tokens), err);
    if (st == LKS_OK)
        *out = (lks_looker){s->compute, s->pixels, s->memory + (size_t)n_before * d};
    return st;
}

lks_status lks_session_encode(lks_session *s, lks_seen *seen, int n_before, const lks_image_source *picture,
                              lks_error *err)
{
    lks_looker with;
    lks_status st = lks_session_looker(s, &with, &seen->shape, 1, n_before, err);
    return st == LKS_OK ? lks_look_encode(seen, s->model, &with, picture, err) : st;
}

lks_status lks_session_look(lks_session *s, lks_seen *seen, int n_before, const lks_image_source *picture,
                            const lks_caption_options *options, lks_error *err)
{
    lks_seen read;
    lks_status st = lks_look_read(&read, s->model, picture, options, err);
    if (st != LKS_OK)
        return st;
    st = lks_session_encode(s, &read, n_before, picture, err);
    if (st == LKS_OK)
        *seen = read;
    else
        lks_image_release(&read.image);
    return st;
}

lks_status lks_session_read(lks_session *s, int n_before, const int32_t *tokens, int n, lks_error *err)
{
    size_t d = (size_t)lks_vit_width(s->model->vit);
    lks_status st = lks_session_reserve_memory(s, n_before, ((size_t)n_before + (size_t)n) * d, err);
    if (st == LKS_OK)
        st = reserve_scratch(s, lks_text_encoder_scratch(s->model->reader, lks_threads_count(s->threads)), err);
    if (st != LKS_OK)
        return st;
    return lks_text_encoder_run(s->model->reader, &s->compute, s->memory + (size_t)n_before * d, tokens, n, err);
}
