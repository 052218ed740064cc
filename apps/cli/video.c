/* looksay video: a clip or camera becomes subtitles, rows with time codes, or a copy with captions in its pictures. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/cli/lettering.h"
#include "apps/cli/output.h"
#include "apps/cli/progress.h"
#include "apps/cli/video_burn.h"
#include "apps/cli/video_cues.h"
#include "apps/common/sink.h"
#include "apps/common/utf8.h"
#include "apps/video/load.h"

/* What the options default to. Of 2,211 pairs of photos, no two differ by less than 0.114; what noise and a codec do to a still
 * picture stays below 0.002. */
static const shots_options DEFAULTS = {.every = 2.0, .scene = 0.1, .gate = 0.015, .settle = 0.2};
static const double LEAST_MISSING = 1.0; /* seconds */

typedef struct watch {
    const video_api *api;
    video *clip;
    const settings *settings;
    lks_caption_options options;
    const char *kind; /* what the output's name ends in, without the dot; "" */
    bool burns;       /* into a copy; otherwise rows of `format` */
    subtitles_format format;
    sink out;
    burn *burn;                   /* of a copy */
    char *clip_name, *model_name; /* UTF-8 */
    long n_rows;
    cues cues;
    shots shots;
    progress line;
    video_info info;
    long n_frames, n_looked_at;
    double end; /* of the last frame */
} watch;

static const struct {
    const char *name;
    subtitles_format format;
} formats[] = {{"srt", SUBTITLES_SRT}, {"vtt", SUBTITLES_VTT}, {"jsonl", SUBTITLES_JSONL}};

