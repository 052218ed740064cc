/* What is done of a batch: see journal.h. */
#include "apps/common/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/complain.h"
#include "apps/common/hash.h"

#define MAGIC "looksay-journal 1 "

struct journal_image {
    const char *image; /* NULL: free; borrowed from the entries */
    size_t n_ok, n_failed;
};

static bool complain_memory(void)
{
    complain("out of memory");
    return false;
}

static bool complain_io(const journal *j, const char *what)
{
    complain("%s: cannot be %s: %s", j->path, what, strerror(errno));
    return false;
}

/* The record and the zero byte that ends it. */
static bool append_record(journal *j, const char *record)
{
    size_t n = strlen(record) + 1;
    if (j->n_pending + n > j->pending_capacity) {
        size_t capacity = 2 * j->pending_capacity + n;
        char *grown = realloc(j->pending, capacity);
        if (!grown)
            return complain_memory();
        j->pending = grown;
        j->pending_capacity = capacity;
    }
    memcpy(j->pending + j->n_pending, record, n);
    j->n_pending += n;
    return true;
}

bool journal_commit(journal *j)
{
    j->committed = lseek(j->file, 0, SEEK_CUR);
    for (size_t done = 0; done < j->n_pending;) {
        ssize_t n = write(j->file, j->pending + done, j->n_pending - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return complain_io(j, "written");
        done += (size_t)n;
    }
    if (j->n_pending > 0 && fsync(j->file) != 0)
        return complain_io(j, "written");
    j->n_pending = 0;
    return true;
}

bool journal_add(journal *j, const char *image, bool failed, uint64_t size, uint64_t hash)
{
    char *rest = NULL, *record = NULL;
    bool done = asprintf(&rest, "%s %" PRIu64 " %016" PRIx64 " %s", failed ? "failed" : "ok", size, hash, image) > 0 &&
                asprintf(&record, "%016" PRIx64 " %s", hash_more(HASH_START, rest, strlen(rest)), rest) > 0;
    done = done ? append_record(j, record) : complain_memory();
    free(rest);
    free(record);
    return done;
}

/* A number, and the space behind it. */
static bool take_number(char **at, uint64_t *out, int base)
{
    char *end = *at;
    errno = 0;
    *out = strtoull(*at, &end, base);
    bool taken = end > *at && errno == 0 && *end == ' ';
    *at = end + taken;
    return taken;
}

/* Reads a record whose hash is right; false for any other. The image is borrowed from it. */
static bool read_entry(journal_entry *out, char *record)
{
    char *at = record;
    uint64_t said;
    journal_entry e = {.image = NULL};
    if (!take_number(&at, &said, 16) || hash_more(HASH_START, at, strlen(at)) != said)
        return false;
    e.failed = strncmp(at, "failed ", 7) == 0;
    if (!e.failed && strncmp(at, "ok ", 3) != 0)
        return false;
    at += e.failed ? 7 : 3;
    if (!take_number(&at, &e.size, 10) || !take_number(&at, &e.hash, 16))
        return false;
    e.image = at;
    *out = e;
    return true;
}

static bool add_entry(journal *j, journal_entry e)
{
    if ((j->n_entries & (j->n_entries - 1)) == 0) { /* a power of two: full */
        size_t capacity = j->n_entries ? 2 * j->n_entries : 1;
        journal_entry *grown = realloc(j->entries, capacity * sizeof *grown);
        if (!grown)
            return complain_memory();
        j->entries = grown;
    }
    e.image = strdup(e.image);
    if (!e.image)
        return complain_memory();
    j->entries[j->n_entries++] = e;
    return true;
}

/* The first record says whose journal it is. One without an end, of which what is there fits, is what a killed run began. */
static bool check_head(journal *j, const char *head, size_t n, const char *run)
{
    size_t n_magic = strlen(MAGIC);
    bool whole = head[n - 1] == '\0';
    if (strncmp(head, MAGIC, !whole && n < n_magic ? n : n_magic) != 0) {
        complain("%s: is no journal of looksay; name another with --journal", j->path);
        return false;
    }
    if (whole && strcmp(head + n_magic, run) != 0) {
        complain("%s: belongs to a run with other options; use those, or remove it to start again\n"
                 "  then: %s\n  now:  %s",
                 j->path, head + n_magic, run);
        return false;
    }
    j->head = whole ? n : 0;
    return true;
}

static bool read_records(journal *j, FILE *from, const char *run)
{
    char *record = NULL;
    size_t capacity = 0;
    ssize_t n = getdelim(&record, &capacity, '\0', from);
    bool done = n <= 0 || check_head(j, record, (size_t)n, run);
    uint64_t end = j->head;
    journal_entry e;
    while (done && j->head > 0 && (n = getdelim(&record, &capacity, '\0', from)) > 0 && record[n - 1] == '\0' &&
           read_entry(&e, record)) {
        end += (uint64_t)n;
        e.end = end;
        done = add_entry(j, e);
    }
    free(record);
    return done;
}

/* Cuts the file at `end`, where the next record goes. */
static bool cut(journal *j, uint64_t end)
{
    if (ftruncate(j->file, (off_t)end) != 0 || lseek(j->file, (off_t)end, SEEK_SET) < 0 || fsync(j->file) != 0)
        return complain_io(j, "written");
    return true;
}

bool journal_revoke(journal *j)
{
    return cut(j, (uint64_t)j->committed);
}

static bool write_head(journal *j, const char *run)
{
    char *head = NULL;
    bool done = asprintf(&head, MAGIC "%s", run) > 0 || complain_memory();
    done = done && append_record(j, head) && journal_commit(j);
    j->head = done ? strlen(head) + 1 : 0;
    free(head);
    return done;
}

static bool read_journal(journal *j, const char *run)
{
    int copy = dup(j->file);
    FILE *from = copy < 0 ? NULL : fdopen(copy, "r");
    if (!from) {
        complain_io(j, "read");
        if (copy >= 0)
            close(copy);
        return false;
    }
    bool done = read_records(j, from, run);
    fclose(from);
    return done && cut(j, j->n_entries ? j->entries[j->n_entries - 1].end : j->head) &&
           (j->head > 0 || write_head(j, run));
}

bool journal_open(journal *out, const char *path, const char *run)
{
    journal j = {.file = -1, .path = strdup(path)};
    if (!j.path)
        return complain_memory();
    j.file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    bool done = j.file >= 0 || complain_io(&j, "opened");
    if (done && flock(j.file, LOCK_EX | LOCK_NB) != 0) {
        complain("%s: another run is at work on it", path);
        done = false;
    }
    if (!done || !read_journal(&j, run)) {
        journal_close(&j);
        return false;
    }
    *out = j;
    return true;
}

static struct journal_image *find(const journal *j, const char *image)
{
    size_t i = (size_t)hash_spread(hash_more(HASH_START, image, strlen(image))) & (j->n_images - 1);
    while (j->images[i].image && strcmp(j->images[i].image, image) != 0)
        i = (i + 1) & (j->n_images - 1);
    return &j->images[i];
}

bool journal_keep(journal *j, size_t n)
{
    for (size_t i = n; i < j->n_entries; i++)
        free(j->entries[i].image);
    if (n < j->n_entries && !cut(j, n ? j->entries[n - 1].end : j->head))
        return false;
    j->n_entries = n;
    for (j->n_images = 1; j->n_images < 2 * n; j->n_images *= 2)
        ;
    j->images = calloc(j->n_images, sizeof *j->images);
    if (!j->images)
        return complain_memory();
    for (size_t i = 0; i < n; i++) {
        struct journal_image *image = find(j, j->entries[i].image);
        image->image = j->entries[i].image;
        if (j->entries[i].failed)
            image->n_failed++;
        else
            image->n_ok++;
    }
    return true;
}

bool journal_take(journal *j, const char *image, bool *failed)
{
    struct journal_image *found = j->n_entries > 0 ? find(j, image) : NULL;
    if (!found || found->n_ok + found->n_failed == 0)
        return false;
    *failed = found->n_ok == 0;
    if (*failed)
        found->n_failed--;
    else
        found->n_ok--;
    return true;
}

void journal_close(journal *j)
{
    if (!j || !j->path)
        return;
    for (size_t i = 0; i < j->n_entries; i++)
        free(j->entries[i].image);
    free(j->entries);
    free(j->images);
    free(j->pending);
    free(j->path);
    if (j->file >= 0)
        close(j->file);
    *j = (journal){.file = -1};
}
