/* Images that are damaged or made to harm: each is refused with a message, soon and in little memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>
#ifndef LKS_PORTABLE
#include <jpeglib.h>
#endif

#include "tests/vision/fixtures.h"
#include "vision/decode.h"
#include "vision/image.h"

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static long peak_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* Small files, one or more of each format. The last `tail` bytes may be missing without loss: a PNG's check sum of nothing,
 * what follows a GIF's first frame, a TGA file's footer. */
static const struct sample {
    const char *name;
    size_t tail;
} samples[] = {
    {"small.jpg", 0},        {"small_progressive.jpg", 0},
    {"small.png", 4},        {"interlaced.png", 4},
    {"palette_1bit.png", 4},
#ifndef LKS_PORTABLE
    {"small.webp", 0},       {"animated.webp", 0},
#endif
    {"mode_1.bmp", 0},       {"mode_P.bmp", 0},
    {"small.gif", 2},        {"interlaced.gif", 2},
    {"grey.pgm", 0},         {"text_15.ppm", 2},
    {"small.tga", 26},       {"mode_RGBA_rle.tga", 26},
};
#ifdef LKS_PORTABLE
enum { PORTABLE = 1 };
#else
enum { PORTABLE = 0 };
#endif
#define N_SAMPLES (sizeof samples / sizeof *samples)

/* Decodes a copy of exactly n bytes, so that a sanitizer sees any read beyond. */
static lks_status decode(bool *damaged, const uint8_t *bytes, size_t n, bool lenient, lks_error *err)
{
    uint8_t *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    const lks_decode_options options = {.lenient = lenient, .max_pixels = 1000000};
    lks_image image = {.width = -7};
    *err = (lks_error){0};
    lks_status st = lks_image_decode(&image, damaged, copy, n, "a.img", &options, err);
    free(copy);
    if (st == LKS_OK) {
        assert_true(image.width > 0 && image.height > 0 && image.rgb);
        volatile uint8_t last = image.rgb[(size_t)image.width * (size_t)image.height * 3 - 1];
        (void)last;
        lks_image_release(&image);
    } else {
        assert_int_equal(image.width, -7); /* outputs are untouched on failure */
        assert_non_null(strstr(err->message, "a.img: "));
        assert_int_equal(err->status, st);
    }
    return st;
}

static void test_empty(void **state)
{
    (void)state;
    lks_error err;
    bool damaged;
    assert_int_equal(decode(&damaged, (const uint8_t *)"", 0, false, &err), LKS_ERR_IMAGE);
    assert_non_null(strstr(err.message, "empty"));
    for (size_t n = 1; n < 32; n++) {
        uint8_t zeros[32] = {0};
        assert_int_equal(decode(&damaged, zeros, n, true, &err), LKS_ERR_IMAGE);
    }
}

/* stb_image, which decodes these in a portable build, gives them up when they end early. */
static bool is_jpeg_or_png(const char *name)
{
    return strstr(name, ".jpg") || strstr(name, ".png");
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SAMPLES; s++) {
        size_t size;
        uint8_t *bytes = fixture_bytes(samples[s].name, &size);
        size_t n_lenient = 0;
        for (size_t n = 0; n < size; n++) {
            lks_error err;
            bool damaged = false;
            lks_status st = decode(&damaged, bytes, n, false, &err);
            if (st == LKS_OK && n < size - samples[s].tail)
                fail_msg("%s: %zu of %zu bytes pass for the whole", samples[s].name, n, size);
            assert_false(damaged);
            damaged = false;
            st = decode(&damaged, bytes, n, true, &err);
            if (st == LKS_OK && n < size - samples[s].tail && !damaged)
                fail_msg("%s: %zu of %zu bytes are not called damaged", samples[s].name, n, size);
            assert_int_not_equal(st, LKS_ERR_DAMAGED); /* nothing is left to try */
            n_lenient += st == LKS_OK;
        }
        if (n_lenient < size / 8 && !(PORTABLE && is_jpeg_or_png(samples[s].name)))
            fail_msg("%s: a lenient read saved only %zu of %zu truncations", samples[s].name, n_lenient, size);
        free(bytes);
    }
}

