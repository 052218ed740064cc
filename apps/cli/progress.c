/* How far a batch is: see progress.h. */
#include "apps/cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
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

static void print_bar(double share)
{
    enum { CELLS = 30 };
    char bar[CELLS + 1];
    int n_full = (int)(fmin(fmax(share, 0.0), 1.0) * CELLS);
    memset(bar, '-', CELLS);
    memset(bar, '#', (size_t)n_full);
    bar[CELLS] = '\0';
    fprintf(stderr, "[%s] ", bar);
}

void progress_clip(progress *p, double seconds, double n_seconds, size_t n_frames)
{
    double now = engine_now_ms();
    if (!p->shown || now - p->drawn_ms < REDRAW_MS)
        return;
    p->drawn_ms = now;
    double taken = fmax(now - p->began_ms, 1e-3) * 1e-3;
    fputs("\r\033[K", stderr);
    if (n_seconds > 0.0)
        print_bar(seconds / n_seconds);
    fprintf(stderr, "%.1f", seconds);
    if (n_seconds > 0.0)
        fprintf(stderr, " of %.1f", n_seconds);
    fprintf(stderr, " s, %.1f frames/s", (double)n_frames / taken);
    if (n_seconds >= seconds && seconds > 0.0)
        print_left((long)((n_seconds - seconds) / seconds * taken));
    fflush(stderr);
}

void progress_clear(progress *p)
{
    if (p->shown && p->drawn_ms > 0.0)
        fputs("\r\033[K", stderr);
    p->drawn_ms = 0.0; /* the next step draws again, however soon it comes */
}
