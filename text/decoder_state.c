/* What decoding holds, without running the decoder: room for rows and images, which row continues which, and what was kept for
 * explaining. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text/decoder_state.h"

/* Adds the bytes of [a, b, c, d] elements; false on overflow. */
static bool count_bytes(size_t *bytes, size_t a, size_t b, size_t c, size_t d)
{
    size_t n;
    return lks_size_mul(&n, a, b) && lks_size_mul(&n, n, c) && lks_size_mul(&n, n, d) &&
           lks_size_add(bytes, *bytes, lks_arena_cost(n, sizeof(float)));
}

/* Where everything of a state goes: counted into *bytes while there is no memory, taken from it then. All is made of 4 bytes: two
 * bf16 numbers stand in the room of a float. False on overflow. */
static bool lay_out(lks_decoder_state *s, size_t *bytes, unsigned flags)
{
    enum { SELF, CROSS, CROSS_BF16, WEIGHTS, SCALES, LAST, IDS, N_PARTS };
    const lks_decoder_config *c = &s->decoder->config;
    size_t layers = (size_t)c->n_layers, rows = (size_t)s->max_rows, positions = (size_t)s->max_positions;
    size_t d = (size_t)c->width, n_memory = (size_t)s->max_memory, heads = (size_t)c->n_heads;
    bool half = (flags & LKS_DECODER_BF16_MEMORY) != 0, keep = (flags & LKS_DECODER_KEEP_MAPS) != 0;
    const struct {
        size_t shape[4];
        bool wanted;
    } parts[N_PARTS] = {
        [SELF] = {{layers, rows, positions, 2 * d}, true},
        [CROSS] = {{layers, n_memory, 2, d}, !half},
        [CROSS_BF16] = {{layers, n_memory, 1, d}, half},
        [WEIGHTS] = {{positions, rows * layers, heads, n_memory}, keep},
        [SCALES] = {{positions, rows, layers, LKS_NORM_COUNT}, keep},
        [LAST] = {{positions, rows, d, 1}, keep},
        [IDS] = {{LKS_STEP_IDS, rows, positions, 1}, true},
    };
    void *at[N_PARTS] = {NULL};
    for (int i = 0; i < N_PARTS; i++) {
        const size_t *n = parts[i].shape;
        if (parts[i].wanted && !s->memory.base && !count_bytes(bytes, n[0], n[1], n[2], n[3]))
            return false;
        if (parts[i].wanted && s->memory.base)
            at[i] = lks_arena_take(&s->memory, n[0] * n[1] * n[2] * n[3], sizeof(float));
    }
    s->self_kv = at[SELF];
    s->cross_kv = at[CROSS];
    s->cross_bf16 = at[CROSS_BF16];
    s->kept = (lks_decoder_kept){at[WEIGHTS], at[SCALES], at[LAST]};
    s->ids = at[IDS];
    return true;
}

lks_status lks_decoder_state_open(lks_decoder_state **out, const lks_decoder *decoder, const lks_compute *compute,
                                  int max_rows, int max_positions, int n_memory, unsigned flags, lks_error *err)
{
    if (max_positions > lks_decoder_max_positions(decoder))
        max_positions = lks_decoder_max_positions(decoder);
    lks_decoder_state *s = calloc(1, sizeof *s);
    if (!s)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for decoding");
    *s = (lks_decoder_state){.decoder = decoder,
                             .compute = *compute,
                             .max_rows = max_rows,
                             .max_positions = max_positions,
                             .max_memory = n_memory,
                             .n_images = 1,
                             .n_memory = n_memory};
    size_t bytes = 0, rows = (size_t)max_rows;
    s->places = calloc(rows, sizeof *s->places);
    s->images = calloc(rows, sizeof *s->images);
    s->spare = calloc(rows, 3 * sizeof *s->spare);
    if (!s->places || !s->images || !s->spare || !lay_out(s, &bytes, flags) ||
        compute->ops->arena_open(compute, &s->memory, bytes, NULL) != LKS_OK) {
        lks_decoder_state_close(s);
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for decoding %d rows of %d tokens", max_rows,
                             max_positions);
    }
    lay_out(s, &bytes, flags);
    s->seen = (lks_decoder_seen){.kept = s->kept, .cross_kv = s->cross_kv, .cross_bf16 = s->cross_bf16};
    lks_decoder_begin(s, NULL, 1);
    *out = s;
    return LKS_OK;
}

