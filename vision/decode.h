/* What the decoders share: one job in, pixels, damage and orientation out. Private to vision. */
#ifndef LKS_DECODE_H
#define LKS_DECODE_H

#include "vision/image.h"

#define LKS_DECODE_MAX_SIDE 1000000 /* longer sides are no photos, and would make resizing tables huge */

typedef struct lks_decode_job {
    const uint8_t *bytes;
    size_t n_bytes;
    const char *name;           /* printable, for messages */
    lks_decode_options options; /* max_pixels filled in */
    bool damaged;               /* out: a lenient read went on over missing or corrupt data */
    int orientation;            /* out: EXIF orientation 1..8; 1 when the file has none */
} lks_decode_job;

/* Refuses sizes that are not 1..LKS_DECODE_MAX_SIDE or hold more than options.max_pixels. Decoders call this on the header,
 * before they or their library take memory for pixels. `format` names the kind of file. */
lks_status lks_decode_check_size(const lks_decode_job *job, int64_t width, int64_t height, const char *format,
                                 lks_error *err);

/* Takes zeroed pixels for a size that lks_decode_check_size accepted. */
lks_status lks_decode_allocate(lks_image *out, const lks_decode_job *job, int width, int height, lks_error *err);

/* "NAME: the FORMAT file is damaged (WHY)" and the remedy. */
lks_status lks_decode_damaged(const lks_decode_job *job, const char *format, const char *why, lks_error *err);

/* Each fills `out` (released by the caller when it fails), job->damaged and job->orientation. */
lks_status lks_decode_jpeg(lks_image *out, lks_decode_job *job, lks_error *err);
lks_status lks_decode_png(lks_image *out, lks_decode_job *job, lks_error *err);
lks_status lks_decode_webp(lks_image *out, lks_decode_job *job, lks_error *err);
lks_status lks_decode_pnm(lks_image *out, lks_decode_job *job, lks_error *err);
/* BMP, GIF and TGA; JPEG and PNG too in a portable build. `format` names the kind of file for messages. */
lks_status lks_decode_stb(lks_image *out, lks_decode_job *job, const char *format, lks_error *err);

/* Whether stb_image can be given this JPEG file: its Huffman tables hold what they say, and scans use none that is missing. */
bool lks_decode_jpeg_tables_are_sound(const uint8_t *bytes, size_t n_bytes);

/* Whether the bytes look like a TGA file, which has no magic number: a header whose fields are all plausible. */
bool lks_decode_is_tga(const uint8_t *bytes, size_t n_bytes);

/* The orientation tag of EXIF data (a TIFF structure, with or without "Exif\0\0" before it); 1 when invalid, 0 when absent: then that of
 * XMP counts, as in Pillow. */
int lks_exif_orientation(const uint8_t *bytes, size_t n_bytes);
/* tiff:Orientation of an XMP packet; 1 when absent or invalid. */
int lks_xmp_orientation(const uint8_t *bytes, size_t n_bytes);

/* Turns the image upright: EXIF orientation 2..8 becomes 1. */
lks_status lks_image_orient(lks_image *image, int orientation, const char *name, lks_error *err);

#endif