static void test_bit_flips(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (size_t s = 0; s < N_SAMPLES; s++) {
        size_t size, n_refused = 0;
        uint8_t *bytes = fixture_bytes(samples[s].name, &size);
        for (size_t at = 0; at < size; at++) {
            lks_error err;
            bool damaged;
            random = random * 1664525u + 1013904223u;
            const uint8_t flip = (uint8_t)(1u << (random >> 29));
            bytes[at] ^= flip;
            n_refused += decode(&damaged, bytes, size, at & 1, &err) != LKS_OK;
            bytes[at] ^= flip;
        }
        assert_true(n_refused > 0);
        free(bytes);
    }
}

/* PNG: a changed byte of a critical chunk fails its check sum. */
static void test_png_check_sums(void **state)
{
    (void)state;
#ifdef LKS_PORTABLE
    print_message("Skipped: stb_image does not check sums\n");
    skip();
#else
    size_t size;
    uint8_t *bytes = fixture_bytes("small.png", &size);
    for (size_t at = 8; at < size - 12; at++) {
        lks_error err;
        bool damaged;
        bytes[at] ^= 0x10;
        if (decode(&damaged, bytes, size, false, &err) == LKS_OK)
            fail_msg("a change of byte %zu of %zu goes unnoticed", at, size);
        bytes[at] ^= 0x10;
    }
    free(bytes);
#endif
}

