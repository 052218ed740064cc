/* Filling gaps: the text with its gaps is read by the bidirectional encoder, the picture stands beside it, and the decoder says
 * what was masked, gap after gap (the objective of T5, Raffel et al. 2020, section 3.1.4, with a picture). A filling may be several
 * tokens long, and the score of a beam is the joint log-probability of all of them. What was found is then read once more without
 * the picture, so that words which the text alone suggests do not hide what the picture shows (classifier-free guidance, Ho and
 * Salimans 2022, of a whole text). */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/captioner/session.h"
#include "apps/captioner/source.h"

enum { MAX_BEAMS = 256, MAX_GAPS = 16, TOKENS_A_GAP = 8, MAX_GUIDANCE = 10 };

/* With more of it right words are found less often (tests/quality/README.md). */
#define GUIDANCE 0.5f

void lks_fill_options_init(lks_fill_options *options, const lks_model *model)
{
    (void)model;
    *options = (lks_fill_options){.size = sizeof *options, .n_best = 5, .n_beams = 10, .guidance = GUIDANCE};
}

static bool should_stop(void *context)
{
    const lks_fill_options *options = context;
    return options->stop(options->stop_context) != 0;
}

/* Where each row of the search stands, so that every gap gets from 1 to max_tokens tokens, and the last one ends in time. */
typedef struct gap_watch {
    const lks_model *model;
    int n_gaps, max_tokens;
    struct place {
        int gap, n_tokens; /* the gap that is being filled, and its tokens so far */
    } places[MAX_BEAMS], before[MAX_BEAMS];
} gap_watch;

/* What ends gap `gap`: a mask token between gaps, an end token after the last. */
static bool ends_gap(const gap_watch *w, int32_t token, int gap)
{
    const lks_generation *g = &w->model->generation;
    if (gap + 1 < w->n_gaps)
        return token == w->model->languages.mask_token;
    for (int i = 0; i < g->search.n_end_tokens; i++)
        if (token == g->end_tokens[i])
            return true;
    return false;
}

static void follow_gaps(void *context, float *logits, const int32_t *tokens, int n_rows, int n_tokens)
{
    gap_watch *w = context;
    int vocab = lks_decoder_describe(w->model->decoder)->vocab_size;
    for (int row = 0; row < n_rows; row++, logits += vocab) {
        struct place *p = &w->places[row];
        int32_t last = tokens[row * n_tokens + n_tokens - 1];
        if (n_tokens > 1) /* start and task */
            *p = (struct place){0};
        else if (ends_gap(w, last, p->gap))
            *p = (struct place){.gap = p->gap + 1};
        else
            p->n_tokens++;
        for (int32_t t = 0; t < vocab; t++) {
            bool ends = ends_gap(w, t, p->gap), word = !lks_tokenizer_is_special(w->model->tokenizer, t);
            if (!(ends && p->n_tokens > 0) && !(word && p->n_tokens < w->max_tokens))
                logits[t] = -INFINITY;
        }
    }
}

static void reorder_gaps(void *context, const int32_t *parents, int n_rows)
{
    gap_watch *w = context;
    memcpy(w->before, w->places, sizeof w->before);
    for (int i = 0; i < n_rows; i++)
        w->places[i] = w->before[parents[i]];
}

static int count_gaps(const char *text, const char *mask)
{
    int n = 0;
    for (const char *at = strstr(text, mask); at && n <= MAX_GAPS; at = strstr(at + strlen(mask), mask))
        n++;
    return n;
}

/* What fits in each of n gaps when the start token, the task, and an end for each gap have their places. */
static int tokens_a_gap(const lks_model *model, int n)
{
    int room = (lks_decoder_max_positions(model->decoder) - 2) / n - 1;
    return room < TOKENS_A_GAP ? room : TOKENS_A_GAP;
}

