/* Translation: a source sentence, and perhaps the picture it is about, become one memory that the decoder attends to. */
#include <stdlib.h>
#include <string.h>

#include "apps/captioner/features.h"
#include "apps/captioner/result.h"
#include "apps/captioner/session.h"
#include "apps/captioner/source.h"

enum { MAX_BEAMS = 256 };

void lks_translate_options_init(lks_translate_options *options, const lks_model *model)
{
    *options = (lks_translate_options){
        .size = sizeof *options,
        .n_beams = 5,
        .n_best = 1,
        .max_tokens = lks_decoder_max_positions(model->decoder) - 2,
        .length_penalty = 1.0f,
    };
}

static lks_status check_options(const lks_translate_options *o, lks_error *err)
{
    if (o->size != sizeof *o)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "options were not set up with lks_translate_options_init");
    if (!o->from || !o->to)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "a translation needs two languages, from and to");
    if (o->n_beams < 1 || o->n_beams > MAX_BEAMS || o->n_best < 1 || o->n_best > o->n_beams || o->max_tokens < 1)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "beams must lie in 1..%d, n-best in 1..beams, and max-tokens must be positive", MAX_BEAMS);
    return LKS_OK;
}

static bool should_stop(void *context)
{
    const lks_translate_options *options = context;
    return options->stop(options->stop_context) != 0;
}

/* The texts end as the source did. */
static lks_status finish_texts(lks_caption *caption, const char *source, lks_error *err)
{
    lks_sentence_ends ends = lks_sentence_look(source, strlen(source));
    for (int i = 0; i < caption->n_sequences; i++) {
        lks_sequence *s = (lks_sequence *)(uintptr_t)&caption->sequences[i];
        char *text = lks_sentence_finish(s->text, &ends);
        if (!text)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
        free((void *)(uintptr_t)s->text);
        s->text = text;
    }
    return LKS_OK;
}

lks_status lks_translate(lks_session *session, lks_caption **out, const char *text, const lks_image_source *picture,
                         const lks_translate_options *options, lks_error *err)
{
    const lks_model *model = session->model;
    const lks_language *from, *to;
    lks_source source = {0};
    lks_status st = check_options(options, err);
    if (st == LKS_OK)
        st = lks_source_check(model, "translate", err);
    if (st == LKS_OK)
        st = lks_languages_find(&from, &model->languages, options->from, err);
    if (st == LKS_OK)
        st = lks_languages_find(&to, &model->languages, options->to, err);
    if (st == LKS_OK)
        st = lks_source_encode(&source, model, from, text, NULL, err);
    if (st != LKS_OK)
        return st;

    double read_ms = 0.0, encode_ms = 0.0;
    int n_memory = 0, n = 0;
    lks_hypothesis *hypotheses = NULL;
    lks_caption *caption = NULL;
    lks_features features = {.tokens = NULL};
    st = lks_source_attend(session, &n_memory, &features, &read_ms, &encode_ms, &source, picture, err);
    double began = lks_now_ms();
    if (st == LKS_OK) {
        lks_search_options search = lks_source_search(model, &to->token);
        search.n_beams = options->n_beams;
        search.n_best = options->n_best;
        search.max_tokens = options->max_tokens;
        search.length_penalty = options->length_penalty;
        search.stop = options->stop ? should_stop : NULL;
        search.stop_context = (void *)(uintptr_t)options;
        st = lks_session_search(session, &hypotheses, &n, n_memory, &search, NULL, err);
    }
    if (st == LKS_OK)
        st = lks_result_make(&caption, model, NULL, 0, hypotheses, n, &to->token, 1, err);
    if (st == LKS_OK)
        st = finish_texts(caption, text, err);
    if (st == LKS_OK && options->keep_features && features.tokens)
        st = lks_features_copy(&caption->features, &features, &session->compute, err);
    lks_hypotheses_free(hypotheses);
    lks_source_release(&source);
    if (st != LKS_OK) {
        lks_caption_free(caption);
        return st;
    }
    caption->read_ms = read_ms;
    caption->encode_ms = encode_ms;
    caption->decode_ms = lks_now_ms() - began;
    *out = caption;
    return LKS_OK;
}
