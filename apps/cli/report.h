/* Captions as text, JSON lines, CSV, a page, sidecar files or inside photos. Every image gets one row, in input order. */
#ifndef LOOKSAY_CLI_REPORT_H
#define LOOKSAY_CLI_REPORT_H

#include "apps/captioner/looksay.h"
#include "apps/cli/options.h"
#include "apps/common/journal.h"
#include "apps/common/rows.h"
#include "apps/common/sidecar.h"
#include "apps/common/sink.h"

typedef enum report_format { REPORT_TEXT, REPORT_JSONL, REPORT_CSV, REPORT_HTML, REPORT_SIDECARS } report_format;

typedef struct report {
    report_format format;
    bool details, quiet, name_images; /* name_images: text rows begin with the path */
    const char *model;
    sidecar sidecar; /* of REPORT_SIDECARS */
    sink sink;
    bool resumes;
    bool endless;    /* only an interrupt ends it, which then cuts nothing off */
    journal journal; /* of a report that resumes */
    uint64_t hash;   /* of the rows */
    double committed_ms;
    size_t n_done, n_failed, n_skipped; /* n_failed: those of the runs before too */
    double min_confidence;              /* below it a caption is uncertain; NAN: none is */
    bool any_picture;                   /* what is no photo may have a caption */
    size_t n_uncertain;
    size_t n_before; /* done by runs before, failed ones included */
    bool broken;     /* output failed; nothing more is written */
} report;

/* A report of that kind that is not open: it knows which captions are there, and writes nothing. `model` is borrowed. */
report report_describe(const settings *s, const char *model, bool several);

/* Returns false after a message. `model` is borrowed; model_bytes tells models of one name apart. */
bool report_open(report *out, const settings *s, const char *model, long long model_bytes, bool several);

/* Whether this image needs no caption because it has one already, or because a run before has done it. */
bool report_skips(report *r, const char *image);

/* One row; in place of a caption that may not be given, one that says why. `extra` (may be NULL, borrowed) is merged into JSON rows. Returns false when output failed. */
bool report_caption(report *r, const char *image, const lks_caption *caption, double ms, const json_t *extra);
bool report_error(report *r, const char *image, const lks_error *err, double ms, const json_t *extra);

/* Ends the output. finished: no image is left. Otherwise a report that resumes keeps what it has for the next run, and the rows of
 * any other take FILE's place only where there is none; else they stay in FILE.part. Returns false after a message when output
 * was lost. */
bool report_close(report *r, bool finished);

#endif