static lks_status check(const lks_model *model, const char *text, const lks_fill_options *o, lks_error *err)
{
    if (o->size != sizeof *o)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "options were not set up with lks_fill_options_init");
    if (o->n_best < 1 || o->n_beams > MAX_BEAMS || o->n_beams < o->n_best)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "n-best must lie in 1..beams, and beams in 1..%d", MAX_BEAMS);
    if (!(o->guidance >= 0.0f && o->guidance <= (float)MAX_GUIDANCE))
        return lks_error_set(err, LKS_ERR_ARGUMENT, "guidance must lie in 0..%d", MAX_GUIDANCE);
    lks_status st = lks_source_check(model, "fill gaps", err);
    if (st != LKS_OK)
        return st;
    if (model->languages.fill_token < 0)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: this model was not trained to fill gaps", model->path);
    int n = count_gaps(text, model->languages.mask);
    if (n == 0 || n > MAX_GAPS || tokens_a_gap(model, n) < 1)
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the text needs gaps, each written %s, and few: this model holds %d "
                             "tokens",
                             model->languages.mask, lks_decoder_max_positions(model->decoder));
    return LKS_OK;
}

/* The text of tokens [n] without the space around it. */
static lks_status decode_word(char **out, const lks_model *model, const int32_t *tokens, int n, lks_error *err)
{
    char *text;
    lks_status st = lks_tokenizer_decode(model->tokenizer, &text, tokens, (size_t)n, true, err);
    if (st != LKS_OK)
        return st;
    size_t begin = strspn(text, " "), length = strlen(text + begin);
    while (length > 0 && text[begin + length - 1] == ' ')
        length--;
    memmove(text, text + begin, length);
    text[length] = '\0';
    *out = text;
    return LKS_OK;
}

/* `text` with its gaps filled; NULL when out of memory. */
static char *fill_text(const char *text, const char *mask, char *const *words, int n_gaps)
{
    size_t n = strlen(text) + 1;
    for (int i = 0; i < n_gaps; i++)
        n += strlen(words[i]);
    char *out = malloc(n), *write = out;
    for (int i = 0; out && i < n_gaps; i++) {
        const char *gap = strstr(text, mask);
        size_t before = (size_t)(gap - text), length = strlen(words[i]);
        memcpy(write, text, before);
        memcpy(write + before, words[i], length);
        write += before + length;
        text = gap + strlen(mask);
    }
    if (out)
        memcpy(write, text, strlen(text) + 1);
    return out;
}

static void release(lks_filling *item, int n_gaps)
{
    for (int i = 0; item->words && i < n_gaps; i++)
        free((void *)(uintptr_t)item->words[i]);
    free((void *)(uintptr_t)item->words);
    free((void *)(uintptr_t)item->text);
    *item = (lks_filling){0};
}

/* Reads a hypothesis: words for every gap, an end token. */
static lks_status read_hypothesis(lks_filling *item, const gap_watch *w, const lks_hypothesis *h, const char *text,
                                  lks_error *err)
{
    double logprob = 0.0;
    char **words = calloc((size_t)w->n_gaps, sizeof *words);
    *item = (lks_filling){.words = (const char *const *)words};
    if (!words)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    int gap = 0;
    for (int i = 0, begin = 0; i < h->n_tokens && gap < w->n_gaps; i++) {
        logprob += (double)h->logprobs[i];
        if (!ends_gap(w, h->tokens[i], gap))
            continue;
        lks_status st = decode_word(&words[gap], w->model, h->tokens + begin, i - begin, err);
        if (st != LKS_OK)
            return st;
        gap++;
        begin = i + 1;
    }
    if (gap < w->n_gaps)
        return lks_error_set(err, LKS_ERR_MODEL,
                             "%s: an end token ended the text before its last gap was filled; eos_token_id must name "
                             "neither '%s' nor a word",
                             w->model->path, w->model->languages.mask);
    item->text = fill_text(text, w->model->languages.mask, words, w->n_gaps);
    item->probability = exp(logprob);
    return item->text ? LKS_OK : lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
}

static int by_probability(const void *a, const void *b)
{
    double p = ((const lks_filling *)a)->probability, q = ((const lks_filling *)b)->probability;
    return (p < q) - (p > q);
}

/* Lets what the picture has changed count for more: see lks_filling. alone [n]: probabilities without it. */
static void apply_guidance(lks_filling *items, const double *alone, int n, double guidance)
{
    double before = 0.0, after = 0.0;
    for (int i = 0; i < n; i++) {
        double p = items[i].probability;
        before += p;
        items[i].probability = p > 0.0 ? p * pow(p / fmax(alone[i], DBL_MIN), guidance) : 0.0;
        after += items[i].probability;
    }
    for (int i = 0; i < n && after > 0.0; i++)
        items[i].probability *= before / after;
}

