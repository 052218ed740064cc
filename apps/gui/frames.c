/* How smoothly a window is drawn: see frames.h. */
#include "apps/gui/frames.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { NAME_FIELD = 2, START_FIELD = 22 }; /* of /proc/self/stat, counted from 1: see proc(5) */

/* When the process began, on the clock of g_get_monotonic_time; the kernel counts in ticks since the machine's start. */
static gint64 process_began(void)
{
    char *text = NULL;
    guint64 ticks = 0;
    if (g_file_get_contents("/proc/self/stat", &text, NULL, NULL)) {
        const char *at = strrchr(text, ')'); /* the name before it may hold anything */
        for (int field = NAME_FIELD; at && field < START_FIELD; field++)
            at = strchr(at + 1, ' ');
        if (at)
            ticks = g_ascii_strtoull(at, NULL, 10);
    }
    g_free(text);
    struct timespec up;
    clock_gettime(CLOCK_BOOTTIME, &up);
    gint64 age = up.tv_sec * G_USEC_PER_SEC + up.tv_nsec / 1000 -
                 (gint64)(ticks * G_USEC_PER_SEC / (guint64)sysconf(_SC_CLK_TCK));
    return g_get_monotonic_time() - age;
}

typedef struct watch {
    gint64 process_began, frame_began, worked;
} watch;

/* Processor time of this thread: what other programs do does not count. */
static gint64 work_done(void)
{
    struct timespec done;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &done);
    return done.tv_sec * G_USEC_PER_SEC + done.tv_nsec / 1000;
}

static void on_before(GdkFrameClock *clock, watch *w)
{
    (void)clock;
    w->frame_began = g_get_monotonic_time();
    w->worked = work_done();
}

static void on_after(GdkFrameClock *clock, watch *w)
{
    gint64 now = g_get_monotonic_time(), worked = work_done();
    g_debug("frame %" G_GINT64_FORMAT ": at %" G_GINT64_FORMAT " us, took %" G_GINT64_FORMAT
            " us, worked %" G_GINT64_FORMAT " us of %" G_GINT64_FORMAT " us",
            gdk_frame_clock_get_frame_counter(clock), w->frame_began - w->process_began, now - w->frame_began,
            worked - w->worked, worked);
}

void frames_watch(GtkWidget *window)
{
    if (g_log_writer_default_would_drop(G_LOG_LEVEL_DEBUG, G_LOG_DOMAIN))
        return;
    GdkFrameClock *clock = gtk_widget_get_frame_clock(window);
    watch *w = g_new0(watch, 1);
    w->process_began = process_began();
    g_object_set_data_full(G_OBJECT(clock), "looksay-watch", w, g_free);
    g_signal_connect(clock, "before-paint", G_CALLBACK(on_before), w);
    g_signal_connect(clock, "after-paint", G_CALLBACK(on_after), w);
}
