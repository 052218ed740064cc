/* A copy of a clip with other pictures: see copy.h.
 *
 *     rgb -> 4:2:0 -> encoder --\
 *                                > muxer -> bytes
 *     clip -> packets of sound -/
 *
 * Sound is written up to each picture's time before the picture is, so that the muxer has little to keep. */
#include "apps/video/copy.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "apps/video/demux.h"

enum { BUFFER_BYTES = 1 << 16, HIGH_DEFINITION = 720 };

/* A stream of the clip. */
typedef struct sound {
    AVStream *to;           /* in the copy; NULL: nowhere */
    int64_t shift;          /* of stamps, since ones that ran back */
    int64_t last, duration; /* of the packet before */
} sound;

struct video_copy {
    char name[256]; /* of the clip, for messages, perhaps cut */
    video_options options;
    demux from;
    const AVStream *shown; /* the pictures that are replaced; borrowed from `from` */
    double origin;         /* time stamp of the clip's beginning, in seconds */
    AVFormatContext *muxer;
    sound *sounds; /* [n_sounds], the streams that the clip began with */
    unsigned n_sounds;
    AVStream *pictures;
    const AVCodec *codec;
    AVCodecContext *encoder; /* NULL until the first picture says its size */
    struct SwsContext *to_yuv;
    AVFrame *frame;
    AVPacket *packet, *heard; /* heard: sound that is read and not written yet, or blank */
    bool sound_waits, sound_ended;
    int64_t last; /* stamp of the last picture */
    int write_error;
};

/* What a container takes, best first. */
static const struct kind {
    const char *ends_in, *muxer, *encoders[3];
} kinds[] = {{"mp4", "mp4", {"libx264", "libopenh264"}},
             {"m4v", "mp4", {"libx264", "libopenh264"}},
             {"mov", "mov", {"libx264", "libopenh264"}},
             {"mkv", "matroska", {"libx264", "libopenh264"}},
             {"webm", "webm", {"libvpx-vp9", "libvpx"}}};

static lks_status fail(const video_copy *c, lks_error *err, lks_status status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static lks_status fail(const video_copy *c, lks_error *err, lks_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    *err = (lks_error){.status = status};
    int n = snprintf(err->message, sizeof err->message, "%s: ", c->name);
    vsnprintf(err->message + n, sizeof err->message - (size_t)n, format, arguments);
    va_end(arguments);
    return status;
}

static lks_status fail_to_write(const video_copy *c, int status, lks_error *err)
{
    const char *reason = c->write_error ? strerror(c->write_error) : av_err2str(status);
    return fail(c, err, LKS_ERR_IO, "its copy cannot be written: %s", reason);
}

static int asks_to_stop(void *context)
{
    const video_copy *c = context;
    return c->options.stop && c->options.stop(c->options.stop_context);
}

/* ---- bytes ---- */

typedef struct bytes {
    FILE *to;
    int64_t begin; /* where the copy begins in it */
    int *error;
} bytes;

#if LIBAVFORMAT_VERSION_MAJOR >= 61
static int write_bytes(void *context, const uint8_t *data, int n)
#else
static int write_bytes(void *context, uint8_t *data, int n)
#endif
{
    const bytes *b = context;
    if (fwrite(data, 1, (size_t)n, b->to) == (size_t)n)
        return n;
    *b->error = errno;
    return AVERROR(errno);
}

static int64_t seek_bytes(void *context, int64_t offset, int whence)
{
    const bytes *b = context;
    if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
        return AVERROR(ENOSYS); /* AVSEEK_SIZE */
    if (fseeko(b->to, whence == SEEK_SET ? b->begin + offset : offset, whence) != 0)
        return AVERROR(errno);
    return ftello(b->to) - b->begin;
}

static AVIOContext *open_bytes(video_copy *c, FILE *to)
{
    bytes *b = calloc(1, sizeof *b);
    unsigned char *buffer = av_malloc(BUFFER_BYTES);
    AVIOContext *made = NULL;
    if (b && buffer) {
        *b = (bytes){to, ftello(to), &c->write_error};
        made = avio_alloc_context(buffer, BUFFER_BYTES, 1, b, NULL, write_bytes, seek_bytes);
    }
    if (!made) {
        av_free(buffer);
        free(b);
    }
    return made;
}

static void close_bytes(AVIOContext **open)
{
    if (!*open)
        return;
    free((*open)->opaque);
    av_freep(&(*open)->buffer);
    avio_context_free(open);
}

/* ---- beginning ---- */

static const struct kind *find_kind(const char *ends_in)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcasecmp(kinds[i].ends_in, ends_in) == 0)
            return &kinds[i];
    return NULL;
}

