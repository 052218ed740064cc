/* looksay eval: captions of a data set, each with its human references beside it. */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "apps/cli/batches.h"
#include "apps/cli/cider.h"
#include "apps/cli/commands.h"
#include "apps/cli/dataset.h"
#include "apps/cli/engine.h"
#include "apps/cli/output.h"
#include "apps/cli/progress.h"
#include "apps/cli/report.h"

/* A row whose photo is in a batch. */
typedef struct pending {
    json_t *row; /* owned; the rest is of it: */
    const char *image;
    const json_t *references;
} pending;

enum { MAX_PENDING = 2 * LKS_MAX_BATCH }; /* of the batch in hand, and of the one being read */

typedef struct evaluation {
    const settings *settings;
    dataset data;
    dataset_status next; /* of the last row that was asked for */
    engine engine;
    report report;
    cider *scores;
    photos photos;
    batches batches;
    pending waiting[MAX_PENDING]; /* a ring: rows n_done..n_taken - 1 */
    size_t n_taken, n_done;
    double sum_logprob;
    size_t n_tokens;
    bool broken; /* memory is out */
} evaluation;

/* See batches.gather. */
static void gather(void *context, bool wait)
{
    (void)wait;
    evaluation *v = context;
    dataset_row row;
    while (!batches_is_full(&v->batches) && !v->broken && v->next == DATASET_ROW && !engine_is_interrupted() &&
           (v->next = dataset_next(&v->data, &row)) == DATASET_ROW) {
        v->broken = !batches_add(&v->batches, row.path);
        if (!v->broken)
            v->waiting[v->n_taken++ % MAX_PENDING] = (pending){json_incref(v->data.row), row.image, row.references};
    }
}

static bool report_photo(evaluation *v, const photo *item, const pending *of, double ms)
{
    const lks_caption *caption = item->caption;
    lks_status st = item->err.status;
    bool scored = true;
    json_t *extra = json_object();
    json_object_set(extra, "references", (json_t *)(uintptr_t)of->references);
    if (st == LKS_OK) {
        const lks_sequence *best = &caption->sequences[0];
        for (int i = 0; i < best->n_tokens; i++)
            v->sum_logprob += (double)best->logprobs[i];
        v->n_tokens += (size_t)best->n_tokens;
        scored = dataset_score(v->scores, best->text, of->references);
        report_caption(&v->report, of->image, caption, ms, extra);
    } else if (st != LKS_ERR_INTERRUPTED) {
        scored = dataset_score(v->scores, "", of->references);
        report_error(&v->report, of->image, &item->err, ms, extra);
    }
    json_decref(extra);
    return scored;
}

static void report_batch(evaluation *v, double ms, progress *line)
{
    for (size_t i = 0; i < v->batches.now.n; i++) {
        pending *of = &v->waiting[v->n_done++ % MAX_PENDING];
        if (!v->broken && !v->report.broken)
            v->broken = !report_photo(v, &v->batches.now.photos[i], of, ms);
        json_decref(of->row);
        progress_step(line, v->n_done, v->n_done);
    }
}

static int run(evaluation *v)
{
    progress shown;
    progress_begin(&shown, 0, !v->settings->quiet && (v->settings->output || !isatty(STDOUT_FILENO)));
    double began = engine_now_ms();
    while (!v->broken && !engine_is_interrupted() && !v->report.broken && batches_next(&v->batches)) {
        batch *now = &v->batches.now;
        batches_look_ahead(&v->batches);
        double looked = engine_now_ms();
        photos_caption(&v->photos, now->photos, now->n);
        report_batch(v, (engine_now_ms() - looked) / (double)now->n, &shown);
    }
    batches_end(&v->batches);
    while (v->n_done < v->n_taken)
        json_decref(v->waiting[v->n_done++ % MAX_PENDING].row);
    progress_clear(&shown);
    double seconds = (engine_now_ms() - began) * 1e-3;
    const report *r = &v->report;
    if (!v->settings->quiet && v->n_tokens > 0)
        complain("%zu photos captioned, %zu failed, %.1f photos/s, mean log-probability of a token %.3f, CIDEr %.4f",
                 r->n_done, r->n_failed, (double)(r->n_done + r->n_failed) / seconds,
                 v->sum_logprob / (double)v->n_tokens, cider_score(v->scores));
    if (v->next != DATASET_WRONG && v->data.n_rows == 0)
        complain("%s: no row was asked for", v->data.path);
    return v->next == DATASET_WRONG || v->data.n_rows == 0 ? EXIT_USAGE
           : r->n_failed > 0 || v->broken                  ? EXIT_SOME_FAILED
                                                           : EXIT_ALL_DONE;
}

static int run_with_engine(evaluation *v)
{
    const settings *s = v->settings;
    settings rows = *s;
    rows.format = "jsonl";
    rows.any_picture = true; /* every photo counts */
    int status = EXIT_OUTPUT;
    lks_caption_options options;
    engine_caption_options(&options, &v->engine, s);
    if (!engine_check_caption(s, &options))
        return EXIT_USAGE;
    v->scores = cider_open();
    if (!v->scores)
        complain("out of memory");
    batches_begin(&v->batches, s, v->engine.model, true, gather, v);
    if (v->scores && photos_open(&v->photos, s, &v->engine, &options, true) &&
        report_open(&v->report, &rows, v->engine.name, 0, true)) {
        engine_catch_interrupts();
        status = run(v);
        if (!report_close(&v->report, status != EXIT_USAGE && !engine_is_interrupted()))
            status = EXIT_OUTPUT;
        else if (engine_is_interrupted())
            status = EXIT_INTERRUPTED;
    }
    if (!s->quiet && v->photos.n_done > 0)
        photos_summarize(&v->photos);
    photos_close(&v->photos);
    cider_close(v->scores);
    return status;
}

int command_eval(const settings *s)
{
    if (s->n_operands != 1)
        complain("eval takes one file of JSON lines");
    if (s->n_operands != 1 || !photos_check(s) || !output_check_rows(s))
        return EXIT_USAGE;
    evaluation *v = calloc(1, sizeof *v);
    if (!v) {
        complain("out of memory");
        return EXIT_MODEL;
    }
    v->settings = s;
    int status = EXIT_USAGE;
    if (dataset_open(&v->data, s->operands[0], s)) {
        status = EXIT_MODEL;
        if (engine_open(&v->engine, s)) {
            status = run_with_engine(v);
            engine_close(&v->engine);
        }
        dataset_close(&v->data);
    }
    free(v);
    return status;
}