/* Collects the hypotheses, likeliest first; the same words from other tokens count as one. scores [n]: their log-probabilities without
 * the picture, or NULL. */
static lks_status collect(lks_fillings *out, const gap_watch *w, const lks_hypothesis *hypotheses, const double *scores,
                          int n, const char *text, const lks_fill_options *options, lks_error *err)
{
    lks_filling *items = (lks_filling *)(uintptr_t)out->items;
    double alone[MAX_BEAMS] = {0.0};
    for (int i = 0; i < n; i++) {
        lks_filling *item = &items[out->n];
        lks_status st = read_hypothesis(item, w, &hypotheses[i], text, err);
        if (st != LKS_OK) {
            release(item, out->n_gaps);
            return st;
        }
        int twin = 0;
        while (twin < out->n && strcmp(items[twin].text, item->text) != 0)
            twin++;
        double score = scores ? exp(scores[i]) : 0.0;
        if (twin < out->n) {
            items[twin].probability += item->probability;
            alone[twin] += score;
            release(item, out->n_gaps);
        } else {
            alone[out->n++] = score;
        }
    }
    if (scores)
        apply_guidance(items, alone, out->n, (double)options->guidance);
    qsort(items, (size_t)out->n, sizeof *items, by_probability);
    while (out->n > options->n_best)
        release(&items[--out->n], out->n_gaps);
    return LKS_OK;
}

lks_status lks_fill(lks_session *session, lks_fillings **out, const char *text, const lks_image_source *picture,
                    const lks_fill_options *options, lks_error *err)
{
    const lks_model *model = session->model;
    const lks_language *language;
    lks_source source = {0};
    lks_status st = check(model, text, options, err);
    if (st == LKS_OK)
        st = lks_languages_find(&language, &model->languages, options->language, err);
    if (st == LKS_OK)
        st = lks_source_encode(&source, model, language, text, model->languages.mask, err);
    if (st != LKS_OK)
        return st;

    lks_fillings *fillings = calloc(1, sizeof *fillings);
    lks_filling *items = calloc((size_t)options->n_beams, sizeof *items);
    gap_watch *watch = calloc(1, sizeof *watch);
    lks_hypothesis *hypotheses = NULL;
    int n = 0, n_memory = 0;
    if (!fillings || !items || !watch) {
        free(watch);
        free(items);
        free(fillings);
        lks_source_release(&source);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    }
    fillings->items = items;
    fillings->n_gaps = count_gaps(text, model->languages.mask);
    watch->model = model;
    watch->n_gaps = fillings->n_gaps;
    watch->max_tokens = tokens_a_gap(model, fillings->n_gaps);
    st = lks_source_attend(session, &n_memory, NULL, &fillings->read_ms, &fillings->encode_ms, &source, picture, err);
    double began = lks_now_ms(), scores[MAX_BEAMS];
    const bool guided = picture && options->guidance > 0.0f;
    if (st == LKS_OK) {
        lks_search_options search = lks_source_search(model, &model->languages.fill_token);
        search.n_beams = search.n_best = options->n_beams;
        search.max_tokens = fillings->n_gaps * (watch->max_tokens + 1);
        search.length_penalty = 0.0f;
        search.stop = options->stop ? should_stop : NULL;
        search.stop_context = (void *)(uintptr_t)options;
        const lks_guide guide = {watch, follow_gaps, reorder_gaps};
        st = lks_session_search(session, &hypotheses, &n, n_memory, &search, &guide, err);
        if (st == LKS_OK && guided && n > 0)
            st = lks_session_score(session, scores, n_memory - source.n, source.n, hypotheses, n, &search, &guide, err);
    }
    if (st == LKS_OK)
        st = collect(fillings, watch, hypotheses, guided ? scores : NULL, n, text, options, err);
    fillings->decode_ms = lks_now_ms() - began;
    lks_hypotheses_free(hypotheses);
    lks_source_release(&source);
    free(watch);
    if (st != LKS_OK) {
        lks_fillings_free(fillings);
        return st;
    }
    *out = fillings;
    return LKS_OK;
}

void lks_fillings_free(lks_fillings *fillings)
{
    if (!fillings)
        return;
    for (int i = 0; i < fillings->n; i++)
        release((lks_filling *)(uintptr_t)&fillings->items[i], fillings->n_gaps);
    free((void *)(uintptr_t)fillings->items);
    free(fillings);
}
