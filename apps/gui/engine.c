/* The thread that captions: see engine.h.
 *
 * Everything in `engine` below the mutex is shared and read under it. The thread owns model and session. A job holds a reference to
 * its photo, which travels with the job: photos are released by the main thread only. */
#include "apps/gui/engine.h"

#include <sys/resource.h>
#include <unistd.h>

#include "apps/gui/clip.h"

enum { BACKGROUND_NICE = 10 }; /* the window goes before the work, also where the work has all CPUs */

typedef struct frame {
    Photo *clip; /* NULL: there is none */
    GBytes *rgb;
    int width, height;
} frame;

typedef enum job_kind { JOB_NONE, JOB_CAPTION, JOB_SHOW, JOB_FRAME } job_kind;

typedef struct job {
    job_kind kind;
    Photo *photo;
    frame frame;
    char *language;
    int n_beams;
    guint generation;
} job;

struct engine {
    gatomicrefcount references; /* the owner's, and one for each event on its way */
    engine_events events;
    void *context;
    GThread *thread;
    gint stops; /* atomic: the work in hand is to end */

    GMutex mutex;
    GCond cond;
    GQueue waiting; /* of Photo * */
    Photo *show;    /* or NULL */
    frame look;
    Photo *in_work;         /* from the queue; borrowed, or NULL */
    char *model, *language; /* wanted */
    int n_beams;
    guint generation; /* counts engine_use: what is of an older one is dropped */
    bool paused, ends;

    lks_model *open_model; /* the thread's own from here */
    lks_session *session;
    guint open_generation;
    char *open_path, *name;
};

/* ---- to the main thread ---- */

typedef enum news_kind { NEWS_OPENED, NEWS_BEGUN, NEWS_TOLD, NEWS_SHOWN, NEWS_FAILED, NEWS_DROPPED } news_kind;

typedef struct news {
    news_kind kind;
    engine *engine;
    guint generation;
    Photo *photo; /* a reference, or NULL */
    telling *told;
    preview *shown;
    char *model, *message, **languages;
} news;

static void unref(engine *e)
{
    if (!g_atomic_ref_count_dec(&e->references))
        return;
    g_mutex_clear(&e->mutex);
    g_cond_clear(&e->cond);
    g_free(e->model);
    g_free(e->language);
    g_free(e);
}

static void release_news(gpointer data)
{
    news *n = data;
    telling_unref(n->told);
    preview_unref(n->shown);
    g_clear_object(&n->photo);
    g_free(n->model);
    g_free(n->message);
    g_strfreev(n->languages);
    unref(n->engine);
    g_free(n);
}

static gboolean bring(gpointer data)
{
    news *n = data;
    engine *e = n->engine;
    const engine_events *to = &e->events;
    if (e->ends || n->generation != e->generation) /* both are written by this thread alone */
        return G_SOURCE_REMOVE;
    switch (n->kind) {
    case NEWS_OPENED:
        to->opened(e->context, n->model, n->languages, n->message);
        break;
    case NEWS_BEGUN:
        to->begun(e->context, n->photo);
        break;
    case NEWS_TOLD:
        to->told(e->context, n->photo, n->told, n->shown);
        break;
    case NEWS_SHOWN:
        to->shown(e->context, n->photo, n->shown);
        break;
    case NEWS_FAILED:
        to->failed(e->context, n->photo, n->message);
        break;
    case NEWS_DROPPED:
        break;
    }
    return G_SOURCE_REMOVE;
}

static void send(engine *e, news n)
{
    news *sent = g_memdup2(&n, sizeof n);
    sent->engine = e;
    g_atomic_ref_count_inc(&e->references);
    GSource *source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, bring, sent, release_news);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

/* ---- the thread ---- */

static int stop(void *context)
{
    return g_atomic_int_get(&((engine *)context)->stops);
}

static void close_model(engine *e)
{
    lks_session_close(e->session);
    lks_model_close(e->open_model);
    e->session = NULL;
    e->open_model = NULL;
    g_clear_pointer(&e->open_path, g_free);
    g_clear_pointer(&e->name, g_free);
}

/* Of the open model, NULL at the end. */
static char **list_languages(const engine *e)
{
    GPtrArray *codes = g_ptr_array_new();
    const char *code;
    while (e->session && (code = lks_model_language(e->open_model, codes->len)))
        g_ptr_array_add(codes, g_strdup(code));
    g_ptr_array_add(codes, NULL);
    return (char **)g_ptr_array_free(codes, FALSE);
}

