/* Zip reader (PKWARE APPNOTE 6.3.9), sections in file order:
 *
 *   { local header, 30 bytes | name | extra | data }   per entry
 *   { central header, 46 bytes | name | extra | comment }  per entry
 *   [ zip64 end record, 56 bytes | zip64 locator, 20 bytes ]   end record, 22 bytes | comment
 *
 * 32-bit fields of all ones stand in the zip64 parts instead. The central directory is believed, and every local header
 * must agree with it on the name. */
#include "fusion/weights/zip.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ENTRIES 131072 /* a storage per tensor and a handful of small records */

enum { N_LOCAL = 30, N_CENTRAL = 46, N_END = 22, N_END64 = 56, N_LOCATOR = 20, MAX_COMMENT = 65535 };

#define LOCAL_MAGIC 0x04034B50u
#define CENTRAL_MAGIC 0x02014B50u
#define END_MAGIC 0x06054B50u
#define END64_MAGIC 0x06064B50u
#define LOCATOR_MAGIC 0x07064B50u
#define IN_ZIP64 0xFFFFFFFFu

typedef struct directory {
    size_t begin, size, n_entries;
} directory;

static lks_status damaged(const lks_weight_source *in, const char *reason, lks_error *err)
{
    return lks_error_set(err, LKS_ERR_MODEL, "%s: its zip archive %s" LKS_DAMAGED, in->path, reason);
}

/* Where the end record lies: the last one whose comment ends with the file. */
static bool find_end(size_t *at, const lks_weight_source *in)
{
    if (in->size < N_END)
        return false;
    size_t last = in->size - N_END, first = last > MAX_COMMENT ? last - MAX_COMMENT : 0;
    for (size_t i = last + 1; i-- > first;) {
        if (lks_le32(in->data + i) == END_MAGIC && lks_le16(in->data + i + 20) == last - i) {
            *at = i;
            return true;
        }
    }
    return false;
}

static lks_status find_directory(directory *out, const lks_weight_source *in, lks_error *err)
{
    size_t end;
    if (!find_end(&end, in))
        return damaged(in, "has no end record", err);
    const unsigned char *p = in->data + end;
    uint64_t n = lks_le16(p + 10), size = lks_le32(p + 12), begin = lks_le32(p + 16);
    if (end >= N_LOCATOR && lks_le32(p - N_LOCATOR) == LOCATOR_MAGIC) {
        uint64_t at = lks_le64(p - N_LOCATOR + 8);
        if (end < N_LOCATOR + N_END64 || at > end - N_LOCATOR - N_END64 || lks_le32(in->data + at) != END64_MAGIC)
            return damaged(in, "has a zip64 locator that points nowhere", err);
        end = (size_t)at;
        n = lks_le64(in->data + at + 32);
        size = lks_le64(in->data + at + 40);
        begin = lks_le64(in->data + at + 48);
    }
    if (begin > end || size > end - begin || n > size / N_CENTRAL || n > MAX_ENTRIES)
        return damaged(in, "has a directory that lies outside the file", err);
    *out = (directory){(size_t)begin, (size_t)size, (size_t)n};
    return LKS_OK;
}

/* Replaces those of size, packed size and offset that stand in the zip64 extra field; false when they are not there. */
static bool read_zip64(uint64_t *values[3], const unsigned char *extra, size_t n_extra)
{
    size_t at = 0, field = 0, n_field = 0;
    while (n_extra - at >= 4 && field == 0) {
        size_t n = lks_le16(extra + at + 2);
        if (n > n_extra - at - 4)
            return false;
        if (lks_le16(extra + at) == 1) {
            field = at + 4;
            n_field = n;
        }
        at += 4 + n;
    }
    for (int i = 0; i < 3; i++) {
        if (*values[i] != IN_ZIP64)
            continue;
        if (field == 0 || n_field < 8)
            return false;
        *values[i] = lks_le64(extra + field);
        field += 8;
        n_field -= 8;
    }
    return true;
}

