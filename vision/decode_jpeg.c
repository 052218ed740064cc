/* JPEG by libjpeg-turbo, with the settings Pillow uses (accurate integer DCT, smooth chroma upsampling), so that pixels are
 * the same.
 *
 * Hostile files: the size is checked before memory is taken; a progressive file may have at most 100 scans, fewer when it is
 * large; the first warning that tells of missing or corrupt data stops a strict decode at once. Warnings that real cameras
 * cause (stray bytes between segments) are passed over, as everywhere. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "vision/decode.h"

#define MAX_SCANS 100
#define MIN_SCANS 20                 /* allowed at any size; encoders write about 10 */
#define MAX_SCAN_PIXELS 1000000000.0 /* scans x pixels beyond that: about two seconds */

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    bool lenient, damaged;
    char why[JMSG_LENGTH_MAX];
} reader;

static reader *reader_of(j_common_ptr jpeg)
{
    return jpeg->client_data;
}

static void stop_reading(j_common_ptr jpeg)
{
    reader *r = reader_of(jpeg);
    jpeg->err->format_message(jpeg, r->why);
    longjmp(r->escape, 1);
}

static void drop_message(j_common_ptr jpeg)
{
    (void)jpeg;
}

/* level -1 is a warning; others are traces. */
static void hear_message(j_common_ptr jpeg, int level)
{
    if (level >= 0)
        return;
    switch (jpeg->err->msg_code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_NOT_SEQUENTIAL:
    case JWRN_BOGUS_PROGRESSION:
        jpeg->err->num_warnings++;
        if (!reader_of(jpeg)->lenient)
            stop_reading(jpeg);
        reader_of(jpeg)->damaged = true;
        break;
    default:
        break;
    }
}

static void watch_progress(j_common_ptr jpeg)
{
    reader *r = reader_of(jpeg);
    int n_scans = r->jpeg.input_scan_number;
    double pixels = (double)r->jpeg.image_width * (double)r->jpeg.image_height;
    if (n_scans > MAX_SCANS || (n_scans > MIN_SCANS && n_scans * pixels > MAX_SCAN_PIXELS)) {
        snprintf(r->why, sizeof r->why, "more than %d progressive scans", n_scans - 1);
        r->lenient = false;
        longjmp(r->escape, 1);
    }
}

/* The denominator of scaled decoding: 1 unless the photo is large and both sides are at least 4 times the target, then the
 * largest of 2, 4, 8 that leaves at least twice the target. */
static unsigned choose_scale(const lks_decode_job *job, int64_t width, int64_t height)
{
    int64_t target_width = job->options.target_width, target_height = job->options.target_height;
    if (job->orientation >= 5 && !job->options.ignore_orientation) {
        int64_t swap = target_width;
        target_width = target_height;
        target_height = swap;
    }
    if (job->options.exact || width * height < LKS_IMAGE_SCALED_MIN_PIXELS || target_width < 1 || target_height < 1 ||
        width < 4 * target_width || height < 4 * target_height)
        return 1;
    unsigned scale = 2;
    while (scale < 8 && width >= 4 * scale * target_width && height >= 4 * scale * target_height)
        scale *= 2;
    /* A side that is rounded up would have another aspect, and with it another number of image tokens in some models. */
    while (scale > 1 && (width % scale != 0 || height % scale != 0))
        scale /= 2;
    return scale;
}

/* Adobe writes CMYK inverted, and every CMYK JPEG is read so: c, m, y, k here are 255 - ink. Red = k (1 - cyan ink), rounded
 * as Pillow rounds it. */
