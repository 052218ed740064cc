/* What it costs to know where the model looked: less than a tenth of a caption's time. Processor time of one thread, so that what
 * else the machine does counts little; the median over rounds of what one costs beside the other, which a machine that becomes faster
 * or slower meanwhile does not touch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "apps/captioner/looksay.h"

enum { ROUNDS = 12 };

static const char *const photos[] = {"assets/photos/astronaut.jpg", "assets/photos/china.jpg",
                                     "assets/photos/coffee.jpg", "assets/photos/rocket.jpg"};

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Reading, encoding and decoding of all photos. */
static double time_captions(lks_session *session, const lks_caption_options *options)
{
    double began = cpu_ms();
    for (size_t i = 0; i < sizeof photos / sizeof *photos; i++) {
        lks_caption *caption = NULL;
        lks_error err;
        assert_int_equal(lks_caption_file(session, &caption, photos[i], options, &err), LKS_OK);
        assert_true((caption->sequences[0].maps != NULL) == options->keep_maps);
        lks_caption_free(caption);
    }
    return cpu_ms() - began;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void test_maps_cost_less_than_a_tenth(void **state)
{
    (void)state;
    lks_model *model = NULL;
    lks_session *session = NULL;
    lks_error err;
    const lks_session_options alone = {.size = sizeof alone, .n_threads = 1};
    assert_int_equal(lks_model_open(&model, "assets/model/looksay.gguf", NULL, &err), LKS_OK);
    assert_int_equal(lks_session_open(&session, model, &alone, &err), LKS_OK);
    double ratios[ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double taken[2];
        for (int maps = 0; maps < 2; maps++) {
            lks_caption_options options;
            lks_caption_options_init(&options, model);
            options.keep_maps = maps;
            taken[maps] = time_captions(session, &options);
        }
        ratios[round] = taken[1] / taken[0];
    }
    qsort(ratios, ROUNDS, sizeof *ratios, compare);
    double median = (ratios[ROUNDS / 2 - 1] + ratios[ROUNDS / 2]) / 2.0;
    print_message("maps: %+.1f %%, from %+.1f to %+.1f\n", 100.0 * (median - 1.0), 100.0 * (ratios[0] - 1.0),
                  100.0 * (ratios[ROUNDS - 1] - 1.0));
    assert_true(median < 1.1);
    lks_session_close(session);
    lks_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_maps_cost_less_than_a_tenth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
