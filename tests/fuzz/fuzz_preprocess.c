/* Fuzzes preprocessor_config.json, and preprocessing with what it describes. */
#include <stdlib.h>

#include "vision/preprocess.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lks_error err;
    lks_preprocess p;
    if (lks_preprocess_parse(&p, (const char *)data, size, "fuzz", &err) != LKS_OK)
        return 0;
    uint8_t rgb[9 * 5 * 3] = {1, 2, 3, 250};
    const lks_image image = {.width = 9, .height = 5, .rgb = rgb};
    int width, height;
    if (lks_preprocess_size(&p, &width, &height, image.width, image.height, &err) != LKS_OK)
        return 0;
    if (width < 1 || height < 1)
        abort();
    if ((long)width * height > 65536 || p.shortest_edge > 512)
        return 0;
    const lks_compute compute = {.ops = lks_ops_get(LKS_ISA_AUTO)};
    float *pixels = malloc((size_t)width * (size_t)height * 3 * sizeof *pixels);
    if (pixels)
        (void)lks_preprocess_run(&p, pixels, &image, &compute, &err);
    free(pixels);
    return 0;
}
