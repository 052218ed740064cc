/* Captions written into the pictures of a clip: see video_burn.h. They stand where subtitles do, in white on a band that lets the
 * picture through:
 *
 *     +--------------------------+
 *     |                          |
 *     |      a dog runs with     |   letters: 1/18 of the height; lines: at most 9/10 of the width
 *     |      a ball              |
 *     +--------------------------+
 */
#include "apps/cli/video_burn.h"

#include <stdlib.h>
#include <string.h>

#include "apps/cli/lettering.h"
#include "apps/cli/options.h"

enum { MIN_LETTERS = 12, LETTERS_SHARE = 18, MAX_LINES = 4, DARKER = 3 };

static const uint8_t ink[3] = {255, 255, 255};

typedef struct told {
    double start, end;
    char *text;
} told;

struct burn {
    const video_api *api;
    const char *clip;
    video_options options;
    video_copy *copy;
    told *cues;
    size_t n, capacity;
    lettering *letters; /* NULL until the size of the pictures is known */
    int height;         /* of letters */
};

lks_status burn_open(burn **out, const video_api *api, const char *clip, FILE *to, const char *kind,
                     const video_options *options, lks_error *err)
{
    burn *b = calloc(1, sizeof *b);
    if (!b) {
        *err = (lks_error){LKS_ERR_NOMEM, "out of memory"};
        return LKS_ERR_NOMEM;
    }
    *b = (burn){.api = api, .clip = clip, .options = *options};
    lks_status st = api->copy_open(&b->copy, to, kind, clip, options, err);
    if (st != LKS_OK)
        free(b);
    else
        *out = b;
    return st;
}

void burn_close(burn *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->n; i++)
        free(b->cues[i].text);
    free(b->cues);
    lettering_close(b->letters);
    b->api->copy_close(b->copy);
    free(b);
}

bool burn_take(burn *b, const subtitles_cue *row)
{
    if (b->n == b->capacity) {
        size_t n = 2 * b->capacity + 16;
        told *grown = realloc(b->cues, n * sizeof *grown);
        if (!grown) {
            complain("out of memory");
            return false;
        }
        b->cues = grown;
        b->capacity = n;
    }
    char *text = strdup(row->text ? row->text : "");
    if (!text) {
        complain("out of memory");
        return false;
    }
    b->cues[b->n++] = (told){row->start, row->end, text};
    return true;
}

/* Letters for pictures of that height, in a font that has those of all captions. */
static bool open_letters(burn *b, int height)
{
    char *all = NULL;
    size_t n;
    FILE *to = open_memstream(&all, &n);
    for (size_t i = 0; to && i < b->n; i++)
        fputs(b->cues[i].text, to);
    b->height = height / LETTERS_SHARE > MIN_LETTERS ? height / LETTERS_SHARE : MIN_LETTERS;
    bool done = to && fclose(to) == 0 && lettering_open(&b->letters, all, b->height);
    free(all);
    return done;
}

/* Breaks a text, which is written into, at its spaces, in lines as long as there is room. Returns their number. */
static int break_lines(char *lines[MAX_LINES], burn *b, char *text, int room)
{
    int n = 0;
    for (char *word = text; *word && n < MAX_LINES;) {
        lines[n++] = word;
        char *end = word + strcspn(word, " ");
        while (*end) {
            char *next = end + 1 + strcspn(end + 1, " ");
            char kept = *next;
            *next = '\0';
            bool fits = lettering_width(b->letters, lines[n - 1]) <= room;
            *next = kept;
            if (!fits)
                break;
            end = next;
        }
        word = *end ? end + 1 : end;
        *end = '\0';
    }
    return n;
}

/* The rows from y on are a third as bright. */
static void shade(const canvas *c, int y)
{
    size_t begin = (size_t)(y > 0 ? y : 0) * (size_t)c->width * 3, end = (size_t)c->height * (size_t)c->width * 3;
    for (size_t i = begin; i < end; i++)
        c->rgb[i] = (uint8_t)(c->rgb[i] / DARKER);
}

static bool draw(burn *b, canvas *c, const char *text)
{
    char *lines[MAX_LINES], *copy = strdup(text);
    if (!copy)
        return false;
    int n = break_lines(lines, b, copy, c->width * 9 / 10), step = b->height * 5 / 4;
    int top = c->height - n * step - b->height / 2;
    if (n > 0)
        shade(c, top - b->height / 4);
    for (int i = 0; i < n; i++) {
        int width = lettering_width(b->letters, lines[i]);
        int x = width < c->width ? (c->width - width) / 2 : 0;
        lettering_write(b->letters, c, x, top + i * step + b->height, lines[i], ink);
    }
    free(copy);
    return true;
}

/* The present frame of the clip, with the caption of its time, into the copy. */
static lks_status copy_frame(burn *b, video *clip, const video_frame *frame, const char *text, lks_error *err)
{
    video_held *held = NULL;
    canvas c = {.rgb = NULL};
    lks_status st = b->api->hold(clip, &held, err);
    if (st == LKS_OK)
        st = b->api->picture(clip, &c.rgb, &c.width, &c.height, held, 0, err);
    b->api->let_go(held);
    c.right = c.width;
    if (st == LKS_OK && ((!b->letters && !open_letters(b, c.height)) || !draw(b, &c, text))) {
        *err = (lks_error){LKS_ERR_UNSUPPORTED, "captions cannot be written into pictures"};
        st = err->status;
    }
    if (st == LKS_OK)
        st = b->api->copy_add(b->copy, c.rgb, c.width, c.height, frame, err);
    free(c.rgb);
    return st;
}

static bool is_stopped(const burn *b)
{
    return b->options.stop && b->options.stop(b->options.stop_context);
}

static lks_status copy_frames(burn *b, video *clip, progress *line, lks_error *err)
{
    video_frame frame;
    video_info info;
    size_t at = 0, n = 0;
    bool end = false;
    b->api->describe(&info, clip);
    while (!is_stopped(b)) {
        lks_status st = b->api->next(clip, &frame, &end, err);
        if (st == LKS_OK && end)
            break;
        while (at < b->n && frame.seconds >= b->cues[at].end)
            at++;
        const char *text = at < b->n && frame.seconds >= b->cues[at].start ? b->cues[at].text : "";
        if (st == LKS_OK)
            st = copy_frame(b, clip, &frame, text, err);
        if (st != LKS_OK)
            return st;
        progress_clip(line, frame.seconds, info.seconds, ++n);
    }
    return is_stopped(b) ? LKS_ERR_INTERRUPTED : b->api->copy_end(b->copy, err);
}

lks_status burn_write(burn *b, progress *line, lks_error *err)
{
    video *clip;
    lks_status st = b->api->open(&clip, b->clip, &b->options, err);
    if (st != LKS_OK)
        return st;
    st = copy_frames(b, clip, line, err);
    progress_clear(line);
    b->api->close(clip);
    return st;
}