/* The streams of sound in the copy. */
static lks_status add_sound(video_copy *c, const char *ends_in, lks_error *err)
{
    AVFormatContext *from = c->from.format;
    c->sounds = calloc(from->nb_streams, sizeof *c->sounds);
    c->sound_ended = true;
    if (!c->sounds)
        return fail(c, err, LKS_ERR_NOMEM, "out of memory");
    c->n_sounds = from->nb_streams;
    for (unsigned i = 0; i < from->nb_streams; i++) {
        const AVCodecParameters *is = from->streams[i]->codecpar;
        from->streams[i]->discard = AVDISCARD_ALL;
        if (is->codec_type != AVMEDIA_TYPE_AUDIO || is->codec_id == AV_CODEC_ID_NONE)
            continue;
        if (avformat_query_codec(c->muxer->oformat, is->codec_id, FF_COMPLIANCE_NORMAL) != 1)
            return fail(c, err, LKS_ERR_UNSUPPORTED, "its sound (%s) does not go into a .%s file; name the copy .mkv",
                        avcodec_get_name(is->codec_id), ends_in);
        AVStream *made = avformat_new_stream(c->muxer, NULL);
        if (!made || avcodec_parameters_copy(made->codecpar, is) < 0 ||
            av_dict_copy(&made->metadata, from->streams[i]->metadata, 0) < 0)
            return fail(c, err, LKS_ERR_NOMEM, "out of memory");
        made->codecpar->codec_tag = 0; /* the container's own */
        made->time_base = from->streams[i]->time_base;
        made->disposition = from->streams[i]->disposition;
        from->streams[i]->discard = AVDISCARD_DEFAULT;
        c->sounds[i] = (sound){.to = made, .last = INT64_MIN};
        c->sound_ended = false;
    }
    return LKS_OK;
}

static lks_status open_muxer(video_copy *c, FILE *to, const char *ends_in, lks_error *err)
{
    const struct kind *kind = find_kind(ends_in);
    for (int i = 0; kind && !c->codec && kind->encoders[i]; i++)
        c->codec = avcodec_find_encoder_by_name(kind->encoders[i]);
    if (!kind || !c->codec)
        return fail(c, err, LKS_ERR_UNSUPPORTED, "this FFmpeg writes no pictures into a .%s file; it lacks %s", ends_in,
                    kind ? kind->encoders[0] : "the container");
    if (avformat_alloc_output_context2(&c->muxer, NULL, kind->muxer, NULL) < 0 || !(c->muxer->pb = open_bytes(c, to)) ||
        !(c->pictures = avformat_new_stream(c->muxer, NULL)))
        return fail(c, err, LKS_ERR_NOMEM, "out of memory");
    return add_sound(c, ends_in, err);
}

lks_status video_copy_open(video_copy **out, FILE *to, const char *kind, const char *name, const video_options *options,
                           lks_error *err)
{
    video_copy *c = calloc(1, sizeof *c);
    if (!c) {
        *err = (lks_error){LKS_ERR_NOMEM, "out of memory"};
        return LKS_ERR_NOMEM;
    }
    c->options = *options;
    c->last = INT64_MIN;
    snprintf(c->name, sizeof c->name, "%s", name);
    const AVIOInterruptCB stop = {.callback = asks_to_stop, .opaque = c};
    int status = demux_open(&c->from, name, &stop);
    int index = status >= 0 ? av_find_best_stream(c->from.format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0) : -1;
    lks_status st = LKS_OK;
    c->packet = av_packet_alloc();
    c->heard = av_packet_alloc();
    c->frame = av_frame_alloc();
    if (index < 0)
        st = fail(c, err, LKS_ERR_IO, "cannot be read again: %s", av_err2str(status));
    else if (!c->packet || !c->heard || !c->frame)
        st = fail(c, err, LKS_ERR_NOMEM, "out of memory");
    else
        st = open_muxer(c, to, kind, err);
    if (st != LKS_OK) {
        video_copy_close(c);
        return st;
    }
    c->shown = c->from.format->streams[index];
    if (c->from.format->start_time != AV_NOPTS_VALUE)
        c->origin = (double)c->from.format->start_time / AV_TIME_BASE;
    *out = c;
    return LKS_OK;
}

void video_copy_close(video_copy *c)
{
    if (!c)
        return;
    sws_freeContext(c->to_yuv);
    av_frame_free(&c->frame);
    av_packet_free(&c->packet);
    av_packet_free(&c->heard);
    avcodec_free_context(&c->encoder);
    if (c->muxer)
        close_bytes(&c->muxer->pb);
    avformat_free_context(c->muxer);
    demux_close(&c->from);
    free(c->sounds);
    free(c);
}

