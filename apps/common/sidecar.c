/* Captions beside photos or inside them: see sidecar.h. */
#include "apps/common/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/complain.h"
#include "apps/common/hash.h"
#include "apps/common/metadata.h"
#include "apps/common/part.h"
#include "apps/common/photo_xmp.h"
#include "apps/common/utf8.h"

#define MAX_OLD_BYTES ((off_t)256 << 20) /* a longer file is neither caption nor photo */

sidecar sidecar_of(const char *format, const char *extension, const char *existing)
{
    if (!format)
        format = "";
    sidecar_kind kind = strcmp(format, "txt") == 0     ? SIDECAR_TEXT
                        : strcmp(format, "xmp") == 0   ? SIDECAR_XMP
                        : strcmp(format, "embed") == 0 ? SIDECAR_EMBED
                                                       : SIDECAR_NONE;
    return (sidecar){kind, extension, existing ? existing : "skip"};
}

static bool complain_memory(void)
{
    complain("out of memory");
    return false;
}

/* After a message. What is wrong with a name or a folder is no reason to give up on others. */
static sidecar_result fail(const char *path, int error)
{
    static const int of_one[] = {EACCES, EEXIST,  EINVAL, EISDIR, ELOOP,      ENAMETOOLONG,
                                 ENOENT, ENOTDIR, EPERM,  EROFS,  EWOULDBLOCK};
    complain("%s: cannot be written: %s", path, part_error(error));
    for (size_t i = 0; i < sizeof of_one / sizeof *of_one; i++)
        if (error == of_one[i])
            return SIDECAR_REFUSED;
    return SIDECAR_BROKEN;
}

static bool complain_io(const char *path, const char *what)
{
    complain("%s: cannot be %s: %s", path, what, strerror(errno));
    return false;
}

/* The file that holds the caption, malloc'ed; "-" has "stdin" for a name. NULL when out of memory. */
static char *caption_path(const sidecar *s, const char *image)
{
    char *path = NULL;
    if (s->kind == SIDECAR_EMBED)
        path = realpath(image, NULL); /* the photo, not a link to it */
    if (path || s->kind == SIDECAR_EMBED)
        return path ? path : strdup(image);
    if (strcmp(image, "-") == 0)
        image = "stdin";
    const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image, *dot = strrchr(name, '.');
    bool whole = (s->kind == SIDECAR_XMP && !s->extension) || !dot || dot == name;
    const char *extension = s->extension ? s->extension : s->kind == SIDECAR_XMP ? "xmp" : "txt";
    return asprintf(&path, "%.*s.%s", (int)(whole ? (long)strlen(image) : dot - image), image, extension) < 0 ? NULL
                                                                                                              : path;
}

/* Where the new file is until it is whole, malloc'ed: hidden from lists of the folder, short whatever the name, and found again
 * by it. NULL when out of memory. */
static char *part_path(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL, *name = slash ? slash + 1 : path;
    char *part = NULL;
    if (!path || asprintf(&part, "%.*s.looksay-%016" PRIx64 ".part", (int)(name - path), path,
                          hash_more(HASH_START, name, strlen(name))) < 0)
        return NULL;
    return part;
}

/* The file's bytes with a zero byte behind them, malloc'ed; NULL with errno when it cannot be read. */
static char *read_file(const char *path, size_t *n_bytes)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return NULL;
    if (!S_ISREG(info.st_mode)) { /* opening a pipe would wait for its writer */
        errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        return NULL;
    }
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

static bool is_complete_inside(const unsigned char *bytes, size_t n)
{
    photo_xmp x;
    if (!photo_xmp_read(&x, bytes, n))
        return false;
    bool complete = x.packet && metadata_is_complete(x.packet, x.n_packet, x.description);
    photo_xmp_release(&x);
    return complete;
}

bool sidecar_is_done(const sidecar *s, const char *image)
{
    if (strcmp(s->existing, "skip") != 0)
        return false;
    char *path = caption_path(s, image), *bytes = NULL;
    size_t n;
    bool done = false;
    if (path && s->kind == SIDECAR_TEXT)
        done = access(path, F_OK) == 0;
    else if (path && (bytes = read_file(path, &n)))
        done = s->kind == SIDECAR_XMP ? metadata_is_complete(bytes, n, NULL)
                                      : is_complete_inside((unsigned char *)bytes, n);
    free(bytes);
    free(path);
    return done;
}

/* The new text file, malloc'ed; every text in it ends its line. NULL when out of memory. */
static char *compose_text(size_t *n_new, const char *old, size_t n_old, const char *caption, const char *existing)
{
    bool append = strcmp(existing, "append") == 0, prepend = strcmp(existing, "prepend") == 0;
    char *text = NULL;
    FILE *to = open_memstream(&text, n_new);
    if (!to)
        return NULL;
    if (prepend)
        fprintf(to, "%s\n", caption);
    if (old && (append || prepend))
        fwrite(old, 1, n_old, to);
    if (append && n_old > 0 && old[n_old - 1] != '\n')
        fputc('\n', to);
    if (!prepend)
        fprintf(to, "%s\n", caption);
    if (ferror(to) | fclose(to)) {
        free(text);
        return NULL;
    }
    return text;
}

/* What the photo itself says it shows, malloc'ed; NULL: nothing that can be read. */
static char *description_inside(const char *image)
{
    size_t n;
    photo_xmp x;
    char *bytes = strcmp(image, "-") == 0 ? NULL : read_file(image, &n), *text = NULL;
    if (bytes && photo_xmp_read(&x, (unsigned char *)bytes, n)) {
        text = x.packet ? metadata_description(x.packet, x.n_packet) : NULL;
        if (!text && x.description)
            text = strdup(x.description);
        photo_xmp_release(&x);
    }
    free(bytes);
    return text;
}

