/* Beam search as transformers runs it: the best 2 x beams continuations are ranked; those that end compete, divided by
 * length^penalty, for the finished list; the others run on. With required phrases, running beams are spread over the counts of
 * fulfilled tokens ("banks", Post & Vilar 2018), and a path may end only when all phrases are said. */
#include <math.h>
#include <stdlib.h>

#include "text/search_private.h"

typedef struct candidate {
    float score, logprob; /* of the path, processed; of the token, raw */
    int row;
    int32_t token;
    lks_progress progress;
    bool taken;
} candidate;

typedef struct beam {
    lks_search *search;
    int n_beams; /* as asked for: the size of the finished list */
    int n_finished;
    int capacity; /* of candidates */
    int n_candidates;
    candidate *candidates;
    lks_progress *progress, *next_progress; /* [n_rows] */
} beam;

/* Keeps the list sorted by descending score; earlier candidates win ties. */
static void offer(beam *b, int keep, candidate c)
{
    if (b->n_candidates >= keep && c.score <= b->candidates[b->n_candidates - 1].score)
        return;
    int at = b->n_candidates < keep ? b->n_candidates++ : b->n_candidates - 1;
    while (at > 0 && b->candidates[at - 1].score < c.score) {
        b->candidates[at] = b->candidates[at - 1];
        at--;
    }
    b->candidates[at] = c;
}

static float raw_logprob(const lks_search *s, int row, int32_t token)
{
    return s->logits[(size_t)row * (size_t)s->model->vocab_size + (size_t)token] - s->log_sum_exp[row];
}

/* Required phrases: every running path may take the next token of each open or unmet phrase, however unlikely. */
static void offer_required(beam *b, int row)
{
    lks_search *s = b->search;
    const lks_search_options *o = s->options;
    const float *scores = s->scores + (size_t)row * (size_t)s->model->vocab_size;
    for (int i = 0; i < o->n_required; i++) {
        const lks_progress *p = &b->progress[row];
        if (p->met >> i & 1u)
            continue;
        int32_t token = o->required[i][p->at[i]];
        bool known = false;
        for (int c = 0; c < b->n_candidates; c++)
            known |= b->candidates[c].row == row && b->candidates[c].token == token;
        if (!known && scores[token] > -INFINITY && b->n_candidates < b->capacity)
            offer(b, b->capacity,
                  (candidate){.score = s->running[row].score + scores[token],
                              .logprob = raw_logprob(s, row, token),
                              .row = row,
                              .token = token});
    }
}

static void offer_all(beam *b, int row, int keep)
{
    lks_search *s = b->search;
    int vocab = s->model->vocab_size;
    lks_search_process(s, row, &s->running[row], true);
    const float *scores = s->scores + (size_t)row * (size_t)vocab;
    float base = s->running[row].score;
    for (int token = 0; token < vocab; token++) {
        float score = base + scores[token];
        if (score > -INFINITY && (b->n_candidates < keep || score > b->candidates[b->n_candidates - 1].score))
            offer(b, keep,
                  (candidate){.score = score, .logprob = raw_logprob(s, row, token), .row = row, .token = token});
    }
}

static void offer_likeliest(beam *b, int row, int keep)
{
    const lks_search *s = b->search;
    const lks_path *path = &s->running[row];
    for (int i = 0; i < s->top.k; i++) {
        size_t at = (size_t)row * (size_t)s->top.k + (size_t)i;
        float logprob = s->top.values[at] - s->log_sum_exp[row], score = path->score + logprob;
        int32_t token = s->top.indices[at];
        if (score > -INFINITY && lks_search_allows(s, path, token))
            offer(b, keep, (candidate){.score = score, .logprob = logprob, .row = row, .token = token});
    }
}

/* Ranks the continuations of all running beams. */
static void rank(beam *b)
{
    lks_search *s = b->search;
    const lks_search_options *o = s->options;
    int keep = (o->n_end_tokens > 1 ? 1 + o->n_end_tokens : 2) * s->n_rows;
    b->n_candidates = 0;
    for (int row = 0; row < b->search->n_running; row++) {
        if (s->top.k > 0)
            offer_likeliest(b, row, keep);
        else
            offer_all(b, row, keep);
    }
    for (int row = 0; o->n_required > 0 && row < b->search->n_running; row++)
        offer_required(b, row);
    for (int i = 0; i < b->n_candidates; i++)
        b->candidates[i].progress = lks_progress_next(o, b->progress[b->candidates[i].row], b->candidates[i].token);
}

/* Puts an ended candidate into the finished list when it is among the best n_beams. */
static void finish(beam *b, const candidate *c)
{
    lks_search *s = b->search;
    const lks_path *path = &s->running[c->row];
    float score = c->score / powf((float)(path->n + 1 - s->n_prefix), s->options->length_penalty);
    int at = b->n_finished;
    if (at == b->n_beams && score <= s->finished[--at].score)
        return;
    lks_path slot = s->finished[at];
    while (at > 0 && s->finished[at - 1].score < score) {
        s->finished[at] = s->finished[at - 1];
        at--;
    }
    lks_path_extend(&slot, path, c->token, c->logprob, s->first_row + c->row);
    slot.score = score;
    s->finished[at] = slot;
    if (b->n_finished < b->n_beams)
        b->n_finished++;
}

