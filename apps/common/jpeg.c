/* Pixels as a JPEG file, by libjpeg-turbo: see jpeg.h. */
#include "apps/common/jpeg.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h>

/* The library's own handlers would print, and end the process. */
typedef struct handler {
    struct jpeg_error_mgr base;
    jmp_buf failed;
} handler;

static void fail(j_common_ptr info)
{
    longjmp(((handler *)(void *)info->err)->failed, 1);
}

static void ignore(j_common_ptr info)
{
    (void)info;
}

unsigned char *jpeg_encode(size_t *n, const uint8_t *pixels, int width, int height, int n_channels, int quality)
{
    struct jpeg_compress_struct info = {0};
    handler errors;
    unsigned char *volatile bytes = NULL;
    unsigned char *made = NULL;
    unsigned long n_made = 0;
    info.err = jpeg_std_error(&errors.base);
    errors.base.error_exit = fail;
    errors.base.output_message = ignore;
    if (setjmp(errors.failed) == 0) {
        jpeg_create_compress(&info);
        jpeg_mem_dest(&info, &made, &n_made);
        info.image_width = (JDIMENSION)width;
        info.image_height = (JDIMENSION)height;
        info.input_components = n_channels;
        info.in_color_space = n_channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
        jpeg_set_defaults(&info);
        jpeg_set_quality(&info, quality, TRUE);
        info.optimize_coding = TRUE;
        jpeg_start_compress(&info, TRUE);
        while (info.next_scanline < info.image_height) {
            JSAMPROW row =
                (JSAMPROW)(uintptr_t)(pixels + (size_t)info.next_scanline * (size_t)width * (size_t)n_channels);
            jpeg_write_scanlines(&info, &row, 1);
        }
        jpeg_finish_compress(&info);
        bytes = made;
        *n = n_made;
    }
    jpeg_destroy_compress(&info);
    return bytes;
}
