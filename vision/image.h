/* Images: bytes -> 8-bit RGB pixels, and resizing equal to Pillow's. */
#ifndef LKS_IMAGE_H
#define LKS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fusion/ops.h"
#include "fusion/status.h"

#define LKS_IMAGE_MAX_PIXELS 50000000 /* default limit, checked before any pixel memory is taken */

/* JPEGs of fewer pixels are always decoded whole, bit for bit as Pillow does. Larger ones (cameras) may be decoded at 1/2, 1/4
 * or 1/8, which is several times faster; what is then left to resize differs from Pillow's by a few levels at edges. */
#define LKS_IMAGE_SCALED_MIN_PIXELS 4000000

typedef struct lks_image {
    int width, height;
    uint8_t *rgb;  /* [height, width, 3], malloc'ed, owned */
    bool borrowed; /* rgb is somebody else's, who keeps it: only read */
} lks_image;

typedef struct lks_decode_options {
    int64_t max_pixels; /* 0: LKS_IMAGE_MAX_PIXELS */
    bool lenient;       /* accept truncated or corrupt data where a decoder can go on; *damaged tells */
    bool exact;         /* never use a JPEG's scaled decoding */
    int target_width,
        target_height;       /* what resizing will ask for; 0: unknown. A JPEG of LKS_IMAGE_SCALED_MIN_PIXELS that is
                                        at least 4 times larger in both directions (and not `exact`) is decoded at 1/2,
                                        1/4 or 1/8, still >= 2x target */
    bool ignore_orientation; /* leave EXIF orientation alone */
} lks_decode_options;

/* Decodes by magic bytes: JPEG, PNG, WebP (first frame), BMP, GIF (first frame), PNM, TGA. Output is what Pillow's
 * convert("RGB") gives (alpha dropped, grey and palette expanded, CMYK inverted as Adobe writes it, 16-bit reduced to 8),
 * turned upright by EXIF orientation. `name` is used in messages only. *damaged (may be NULL) is set by a lenient read. */
lks_status lks_image_decode(lks_image *out, bool *damaged, const uint8_t *bytes, size_t n_bytes, const char *name,
                            const lks_decode_options *options, lks_error *err);
/* As above from a file: refuses directories, FIFOs, devices and empty files, each with its own message. */
lks_status lks_image_read(lks_image *out, bool *damaged, const char *path, const lks_decode_options *options,
                          lks_error *err);
void lks_image_release(lks_image *image);

/* Copies a file name into `out` so that it can be printed: control characters and bytes that are not UTF-8 become \xNN;
 * of a name that does not fit the end is kept, behind "...". */
void lks_image_printable_name(char *out, size_t n_out, const char *name);

/* Pillow's numbering, as `resample` in preprocessor_config.json. */
typedef enum lks_filter {
    LKS_FILTER_NEAREST = 0,
    LKS_FILTER_LANCZOS = 1,
    LKS_FILTER_BILINEAR = 2,
    LKS_FILTER_BICUBIC = 3,
    LKS_FILTER_BOX = 4,
    LKS_FILTER_HAMMING = 5
} lks_filter;

/* Resizes to width x height, antialiased, equal to Pillow's Image.resize bit for bit: two passes, horizontal first, 8-bit
 * intermediate, 22-bit fixed-point coefficients. On the host, also where the table is a device's. */
lks_status lks_image_resize(lks_image *out, const lks_image *image, int width, int height, lks_filter filter,
                            const lks_compute *compute, lks_error *err);

#endif
