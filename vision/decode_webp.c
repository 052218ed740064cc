/* WebP by libwebp: still images and the first frame of animations (on black where the frame leaves the canvas bare), alpha
 * dropped, EXIF orientation from its chunk. */
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "vision/decode.h"

static const char *explain(VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_BITSTREAM_ERROR:
        return "bitstream error";
    case VP8_STATUS_SUSPENDED:
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "data ends early";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "unsupported feature";
    default:
        return "invalid data";
    }
}

/* Decodes one frame's bitstream into the canvas at (x, y). */
static VP8StatusCode decode_frame(const lks_image *out, const uint8_t *bytes, size_t n_bytes, int x, int y, int width,
                                  int height)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return VP8_STATUS_INVALID_PARAM;
    const size_t stride = (size_t)out->width * 3;
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->rgb + (size_t)y * stride + (size_t)x * 3;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)(height - 1) + (size_t)width * 3;
    /* The incremental decoder writes each row as it comes, which is what a lenient decode keeps. */
    WebPIDecoder *decoder = WebPIDecode(NULL, 0, &config);
    if (!decoder)
        return VP8_STATUS_OUT_OF_MEMORY;
    VP8StatusCode code = WebPIUpdate(decoder, bytes, n_bytes);
    WebPIDelete(decoder);
    WebPFreeDecBuffer(&config.output);
    return code;
}

static lks_status decode_demuxed(lks_image *out, lks_decode_job *job, WebPDemuxer *demuxer, WebPDemuxState state,
                                 lks_error *err)
{
    int64_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH),
            height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    lks_status st = lks_decode_check_size(job, width, height, "WebP", err);
    if (st != LKS_OK)
        return st;
    if (!job->options.lenient && state != WEBP_DEMUX_DONE)
        return lks_decode_damaged(job, "WebP", "data ends early", err);
    WebPIterator frame;
    if (!WebPDemuxGetFrame(demuxer, 1, &frame))
        return lks_decode_damaged(job, "WebP", "no frame", err);
    if (frame.x_offset < 0 || frame.y_offset < 0 || frame.width < 1 || frame.height < 1 ||
        frame.x_offset > width - frame.width || frame.y_offset > height - frame.height)
        st = lks_decode_damaged(job, "WebP", "a frame outside the canvas", err);
    WebPBitstreamFeatures features;
    if (st == LKS_OK) {
        VP8StatusCode code = WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &features);
        if (code != VP8_STATUS_OK)
            st = lks_decode_damaged(job, "WebP", explain(code), err);
        else if (features.width != frame.width || features.height != frame.height)
            st = lks_decode_damaged(job, "WebP", "frame and bitstream differ in size", err);
    }
    if (st == LKS_OK)
        st = lks_decode_allocate(out, job, (int)width, (int)height, err);
    if (st == LKS_OK) {
        VP8StatusCode code = decode_frame(out, frame.fragment.bytes, frame.fragment.size, frame.x_offset,
                                          frame.y_offset, frame.width, frame.height);
        if (code == VP8_STATUS_OUT_OF_MEMORY)
            st = lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory decoding a WebP", job->name);
        else if (code != VP8_STATUS_OK && !job->options.lenient)
            st = lks_decode_damaged(job, "WebP", explain(code), err);
        job->damaged = code != VP8_STATUS_OK || state != WEBP_DEMUX_DONE;
    }
    WebPDemuxReleaseIterator(&frame);
    return st;
}

static void read_orientation(lks_decode_job *job, const WebPDemuxer *demuxer)
{
    WebPChunkIterator chunk;
    int orientation = 0;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        orientation = lks_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    if (orientation == 0 && WebPDemuxGetChunk(demuxer, "XMP ", 1, &chunk)) {
        orientation = lks_xmp_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    job->orientation = orientation;
}

lks_status lks_decode_webp(lks_image *out, lks_decode_job *job, lks_error *err)
{
    WebPDemuxState state;
    WebPData data = {.bytes = job->bytes, .size = job->n_bytes};
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    if (!demuxer)
        return lks_decode_damaged(job, "WebP", "no valid header", err);
    lks_status st;
    if (state == WEBP_DEMUX_PARSE_ERROR || state == WEBP_DEMUX_PARSING_HEADER)
        st = lks_decode_damaged(job, "WebP", state == WEBP_DEMUX_PARSE_ERROR ? "invalid data" : "data ends early", err);
    else
        st = decode_demuxed(out, job, demuxer, state, err);
    if (st == LKS_OK)
        read_orientation(job, demuxer);
    WebPDemuxDelete(demuxer);
    return st;
}
