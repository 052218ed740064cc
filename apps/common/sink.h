/* A file that appears only when it is complete. Rows go to FILE.part beside it, each flushed as it is written; closing renames.
 * FILE keeps its owner and permissions, and where it is a link, what it points to is written. One process at a time has FILE.part.
 * When a write fails (full disk), what was written up to the last whole row stays in FILE.part. */
#ifndef LOOKSAY_COMMON_SINK_H
#define LOOKSAY_COMMON_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct sink {
    FILE *stream;      /* reads too where there is a part */
    char *path, *part; /* NULL for standard output and for what is no regular file */
    uint64_t whole;    /* bytes up to the end of the last row */
    bool failed;
} sink;

/* path: NULL or "-" for standard output. Returns false after a message. */
bool sink_open(sink *out, const char *path);

/* As above, but goes on with the rows that are there: those of FILE.part, or else of FILE; *was_complete says which. The
 * stream stands at their end. path is a regular file. */
bool sink_continue(sink *out, bool *was_complete, const char *path);

/* Cuts off everything behind the first n bytes. */
bool sink_cut(sink *s, uint64_t n);

/* Ends a row: false after a message when it could not be written; later rows are then refused too. */
bool sink_end_row(sink *s);

/* Ends a row; all rows are on the disk when it returns. */
bool sink_settle(sink *s);

/* Renames into place. Returns false after a message when anything was lost. */
bool sink_close(sink *s);

/* Closes without renaming: the rows stay in FILE.part for sink_continue, or are removed. */
void sink_leave(sink *s, bool keep);

#endif
