/* EXIF orientation, read by libexif. */
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
        return 1;
    if (memcmp(bytes, prefix, sizeof prefix) !=
        0) { /* PNG and WebP hold the bare TIFF structure, libexif wants the prefix */
        n_bytes = n_bytes < MAX_EXIF_BYTES - sizeof prefix ? n_bytes : MAX_EXIF_BYTES - sizeof prefix;
        block = malloc(n_bytes + sizeof prefix);
        if (!block)
            return 1;
        memcpy(block, prefix, sizeof prefix);
        memcpy(block + sizeof prefix, bytes, n_bytes);
        bytes = block;
        n_bytes += sizeof prefix;
    }
    if (n_bytes > MAX_EXIF_BYTES)
        n_bytes = MAX_EXIF_BYTES;

    int orientation = 1;
    ExifData *data = exif_data_new_from_data(bytes, (unsigned)n_bytes);
    if (data) {
        ExifEntry *entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
        if (entry && entry->format == EXIF_FORMAT_SHORT && entry->components >= 1 && entry->size >= 2) {
            int value = exif_get_short(entry->data, exif_data_get_byte_order(data));
            if (value >= 1 && value <= 8)
                orientation = value;
        }
        exif_data_unref(data);
    }
    free(block);
    return orientation;
}
