/* The thread that reads clips: see player.h.
 *
 * Everything in `player` below the mutex is shared and read under it. A frame is due when as much time has gone by since the first one
 * as between them in the clip; one that is late is looked at for cuts, but not shown. Frames of a camera are due when they come. */
#include "apps/gui/player.h"

#include "apps/gui/clip.h"
#include "apps/video/load.h"
#include "apps/video/shots.h"

/* As `looksay video` has it, but for a shorter time between captions: somebody is watching. */
static const shots_options LOOKS = {.every = 1.0, .scene = 0.1, .gate = 0.015, .settle = 0.2};

static const double LATE = 0.1; /* seconds */

struct player {
    gatomicrefcount references; /* the owner's, and one for each event on its way */
    player_events events;
    void *context;
    GThread *thread;
    gint stops; /* atomic: the clip that is open is not wanted any more */

    GMutex mutex;
    GCond cond;
    char *path;       /* wanted, or NULL */
    guint generation; /* counts player_play: what is of an older one is dropped */
    bool paused, ends;
    bool at_end;       /* the thread has left the clip: to seek, it is opened again */
    double sought;     /* seconds; less than 0: nowhere */
    player_frame next; /* on its way to the main thread; rgb NULL: none is */
};

/* ---- to the main thread ---- */

typedef struct news {
    player *player;
    guint generation;
    bool ends;
    char *message;
} news;

static void unref(player *p)
{
    if (!g_atomic_ref_count_dec(&p->references))
        return;
    g_mutex_clear(&p->mutex);
    g_cond_clear(&p->cond);
    g_free(p);
}

static void release_news(gpointer data)
{
    news *n = data;
    unref(n->player);
    g_free(n->message);
    g_free(n);
}

static gboolean bring(gpointer data)
{
    const news *n = data;
    player *p = n->player;
    g_mutex_lock(&p->mutex);
    bool wanted = n->generation == p->generation;
    player_frame frame = p->next;
    if (wanted && !n->ends)
        p->next.rgb = NULL;
    g_mutex_unlock(&p->mutex);
    if (!wanted || (!n->ends && !frame.rgb)) /* the frame may have made way for a seek */
        return G_SOURCE_REMOVE;
    if (n->ends)
        p->events.ended(p->context, n->message);
    else {
        p->events.shown(p->context, &frame);
        g_bytes_unref(frame.rgb);
    }
    return G_SOURCE_REMOVE;
}

static void send(player *p, guint generation, bool ends, const char *message)
{
    news *n = g_new(news, 1);
    *n = (news){p, generation, ends, g_strdup(message)};
    g_atomic_ref_count_inc(&p->references);
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, bring, n, release_news);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

/* Takes over the frame. One that the main thread had no time for makes way for it. */
static void show(player *p, guint generation, player_frame frame)
{
    g_mutex_lock(&p->mutex);
    bool wanted = generation == p->generation && p->sought < 0.0, waits = wanted && p->next.rgb;
    if (waits) {
        frame.is_news |= p->next.is_news;
        g_bytes_unref(p->next.rgb);
    }
    if (wanted)
        p->next = frame;
    g_mutex_unlock(&p->mutex);
    if (!wanted)
        g_bytes_unref(frame.rgb);
    else if (!waits)
        send(p, generation, false, NULL);
}

/* ---- the thread ---- */

static int stop(void *context)
{
    return g_atomic_int_get(&((player *)context)->stops);
}

typedef struct reading {
    player *player;
    guint generation;
    const video_api *api;
    video *clip;
    video_info info;
    shots shots;
    gint64 began; /* when the clip's beginning was due, in microseconds; 0: nothing was shown yet */
    bool is_news; /* so was a frame that was not shown */
    bool
        seeking; /* frames that end before `from` are passed over; the first other one is shown at once, even while paused */
    double from;
} reading;

/* Waits until the frame is due. Returns how late it is, in seconds. */
static double wait_until_due(reading *r, const video_frame *frame)
{
    player *p = r->player;
    gint64 at = (gint64)(frame->seconds * G_USEC_PER_SEC);
    g_mutex_lock(&p->mutex);
    if (p->paused && !r->seeking) {
        while (p->paused && !stop(p) && p->sought < 0.0)
            g_cond_wait(&p->cond, &p->mutex);
        r->began = 0;
    }
    if (r->began == 0)
        r->began = g_get_monotonic_time() - at;
    while (!stop(p) && !p->paused && p->sought < 0.0 && g_cond_wait_until(&p->cond, &p->mutex, r->began + at))
        continue;
    g_mutex_unlock(&p->mutex);
    return (double)(g_get_monotonic_time() - r->began - at) / G_USEC_PER_SEC;
}

/* Goes where the main thread wants to be, if anywhere. */
static lks_status follow(reading *r, lks_error *err)
{
    player *p = r->player;
    g_mutex_lock(&p->mutex);
    double to = p->sought;
    p->sought = -1.0;
    g_mutex_unlock(&p->mutex);
    if (to < 0.0 || !r->info.can_seek)
        return LKS_OK;
    shots_begin(&r->shots, &LOOKS); /* what comes is not compared with what was before */
    r->began = 0;
    r->seeking = true;
    r->from = to;
    return r->api->seek(r->clip, to, err);
}