/* ---- pictures ---- */

/* Near to what cannot be told from the original, at a speed that suits two CPUs. */
static void set_quality(AVDictionary **options, const AVCodec *codec)
{
    bool vpx = strncmp(codec->name, "libvpx", 6) == 0;
    av_dict_set(options, "crf", vpx ? "30" : "20", 0);
    if (vpx) {
        av_dict_set(options, "b", strcmp(codec->name, "libvpx") == 0 ? "4M" : "0", 0); /* no limit but the quality */
        av_dict_set(options, "deadline", "good", 0);
        av_dict_set(options, "cpu-used", "5", 0);
        av_dict_set(options, "row-mt", "1", 0);
    } else {
        av_dict_set(options, "preset", "veryfast", 0);
    }
}

/* 4:2:0 has no odd sizes: the last row and column go. */
static int open_encoder(video_copy *c, int width, int height)
{
    AVCodecContext *e = c->encoder = avcodec_alloc_context3(c->codec);
    if (!e)
        return AVERROR(ENOMEM);
    e->width = width & ~1;
    e->height = height & ~1;
    e->pix_fmt = AV_PIX_FMT_YUV420P;
    e->time_base = c->shown->time_base;
    e->framerate = c->shown->avg_frame_rate;
    e->thread_count = c->options.n_threads;
    bool high = height >= HIGH_DEFINITION; /* what players take for granted */
    e->colorspace = high ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    e->color_primaries = high ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
    e->color_trc = high ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
    e->color_range = AVCOL_RANGE_MPEG;
    if (c->muxer->oformat->flags & AVFMT_GLOBALHEADER)
        e->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary *options = NULL;
    set_quality(&options, c->codec);
    int status = avcodec_open2(e, c->codec, &options);
    av_dict_free(&options);
    return status;
}

static int make_frame(video_copy *c)
{
    const AVCodecContext *e = c->encoder;
    c->frame->format = e->pix_fmt;
    c->frame->width = e->width;
    c->frame->height = e->height;
    return av_frame_get_buffer(c->frame, 0);
}

/* The picture in the size and colours of the copy. */
static int convert(video_copy *c, const uint8_t *rgb, int width, int height)
{
    const AVCodecContext *e = c->encoder;
    int stride = width * 3;
    if ((width & ~1) == e->width && (height & ~1) == e->height) {
        width = e->width;
        height = e->height;
    }
    c->to_yuv = sws_getCachedContext(c->to_yuv, width, height, AV_PIX_FMT_RGB24, e->width, e->height, e->pix_fmt,
                                     SWS_BICUBIC | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP, NULL, NULL, NULL);
    if (!c->to_yuv)
        return AVERROR(EINVAL);
    const int *matrix = sws_getCoefficients(e->colorspace == AVCOL_SPC_BT709 ? SWS_CS_ITU709 : SWS_CS_ITU601);
    sws_setColorspaceDetails(c->to_yuv, matrix, 1, matrix, 0, 0, 1 << 16, 1 << 16);
    int status = av_frame_make_writable(c->frame);
    if (status < 0)
        return status;
    const uint8_t *planes[4] = {rgb};
    return sws_scale(c->to_yuv, planes, &stride, 0, height, c->frame->data, c->frame->linesize);
}

/* Once the size is known: encoder, streams, and what stands before the first packet. */
static int begin(video_copy *c, int width, int height)
{
    int status = open_encoder(c, width, height);
    if (status >= 0)
        status = make_frame(c);
    if (status >= 0)
        status = avcodec_parameters_from_context(c->pictures->codecpar, c->encoder);
    if (status < 0)
        return status;
    c->pictures->time_base = c->encoder->time_base;
    c->pictures->avg_frame_rate = c->encoder->framerate;
    av_dict_copy(&c->muxer->metadata, c->from.format->metadata, 0);
    av_dict_copy(&c->pictures->metadata, c->shown->metadata, 0);
    return avformat_write_header(c->muxer, NULL);
}

/* Where a packet of the clip goes; NULL: nowhere, as streams that came up since it was opened. */
static sound *find_sound(video_copy *c, const AVPacket *p)
{
    sound *s = (unsigned)p->stream_index < c->n_sounds ? &c->sounds[p->stream_index] : NULL;
    return s && s->to && (p->pts != AV_NOPTS_VALUE || p->dts != AV_NOPTS_VALUE) ? s : NULL;
}