static bool is_any_of(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

/* --format, else the end of the output's name, else SubRip for standard output. Returns false after a message. */
static bool find_format(watch *w)
{
    static const char *const copies[] = {"mp4", "m4v", "mov", "mkv", "webm"};
    const settings *s = w->settings;
    bool named = s->output && strcmp(s->output, "-") != 0;
    const char *dot = named ? strrchr(s->output, '.') : NULL;
    w->kind = dot && !strchr(dot, '/') ? dot + 1 : "";
    bool names_copy = is_any_of(copies, sizeof copies / sizeof *copies, w->kind);
    const char *wanted = s->video_format ? s->video_format : named ? w->kind : "srt";
    w->burns = strcmp(wanted, "clip") == 0 || (!s->video_format && names_copy);
    if (w->burns && !names_copy) {
        complain("--format clip writes a file: name it with --output, and end it in .mp4, .m4v, .mov, .mkv or .webm");
        return false;
    }
    for (size_t i = 0; !w->burns && i < sizeof formats / sizeof *formats; i++)
        if (strcasecmp(formats[i].name, wanted) == 0) {
            w->format = formats[i].format;
            return true;
        }
    if (!w->burns)
        complain("%s: the name does not tell what to write; end it in .srt, .vtt, .jsonl, .mp4, .mkv or .webm, or say "
                 "--format",
                 s->output);
    return w->burns;
}

/* A copy is made of a file that can be read again. Returns false after a message. */
static bool check_burn(const watch *w)
{
    struct stat clip;
    const char *name = w->settings->operands[0], *wrong = NULL;
    bool regular = stat(name, &clip) == 0 && S_ISREG(clip.st_mode);
    if (!lettering_is_built())
        wrong = "this program was built without FreeType and Fontconfig, which captions in pictures need";
    else if (!regular && (strcmp(name, "-") == 0 || access(name, F_OK) == 0 || strstr(name, "://")))
        wrong = "a copy with captions is made of a file, which is read twice";
    if (wrong)
        complain("%s: %s", name, wrong);
    return !wrong;
}

static shots_options choose(const settings *s)
{
    shots_options o = DEFAULTS;
    if (!isnan(s->every))
        o.every = s->every;
    if (!isnan(s->scene))
        o.scene = s->scene;
    if (!isnan(s->gate))
        o.gate = s->gate;
    return o;
}

static int is_stopped(void *context)
{
    (void)context;
    return engine_is_interrupted();
}

static bool take_row(void *context, const subtitles_cue *row)
{
    watch *w = context;
    if (w->burns) {
        w->n_rows += row->text != NULL;
        return burn_take(w->burn, row);
    }
    w->n_rows += subtitles_write(w->out.stream, w->format, row, w->n_rows + 1, w->clip_name, w->model_name);
    return sink_end_row(&w->out);
}

/* One frame of the clip. */
static lks_status look(watch *w, const video_frame *frame, lks_error *err)
{
    cues *c = &w->cues;
    w->n_frames++;
    w->end = frame->seconds + frame->duration;
    lks_status st = LKS_OK;
    if (cues_is_open(c) && shots_is_settled(&w->shots, frame->seconds))
        st = cues_resolve(c, shots_repeats(&w->shots), err);
    if (st != LKS_OK || !shots_wants(&w->shots, frame->seconds, c->n_joint > 1))
        return st;
    w->n_looked_at++;
    uint8_t thumbnail[SHOTS_CELLS];
    st = w->api->thumbnail(w->clip, thumbnail, err);
    if (st != LKS_OK)
        return st;
    shots_event event = shots_look(&w->shots, frame->seconds, thumbnail);
    switch (event) {
    case SHOTS_CUT:
    case SHOTS_TIME:
        return cues_begin(c, frame, event == SHOTS_CUT, err);
    case SHOTS_RETAKE:
        return cues_retake(c, frame, err);
    case SHOTS_FRESH:
        return c->n_joint > 1 ? cues_add(c, frame, err) : LKS_OK;
    case SHOTS_STAY:
        break;
    }
    return LKS_OK;
}

/* All frames. Returns what ended the clip before its end. */
static lks_status look_at_all(watch *w, lks_error *err)
{
    video_frame frame;
    bool end = false;
    lks_status st = LKS_OK;
    while (st == LKS_OK && !engine_is_interrupted()) {
        st = w->api->next(w->clip, &frame, &end, err);
        if (st != LKS_OK || end)
            break;
        st = look(w, &frame, err);
        progress_clip(&w->line, w->end, w->info.seconds, (size_t)w->n_frames);
    }
    lks_status last = LKS_OK;
    lks_error last_err;
    if (cues_is_open(&w->cues))
        last = cues_resolve(&w->cues, shots_repeats(&w->shots), &last_err);
    if (last == LKS_OK && !w->cues.lost)
        last = cues_finish(&w->cues, w->end, &last_err);
    progress_clear(&w->line);
    if (st == LKS_OK && last != LKS_OK) {
        st = last;
        *err = last_err;
    }
    return st;
}

/* Whether the clip ended well before it said it would, as one does whose file was cut off. */
static bool ends_early(const watch *w)
{
    return w->n_frames > 0 && w->end < w->info.picture_seconds - LEAST_MISSING;
}

/* Messages about the whole, and the exit status. */
static int sum_up(const watch *w, lks_status st, const lks_error *err, double ms)
{
    const char *name = w->settings->operands[0];
    long n_damaged = w->api->count_damaged(w->clip);
    bool is_short = st == LKS_OK && !engine_is_interrupted() && ends_early(w);
    if (st != LKS_OK && !w->cues.lost)
        complain("%s", err->message);
    else if (w->n_frames == 0 && !engine_is_interrupted())
        complain("%s: it has no picture that can be decoded", name);
    if (n_damaged > 0 && !w->settings->quiet)
        complain("%s: %ld damaged packets or frames", name, n_damaged);
    if (is_short && !w->settings->quiet)
        complain("%s: ends at %.1f s of %.1f; is the file whole?", name, w->end, w->info.picture_seconds);
    if (w->cues.n_failed > 0 && !w->settings->quiet)
        complain("%s: %zu captions failed", name, w->cues.n_failed);
    if (w->settings->verbose)
        complain("%s: %s, %.3f s, %ld frames, %ld looked at, %zu captions for %ld cues, %.1f frames/s", name,
                 w->info.codec, w->end, w->n_frames, w->n_looked_at, w->cues.n_captioned, w->n_rows,
                 (double)w->n_frames / fmax(ms, 1e-3) * 1e3);
    if (w->cues.lost)
        return EXIT_OUTPUT;
    if (engine_is_interrupted())
        return EXIT_INTERRUPTED;
    if (st == LKS_OK && (is_short || n_damaged > 0 || w->cues.n_failed > 0 || w->n_frames == 0))
        return EXIT_SOME_FAILED;
    return engine_exit_status(st);
}

/* All captions of the open clip. */
static int caption_clip(watch *w, const engine *e)
{
    const settings *s = w->settings;
    bool rows_shown = w->out.stream == stdout && isatty(STDOUT_FILENO);
    w->cues = (cues){.api = w->api,
                     .clip = w->clip,
                     .session = e->session,
                     .options = &w->options,
                     .n_joint = s->n_joint == OPTION_UNSET ? 1 : s->n_joint,
                     .take = take_row,
                     .context = w};
    const shots_options chosen = choose(s);
    shots_begin(&w->shots, &chosen);
    w->api->describe(&w->info, w->clip);
    progress_begin(&w->line, 0, !s->quiet && !rows_shown);
    if (!w->burns)
        subtitles_begin(w->out.stream, w->format);
    double began = engine_now_ms();
    lks_error err = {.message = ""};
    lks_status st = look_at_all(w, &err);
    int status = sum_up(w, st, &err, engine_now_ms() - began);
    cues_release(&w->cues);
    return status;
}

/* The copy, all captions being known. An interrupted one is none. */
static int finish_copy(watch *w, int status)
{
    lks_error err = {.message = ""};
    if (engine_is_interrupted() || w->cues.lost || w->n_frames == 0)
        return status;
    progress_begin(&w->line, 0, !w->settings->quiet);
    lks_status st = burn_write(w->burn, &w->line, &err);
    if (st == LKS_OK)
        return status;
    if (st == LKS_ERR_INTERRUPTED || engine_is_interrupted())
        return EXIT_INTERRUPTED;
    complain("%s", err.message);
    return EXIT_OUTPUT;
}

/* Whether what was written is worth its name. */
static bool is_kept(const watch *w, int status)
{
    if (w->burns)
        return status == EXIT_ALL_DONE || (status == EXIT_SOME_FAILED && w->n_frames > 0);
    return w->n_rows > 0 || status == EXIT_ALL_DONE || engine_is_interrupted();
}

static int run_clip(watch *w, const engine *e, const video_options *options)
{
    const settings *s = w->settings;
    if (!sink_open(&w->out, s->output))
        return EXIT_OUTPUT;
    lks_error err = {.message = ""};
    int status = EXIT_ALL_DONE;
    if (w->burns && burn_open(&w->burn, w->api, s->operands[0], w->out.stream, w->kind, options, &err) != LKS_OK) {
        complain("%s", err.message);
        status = EXIT_OUTPUT;
    }
    if (status == EXIT_ALL_DONE)
        status = caption_clip(w, e);
    if (w->burn) {
        status = finish_copy(w, status);
        burn_close(w->burn);
    }
    if (is_kept(w, status))
        return sink_close(&w->out) ? status : EXIT_OUTPUT;
    sink_leave(&w->out, false);
    return status;
}

static int open_and_run(watch *w, const engine *e)
{
    const settings *s = w->settings;
    const video_options options = {
        .n_threads = s->n_threads == OPTION_UNSET ? 0 : s->n_threads, .verbose = s->verbose, .stop = is_stopped};
    lks_error err = {.message = ""};
    lks_status st = w->api->open(&w->clip, s->operands[0], &options, &err);
    if (st != LKS_OK) {
        complain("%s", err.message);
        return engine_is_interrupted() ? EXIT_INTERRUPTED : EXIT_SOME_FAILED;
    }
    w->clip_name = utf8_repair(s->operands[0]);
    w->model_name = utf8_repair(e->name);
    int status = EXIT_OUTPUT;
    if (w->clip_name && w->model_name)
        status = run_clip(w, e, &options);
    else
        complain("out of memory");
    free(w->clip_name);
    free(w->model_name);
    w->api->close(w->clip);
    return status;
}

int command_video(const settings *s)
{
    watch w = {.settings = s};
    if (s->n_operands != 1) {
        complain("video takes one clip, - for standard input, a camera such as /dev/video0, or an rtsp:// address");
        return EXIT_USAGE;
    }
    if (!find_format(&w) || !output_check(s) || (w.burns && !check_burn(&w)))
        return EXIT_USAGE;
    lks_error err;
    w.api = video_load(&err);
    if (!w.api) {
        complain("%s", err.message);
        return EXIT_USAGE;
    }
    engine e;
    if (!engine_open(&e, s))
        return EXIT_MODEL;
    engine_caption_options(&w.options, &e, s);
    w.options.stop = NULL; /* the caption in hand is finished; a second signal ends the process */
    engine_catch_interrupts();
    int status = engine_check_caption(s, &w.options) ? open_and_run(&w, &e) : EXIT_USAGE;
    engine_close(&e);
    return status;
}
