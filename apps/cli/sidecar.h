/* Sidecar files: the caption of holiday.jpg in holiday.txt, as training tools expect it. */
#ifndef LOOKSAY_CLI_SIDECAR_H
#define LOOKSAY_CLI_SIDECAR_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/cli/journal.h"

/* The image's path with the extension (without its dot) in place of its own, malloc'ed; "-" gets "stdin" before it. */
char *sidecar_path(const char *image, const char *extension);

bool sidecar_exists(const char *image, const char *extension);

/* Writes the caption, replacing the file in one step. existing: "skip" (not called then) and "overwrite" replace, "append" and
 * "prepend" keep the old text before or after the caption. With a journal (NULL: none), an entry with size and hash of the new
 * file is on the disk before the file appears. Returns false after a message; what was there is then untouched. */
bool sidecar_write(const char *image, const char *extension, const char *caption, const char *existing, journal *j);

/* Ends what a killed run began: a new file of this size and hash that is still under its temporary name gets its own. Returns
 * false after a message. */
bool sidecar_finish(const char *image, const char *extension, uint64_t size, uint64_t hash);

#endif
