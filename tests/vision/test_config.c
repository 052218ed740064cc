/* preprocessor_config.json: class names, defaults, ways to write a size, and what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/preprocess.h"

static const lks_compute *compute_alone(void)
{
    static lks_compute compute;
    compute.ops = lks_ops_get(LKS_ISA_AUTO);
    return &compute;
}

static lks_preprocess parse(const char *json)
{
    lks_error err = {0};
    lks_preprocess p;
    if (lks_preprocess_parse(&p, json, strlen(json), "m/preprocessor_config.json", &err) != LKS_OK)
        fail_msg("%s: %s", json, err.message);
    return p;
}

/* The size of the tensor for an image of 40 x 60. */
static void expect_size(const char *json, int width, int height)
{
    lks_preprocess p = parse(json);
    lks_error err;
    int w, h;
    assert_int_equal(lks_preprocess_size(&p, &w, &h, 40, 60, &err), LKS_OK);
    if (w != width || h != height)
        fail_msg("%s: %d x %d", json, w, h);
}

static void test_class_names(void **state)
{
    (void)state;
    expect_size("{}", 224, 224);
    expect_size("{\"image_processor_type\": \"ViTImageProcessor\"}", 224, 224);
    expect_size("{\"feature_extractor_type\": \"ViTFeatureExtractor\", \"size\": 112}", 112, 112);
    expect_size("{\"image_processor_type\": \"BlipImageProcessorFast\"}", 384, 384);
    expect_size("{\"image_processor_type\": \"BlipImageProcessorPil\"}", 384, 384);
    expect_size(
        "{\"image_processor_type\": \"CLIPImageProcessor\", \"feature_extractor_type\": \"ViTFeatureExtractor\"}", 224,
        224);
    assert_int_equal(parse("{\"feature_extractor_type\": \"CLIPFeatureExtractor\", \"size\": 90}").shortest_edge, 90);
    assert_int_equal(parse("{\"feature_extractor_type\": \"DeiTFeatureExtractor\", \"size\": 90}").resize_width, 90);
    assert_true(parse("{\"image_processor_type\": \"BitImageProcessor\"}").resample == LKS_FILTER_BICUBIC);
    assert_true(parse("{\"image_processor_type\": \"ViTImageProcessor\"}").resample == LKS_FILTER_BILINEAR);
    /* the keys one level down, as in processor_config.json */
    expect_size("{\"processor_class\": \"BlipProcessor\", \"image_processor\": {\"image_processor_type\": "
                "\"BlipImageProcessor\", \"size\": {\"height\": 30, \"width\": 40}}}",
                40, 30);
}

static void test_values(void **state)
{
    (void)state;
    expect_size("{\"size\": [30, 40]}", 40, 30);
    expect_size("{\"size\": 30.0}", 30, 30);
    expect_size("{\"size\": {\"shortest_edge\": 30}, \"do_center_crop\": true, \"crop_size\": [7, 9]}", 9, 7);
    expect_size("{\"do_resize\": false, \"do_center_crop\": true, \"crop_size\": 9, \"size\": null}", 9, 9);
    lks_preprocess p =
        parse("{\"image_mean\": 0.25, \"image_std\": [1, 2, 3], \"rescale_factor\": 0.5, \"do_normalize\": false}");
    assert_true(p.mean[0] == 0.25f && p.mean[2] == 0.25f && p.std[1] == 2.0f);
    assert_true(p.rescale_factor == 0.5);
    assert_false(p.do_normalize);
    assert_false(parse("{\"do_rescale\": null, \"rescale_factor\": null}").do_rescale);
    assert_true(parse("{}").rescale_factor == 1.0 / 255.0);
    p = parse(
        "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": 30, \"longest_edge\": 50}}");
    assert_int_equal(p.shortest_edge, 30);
    assert_int_equal(p.longest_edge, 50);
}

/* Sizes that follow the image's. */
static void test_aspect(void **state)
{
    (void)state;
    expect_size("{\"size\": {\"shortest_edge\": 30}}", 30, 45);
    expect_size("{\"size\": {\"shortest_edge\": 31}}", 31, 46);
    expect_size("{\"size\": {\"shortest_edge\": 30, \"longest_edge\": 36}}", 24, 36);
    expect_size("{\"image_processor_type\": \"BitImageProcessor\", \"do_center_crop\": false}", 224, 336);
    const lks_preprocess p = parse("{\"size\": {\"shortest_edge\": 30, \"longest_edge\": 36}}");
    lks_error err = {0};
    int width = -7, height;
    assert_int_equal(lks_preprocess_size(&p, &width, &height, 4, 1000, &err), LKS_ERR_IMAGE);
    assert_non_null(strstr(err.message, "elongated"));
    assert_int_equal(width, -7);
    assert_false(lks_preprocess_is_fixed(&p));
    assert_true(
        lks_preprocess_is_fixed(&(lks_preprocess){.do_resize = true, .shortest_edge = 30, .do_center_crop = true}));
    assert_true(lks_preprocess_is_fixed(&(lks_preprocess){.do_resize = true, .resize_width = 30, .resize_height = 9}));
}

static void refuse(const char *json, lks_status status, const char *says)
{
    lks_error err = {0};
    lks_preprocess p = {.crop_width = -7};
    lks_status st = lks_preprocess_parse(&p, json, strlen(json), "m/config.json", &err);
    if (st != status)
        fail_msg("%s: status %d, %s", json, (int)st, err.message);
    assert_int_equal(p.crop_width, -7);
    assert_non_null(strstr(err.message, "m/config.json"));
    if (!strstr(err.message, says))
        fail_msg("%s: \"%s\" does not say \"%s\"", json, err.message, says);
}

