/* Finds the module that reads clips: see load.h. */
#include "apps/video/load.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODULE "looksay-video.so"

static const video_api *fail(lks_error *err, lks_status status, const char *what, const char *remedy)
{
    *err = (lks_error){.status = status};
    snprintf(err->message, sizeof err->message, "%.300s; %s", what, remedy);
    return NULL;
}

/* The path of the module, "" where there is none. */
static void find(char *out, size_t n_out)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    out[0] = '\0';
    if (n <= 0)
        return;
    program[n] = '\0';
    *strrchr(program, '/') = '\0';
    static const char *const places[] = {LOOKSAY_MODULES, "."};
    for (size_t i = 0; i < sizeof places / sizeof *places && !out[0]; i++) {
        snprintf(out, n_out, "%s/%s/" MODULE, program, places[i]);
        if (access(out, R_OK) != 0)
            out[0] = '\0';
    }
}

const video_api *video_load(lks_error *err)
{
    char path[PATH_MAX + 64];
    find(path, sizeof path);
    if (!path[0])
        return fail(
            err, LKS_ERR_UNSUPPORTED, "this build reads no clips: " MODULE " is missing",
            "install FFmpeg's libraries (Debian: libavformat-dev libavcodec-dev libswscale-dev libavutil-dev) and "
            "build again, not as a portable build");
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        return fail(err, LKS_ERR_UNSUPPORTED, dlerror(), "install FFmpeg's libraries again, or build again");
    const video_api *api = dlsym(module, VIDEO_API_SYMBOL);
    if (!api || api->version != VIDEO_API_VERSION) {
        dlclose(module);
        return fail(err, LKS_ERR_UNSUPPORTED, path, "it belongs to another version of the program; build both again");
    }
    return api;
}
