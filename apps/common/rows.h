/* Captions as JSON lines and as CSV, one row for each image. */
#ifndef LOOKSAY_COMMON_ROWS_H
#define LOOKSAY_COMMON_ROWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "apps/captioner/looksay.h"

/* details: tokens, their log-probabilities and timings too. `extra` (may be NULL, borrowed) is merged into the row. */
void rows_add_json(FILE *to, const char *image, const lks_caption *caption, const char *model, double ms, bool details,
                   const json_t *extra);
/* A caption that is not given, and why. */
void rows_add_json_uncertain(FILE *to, const char *image, const lks_caption *caption, const char *reason,
                             const char *model, double ms, bool details, const json_t *extra);
void rows_add_json_error(FILE *to, const char *image, const char *message, const char *model, double ms,
                         const json_t *extra);

/* RFC 4180, with a line of headings. */
void rows_begin_csv(FILE *to);
void rows_add_csv(FILE *to, const char *image, const lks_caption *caption);
void rows_add_csv_uncertain(FILE *to, const char *image, const lks_caption *caption, const char *reason);
void rows_add_csv_error(FILE *to, const char *image, const char *message);

/* A JSON string of bytes that may not be UTF-8: what is not becomes U+FFFD. */
json_t *json_text(const char *text);

#endif
