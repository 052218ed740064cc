/* Images that many threads stage: each has room of its own, and what it brings along is what it is made of. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/resize.h"
#include "vision/staging.h"

enum { N_IMAGES = 40, SIDE = 48 };

static void *stage_memory(const lks_compute *compute, size_t n_bytes)
{
    (void)compute;
    return aligned_alloc(LKS_ALIGNMENT, lks_arena_cost(n_bytes, 1));
}

typedef struct crowd {
    lks_staging staging;
    lks_preprocess preprocess;
    lks_compute compute; /* of a thread of its own */
    lks_image images[N_IMAGES];
    int index[N_IMAGES];
    lks_error errors[N_IMAGES];
    atomic_int next;
} crowd;

/* Every fourth is too large to be resampled by a device. */
static void make_images(crowd *c)
{
    for (int i = 0; i < N_IMAGES; i++) {
        const int width = i % 4 == 3 ? 700 : 20 + 9 * i, height = i % 4 == 3 ? 600 : 400 - 8 * i;
        const size_t n = (size_t)width * (size_t)height * 3;
        c->images[i] = (lks_image){.width = width, .height = height, .rgb = malloc(n)};
        assert_non_null(c->images[i].rgb);
        for (size_t k = 0; k < n; k++)
            c->images[i].rgb[k] = (uint8_t)(k * 2654435761u >> 13 ^ (unsigned)i);
    }
}

static void put_some(void *argument, int thread, int n_threads)
{
    (void)thread;
    (void)n_threads;
    crowd *c = argument;
    for (int i; (i = atomic_fetch_add(&c->next, 1)) < N_IMAGES;)
        lks_staging_put(&c->staging, &c->index[i], &c->preprocess, &c->images[i], &c->compute, &c->errors[i]);
}

static void check_taps(const lks_taps *actual, const lks_taps *expected, int origin)
{
    assert_int_equal(actual->n, expected->n);
    assert_int_equal(actual->n_most, expected->n_most);
    for (int i = 0; i < expected->n; i++) {
        assert_int_equal(actual->tap[i].first, expected->tap[i].first - origin);
        assert_int_equal(actual->tap[i].n, expected->tap[i].n);
        const size_t row = (size_t)i * (size_t)expected->n_most;
        assert_memory_equal(actual->weights + row, expected->weights + row,
                            (size_t)expected->tap[i].n * sizeof *expected->weights);
    }
}

static void check_resampled(const crowd *c, int i)
{
    const lks_image *image = &c->images[i];
    const lks_resample *args = &c->staging.args[c->index[i]];
    const lks_window whole = {0, 0, SIDE, SIDE};
    lks_resize_plan plan;
    lks_error err;
    assert_int_equal(lks_resize_plan_init(&plan, image, SIDE, SIDE, &whole, c->preprocess.resample, &err), LKS_OK);
    check_taps(&args->across, &plan.across, 0);
    check_taps(&args->down, &plan.down, 0);
    assert_true(args->down_first == plan.down_first && args->width == image->width && args->n_rows == image->height);
    assert_memory_equal(args->from, image->rgb, (size_t)image->width * (size_t)image->height * 3);
    assert_true(args->table[0] == 0.0f && args->table[255] == 1.0f && args->table[3 * 256 - 1] == 1.0f);
    lks_resize_plan_release(&plan);
}

static void check_tensor(const crowd *c, int i)
{
    float *expected = malloc(sizeof(float) * SIDE * SIDE * 3);
    lks_error err;
    assert_int_equal(lks_preprocess_run(&c->preprocess, expected, &c->images[i], &c->compute, &err), LKS_OK);
    assert_memory_equal(c->staging.base + c->staging.tensors[c->index[i]], expected, sizeof(float) * SIDE * SIDE * 3);
    free(expected);
}

static void together(void **state)
{
    (void)state;
    lks_ops ops = *lks_ops_get(LKS_ISA_REF);
    ops.stage = stage_memory;
    crowd c = {.preprocess = {.do_resize = true,
                              .resize_width = SIDE,
                              .resize_height = SIDE,
                              .resample = LKS_FILTER_BICUBIC,
                              .do_rescale = true,
                              .rescale_factor = 1.0 / 255.0},
               .compute = {.ops = &ops}};
    lks_threads *threads;
    lks_error err;
    assert_int_equal(lks_threads_open(&threads, 4, &err), LKS_OK);
    make_images(&c);
    assert_int_equal(lks_staging_open(&c.staging, &c.compute, SIDE, SIDE, N_IMAGES, &err), LKS_OK);
    lks_threads_run(threads, put_some, &c);
    assert_int_equal(c.staging.n, N_IMAGES);
    assert_true(c.staging.front <= c.staging.back);
    bool taken[N_IMAGES] = {false};
    for (int i = 0; i < N_IMAGES; i++) {
        assert_int_equal(c.errors[i].status, LKS_OK);
        assert_false(taken[c.index[i]]);
        taken[c.index[i]] = true;
        if (i % 4 == 3)
            check_tensor(&c, i);
        else
            check_resampled(&c, i);
        lks_image_release(&c.images[i]);
    }
    free(c.staging.base);
    lks_staging_close(&c.staging);
    lks_staging_close(&c.staging); /* once more is safe */
    lks_threads_close(threads);
}

static void *no_memory(const lks_compute *compute, size_t n_bytes)
{
    (void)compute;
    (void)n_bytes;
    return NULL;
}

static void out_of_memory(void **state)
{
    (void)state;
    lks_ops ops = *lks_ops_get(LKS_ISA_REF);
    ops.stage = no_memory;
    const lks_compute compute = {.ops = &ops};
    lks_staging staging;
    lks_error err;
    assert_int_equal(lks_staging_open(&staging, &compute, 1000, 1000, 3, &err), LKS_ERR_NOMEM);
    assert_non_null(strstr(err.message, "3 images of 1000 x 1000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(together), cmocka_unit_test(out_of_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
