/* What is done of a batch, kept so that a run can be killed at any moment and go on: a file to which records are only appended,
 * each ended by a zero byte, so that a path needs no quoting,
 *
 *     looksay-journal 1 RUN
 *     HASH ok|failed SIZE HASH-OF-OUTPUT PATH
 *
 * HASH (hash.h, 16 hexadecimal digits) is of the rest of its record: what a torn write left behind is found by it and cut off.
 * RUN says what makes the output what it is, as the caller words it. SIZE and HASH-OF-OUTPUT are the caller's: how much output
 * there is with this image, and its hash. `tr '\0' '\n'` shows a journal. */
#ifndef LOOKSAY_COMMON_JOURNAL_H
#define LOOKSAY_COMMON_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct journal_entry {
    char *image;
    bool failed;
    uint64_t size, hash; /* of the output */
    uint64_t end;        /* of the record in the journal */
} journal_entry;

typedef struct journal {
    char *path;
    int file;
    uint64_t head;          /* where the first entry begins */
    journal_entry *entries; /* as read, oldest first */
    size_t n_entries;
    struct journal_image *images; /* open addressing, n_images a power of two: the entries by image, counted */
    size_t n_images;
    char *pending; /* records not in the file yet */
    size_t n_pending, pending_capacity;
    off_t committed; /* where the last commit began */
} journal;

/* Opens or makes the journal at `path`, and locks it. Returns false after a message: it cannot be written, another process has
 * it, it is no journal, or that of another run. */
bool journal_open(journal *out, const char *path, const char *run);

/* Forgets all but the first n entries, in the file too. Once, before journal_take. */
bool journal_keep(journal *j, size_t n);

/* Whether the image is done; each entry answers once, so that a path that is named twice is done twice. */
bool journal_take(journal *j, const char *image, bool *failed);

/* Adds an entry; it is in the file, on the disk, when journal_commit returns. Both return false after a message. */
bool journal_add(journal *j, const char *image, bool failed, uint64_t size, uint64_t hash);
bool journal_commit(journal *j);

/* Takes the last commit back. Returns false after a message. */
bool journal_revoke(journal *j);

/* NULL is safe, as is a journal that is all zero. What was not committed is dropped. */
void journal_close(journal *j);

#endif
