/* One line on a terminal that says how far a batch is; nothing where standard error is no terminal. */
#ifndef LOOKSAY_CLI_PROGRESS_H
#define LOOKSAY_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct progress {
    bool shown;
    size_t n_total; /* 0: unknown */
    double began_ms, drawn_ms;
} progress;

/* on: whether the user wants it, and has no rows on the same terminal. */
void progress_begin(progress *p, size_t n_total, bool on);
/* n_seen: how many of all; n_done: those of them that took time. */
void progress_step(progress *p, size_t n_seen, size_t n_done);
/* For a clip: how many seconds of all (0: unknown) have gone by, in how many frames. A bar. */
void progress_clip(progress *p, double seconds, double n_seconds, size_t n_frames);
/* Removes the line, so that messages and results have the terminal to themselves. */
void progress_clear(progress *p);

#endif
