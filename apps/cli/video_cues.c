/* Cues of a clip: see video_cues.h. */
#include "apps/cli/video_cues.h"

#include <stdlib.h>
#include <string.h>

#include "apps/cli/engine.h"

static void let_frames_go(const cues *c, cue *q)
{
    for (int i = 0; i < q->sample.n; i++)
        c->api->let_go(q->held[i]);
    q->sample.n = 0;
}

static void release_cue(const cues *c, cue *q)
{
    let_frames_go(c, q);
    free((void *)(uintptr_t)q->row.text);
    free((void *)(uintptr_t)q->row.error);
    memset(q, 0, sizeof *q);
}

void cues_release(cues *c)
{
    release_cue(c, &c->current);
    release_cue(c, &c->former);
    c->has_current = c->has_former = false;
}

/* Rows of frames for the engine. */
static lks_status read_pictures(const cues *c, lks_picture *pictures, cue *q, int n, lks_error *err)
{
    for (int i = 0; i < n; i++) {
        int k = shots_sample_pick(i, q->sample.n, n), width, height;
        uint8_t *rgb;
        lks_status st = c->api->picture(c->clip, &rgb, &width, &height, q->held[k], 0, err);
        if (st != LKS_OK)
            return st;
        pictures[i] = (lks_picture){.rgb = rgb, .width = width, .height = height, .stride = (size_t)width * 3};
        q->seen[i] = q->times[k];
    }
    return LKS_OK;
}

/* One caption for up to n_joint frames of the cue. */
static lks_status tell(cues *c, cue *q, lks_error *err)
{
    double began = engine_now_ms();
    int n = q->sample.n < c->n_joint ? q->sample.n : c->n_joint;
    lks_picture pictures[CUES_MAX_JOINT] = {{0}};
    lks_caption *caption = NULL;
    lks_status st = read_pictures(c, pictures, q, n, err);
    if (st == LKS_OK)
        st = lks_caption_joint(c->session, &caption, pictures, n, c->options, err);
    for (int i = 0; i < n; i++)
        free((void *)(uintptr_t)pictures[i].rgb);
    let_frames_go(c, q);
    q->row.n_seen = n;
    q->row.ms = engine_now_ms() - began;
    if (st == LKS_OK) {
        q->row.text = strdup(caption->sequences[0].text);
        q->row.score = (double)caption->sequences[0].score;
        lks_caption_free(caption);
        c->n_captioned++;
    } else if (st == LKS_ERR_ARGUMENT || st == LKS_ERR_MODEL || st == LKS_ERR_INTERRUPTED) {
        return st; /* the same for every cue */
    } else {
        q->row.error = strdup(err->message);
        c->n_failed++;
    }
    if (q->row.text || q->row.error)
        return LKS_OK;
    *err = (lks_error){LKS_ERR_NOMEM, "out of memory"};
    return err->status;
}

static lks_status write_former(cues *c, lks_error *err)
{
    if (!c->has_former)
        return LKS_OK;
    cue *q = &c->former;
    q->row.seen = q->seen;
    bool taken = c->take(c->context, &q->row);
    release_cue(c, q);
    c->has_former = false;
    if (taken)
        return LKS_OK;
    c->lost = true;
    *err = (lks_error){LKS_ERR_IO, "output was lost"};
    return err->status;
}

/* Ends the present cue: it becomes the former one, or a part of it. */
static lks_status close_cue(cues *c, double end, lks_error *err)
{
    if (!c->has_current)
        return LKS_OK;
    cue *q = &c->current;
    c->has_current = false;
    q->row.end = end;
    bool still = q->sample.n == 1 && c->has_former && c->former.row.n_seen == 1;
    if (q->repeats && still) {
        c->former.row.end = end;
        release_cue(c, q);
        return LKS_OK;
    }
    lks_status st = q->sample.n > 0 ? tell(c, q, err) : LKS_OK;
    if (st == LKS_OK)
        st = write_former(c, err);
    if (st == LKS_OK) {
        c->former = *q;
        c->has_former = true;
        memset(q, 0, sizeof *q);
    } else {
        release_cue(c, q);
    }
    return st;
}

lks_status cues_add(cues *c, const video_frame *frame, lks_error *err)
{
    cue *q = &c->current;
    bool thin;
    if (!shots_sample_take(&q->sample, &thin))
        return LKS_OK;
    if (thin)
        for (int i = 0; i < q->sample.room; i++) {
            if (i % 2 == 1) {
                c->api->let_go(q->held[i]);
                continue;
            }
            q->held[i / 2] = q->held[i];
            q->times[i / 2] = q->times[i];
        }
    int at = q->sample.n - 1;
    lks_status st = c->api->hold(c->clip, &q->held[at], err);
    if (st != LKS_OK)
        q->sample.n--;
    else
        q->times[at] = frame->seconds;
    return st;
}

lks_status cues_retake(cues *c, const video_frame *frame, lks_error *err)
{
    let_frames_go(c, &c->current);
    shots_sample_begin(&c->current.sample, 2 * c->n_joint);
    return cues_add(c, frame, err);
}

lks_status cues_begin(cues *c, const video_frame *frame, bool cut, lks_error *err)
{
    lks_status st = close_cue(c, frame->seconds, err);
    if (st != LKS_OK)
        return st;
    c->current = (cue){.row = {.start = frame->seconds, .frame = frame->number, .cut = cut}};
    c->has_current = true;
    return cues_retake(c, frame, err);
}

bool cues_is_open(const cues *c)
{
    return c->has_current && !c->current.resolved;
}

lks_status cues_resolve(cues *c, bool repeats, lks_error *err)
{
    c->current.resolved = true;
    c->current.repeats = repeats;
    return c->n_joint == 1 && !repeats ? tell(c, &c->current, err) : LKS_OK;
}

lks_status cues_finish(cues *c, double end, lks_error *err)
{
    lks_status st = close_cue(c, end, err);
    return st == LKS_OK ? write_former(c, err) : st;
}
