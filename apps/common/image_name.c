/* Which files of a folder are images: see image_name.h. */
#include "apps/common/image_name.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

bool image_name_is_known(const char *name)
{
    static const char *const extensions[] = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp",
                                             "gif", "pnm",  "ppm", "pgm",  "pbm", "tga",  NULL};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && extensions[i]; i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0)
            return true;
    return false;
}