/* Opens the model at `path`, which it takes over. */
static void open_model(engine *e, char *path, guint generation)
{
    e->open_generation = generation;
    if (e->session && g_strcmp0(path, e->open_path) == 0) {
        send(e, (news){.kind = NEWS_OPENED,
                       .generation = generation,
                       .model = g_strdup(e->name),
                       .languages = list_languages(e)});
        g_free(path);
        return;
    }
    close_model(e);
    lks_error err = {.message = ""};
    if (lks_model_open(&e->open_model, path, NULL, &err) == LKS_OK)
        lks_session_open(&e->session, e->open_model, NULL, &err);
    e->open_path = path;
    e->name = g_filename_display_basename(path);
    send(e, (news){.kind = NEWS_OPENED,
                   .generation = generation,
                   .model = g_strdup(e->name),
                   .languages = list_languages(e),
                   .message = e->session ? NULL : g_strdup(err.message)});
}

static bool has_language(const engine *e, const char *code)
{
    const char *one;
    for (size_t i = 0; code && (one = lks_model_language(e->open_model, i)); i++)
        if (strcmp(one, code) == 0)
            return true;
    return false;
}

/* The caption of a frame, of the first frame of a clip, or of a photo. */
static lks_status look(engine *e, lks_caption **made, const job *j, const lks_caption_options *options, lks_error *err)
{
    frame f = j->frame;
    if (j->kind != JOB_FRAME && !j->photo->is_live)
        return lks_caption_file(e->session, made, j->photo->path, options, err);
    const video_options reading = {.stop = stop, .stop_context = e};
    f.rgb = f.rgb ? g_bytes_ref(f.rgb) : clip_first_picture(j->photo->path, &f.width, &f.height, &reading, err);
    if (!f.rgb)
        return stop(e) ? LKS_ERR_INTERRUPTED : err->status;
    lks_status st = lks_caption_rgb(e->session, made, g_bytes_get_data(f.rgb, NULL), f.width, f.height,
                                    (size_t)f.width * 3, options, err);
    g_bytes_unref(f.rgb);
    return st;
}

static news caption(engine *e, const job *j)
{
    news n = {.kind = NEWS_FAILED, .generation = j->generation, .photo = j->photo};
    lks_caption_options options;
    lks_caption_options_init(&options, e->open_model);
    if (j->n_beams > 0)
        options.n_beams = j->n_beams;
    if (has_language(e, j->language))
        options.language = j->language;
    options.keep_picture = 1;
    options.keep_maps = j->kind != JOB_SHOW;
    options.stop = stop;
    options.stop_context = e;
    if (j->kind == JOB_SHOW) { /* there is no way to a picture without a caption: the shortest will do */
        options.n_beams = options.n_best = options.max_tokens = 1;
        options.min_tokens = 0;
    }
    lks_caption *made = NULL;
    lks_error err = {.message = ""};
    gint64 began = g_get_monotonic_time();
    lks_status st = look(e, &made, j, &options, &err);
    if (st != LKS_OK) {
        n.kind = st == LKS_ERR_INTERRUPTED || j->kind == JOB_SHOW ? NEWS_DROPPED : NEWS_FAILED;
        n.message = g_strdup(err.message);
        return n;
    }
    n.kind = j->kind == JOB_SHOW ? NEWS_SHOWN : NEWS_TOLD;
    n.shown = preview_new(made);
    if (n.kind == NEWS_TOLD)
        n.told = telling_new(made, e->name, (double)(g_get_monotonic_time() - began) * 1e-3);
    lks_caption_free(made);
    return n;
}

/* What to do next; called and left with the mutex held. */
static job take(engine *e)
{
    job j = {.language = g_strdup(e->language), .n_beams = e->n_beams, .generation = e->generation};
    if (e->look.clip) {
        j.kind = JOB_FRAME;
        j.frame = e->look;
        j.photo = e->look.clip;
        e->look = (frame){0};
    } else if (e->show) {
        j.kind = JOB_SHOW;
        j.photo = e->show;
        e->show = NULL;
    } else if (!e->paused && !g_queue_is_empty(&e->waiting)) {
        j.kind = JOB_CAPTION;
        j.photo = g_queue_pop_head(&e->waiting);
    }
    e->in_work = j.kind == JOB_CAPTION ? j.photo : NULL;
    return j;
}

static void work(engine *e, job *j)
{
    if (j->kind == JOB_CAPTION)
        send(e, (news){.kind = NEWS_BEGUN, .generation = j->generation, .photo = g_object_ref(j->photo)});
    news n = caption(e, j);
    g_clear_pointer(&j->frame.rgb, g_bytes_unref);
    send(e, n);
}