/* Moves the stamps of a packet, in units of the clip, to the copy's beginning, and behind those before them: clips that were joined run
 * back, which containers refuse. */
static void set_stamps(const video_copy *c, sound *s, AVPacket *p, AVRational unit)
{
    const int64_t origin = llround(c->origin / av_q2d(unit));
    const int64_t stamp = (p->dts != AV_NOPTS_VALUE ? p->dts : p->pts) - origin;
    const int64_t step = av_rescale_q_rnd(1, s->to->time_base, unit, AV_ROUND_UP);
    const bool may_stand = c->muxer->oformat->flags & AVFMT_TS_NONSTRICT;
    if (stamp + s->shift < s->last + (may_stand ? 0 : step))
        s->shift = s->last + (s->duration > step ? s->duration : step) - stamp;
    s->last = stamp + s->shift;
    s->duration = p->duration;
    p->pts = p->pts != AV_NOPTS_VALUE ? p->pts - origin + s->shift : p->pts;
    p->dts = p->dts != AV_NOPTS_VALUE ? p->dts - origin + s->shift : p->dts;
}

/* Writes the sound before that time. */
static int write_sound(video_copy *c, double until)
{
    AVPacket *p = c->heard;
    while (!c->sound_ended) {
        if (!c->sound_waits) {
            if (av_read_frame(c->from.format, p) < 0) {
                c->sound_ended = true; /* damage at the end costs the sound there */
                break;
            }
            sound *s = find_sound(c, p);
            if (!s) {
                av_packet_unref(p);
                continue;
            }
            set_stamps(c, s, p, c->from.format->streams[p->stream_index]->time_base);
        }
        const AVStream *to = c->sounds[p->stream_index].to;
        const AVRational unit = c->from.format->streams[p->stream_index]->time_base;
        c->sound_waits = (double)(p->pts != AV_NOPTS_VALUE ? p->pts : p->dts) * av_q2d(unit) >= until;
        if (c->sound_waits)
            break;
        p->stream_index = to->index;
        p->pos = -1;
        av_packet_rescale_ts(p, unit, to->time_base);
        int status = av_interleaved_write_frame(c->muxer, p);
        if (status < 0)
            return status;
    }
    return 0;
}

/* Writes what the encoder has ready. */
static int write_pictures(video_copy *c)
{
    int status;
    while ((status = avcodec_receive_packet(c->encoder, c->packet)) >= 0) {
        c->packet->stream_index = c->pictures->index;
        av_packet_rescale_ts(c->packet, c->encoder->time_base, c->pictures->time_base);
        status = av_interleaved_write_frame(c->muxer, c->packet);
        if (status < 0)
            return status;
    }
    return status == AVERROR(EAGAIN) || status == AVERROR_EOF ? 0 : status;
}

static int encode(video_copy *c, const uint8_t *rgb, int width, int height, const video_frame *frame)
{
    double unit = av_q2d(c->encoder->time_base);
    int64_t stamp = llround(frame->seconds / unit);
    int status = write_sound(c, frame->seconds);
    if (status >= 0)
        status = convert(c, rgb, width, height);
    if (status < 0)
        return status;
    c->frame->pts = c->last = stamp > c->last ? stamp : c->last + 1;
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    c->frame->duration = llround(frame->duration / unit);
#else
    c->frame->pkt_duration = llround(frame->duration / unit);
#endif
    status = avcodec_send_frame(c->encoder, c->frame);
    return status >= 0 ? write_pictures(c) : status;
}

lks_status video_copy_add(video_copy *c, const uint8_t *rgb, int width, int height, const video_frame *frame,
                          lks_error *err)
{
    int status = 0;
    if (width < 2 || height < 2)
        return fail(c, err, LKS_ERR_IMAGE, "pictures of %d x %d pixels have no copy", width, height);
    if (!c->encoder)
        status = begin(c, width, height);
    if (status >= 0)
        status = encode(c, rgb, width, height, frame);
    return status < 0 ? fail_to_write(c, status, err) : LKS_OK;
}

lks_status video_copy_end(video_copy *c, lks_error *err)
{
    if (!c->encoder)
        return fail(c, err, LKS_ERR_IMAGE, "it has no picture that can be decoded");
    int status = avcodec_send_frame(c->encoder, NULL);
    if (status >= 0)
        status = write_pictures(c);
    if (status >= 0)
        status = write_sound(c, INFINITY);
    if (status >= 0)
        status = av_write_trailer(c->muxer);
    if (status >= 0 && c->write_error)
        status = AVERROR(c->write_error);
    return status < 0 ? fail_to_write(c, status, err) : LKS_OK;
}