void lks_decoder_state_close(lks_decoder_state *state)
{
    if (!state)
        return;
    state->compute.ops->arena_close(&state->compute, &state->memory);
    lks_arena_release(&state->seen.memory);
    free(state->places);
    free(state->images);
    free(state->spare);
    free(state);
}

void lks_decoder_attend(lks_decoder_state *s, int n_images, int n_memory)
{
    assert(n_images >= 1 && n_memory >= 1 && n_memory <= s->max_memory / n_images);
    s->n_images = n_images;
    s->n_memory = n_memory;
    lks_decoder_begin(s, NULL, 1);
}

void lks_decoder_begin(lks_decoder_state *s, const int32_t *images, int n_rows)
{
    for (int i = 0; i < s->max_rows; i++) {
        s->places[i] = i;
        s->images[i] = images && i < n_rows ? images[i] : 0;
    }
    s->n_rows = n_rows;
    s->position = 0;
}

/* The first row that continues a parent takes its place; the others get copies, in places that nobody needs any more. */
void lks_decoder_reorder(void *context, const int32_t *parents, int n_rows)
{
    enum { NOWHERE = -1 };
    lks_decoder_state *s = context;
    size_t used = (size_t)s->position * 2 * (size_t)s->decoder->config.width;
    int64_t layer = (int64_t)(lks_self_row_floats(s) * (size_t)s->max_rows);
    int32_t *places = s->spare, *images = places + s->max_rows, *taken = images + s->max_rows;
    assert(n_rows <= s->max_rows);
    memset(taken, 0, (size_t)s->max_rows * sizeof *taken);
    for (int i = 0; i < n_rows; i++) {
        int32_t place = s->places[parents[i]];
        places[i] = taken[place] ? NOWHERE : place;
        images[i] = s->images[parents[i]];
        taken[place] = 1;
    }
    for (int i = 0, place = 0; i < n_rows; i++) {
        if (places[i] != NOWHERE)
            continue;
        while (taken[place])
            place++;
        taken[place] = 1;
        places[i] = place;
        const lks_copy copy = {.n_outer = s->decoder->config.n_layers,
                               .n_inner = 1,
                               .d = (int)used,
                               .to = lks_self_place(s, 0, place),
                               .to_outer = layer,
                               .from = lks_self_place(s, 0, s->places[parents[i]]),
                               .from_outer = layer};
        s->compute.ops->copy(&s->compute, &copy);
    }
    memcpy(s->places, places, (size_t)n_rows * sizeof *places);
    memcpy(s->images, images, (size_t)n_rows * sizeof *images);
    s->n_rows = n_rows;
}

lks_status lks_decoder_fetch(lks_decoder_state *s, lks_error *err)
{
    const lks_compute *compute = &s->compute;
    if (!compute->queue || !s->kept.weights)
        return LKS_OK;
    lks_arena *memory = &s->seen.memory;
    if (!memory->base) {
        lks_status st = lks_arena_init(memory, s->memory.size, err);
        if (st != LKS_OK)
            return st;
    }
    /* The copy is laid out like the original, and holds what lies between the caches of the rows and the ids of a step. */
    const unsigned char *from = s->memory.base;
    const unsigned char *first =
        s->cross_kv ? (const unsigned char *)s->cross_kv : (const unsigned char *)s->cross_bf16;
    unsigned char *to = memory->base;
    size_t begin = (size_t)(first - from), end = (size_t)((const unsigned char *)s->ids - from);
    compute->ops->download(compute, to + begin, from + begin, end - begin);
#define SEEN(pointer) ((pointer) ? (void *)(to + ((const unsigned char *)(pointer)-from)) : NULL)
    s->seen.cross_kv = SEEN(s->cross_kv);
    s->seen.cross_bf16 = SEEN(s->cross_bf16);
    s->seen.kept = (lks_decoder_kept){SEEN(s->kept.weights), SEEN(s->kept.scales), SEEN(s->kept.last)};
#undef SEEN
    return compute->ops->sync(compute, err);
}

bool lks_decoder_map(const lks_decoder_state *s, float *map, int row, int position)
{
    if (!s->kept.weights || row < 0 || row >= s->max_rows || position < 0 || position >= s->position)
        return false;
    int n_heads = s->decoder->config.n_heads, n = s->n_memory;
    for (int layer = 0; layer < s->decoder->config.n_layers; layer++, map += n) {
        const float *from = lks_kept_weights(s, &s->seen.kept, position, layer, row);
        memset(map, 0, (size_t)n * sizeof *map);
        for (int h = 0; h < n_heads; h++, from += n)
            for (int j = 0; j < n; j++)
                map[j] += from[j] / (float)n_heads;
    }
    return true;
}
