/* Captions as text, JSON lines, CSV, a page, sidecar files or inside photos: see report.h. */
#include "apps/cli/report.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/cli/engine.h"
#include "apps/cli/resume.h"
#include "apps/common/confidence.h"
#include "apps/common/gallery.h"
#include "apps/common/hash.h"
#include "apps/common/sidecar.h"

#define COMMIT_MS 200.0 /* how much work a killed run may have to do again */

report report_describe(const settings *s, const char *model, bool several)
{
    report r = {.details = s->details, .quiet = s->quiet, .name_images = several, .model = model};
    const char *format = s->format ? s->format : "text";
    r.sidecar = sidecar_of(s->format, s->extension, s->existing);
    if (strcmp(format, "jsonl") == 0)
        r.format = REPORT_JSONL;
    else if (strcmp(format, "csv") == 0)
        r.format = REPORT_CSV;
    else if (strcmp(format, "html") == 0)
        r.format = REPORT_HTML;
    else if (r.sidecar.kind != SIDECAR_NONE)
        r.format = REPORT_SIDECARS;
    r.min_confidence = s->min_confidence;
    r.any_picture = s->any_picture;
    r.hash = HASH_START;
    r.resumes = s->resume || s->journal;
    r.endless = s->watch;
    return r;
}

/* What stands before the first row. */
static void write_head(report *r)
{
    if (r->format == REPORT_CSV)
        rows_begin_csv(r->sink.stream);
    else if (r->format == REPORT_HTML)
        gallery_begin(r->sink.stream);
    r->broken = !sink_end_row(&r->sink);
}

static bool open_rows(report *r, const settings *s)
{
    if (!r->resumes)
        return sink_open(&r->sink, s->output);
    if (r->format == REPORT_SIDECARS)
        return resume_sidecars(&r->journal, &r->sidecar) && sink_open(&r->sink, NULL);
    return resume_rows(&r->sink, &r->hash, &r->journal, s->output);
}

bool report_open(report *out, const settings *s, const char *model, long long model_bytes, bool several)
{
    report r = report_describe(s, model, several);
    if ((r.resumes && !resume_open(&r.journal, s, model, model_bytes)) || !open_rows(&r, s)) {
        journal_close(&r.journal);
        return false;
    }
    r.committed_ms = engine_now_ms();
    if (r.journal.n_entries == 0)
        write_head(&r);
    *out = r;
    return true;
}

bool report_skips(report *r, const char *image)
{
    bool failed;
    if (r->resumes && journal_take(&r->journal, image, &failed)) {
        r->n_before++;
        r->n_failed += failed;
        return true;
    }
    if (r->format != REPORT_SIDECARS || !sidecar_is_done(&r->sidecar, image))
        return false;
    r->n_skipped++;
    return true;
}

static bool commit(report *r)
{
    r->committed_ms = engine_now_ms();
    return sink_settle(&r->sink) && journal_commit(&r->journal);
}

/* Ends the row of an image; of sidecars only failures are journaled here. */
static bool end_row(report *r, const char *image, bool failed)
{
    uint64_t begun = r->hash == HASH_START ? 0 : r->sink.whole; /* the first row has the head with it */
    if (r->broken || !sink_end_row(&r->sink))
        return false;
    if (!r->resumes)
        return true;
    if (r->format == REPORT_SIDECARS)
        return !failed || (journal_add(&r->journal, image, true, 0, 0) && journal_commit(&r->journal));
    return resume_add_row(&r->journal, &r->hash, &r->sink, begun, image, failed) &&
           (engine_now_ms() - r->committed_ms < COMMIT_MS || commit(r));
}

static void write_text(const report *r, const char *image, const lks_caption *caption)
{
    for (int i = 0; i < caption->n_sequences; i++) {
        if (r->name_images)
            fprintf(r->sink.stream, "%s: ", image);
        fprintf(r->sink.stream, "%s\n", caption->sequences[i].text);
    }
}

