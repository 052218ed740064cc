/* looksay eval: captions of a data set, each with its human references beside it. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/cli/commands.h"
#include "apps/cli/dataset.h"
#include "apps/cli/engine.h"
#include "apps/cli/progress.h"
#include "apps/cli/report.h"

typedef struct evaluation {
    const settings *settings;
    const char *file;
    engine engine;
    report report;
    lks_caption_options options;
    double sum_logprob;
    size_t n_tokens;
} evaluation;

static bool is_wanted(const evaluation *v, const json_t *row)
{
    const char *split = json_string_value(json_object_get(row, "split"));
    return !v->settings->split || (split && strcmp(split, v->settings->split) == 0);
}

static lks_status caption_row(evaluation *v, const char *image, const json_t *references)
{
    char *path = dataset_photo_path(v->settings->photos, v->file, image);
    json_t *extra = json_object();
    json_object_set(extra, "references", (json_t *)(uintptr_t)references);
    lks_caption *caption = NULL;
    lks_error err = {LKS_ERR_NOMEM, "out of memory"};
    lks_status st = LKS_ERR_NOMEM;
    double began = engine_now_ms();
    if (path)
        st = lks_caption_file(v->engine.session, &caption, path, &v->options, &err);
    double ms = engine_now_ms() - began;
    if (st == LKS_OK) {
        const lks_sequence *best = &caption->sequences[0];
        for (int i = 0; i < best->n_tokens; i++)
            v->sum_logprob += (double)best->logprobs[i];
        v->n_tokens += (size_t)best->n_tokens;
        report_caption(&v->report, image, caption, ms, extra);
    } else if (st != LKS_ERR_INTERRUPTED) {
        report_error(&v->report, image, &err, ms, extra);
    }
    lks_caption_free(caption);
    json_decref(extra);
    free(path);
    return st;
}

/* Returns false after a message when a line is no row of a data set. */
static bool run_line(evaluation *v, const char *line, size_t number, size_t *n_rows)
{
    const char *key = v->settings->references ? v->settings->references : "captions";
    json_error_t detail;
    json_t *row = json_loads(line, 0, &detail);
    const char *image = json_string_value(json_object_get(row, "image"));
    const json_t *references = json_object_get(row, key);
    bool valid = image && json_is_array(references);
    if (!row)
        complain("%s: line %zu is not JSON: %s", v->file, number, detail.text);
    else if (!image)
        complain("%s: line %zu has no \"image\"", v->file, number);
    else if (!valid)
        complain("%s: line %zu has no list \"%s\"; name the key of the human captions with --references", v->file,
                 number, key);
    if (valid && is_wanted(v, row)) {
        caption_row(v, image, references);
        ++*n_rows;
    }
    json_decref(row);
    return valid;
}

static int run_file(evaluation *v, FILE *file)
{
    char *line = NULL;
    size_t capacity = 0, number = 0, n_rows = 0;
    size_t limit = v->settings->limit == OPTION_UNSET ? SIZE_MAX : (size_t)v->settings->limit;
    bool valid = true;
    progress shown;
    progress_begin(&shown, 0, !v->settings->quiet && (v->settings->output || !isatty(STDOUT_FILENO)));
    double began = engine_now_ms();
    while (valid && n_rows < limit && !engine_is_interrupted() && !v->report.broken &&
           getline(&line, &capacity, file) >= 0) {
        number++;
        if (line[strspn(line, " \t\r\n")] != '\0')
            valid = run_line(v, line, number, &n_rows);
        progress_step(&shown, n_rows, n_rows);
    }
    progress_clear(&shown);
    free(line);
    double seconds = (engine_now_ms() - began) * 1e-3;
    if (!v->settings->quiet && v->n_tokens > 0)
        complain("%zu photos captioned, %zu failed, %.1f photos/s, mean log-probability of a token %.3f",
                 v->report.n_done, v->report.n_failed, (double)n_rows / seconds, v->sum_logprob / (double)v->n_tokens);
    if (valid && n_rows == 0)
        complain("%s: no row was asked for", v->file);
    return !valid || n_rows == 0 ? EXIT_USAGE : v->report.n_failed > 0 ? EXIT_SOME_FAILED : EXIT_ALL_DONE;
}

int command_eval(const settings *s)
{
    if (s->n_operands != 1) {
        complain("eval takes one file of JSON lines");
        return EXIT_USAGE;
    }
    evaluation v = {.settings = s, .file = s->operands[0]};
    FILE *file = fopen(v.file, "r");
    if (!file) {
        complain("%s: cannot be opened: %s", v.file, strerror(errno));
        return EXIT_USAGE;
    }
    if (!engine_open(&v.engine, s)) {
        fclose(file);
        return EXIT_MODEL;
    }
    settings rows = *s;
    rows.format = "jsonl";
    int status = EXIT_OUTPUT;
    if (report_open(&v.report, &rows, v.engine.name, 0, true)) {
        engine_caption_options(&v.options, &v.engine, s);
        engine_catch_interrupts();
        status = run_file(&v, file);
        if (!report_close(&v.report, true))
            status = EXIT_OUTPUT;
        else if (engine_is_interrupted())
            status = EXIT_INTERRUPTED;
    }
    engine_close(&v.engine);
    fclose(file);
    return status;
}
