/* Captions: options, the words for what a session attends to, and the calls that caption single pictures and several as one. */
#include "apps/captioner/caption.h"

#include <math.h>
#include <string.h>

#include "apps/captioner/features.h"
#include "apps/captioner/result.h"

enum { MAX_ROWS = 256 };

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
    if (o->min_tokens > o->max_tokens && o->max_tokens != LKS_AS_MODEL)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "min-tokens %d is more than max-tokens %d", o->min_tokens,
                             o->max_tokens);
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

lks_status lks_plan_make(lks_plan *out, const lks_model *model, const lks_caption_options *o, lks_error *err)
{
    lks_plan plan = {.search.n_beams = 0};
    lks_status st = check_options(o, err);
    if (st == LKS_OK)
        st = encode_prompt(&plan.prompt, model, o, err);
    if (st == LKS_OK)
        st = lks_phrases_encode(&plan.banned, model->tokenizer, o->banned, o->n_banned, LKS_PHRASES_ALL_FORMS, err);
    const lks_phrases *never = &model->generation.banned;
    for (int i = 0; i < never->n && st == LKS_OK; i++)
        st = lks_phrases_add(&plan.banned, never->tokens[i], never->lengths[i], err);
    if (st == LKS_OK)
        st = lks_phrases_encode(&plan.required, model->tokenizer, o->required, o->n_required, LKS_PHRASES_INNER_FORM,
                                err);
    if (st != LKS_OK) {
        lks_plan_release(&plan);
        return st;
    }
    fill_search(&plan.search, model, o, &plan.prompt, &plan.banned, &plan.required);
    *out = plan;
    return LKS_OK;
}

