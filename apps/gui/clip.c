/* Clips and cameras: see clip.h. */
#include "apps/gui/clip.h"

#include <stdlib.h>
#include <string.h>

#include "apps/video/load.h"

bool clip_is_camera(const char *path)
{
    return strstr(path, "://") || g_str_has_prefix(path, "/dev/video");
}

bool clip_is_known(const char *path)
{
    static const char *const extensions[] = {".mp4",  ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg",
                                             ".mpeg", ".mts", ".ts",  ".ogv", ".wmv",  ".flv", ".3gp"};
    const char *dot = strrchr(path, '.');
    for (gsize i = 0; dot && i < G_N_ELEMENTS(extensions); i++)
        if (g_ascii_strcasecmp(dot, extensions[i]) == 0)
            return true;
    return clip_is_camera(path);
}

GBytes *clip_picture(const video_api *api, video *from, video_held *held, int *width, int *height, lks_error *err)
{
    uint8_t *rgb;
    lks_status st = api->picture(from, &rgb, width, height, held, CLIP_SIDE, err);
    api->let_go(held);
    return st == LKS_OK ? g_bytes_new_with_free_func(rgb, (gsize)*width * (gsize)*height * 3, free, rgb) : NULL;
}

GBytes *clip_first_picture(const char *path, int *width, int *height, const video_options *options, lks_error *err)
{
    const video_api *api = video_load(err);
    video *from = NULL;
    video_held *held = NULL;
    video_frame frame;
    bool end = false;
    GBytes *rgb = NULL;
    if (!api || api->open(&from, path, options, err) != LKS_OK)
        return NULL;
    lks_status st = api->next(from, &frame, &end, err);
    if (st == LKS_OK && end) {
        *err = (lks_error){.status = LKS_ERR_IMAGE};
        g_snprintf(err->message, sizeof err->message, "%s: it has no picture that can be decoded", path);
    } else if (st == LKS_OK && api->hold(from, &held, err) == LKS_OK) {
        rgb = clip_picture(api, from, held, width, height, err);
    }
    api->close(from);
    return rgb;
}
