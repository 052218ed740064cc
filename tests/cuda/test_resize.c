/* Preprocessing on a device: the pixels are the host's, bit for bit. */
#include "tests/cuda/device_test.h"
#include "vision/staging.h"

static lks_error err;

static lks_image noise(int width, int height, uint32_t seed)
{
    const size_t n = (size_t)width * (size_t)height * 3;
    lks_image image = {.width = width, .height = height, .rgb = malloc(n)};
    assert_non_null(image.rgb);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        /* the ends of the range are frequent, so that sums overshoot and are clamped */
        image.rgb[i] = seed >> 31 ? (uint8_t)(seed >> 16) : seed >> 30 ? 255 : 0;
    }
    return image;
}

enum { MOST_IMAGES = 16 };

/* Puts an image in, and says what its pixels are to be; whether the device resamples it. */
static bool put(lks_staging *staging, float **expected, device_bench *b, const lks_preprocess *p, int image_width,
                int image_height)
{
    lks_image image = noise(image_width, image_height, (uint32_t)(image_width * 131 + image_height));
    int width, height, index;
    assert_int_equal(lks_preprocess_size(p, &width, &height, image_width, image_height, &err), LKS_OK);
    assert_true(width == staging->width && height == staging->height);
    *expected = constant_floats((size_t)width * (size_t)height * 3, 0.0f);
    assert_int_equal(lks_preprocess_run(p, *expected, &image, &b->reference, &err), LKS_OK);
    const int before = staging->n;
    assert_int_equal(lks_staging_put(staging, &index, p, &image, &b->reference, &err), LKS_OK);
    assert_true(index == before && staging->n == before + 1);
    lks_image_release(&image);
    return staging->tensors[index] == 0;
}

/* Images of the same tensor go up together. How many of them the device took. */
static int check(device_bench *b, const lks_preprocess *p, const int (*sizes)[2], int n)
{
    float *expected[MOST_IMAGES];
    int width, height, n_taken = 0;
    assert_int_equal(lks_preprocess_size(p, &width, &height, sizes[0][0], sizes[0][1], &err), LKS_OK);
    lks_staging staging;
    assert_int_equal(lks_staging_open(&staging, &b->compute, width, height, n, &err), LKS_OK);
    for (int i = 0; i < n; i++)
        n_taken += put(&staging, &expected[i], b, p, sizes[i][0], sizes[i][1]);
    const size_t each = (size_t)width * (size_t)height * 3;
    float *poison = constant_floats((size_t)n * each, -77.0f);
    float *pixels = device_put(b, poison, (size_t)n * each * sizeof *poison);
    const size_t mark = lks_arena_mark(&b->room);
    assert_true(staging.front + staging.n_between <= lks_staging_scratch(width, height, n));
    lks_staging_queue(&staging, pixels, &b->compute);
    lks_staging_close(&staging);
    assert_int_equal(lks_arena_mark(&b->room), mark);
    float *actual = device_get(b, pixels, (size_t)n * each * sizeof *actual);
    for (size_t i = 0; i < (size_t)n * each; i++)
        if (!(actual[i] == expected[i / each][i % each]))
            fail_msg("%d x %d, filter %d: pixel %zu, %zu of %d x %d is %g, not %g", sizes[i / each][0],
                     sizes[i / each][1], (int)p->resample, i % each / 3 % (size_t)width, i % each / 3 / (size_t)width,
                     width, height, (double)actual[i], (double)expected[i / each][i % each]);
    for (int i = 0; i < n; i++)
        free(expected[i]);
    free(actual);
    free(poison);
    device_reset(b);
    return n_taken;
}

static const lks_preprocess usual = {.do_resize = true,
                                     .do_rescale = true,
                                     .do_normalize = true,
                                     .rescale_factor = 1.0 / 255.0,
                                     .mean = {0.485f, 0.456f, 0.406f},
                                     .std = {0.229f, 0.224f, 0.225f}};

static const int images[][2] = {{1, 1},  {1, 23},  {41, 1},  {2, 3},   {7, 90},   {90, 7},   {24, 18},
                                {24, 9}, {11, 18}, {33, 29}, {64, 48}, {30, 100}, {100, 30}, {63, 131}};

/* Each axis grows, shrinks and stays; both orders of the passes. */
static void exact_sizes(void **state)
{
    (void)state;
    static const int sizes[][2] = {{24, 18}, {17, 40}, {41, 33}};
    device_bench b;
    device_open(&b);
    device_mirror(&b, NULL, 0);
    int n_taken = 0;
    for (int filter = LKS_FILTER_NEAREST; filter <= LKS_FILTER_HAMMING; filter++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            lks_preprocess p = usual;
            p.resample = (lks_filter)filter;
            p.resize_width = sizes[s][0];
            p.resize_height = sizes[s][1];
            n_taken += check(&b, &p, images, COUNT(images));
        }
    assert_int_equal(n_taken, 6 * COUNT(sizes) * COUNT(images));
    device_close(&b);
}

static void crops(void **state)
{
    (void)state;
    static const struct {
        int shortest, longest, width, height;
    } cases[] = {{30, 0, 24, 27}, {20, 0, 31, 40}, {28, 40, 0, 0}, {0, 0, 21, 22}, {0, 0, 0, 0}};
    device_bench b;
    device_open(&b);
    device_mirror(&b, NULL, 0);
    int n_taken = 0;
    for (int filter = LKS_FILTER_NEAREST; filter <= LKS_FILTER_HAMMING; filter++)
        for (size_t c = 0; c < COUNT(cases); c++)
            for (size_t i = 3; i < COUNT(images); i++) {
                lks_preprocess p = usual;
                p.resample = (lks_filter)filter;
                p.do_resize = cases[c].shortest > 0;
                p.shortest_edge = cases[c].shortest;
                p.longest_edge = cases[c].longest;
                p.do_center_crop = cases[c].width > 0;
                p.crop_width = cases[c].width;
                p.crop_height = cases[c].height;
                p.do_normalize = i % 3 != 0;
                p.do_rescale = i % 2 != 0;
                n_taken += check(&b, &p, &images[i], 1);
            }
    assert_int_equal(n_taken, 6 * COUNT(cases) * (COUNT(images) - 3));
    device_close(&b);
}

/* What is much larger than a photo usually is, and than its tensor, stays on the host; beside others that do not. */
static void too_large(void **state)
{
    (void)state;
    static const int sizes[][2] = {{128, 96}, {800, 600}, {640, 480}, {1, 80000}, {31, 32}};
    lks_preprocess p = usual;
    p.resample = LKS_FILTER_BICUBIC;
    p.resize_width = p.resize_height = 32;
    device_bench b;
    device_open(&b);
    device_mirror(&b, NULL, 0);
    for (int turn = 0; turn < 3; turn++) { /* each stage is used, and used again */
        assert_int_equal(check(&b, &p, sizes, 5), 3);
        assert_int_equal(check(&b, &p, &sizes[1], 1), 0);
        assert_int_equal(check(&b, &p, &sizes[3], 1), 0); /* 240 kB, but more of weights */
    }
    device_close(&b);
}

int main(void)
{
    device_need();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_sizes),
        cmocka_unit_test(crops),
        cmocka_unit_test(too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
