/* Files of JSON that name photos: see dataset.h. */
#include "apps/cli/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *dataset_photo_path(const char *dir, const char *file, const char *image)
{
    char *path;
    if (image[0] == '/')
        return strdup(image);
    if (dir)
        return asprintf(&path, "%s/%s", dir, image) < 0 ? NULL : path;
    const char *slash = strrchr(file, '/');
    int n = slash ? (int)(slash - file) + 1 : 0;
    return asprintf(&path, "%.*s%s", n, file, image) < 0 ? NULL : path;
}
