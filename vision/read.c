/* Image files: opened without ever blocking, checked to be plain files, read whole.
 *
 * O_NONBLOCK keeps a FIFO from stopping a batch; fstat on the open descriptor leaves no gap between check and use. The
 * bytes are read, not mapped: a file that shrinks meanwhile is a short read, not a signal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vision/decode.h"

#define MAX_FILE_BYTES ((int64_t)1 << 30)

/* Bytes of the UTF-8 character at p, 0 when it is none (overlong, surrogate, cut or beyond U+10FFFF). */
static size_t utf8_length(const unsigned char *p)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return n;
}

/* Writes the printable form of one character of `p` to `text` (at least 5 bytes) and returns how many bytes it consumed. */
static size_t print_character(char *text, const unsigned char *p)
{
    size_t n = utf8_length(p);
    bool control = n == 1 && (p[0] < 0x20 || p[0] == 0x7F);
    bool c1 = n == 2 && p[0] == 0xC2 && p[1] < 0xA0;
    if (n == 0 || control || c1) {
        snprintf(text, 5, "\\x%02X", p[0]);
        return 1;
    }
    memcpy(text, p, n);
    text[n] = '\0';
    return n;
}

void lks_image_printable_name(char *out, size_t n_out, const char *name)
{
    const unsigned char *p = (const unsigned char *)name;
    char text[5];
    size_t total = 0;
    for (const unsigned char *q = p; *q;) {
        q += print_character(text, q);
        total += strlen(text);
    }
    size_t used = 0;
    if (total >= n_out) { /* skip whole characters until the rest fits behind the dots */
        while (*p && total + 3 >= n_out) {
            p += print_character(text, p);
            total -= strlen(text);
        }
        memcpy(out, "...", 3);
        used = 3;
    }
    while (*p) {
        p += print_character(text, p);
        memcpy(out + used, text, strlen(text));
        used += strlen(text);
    }
    out[used] = '\0';
}

static lks_status explain_open(const char *name, int error, lks_error *err)
{
    switch (error) {
    case ENOENT:
        return lks_error_set(err, LKS_ERR_IO, "%s: no such file", name);
    case EACCES:
        return lks_error_set(err, LKS_ERR_IO, "%s: permission denied: make the file readable for this user", name);
    case ELOOP:
        return lks_error_set(err, LKS_ERR_IO, "%s: a symbolic link that leads back to itself", name);
    case ENXIO:
        return lks_error_set(err, LKS_ERR_IO, "%s: a socket or device, not an image file", name);
    default:
        return lks_error_set(err, LKS_ERR_IO, "%s: cannot be opened: %s", name, strerror(error));
    }
}

static lks_status check_plain_file(const char *name, const struct stat *info, lks_error *err)
{
    if (S_ISDIR(info->st_mode))
        return lks_error_set(err, LKS_ERR_IO, "%s: is a directory, not an image file", name);
    if (S_ISFIFO(info->st_mode))
        return lks_error_set(err, LKS_ERR_IO, "%s: is a named pipe (FIFO), not an image file", name);
    if (!S_ISREG(info->st_mode))
        return lks_error_set(err, LKS_ERR_IO, "%s: is a device, not an image file", name);
    if (info->st_size == 0)
        return lks_error_set(err, LKS_ERR_IMAGE, "%s: the file is empty", name);
    if (info->st_size > MAX_FILE_BYTES)
        return lks_error_set(err, LKS_ERR_IMAGE, "%s: the file is larger than 1 GiB, too large for an image", name);
    return LKS_OK;
}

static lks_status read_bytes(uint8_t **bytes, size_t *n_bytes, int descriptor, size_t size, const char *name,
                             lks_error *err)
{
    uint8_t *buffer = malloc(size);
    if (!buffer)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory reading %zu bytes", name, size);
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(descriptor, buffer + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int error = errno;
            free(buffer);
            return lks_error_set(err, LKS_ERR_IO, "%s: cannot be read: %s", name, strerror(error));
        }
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *bytes = buffer;
    *n_bytes = n;
    return LKS_OK;
}

lks_status lks_image_read(lks_image *out, bool *damaged, const char *path, const lks_decode_options *options,
                          lks_error *err)
{
    char name[256];
    lks_image_printable_name(name, sizeof name, path);
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (descriptor < 0)
        return explain_open(name, errno, err);

    uint8_t *bytes = NULL;
    size_t n_bytes = 0;
    struct stat info;
    lks_status st;
    if (fstat(descriptor, &info) != 0)
        st = lks_error_set(err, LKS_ERR_IO, "%s: cannot be examined: %s", name, strerror(errno));
    else
        st = check_plain_file(name, &info, err);
    if (st == LKS_OK)
        st = read_bytes(&bytes, &n_bytes, descriptor, (size_t)info.st_size, name, err);
    close(descriptor);
    if (st == LKS_OK)
        st = lks_image_decode(out, damaged, bytes, n_bytes, path, options, err);
    free(bytes);
    return st;
}
