/* looksay caption: photos, folders, lists and standard input become rows. One bad image is one failed row. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/cli/batches.h"
#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/cli/inputs.h"
#include "apps/cli/output.h"
#include "apps/cli/progress.h"
#include "apps/cli/report.h"
#include "apps/cli/resume.h"
#include "apps/common/image_name.h"
#include "apps/common/metadata.h"

/* A run over all inputs. */
typedef struct run {
    photos *photos;
    report *report;
    inputs *in;
    batches batches;
    char *held; /* a path that comes after the batch in hand: it is in that already, and may then have its caption */
    size_t n_seen, n_done;
    progress line;
} run;

/* Options that this model cannot serve fail for every image alike: that is one usage error, not a failed row each. */
static bool is_fatal(lks_status st)
{
    return st == LKS_ERR_ARGUMENT || st == LKS_ERR_MODEL;
}

static bool holds(const batch *b, const char *path)
{
    bool held = false;
    for (size_t i = 0; i < b->n && !held; i++)
        held = strcmp(b->photos[i].path, path) == 0;
    return held;
}

/* See batches.gather. */
static void gather(void *context, bool wait)
{
    run *r = context;
    batches *b = &r->batches;
    while (!batches_is_full(b) && !engine_is_interrupted()) {
        char *held = r->held;
        r->held = NULL;
        if (!held && !(wait && b->ahead.n == 0) && !inputs_ready(r->in))
            return;
        const char *path = held ? held : inputs_next(r->in);
        if (!path)
            return;
        if (holds(&b->now, path) || holds(&b->ahead, path)) {
            r->held = held ? held : strdup(path);
            if (!r->held)
                complain("%s: out of memory", path);
            return;
        }
        r->n_seen++;
        if (!report_skips(r->report, path))
            batches_add(b, path);
        free(held);
    }
}

/* Rows for the batch in hand. */
static int report_batch(run *r, double ms)
{
    const batch *now = &r->batches.now;
    for (size_t i = 0; i < now->n && !r->report->broken; i++) {
        const photo *item = &now->photos[i];
        if (item->err.status == LKS_ERR_INTERRUPTED)
            break;
        progress_clear(&r->line);
        if (is_fatal(item->err.status)) {
            complain("%s", item->err.message);
            return engine_exit_status(item->err.status);
        }
        if (item->err.status == LKS_OK)
            report_caption(r->report, item->path, item->caption, ms, NULL);
        else
            report_error(r->report, item->path, &item->err, ms, NULL);
        if (r->report->sidecar.kind == SIDECAR_EMBED)
            inputs_ignore(r->in, item->path);
        progress_step(&r->line, r->n_seen - r->batches.ahead.n - (now->n - 1 - i), ++r->n_done);
    }
    return EXIT_ALL_DONE;
}

