/* PNG by libspng. Alpha and transparency are dropped and palettes expanded, as Pillow's convert("RGB") does. 16-bit colour
 * keeps its high byte; 16-bit grey saturates at 255, because Pillow reads it as integers and clips them. */
#include <stdlib.h>
#include <string.h>

#include <spng.h>

#include "vision/decode.h"

#define MAX_CHUNK_BYTES ((size_t)64 << 20)

/* Grey of 16 bits, host order -> clipped to 8 bits, three times. The samples lie at the end of the row's own pixels would be
 * too tight (2 of 3 bytes), so they come from a row buffer. */
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

static lks_status decode(lks_image *out, lks_decode_job *job, spng_ctx *png, lks_error *err)
{
    if (job->options.lenient)
        spng_set_crc_action(png, SPNG_CRC_USE, SPNG_CRC_DISCARD);
    spng_set_chunk_limits(png, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES);
    int code = spng_set_png_buffer(png, job->bytes, job->n_bytes);
    struct spng_ihdr header;
    if (code == SPNG_OK)
        code = spng_get_ihdr(png, &header);
    if (code != SPNG_OK)
        return explain(job, code, err);
    lks_status st = lks_decode_check_size(job, header.width, header.height, "PNG", err);
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
    struct spng_exif exif;
    if (spng_get_exif(png, &exif) == SPNG_OK)
        job->orientation = lks_exif_orientation((const uint8_t *)exif.data, exif.length);
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