static bool write_sidecar(report *r, const char *image, const lks_caption *caption)
{
    sidecar_result result =
        sidecar_write(&r->sidecar, image, caption->sequences[0].text, r->resumes ? &r->journal : NULL);
    bool done = result == SIDECAR_WRITTEN;
    r->broken = result == SIDECAR_BROKEN || !end_row(r, image, !done);
    r->n_done += done && !r->broken;
    r->n_failed += result == SIDECAR_REFUSED;
    return !r->broken;
}

/* A row that says why there is no caption. It is no failure: looking again would say the same. */
static bool report_doubt(report *r, const char *image, const lks_caption *caption, const char *reason, double ms,
                         const json_t *extra)
{
    r->n_uncertain++;
    switch (r->format) {
    case REPORT_TEXT:
        if (r->name_images)
            fprintf(r->sink.stream, "%s: ", image);
        fprintf(r->sink.stream, "uncertain: %s\n", reason);
        break;
    case REPORT_JSONL:
        rows_add_json_uncertain(r->sink.stream, image, caption, reason, r->model, ms, r->details, extra);
        break;
    case REPORT_CSV:
        rows_add_csv_uncertain(r->sink.stream, image, caption, reason);
        break;
    case REPORT_HTML:
        gallery_add_uncertain(r->sink.stream, image, caption, reason);
        break;
    case REPORT_SIDECARS:
        if (!r->quiet)
            complain("%s: uncertain: %s", image, reason);
        if (r->resumes)
            r->broken = !(journal_add(&r->journal, image, false, 0, 0) && journal_commit(&r->journal));
        break;
    }
    if (!r->broken)
        r->broken = !end_row(r, image, false);
    return !r->broken;
}

bool report_caption(report *r, const char *image, const lks_caption *caption, double ms, const json_t *extra)
{
    char reason[DOUBT_BYTES];
    if (r->broken)
        return false;
    if (caption_doubt(reason, caption, r->min_confidence, r->any_picture))
        return report_doubt(r, image, caption, reason, ms, extra);
    switch (r->format) {
    case REPORT_TEXT:
        write_text(r, image, caption);
        break;
    case REPORT_JSONL:
        rows_add_json(r->sink.stream, image, caption, r->model, ms, r->details, extra);
        break;
    case REPORT_CSV:
        rows_add_csv(r->sink.stream, image, caption);
        break;
    case REPORT_HTML:
        gallery_add(r->sink.stream, image, caption);
        break;
    case REPORT_SIDECARS:
        return write_sidecar(r, image, caption);
    }
    r->broken = !end_row(r, image, false);
    if (!r->broken)
        r->n_done++;
    return !r->broken;
}

bool report_error(report *r, const char *image, const lks_error *err, double ms, const json_t *extra)
{
    r->n_failed++;
    if (r->format == REPORT_JSONL) {
        rows_add_json_error(r->sink.stream, image, err->message, r->model, ms, extra);
    } else if (r->format == REPORT_CSV) {
        rows_add_csv_error(r->sink.stream, image, err->message);
    } else if (r->format == REPORT_HTML) {
        gallery_add_error(r->sink.stream, image, err->message);
    } else if (!r->quiet) {
        complain("%s", err->message);
    }
    r->broken = !end_row(r, image, true);
    return !r->broken;
}

bool report_close(report *r, bool finished)
{
    bool written = !r->broken;
    if (r->resumes && written && r->format != REPORT_SIDECARS)
        written = commit(r);
    bool empty = r->n_done + r->n_failed + r->n_uncertain == 0;
    bool fragment = !finished && !r->resumes && !empty;
    bool yields = fragment && !r->endless && r->sink.path && access(r->sink.path, F_OK) == 0; /* to the old file */
    if (written && r->format == REPORT_HTML && (finished || fragment))
        gallery_end(r->sink.stream); /* behind the last row of the journal: a later run cuts it off */
    if (written && yields) {
        written = sink_end_row(&r->sink);
        complain("%s: is left as it was; the rows of this unfinished run are in %s", r->sink.path, r->sink.part);
    }
    if (written && (finished || fragment) && !yields)
        written = sink_close(&r->sink);
    else
        sink_leave(&r->sink, r->resumes || !empty);
    journal_close(&r->journal);
    return written;
}
