/* Folders that are watched for photos to come: see watch.h. */
#include "apps/cli/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "apps/cli/engine.h"
#include "apps/cli/options.h"
#include "apps/common/hash.h"

enum { POLL_MS = 200, BUSY_POLL_MS = 20, N_EVENT_BYTES = 1 << 16 };

typedef struct folder {
    char *path; /* NULL: not watched any more */
    size_t n_root;
} folder;

/* A version of a file. */
typedef struct version {
    char *path; /* NULL: a free place in the table */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
} version;

struct watch {
    int file;
    folder *folders; /* by watch descriptor */
    size_t n_folders, n_watched;
    version *known; /* open addressing, n_places a power of two */
    size_t n_known, n_places;
    char **busy; /* paths that were asked about while somebody wrote to them */
    size_t n_busy, busy_capacity;
    size_t n_read, at; /* of events */
    char path[PATH_MAX + NAME_MAX + 2];
    _Alignas(struct inotify_event) char events[N_EVENT_BYTES];
};

static bool complain_memory(void)
{
    complain("out of memory");
    return false;
}

bool watch_open(watch **out)
{
    watch *w = calloc(1, sizeof *w);
    if (!w)
        return complain_memory();
    w->file = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->file < 0) {
        complain("folders cannot be watched: %s", strerror(errno));
        free(w);
        return false;
    }
    signal(SIGIO, SIG_IGN); /* of a lease that somebody breaks while we hold it */
    *out = w;
    return true;
}

static void forget_folder(watch *w, int number)
{
    if (number < 0 || (size_t)number >= w->n_folders || !w->folders[number].path)
        return;
    free(w->folders[number].path);
    w->folders[number].path = NULL;
    w->n_watched--;
}

static int add_watch(const watch *w, const char *path)
{
    return inotify_add_watch(w->file, path,
                             IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK);
}

bool watch_add(watch *w, const char *path, size_t n_root)
{
    int number = add_watch(w, path);
    if (number < 0 && errno == ENOSPC) {
        complain("%s: this system watches no more folders; raise fs.inotify.max_user_watches", path);
        return false;
    }
    if (number < 0)
        return true;
    if ((size_t)number >= w->n_folders) {
        size_t n = 2 * (size_t)number + 2;
        folder *grown = realloc(w->folders, n * sizeof *grown);
        if (!grown)
            return complain_memory();
        memset(grown + w->n_folders, 0, (n - w->n_folders) * sizeof *grown);
        w->folders = grown;
        w->n_folders = n;
    }
    char *copy = strdup(path);
    if (!copy)
        return complain_memory();
    forget_folder(w, number); /* by another name */
    w->folders[number] = (folder){copy, n_root};
    w->n_watched++;
    return true;
}

/* A folder that was moved and is not where we know it is no longer ours, nor is what is in it; one that was seen at its new place
 * is. */
static void check_moved(watch *w, int number)
{
    char *path = w->folders[number].path;
    size_t n = strlen(path);
    if (add_watch(w, path) == number)
        return;
    w->folders[number].path = NULL;
    w->n_watched--;
    inotify_rm_watch(w->file, number);
    for (size_t i = 0; i < w->n_folders; i++) {
        const char *other = w->folders[i].path;
        if (other && strncmp(other, path, n) == 0 && other[n] == '/') {
            forget_folder(w, (int)i);
            inotify_rm_watch(w->file, (int)i);
        }
    }
    free(path);
}

/* Whether a new entry is complete without being written to: a link. */
static bool is_link(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && (S_ISLNK(info.st_mode) || (S_ISREG(info.st_mode) && info.st_nlink > 1));
}

static watch_event read_event(watch *w, const struct inotify_event *e)
{
    watch_event out = {.kind = WATCH_END};
    if (e->mask & IN_Q_OVERFLOW)
        return (watch_event){.kind = WATCH_LOST};
    if (e->wd < 0 || (size_t)e->wd >= w->n_folders)
        return out;
    if (e->mask & IN_IGNORED)
        forget_folder(w, e->wd);
    else if (e->mask & IN_MOVE_SELF && w->folders[e->wd].path)
        check_moved(w, e->wd);
    if (e->mask & (IN_IGNORED | IN_MOVE_SELF) || e->len == 0)
        return out;
    const folder *in = &w->folders[e->wd];
    if (!in->path)
        return out;
    size_t n = strlen(in->path);
    const char *slash = n > 0 && in->path[n - 1] == '/' ? "" : "/";
    int length = snprintf(w->path, sizeof w->path, "%s%s%s", in->path, slash, e->name);
    if (length < 0 || (size_t)length >= sizeof w->path ||
        (!(e->mask & IN_ISDIR) && e->mask & IN_CREATE && !is_link(w->path)))
        return out;
    return (watch_event){e->mask & IN_ISDIR ? WATCH_FOLDER : WATCH_FILE, w->path, in->n_root};
}

