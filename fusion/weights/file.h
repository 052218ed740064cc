/* Whole files: mapped read-only, or read into memory with a size limit. */
#ifndef LKS_FILE_H
#define LKS_FILE_H

#include <stddef.h>

#include "fusion/status.h"

typedef struct lks_map {
    const unsigned char *data; /* NULL for an empty file */
    size_t size;
} lks_map;

/* Maps a regular file (not a FIFO, device or directory: those are errors, opened without blocking). */
lks_status lks_map_open(lks_map *out, const char *path, lks_error *err);
void lks_map_close(lks_map *map);

/* Gives back the memory of whole pages in data [n], a part of the map; it is read from the file again when it is looked at. Data that
 * lies elsewhere is left alone. */
void lks_map_forget(const lks_map *map, const void *data, size_t n);

/* Reads a whole file of at most `limit` bytes; *data is malloc'ed, one zero byte longer than *n. Refuses what is no
 * regular file with LKS_ERR_IO. */
lks_status lks_file_read(char **data, size_t *n, const char *path, size_t limit, lks_error *err);

#endif
