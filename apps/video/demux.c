/* Packets of a clip: see demux.h.
 *
 * A file is opened here and handed over as bytes; the demuxer is refused whatever else it asks to open, so that a playlist or a
 * description in place of a clip reaches neither files nor the network. */
#include "apps/video/demux.h"

#include <string.h>
#include <strings.h>

#include <libavutil/avstring.h>
#ifdef LOOKSAY_CAMERAS
#include <libavdevice/avdevice.h>
#endif

bool demux_is_camera(const char *name)
{
    return strncmp(name, "/dev/video", 10) == 0;
}

bool demux_is_stream(const char *name)
{
    return strncasecmp(name, "rtsp://", 7) == 0 || strncasecmp(name, "rtsps://", 8) == 0;
}

/* A clip has no business with other files. */
static int refuse_to_open(AVFormatContext *format, AVIOContext **bytes, const char *url, int flags,
                          AVDictionary **options)
{
    (void)format;
    (void)bytes;
    (void)url;
    (void)flags;
    (void)options;
    return AVERROR(EPERM);
}

/* Opens files and pipes as bytes. "file:" keeps a name with a colon from being read as an address. */
static int open_bytes(demux *d, const char *name, const AVIOInterruptCB *stop)
{
    bool standard = strcmp(name, "-") == 0;
    char *url = standard ? av_strdup("pipe:0") : av_asprintf("file:%s", name);
    if (!url)
        return AVERROR(ENOMEM);
    AVDictionary *options = NULL;
    av_dict_set(&options, "protocol_whitelist", "file,pipe", 0);
    int status = avio_open2(&d->bytes, url, AVIO_FLAG_READ, stop, &options);
    av_dict_free(&options);
    av_free(url);
    return status;
}

int demux_open(demux *d, const char *name, const AVIOInterruptCB *stop)
{
#ifdef LOOKSAY_CAMERAS
    avdevice_register_all();
#endif
    d->format = avformat_alloc_context();
    if (!d->format)
        return AVERROR(ENOMEM);
    d->format->interrupt_callback = *stop;
    AVDictionary *options = NULL;
    const AVInputFormat *format = NULL;
    int status = 0;
    if (demux_is_camera(name)) {
        format = av_find_input_format("video4linux2");
        if (!format)
            status = AVERROR_DEMUXER_NOT_FOUND;
    } else if (demux_is_stream(name)) {
        avformat_network_init();
        av_dict_set(&options, "rtsp_transport", "tcp", 0);
        av_dict_set(&options, "timeout", "10000000", 0); /* microseconds */
        av_dict_set(&options, "protocol_whitelist", "rtsp,rtp,rtcp,udp,tcp,tls", 0);
    } else {
        d->format->io_open = refuse_to_open;
        status = open_bytes(d, name, stop);
        d->format->pb = d->bytes;
    }
    if (status >= 0)
        status = avformat_open_input(&d->format, d->bytes ? NULL : name, format, &options); /* frees it on failure */
    av_dict_free(&options);
    return status >= 0 ? avformat_find_stream_info(d->format, NULL) : status;
}

void demux_close(demux *d)
{
    avformat_close_input(&d->format);
    avio_closep(&d->bytes);
}
