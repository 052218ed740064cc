/* The three faces of an explanation: numbers, a page, a sheet. Private to apps/cli/explain*.c. */
#ifndef LOOKSAY_CLI_EXPLAIN_H
#define LOOKSAY_CLI_EXPLAIN_H

#include <stdbool.h>
#include <stdio.h>

#include "apps/captioner/looksay.h"

typedef struct explanation {
    const char *image, *model;    /* what they are called */
    const lks_caption *caption;   /* with maps, and with the picture unless JSON is written */
    const lks_sequence *sequence; /* the best of them */
} explanation;

/* Writers return false after a message. What the stream does not take is found by whoever closes it. */
bool explain_write_json(FILE *to, const explanation *e);
bool explain_write_html(FILE *to, const explanation *e);
bool explain_write_png(FILE *to, const explanation *e); /* of builds with LOOKSAY_SHEETS */

#endif
