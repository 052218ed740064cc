/* Whole files: see file.h. Files are opened without blocking and looked at before use, so that a FIFO, a terminal or a
 * directory under a model's name is an error and no hang. */
#include "fusion/weights/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static lks_status system_error(const char *path, const char *action, int number, lks_error *err)
{
    char text[128];
    return lks_error_set(err, LKS_ERR_IO, "%s: cannot be %s: %s", path, action, strerror_r(number, text, sizeof text));
}

static lks_status open_regular(int *out, size_t *size, const char *path, lks_error *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return system_error(path, "opened", errno, err);
    struct stat info;
    lks_status st = LKS_OK;
    if (fstat(fd, &info) != 0)
        st = system_error(path, "opened", errno, err);
    else if (S_ISDIR(info.st_mode))
        st = lks_error_set(err, LKS_ERR_IO, "%s: is a directory, a file is needed", path);
    else if (!S_ISREG(info.st_mode))
        st = lks_error_set(err, LKS_ERR_IO, "%s: is a pipe or device, a regular file is needed", path);
    else if ((uintmax_t)info.st_size > SIZE_MAX / 2)
        st = lks_error_set(err, LKS_ERR_IO, "%s: is too large for this machine's address space", path);
    if (st != LKS_OK) {
        close(fd);
        return st;
    }
    *out = fd;
    *size = (size_t)info.st_size;
    return LKS_OK;
}

lks_status lks_map_open(lks_map *out, const char *path, lks_error *err)
{
    int fd;
    size_t size;
    lks_status st = open_regular(&fd, &size, path, err);
    if (st != LKS_OK)
        return st;
    void *data = NULL;
    if (size > 0)
        data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int number = errno;
    close(fd);
    if (data == MAP_FAILED)
        return system_error(path, "mapped", number, err);
    out->data = data;
    out->size = size;
    return LKS_OK;
}

void lks_map_close(lks_map *map)
{
    if (map->data)
        munmap((void *)map->data, map->size);
    map->data = NULL;
    map->size = 0;
}

void lks_map_forget(const lks_map *map, const void *data, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)data, base = (uintptr_t)map->data;
    if (first < base || first - base > map->size || n > map->size - (first - base))
        return;
    const uintptr_t begin = (first + page - 1) / page * page, end = (first + n) / page * page;
    if (begin < end)
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* read-only and private: nothing is lost */
}

/* buffer [n] = the file's first n bytes, fewer when it has become shorter: returns how many, -1 on failure. */
static ssize_t read_up_to(int fd, char *buffer, size_t n)
{
    size_t used = 0;
    while (used < n) {
        ssize_t got = read(fd, buffer + used, n - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        used += (size_t)got;
    }
    return (ssize_t)used;
}

lks_status lks_file_read(char **data, size_t *n, const char *path, size_t limit, lks_error *err)
{
    int fd;
    size_t size;
    lks_status st = open_regular(&fd, &size, path, err);
    if (st != LKS_OK)
        return st;
    char *buffer = NULL;
    if (size > limit) {
        st = lks_error_set(err, LKS_ERR_IO, "%s: has %zu bytes, at most %zu are read", path, size, limit);
        goto done;
    }
    buffer = malloc(size + 1);
    if (!buffer) {
        st = lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory (%zu bytes)", path, size);
        goto done;
    }
    ssize_t got = read_up_to(fd, buffer, size);
    if (got < 0) {
        st = system_error(path, "read", errno, err);
        goto done;
    }
    buffer[got] = '\0';
    *data = buffer;
    *n = (size_t)got;
    buffer = NULL;
done:
    free(buffer);
    close(fd);
    return st;
}