static void test_refused(void **state)
{
    (void)state;
    refuse("", LKS_ERR_MODEL, "not JSON");
    refuse("{\"size\": 224", LKS_ERR_MODEL, "line 1");
    refuse("[1]", LKS_ERR_MODEL, "JSON object");
    refuse("{\"image_processor_type\": \"DonutImageProcessor\"}", LKS_ERR_UNSUPPORTED, "DonutImageProcessor");
    refuse("{\"image_processor_type\": \"ViT\"}", LKS_ERR_UNSUPPORTED, "ViT");
    refuse("{\"image_processor_type\": 5}", LKS_ERR_UNSUPPORTED, "image processor");
    refuse("{\"size\": 0}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": -5}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": 1e300}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": 2.5}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": null}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": [1, 2, 3]}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": {\"height\": 5}}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": {\"height\": 5, \"width\": \"5\"}}", LKS_ERR_MODEL, "\"size\"");
    refuse("{\"size\": {\"longest_edge\": 5}}", LKS_ERR_UNSUPPORTED, "\"size\"");
    refuse("{\"do_resize\": false}", LKS_ERR_UNSUPPORTED, "any size");
    refuse("{\"do_center_crop\": true}", LKS_ERR_MODEL, "\"crop_size\"");
    refuse("{\"do_center_crop\": true, \"crop_size\": null}", LKS_ERR_MODEL, "\"crop_size\"");
    refuse("{\"crop_size\": {\"height\": 100000, \"width\": 5}}", LKS_ERR_MODEL, "\"crop_size\"");
    refuse("{\"do_resize\": 2}", LKS_ERR_MODEL, "\"do_resize\"");
    refuse("{\"do_pad\": true}", LKS_ERR_UNSUPPORTED, "\"do_pad\"");
    refuse("{\"resample\": 6}", LKS_ERR_MODEL, "\"resample\"");
    refuse("{\"resample\": -1}", LKS_ERR_MODEL, "\"resample\"");
    refuse("{\"resample\": \"bicubic\"}", LKS_ERR_MODEL, "\"resample\"");
    refuse("{\"rescale_factor\": \"1\"}", LKS_ERR_MODEL, "\"rescale_factor\"");
    refuse("{\"image_std\": [1, 0, 1]}", LKS_ERR_MODEL, "\"image_std\"");
    refuse("{\"image_std\": null}", LKS_ERR_MODEL, "\"image_std\"");
    refuse("{\"image_mean\": [1, 1e60, 1]}", LKS_ERR_MODEL, "\"image_mean\"");
    refuse("{\"image_mean\": [1, 1]}", LKS_ERR_MODEL, "\"image_mean\"");
    refuse("{\"image_mean\": [1, 1, \"1\"]}", LKS_ERR_MODEL, "\"image_mean\"");
}

/* Very long and thin images: a value for every pixel, or an error, in bounded memory. */
static void test_elongated_images(void **state)
{
    (void)state;
    static const char json[] = "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": 64, \"crop_size\": 64}";
    const lks_preprocess p = parse(json);
    float *pixels = malloc(64 * 64 * 3 * sizeof *pixels);
    assert_non_null(pixels);
    static const int sizes[][2] = {{1, 1}, {1, 20000}, {20000, 1}, {3, 1000000}, {1000000, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        lks_image image = {.width = sizes[i][0], .height = sizes[i][1]};
        const size_t n = (size_t)image.width * (size_t)image.height * 3;
        image.rgb = malloc(n);
        assert_non_null(image.rgb);
        memset(image.rgb, 200, n);
        for (size_t k = 0; k < 64 * 64 * 3; k++)
            pixels[k] = NAN;
        lks_error err = {0};
        assert_int_equal(lks_preprocess_run(&p, pixels, &image, compute_alone(), &err), LKS_OK);
        const float expected = ((float)(200 * p.rescale_factor) - p.mean[0]) / p.std[0];
        for (size_t k = 0; k < 64 * 64 * 3; k += 3)
            if (!(fabsf(pixels[k] - expected) <= 1e-6f))
                fail_msg("%d x %d: value %zu is %g", image.width, image.height, k, (double)pixels[k]);
        lks_image_release(&image);
    }
    lks_preprocess large = p;
    large.shortest_edge = 8192;
    uint8_t rgb[3] = {0};
    lks_image impossible = {.width = 1, .height = 1000000, .rgb = rgb}; /* refused before a pixel is read */
    lks_error err = {0};
    assert_int_equal(lks_preprocess_run(&large, pixels, &impossible, compute_alone(), &err), LKS_ERR_IMAGE);
    assert_non_null(strstr(err.message, "elongated"));
    free(pixels);
}

static void test_resize_arguments(void **state)
{
    (void)state;
    uint8_t rgb[12] = {0};
    const lks_image image = {.width = 2, .height = 2, .rgb = rgb};
    lks_image out = {.width = -7};
    lks_error err = {0};
    assert_int_equal(lks_image_resize(&out, &image, 0, 5, LKS_FILTER_BOX, compute_alone(), &err), LKS_ERR_ARGUMENT);
    assert_int_equal(lks_image_resize(&out, &image, 5, -1, LKS_FILTER_BOX, compute_alone(), &err), LKS_ERR_ARGUMENT);
    assert_int_equal(lks_image_resize(&out, &image, 5, 5, (lks_filter)6, compute_alone(), &err), LKS_ERR_ARGUMENT);
    assert_int_equal(out.width, -7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_names),      cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_elongated_images),
        cmocka_unit_test(test_resize_arguments), cmocka_unit_test(test_aspect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