static gpointer run(gpointer data)
{
    engine *e = data;
    setpriority(PRIO_PROCESS, (id_t)gettid(), BACKGROUND_NICE); /* of this thread and of those it starts */
    g_mutex_lock(&e->mutex);
    while (!e->ends) {
        bool wants = e->model && e->open_generation != e->generation;
        char *path = wants ? g_strdup(e->model) : NULL;
        guint generation = e->generation;
        g_atomic_int_set(&e->stops, 0);
        job j = {.kind = JOB_NONE};
        if (!wants && e->session)
            j = take(e);
        if (!wants && j.kind == JOB_NONE) {
            g_free(j.language);
            g_cond_wait(&e->cond, &e->mutex);
            continue;
        }
        g_mutex_unlock(&e->mutex);
        if (wants)
            open_model(e, path, generation);
        else
            work(e, &j);
        g_free(j.language);
        g_mutex_lock(&e->mutex);
        e->in_work = NULL;
    }
    g_mutex_unlock(&e->mutex);
    close_model(e);
    return NULL;
}

/* ---- the main thread ---- */

engine *engine_new(const engine_events *events, void *context)
{
    engine *e = g_new0(engine, 1);
    g_atomic_ref_count_init(&e->references);
    e->events = *events;
    e->context = context;
    g_mutex_init(&e->mutex);
    g_cond_init(&e->cond);
    g_queue_init(&e->waiting);
    e->thread = g_thread_new("captions", run, e);
    return e;
}

static void clear_frame(frame *f)
{
    g_clear_object(&f->clip);
    g_clear_pointer(&f->rgb, g_bytes_unref);
}

/* With the mutex held. */
static void empty(engine *e)
{
    g_queue_clear_full(&e->waiting, g_object_unref);
    g_clear_object(&e->show);
    clear_frame(&e->look);
    g_atomic_int_set(&e->stops, 1);
}

void engine_close(engine *e)
{
    g_mutex_lock(&e->mutex);
    e->ends = true;
    empty(e);
    g_cond_signal(&e->cond);
    g_mutex_unlock(&e->mutex);
    g_thread_join(e->thread);
    unref(e);
}

void engine_use(engine *e, const engine_choice *choice)
{
    g_mutex_lock(&e->mutex);
    empty(e);
    g_free(e->model);
    g_free(e->language);
    e->model = g_strdup(choice->model);
    e->language = g_strdup(choice->language);
    e->n_beams = choice->n_beams;
    e->generation++;
    g_cond_signal(&e->cond);
    g_mutex_unlock(&e->mutex);
}

void engine_add(engine *e, Photo *photo)
{
    g_mutex_lock(&e->mutex);
    g_queue_push_tail(&e->waiting, g_object_ref(photo));
    g_cond_signal(&e->cond);
    g_mutex_unlock(&e->mutex);
}

void engine_raise(engine *e, Photo *photo)
{
    g_mutex_lock(&e->mutex);
    if (g_queue_remove(&e->waiting, photo))
        g_queue_push_head(&e->waiting, photo);
    g_mutex_unlock(&e->mutex);
}

void engine_forget(engine *e, Photo *photo)
{
    g_mutex_lock(&e->mutex);
    if (g_queue_remove(&e->waiting, photo))
        g_object_unref(photo);
    if (e->show == photo)
        g_clear_object(&e->show);
    if (e->look.clip == photo)
        clear_frame(&e->look);
    if (e->in_work == photo)
        g_atomic_int_set(&e->stops, 1);
    g_mutex_unlock(&e->mutex);
}

void engine_forget_all(engine *e)
{
    g_mutex_lock(&e->mutex);
    empty(e);
    g_mutex_unlock(&e->mutex);
}

void engine_show(engine *e, Photo *photo)
{
    g_mutex_lock(&e->mutex);
    g_set_object(&e->show, photo);
    g_cond_signal(&e->cond);
    g_mutex_unlock(&e->mutex);
}

void engine_look(engine *e, Photo *clip, GBytes *rgb, int width, int height)
{
    g_mutex_lock(&e->mutex);
    clear_frame(&e->look);
    e->look = (frame){g_object_ref(clip), g_bytes_ref(rgb), width, height};
    g_cond_signal(&e->cond);
    g_mutex_unlock(&e->mutex);
}

void engine_pause(engine *e, bool paused)
{
    g_mutex_lock(&e->mutex);
    e->paused = paused;
    if (paused && e->in_work) {
        g_queue_push_head(&e->waiting, g_object_ref(e->in_work));
        g_atomic_int_set(&e->stops, 1);
    }
    g_cond_signal(&e->cond);
    g_mutex_unlock(&e->mutex);
}
