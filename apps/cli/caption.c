/* looksay caption: photos, folders, lists and standard input become rows. One bad image is one failed row. */
#include <stdlib.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/cli/inputs.h"
#include "apps/cli/progress.h"
#include "apps/cli/report.h"

typedef struct batch {
    engine *engine;
    report *report;
    const lks_caption_options *options;
} batch;

static lks_status caption_one(const batch *b, lks_caption **caption, const char *path, lks_error *err)
{
    if (strcmp(path, "-") != 0)
        return lks_caption_file(b->engine->session, caption, path, b->options, err);
    void *bytes;
    size_t n_bytes;
    lks_status st = engine_read_stdin(&bytes, &n_bytes, err);
    if (st != LKS_OK)
        return st;
    st = lks_caption_bytes(b->engine->session, caption, bytes, n_bytes, "standard input", b->options, err);
    free(bytes);
    return st;
}

/* Options that this model cannot serve fail for every image alike: that is one usage error, not a failed row each. */
static bool is_fatal(lks_status st)
{
    return st == LKS_ERR_ARGUMENT || st == LKS_ERR_MODEL;
}

static int status_of(lks_status st)
{
    return st == LKS_ERR_ARGUMENT ? EXIT_USAGE : EXIT_MODEL;
}

static int run_batch(const batch *b, inputs *in, bool quiet)
{
    progress line;
    progress_begin(&line, inputs_count(in), in->several && !quiet);
    const char *path;
    size_t n = 0;
    while (!engine_is_interrupted() && !b->report->broken && (path = inputs_next(in))) {
        if (report_skips(b->report, path))
            continue;
        lks_caption *caption = NULL;
        lks_error err;
        double began = engine_now_ms();
        lks_status st = caption_one(b, &caption, path, &err);
        double ms = engine_now_ms() - began;
        if (st == LKS_ERR_INTERRUPTED)
            break;
        progress_clear(&line);
        if (is_fatal(st)) {
            complain("%s", err.message);
            return status_of(st);
        }
        if (st == LKS_OK)
            report_caption(b->report, path, caption, ms, NULL);
        else
            report_error(b->report, path, &err, ms, NULL);
        lks_caption_free(caption);
        progress_step(&line, ++n);
    }
    progress_clear(&line);
    return EXIT_ALL_DONE;
}

/* Prints the paths that a run would caption. */
static int run_dry(const settings *s, inputs *in)
{
    report r = report_describe(s, "", in->several);
    const char *path;
    while ((path = inputs_next(in)))
        if (!report_skips(&r, path))
            printf("%s%c", path, in->separator);
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written)
        complain("standard output cannot be written");
    return written ? EXIT_ALL_DONE : EXIT_OUTPUT;
}

static void summarize(const report *r, size_t n_all, bool quiet)
{
    if (quiet)
        return;
    if (r->n_skipped > 0)
        complain("%zu of %zu images have a caption file already and were skipped", r->n_skipped, n_all);
    if (r->n_failed > 0 && n_all > 1)
        complain("%zu of %zu images failed", r->n_failed, n_all);
}

int command_caption(const settings *s)
{
    if (s->n_operands == 0 && !s->files_from) {
        complain("name an image, a folder, or - for standard input; 'looksay --help' shows examples");
        return EXIT_USAGE;
    }
    if (s->output && s->format && strcmp(s->format, "txt") == 0) {
        complain("--format txt writes beside the photos; it does not go with --output");
        return EXIT_USAGE;
    }
    inputs in;
    engine e;
    report r;
    if (!inputs_open(&in, s))
        return EXIT_USAGE;
    if (s->dry_run) {
        int dry_status = run_dry(s, &in);
        inputs_close(&in);
        return dry_status;
    }
    if (!engine_open(&e, s)) {
        inputs_close(&in);
        return EXIT_MODEL;
    }
    int status = EXIT_OUTPUT;
    if (report_open(&r, s, e.name, in.several)) {
        lks_caption_options options;
        engine_caption_options(&options, &e, s);
        engine_catch_interrupts();
        const batch b = {.engine = &e, .report = &r, .options = &options};
        status = run_batch(&b, &in, s->quiet);
        bool written = report_close(&r);
        summarize(&r, r.n_done + r.n_failed + r.n_skipped, s->quiet);
        if (!written)
            status = EXIT_OUTPUT;
        else if (engine_is_interrupted())
            status = EXIT_INTERRUPTED;
        else if (status == EXIT_ALL_DONE && r.n_failed > 0)
            status = EXIT_SOME_FAILED;
    }
    engine_close(&e);
    inputs_close(&in);
    return status;
}