static void run_on(beam *b, int *n_next, candidate *c)
{
    lks_search *s = b->search;
    c->taken = true;
    lks_path *to = &s->next[*n_next];
    lks_path_extend(to, &s->running[c->row], c->token, c->logprob, s->first_row + c->row);
    to->score = c->score;
    s->parents[*n_next] = c->row;
    s->tokens[*n_next] = c->token;
    b->next_progress[(*n_next)++] = c->progress;
}

/* Chooses the next beams: the best, or with required phrases the best of every bank in turn, fullest bank first. */
static int choose_running(beam *b)
{
    lks_search *s = b->search;
    int n_next = 0, n_banks = lks_required_tokens(s->options) + 1;
    bool any = true;
    while (n_next < s->n_rows && any) {
        any = false;
        for (int bank = n_banks - 1; bank >= 0 && n_next < s->n_rows; bank--)
            for (int i = 0; i < b->n_candidates; i++) {
                candidate *c = &b->candidates[i];
                if (c->taken || lks_search_is_end(s->options, c->token) ||
                    (n_banks > 1 && lks_progress_count(s->options, c->progress) != bank))
                    continue;
                run_on(b, &n_next, c);
                any = true;
                break;
            }
    }
    return n_next;
}

/* Whether a running path could still beat the worst finished one. */
static bool can_improve(const beam *b)
{
    const lks_search *s = b->search;
    const lks_search_options *o = s->options;
    if (b->n_finished < b->n_beams)
        return true;
    if (o->early_stopping == 1)
        return false;
    int n = o->early_stopping == 2 && o->length_penalty > 0.0f ? s->limit - s->n_prefix : s->running[0].n - s->n_prefix;
    float best = s->running[0].score;
    for (int i = 1; i < b->search->n_running; i++)
        best = s->running[i].score > best ? s->running[i].score : best;
    return best / powf((float)n, o->length_penalty) > s->finished[b->n_finished - 1].score;
}

static void beam_close(lks_search *s)
{
    beam *b = s->own;
    if (!b)
        return;
    free(b->candidates);
    free(b->progress);
    free(b->next_progress);
    free(b);
    s->own = NULL;
}

static lks_status beam_open(lks_search *s)
{
    const lks_search_options *o = s->options;
    size_t rows = (size_t)s->n_rows;
    beam *b = s->own = calloc(1, sizeof *b);
    if (!b)
        return lks_error_set(s->err, LKS_ERR_NOMEM, "out of memory");
    *b = (beam){.search = s, .n_beams = o->n_beams};
    b->capacity = ((o->n_end_tokens > 1 ? 1 + o->n_end_tokens : 2) + o->n_required) * s->n_rows;
    b->candidates = calloc((size_t)b->capacity, sizeof *b->candidates);
    b->progress = malloc(rows * sizeof *b->progress);
    b->next_progress = malloc(rows * sizeof *b->next_progress);
    if (!b->candidates || !b->progress || !b->next_progress)
        return lks_error_set(s->err, LKS_ERR_NOMEM, "out of memory");
    b->progress[0] = lks_progress_start(o);
    return LKS_OK;
}

static lks_status beam_advance(lks_search *s)
{
    beam *b = s->own;
    const lks_search_options *o = s->options;
    bool last = s->running[0].n + 1 == s->limit;
    rank(b);
    for (int i = 0; i < b->n_candidates; i++) {
        candidate c = b->candidates[i];
        bool ends = lks_search_is_end(o, c.token) || last;
        if (ends && (i < s->n_rows || o->n_required > 0) && lks_progress_done(o, c.progress))
            finish(b, &c);
    }
    int n_next = last ? 0 : choose_running(b);
    s->n_running = n_next;
    if (n_next == 0)
        return LKS_OK;
    lks_path *swap = s->running;
    s->running = s->next;
    s->next = swap;
    lks_progress *swap_progress = b->progress;
    b->progress = b->next_progress;
    b->next_progress = swap_progress;
    if (!can_improve(b))
        s->n_running = 0;
    return LKS_OK;
}

static lks_status beam_finish(lks_hypothesis **out, int *n_out, lks_search *s)
{
    const beam *b = s->own;
    if (b->n_finished == 0)
        return lks_error_set(
            s->err, LKS_ERR_ARGUMENT,
            "no caption of %d tokens holds all required words; allow more tokens or ask for fewer words",
            s->limit - s->n_prefix);
    *n_out = b->n_finished < s->options->n_best ? b->n_finished : s->options->n_best;
    return lks_search_pack(out, s, s->finished, *n_out, s->err);
}

const lks_strategy lks_strategy_beam = {beam_open, beam_advance, beam_finish, beam_close};
