/* The model and session that a command line asks for: see engine.h. */
#include "apps/cli/engine.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "apps/cli/packed_cache.h"
#include "apps/common/default_model.h"

#define MAX_STDIN_BYTES ((size_t)1 << 30)

/* A signal handler has nowhere else to leave its news. Any thread may run it. */
static atomic_int interrupted;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a handler may wait for nobody");

static void note_interrupt(int signal_number)
{
    (void)signal_number;
    atomic_store(&interrupted, 1);
}

int engine_exit_status(lks_status st)
{
    switch (st) {
    case LKS_OK:
        return EXIT_ALL_DONE;
    case LKS_ERR_ARGUMENT:
        return EXIT_USAGE;
    case LKS_ERR_MODEL:
        return EXIT_MODEL;
    case LKS_ERR_INTERRUPTED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_SOME_FAILED;
    }
}

void engine_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = note_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool engine_is_interrupted(void)
{
    return atomic_load(&interrupted) != 0;
}

static int stop(void *context)
{
    (void)context;
    return atomic_load(&interrupted);
}

double engine_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

bool engine_find_model(char *out, size_t n_out, const settings *s)
{
    if (!s->model)
        return default_model_find(out, n_out);
    snprintf(out, n_out, "%s", s->model);
    return true;
}

