/* lks_vit_encode: the tokens of images that are encoded together are those of each alone, bit for bit on a CPU; so is what the
 * decoder makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "apps/captioner/look.h"

enum { N = 3 };

static lks_error err;

static void ok(lks_status st)
{
    if (st != LKS_OK)
        fail_msg("%s", err.message);
}

static float *noise(size_t n)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(state >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

/* Images of that size, or of the model's own for width 0. */
static void check(const lks_model *model, int width, int height)
{
    lks_vit_shape shape = *lks_vit_usual_shape(model->vit);
    if (width > 0)
        ok(lks_vit_find_shape(model->vit, &shape, width, height, &err));
    size_t of_pixels = lks_look_pixels(&shape), of_tokens = lks_look_tokens(model, &shape);
    lks_arena scratch;
    ok(lks_arena_init(&scratch, lks_vit_scratch(model->vit, &shape, N, 1), &err));
    const lks_compute compute = {.ops = model->ops, .scratch = &scratch};
    float *pixels = noise(N * of_pixels), *together = noise(N * of_tokens), *alone = noise(of_tokens);
    ok(lks_vit_encode(model->vit, &compute, together, pixels, &shape, N, &err));
    for (size_t i = 0; i < N; i++) {
        ok(lks_vit_encode(model->vit, &compute, alone, pixels + i * of_pixels, &shape, 1, &err));
        assert_memory_equal(alone, together + i * of_tokens, of_tokens * sizeof *alone);
    }
    lks_arena_release(&scratch);
    free(pixels);
    free(together);
    free(alone);
}

static void check_model(const char *path, const char *dtype, const char *isa, int width, int height)
{
    const lks_model_options options = {.size = sizeof options, .dtype = dtype, .isa = isa};
    lks_model *model;
    lks_status st = lks_model_open(&model, path, &options, &err);
    if (st == LKS_ERR_UNSUPPORTED) /* this CPU lacks it */
        return;
    ok(st);
    check(model, width, height);
    lks_model_close(model);
}

static void every_family(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int width, height;
    } cases[] = {{"tests/parity/models/vit-gpt2-bin", 0, 0},
                 {"tests/parity/models/deit-bert-untied", 0, 0},
                 {"tests/parity/models/blip-full", 0, 0},
                 {"tests/parity/models/dinov2-swiglu-gpt2", 0, 0},
                 {"tests/parity/models/dinov2-gpt2-aspect", 44, 71}};
    static const char *const isas[] = {"ref", "avx2", "avx512", "neon"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < sizeof isas / sizeof *isas; k++)
            for (int int8 = 0; int8 < 2; int8++)
                check_model(cases[i].path, int8 ? "int8" : "f32", isas[k], cases[i].width, cases[i].height);
}

/* Patches from a convolutional stem, and tokens of concepts. */
static void hybrid(void **state)
{
    (void)state;
    static const char *const isas[] = {"avx2", "avx512", "neon"};
    for (size_t k = 0; k < sizeof isas / sizeof *isas; k++)
        check_model("assets/model/looksay.gguf", NULL, isas[k], 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_family), cmocka_unit_test(hybrid)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