/* The central header at *at -> entry; *at moves past it. */
static lks_status read_entry(lks_zip_entry *entry, size_t *at, const directory *dir, const lks_weight_source *in,
                             lks_error *err)
{
    size_t left = dir->begin + dir->size - *at;
    const unsigned char *p = in->data + *at;
    if (left < N_CENTRAL || lks_le32(p) != CENTRAL_MAGIC)
        return damaged(in, "has a directory that is cut off", err);
    size_t n_name = lks_le16(p + 28), n_extra = lks_le16(p + 30), n_comment = lks_le16(p + 32);
    if (n_name + n_extra + n_comment > left - N_CENTRAL)
        return damaged(in, "has a directory that is cut off", err);
    *at += N_CENTRAL + n_name + n_extra + n_comment;
    entry->name = (const char *)p + N_CENTRAL;
    entry->n_name = n_name;

    char safe[80];
    lks_weight_printable(safe, entry->name, n_name);
    if (lks_le16(p + 10) != 0 || (lks_le16(p + 8) & 1) != 0)
        return lks_error_set(
            err, LKS_ERR_UNSUPPORTED,
            "%s: entry '%s' is compressed or encrypted, which torch.save never does; save the weights again", in->path,
            safe);
    uint64_t packed = lks_le32(p + 20), size = lks_le32(p + 24), begin = lks_le32(p + 42);
    uint64_t *values[3] = {&size, &packed, &begin};
    if (!read_zip64(values, p + N_CENTRAL + n_name, n_extra) || packed != size)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: entry '%s' has no consistent size" LKS_DAMAGED, in->path, safe);

    /* Local headers and data lie before the directory. */
    if (begin > dir->begin || dir->begin - begin < N_LOCAL || lks_le32(in->data + begin) != LOCAL_MAGIC)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: entry '%s' has no local header" LKS_DAMAGED, in->path, safe);
    const unsigned char *local = in->data + begin;
    size_t room = dir->begin - (size_t)begin - N_LOCAL, n_skip = (size_t)lks_le16(local + 26) + lks_le16(local + 28);
    if (n_skip > room || lks_le16(local + 26) != n_name || memcmp(local + N_LOCAL, entry->name, n_name) != 0)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: entry '%s' has another name in its local header" LKS_DAMAGED,
                             in->path, safe);
    if (size > room - n_skip)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: entry '%s' is longer than the file" LKS_DAMAGED, in->path, safe);
    entry->data = local + N_LOCAL + n_skip;
    entry->size = (size_t)size;
    entry->begin = (size_t)begin;
    entry->end = (size_t)begin + N_LOCAL + n_skip + (size_t)size;
    return LKS_OK;
}

static int by_begin(const void *left, const void *right)
{
    const lks_zip_entry *a = left, *b = right;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

static int by_name(const void *left, const void *right)
{
    const lks_zip_entry *a = left, *b = right;
    int order = memcmp(a->name, b->name, a->n_name < b->n_name ? a->n_name : b->n_name);
    return order ? order : (a->n_name > b->n_name) - (a->n_name < b->n_name);
}

static lks_status check_entries(lks_zip *zip, const lks_weight_source *in, lks_error *err)
{
    lks_zip_entry *entries = zip->entries;
    qsort(entries, zip->n_entries, sizeof *entries, by_begin);
    for (size_t i = 1; i < zip->n_entries; i++)
        if (entries[i].begin < entries[i - 1].end)
            return damaged(in, "has entries that overlap", err);
    qsort(entries, zip->n_entries, sizeof *entries, by_name);
    for (size_t i = 1; i < zip->n_entries; i++)
        if (by_name(&entries[i - 1], &entries[i]) == 0)
            return damaged(in, "has two entries of one name", err);
    return LKS_OK;
}

lks_status lks_zip_open(lks_zip *out, const lks_weight_source *in, lks_error *err)
{
    directory dir = {0};
    lks_status st = find_directory(&dir, in, err);
    if (st != LKS_OK)
        return st;
    lks_zip zip = {calloc(dir.n_entries + 1, sizeof *zip.entries), dir.n_entries};
    if (!zip.entries)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", in->path);
    size_t at = dir.begin;
    for (size_t i = 0; i < zip.n_entries && st == LKS_OK; i++)
        st = read_entry(&zip.entries[i], &at, &dir, in, err);
    if (st == LKS_OK && at != dir.begin + dir.size)
        st = damaged(in, "has a directory of another length than it says", err);
    if (st == LKS_OK)
        st = check_entries(&zip, in, err);
    if (st != LKS_OK) {
        lks_zip_release(&zip);
        return st;
    }
    *out = zip;
    return LKS_OK;
}

void lks_zip_release(lks_zip *zip)
{
    free(zip->entries);
    *zip = (lks_zip){0};
}

const lks_zip_entry *lks_zip_find(const lks_zip *zip, const char *name, size_t n_name)
{
    const lks_zip_entry key = {.name = name, .n_name = n_name};
    return zip->n_entries ? bsearch(&key, zip->entries, zip->n_entries, sizeof key, by_name) : NULL;
}
