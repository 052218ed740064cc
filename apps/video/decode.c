/* Frames out of FFmpeg: see decode.h.
 *
 *     bytes -> demuxer -> packets -> decoder -> frames -> { 32 x 32 grey thumbnail | RGB, square pixels, upright } */
#include "apps/video/decode.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "apps/video/copy.h"
#include "apps/video/demux.h"
#include "apps/video/shots.h"
#include "apps/video/turn.h"

enum { MAX_DAMAGED_IN_A_ROW = 1000, WAIT_US = 2000 };

static const double FALLBACK_RATE = 25.0, MAX_DURATION = 3600.0;

struct video {
    char name[256]; /* for messages, perhaps cut */
    video_options options;
    demux from;
    AVStream *stream; /* borrowed from it */
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    struct SwsContext *to_grey, *to_rgb;
    bool draining, ended, live;
    lks_status broken; /* why the clip ended before its end */
    char reason[AV_ERROR_MAX_STRING_SIZE];
    double origin;   /* time stamp of the beginning, in seconds */
    double expected; /* when the next frame is shown, if it does not say */
    video_frame now;
    long n_damaged, n_damaged_in_a_row;
    turn turned;
};

static lks_status fail(const video *v, lks_error *err, lks_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static lks_status fail(const video *v, lks_error *err, lks_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    *err = (lks_error){.status = status};
    int n = snprintf(err->message, sizeof err->message, "%s: ", v->name);
    vsnprintf(err->message + n, sizeof err->message - (size_t)n, format, arguments);
    va_end(arguments);
    return status;
}

static int asks_to_stop(void *context)
{
    const video *v = context;
    return v->options.stop && v->options.stop(v->options.stop_context);
}

static void video_close(video *v)
{
    if (!v)
        return;
    sws_freeContext(v->to_grey);
    sws_freeContext(v->to_rgb);
    av_frame_free(&v->frame);
    av_packet_free(&v->packet);
    avcodec_free_context(&v->decoder);
    demux_close(&v->from);
    free(v);
}

/* The matrix by which pictures are shown, or NULL. */
static const uint8_t *find_matrix(const AVStream *stream, size_t *n)
{
#if LIBAVFORMAT_VERSION_MAJOR >= 61
    const AVPacketSideData *data = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
    *n = data ? data->size : 0;
    return data ? data->data : NULL;
#else
    return av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, n);
#endif
}

static turn read_turn(const uint8_t *bytes, size_t n)
{
    int32_t matrix[9];
    if (!bytes || n < sizeof matrix)
        return TURN_NONE;
    memcpy(matrix, bytes, sizeof matrix);
    return turn_of_matrix(matrix);
}

