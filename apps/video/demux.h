/* A clip, a pipe or a camera as packets. Private to the module. */
#ifndef LOOKSAY_VIDEO_DEMUX_H
#define LOOKSAY_VIDEO_DEMUX_H

#include <stdbool.h>

#include <libavformat/avformat.h>

typedef struct demux {
    AVIOContext *bytes; /* of files and pipes */
    AVFormatContext *format;
} demux;

/* Opens a file, "-" for standard input, /dev/videoN or an rtsp:// address, and finds its streams. Returns an AVERROR; what is open
 * then is still for the caller to close. */
int demux_open(demux *d, const char *name, const AVIOInterruptCB *stop);
void demux_close(demux *d);

bool demux_is_camera(const char *name);
bool demux_is_stream(const char *name);

#endif
