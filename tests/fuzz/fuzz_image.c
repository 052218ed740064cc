/* Fuzzes every image decoder, strict and lenient, at full and at reduced size, and the resizing of what they return. */
#include <stdlib.h>

#include "vision/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool decode(const uint8_t *data, size_t size, const lks_decode_options *options)
{
    lks_error err;
    lks_image image, resized;
    bool damaged;
    const lks_compute compute = {.ops = lks_ops_get(LKS_ISA_AUTO)};
    if (lks_image_decode(&image, &damaged, data, size, "fuzz", options, &err) != LKS_OK)
        return false;
    if (!image.rgb || image.width < 1 || image.height < 1 || (damaged && !options->lenient))
        abort();
    if (lks_image_resize(&resized, &image, 7, 5, LKS_FILTER_BICUBIC, &compute, &err) == LKS_OK)
        lks_image_release(&resized);
    lks_image_release(&image);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const lks_decode_options strict = {.max_pixels = 1 << 18, .exact = true};
    const lks_decode_options lenient = {.max_pixels = 1 << 18, .lenient = true, .target_width = 4, .target_height = 4};
    if (decode(data, size, &strict) && !decode(data, size, &lenient))
        abort(); /* what is accepted strictly is accepted leniently */
    return 0;
}
