/* PNM: P1..P6, text and raw, samples scaled from 0..maxval to 0..255 and rounded as Pillow does. Grey of more than 8 bits
 * saturates at 255, because Pillow reads it as 16-bit integers and clips them. */
#include <math.h>
#include <string.h>

#include "vision/decode.h"

typedef struct cursor {
    const uint8_t *at, *end;
    bool missing; /* a byte was asked for after the end */
} cursor;

static int next_byte(cursor *c)
{
    if (c->at == c->end) {
        c->missing = true;
        return -1;
    }
    return *c->at++;
}

static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The first byte after white space and #-comments. */
static int skip_space(cursor *c)
{
    for (;;) {
        int byte = next_byte(c);
        if (byte == '#') {
            while (byte != '\n' && byte != '\r' && byte >= 0)
                byte = next_byte(c);
        }
        if (!is_space(byte))
            return byte;
    }
}

/* A decimal number and the one white space behind it; limit + 1 when it is larger than that, -1 when there is none. */
static int read_number(cursor *c, int limit)
{
    int byte = skip_space(c);
    if (byte < '0' || byte > '9')
        return -1;
    int64_t value = 0;
    while (byte >= '0' && byte <= '9') {
        value = value * 10 + (byte - '0');
        value = value > limit ? limit + 1 : value;
        if (c->at == c->end)
            return (int)value;
        byte = *c->at++;
    }
    return is_space(byte) ? (int)value : -1;
}

typedef struct header {
    int kind; /* 1..6 */
    int width, height, maxval;
} header;

static uint8_t scale_sample(const header *h, int sample)
{
    const bool deep_grey = (h->kind == 2 || h->kind == 5) && h->maxval > 255;
    double value = rint((double)sample / h->maxval * (deep_grey ? 65535.0 : 255.0)); /* halves to even */
    return (uint8_t)(value > 255.0 ? 255.0 : value);
}

/* One sample of a text or raw file with 1 or 2 bytes each; -1 when the data end or are no number. */
static int read_sample(cursor *c, const header *h)
{
    if (h->kind == 1) {
        int byte = skip_space(c);
        return byte == '0' ? 1 : byte == '1' ? 0 : -1; /* 1 is black */
    }
    if (h->kind < 4) {
        int value = read_number(c, h->maxval);
        return value > h->maxval ? -1 : value;
    }
    int high = h->maxval > 255 ? next_byte(c) : 0, low = next_byte(c);
    return high < 0 || low < 0 ? -1 : high << 8 | low;
}

static bool read_bitmap(const lks_image *out, cursor *c)
{
    for (int y = 0; y < out->height; y++) {
        int byte = 0;
        for (int x = 0; x < out->width; x++) {
            if (x % 8 == 0 && (byte = next_byte(c)) < 0)
                return false;
            memset(out->rgb + ((size_t)y * (size_t)out->width + (size_t)x) * 3, byte >> (7 - x % 8) & 1 ? 0 : 255, 3);
        }
    }
    return true;
}

/* Samples that are pixels as they are. */
static bool copy_pixels(const lks_image *out, cursor *c)
{
    const size_t n = (size_t)out->width * (size_t)out->height * 3, n_there = (size_t)(c->end - c->at);
    c->missing = n_there < n;
    memcpy(out->rgb, c->at, c->missing ? n_there : n);
    return !c->missing;
}

static bool read_pixels(const lks_image *out, cursor *c, const header *h)
{
    if (h->kind == 4)
        return read_bitmap(out, c);
    if (h->kind == 6 && h->maxval == 255)
        return copy_pixels(out, c);
    const bool colour = h->kind == 3 || h->kind == 6;
    uint8_t *rgb = out->rgb;
    for (size_t n = (size_t)out->width * (size_t)out->height; n > 0; n--, rgb += 3) {
        for (int channel = 0; channel < (colour ? 3 : 1); channel++) {
            int sample = read_sample(c, h);
            if (sample < 0)
                return false;
            rgb[channel] = scale_sample(h, sample);
        }
        if (!colour)
            rgb[1] = rgb[2] = rgb[0];
    }
    return true;
}

lks_status lks_decode_pnm(lks_image *out, lks_decode_job *job, lks_error *err)
{
    cursor c = {.at = job->bytes + 2, .end = job->bytes + job->n_bytes};
    header h = {.kind = job->bytes[1] - '0', .maxval = 1};
    h.width = read_number(&c, 1 << 30);
    h.height = h.width < 0 ? -1 : read_number(&c, 1 << 30);
    if (h.height >= 0 && h.kind != 1 && h.kind != 4)
        h.maxval = read_number(&c, 65535);
    if (h.width < 0 || h.height < 0 || h.maxval < 1 || h.maxval > 65535)
        return lks_decode_damaged(job, "PNM", "the header is no header", err);

    lks_status st = lks_decode_check_size(job, h.width, h.height, "PNM", err);
    if (st == LKS_OK)
        st = lks_decode_allocate(out, job, h.width, h.height, err);
    if (st != LKS_OK)
        return st;
    if (!read_pixels(out, &c, &h)) {
        if (!job->options.lenient)
            return lks_decode_damaged(job, "PNM", c.missing ? "data ends early" : "a sample is no number", err);
        job->damaged = true;
    }
    return LKS_OK;
}
