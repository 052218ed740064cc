/* looksay eval: captions of a data set, each with its human references beside it. */
#include <stdint.h>
#include <unistd.h>

#include "apps/cli/cider.h"
#include "apps/cli/commands.h"
#include "apps/cli/dataset.h"
#include "apps/cli/engine.h"
#include "apps/cli/photos.h"
#include "apps/cli/progress.h"
#include "apps/cli/report.h"

typedef struct evaluation {
    const settings *settings;
    engine engine;
    report report;
    cider *scores;
    photos photos;
    double sum_logprob;
    size_t n_tokens;
} evaluation;

static bool caption_row(evaluation *v, const dataset_row *row)
{
    json_t *extra = json_object();
    json_object_set(extra, "references", (json_t *)(uintptr_t)row->references);
    photo item;
    if (!photo_init(&item, row->path)) {
        complain("out of memory");
        json_decref(extra);
        return false;
    }
    double began = engine_now_ms();
    photos_caption(&v->photos, &item, 1);
    double ms = engine_now_ms() - began;
    const lks_caption *caption = item.caption;
    lks_status st = item.err.status;
    bool scored = true;
    if (st == LKS_OK) {
        const lks_sequence *best = &caption->sequences[0];
        for (int i = 0; i < best->n_tokens; i++)
            v->sum_logprob += (double)best->logprobs[i];
        v->n_tokens += (size_t)best->n_tokens;
        scored = dataset_score(v->scores, best->text, row);
        report_caption(&v->report, row->image, caption, ms, extra);
    } else if (st != LKS_ERR_INTERRUPTED) {
        scored = dataset_score(v->scores, "", row);
        report_error(&v->report, row->image, &item.err, ms, extra);
    }
    photo_release(&item);
    json_decref(extra);
    return scored;
}

static int run(evaluation *v, dataset *data)
{
    progress shown;
    progress_begin(&shown, 0, !v->settings->quiet && (v->settings->output || !isatty(STDOUT_FILENO)));
    double began = engine_now_ms();
    dataset_row row;
    dataset_status next = DATASET_ROW;
    bool well = true;
    while (well && !engine_is_interrupted() && !v->report.broken && (next = dataset_next(data, &row)) == DATASET_ROW) {
        well = caption_row(v, &row);
        progress_step(&shown, data->n_rows, data->n_rows);
    }
    progress_clear(&shown);
    double seconds = (engine_now_ms() - began) * 1e-3;
    if (!v->settings->quiet && v->n_tokens > 0)
        complain("%zu photos captioned, %zu failed, %.1f photos/s, mean log-probability of a token %.3f, CIDEr %.4f",
                 v->report.n_done, v->report.n_failed, (double)data->n_rows / seconds,
                 v->sum_logprob / (double)v->n_tokens, cider_score(v->scores));
    if (next != DATASET_WRONG && data->n_rows == 0)
        complain("%s: no row was asked for", data->path);
    return next == DATASET_WRONG || data->n_rows == 0 ? EXIT_USAGE
           : v->report.n_failed > 0 || !well          ? EXIT_SOME_FAILED
                                                      : EXIT_ALL_DONE;
}

int command_eval(const settings *s)
{
    if (s->n_operands != 1)
        complain("eval takes one file of JSON lines");
    if (s->n_operands != 1 || !photos_check(s))
        return EXIT_USAGE;
    evaluation v = {.settings = s};
    dataset data;
    if (!dataset_open(&data, s->operands[0], s))
        return EXIT_USAGE;
    if (!engine_open(&v.engine, s)) {
        dataset_close(&data);
        return EXIT_MODEL;
    }
    settings rows = *s;
    rows.format = "jsonl";
    rows.any_picture = true; /* every photo counts */
    int status = EXIT_OUTPUT;
    v.scores = cider_open();
    if (!v.scores)
        complain("out of memory");
    lks_caption_options options;
    engine_caption_options(&options, &v.engine, s);
    if (v.scores && photos_open(&v.photos, s, &v.engine, &options, true) &&
        report_open(&v.report, &rows, v.engine.name, 0, true)) {
        engine_catch_interrupts();
        status = run(&v, &data);
        if (!report_close(&v.report, true))
            status = EXIT_OUTPUT;
        else if (engine_is_interrupted())
            status = EXIT_INTERRUPTED;
    }
    if (!s->quiet && v.photos.n_done > 0)
        photos_summarize(&v.photos);
    photos_close(&v.photos);
    cider_close(v.scores);
    engine_close(&v.engine);
    dataset_close(&data);
    return status;
}