static const char *last_part(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

bool engine_has_language(const engine *e, const char *code)
{
    char known[128] = "";
    size_t n = 0;
    const char *own;
    for (size_t i = 0; (own = lks_model_language(e->model, i)) && n < sizeof known; i++) {
        if (strcmp(own, code) == 0)
            return true;
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", own);
    }
    if (n > 0)
        complain("%s has no language '%s'; it has %s", e->name, code, known);
    else
        complain("%s knows one language only; --model takes one that has several (apps/train/README.md makes one)",
                 e->name);
    return false;
}

/* What --device auto took, and why. */
static void say_device(const lks_model *model)
{
    lks_gpu gpu;
    lks_error err;
    bool found = lks_gpu_describe(&gpu, &err) == LKS_OK;
    complain("--device auto takes %s: %s", lks_model_device(model), found ? gpu.name : err.message);
}

bool engine_open(engine *out, const settings *s)
{
    engine *e = out;
    *e = (engine){.name = ""};
    if (!engine_find_model(e->path, sizeof e->path, s)) {
        complain("%s: the default model is missing; install it there, or name a model with --model", e->path);
        return false;
    }
    e->name = last_part(e->path);
    double began = engine_now_ms();
    int n_threads = s->n_threads == OPTION_UNSET ? 0 : s->n_threads;
    lks_model_options model_options = {
        .size = sizeof model_options, .n_threads = n_threads, .isa = s->isa, .dtype = s->dtype, .device = s->device};
    lks_session_options session_options = {.size = sizeof session_options, .n_threads = n_threads};
    lks_error err = {.message = ""};
    char packed[PATH_MAX];
    packed_cache_resolve(packed, sizeof packed, e->path, s);
    lks_status st = lks_model_open(&e->model, packed, &model_options, &err);
    if (st != LKS_OK && strcmp(packed, e->path) != 0) {
        complain("%s; going on without it", err.message);
        unlink(packed);
        st = lks_model_open(&e->model, e->path, &model_options, &err);
    }
    if (st != LKS_OK || lks_session_open(&e->session, e->model, &session_options, &err) != LKS_OK) {
        complain("%s", err.message);
        engine_close(e);
        return false;
    }
    if (s->language && !engine_has_language(e, s->language)) {
        engine_close(e);
        return false;
    }
    if (s->device && strcmp(s->device, "auto") == 0 && !s->quiet)
        say_device(e->model);
    const char *note;
    for (size_t i = 0; !s->quiet && (note = lks_model_note(e->model, i)); i++)
        complain("%s: %s", e->name, note);
    e->open_ms = engine_now_ms() - began;
    if (s->verbose)
        complain("opened %s in %.0f ms", e->path, e->open_ms);
    return true;
}

void engine_close(engine *e)
{
    lks_session_close(e->session);
    lks_model_close(e->model);
    e->session = NULL;
    e->model = NULL;
}

void engine_offer_lenient(lks_error *err)
{
    static const char offer[] = ", or take what can be read of it with --lenient";
    size_t n = strlen(err->message);
    if (err->status == LKS_ERR_DAMAGED && n + sizeof offer <= sizeof err->message)
        memcpy(err->message + n, offer, sizeof offer);
}

void engine_caption_options(lks_caption_options *out, const engine *e, const settings *s)
{
    lks_caption_options o;
    lks_caption_options_init(&o, e->model);
    const struct {
        int *to, from;
    } whole[] = {{&o.n_beams, s->n_beams}, {&o.max_tokens, s->max_tokens},           {&o.min_tokens, s->min_tokens},
                 {&o.n_best, s->n_best},   {&o.no_repeat_ngram, s->no_repeat_ngram}, {&o.top_k, s->top_k}};
    const struct {
        float *to;
        double from;
    } real[] = {{&o.length_penalty, s->length_penalty},
                {&o.repetition_penalty, s->repetition_penalty},
                {&o.temperature, s->temperature},
                {&o.top_p, s->top_p}};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (whole[i].from != OPTION_UNSET)
            *whole[i].to = whole[i].from;
    for (size_t i = 0; i < sizeof real / sizeof *real; i++)
        if (!isnan(real[i].from))
            *real[i].to = (float)real[i].from;
    o.sample =
        s->sample || s->seed != OPTION_UNSET || s->top_k != OPTION_UNSET || !isnan(s->temperature) || !isnan(s->top_p);
    if (o.sample && s->n_beams == OPTION_UNSET)
        o.n_beams = 1;
    if (s->n_beams == OPTION_UNSET && !o.sample && o.n_best > o.n_beams)
        o.n_beams = o.n_best;
    o.seed = s->seed == OPTION_UNSET ? 0 : (uint64_t)s->seed;
    o.prompt = s->prompt;
    o.language = s->language;
    o.banned = s->banned.words;
    o.n_banned = s->banned.n;
    o.required = s->required.words;
    o.n_required = s->required.n;
    o.lenient = s->lenient;
    o.stop = stop;
    *out = o;
}

bool engine_check_search(const settings *s, bool draws, bool has_beams)
{
    const char *idle = NULL;
    if (draws && s->n_beams > 1 && settings_gives(s, "beams"))
        idle = "--beams does nothing where tokens are drawn at random; --n-best asks for several captions";
    else if (!has_beams && settings_gives(s, "length-penalty"))
        idle = "--length-penalty does nothing without beam search, that is --beams 2 or more";
    if (idle)
        complain("%s", idle);
    return !idle;
}

bool engine_check_caption(const settings *s, const lks_caption_options *o)
{
    return engine_check_search(s, o->sample, !o->sample && (o->n_beams > 1 || o->n_required > 0));
}

lks_status engine_read_stdin(void **bytes, size_t *n_bytes, lks_error *err)
{
    size_t n = 0, capacity = 1 << 16;
    char *buffer = malloc(capacity);
    lks_error failure = {.status = LKS_OK};
    while (buffer && !feof(stdin) && !ferror(stdin) && n < MAX_STDIN_BYTES) {
        if (n == capacity) {
            char *grown = realloc(buffer, capacity *= 2);
            if (!grown)
                free(buffer);
            buffer = grown;
        }
        if (buffer)
            n += fread(buffer + n, 1, capacity - n, stdin);
    }
    if (!buffer)
        failure = (lks_error){LKS_ERR_NOMEM, "standard input: out of memory"};
    else if (ferror(stdin) && engine_is_interrupted())
        failure = (lks_error){LKS_ERR_INTERRUPTED, "interrupted"};
    else if (ferror(stdin))
        failure = (lks_error){LKS_ERR_IO, "standard input cannot be read"};
    else if (n == 0)
        failure = (lks_error){LKS_ERR_IMAGE, "standard input is empty; '-' reads the bytes of one image"};
    else if (n >= MAX_STDIN_BYTES)
        failure = (lks_error){LKS_ERR_IMAGE, "standard input holds more than 1 GiB, too large for an image"};
    if (failure.status != LKS_OK) {
        free(buffer);
        *err = failure;
        return failure.status;
    }
    *bytes = buffer;
    *n_bytes = n;
    return LKS_OK;
}

lks_status engine_open_picture(lks_image_source *out, const char *name, lks_error *err)
{
    *out = (lks_image_source){.path = name};
    if (strcmp(name, "-") != 0)
        return LKS_OK;
    void *bytes = NULL;
    size_t n_bytes = 0;
    lks_status st = engine_read_stdin(&bytes, &n_bytes, err);
    *out = (lks_image_source){.bytes = bytes, .n_bytes = n_bytes, .name = "standard input"};
    return st;
}

void engine_close_picture(lks_image_source *picture)
{
    free((void *)(uintptr_t)picture->bytes);
    picture->bytes = NULL;
}
