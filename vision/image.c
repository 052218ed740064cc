/* lks_image_decode: finds the decoder by magic bytes, never by name, and turns its result upright. */
#include "vision/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vision/decode.h"

typedef enum kind { KIND_UNKNOWN, KIND_JPEG, KIND_PNG, KIND_WEBP, KIND_BMP, KIND_GIF, KIND_PNM, KIND_TGA } kind;

static bool starts_with(const uint8_t *bytes, size_t n, const void *magic, size_t n_magic)
{
    return n >= n_magic && memcmp(bytes, magic, n_magic) == 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static kind find_kind(const uint8_t *bytes, size_t n)
{
    if (starts_with(bytes, n, "\xFF\xD8\xFF", 3))
        return KIND_JPEG;
    if (starts_with(bytes, n, "\x89PNG\r\n\x1A\n", 8))
        return KIND_PNG;
    if (n >= 12 && starts_with(bytes, n, "RIFF", 4) && memcmp(bytes + 8, "WEBP", 4) == 0)
        return KIND_WEBP;
    if (starts_with(bytes, n, "GIF87a", 6) || starts_with(bytes, n, "GIF89a", 6))
        return KIND_GIF;
    if (n >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' && (is_space(bytes[2]) || bytes[2] == '#'))
        return KIND_PNM;
    if (starts_with(bytes, n, "BM", 2))
        return KIND_BMP;
    if (lks_decode_is_tga(bytes, n))
        return KIND_TGA;
    return KIND_UNKNOWN;
}

/* A name for what this library knows but cannot decode; NULL for the rest. */
static const char *name_foreign_format(const uint8_t *bytes, size_t n)
{
    if (n >= 12 && memcmp(bytes + 4, "ftyp", 4) == 0) {
        const uint8_t *brand = bytes + 8;
        if (memcmp(brand, "avi", 3) == 0)
            return "an AVIF image";
        if (memcmp(brand, "hei", 3) == 0 || memcmp(brand, "hev", 3) == 0 || memcmp(brand, "mif1", 4) == 0 ||
            memcmp(brand, "msf1", 4) == 0)
            return "a HEIF/HEIC image";
        return "a video (MP4/QuickTime)";
    }
    if (starts_with(bytes, n, "II*\0", 4) || starts_with(bytes, n, "MM\0*", 4))
        return "a TIFF or raw camera image";
    if (starts_with(bytes, n, "\xFF\x0A", 2) || starts_with(bytes, n, "\0\0\0\x0CJXL ", 8))
        return "a JPEG XL image";
    if (starts_with(bytes, n, "\0\0\0\x0CjP  ", 8))
        return "a JPEG 2000 image";
    if (starts_with(bytes, n, "%PDF", 4))
        return "a PDF document";
    if (starts_with(bytes, n, "8BPS", 4))
        return "a Photoshop document";
    return NULL;
}

lks_status lks_decode_check_size(const lks_decode_job *job, int64_t width, int64_t height, const char *format,
                                 lks_error *err)
{
    if (width < 1 || height < 1)
        return lks_error_set(err, LKS_ERR_IMAGE, "%s: the %s header gives a size of %lld x %lld: the file is damaged",
                             job->name, format, (long long)width, (long long)height);
    if (width > LKS_DECODE_MAX_SIDE || height > LKS_DECODE_MAX_SIDE || width > job->options.max_pixels / height)
        return lks_error_set(
            err, LKS_ERR_IMAGE,
            "%s: %lld x %lld pixels is more than the limit of %.0f megapixels: scale the image down first", job->name,
            (long long)width, (long long)height, (double)job->options.max_pixels / 1e6);
    return LKS_OK;
}

lks_status lks_decode_allocate(lks_image *out, const lks_decode_job *job, int width, int height, lks_error *err)
{
    uint8_t *rgb = calloc((size_t)width * (size_t)height, 3);
    if (!rgb)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory for %d x %d pixels", job->name, width, height);
    *out = (lks_image){.width = width, .height = height, .rgb = rgb};
    return LKS_OK;
}

lks_status lks_decode_damaged(const lks_decode_job *job, const char *format, const char *why, lks_error *err)
{
    return lks_error_set(err, job->options.lenient ? LKS_ERR_IMAGE : LKS_ERR_DAMAGED,
                         "%s: the %s file is truncated or damaged (%s): get a whole copy", job->name, format, why);
}

static lks_status decode_format(lks_image *out, lks_decode_job *job, lks_error *err)
{
    switch (find_kind(job->bytes, job->n_bytes)) {
#ifdef LKS_PORTABLE
    case KIND_JPEG:
        return lks_decode_stb(out, job, "JPEG", err);
    case KIND_PNG:
        return lks_decode_stb(out, job, "PNG", err);
    case KIND_WEBP:
        return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                             "%s: this portable build has no WebP decoder: convert the image to JPEG or PNG",
                             job->name);
#else
    case KIND_JPEG:
        return lks_decode_jpeg(out, job, err);
    case KIND_PNG:
        return lks_decode_png(out, job, err);
    case KIND_WEBP:
        return lks_decode_webp(out, job, err);
#endif
    case KIND_BMP:
        return lks_decode_stb(out, job, "BMP", err);
    case KIND_GIF:
        return lks_decode_stb(out, job, "GIF", err);
    case KIND_TGA:
        return lks_decode_stb(out, job, "TGA", err);
    case KIND_PNM:
        return lks_decode_pnm(out, job, err);
    case KIND_UNKNOWN:
        break;
    }
    const char *foreign = name_foreign_format(job->bytes, job->n_bytes);
    if (foreign)
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: is %s, which is not supported: convert it to JPEG or PNG",
                             job->name, foreign);
    return lks_error_set(err, LKS_ERR_IMAGE, "%s: not an image of a known format (JPEG, PNG, WebP, BMP, GIF, PNM, TGA)",
                         job->name);
}

lks_status lks_image_decode(lks_image *out, bool *damaged, const uint8_t *bytes, size_t n_bytes, const char *name,
                            const lks_decode_options *options, lks_error *err)
{
    char printable[256];
    lks_image_printable_name(printable, sizeof printable, name && *name ? name : "image");
    if (!bytes || n_bytes == 0)
        return lks_error_set(err, LKS_ERR_IMAGE, "%s: the file is empty", printable);

    lks_decode_job job = {.bytes = bytes, .n_bytes = n_bytes, .name = printable, .orientation = 1};
    if (options)
        job.options = *options;
    if (job.options.max_pixels <= 0)
        job.options.max_pixels = LKS_IMAGE_MAX_PIXELS;

    lks_image image = {0};
    lks_status st = decode_format(&image, &job, err);
    if (st == LKS_OK && !job.options.ignore_orientation)
        st = lks_image_orient(&image, job.orientation, printable, err);
    if (st != LKS_OK) {
        lks_image_release(&image);
        return st;
    }
    *out = image;
    if (damaged)
        *damaged = job.damaged;
    return LKS_OK;
}

void lks_image_release(lks_image *image)
{
    if (!image)
        return;
    if (!image->borrowed)
        free(image->rgb);
    *image = (lks_image){0};
}