void lks_plan_release(lks_plan *plan)
{
    lks_phrases_release(&plan->prompt);
    lks_phrases_release(&plan->banned);
    lks_phrases_release(&plan->required);
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

/* Where the grid of patches lies on a picture of that size. */
static lks_box find_grid(const lks_model *model, const lks_vit_shape *shape, int width, int height)
{
    lks_view view = lks_preprocess_view(&model->preprocess, width, height);
    int covered_width, covered_height;
    lks_vit_covered_size(model->vit, &covered_width, &covered_height, shape);
    return (lks_box){.x = view.x,
                     .y = view.y,
                     .width = view.width * covered_width / shape->width,
                     .height = view.height * covered_height / shape->height};
}

lks_status lks_caption_make(lks_caption **out, const lks_session *s, const lks_plan *plan,
                            const lks_hypothesis *hypotheses, int n, lks_seen *seen, const lks_caption_options *o,
                            lks_error *err)
{
    lks_caption *caption;
    const lks_vit_shape *shape = &seen->shape;
    lks_status st = lks_result_make(&caption, s->model, o->keep_maps ? s->state : NULL, shape->rows * shape->columns,
                                    hypotheses, n, plan->search.prompt, plan->search.n_prompt, err);
    if (st != LKS_OK)
        return st;
    judge(caption, s->model, o);
    caption->width = seen->features.width;
    caption->height = seen->features.height;
    caption->damaged = seen->features.damaged;
    caption->kind = seen->features.kind;
    caption->read_ms = seen->read_ms;
    caption->encode_ms = seen->encode_ms;
    caption->grid_rows = shape->rows;
    caption->grid_columns = shape->columns;
    caption->grid_box = find_grid(s->model, shape, caption->width, caption->height);
    if (o->keep_picture) {
        caption->picture = seen->image.rgb;
        seen->image.rgb = NULL;
    }
    *out = caption;
    return LKS_OK;
}

lks_status lks_caption_find(lks_session *s, lks_caption **out, int n_memory, const lks_plan *plan, lks_seen *seen,
                            const lks_caption_options *o, lks_error *err)
{
    lks_caption *caption = NULL;
    lks_hypothesis *hypotheses = NULL;
    int n = 0;
    lks_status st = lks_session_prepare(s, 1, n_memory, &plan->search, o->keep_maps != 0, err);
    double began = lks_now_ms();
    if (st == LKS_OK)
        st = lks_decoder_look(&s->compute, s->state, 0, 1, s->memory, err);
    double looked = lks_now_ms();
    if (seen->encode_ms > 0.0) /* else what was kept of the picture has been recalled */
        seen->encode_ms += looked - began;
    if (st == LKS_OK)
        st = lks_session_find(s, &hypotheses, &n, NULL, 1, &plan->search, NULL, err);
    if (st == LKS_OK && o->keep_maps)
        st = lks_decoder_fetch(s->state, err);
    if (st == LKS_OK)
        st = lks_caption_make(&caption, s, plan, hypotheses, n, seen, o, err);
    if (st == LKS_OK && o->keep_features)
        st = lks_features_copy(&caption->features, &seen->features, &s->compute, err);
    lks_hypotheses_free(hypotheses);
    if (st != LKS_OK) {
        lks_caption_free(caption);
        return st;
    }
    caption->decode_ms = lks_now_ms() - looked;
    *out = caption;
    return LKS_OK;
}

static lks_status caption_picture(lks_session *s, lks_caption **out, lks_image_source *picture,
                                  const lks_caption_options *o, lks_error *err)
{
    lks_plan plan;
    lks_seen seen;
    lks_status st = lks_plan_make(&plan, s->model, o, err);
    if (st != LKS_OK)
        return st;
    picture->features = o->features;
    st = lks_session_look(s, &seen, 0, picture, o, err);
    if (st == LKS_OK) {
        st = lks_caption_find(s, out, seen.shape.n_tokens, &plan, &seen, o, err);
        lks_image_release(&seen.image);
    }
    lks_plan_release(&plan);
    return st;
}

lks_status lks_caption_file(lks_session *session, lks_caption **out, const char *path,
                            const lks_caption_options *options, lks_error *err)
{
    lks_image_source picture = {.path = path};
    return caption_picture(session, out, &picture, options, err);
}

lks_status lks_caption_bytes(lks_session *session, lks_caption **out, const void *bytes, size_t n_bytes,
                             const char *name, const lks_caption_options *options, lks_error *err)
{
    lks_image_source picture = {.bytes = bytes, .n_bytes = n_bytes, .name = name};
    return caption_picture(session, out, &picture, options, err);
}

lks_status lks_caption_rgb(lks_session *session, lks_caption **out, const uint8_t *rgb, int width, int height,
                           size_t stride, const lks_caption_options *options, lks_error *err)
{
    lks_image_source picture = {.pixels = {rgb, width, height, stride}};
    return caption_picture(session, out, &picture, options, err);
}

lks_status lks_caption_joint(lks_session *session, lks_caption **out, const lks_picture *pictures, int n_pictures,
                             const lks_caption_options *options, lks_error *err)
{
    lks_plan plan;
    lks_status st = lks_plan_make(&plan, session->model, options, err);
    if (st != LKS_OK)
        return st;
    const lks_vit_shape *usual = lks_vit_usual_shape(session->model->vit);
    lks_seen all = {.read_ms = 0.0};
    int n_memory = 0;
    if (n_pictures < 1 || n_pictures > LKS_MAX_JOINT)
        st = lks_error_set(err, LKS_ERR_ARGUMENT, "from 1 to %d pictures are captioned together, not %d", LKS_MAX_JOINT,
                           n_pictures);
    else if (options->keep_maps || options->keep_picture || options->keep_features || options->features)
        st = lks_error_set(err, LKS_ERR_ARGUMENT, "maps, pixels and features are kept of single pictures only");
    if (st == LKS_OK)
        st = lks_session_reserve_memory(session, 0, (size_t)n_pictures * lks_look_tokens(session->model, usual), err);
    for (int i = 0; i < n_pictures && st == LKS_OK; i++) {
        const lks_image_source picture = {.pixels = pictures[i]};
        lks_seen seen;
        st = lks_session_look(session, &seen, n_memory, &picture, options, err);
        if (st != LKS_OK)
            break;
        lks_image_release(&seen.image);
        n_memory += seen.shape.n_tokens;
        double read_ms = all.read_ms + seen.read_ms, encode_ms = all.encode_ms + seen.encode_ms;
        if (i == 0)
            all = seen;
        all.read_ms = read_ms;
        all.encode_ms = encode_ms;
    }
    if (st == LKS_OK)
        st = lks_caption_find(session, out, n_memory, &plan, &all, options, err);
    lks_plan_release(&plan);
    return st;
}