static void put_u16be(uint8_t *p, unsigned value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static uint32_t crc_of(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return ~crc;
}

/* 148 bytes: a header of width x height, one quantisation table, shortest Huffman tables, no pixels. */
static size_t make_jpeg_bomb(uint8_t *out, unsigned width, unsigned height)
{
    size_t n = 0;
    out[n++] = 0xFF, out[n++] = 0xD8;
    static const uint8_t quantisation[] = {0xFF, 0xDB, 0, 67, 0};
    memcpy(out + n, quantisation, sizeof quantisation);
    n += sizeof quantisation;
    memset(out + n, 1, 64);
    n += 64;
    uint8_t frame[] = {0xFF, 0xC0, 0, 11, 8, 0, 0, 0, 0, 1, 1, 0x11, 0};
    put_u16be(frame + 5, height);
    put_u16be(frame + 7, width);
    memcpy(out + n, frame, sizeof frame);
    n += sizeof frame;
    for (int table = 0; table < 2; table++) {
        uint8_t huffman[22] = {0xFF, 0xC4, 0, 20, (uint8_t)(table << 4), 1};
        memcpy(out + n, huffman, sizeof huffman);
        n += sizeof huffman;
    }
    static const uint8_t scan[] = {0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0};
    memcpy(out + n, scan, sizeof scan);
    n += sizeof scan;
    memset(out + n, 0, 8);
    n += 8;
    out[n++] = 0xFF, out[n++] = 0xD9;
    return n;
}

static size_t make_png_bomb(uint8_t *out, uint32_t width, uint32_t height)
{
    static const uint8_t start[] = "\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR";
    memcpy(out, start, 16);
    for (int i = 0; i < 4; i++) {
        out[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        out[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    static const uint8_t kind[] = {8, 6, 0, 0, 0};
    memcpy(out + 24, kind, sizeof kind);
    uint32_t crc = crc_of(out + 12, 17);
    for (int i = 0; i < 4; i++)
        out[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    static const uint8_t data[] = "\0\0\0\x0AIDAT\x78\x9C\x63\0\0\0\x01\0\x01\xD2\0\0\0\0";
    memcpy(out + 33, data, 22);
    return 55;
}

/* Sizes beyond the limit, in the header of each format. */
static void test_header_bombs(void **state)
{
    (void)state;
    uint8_t bombs[12][160] = {0};
    size_t n[12], k = 0;
    n[k] = make_jpeg_bomb(bombs[k], 26000, 26000), k++;
    assert_int_equal(n[0], 148);
    n[k] = make_jpeg_bomb(bombs[k], 65500, 65500), k++;
    n[k] = make_png_bomb(bombs[k], 65535, 65535), k++;
    n[k] = make_png_bomb(bombs[k], 0x7FFFFFFF, 0x7FFFFFFF), k++;
    n[k] = make_png_bomb(bombs[k], 49000000, 1), k++; /* few pixels, but a side like no photo's */
    memcpy(bombs[k], "GIF89a\xFF\xFF\xFF\xFF\x80\0\0\0\0\0\xFF\xFF\xFF,\0\0\0\0\xFF\xFF\xFF\xFF\0\x02\x02\x44\x01\0",
           34);
    n[k++] = 34;
    memcpy(bombs[k], "BM\x36\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\0\0\x01\0\0\0\x01\0\x01\0\x18\0", 30);
    n[k++] = 80;
    memcpy(bombs[k], "P6 2147483647 2147483647 255\n", 29);
    n[k++] = 29;
    memcpy(bombs[k], "P4\n50001 1000\n", 14);
    n[k++] = 14;
    memcpy(bombs[k], "\0\0\x02\0\0\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\x18\0", 18);
    n[k++] = 60;
#ifndef LKS_PORTABLE
    memcpy(bombs[k],
           "RIFF\x26\0\0\0WEBPVP8X\x0A\0\0\0\0\0\0\0\xFF\x3F\0\xFF\x3F\0VP8L\x08\0\0\0\x2F\xFF\xFF\xFF\x0F\0\0\0\0",
           46);
    n[k++] = 46;
#endif
    for (size_t i = 0; i < k; i++) {
        for (int lenient = 0; lenient < 2; lenient++) {
            const lks_decode_options options = {.lenient = lenient};
            lks_error err = {0};
            lks_image image;
            const long before_kib = peak_kib();
            const double before = cpu_seconds();
            lks_status st = lks_image_decode(&image, NULL, bombs[i], n[i], "bomb", &options, &err);
            const double took = cpu_seconds() - before;
            if (st != LKS_ERR_IMAGE || !strstr(err.message, "limit of 50 megapixels"))
                fail_msg("bomb %zu: status %d, %s", i, (int)st, err.message);
            if (!(took < 0.010))
                fail_msg("bomb %zu took %.1f ms", i, took * 1e3);
            if (peak_kib() - before_kib > 4096)
                fail_msg("bomb %zu took %ld KiB", i, peak_kib() - before_kib);
        }
    }
}

/* Below the limit, but with no pixels behind the header: an error as soon as the data end. */
static void test_missing_pixels(void **state)
{
    (void)state;
    if (PORTABLE) {
        print_message("Skipped: stb_image takes a scan that is too short for zeros\n");
        skip();
        return;
    }
    uint8_t bytes[160];
    size_t n = make_jpeg_bomb(bytes, 7000, 7000);
    lks_error err = {0};
    lks_image image;
    const double before = cpu_seconds();
    assert_int_equal(lks_image_decode(&image, NULL, bytes, n, "hollow", NULL, &err), LKS_ERR_DAMAGED);
    assert_true(cpu_seconds() - before < 0.5);
    assert_non_null(strstr(err.message, "truncated or damaged"));
}

/* A progressive JPEG whose first scan stands there 3,000 times. */
static void test_progressive_bomb(void **state)
{
    (void)state;
    size_t size;
    uint8_t *file = fixture_bytes("photo_progressive.jpg", &size);
    size_t scan = 2, end;
    while (file[scan + 1] != 0xDA)
        scan += 2 + (size_t)(file[scan + 2] << 8 | file[scan + 3]);
    for (end = scan + 2; !(file[end] == 0xFF && file[end + 1] != 0 && (file[end + 1] < 0xD0 || file[end + 1] > 0xD7));
         end++)
        assert_true(end + 2 < size);
    const size_t n_scan = end - scan, n_times = 3000;
    uint8_t *bomb = malloc(scan + n_scan * n_times + 2);
    assert_non_null(bomb);
    memcpy(bomb, file, scan);
    size_t n = scan;
    for (size_t i = 0; i < n_times; i++, n += n_scan)
        memcpy(bomb + n, file + scan, n_scan);
    bomb[n++] = 0xFF, bomb[n++] = 0xD9;

    for (int lenient = 0; lenient < 2; lenient++) {
        const lks_decode_options options = {.lenient = lenient};
        lks_error err = {0};
        lks_image image;
        const double before = cpu_seconds();
        lks_status st = lks_image_decode(&image, NULL, bomb, n, "scans", &options, &err);
#ifdef LKS_PORTABLE
        if (st == LKS_OK)
            lks_image_release(&image);
#else
        assert_int_equal(st, lenient ? LKS_ERR_IMAGE : LKS_ERR_DAMAGED);
        if (lenient)
            assert_non_null(strstr(err.message, "more than 100 progressive scans"));
#endif
        if (!(cpu_seconds() - before < 2.0))
            fail_msg("%zu scans took %.1f s", n_times, cpu_seconds() - before);
    }
    free(bomb);
    free(file);
}

static void test_known_but_unsupported(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } foreign[] = {
        {"\0\0\0\x18"
         "ftypheic\0\0\0\0",
         16, "HEIC"},
        {"\0\0\0\x18"
         "ftypavif\0\0\0\0",
         16, "AVIF"},
        {"II*\0\x08\0\0\0", 8, "TIFF"},
        {"%PDF-1.7", 8, "PDF"},
        {"\0\0\0\x0CJXL \r\n\x87\n", 12, "JPEG XL"},
        {"\0\0\0\x18"
         "ftypisom\0\0\0\0",
         16, "video"},
    };
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        lks_error err;
        bool damaged;
        assert_int_equal(decode(&damaged, (const uint8_t *)foreign[i].bytes, foreign[i].n, false, &err),
                         LKS_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, foreign[i].says));
        assert_non_null(strstr(err.message, "convert it to JPEG or PNG"));
    }
    lks_error err;
    bool damaged;
    assert_int_equal(decode(&damaged, (const uint8_t *)"hello, world, this is text", 26, false, &err), LKS_ERR_IMAGE);
    assert_non_null(strstr(err.message, "known format"));
}

#ifndef LKS_PORTABLE
/* A grey JPEG of side x side pixels, malloc'ed. */
static unsigned char *make_grey_jpeg(unsigned long *n_bytes, JDIMENSION side)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *bytes = NULL;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, n_bytes);
    jpeg.image_width = jpeg.image_height = side;
    jpeg.input_components = 1;
    jpeg.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    JSAMPROW row = calloc(side, 1);
    assert_non_null(row);
    while (jpeg.next_scanline < side)
        jpeg_write_scanlines(&jpeg, &row, 1);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    return bytes;
}
#endif