static lks_status open_decoder(video *v, lks_error *err)
{
    const AVCodec *codec = NULL;
    int index = av_find_best_stream(v->from.format, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (index == AVERROR_DECODER_NOT_FOUND)
        return fail(v, err, LKS_ERR_UNSUPPORTED, "this FFmpeg has no decoder for its video");
    if (index < 0 || (v->from.format->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC))
        return fail(v, err, LKS_ERR_IMAGE, "there is no video in it");
    for (unsigned i = 0; i < v->from.format->nb_streams; i++)
        v->from.format->streams[i]->discard = (int)i == index ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    v->stream = v->from.format->streams[index];
    v->decoder = avcodec_alloc_context3(codec);
    v->packet = av_packet_alloc();
    v->frame = av_frame_alloc();
    if (!v->decoder || !v->packet || !v->frame)
        return fail(v, err, LKS_ERR_NOMEM, "out of memory");
    v->decoder->max_pixels = VIDEO_MAX_PIXELS;
    v->decoder->thread_count = v->options.n_threads;
    v->decoder->pkt_timebase = v->stream->time_base;
    int status = avcodec_parameters_to_context(v->decoder, v->stream->codecpar);
    if (status >= 0)
        status = avcodec_open2(v->decoder, codec, NULL);
    if (status < 0)
        return fail(v, err, LKS_ERR_IMAGE, "its video cannot be decoded: %s", av_err2str(status));
    size_t n;
    const uint8_t *matrix = find_matrix(v->stream, &n);
    v->turned = read_turn(matrix, n);
    return LKS_OK;
}

/* Whether there is not one byte in it; the demuxer has given up, and left the clip at its beginning. */
static bool is_empty(AVIOContext *bytes)
{
    unsigned char first;
    return bytes && avio_seek(bytes, 0, SEEK_SET) == 0 && avio_read(bytes, &first, 1) == AVERROR_EOF;
}

/* Why a clip does not open, in words that help. */
static lks_status explain_open(const video *v, const char *name, int status, lks_error *err)
{
    if (asks_to_stop((void *)(uintptr_t)v))
        return fail(v, err, LKS_ERR_INTERRUPTED, "interrupted");
    if (demux_is_camera(name) && status == AVERROR_DEMUXER_NOT_FOUND)
        return fail(v, err, LKS_ERR_UNSUPPORTED,
                    "this build reads no cameras; install libavdevice (Debian: libavdevice-dev) and build again");
    if (status == AVERROR(EPERM) && v->from.bytes)
        return fail(v, err, LKS_ERR_IMAGE, "it is no clip but a list of other files, which are not opened");
    if (is_empty(v->from.bytes))
        return fail(v, err, LKS_ERR_IMAGE, "it is empty");
    if (status == AVERROR_INVALIDDATA)
        return fail(v, err, LKS_ERR_IMAGE, "it is damaged, or no clip that FFmpeg knows");
    return fail(v, err, LKS_ERR_IO, "cannot be read: %s", av_err2str(status));
}

static lks_status video_open(video **out, const char *name, const video_options *options, lks_error *err)
{
    av_log_set_level(options->verbose ? AV_LOG_WARNING : AV_LOG_QUIET);
    video *v = calloc(1, sizeof *v);
    if (!v) {
        *err = (lks_error){LKS_ERR_NOMEM, "out of memory"};
        return LKS_ERR_NOMEM;
    }
    v->options = *options;
    v->now.number = -1;
    snprintf(v->name, sizeof v->name, "%s", strcmp(name, "-") == 0 ? "standard input" : name);
    lks_status st = LKS_OK;
    const AVIOInterruptCB stop = {.callback = asks_to_stop, .opaque = v};
    int status = demux_open(&v->from, name, &stop);
    if (status < 0)
        st = explain_open(v, name, status, err);
    else
        st = open_decoder(v, err);
    if (st != LKS_OK) {
        video_close(v);
        return st;
    }
    v->live = demux_is_camera(name) || demux_is_stream(name);
    if (!v->live && v->from.format->start_time != AV_NOPTS_VALUE)
        v->origin = (double)v->from.format->start_time / AV_TIME_BASE;
    else
        v->origin = NAN; /* the first frame's */
    *out = v;
    return LKS_OK;
}

static double frame_rate(const video *v)
{
    AVRational rate = v->stream->avg_frame_rate.num > 0 ? v->stream->avg_frame_rate : v->stream->r_frame_rate;
    double value = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0.0;
    return value > 1e-3 && value < 1e4 ? value : 0.0;
}

static void video_describe(video_info *out, const video *v)
{
    double seconds = v->from.format->duration > 0 ? (double)v->from.format->duration / AV_TIME_BASE : 0.0;
    bool is_guess = v->from.format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE;
    double shown =
        v->stream->duration > 0 && !is_guess ? (double)v->stream->duration * av_q2d(v->stream->time_base) : 0.0;
    *out = (video_info){.codec = avcodec_get_name(v->decoder->codec_id),
                        .seconds = seconds,
                        .picture_seconds = shown,
                        .frame_rate = frame_rate(v),
                        .is_live = v->live,
                        .can_seek = !v->live && seconds > 0.0 && v->from.format->pb &&
                                    (v->from.format->pb->seekable & AVIO_SEEKABLE_NORMAL)};
}

/* Number, time and duration of the frame that was decoded. */
static void clock_frame(video *v)
{
    double unit = av_q2d(v->stream->time_base);
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    int64_t ticks = v->frame->duration;
#else
    int64_t ticks = v->frame->pkt_duration;
#endif
    double duration = (double)ticks * unit;
    if (!(duration > 0.0 && duration <= MAX_DURATION))
        duration = 1.0 / (frame_rate(v) > 0.0 ? frame_rate(v) : FALLBACK_RATE);
    video_frame next = {.number = v->now.number + 1, .duration = duration};
    int64_t stamp = v->frame->best_effort_timestamp;
    next.seconds = v->expected;
    if (stamp != AV_NOPTS_VALUE) {
        if (isnan(v->origin))
            v->origin = (double)stamp * unit;
        next.seconds = (double)stamp * unit - v->origin;
    }
    if (!isfinite(next.seconds) || next.seconds < v->now.seconds) /* stamps that run backwards */
        next.seconds = v->expected;
    v->expected = next.seconds + duration;
    v->now = next;
}

/* One more packet into the decoder; at the end of the clip the decoder is told to give what it has. */
static void feed(video *v)
{
    int status = av_read_frame(v->from.format, v->packet);
    if (status == AVERROR(EAGAIN)) { /* a camera between two pictures */
        usleep(WAIT_US);
        return;
    }
    if (status < 0) {
        if (status != AVERROR_EOF && !asks_to_stop(v)) {
            v->broken = LKS_ERR_IO;
            av_strerror(status, v->reason, sizeof v->reason);
        }
        v->draining = true;
        avcodec_send_packet(v->decoder, NULL);
        return;
    }
    if (v->packet->stream_index == v->stream->index) {
        status = avcodec_send_packet(v->decoder, v->packet);
        if (status < 0 && status != AVERROR(EAGAIN)) {
            v->n_damaged++;
            v->n_damaged_in_a_row++;
        }
    }
    av_packet_unref(v->packet);
}

static lks_status video_seek(video *v, double seconds, lks_error *err)
{
    if (isnan(v->origin))
        v->origin = 0.0;
    double ticks = (v->origin + seconds) / av_q2d(v->stream->time_base);
    int status = AVERROR(EINVAL);
    if (fabs(ticks) < (double)(INT64_MAX / 2))
        status = av_seek_frame(v->from.format, v->stream->index, (int64_t)ticks, AVSEEK_FLAG_BACKWARD);
    if (status < 0)
        return fail(v, err, LKS_ERR_IO, "there is no way to second %.1f of it: %s", seconds, av_err2str(status));
    avcodec_flush_buffers(v->decoder);
    v->draining = v->ended = false;
    v->broken = LKS_OK;
    v->n_damaged_in_a_row = 0;
    v->now.seconds = 0.0;
    v->expected = seconds;
    return LKS_OK;
}

/* A frame that thumbnails and pictures can be made of. */
static bool is_usable(const AVFrame *f)
{
    return f->width > 0 && f->height > 0 && (int64_t)f->width * f->height <= VIDEO_MAX_PIXELS && f->data[0] &&
           sws_isSupportedInput(f->format);
}

static lks_status video_next(video *v, video_frame *out, bool *end, lks_error *err)
{
    *end = v->ended;
    while (!*end) {
        int status = avcodec_receive_frame(v->decoder, v->frame);
        if (status >= 0 && is_usable(v->frame)) {
            v->n_damaged += (v->frame->flags & AV_FRAME_FLAG_CORRUPT) || v->frame->decode_error_flags;
            v->n_damaged_in_a_row = 0;
            clock_frame(v);
            *out = v->now;
            return LKS_OK;
        }
        if (status == AVERROR(EAGAIN) && !v->draining) {
            feed(v);
        } else if (status == AVERROR_EOF || status == AVERROR(EAGAIN)) {
            v->ended = true;
        } else { /* a frame that is none */
            v->n_damaged++;
            v->n_damaged_in_a_row++;
        }
        v->ended |= asks_to_stop(v) || v->n_damaged_in_a_row >= MAX_DAMAGED_IN_A_ROW;
        *end = v->ended;
    }
    if (v->n_damaged_in_a_row >= MAX_DAMAGED_IN_A_ROW)
        return fail(v, err, LKS_ERR_IMAGE, "%d damaged packets in a row; the rest is not read", MAX_DAMAGED_IN_A_ROW);
    if (v->broken != LKS_OK)
        return fail(v, err, v->broken, "the clip ends early: %s", v->reason);
    return LKS_OK;
}

/* Scales a frame to `to`, with the colours that it says it has. */
static lks_status scale(const video *v, struct SwsContext **cached, uint8_t *to, int width, int height,
                        enum AVPixelFormat format, int flags, const AVFrame *f, lks_error *err)
{
    struct SwsContext *sws =
        sws_getCachedContext(*cached, f->width, f->height, f->format, width, height, format, flags, NULL, NULL, NULL);
    *cached = sws;
    if (!sws)
        return fail(v, err, LKS_ERR_IMAGE, "pictures of %d x %d pixels cannot be scaled", f->width, f->height);
    /* Clips that do not say use BT.709 in high definition and BT.601 below: what players do. */
    int matrix = f->colorspace != AVCOL_SPC_UNSPECIFIED ? (int)f->colorspace
                 : f->height >= 720                     ? SWS_CS_ITU709
                                                        : SWS_CS_ITU601;
    int *ignored, from_range, to_range, brightness, contrast, saturation;
    if (sws_getColorspaceDetails(sws, &ignored, &from_range, &ignored, &to_range, &brightness, &contrast,
                                 &saturation) >= 0)
        sws_setColorspaceDetails(sws, sws_getCoefficients(matrix), f->color_range == AVCOL_RANGE_JPEG || from_range,
                                 sws_getCoefficients(SWS_CS_DEFAULT), to_range, brightness, contrast, saturation);
    int n_alignment = format == AV_PIX_FMT_RGB24 ? 3 : 1;
    uint8_t *planes[4] = {to};
    int strides[4] = {width * n_alignment};
    int rows = sws_scale(sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height, planes, strides);
    if (rows != height)
        return fail(v, err, LKS_ERR_IMAGE, "pictures of %d x %d pixels cannot be scaled", f->width, f->height);
    return LKS_OK;
}

static lks_status video_thumbnail(video *v, uint8_t *cells, lks_error *err)
{
    uint8_t padded[SHOTS_CELLS + 64]; /* swscale's vector code may write beyond the last pixel */
    lks_status st = scale(v, &v->to_grey, padded, SHOTS_SIDE, SHOTS_SIDE, AV_PIX_FMT_GRAY8, SWS_AREA, v->frame, err);
    if (st == LKS_OK)
        memcpy(cells, padded, SHOTS_CELLS);
    return st;
}

static lks_status video_hold(const video *v, video_held **out, lks_error *err)
{
    AVFrame *held = av_frame_clone(v->frame);
    if (!held)
        return fail(v, err, LKS_ERR_NOMEM, "out of memory");
    *out = (video_held *)held;
    return LKS_OK;
}

static void video_let_go(video_held *held)
{
    AVFrame *frame = (AVFrame *)held;
    av_frame_free(&frame);
}

/* The width that makes pixels square, where the frame or the clip says that they are not. */
static int square_width(const video *v, const AVFrame *f)
{
    AVRational aspect = f->sample_aspect_ratio, of_clip = v->stream->sample_aspect_ratio;
    if (of_clip.num > 0 && of_clip.den > 0) /* what a container says goes before, as in players */
        aspect = of_clip;
    if (aspect.num <= 0 || aspect.den <= 0 || aspect.num == aspect.den)
        return f->width;
    double width = round((double)f->width * av_q2d(aspect));
    return width >= 1.0 && width * f->height <= VIDEO_MAX_PIXELS ? (int)width : f->width;
}

/* The size at which no side is longer than max_side; 0: any is fine. */
static void fit(int *width, int *height, int max_side)
{
    int longest = *width > *height ? *width : *height;
    if (max_side <= 0 || longest <= max_side)
        return;
    double by = (double)max_side / longest;
    *width = (int)fmax(1.0, round(*width * by));
    *height = (int)fmax(1.0, round(*height * by));
}

static lks_status video_picture(video *v, uint8_t **rgb, int *width, int *height, const video_held *held, int max_side,
                                lks_error *err)
{
    const AVFrame *f = (const AVFrame *)held;
    int w = square_width(v, f), h = f->height;
    fit(&w, &h, max_side);
    /* A row more: swscale's vector code writes beyond the last pixel of a row. */
    uint8_t *flat = malloc((size_t)w * 3 * ((size_t)h + 1) + 64), *upright = NULL;
    if (!flat)
        return fail(v, err, LKS_ERR_NOMEM, "out of memory for a picture of %d x %d pixels", w, h);
    lks_status st =
        scale(v, &v->to_rgb, flat, w, h, AV_PIX_FMT_RGB24, SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT, f, err);
    const AVFrameSideData *own = av_frame_get_side_data(f, AV_FRAME_DATA_DISPLAYMATRIX);
    turn t = own ? read_turn(own->data, own->size) : v->turned;
    if (st == LKS_OK && !(t.xx == 1 && t.yy == 1)) {
        upright = malloc((size_t)w * 3 * (size_t)h);
        if (!upright)
            st = fail(v, err, LKS_ERR_NOMEM, "out of memory for a picture of %d x %d pixels", w, h);
        else
            turn_pixels(upright, flat, w, h, (size_t)w * 3, t);
        free(flat);
        flat = upright;
    }
    if (st != LKS_OK) {
        free(flat);
        return st;
    }
    *rgb = flat;
    *width = turn_is_sideways(t) ? h : w;
    *height = turn_is_sideways(t) ? w : h;
    return LKS_OK;
}

static long video_count_damaged(const video *v)
{
    return v->n_damaged;
}

LKS_API extern const video_api lks_video_api;
const video_api lks_video_api = {
    .version = VIDEO_API_VERSION,
    .open = video_open,
    .close = video_close,
    .describe = video_describe,
    .next = video_next,
    .seek = video_seek,
    .thumbnail = video_thumbnail,
    .hold = video_hold,
    .let_go = video_let_go,
    .picture = video_picture,
    .count_damaged = video_count_damaged,
    .copy_open = video_copy_open,
    .copy_add = video_copy_add,
    .copy_end = video_copy_end,
    .copy_close = video_copy_close,
};
