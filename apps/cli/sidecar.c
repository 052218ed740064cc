/* Sidecar files: see sidecar.h. */
#include "apps/cli/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/cli/hash.h"
#include "apps/cli/options.h"
#include "apps/cli/sink.h"

#define MAX_OLD_BYTES ((off_t)64 << 20) /* a longer file is no caption */

char *sidecar_path(const char *image, const char *extension)
{
    if (strcmp(image, "-") == 0)
        image = "stdin";
    const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image, *dot = strrchr(name, '.');
    int stem = (int)(dot && dot > name ? dot - image : (long)strlen(image));
    char *path;
    return asprintf(&path, "%.*s.%s", stem, image, extension) < 0 ? NULL : path;
}

bool sidecar_exists(const char *image, const char *extension)
{
    char *path = sidecar_path(image, extension);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* The file's bytes with a zero byte behind them, malloc'ed; NULL with errno when it cannot be read. */
static char *read_file(const char *path, size_t *n_bytes)
{
    struct stat info;
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    char *bytes = NULL;
    bool small = fstat(fileno(file), &info) == 0 && info.st_size <= MAX_OLD_BYTES;
    if (!small)
        errno = EFBIG;
    else
        bytes = malloc((size_t)info.st_size + 1);
    if (bytes) {
        *n_bytes = fread(bytes, 1, (size_t)info.st_size, file);
        bytes[*n_bytes] = '\0';
        if (ferror(file)) {
            free(bytes);
            bytes = NULL;
        }
    }
    int error = errno;
    fclose(file);
    errno = error;
    return bytes;
}

/* The new file, malloc'ed; every text in it ends its line. NULL after a message. */
static char *compose(const char *path, const char *caption, const char *existing, size_t *n_bytes)
{
    bool append = strcmp(existing, "append") == 0, prepend = strcmp(existing, "prepend") == 0;
    size_t n_old = 0;
    char *old = append || prepend ? read_file(path, &n_old) : NULL;
    if ((append || prepend) && !old && errno != ENOENT) {
        complain("%s: cannot be read, so nothing is added to it: %s", path, strerror(errno));
        return NULL;
    }
    FILE *to = NULL;
    char *text = NULL;
    to = open_memstream(&text, n_bytes);
    if (to) {
        if (prepend)
            fprintf(to, "%s\n", caption);
        if (n_old > 0)
            fwrite(old, 1, n_old, to);
        if (append && n_old > 0 && old[n_old - 1] != '\n')
            fputc('\n', to);
        if (!prepend)
            fprintf(to, "%s\n", caption);
        if (ferror(to) | fclose(to)) {
            free(text);
            text = NULL;
        }
    }
    free(old);
    if (!text)
        complain("out of memory");
    return text;
}

/* The new name is on the disk when it returns; where folders cannot be synced, as it may be. */
static void settle_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        slash[slash == path] = '\0';
    int folder = open(slash ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
}

/* Puts the bytes in the place of path. An entry of the journal promises the new file: its part is then left for a later run to
 * finish, should the last step fail. */
static bool replace_file(char *path, const char *bytes, size_t n, const char *image, journal *j)
{
    sink s;
    if (!sink_open(&s, path))
        return false;
    fwrite(bytes, 1, n, s.stream);
    if (!sink_settle(&s)) {
        sink_leave(&s, false);
        return false;
    }
    if (j && !(journal_add(j, image, false, n, hash_more(HASH_START, bytes, n)) && journal_commit(j))) {
        sink_leave(&s, true);
        return false;
    }
    if (!sink_close(&s))
        return false;
    if (j)
        settle_folder(path);
    return true;
}

bool sidecar_write(const char *image, const char *extension, const char *caption, const char *existing, journal *j)
{
    char *path = sidecar_path(image, extension), *text = NULL;
    size_t n = 0;
    if (!path)
        complain("out of memory");
    else if (strcmp(path, image) == 0)
        complain("%s: is the image itself; choose another extension for captions with --ext", path);
    else
        text = compose(path, caption, existing, &n);
    bool done = text && replace_file(path, text, n, image, j);
    free(text);
    free(path);
    return done;
}

bool sidecar_finish(const char *image, const char *extension, uint64_t size, uint64_t hash)
{
    size_t n = 0;
    char *path = sidecar_path(image, extension), *part = NULL, *bytes = NULL;
    bool done = path && asprintf(&part, "%s.part", path) > 0;
    if (!done)
        complain("out of memory");
    else
        bytes = read_file(part, &n);
    if (bytes && n == size && hash_more(HASH_START, bytes, n) == hash) {
        done = rename(part, path) == 0;
        if (!done)
            complain("%s: cannot take the place of %s: %s", part, path, strerror(errno));
    }
    free(bytes);
    free(part);
    free(path);
    return done;
}
