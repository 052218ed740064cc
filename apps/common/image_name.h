/* Which files of a folder are images. */
#ifndef LOOKSAY_COMMON_IMAGE_NAME_H
#define LOOKSAY_COMMON_IMAGE_NAME_H

#include <stdbool.h>

/* In a folder, only files with an image's extension count; a file that is named gets read whatever its name is. */
bool image_name_is_known(const char *name);

#endif
