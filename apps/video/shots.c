/* Cuts, the gate for frames that show nothing new, and the choice of a few frames of many: see shots.h. */
#include "apps/video/shots.h"

#include <stdlib.h>
#include <string.h>

static const double TIME_EPSILON = 1e-6; /* times are fractions of a second that have no exact double */

void shots_begin(shots *s, const shots_options *options)
{
    memset(s, 0, sizeof *s);
    s->options = *options;
}

bool shots_wants(const shots *s, double seconds, bool all)
{
    return all || !s->begun || s->options.scene > 0.0 || (s->options.every > 0.0 && seconds >= s->due - TIME_EPSILON);
}

double shots_difference(const uint8_t a[SHOTS_CELLS], const uint8_t b[SHOTS_CELLS])
{
    long sum = 0;
    for (int i = 0; i < SHOTS_CELLS; i++)
        sum += abs((int)a[i] - (int)b[i]);
    return (double)sum / (255.0 * SHOTS_CELLS);
}

static void take_key(shots *s, const uint8_t *thumbnail)
{
    memcpy(s->key, thumbnail, sizeof s->key);
    memcpy(s->fresh, thumbnail, sizeof s->fresh);
}

static void begin_cue(shots *s, double seconds, const uint8_t *thumbnail)
{
    memcpy(s->former_key, s->key, sizeof s->former_key);
    s->follows = s->begun;
    s->begun = true;
    s->cue_began = seconds;
    s->due = seconds + s->options.every;
    take_key(s, thumbnail);
}

shots_event shots_look(shots *s, double seconds, const uint8_t thumbnail[SHOTS_CELLS])
{
    const shots_options *o = &s->options;
    double change = s->begun ? shots_difference(thumbnail, s->before) : 1.0;
    double motion = seconds - s->before_seconds < o->settle ? s->motion : 0.0;
    memcpy(s->before, thumbnail, sizeof s->before);
    s->before_seconds = seconds;
    s->motion = s->begun ? change : 0.0;
    bool young = s->begun && !shots_is_settled(s, seconds);
    if (young && change > o->scene) {
        take_key(s, thumbnail);
        return SHOTS_RETAKE;
    }
    if (!s->begun || (o->scene > 0.0 && change - motion > o->scene)) {
        begin_cue(s, seconds, thumbnail);
        return SHOTS_CUT;
    }
    if (o->every > 0.0 && seconds >= s->due - TIME_EPSILON) {
        if (shots_difference(thumbnail, s->key) > o->gate) {
            begin_cue(s, seconds, thumbnail);
            return SHOTS_TIME;
        }
        s->due = seconds + o->every;
    }
    if (shots_difference(thumbnail, s->fresh) > o->gate) {
        memcpy(s->fresh, thumbnail, sizeof s->fresh);
        return SHOTS_FRESH;
    }
    return SHOTS_STAY;
}

bool shots_is_settled(const shots *s, double seconds)
{
    return s->options.scene <= 0.0 || seconds - s->cue_began >= s->options.settle - TIME_EPSILON;
}

bool shots_repeats(const shots *s)
{
    return s->follows && shots_difference(s->key, s->former_key) <= s->options.gate;
}

void shots_sample_begin(shots_sample *s, int room)
{
    *s = (shots_sample){.room = room, .stride = 1};
}

bool shots_sample_take(shots_sample *s, bool *thin)
{
    *thin = false;
    if (s->n_seen++ % s->stride != 0)
        return false;
    if (s->n == s->room) { /* the candidate's number is room * stride, even in the new stride */
        *thin = true;
        s->n /= 2;
        s->stride *= 2;
    }
    s->n++;
    return true;
}

int shots_sample_pick(int i, int n, int wanted)
{
    if (wanted <= 1)
        return 0;
    return (int)(((long)i * (n - 1) * 2 + (wanted - 1)) / (2L * (wanted - 1)));
}
