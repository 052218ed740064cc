/* How far a batch is: see progress.h. */
#include "apps/cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "apps/cli/engine.h"

#define REDRAW_MS 200.0

void progress_begin(progress *p, size_t n_total, bool on)
{
    *p = (progress){.shown = on && isatty(STDERR_FILENO), .n_total = n_total, .began_ms = engine_now_ms()};
}

static void print_left(long seconds)
{
    long minutes = seconds / 60;
    if (minutes >= 60)
        fprintf(stderr, ", %ld:%02ld:%02ld left", minutes / 60, minutes % 60, seconds % 60);
    else
        fprintf(stderr, ", %ld:%02ld left", minutes, seconds % 60);
}

void progress_step(progress *p, size_t n_seen, size_t n_done)
{
    double now = engine_now_ms();
    if (!p->shown || n_done == 0 || now - p->drawn_ms < REDRAW_MS)
        return;
    p->drawn_ms = now;
    double rate = (double)n_done / fmax(now - p->began_ms, 1e-3) * 1e3;
    fprintf(stderr, "\r\033[K%zu", n_seen);
    if (p->n_total)
        fprintf(stderr, " of %zu", p->n_total);
    fprintf(stderr, ", %.1f photos/s", rate);
    if (p->n_total >= n_seen)
        print_left((long)((double)(p->n_total - n_seen) / rate));
    fflush(stderr);
}

void progress_clear(progress *p)
{
    if (p->shown && p->drawn_ms > 0.0)
        fputs("\r\033[K", stderr);
}
