/* Decoding, resizing and preprocessing against what Pillow 13 and transformers 5 computed (see make_fixtures.py).
 *
 * All of it is equal bit for bit: JPEG because libjpeg-turbo 2.1 here and 3.2 in Pillow use the same integer transforms. A
 * portable build decodes JPEG by stb_image, whose arithmetic differs: there the mean colour is held to one level. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/vision/fixtures.h"
#include "vision/preprocess.h"

static int integer(const json_t *entry, const char *key)
{
    const json_t *value = json_object_get(entry, key);
    assert_true(json_is_integer(value));
    return (int)json_integer_value(value);
}

static const char *file_of(const json_t *entry)
{
    return json_string_value(json_object_get(entry, "file"));
}

static lks_image read_fixture(const char *name)
{
    lks_error err = {0};
    lks_image image = {0};
    bool damaged = true;
    const lks_decode_options options = {.exact = true};
    if (lks_image_read(&image, &damaged, fixture_path(name), &options, &err) != LKS_OK)
        fail_msg("%s", err.message);
    assert_false(damaged);
    return image;
}

static size_t n_bytes_of(const lks_image *image)
{
    return (size_t)image->width * (size_t)image->height * 3;
}

#ifdef LKS_PORTABLE
static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), n_suffix = strlen(suffix);
    return n >= n_suffix && strcmp(name + n - n_suffix, suffix) == 0;
}
#endif

/* What the portable build does otherwise: no WebP, no orientation, 16-bit grey reduced instead of clipped. */
static bool left_out_here(const char *name)
{
#ifdef LKS_PORTABLE
    return has_suffix(name, ".webp") || strncmp(name, "orientation_", 12) == 0 || strcmp(name, "grey_16bit.png") == 0;
#else
    (void)name;
    return false;
#endif
}

static bool close_suffices_here(const char *name)
{
#ifdef LKS_PORTABLE
    return has_suffix(name, ".jpg") || strcmp(name, "wrong_extension.png") == 0;
#else
    (void)name;
    return false;
#endif
}

static void compare_means(const json_t *entry, const lks_image *image)
{
    double sum[3] = {0};
    for (size_t i = 0; i < n_bytes_of(image); i++)
        sum[i % 3] += image->rgb[i];
    for (size_t c = 0; c < 3; c++) {
        double mean = sum[c] / ((double)n_bytes_of(image) / 3.0);
        double expected = json_number_value(json_array_get(json_object_get(entry, "mean"), c));
        if (!(fabs(mean - expected) <= 1.0))
            fail_msg("%s: channel %zu has mean %f, Pillow's is %f", file_of(entry), c, mean, expected);
    }
}

static void test_decode(void **state)
{
    (void)state;
    json_t *root = fixture_expectations(), *entry;
    size_t i, n_compared = 0, n_left_out = 0;
    json_array_foreach(json_object_get(root, "decode"), i, entry)
    {
        const char *name = file_of(entry);
        if (left_out_here(name)) {
            n_left_out++;
            continue;
        }
        lks_image image = read_fixture(name);
        if (image.width != integer(entry, "width") || image.height != integer(entry, "height"))
            fail_msg("%s: %d x %d", name, image.width, image.height);
        if (close_suffices_here(name))
            compare_means(entry, &image);
        else if (fixture_hash(image.rgb, n_bytes_of(&image)) != fixture_expected_hash(entry))
            fail_msg("%s: pixels differ from Pillow's", name);
        lks_image_release(&image);
        n_compared++;
    }
    if (n_left_out)
        print_message("Skipped %zu files that a portable build decodes otherwise\n", n_left_out);
    assert_true(n_compared + n_left_out >= 60);
    json_decref(root);
}

static void test_orientations_agree(void **state)
{
    (void)state;
#ifdef LKS_PORTABLE
    print_message("Skipped: a portable build has no EXIF reader\n");
    skip();
#else
    lks_image first = read_fixture("orientation_1.jpg");
    for (int orientation = 2; orientation <= 8; orientation++) {
        char name[32];
        snprintf(name, sizeof name, "orientation_%d.jpg", orientation);
        lks_image image = read_fixture(name);
        assert_int_equal(image.width, first.width);
        assert_int_equal(image.height, first.height);
        double difference = 0.0;
        for (size_t i = 0; i < n_bytes_of(&first); i++)
            difference += abs(image.rgb[i] - first.rgb[i]);
        if (!(difference / (double)n_bytes_of(&first) <
              3.0)) /* JPEG blocks lie otherwise; a wrong turn gives 40 and more */
            fail_msg("%s is not upright", name);
        lks_image_release(&image);

        lks_error err;
        const lks_decode_options as_stored = {.exact = true, .ignore_orientation = true};
        assert_int_equal(lks_image_read(&image, NULL, fixture_path(name), &as_stored, &err), LKS_OK);
        assert_int_equal(image.width, orientation >= 5 ? first.height : first.width);
        lks_image_release(&image);
    }
    lks_image_release(&first);
#endif
}

