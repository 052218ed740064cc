/* Sidecar files: the caption of holiday.jpg in holiday.txt, as training tools expect it. */
#ifndef LOOKSAY_CLI_SIDECAR_H
#define LOOKSAY_CLI_SIDECAR_H

#include <stdbool.h>

bool sidecar_exists(const char *image);

/* Writes the caption, replacing the file in one step. existing: "skip" (not called then) and "overwrite" replace, "append" and
 * "prepend" keep the old text before or after the caption. Returns false after a message. */
bool sidecar_write(const char *image, const char *caption, const char *existing);

#endif