static int run_batches(run *r, bool quiet)
{
    bool rows_shown = r->report->sink.stream == stdout && r->report->format != REPORT_SIDECARS && isatty(STDOUT_FILENO);
    progress_begin(&r->line, inputs_count(r->in), r->in->several && !r->in->watch && !quiet && !rows_shown);
    int status = EXIT_ALL_DONE;
    while (status == EXIT_ALL_DONE && !engine_is_interrupted() && !r->report->broken && batches_next(&r->batches)) {
        batch *now = &r->batches.now;
        batches_look_ahead(&r->batches);
        double began = engine_now_ms();
        photos_caption(r->photos, now->photos, now->n);
        status = report_batch(r, (engine_now_ms() - began) / (double)now->n);
    }
    batches_end(&r->batches);
    free(r->held);
    progress_clear(&r->line);
    if (status == EXIT_ALL_DONE && r->n_seen == 0 && !quiet && !engine_is_interrupted())
        complain("no images were found");
    return status;
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

static void summarize(const report *r, bool resumable, bool quiet)
{
    size_t n_all = r->n_done + r->n_failed + r->n_skipped + r->n_uncertain;
    if (quiet)
        return;
    if (r->n_before > 0)
        complain("%zu images were done before", r->n_before);
    if (r->n_skipped > 0)
        complain("%zu of %zu images have a caption already and were skipped", r->n_skipped, n_all);
    if (r->n_uncertain > 0 && n_all > 1)
        complain("%zu of %zu images are uncertain and got no caption", r->n_uncertain, n_all);
    if (r->n_failed > 0 && n_all > 1)
        complain("%zu of %zu images failed", r->n_failed, n_all);
    if (resumable && engine_is_interrupted())
        complain("interrupted; the same command goes on from here");
}

/* What does not fit together. Returns false after a message. */
static bool check(const settings *s)
{
    bool resumes = s->resume || s->journal;
    sidecar_kind beside = sidecar_of(s->format, s->extension, s->existing).kind;
    const char *wrong = NULL;
    char extension[NAME_MAX + 2];
    snprintf(extension, sizeof extension, ".%s", s->extension ? s->extension : "");
    if (s->n_operands == 0 && !s->files_from)
        wrong = "name an image, a folder, or - for standard input; 'looksay --help' shows examples";
    else if (s->output && beside != SIDECAR_NONE)
        wrong = "--format txt and xmp write beside the photos, embed into them; they do not go with --output";
    else if ((beside == SIDECAR_XMP || beside == SIDECAR_EMBED) && !metadata_is_built())
        wrong = "this program was built without XMP: its XML library is missing, which --format xmp and embed need";
    else if (s->watch && s->dry_run)
        wrong = "--dry-run names what is there; --watch waits for what is not";
    else if (s->dry_run && resumes)
        wrong = "--dry-run does not look at the journal of --resume; leave one of them out";
    else if (s->extension && (s->extension[0] == '\0' || strchr(s->extension, '/')))
        wrong = "--ext takes the end of a file's name, as in caption";
    else if (beside != SIDECAR_NONE && image_name_is_known(extension))
        wrong = "--ext is a photo's: captions would take the places of photos; choose another, such as caption";
    if (wrong)
        complain("%s", wrong);
    return !wrong && output_check_rows(s) && (!resumes || resume_check(s));
}

/* Whether the model knows how good its captions of photos are. */
static bool is_calibrated(const engine *e)
{
    char *text = NULL;
    lks_error err;
    json_t *info = lks_model_info(e->model, &text, &err) == LKS_OK ? json_loads(text, 0, NULL) : NULL;
    bool known = json_is_true(json_object_get(info, "calibrated"));
    json_decref(info);
    lks_free(text);
    return known;
}

static long long file_size(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (long long)info.st_size : 0;
}

static int run_with_engine(const settings *s, inputs *in, engine *e)
{
    report r = report_describe(s, e->name, in->several);
    lks_caption_options options;
    bool calibrated = is_calibrated(e);
    if (!isnan(s->min_confidence) && !calibrated) {
        complain("%s holds no calibration, which --min-confidence needs; apps/train/README.md says how it gets one",
                 e->name);
        return EXIT_USAGE;
    }
    engine_caption_options(&options, e, s);
    if (!engine_check_caption(s, &options))
        return EXIT_USAGE;
    options.keep_picture = r.format == REPORT_HTML;
    if (in->several)
        options.stop = NULL; /* the image in hand is finished; a second signal ends the process */
    photos p;
    if (!photos_open(&p, s, e, &options, in->several))
        return EXIT_OUTPUT;
    if (!report_open(&r, s, e->name, file_size(e->path), in->several)) {
        photos_close(&p);
        return EXIT_OUTPUT;
    }
    r.any_picture |= !calibrated; /* such a model may have been made for scanned lines, or for drawings */
    engine_catch_interrupts();
    run *all = calloc(1, sizeof *all);
    int status = EXIT_SOME_FAILED;
    if (all) {
        *all = (run){.photos = &p, .report = &r, .in = in};
        batches_begin(&all->batches, s, e->model, in->several, gather, all);
        status = run_batches(all, s->quiet);
        free(all);
    } else {
        complain("out of memory");
    }
    bool interrupted = engine_is_interrupted();
    bool written = report_close(&r, status == EXIT_ALL_DONE && !interrupted);
    summarize(&r, r.resumes, s->quiet);
    if (!s->quiet)
        photos_summarize(&p);
    photos_close(&p);
    if (!written)
        return EXIT_OUTPUT;
    if (interrupted)
        return EXIT_INTERRUPTED;
    return status == EXIT_ALL_DONE && r.n_failed > 0 ? EXIT_SOME_FAILED : status;
}

int command_caption(const settings *s)
{
    inputs in;
    engine e;
    if (!check(s) || !photos_check(s) || !inputs_open(&in, s))
        return EXIT_USAGE;
    int status = EXIT_MODEL;
    if (s->dry_run) {
        status = run_dry(s, &in);
    } else if (engine_open(&e, s)) {
        status = run_with_engine(s, &in, &e);
        engine_close(&e);
    }
    inputs_close(&in);
    return status;
}
