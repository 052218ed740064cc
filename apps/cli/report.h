/* Captions as text, JSON lines, CSV or sidecar files. Every image gets one row, in input order. */
#ifndef LOOKSAY_CLI_REPORT_H
#define LOOKSAY_CLI_REPORT_H

#include <jansson.h>

#include "apps/captioner/looksay.h"
#include "apps/cli/options.h"
#include "apps/cli/sink.h"

typedef enum report_format { REPORT_TEXT, REPORT_JSONL, REPORT_CSV, REPORT_SIDECARS } report_format;

typedef struct report {
    report_format format;
    bool details, quiet, name_images; /* name_images: text rows begin with the path */
    const char *existing, *model;
    sink sink;
    size_t n_done, n_failed, n_skipped;
    bool broken; /* output failed; nothing more is written */
} report;

/* A report of that kind that is not open: it knows what it skips, and writes nothing. `model` is borrowed. */
report report_describe(const settings *s, const char *model, bool several);

/* Returns false after a message. `model` is borrowed. */
bool report_open(report *out, const settings *s, const char *model, bool several);

/* Whether this image needs no caption because its sidecar is there already. */
bool report_skips(report *r, const char *image);

/* One row. `extra` (may be NULL, borrowed) is merged into JSON rows. Returns false when output failed. */
bool report_caption(report *r, const char *image, const lks_caption *caption, double ms, const json_t *extra);
bool report_error(report *r, const char *image, const lks_error *err, double ms, const json_t *extra);

/* Returns false after a message when output was lost. */
bool report_close(report *r);

/* A JSON string of bytes that may not be UTF-8: what is not becomes U+FFFD. */
json_t *json_text(const char *text);

#endif
