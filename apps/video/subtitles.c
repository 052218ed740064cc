/* Cues as SubRip, WebVTT (W3C, section 4) or JSON lines: see subtitles.h.
 *
 *     1                                    00:00:00.000 --> 00:00:02.400      {"image":"clip.mp4","start":0,"end":2.4,...}
 *     00:00:00,000 --> 00:00:02,400        a dog &amp; a ball
 *     a dog & a ball
 *
 * Lines are broken in two of equal length where they are longer than what subtitles hold on a screen. */
#include "apps/video/subtitles.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_COLUMNS = 42 };

static const double MAX_SECONDS = 1e9;

/* hh:mm:ss.mmm; the comma is SubRip's. */
static void print_time(FILE *to, double seconds, char point)
{
    long long ms = llround(fmin(fmax(seconds, 0.0), MAX_SECONDS) * 1e3);
    fprintf(to, "%02lld:%02lld:%02lld%c%03lld", ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, point, ms % 1000);
}

static int count_columns(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The space nearest to the middle of a text that is too long for one line, or NULL. */
static const char *find_break(const char *text)
{
    int n = count_columns(text), column = 0;
    if (n <= LINE_COLUMNS)
        return NULL;
    const char *best = NULL;
    int best_distance = n;
    for (const char *p = text; *p; p++) {
        int distance = abs(2 * column - n);
        if (*p == ' ' && distance < best_distance) {
            best = p;
            best_distance = distance;
        }
        column += ((unsigned char)*p & 0xc0) != 0x80;
    }
    return best;
}

/* The text on one line: white space and control characters are single spaces. Malloc'ed, or NULL. */
static char *flatten(const char *text)
{
    char *flat = malloc(strlen(text) + 1), *out = flat;
    if (!flat)
        return NULL;
    for (; *text; text++) {
        bool space = isspace((unsigned char)*text) || iscntrl((unsigned char)*text);
        if (!space)
            *out++ = *text;
        else if (out > flat && out[-1] != ' ')
            *out++ = ' ';
    }
    while (out > flat && out[-1] == ' ')
        out--;
    *out = '\0';
    return flat;
}

static void print_text(FILE *to, subtitles_format format, const char *text)
{
    const char *line_end = find_break(text);
    for (const char *p = text; *p; p++) {
        if (p == line_end)
            fputc('\n', to);
        else if (format == SUBTITLES_VTT && *p == '&')
            fputs("&amp;", to);
        else if (format == SUBTITLES_VTT && *p == '<')
            fputs("&lt;", to);
        else if (format == SUBTITLES_VTT && *p == '>')
            fputs("&gt;", to);
        else if (*p == '-' && format == SUBTITLES_SRT && strncmp(p, "-->", 3) == 0)
            fputs("\u2013", to); /* "-->" would read as a line of times */
        else
            fputc(*p, to);
    }
    fputs("\n\n", to);
}

static bool write_text(FILE *to, subtitles_format format, const subtitles_cue *cue, long number)
{
    char *flat = cue->text ? flatten(cue->text) : NULL;
    if (!flat || !*flat) {
        free(flat);
        return false;
    }
    char point = format == SUBTITLES_SRT ? ',' : '.';
    if (format == SUBTITLES_SRT)
        fprintf(to, "%ld\n", number);
    print_time(to, cue->start, point);
    fputs(" --> ", to);
    print_time(to, fmax(cue->end, cue->start + 1e-3), point);
    fputc('\n', to);
    print_text(to, format, flat);
    free(flat);
    return true;
}

/* Six decimals: the frames of a clip are apart by more than that. */
static json_t *json_seconds(double seconds)
{
    return json_real(round(seconds * 1e6) / 1e6);
}

static bool write_row(FILE *to, const subtitles_cue *cue, const char *clip, const char *model)
{
    json_t *seen = json_array();
    for (int i = 0; i < cue->n_seen; i++)
        json_array_append_new(seen, json_seconds(cue->seen[i]));
    json_t *row = json_pack("{s:s, s:o, s:o, s:I, s:s, s:o}", "image", clip, "start", json_seconds(cue->start), "end",
                            json_seconds(cue->end), "frame", (json_int_t)cue->frame, "begins",
                            cue->cut ? "cut" : "time", "seen", seen);
    if (row && cue->text) {
        json_object_set_new(row, "caption", json_string(cue->text));
        json_object_set_new(row, "score", json_real(cue->score));
    }
    if (row) {
        json_object_set_new(row, "model", json_string(model));
        json_object_set_new(row, "status", json_string(cue->text ? "ok" : "error"));
        if (!cue->text)
            json_object_set_new(row, "error", json_string(cue->error));
        json_object_set_new(row, "ms", json_real(round(cue->ms * 1e3) / 1e3));
    }
    bool written = row && json_dumpf(row, to, JSON_COMPACT | JSON_REAL_PRECISION(12)) == 0 && fputc('\n', to) != EOF;
    json_decref(row);
    return written;
}

void subtitles_begin(FILE *to, subtitles_format format)
{
    if (format == SUBTITLES_VTT)
        fputs("WEBVTT\n\n", to);
}

bool subtitles_write(FILE *to, subtitles_format format, const subtitles_cue *cue, long number, const char *clip,
                     const char *model)
{
    if (format == SUBTITLES_JSONL)
        return write_row(to, cue, clip, model);
    return write_text(to, format, cue, number);
}
