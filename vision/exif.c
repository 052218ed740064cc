/* Orientation: of EXIF, read by libexif, and of XMP, found in its text. */
#include <libexif/exif-data.h>
#include <stdlib.h>
#include <string.h>

#include "vision/decode.h"

#define MAX_EXIF_BYTES 65533 /* an APP1 segment; libexif takes no more */

int lks_exif_orientation(const uint8_t *bytes, size_t n_bytes)
{
    static const uint8_t prefix[6] = "Exif\0";
    uint8_t *block = NULL;
    if (n_bytes < 8)
        return 0;
    if (memcmp(bytes, prefix, sizeof prefix) !=
        0) { /* PNG and WebP hold the bare TIFF structure, libexif wants the prefix */
        n_bytes = n_bytes < MAX_EXIF_BYTES - sizeof prefix ? n_bytes : MAX_EXIF_BYTES - sizeof prefix;
        block = malloc(n_bytes + sizeof prefix);
        if (!block)
            return 0;
        memcpy(block, prefix, sizeof prefix);
        memcpy(block + sizeof prefix, bytes, n_bytes);
        bytes = block;
        n_bytes += sizeof prefix;
    }
    if (n_bytes > MAX_EXIF_BYTES)
        n_bytes = MAX_EXIF_BYTES;

    int orientation = 0;
    ExifData *data = exif_data_new_from_data(bytes, (unsigned)n_bytes);
    if (data) {
        ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
        int value = 0;
        if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components >= 1 && entry->size >= 2)
            value = exif_get_short(entry->data, exif_data_get_byte_order(data));
        else if (entry && entry->format == EXIF_FORMAT_BYTE && entry->components >= 1 && entry->size >= 1)
            value = entry->data[0];
        if (entry)
            orientation = value >= 1 && value <= 8 ? value : 1;
        exif_data_unref(data);
    }
    free(block);
    return orientation;
}

int lks_xmp_orientation(const uint8_t *bytes, size_t n_bytes)
{
    static const char name[] = "tiff:Orientation";
    const size_t n_name = sizeof name - 1;
    const uint8_t *end = bytes + n_bytes, *at = bytes;
    while (at && (size_t)(end - at) > n_name + 2) {
        at = memmem(at, (size_t)(end - at), name, n_name);
        if (!at || (size_t)(end - at) <= n_name + 2)
            break;
        at += n_name;
        const uint8_t *digit = at[0] == '>' ? at + 1 : at[0] == '=' && at[1] == '"' ? at + 2 : NULL;
        if (digit && *digit >= '0' && *digit <= '9')
            return *digit >= '1' && *digit <= '8' ? *digit - '0' : 1;
    }
    return 1;
}
