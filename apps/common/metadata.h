/* Captions in XMP (ISO 16684-1), as photo libraries read them: dc:description, and Iptc4xmpCore:AltTextAccessibility for screen
 * readers, both as the x-default of a language alternative. Everything else that is there stays. What a person has written is
 * replaced only when `existing` says so: "skip" fills what is empty, "overwrite" replaces, "append" and "prepend" put the
 * caption on a line after or before the old text. */
#ifndef LOOKSAY_COMMON_METADATA_H
#define LOOKSAY_COMMON_METADATA_H

#include <stdbool.h>
#include <stddef.h>

/* Where an XMP packet is: alone in a file, with an XML declaration, or inside a photo, with the wrapper that finds it there. */
typedef enum metadata_place { METADATA_BESIDE, METADATA_INSIDE } metadata_place;

/* Whether the program was built with XMP; without it the rest fails after a message. */
bool metadata_is_built(void);

/* Whether XMP of n bytes has both texts. description: what stands for a missing one, or NULL. */
bool metadata_is_complete(const char *bytes, size_t n, const char *description);

/* The description in XMP of n bytes, malloc'ed; NULL: none. */
char *metadata_description(const char *bytes, size_t n);

/* The new XMP, malloc'ed: the old one (NULL: none) with the caption. description: as above, XMP or not. NULL after a message that
 * names `path`. */
char *metadata_merge(const char *path, size_t *n_new, const char *old, size_t n_old, const char *description,
                     const char *caption, const char *existing, metadata_place place);

#endif
