/* How far a batch is: see progress.h. */
#include "apps/cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "apps/cli/engine.h"

#define REDRAW_MS 200.0

void progress_begin(progress *p, size_t n_total, bool on)
{
    *p = (progress){.shown = on && isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO),
                    .n_total = n_total,
                    .began_ms = engine_now_ms()};
}

void progress_step(progress *p, size_t n_done)
{
    double now = engine_now_ms();
    if (!p->shown || n_done == 0 || now - p->drawn_ms < REDRAW_MS)
        return;
    p->drawn_ms = now;
    double rate = (double)n_done / (now - p->began_ms) * 1e3;
    if (p->n_total) {
        long left = (long)((double)(p->n_total - n_done) / rate);
        fprintf(stderr, "\r\033[K%zu of %zu, %.1f images/s, %ld:%02ld left", n_done, p->n_total, rate, left / 60,
                left % 60);
    } else {
        fprintf(stderr, "\r\033[K%zu, %.1f images/s", n_done, rate);
    }
    fflush(stderr);
}

void progress_clear(progress *p)
{
    if (p->shown && p->drawn_ms > 0.0)
        fputs("\r\033[K", stderr);
}
