/* The XMP packet inside a JPEG, PNG or WebP file. No other byte of a JPEG or PNG is touched.
 *
 * Libraries that write metadata into photos do more than that: exempi 2.6.3 puts the caption in place of EXIF's and IPTC's own
 * words, loses an EXIF position on the way, and leaves WebP files without VP8X unreadable. */
#ifndef LOOKSAY_COMMON_PHOTO_XMP_H
#define LOOKSAY_COMMON_PHOTO_XMP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct photo_xmp {
    char *packet; /* malloc'ed, with a zero byte behind it; NULL: none */
    size_t n_packet;
    char *description; /* what EXIF or IPTC say the photo shows, malloc'ed UTF-8; NULL: nothing */
} photo_xmp;

/* false: no such file, or damaged, or with XMP that cannot be replaced. */
bool photo_xmp_read(photo_xmp *out, const unsigned char *bytes, size_t n);

/* Why photo_xmp_read says false, to stand behind the file's name. */
const char *photo_xmp_refusal(const unsigned char *bytes, size_t n);
void photo_xmp_release(photo_xmp *x);

/* The file with this packet for its own, malloc'ed; NULL as above, or when the packet is too long, or out of memory. */
unsigned char *photo_xmp_replace(size_t *n_new, const unsigned char *bytes, size_t n, const char *packet,
                                 size_t n_packet);

#endif
