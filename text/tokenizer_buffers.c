/* Growing buffers of a tokenizer: text, ids, pieces. A lack of room sticks in `failed`; later appends do nothing. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* Makes room for `more` beyond n elements of `size` bytes: doubles. */
static bool grow(void **at, size_t *cap, size_t n, size_t more, size_t size)
{
    if (*cap - n >= more)
        return true;
    if (more > SIZE_MAX / 2 / size - n)
        return false;
    size_t larger = *cap < 16 ? 16 : *cap;
    while (larger < n + more)
        larger *= 2;
    void *moved = realloc(*at, larger * size);
    if (!moved)
        return false;
    *at = moved;
    *cap = larger;
    return true;
}

void lks_str_put(lks_str *s, const char *bytes, size_t n)
{
    void *at = s->at;
    if (s->failed || (s->most && n > s->most - s->n) || !grow(&at, &s->cap, s->n, n + 1, 1)) {
        s->failed = true;
        return;
    }
    s->at = at;
    if (n)
        memcpy(s->at + s->n, bytes, n);
    s->n += n;
}

void lks_str_put_char(lks_str *s, uint32_t c)
{
    char bytes[4];
    lks_str_put(s, bytes, lks_utf8_put(bytes, c));
}

void lks_str_clear(lks_str *s)
{
    s->n = 0;
}

void lks_str_release(lks_str *s)
{
    free(s->at);
    *s = (lks_str){0};
}

void lks_str_swap(lks_str *a, lks_str *b)
{
    lks_str t = *a;
    *a = *b;
    *b = t;
}

void lks_ids_put(lks_ids *ids, int32_t id)
{
    void *at = ids->at;
    if (ids->failed || !grow(&at, &ids->cap, ids->n, 1, sizeof *ids->at)) {
        ids->failed = true;
        return;
    }
    ids->at = at;
    ids->at[ids->n++] = id;
}

void lks_ids_release(lks_ids *ids)
{
    free(ids->at);
    *ids = (lks_ids){0};
}

void lks_pieces_close(lks_pieces *p, size_t start, int32_t id, bool first)
{
    void *at = p->at;
    if (p->failed || !grow(&at, &p->cap, p->n, 1, sizeof *p->at)) {
        p->failed = true;
        return;
    }
    p->at = at;
    p->at[p->n++] = (lks_piece){.start = start, .n = p->text.n - start, .id = id, .first = first};
}

void lks_pieces_put(lks_pieces *p, const char *text, size_t n, int32_t id, bool first)
{
    size_t start = p->text.n;
    lks_str_put(&p->text, text, n);
    lks_pieces_close(p, start, id, first);
}

void lks_pieces_clear(lks_pieces *p)
{
    lks_str_clear(&p->text);
    p->n = 0;
}

void lks_pieces_release(lks_pieces *p)
{
    lks_str_release(&p->text);
    free(p->at);
    *p = (lks_pieces){0};
}

void lks_pieces_swap(lks_pieces *a, lks_pieces *b)
{
    lks_pieces t = *a;
    *a = *b;
    *b = t;
}

bool lks_pieces_failed(const lks_pieces *p)
{
    return p->failed || p->text.failed;
}