/* Network file systems refuse leases for reasons of their own. */
static bool has_true_leases(int file)
{
    static const unsigned long known[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC,       BTRFS_SUPER_MAGIC,
                                          TMPFS_MAGIC,      OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};
    struct statfs info;
    bool found = false;
    for (size_t i = 0; fstatfs(file, &info) == 0 && i < sizeof known / sizeof *known; i++)
        found |= (unsigned long)info.f_type == known[i];
    return found;
}

/* Whether a process has the file open to write to it: then nobody else can have a lease for reading. */
static bool is_being_written(const char *path)
{
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return false;
    bool busy = fcntl(file, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN && has_true_leases(file);
    close(file); /* and with it the lease */
    return busy;
}

/* The system tells of a file's closing a moment before it counts one writer less: so a path that is busy is looked at again, or
 * its last event would have been for nothing. */
static void remember_busy(watch *w, const char *path)
{
    for (size_t i = 0; i < w->n_busy; i++)
        if (strcmp(w->busy[i], path) == 0)
            return;
    if (w->n_busy == w->busy_capacity) {
        size_t n = 2 * w->busy_capacity + 8;
        char **grown = realloc(w->busy, n * sizeof *grown);
        if (!grown) {
            complain_memory();
            return;
        }
        w->busy = grown;
        w->busy_capacity = n;
    }
    if (!(w->busy[w->n_busy] = strdup(path)))
        complain_memory();
    else
        w->n_busy++;
}

/* Takes the first path that nobody writes to any more into w->path. */
static bool take_ready(watch *w)
{
    for (size_t i = 0; i < w->n_busy; i++)
        if (!is_being_written(w->busy[i])) {
            snprintf(w->path, sizeof w->path, "%s", w->busy[i]);
            free(w->busy[i]);
            memmove(w->busy + i, w->busy + i + 1, (--w->n_busy - i) * sizeof *w->busy);
            return true;
        }
    return false;
}

watch_event watch_next(watch *w)
{
    while (!engine_is_interrupted()) {
        if (take_ready(w))
            return (watch_event){.kind = WATCH_READY, .path = w->path};
        while (w->at < w->n_read) {
            const struct inotify_event *e = (const struct inotify_event *)(const void *)(w->events + w->at);
            w->at += sizeof *e + e->len;
            watch_event event = read_event(w, e);
            if (event.kind != WATCH_END)
                return event;
        }
        if (w->n_watched == 0)
            break;
        struct pollfd ready = {.fd = w->file, .events = POLLIN};
        if (poll(&ready, 1, w->n_busy ? BUSY_POLL_MS : POLL_MS) <=
            0) /* a signal may come just before: so not for ever */
            continue;
        ssize_t n = read(w->file, w->events, sizeof w->events);
        w->at = 0;
        w->n_read = n > 0 ? (size_t)n : 0;
    }
    return (watch_event){.kind = WATCH_END};
}

static version *find(const watch *w, const char *path)
{
    size_t i = (size_t)hash_spread(hash_more(HASH_START, path, strlen(path))) & (w->n_places - 1);
    while (w->known[i].path && strcmp(w->known[i].path, path) != 0)
        i = (i + 1) & (w->n_places - 1);
    return &w->known[i];
}

static bool grow(watch *w)
{
    watch larger = {.n_places = w->n_places ? 2 * w->n_places : 256};
    larger.known = calloc(larger.n_places, sizeof *larger.known);
    if (!larger.known)
        return complain_memory();
    for (size_t i = 0; i < w->n_places; i++)
        if (w->known[i].path)
            *find(&larger, w->known[i].path) = w->known[i];
    free(w->known);
    w->known = larger.known;
    w->n_places = larger.n_places;
    return true;
}

/* Notes the version that is there. false: it was known, or memory ran out. */
static bool note(watch *w, const char *path, const struct stat *info)
{
    if (2 * (w->n_known + 1) > w->n_places && !grow(w))
        return false;
    version *v = find(w, path);
    bool known = v->path && v->device == info->st_dev && v->inode == info->st_ino && v->size == info->st_size &&
                 v->changed.tv_sec == info->st_mtim.tv_sec && v->changed.tv_nsec == info->st_mtim.tv_nsec;
    if (!v->path) {
        v->path = strdup(path);
        if (!v->path)
            return complain_memory();
        w->n_known++;
    }
    v->device = info->st_dev;
    v->inode = info->st_ino;
    v->size = info->st_size;
    v->changed = info->st_mtim;
    return !known;
}

bool watch_is_news(watch *w, const char *path)
{
    struct stat info;
    if (is_being_written(path)) {
        remember_busy(w, path);
        return false;
    }
    /* After the check, for what was written last. A file is there a moment before it is open to be filled: empty is not complete. */
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 && note(w, path, &info);
}

void watch_ignore(watch *w, const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0)
        note(w, path, &info);
}

void watch_close(watch *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_folders; i++)
        free(w->folders[i].path);
    for (size_t i = 0; i < w->n_places; i++)
        free(w->known[i].path);
    for (size_t i = 0; i < w->n_busy; i++)
        free(w->busy[i]);
    free(w->folders);
    free(w->known);
    free(w->busy);
    close(w->file);
    free(w);
}