/* Is nothing of the clip wanted any more? Asked at its end: somebody may have gone elsewhere meanwhile. */
static bool leaves(player *p, guint generation)
{
    g_mutex_lock(&p->mutex);
    const bool wanted = generation == p->generation;
    p->at_end = wanted && p->sought < 0.0;
    const bool goes_on = wanted && p->sought >= 0.0;
    g_mutex_unlock(&p->mutex);
    return !goes_on;
}

static bool is_paused(player *p)
{
    g_mutex_lock(&p->mutex);
    bool paused = p->paused;
    g_mutex_unlock(&p->mutex);
    return paused;
}

/* One frame: is it news, when is it due, is there time to show it? */
static lks_status read_frame(reading *r, const video_frame *frame, lks_error *err)
{
    if (r->seeking && frame->seconds + frame->duration <= r->from)
        return LKS_OK;
    uint8_t thumbnail[SHOTS_CELLS];
    lks_status st = r->api->thumbnail(r->clip, thumbnail, err);
    if (st != LKS_OK)
        return st;
    shots_event event = shots_look(&r->shots, frame->seconds, thumbnail);
    r->is_news |= event == SHOTS_CUT || event == SHOTS_TIME || event == SHOTS_RETAKE;
    double late = r->info.is_live ? 0.0 : wait_until_due(r, frame);
    r->seeking = false;
    if (stop(r->player) || (late > LATE && !r->is_news) || (r->info.is_live && is_paused(r->player)))
        return LKS_OK;
    video_held *held;
    player_frame shown = {
        .seconds = frame->seconds, .n_seconds = r->info.seconds, .can_seek = r->info.can_seek, .is_news = r->is_news};
    st = r->api->hold(r->clip, &held, err);
    if (st == LKS_OK && !(shown.rgb = clip_picture(r->api, r->clip, held, &shown.width, &shown.height, err)))
        st = err->status;
    if (st == LKS_OK) {
        show(r->player, r->generation, shown);
        r->is_news = false;
    }
    return st;
}

/* All of a clip. */
static void play(player *p, const char *path, guint generation)
{
    reading r = {.player = p, .generation = generation};
    const video_options options = {.stop = stop, .stop_context = p};
    lks_error err = {.message = ""};
    r.api = video_load(&err);
    lks_status st = r.api ? r.api->open(&r.clip, path, &options, &err) : err.status;
    if (r.api && st == LKS_OK) {
        r.api->describe(&r.info, r.clip);
        shots_begin(&r.shots, &LOOKS);
        video_frame frame;
        bool end = false;
        while (!stop(p) && (st = follow(&r, &err)) == LKS_OK &&
               (st = r.api->next(r.clip, &frame, &end, &err)) == LKS_OK && !(end && leaves(p, generation)))
            if (!end && (st = read_frame(&r, &frame, &err)) != LKS_OK)
                break;
        r.api->close(r.clip);
    }
    send(p, generation, true, st == LKS_OK ? NULL : err.message);
}

static gpointer run(gpointer data)
{
    player *p = data;
    guint played = 0;
    g_mutex_lock(&p->mutex);
    while (!p->ends) {
        if (!p->path || played == p->generation) {
            g_cond_wait(&p->cond, &p->mutex);
            continue;
        }
        guint generation = played = p->generation;
        char *path = g_strdup(p->path);
        g_atomic_int_set(&p->stops, 0);
        g_mutex_unlock(&p->mutex);
        play(p, path, generation);
        g_free(path);
        g_mutex_lock(&p->mutex);
    }
    g_mutex_unlock(&p->mutex);
    return NULL;
}

/* ---- the main thread ---- */

player *player_new(const player_events *events, void *context)
{
    player *p = g_new0(player, 1);
    g_atomic_ref_count_init(&p->references);
    p->events = *events;
    p->context = context;
    p->sought = -1.0;
    g_mutex_init(&p->mutex);
    g_cond_init(&p->cond);
    p->thread = g_thread_new("clips", run, p);
    return p;
}

/* With the mutex held. */
static void drop(player *p)
{
    g_clear_pointer(&p->path, g_free);
    g_clear_pointer(&p->next.rgb, g_bytes_unref);
    p->sought = -1.0;
    p->at_end = false;
    p->generation++;
    g_atomic_int_set(&p->stops, 1);
    g_cond_broadcast(&p->cond);
}

void player_play(player *p, const char *path)
{
    g_mutex_lock(&p->mutex);
    drop(p);
    p->path = g_strdup(path);
    p->paused = false;
    g_mutex_unlock(&p->mutex);
}

void player_seek(player *p, double seconds)
{
    g_mutex_lock(&p->mutex);
    g_clear_pointer(&p->next.rgb, g_bytes_unref);
    p->sought = MAX(seconds, 0.0);
    if (p->at_end) { /* its thread plays it anew */
        p->at_end = false;
        p->generation++;
    }
    g_cond_broadcast(&p->cond);
    g_mutex_unlock(&p->mutex);
}

void player_pause(player *p, bool paused)
{
    g_mutex_lock(&p->mutex);
    p->paused = paused;
    g_cond_broadcast(&p->cond);
    g_mutex_unlock(&p->mutex);
}

void player_close(player *p)
{
    g_mutex_lock(&p->mutex);
    p->ends = true;
    drop(p);
    g_mutex_unlock(&p->mutex);
    g_thread_join(p->thread);
    unref(p);
}
