/* Packed models kept in a folder, so that a Hugging Face directory that is run below f32 is packed once and not at every start:
 *
 *     DIR/NAME-HASH-DTYPE-STATE.gguf
 *
 * HASH is of the directory's own path. STATE is of the names, sizes and times of change of all files in it, and of the program's
 * version: what was packed from other files is never opened, and goes when its successor comes. A file appears when it is complete;
 * where that fails, a full disk say, the directory itself is opened, after a message. */
#ifndef LOOKSAY_CLI_PACKED_CACHE_H
#define LOOKSAY_CLI_PACKED_CACHE_H

#include "apps/cli/options.h"

/* out = what to open for the model at `path`: its packed file, which is made when it is missing, or `path` itself where no cache is
 * asked for, nothing is packed while it is opened, or the cache fails. */
void packed_cache_resolve(char *out, size_t n_out, const char *path, const settings *s);

#endif