static void test_resize(void **state)
{
    (void)state;
    lks_error err;
    lks_threads *threads = NULL;
    assert_int_equal(lks_threads_open(&threads, 3, &err), LKS_OK);
    json_t *root = fixture_expectations(), *entry;
    size_t i, n_compared = 0, n_tables = 0;
    for (int isa = 0; isa < LKS_ISA_COUNT; isa++)
        n_tables += lks_ops_get((lks_isa)isa) != NULL;
    json_array_foreach(json_object_get(root, "resize"), i, entry)
    {
        lks_image image = read_fixture(file_of(entry));
        const int width = integer(entry, "width"), height = integer(entry, "height"), filter = integer(entry, "filter");
        for (int which = 0; which < 2 * LKS_ISA_COUNT; which++) {
            const lks_compute compute = {.ops = lks_ops_get((lks_isa)(which / 2)),
                                         .threads = which % 2 ? threads : NULL};
            if (!compute.ops)
                continue;
            lks_image resized = {0};
            if (lks_image_resize(&resized, &image, width, height, (lks_filter)filter, &compute, &err) != LKS_OK)
                fail_msg("%s", err.message);
            assert_int_equal(resized.width, width);
            assert_int_equal(resized.height, height);
            if (fixture_hash(resized.rgb, n_bytes_of(&resized)) != fixture_expected_hash(entry))
                fail_msg("%s to %d x %d by filter %d differs from Pillow's (%s)", file_of(entry), width, height, filter,
                         compute.ops->name);
            lks_image_release(&resized);
            n_compared++;
        }
        lks_image_release(&image);
    }
    assert_int_equal(n_compared, 2 * n_tables * 4 * 11 * 6);
    lks_threads_close(threads);
    json_decref(root);
}

static void test_preprocess(void **state)
{
    (void)state;
    json_t *root = fixture_expectations(), *entry;
    size_t i, n_compared = 0;
    json_array_foreach(json_object_get(root, "preprocess"), i, entry)
    {
        lks_error err;
        lks_preprocess preprocess;
        char *config = json_dumps(json_object_get(entry, "config"), JSON_REAL_PRECISION(17));
        if (lks_preprocess_parse(&preprocess, config, strlen(config), "config", &err) != LKS_OK)
            fail_msg("%s: %s", config, err.message);
        lks_image image = read_fixture(file_of(entry));
        int width, height;
        assert_int_equal(lks_preprocess_size(&preprocess, &width, &height, image.width, image.height, &err), LKS_OK);
        assert_int_equal(width, integer(entry, "width"));
        assert_int_equal(height, integer(entry, "height"));
        const size_t n = (size_t)width * (size_t)height * 3;
        const lks_compute compute = {.ops = lks_ops_get(LKS_ISA_AUTO)};
        float *pixels = calloc(n, sizeof *pixels);
        assert_non_null(pixels);
        if (lks_preprocess_run(&preprocess, pixels, &image, &compute, &err) != LKS_OK)
            fail_msg("%s: %s", config, err.message);
        size_t s;
        json_t *sample;
        json_array_foreach(json_object_get(entry, "samples"), s, sample)
        {
            size_t at = (size_t)json_integer_value(json_array_get(sample, 0));
            double expected = json_number_value(json_array_get(sample, 1));
            assert_true(at < n);
            if (!(fabs((double)pixels[at] - expected) <= 1e-6 * fmax(1.0, fabs(expected))))
                fail_msg("%s on %s: value %zu is %.9g, expected %.9g", config, file_of(entry), at, (double)pixels[at],
                         expected);
        }
        if (fixture_hash(pixels, n * sizeof *pixels) != fixture_expected_hash(entry))
            fail_msg("%s on %s: some value differs from transformers'", config, file_of(entry));
        n_compared++;
        free(pixels);
        free(config);
        lks_image_release(&image);
    }
    assert_int_equal(n_compared, 40);
    json_decref(root);
}

/* Writes, for each line "WIDTH HEIGHT FILTER PATH" of a file, the photo's size as text and the pixels of the photo and of the photo
 * resized. For explore.py. */
static int answer(const char *list)
{
    char line[4096];
    FILE *lines = fopen(list, "r");
    assert_non_null(lines);
    while (fgets(line, sizeof line, lines)) {
        lks_error err;
        lks_image image = {0}, resized = {0};
        const lks_decode_options exact = {.exact = true};
        const lks_compute compute = {.ops = lks_ops_get(LKS_ISA_AUTO)};
        char *at = line;
        int width = (int)strtol(at, &at, 10), height = (int)strtol(at, &at, 10), filter = (int)strtol(at, &at, 10);
        at[strcspn(at, "\n")] = '\0';
        if (lks_image_read(&image, NULL, at + 1, &exact, &err) != LKS_OK ||
            lks_image_resize(&resized, &image, width, height, (lks_filter)filter, &compute, &err) != LKS_OK)
            fail_msg("%s", err.message);
        printf("%d %d\n", image.width, image.height);
        fwrite(image.rgb, 1, n_bytes_of(&image), stdout);
        fwrite(resized.rgb, 1, n_bytes_of(&resized), stdout);
        lks_image_release(&image);
        lks_image_release(&resized);
    }
    fclose(lines);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return answer(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_orientations_agree),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_preprocess),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
