/* A file that appears only when it is complete. Rows go to FILE.part beside it, each flushed as it is written; closing renames.
 * When a write fails (full disk), what was written up to the last whole row stays in FILE.part. */
#ifndef LOOKSAY_CLI_SINK_H
#define LOOKSAY_CLI_SINK_H

#include <stdbool.h>
#include <stdio.h>

typedef struct sink {
    FILE *stream;
    char *path, *part; /* NULL for standard output and for what is no regular file */
    long whole;        /* bytes up to the end of the last row */
    bool failed;
} sink;

/* path: NULL or "-" for standard output. Returns false after a message. */
bool sink_open(sink *out, const char *path);

/* Ends a row: false after a message when it could not be written; later rows are then refused too. */
bool sink_end_row(sink *s);

/* Renames into place. Returns false after a message when anything was lost. */
bool sink_close(sink *s);

#endif
