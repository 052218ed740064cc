/* Sidecar files: see sidecar.h. */
#include "apps/cli/sidecar.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/cli/options.h"
#include "apps/cli/sink.h"

/* The image's path with .txt in place of its extension, malloc'ed; "-" has none and gets "stdin.txt". */
static char *sidecar_path(const char *image)
{
    if (strcmp(image, "-") == 0)
        return strdup("stdin.txt");
    const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image, *dot = strrchr(name, '.');
    int stem = (int)(dot && dot > name ? dot - image : (long)strlen(image));
    char *path;
    return asprintf(&path, "%.*s.txt", stem, image) < 0 ? NULL : path;
}

bool sidecar_exists(const char *image)
{
    char *path = sidecar_path(image);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

static void copy_file(FILE *to, FILE *from)
{
    char buffer[4096];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, from)) > 0)
        fwrite(buffer, 1, n, to);
}

bool sidecar_write(const char *image, const char *caption, const char *existing)
{
    char *path = sidecar_path(image);
    if (!path) {
        complain("out of memory");
        return false;
    }
    bool append = strcmp(existing, "append") == 0, prepend = strcmp(existing, "prepend") == 0;
    FILE *old = append || prepend ? fopen(path, "r") : NULL;
    sink s;
    bool done = sink_open(&s, path);
    if (done) {
        if (old && append)
            copy_file(s.stream, old);
        fprintf(s.stream, "%s\n", caption);
        if (old && prepend)
            copy_file(s.stream, old);
        done = sink_close(&s);
    }
    if (old)
        fclose(old);
    free(path);
    return done;
}
