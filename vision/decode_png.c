/* PNG by libspng. Alpha and transparency are dropped and palettes expanded, as Pillow's convert("RGB") does. 16-bit colour
 * keeps its high byte; 16-bit grey saturates at 255, because Pillow reads it as integers and clips them. */
#include <stdlib.h>
#include <string.h>

#include <spng.h>

#include "vision/decode.h"

#define MAX_CHUNK_BYTES ((size_t)64 << 20)
#define MAX_MISSING_BYTES ((size_t)64 << 10)

/* A lenient decode goes on with zeros for a while where the data end: libspng asks for whole blocks, and the pixels of the
 * last, incomplete one are wanted. */
typedef struct stream {
    const uint8_t *bytes;
    size_t n_bytes, at, n_missing;
} stream;

static int read_stream(spng_ctx *png, void *user, void *to, size_t n)
{
    (void)png;
    stream *s = user;
    size_t n_there = s->n_bytes - s->at < n ? s->n_bytes - s->at : n;
    memcpy(to, s->bytes + s->at, n_there);
    s->at += n_there;
    memset((uint8_t *)to + n_there, 0, n - n_there);
    s->n_missing += n - n_there;
    return s->n_missing > MAX_MISSING_BYTES ? SPNG_IO_EOF : SPNG_OK;
}

/* Grey of 16 bits in host order -> clipped to 8 bits, three times. */
static void row_from_grey16(uint8_t *rgb, const uint8_t *row, int width)
{
    for (int x = 0; x < width; x++) {
        uint16_t value;
        memcpy(&value, row + 2 * (size_t)x, sizeof value);
        rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = (uint8_t)(value > 255 ? 255 : value);
    }
}

/* Rows in file order (interlaced images come in passes), so that a lenient decode keeps what it got. */
static int read_rows(const lks_image *out, spng_ctx *png, bool grey16, size_t *n_rows)
{
    const size_t stride = (size_t)out->width * 3;
    uint8_t *scratch = NULL;
    if (grey16) {
        scratch = malloc((size_t)out->width * 2);
        if (!scratch)
            return SPNG_EMEM;
    }
    int code = spng_decode_image(png, NULL, 0, grey16 ? SPNG_FMT_PNG : SPNG_FMT_RGB8, SPNG_DECODE_PROGRESSIVE);
    struct spng_row_info info;
    while (code == SPNG_OK) {
        code = spng_get_row_info(png, &info);
        if (code != SPNG_OK)
            break;
        uint8_t *row = out->rgb + stride * info.row_num;
        code = spng_decode_row(png, grey16 ? scratch : row, grey16 ? (size_t)out->width * 2 : stride);
        if (grey16 && (code == SPNG_OK || code == SPNG_EOI))
            row_from_grey16(row, scratch, out->width);
        if (code == SPNG_OK || code == SPNG_EOI)
            ++*n_rows;
    }
    free(scratch);
    return code == SPNG_EOI ? SPNG_OK : code;
}

static lks_status explain(const lks_decode_job *job, int code, lks_error *err)
{
    if (code == SPNG_EMEM)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory decoding a PNG", job->name);
    return lks_decode_damaged(job, "PNG", spng_strerror(code), err);
}

static uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int orientation_of_texts(spng_ctx *png)
{
    uint32_t n = 0;
    int orientation = 1;
    if (spng_get_text(png, NULL, &n) != SPNG_OK || n == 0)
        return 1;
    struct spng_text *texts = calloc(n, sizeof *texts);
    if (texts && spng_get_text(png, texts, &n) == SPNG_OK)
        for (uint32_t i = 0; i < n; i++)
            if (strcmp(texts[i].keyword, "XML:com.adobe.xmp") == 0)
                orientation = lks_xmp_orientation((const uint8_t *)texts[i].text, texts[i].length);
    free(texts);
    return orientation;
}

static lks_status decode(lks_image *out, lks_decode_job *job, spng_ctx *png, lks_error *err)
{
    spng_set_chunk_limits(png, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES);
    /* The size stands at a fixed place; libspng would call a very large one an overflow. */
    lks_status st = LKS_OK;
    if (job->n_bytes >= 24 && memcmp(job->bytes + 12, "IHDR", 4) == 0)
        st = lks_decode_check_size(job, read_u32(job->bytes + 16), read_u32(job->bytes + 20), "PNG", err);
    if (st != LKS_OK)
        return st;
    int code;
    stream s = {.bytes = job->bytes, .n_bytes = job->n_bytes};
    if (job->options.lenient) {
        spng_set_crc_action(png, SPNG_CRC_USE, SPNG_CRC_DISCARD);
        code = spng_set_png_stream(png, read_stream, &s);
    } else {
        code = spng_set_png_buffer(png, job->bytes, job->n_bytes);
    }
    struct spng_ihdr header;
    if (code == SPNG_OK)
        code = spng_get_ihdr(png, &header);
    if (code != SPNG_OK)
        return explain(job, code, err);
    st = lks_decode_check_size(job, header.width, header.height, "PNG", err);
    if (st == LKS_OK)
        st = lks_decode_allocate(out, job, (int)header.width, (int)header.height, err);
    if (st != LKS_OK)
        return st;

    const bool grey16 = header.bit_depth == 16 && header.color_type == SPNG_COLOR_TYPE_GRAYSCALE;
    size_t n_rows = 0;
    code = read_rows(out, png, grey16, &n_rows);
    if (code == SPNG_OK)
        code = spng_decode_chunks(png); /* the rest of the file: a missing end is a truncated file */
    if (code != SPNG_OK) {
        if (!job->options.lenient || n_rows == 0 || code == SPNG_EMEM)
            return explain(job, code, err);
        job->damaged = true;
    }
    job->damaged |= s.n_missing > 0;
    struct spng_exif exif;
    job->orientation = 0;
    if (spng_get_exif(png, &exif) == SPNG_OK)
        job->orientation = lks_exif_orientation((const uint8_t *)exif.data, exif.length);
    if (job->orientation == 0)
        job->orientation = orientation_of_texts(png);
    return LKS_OK;
}

lks_status lks_decode_png(lks_image *out, lks_decode_job *job, lks_error *err)
{
    spng_ctx *png = spng_ctx_new(0);
    if (!png)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory decoding a PNG", job->name);
    lks_status st = decode(out, job, png, err);
    spng_ctx_free(png);
    return st;
}
