/* Zip archives whose entries are stored as they are, as torch.save writes them: a directory of byte ranges in memory. */
#ifndef LKS_WEIGHTS_ZIP_H
#define LKS_WEIGHTS_ZIP_H

#include "fusion/weights/reader.h"

typedef struct lks_zip_entry {
    const char *name; /* in the archive, not terminated */
    size_t n_name;
    const unsigned char *data;
    size_t size;
    size_t begin, end; /* of local header and data, in bytes from the start of the archive */
} lks_zip_entry;

typedef struct lks_zip {
    lks_zip_entry *entries; /* sorted by name, all different */
    size_t n_entries;
} lks_zip;

/* Reads the central directory. Compressed or encrypted entries, entries that overlap and names that appear twice are
 * errors. Checksums are not compared: that would read all of a model that is mapped to avoid just this. */
lks_status lks_zip_open(lks_zip *out, const lks_weight_source *in, lks_error *err);
void lks_zip_release(lks_zip *zip);

const lks_zip_entry *lks_zip_find(const lks_zip *zip, const char *name, size_t n_name); /* NULL: absent */

#endif
