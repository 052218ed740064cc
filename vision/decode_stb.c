/* BMP, GIF (first frame) and TGA by stb_image, and in a portable build JPEG and PNG.
 *
 * stb_image takes missing data for zeros and says nothing. Reading through callbacks tells: a refill that gets nothing, or a
 * direct read (into a buffer other than its own) that gets less than it asked for, means that the file ends early. Sizes are
 * checked on the header first. What ends within a JPEG or PNG it gives up, so a lenient read saves none of those here, and a JPEG
 * scan that is too short but properly closed passes for whole. */
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS 1000000
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_ONLY_TGA
#ifdef LKS_PORTABLE
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#endif
#include <stdlib.h>
/* What a lenient read leaves bare is black, not what memory held. */
#define STBI_MALLOC(n) calloc(1, n)
#define STBI_REALLOC(p, n) realloc(p, n)
#define STBI_FREE(p) free(p)
#include <stb/stb_image.h>

#include <limits.h>
#include <string.h>

#include "vision/decode.h"

typedef struct stream {
    const uint8_t *bytes;
    size_t n_bytes, at;
    const char *refill_buffer; /* stb_image's own, seen in its first read */
    bool truncated;
} stream;

static int read_stream(void *user, char *data, int size)
{
    stream *s = user;
    size_t left = s->n_bytes - s->at, n = size < 0 ? 0 : (size_t)size;
    if (!s->refill_buffer)
        s->refill_buffer = data;
    if (n > left) {
        n = left;
        s->truncated |= n == 0 || data != s->refill_buffer;
    }
    memcpy(data, s->bytes + s->at, n);
    s->at += n;
    return (int)n;
}

static void skip_stream(void *user, int n)
{
    stream *s = user;
    size_t left = s->n_bytes - s->at;
    if (n < 0)
        s->at -= (size_t) - (int64_t)n < s->at ? (size_t) - (int64_t)n : s->at;
    else
        s->at += (size_t)n < left ? (size_t)n : left;
}

static int end_of_stream(void *user)
{
    const stream *s = user;
    return s->at == s->n_bytes;
}

static const stbi_io_callbacks callbacks = {.read = read_stream, .skip = skip_stream, .eof = end_of_stream};

/* What stb_image does not tell about a GIF's first frame: its place, and the colour of what it leaves bare. */
typedef struct gif_frame {
    int x, y, width, height;
    uint8_t bare[3];
} gif_frame;

static int read_u16(const uint8_t *p)
{
    return p[0] | p[1] << 8;
}

/* Walks the blocks up to the first frame. Clears the transparency flag on the way: a transparent pixel then keeps the colour
 * of its palette entry, which is what dropping alpha means. False when the walk fails (stb_image will say why). */
static bool prepare_gif(gif_frame *frame, uint8_t *bytes, size_t n)
{
    if (n < 13)
        return false;
    size_t at = 13, palette = 0;
    int transparent = -1;
    if (bytes[10] & 0x80) {
        palette = at;
        at += (size_t)3 << ((bytes[10] & 7) + 1);
    }
    while (at + 2 < n && bytes[at] == 0x21) { /* extension: label, then blocks until an empty one */
        bool control = bytes[at + 1] == 0xF9;
        at += 2;
        while (at < n && bytes[at] != 0) {
            if (control && bytes[at] == 4 && at + 4 < n && (bytes[at + 1] & 1)) {
                transparent = bytes[at + 4];
                bytes[at + 1] &= 0xFE;
            }
            at += (size_t)bytes[at] + 1;
        }
        at++;
    }
    if (at + 10 > n || bytes[at] != 0x2C)
        return false;
    *frame = (gif_frame){.x = read_u16(bytes + at + 1),
                         .y = read_u16(bytes + at + 3),
                         .width = read_u16(bytes + at + 5),
                         .height = read_u16(bytes + at + 7)};
    if (bytes[at + 9] & 0x80)
        palette = at + 10;
    size_t entry = palette + (transparent < 0 ? 0 : (size_t)transparent * 3);
    if (palette && entry + 3 <= n)
        memcpy(frame->bare, bytes + entry, 3);
    return true;
}

static void fill_bare(const lks_image *image, const gif_frame *frame)
{
    for (int y = 0; y < image->height; y++) {
        bool inside = y >= frame->y && y < frame->y + frame->height;
        uint8_t *rgb = image->rgb + (size_t)y * (size_t)image->width * 3;
        for (int x = 0; x < image->width; x++)
            if (!inside || x < frame->x || x >= frame->x + frame->width)
                memcpy(rgb + 3 * (size_t)x, frame->bare, 3);
    }
}

