/* Captions beside photos or inside them: holiday.txt for training tools, XMP for photo libraries. */
#ifndef LOOKSAY_COMMON_SIDECAR_H
#define LOOKSAY_COMMON_SIDECAR_H

#include <stdbool.h>
#include <stdint.h>

#include "apps/common/journal.h"

typedef enum sidecar_kind {
    SIDECAR_NONE,
    SIDECAR_TEXT, /* holiday.txt */
    SIDECAR_XMP,  /* holiday.jpg.xmp */
    SIDECAR_EMBED /* XMP inside holiday.jpg */
} sidecar_kind;

typedef struct sidecar {
    sidecar_kind kind;
    const char *extension; /* without its dot, in place of the photo's; NULL: the kind's own name */
    const char *existing;  /* "skip", "overwrite", "append", "prepend" */
} sidecar;

typedef enum sidecar_result {
    SIDECAR_WRITTEN,
    SIDECAR_REFUSED, /* this photo or its folder takes none; others may */
    SIDECAR_BROKEN   /* nothing can be written */
} sidecar_result;

/* format: "txt", "xmp" or "embed"; the kind is SIDECAR_NONE for any other and for NULL. existing: NULL for "skip". Borrows. */
sidecar sidecar_of(const char *format, const char *extension, const char *existing);

/* Whether the photo needs no caption: its text file is there, or its XMP holds all that a caption would fill. */
bool sidecar_is_done(const sidecar *s, const char *image);

/* Writes the caption, replacing the file in one step: the new one is whole on the disk before it gets its name. With
 * "skip", a text file that has come since sidecar_is_done stays; unless it says the same, that is a refusal. With a journal (NULL:
 * none), an entry with its size and hash is on the disk at that moment too. Anything but SIDECAR_WRITTEN comes after a
 * message, and what was there is untouched. */
sidecar_result sidecar_write(const sidecar *s, const char *image, const char *caption, journal *j);

/* Ends what a killed run began: a new file of this size and hash that is still under its temporary name gets its own. Returns
 * false after a message. */
bool sidecar_finish(const sidecar *s, const char *image, uint64_t size, uint64_t hash);

#endif