/* A BMP of 4 x 2 pixels with two entries in its palette; rows from the top where height is negative. */
static size_t make_bmp(uint8_t *out, int32_t height, uint8_t compression)
{
    enum { HEADERS = 54, PALETTE = 8, ROWS = 8, PIXELS_AT = HEADERS + PALETTE };
    static const uint8_t palette[PALETTE] = {0, 0, 255, 0, 255, 0, 0, 0}; /* red, blue */
    static const uint8_t rows[ROWS] = {0, 1, 0, 1, 1, 1, 200, 0};         /* entry 200 is none */
    memset(out, 0, PIXELS_AT + ROWS);
    memcpy(out, "BM", 2);
    out[2] = PIXELS_AT + ROWS;
    out[10] = PIXELS_AT;
    out[14] = 40;
    out[18] = 4;
    memcpy(out + 22, &height, sizeof height);
    out[26] = 1;
    out[28] = 8;
    out[30] = compression;
    memcpy(out + HEADERS, palette, sizeof palette);
    memcpy(out + PIXELS_AT, rows, sizeof rows);
    return PIXELS_AT + ROWS;
}

/* Rows from the top or the bottom; colours that the palette lacks are black, whatever was decoded before. */
static void test_kinds_of_bmp(void **state)
{
    (void)state;
    static const uint8_t red[] = {255, 0, 0}, blue[] = {0, 0, 255}, black[] = {0, 0, 0};
    uint8_t bytes[128];
    lks_error err;
    for (int turned = 0; turned < 2; turned++) {
        lks_image image;
        size_t n = make_bmp(bytes, turned ? -2 : 2, 0);
        assert_int_equal(lks_image_decode(&image, NULL, bytes, n, "a.bmp", NULL, &err), LKS_OK);
        assert_true(image.width == 4 && image.height == 2);
        const uint8_t *first = image.rgb + (turned ? 0 : 12), *second = image.rgb + (turned ? 12 : 0);
        assert_memory_equal(first, red, 3);
        assert_memory_equal(first + 3, blue, 3);
        assert_memory_equal(second, blue, 3);
        assert_memory_equal(second + 6, black, 3);
        lks_image_release(&image);
    }
    lks_image image;
    size_t n = make_bmp(bytes, 2, 1);
    assert_int_equal(lks_image_decode(&image, NULL, bytes, n, "a.bmp", NULL, &err), LKS_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "run-length"));
}