static lks_status decode(lks_image *out, lks_decode_job *job, const uint8_t *bytes, const char *format, lks_error *err)
{
    stream s = {.bytes = bytes, .n_bytes = job->n_bytes};
    int width = 0, height = 0, n_channels = 0;
    if (!stbi_info_from_callbacks(&callbacks, &s, &width, &height, &n_channels))
        return lks_decode_damaged(job, format, s.truncated ? "data ends early" : stbi_failure_reason(), err);
    if (strcmp(format, "BMP") == 0 && height < 0 && height > INT_MIN) /* rows from the top */
        height = -height;
    lks_status st = lks_decode_check_size(job, width, height, format, err);
    if (st != LKS_OK)
        return st;

    s = (stream){.bytes = bytes, .n_bytes = job->n_bytes};
    uint8_t *rgb = stbi_load_from_callbacks(&callbacks, &s, &width, &height, &n_channels, 3);
    if (!rgb || (s.truncated && !job->options.lenient)) {
        free(rgb);
        return lks_decode_damaged(job, format, s.truncated ? "data ends early" : stbi_failure_reason(), err);
    }
    job->damaged = s.truncated;
    *out = (lks_image){.width = width, .height = height, .rgb = rgb};
    return LKS_OK;
}

#ifdef LKS_PORTABLE
/* The size in a PNG's header, which stb_image does not tell of pictures too large for it. */
static lks_status check_png_size(const lks_decode_job *job, lks_error *err)
{
    if (job->n_bytes < 24)
        return LKS_OK;
    int64_t size[2] = {0};
    for (int i = 0; i < 8; i++)
        size[i / 4] = size[i / 4] << 8 | job->bytes[16 + i];
    return size[0] && size[1] ? lks_decode_check_size(job, size[0], size[1], "PNG", err) : LKS_OK;
}
#endif

enum { MIRRORED = 2 }; /* of EXIF's orientations */

static bool bmp_is_run_length_coded(const uint8_t *bytes, size_t n)
{
    enum { HEADER_AT = 14, COMPRESSION_AT = 30, RLE8 = 1, RLE4 = 2 };
    return n > COMPRESSION_AT && bytes[HEADER_AT] >= 40 &&
           (bytes[COMPRESSION_AT] == RLE8 || bytes[COMPRESSION_AT] == RLE4);
}

lks_status lks_decode_stb(lks_image *out, lks_decode_job *job, const char *format, lks_error *err)
{
#ifdef LKS_PORTABLE
    lks_status sized = strcmp(format, "PNG") == 0 ? check_png_size(job, err) : LKS_OK;
    if (sized != LKS_OK)
        return sized;
    if (strcmp(format, "JPEG") == 0 && !lks_decode_jpeg_tables_are_sound(job->bytes, job->n_bytes))
        return lks_decode_damaged(job, format, "bad or missing Huffman table", err);
#endif
    if (strcmp(format, "BMP") == 0 && bmp_is_run_length_coded(job->bytes, job->n_bytes))
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: a run-length coded BMP, which is not read; convert it to PNG", job->name);
    if (strcmp(format, "GIF") != 0) {
        lks_status st = decode(out, job, job->bytes, format, err);
        bool from_the_right = strcmp(format, "TGA") == 0 && (job->bytes[17] & 0x10) != 0;
        return st == LKS_OK && from_the_right ? lks_image_orient(out, MIRRORED, job->name, err) : st;
    }

    uint8_t *copy = malloc(job->n_bytes);
    if (!copy)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory decoding a GIF", job->name);
    memcpy(copy, job->bytes, job->n_bytes);
    gif_frame frame;
    bool placed = prepare_gif(&frame, copy, job->n_bytes);
    lks_status st = decode(out, job, copy, format, err);
    if (st == LKS_OK && placed)
        fill_bare(out, &frame);
    free(copy);
    return st;
}

bool lks_decode_is_tga(const uint8_t *bytes, size_t n)
{
    if (n < 18)
        return false;
    const int map_type = bytes[1], type = bytes[2] & ~8, map_depth = bytes[7], depth = bytes[16];
    const bool rle_or_raw =
        bytes[2] == 1 || bytes[2] == 2 || bytes[2] == 3 || bytes[2] == 9 || bytes[2] == 10 || bytes[2] == 11;
    if (!rle_or_raw || map_type > 1 || (bytes[17] & 0xC0) || read_u16(bytes + 12) == 0 || read_u16(bytes + 14) == 0)
        return false;
    if (type == 1)
        return map_type == 1 && depth == 8 &&
               (map_depth == 15 || map_depth == 16 || map_depth == 24 || map_depth == 32);
    if (type == 3)
        return depth == 8 || depth == 16;
    return depth == 15 || depth == 16 || depth == 24 || depth == 32;
}