static char *make_beside(size_t *n, const sidecar *s, const char *path, const char *image, const char *caption)
{
    size_t n_old = 0;
    bool replaces = strcmp(s->existing, "overwrite") == 0, wanted = s->kind == SIDECAR_XMP || !replaces;
    char *old = wanted ? read_file(path, &n_old) : NULL, *made, *description = NULL;
    if (wanted && !old && errno != ENOENT) {
        complain_io(path, "read, so nothing is added to it");
        return NULL;
    }
    if (s->kind == SIDECAR_TEXT) {
        made = compose_text(n, old, n_old, caption, s->existing);
        if (!made)
            complain_memory();
    } else {
        description = replaces ? NULL : description_inside(image);
        made = metadata_merge(path, n, old, n_old, description, caption, s->existing, METADATA_BESIDE);
    }
    if (made && old && s->kind == SIDECAR_TEXT && strcmp(s->existing, "skip") == 0 &&
        (*n != n_old || memcmp(made, old, n_old) != 0)) {
        complain("%s: holds the caption of another photo already, or new words; that of %s is not written", path,
                 image);
        free(made);
        made = NULL;
    }
    free(description);
    free(old);
    return made;
}

static char *make_inside(size_t *n, const sidecar *s, const char *path, const char *caption)
{
    size_t n_old = 0, n_packet = 0;
    char *old = read_file(path, &n_old), *packet = NULL;
    unsigned char *made = NULL;
    photo_xmp x;
    if (!old) {
        complain_io(path, "read");
    } else if (!photo_xmp_read(&x, (unsigned char *)old, n_old)) {
        complain("%s: %s; --format xmp writes beside any photo", path, photo_xmp_refusal((unsigned char *)old, n_old));
    } else {
        packet =
            metadata_merge(path, &n_packet, x.packet, x.n_packet, x.description, caption, s->existing, METADATA_INSIDE);
        made = packet ? photo_xmp_replace(n, (unsigned char *)old, n_old, packet, n_packet) : NULL;
        photo_xmp_release(&x);
        if (packet && !made)
            complain("%s: has no room for its XMP; --format xmp writes beside it", path);
    }
    free(old);
    free(packet);
    return (char *)made;
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

/* Gives the part its name. Once the journal has promised the new file, the part is left for a later run to finish, should the
 * last step fail; unless that would fail again. */
static sidecar_result put_in_place(const char *part, char *path, const char *image, uint64_t n, uint64_t hash,
                                   journal *j)
{
    if (j && !(journal_add(j, image, false, n, hash) && journal_commit(j)))
        return SIDECAR_BROKEN;
    if (rename(part, path) != 0) {
        sidecar_result result = fail(path, errno);
        if (result == SIDECAR_REFUSED || !j)
            unlink(part);
        return result == SIDECAR_REFUSED && j && !journal_revoke(j) ? SIDECAR_BROKEN : result;
    }
    if (j)
        settle_folder(path);
    return SIDECAR_WRITTEN;
}

static sidecar_result write_file(char *path, const char *bytes, size_t n, const char *image, journal *j)
{
    char *part = part_path(path);
    if (!part) {
        complain_memory();
        return SIDECAR_REFUSED;
    }
    sidecar_result result;
    FILE *to = part_make(part);
    if (to)
        part_inherit(to, path);
    if (!to) {
        result = fail(path, errno);
    } else if (fwrite(bytes, 1, n, to) != n || fflush(to) != 0 || fsync(fileno(to)) != 0) {
        result = fail(path, errno);
        unlink(part);
    } else {
        result = put_in_place(part, path, image, n, hash_more(HASH_START, bytes, n), j);
    }
    if (to)
        fclose(to); /* no sooner: with it goes the lock */
    free(part);
    return result;
}

/* One line of valid text, malloc'ed. */
static char *one_line(const char *caption)
{
    char *line = utf8_repair(caption);
    for (char *p = line; p && *p; p++)
        if ((unsigned char)*p < ' ')
            *p = ' ';
    return line;
}

/* The new file, malloc'ed; NULL after a message. */
static char *make_file(size_t *n, const sidecar *s, const char *path, const char *image, const char *caption)
{
    if (s->kind != SIDECAR_TEXT && caption[strspn(caption, " ")] == '\0') {
        complain("%s: its caption is empty", image);
        return NULL;
    }
    if (s->kind == SIDECAR_EMBED)
        return make_inside(n, s, path, caption);
    if (strcmp(path, image) == 0) {
        complain("%s: is the image itself; choose another extension for captions with --ext", path);
        return NULL;
    }
    return make_beside(n, s, path, image, caption);
}

sidecar_result sidecar_write(const sidecar *s, const char *image, const char *caption, journal *j)
{
    char *path = caption_path(s, image), *line = one_line(caption), *bytes = NULL;
    size_t n = 0;
    if (path && line)
        bytes = make_file(&n, s, path, image, line);
    else
        complain_memory();
    sidecar_result result = bytes ? write_file(path, bytes, n, image, j) : SIDECAR_REFUSED;
    free(bytes);
    free(line);
    free(path);
    return result;
}

bool sidecar_finish(const sidecar *s, const char *image, uint64_t size, uint64_t hash)
{
    char *path = caption_path(s, image), *part = part_path(path), *bytes;
    bool done = part || complain_memory();
    size_t n;
    if (done && (bytes = read_file(part, &n))) {
        if (n == size && hash_more(HASH_START, bytes, n) == hash)
            done = rename(part, path) == 0 || complain_io(path, "written");
        free(bytes);
    }
    free(part);
    free(path);
    return done;
}
