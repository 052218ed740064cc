/* The unfinished file beside the one that it becomes: see part.h. */
#include "apps/common/part.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/xattr.h>
#endif
#include <unistd.h>

enum { MAX_ATTRIBUTE = 1 << 16 }; /* Linux's own limit, of one and of the list of names */

/* Locks the file, which is closed when that fails: with EWOULDBLOCK also when it has meanwhile become what it was for. A file
 * system without locks has no say. */
static FILE *take(int file, const char *part, const char *mode)
{
    struct stat info, named;
    FILE *stream = NULL;
    if (file < 0)
        return NULL;
    if (flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        goto done;
    if (fstat(file, &info) != 0 || lstat(part, &named) != 0 || info.st_ino != named.st_ino ||
        info.st_dev != named.st_dev) {
        errno = EWOULDBLOCK;
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        errno = EEXIST;
        goto done;
    }
    stream = fdopen(file, mode);
done:
    if (!stream) {
        int error = errno;
        close(file);
        errno = error;
    }
    return stream;
}

FILE *part_open(const char *part, mode_t mode)
{
    return take(open(part, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, mode), part, "r+");
}

FILE *part_make(const char *part)
{
    FILE *old = take(open(part, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC), part, "r");
    if (!old && errno != ENOENT)
        return NULL;
    if (old) {
        unlink(part);
        fclose(old);
    }
    return take(open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666), part, "w+");
}

const char *part_error(int error)
{
    return error == EWOULDBLOCK ? "another run is at work on it" : error == ELOOP ? "it is a link" : strerror(error);
}

/* Only those that are the user's. */
static void copy_attributes(int to, const char *path)
{
#ifdef __linux__
    char names[MAX_ATTRIBUTE], value[MAX_ATTRIBUTE];
    ssize_t n_names = listxattr(path, names, sizeof names);
    for (char *name = names; name - names < n_names; name += strlen(name) + 1) {
        ssize_t n = strncmp(name, "user.", 5) == 0 ? getxattr(path, name, value, sizeof value) : -1;
        if (n >= 0)
            fsetxattr(to, name, value, (size_t)n, 0);
    }
#else
    (void)to;
    (void)path;
#endif
}

void part_inherit(FILE *part, const char *path)
{
    struct stat info;
    int to = fileno(part);
    if (stat(path, &info) != 0)
        return;
    copy_attributes(to, path); /* before the mode, which may forbid it */
    if (fchown(to, info.st_uid, info.st_gid) == 0)
        fchmod(to, info.st_mode & 07777); /* where owners cannot be kept, neither are set-user bits */
}