/* Rows of a TGA may go from the right to the left. */
static void test_mirrored_tga(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0, 0, 2, 0, 0,  0,    0, 0, 0,   0,   0, 0,
                                    2, 0, 1, 0, 24, 0x30, 0, 0, 255, 255, 0, 0}; /* red, blue */
    static const uint8_t expected[] = {0, 0, 255, 255, 0, 0};
    lks_error err;
    lks_image image;
    assert_int_equal(lks_image_decode(&image, NULL, bytes, sizeof bytes, "a.tga", NULL, &err), LKS_OK);
    assert_memory_equal(image.rgb, expected, sizeof expected);
    lks_image_release(&image);
}

/* XMP turns a photo whose EXIF does not say how it lies. */
static void test_orientation_of_xmp(void **state)
{
    (void)state;
#ifdef LKS_PORTABLE
    print_message("Skipped: a portable build reads no orientation\n");
    skip();
#else
    static const struct {
        const char *packet;
        int orientation;
    } cases[] = {
        {"<a tiff:Orientation=\"6\"/>", 6},
        {"<tiff:Orientation>8</tiff:Orientation>", 8},
        {"<a/>", 1},
        {"<a tiff:Orientation=\"9\"/>", 1},
        {"<a tiff:OrientationX tiff:Orientation=\"3\">", 3},
        {"tiff:Orientation=\"", 1},
        {"tiff:Orientation", 1},
        {"", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(lks_xmp_orientation((const uint8_t *)cases[i].packet, strlen(cases[i].packet)),
                         cases[i].orientation);

    static const char segment[] = "\xFF\xE1\0\x38"
                                  "http://ns.adobe.com/xap/1.0/\0<a tiff:Orientation=\"6\"/>";
    enum { LENGTH_BYTES = 0x38 + 2 };
    static uint8_t bytes[1 << 20];
    FILE *f = fopen("assets/photos/coffee.jpg", "r");
    assert_non_null(f);
    size_t n = fread(bytes, 1, 2, f); /* the start of the image */
    memcpy(bytes + n, segment, LENGTH_BYTES);
    n += LENGTH_BYTES;
    n += fread(bytes + n, 1, sizeof bytes - n, f);
    fclose(f);
    lks_error err;
    lks_image image;
    assert_int_equal(lks_image_decode(&image, NULL, bytes, n, "turned.jpg", NULL, &err), LKS_OK);
    assert_true(image.width == 400 && image.height == 600);
    lks_image_release(&image);
#endif
}

/* Scaled decoding happens only to large photos, when both sides are at least 4 times the target, and leaves at least twice
 * the target. */
static void test_scaled_decoding(void **state)
{
    (void)state;
#ifdef LKS_PORTABLE
    print_message("Skipped: a portable build decodes at full size only\n");
    skip();
#else
    static const struct {
        int side, target_width, target_height, decoded_side;
        bool exact;
    } cases[] = {
        {2000, 500, 500, 1000, false}, {2000, 501, 500, 2000, false}, {2000, 500, 501, 2000, false},
        {2000, 500, 500, 2000, true},  {2000, 250, 250, 500, false},  {2000, 251, 251, 1000, false},
        {2000, 120, 120, 250, false},  {2000, 1, 1, 250, false},      {2000, 0, 0, 2000, false},
        {2000, 1, 500, 1000, false},   {1999, 250, 250, 1999, false}, {1999, 1, 1, 1999, false},
        {2002, 1, 1, 1001, false},     {2001, 1, 1, 2001, false}, /* no side is rounded */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned long n_bytes = 0;
        unsigned char *bytes = make_grey_jpeg(&n_bytes, (JDIMENSION)cases[i].side);
        const lks_decode_options options = {
            .exact = cases[i].exact, .target_width = cases[i].target_width, .target_height = cases[i].target_height};
        lks_error err;
        lks_image image;
        assert_int_equal(lks_image_decode(&image, NULL, bytes, n_bytes, "grey.jpg", &options, &err), LKS_OK);
        assert_int_equal(image.width, cases[i].decoded_side);
        assert_int_equal(image.height, cases[i].decoded_side);
        lks_image_release(&image);
        free(bytes);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header_bombs), /* first: it watches the peak of memory */
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_png_check_sums),
        cmocka_unit_test(test_missing_pixels),
        cmocka_unit_test(test_progressive_bomb),
        cmocka_unit_test(test_known_but_unsupported),
        cmocka_unit_test(test_kinds_of_bmp),
        cmocka_unit_test(test_mirrored_tga),
        cmocka_unit_test(test_orientation_of_xmp),
        cmocka_unit_test(test_scaled_decoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