static void row_from_cmyk(uint8_t *rgb, const uint8_t *cmyk, int width)
{
    for (int x = 0; x < width; x++) {
        int k = cmyk[4 * x + 3];
        for (int c = 0; c < 3; c++) {
            int product = (255 - cmyk[4 * x + c]) * k + 128;
            int value = k - (((product >> 8) + product) >> 8);
            rgb[3 * x + c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

static void row_from_grey(uint8_t *rgb, const uint8_t *grey, int width)
{
    for (int x = 0; x < width; x++)
        rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = grey[x];
}

static void read_orientation(lks_decode_job *job, const reader *r)
{
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/"; /* and its zero byte */
    int of_exif = 0, of_xmp = 1;
    for (jpeg_saved_marker_ptr m = r->jpeg.marker_list; m; m = m->next) {
        if (m->marker != JPEG_APP0 + 1)
            continue;
        if (of_exif == 0 && m->data_length > 8 && memcmp(m->data, "Exif\0", 6) == 0)
            of_exif = lks_exif_orientation(m->data, m->data_length);
        else if (m->data_length > sizeof xmp && memcmp(m->data, xmp, sizeof xmp) == 0)
            of_xmp = lks_xmp_orientation(m->data + sizeof xmp, m->data_length - sizeof xmp);
    }
    job->orientation = of_exif ? of_exif : of_xmp;
}

/* Header: size check, orientation, scale and output colour space. */
static lks_status start(lks_image *out, lks_decode_job *job, reader *r, lks_error *err)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    jpeg_mem_src(jpeg, job->bytes, (unsigned long)job->n_bytes);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(jpeg, TRUE);
    lks_status st = lks_decode_check_size(job, jpeg->image_width, jpeg->image_height, "JPEG", err);
    if (st != LKS_OK)
        return st;
    read_orientation(job, r);
    switch (jpeg->num_components) {
    case 1:
        jpeg->out_color_space = JCS_GRAYSCALE;
        break;
    case 3:
        jpeg->out_color_space = JCS_RGB;
        break;
    case 4:
        jpeg->out_color_space = JCS_CMYK;
        break;
    default:
        return lks_error_set(err, LKS_ERR_UNSUPPORTED, "%s: a JPEG of %d colour components is not supported", job->name,
                             jpeg->num_components);
    }
    jpeg->scale_num = 1;
    jpeg->scale_denom = choose_scale(job, jpeg->image_width, jpeg->image_height);
    jpeg_calc_output_dimensions(jpeg);
    return lks_decode_allocate(out, job, (int)jpeg->output_width, (int)jpeg->output_height, err);
}

static void read_rows(const lks_image *out, reader *r)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    jpeg_start_decompress(jpeg);
    const size_t stride = (size_t)out->width * 3;
    JSAMPARRAY scratch = NULL;
    if (jpeg->output_components != 3)
        scratch = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE,
                                          jpeg->output_width * (JDIMENSION)jpeg->output_components, 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *row = out->rgb + stride * jpeg->output_scanline;
        JSAMPROW target = scratch ? scratch[0] : row;
        if (jpeg_read_scanlines(jpeg, &target, 1) != 1)
            ERREXIT(jpeg, JERR_CANT_SUSPEND);
        if (jpeg->output_components == 1)
            row_from_grey(row, target, out->width);
        else if (jpeg->output_components == 4)
            row_from_cmyk(row, target, out->width);
    }
    jpeg_finish_decompress(jpeg);
}

lks_status lks_decode_jpeg(lks_image *out, lks_decode_job *job, lks_error *err)
{
    reader r = {.lenient = job->options.lenient};
    r.jpeg.err = jpeg_std_error(&r.errors);
    r.errors.error_exit = stop_reading;
    r.errors.emit_message = hear_message;
    r.errors.output_message = drop_message;
    r.jpeg.client_data = &r;

    if (setjmp(r.escape)) {
        bool some_rows = out->rgb && r.jpeg.output_scanline > 0;
        bool no_memory = r.errors.msg_code == JERR_OUT_OF_MEMORY;
        jpeg_destroy_decompress(&r.jpeg);
        bool other_kind = r.errors.msg_code == JERR_BAD_PRECISION || r.errors.msg_code == JERR_SOF_UNSUPPORTED;
        if (no_memory)
            return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory decoding a JPEG", job->name);
        if (other_kind && !out->rgb)
            return lks_error_set(err, LKS_ERR_UNSUPPORTED,
                                 "%s: a kind of JPEG that is not read (%s); convert it to PNG", job->name, r.why);
        if (!r.lenient || !some_rows)
            return lks_decode_damaged(job, "JPEG", r.why, err);
        job->damaged = true;
        return LKS_OK;
    }
    jpeg_create_decompress(&r.jpeg);
    r.jpeg.client_data = &r;
    r.progress.progress_monitor = watch_progress;
    r.jpeg.progress = &r.progress;
    lks_status st = start(out, job, &r, err);
    if (st == LKS_OK) {
        read_rows(out, &r);
        job->damaged = r.damaged;
    }
    jpeg_destroy_decompress(&r.jpeg);
    return st;
}
