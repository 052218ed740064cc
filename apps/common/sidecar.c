/* Captions beside photos or inside them: see sidecar.h. */
#include "apps/common/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/complain.h"
#include "apps/common/hash.h"
#include "apps/common/metadata.h"
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

static char *part_path(const char *path)
{
    char *part = NULL;
    return path && asprintf(&part, "%s.part", path) >= 0 ? part : NULL;
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

static bool write_part(const char *part, const char *bytes, size_t n)
{
    FILE *to = fopen(part, "w");
    bool done = to && fwrite(bytes, 1, n, to) == n;
    if (to && fclose(to) != 0)
        done = false;
    return done || complain_io(part, "written");
}

static sidecar_result make_beside(const sidecar *s, const char *part, const char *path, const char *caption)
{
    size_t n_old = 0, n = 0;
    bool wanted = s->kind == SIDECAR_XMP || strcmp(s->existing, "overwrite") != 0;
    char *old = wanted ? read_file(path, &n_old) : NULL, *bytes;
    if (wanted && !old && errno != ENOENT) {
        complain_io(path, "read, so nothing is added to it");
        return SIDECAR_REFUSED;
    }
    if (s->kind == SIDECAR_TEXT) {
        bytes = compose_text(&n, old, n_old, caption, s->existing);
        if (!bytes)
            complain_memory();
    } else {
        bytes = metadata_merge(path, &n, old, n_old, NULL, caption, s->existing, METADATA_BESIDE);
    }
    free(old);
    sidecar_result result = !bytes ? SIDECAR_REFUSED : write_part(part, bytes, n) ? SIDECAR_WRITTEN : SIDECAR_BROKEN;
    free(bytes);
    return result;
}

static sidecar_result make_inside(const sidecar *s, const char *part, const char *path, const char *caption)
{
    size_t n_old = 0, n_packet = 0, n = 0;
    char *old = read_file(path, &n_old), *packet = NULL;
    unsigned char *made = NULL;
    photo_xmp x;
    sidecar_result result = SIDECAR_REFUSED;
    if (!old) {
        complain_io(path, "read");
    } else if (!photo_xmp_read(&x, (unsigned char *)old, n_old)) {
        complain("%s: takes no XMP: JPEG, PNG and WebP do; --format xmp writes beside any photo", path);
    } else {
        packet =
            metadata_merge(path, &n_packet, x.packet, x.n_packet, x.description, caption, s->existing, METADATA_INSIDE);
        made = packet ? photo_xmp_replace(&n, (unsigned char *)old, n_old, packet, n_packet) : NULL;
        photo_xmp_release(&x);
        if (packet && !made)
            complain("%s: has no room for its XMP; --format xmp writes beside it", path);
    }
    if (made)
        result = write_part(part, (char *)made, n) ? SIDECAR_WRITTEN : SIDECAR_BROKEN;
    free(old);
    free(packet);
    free(made);
    return result;
}

/* The owner and permissions of the old file, if there is one. */
static void keep_permissions(int part, const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && fchown(part, info.st_uid, info.st_gid) == 0)
        fchmod(part, info.st_mode & 07777); /* where owners cannot be kept, neither are set-user bits */
}

/* The file is on the disk when it returns. */
static bool settle(const char *path, uint64_t *size, uint64_t *hash)
{
    char buffer[1 << 16];
    size_t n;
    FILE *file = fopen(path, "r");
    if (!file)
        return complain_io(path, "read");
    *size = 0;
    *hash = HASH_START;
    while ((n = fread(buffer, 1, sizeof buffer, file)) > 0) {
        *hash = hash_more(*hash, buffer, n);
        *size += n;
    }
    bool done = !ferror(file) && fsync(fileno(file)) == 0;
    if (!done)
        complain_io(path, "written");
    fclose(file);
    return done;
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

/* Gives the part its name. Once the journal has promised the new file, its part is left for a later run to finish, should the
 * last step fail. */
static sidecar_result put_in_place(const char *part, char *path, const char *image, journal *j)
{
    uint64_t size, hash;
    int file = open(part, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        keep_permissions(file, path);
        close(file);
    }
    if (!settle(part, &size, &hash)) {
        unlink(part);
        return SIDECAR_BROKEN;
    }
    if (j && !(journal_add(j, image, false, size, hash) && journal_commit(j)))
        return SIDECAR_BROKEN;
    if (rename(part, path) != 0) {
        complain_io(path, "written");
        return SIDECAR_BROKEN;
    }
    if (j)
        settle_folder(path);
    return SIDECAR_WRITTEN;
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

static sidecar_result make_part(const sidecar *s, const char *part, const char *path, const char *image,
                                const char *caption)
{
    if (s->kind != SIDECAR_TEXT && caption[strspn(caption, " ")] == '\0') {
        complain("%s: its caption is empty", image);
        return SIDECAR_REFUSED;
    }
    if (s->kind == SIDECAR_EMBED)
        return make_inside(s, part, path, caption);
    if (strcmp(path, image) == 0) {
        complain("%s: is the image itself; choose another extension for captions with --ext", path);
        return SIDECAR_REFUSED;
    }
    return make_beside(s, part, path, caption);
}

sidecar_result sidecar_write(const sidecar *s, const char *image, const char *caption, journal *j)
{
    char *path = caption_path(s, image), *part = part_path(path), *line = one_line(caption);
    sidecar_result result = SIDECAR_REFUSED;
    if (!part || !line)
        complain_memory();
    else
        result = make_part(s, part, path, image, line);
    if (result == SIDECAR_WRITTEN)
        result = put_in_place(part, path, image, j);
    else if (part)
        unlink(part);
    free(line);
    free(part);
    free(path);
    return result;
}

bool sidecar_finish(const sidecar *s, const char *image, uint64_t size, uint64_t hash)
{
    char *path = caption_path(s, image), *part = part_path(path);
    bool done = part || complain_memory();
    uint64_t size_there, hash_there;
    if (done && access(part, F_OK) == 0 && settle(part, &size_there, &hash_there) && size_there == size &&
        hash_there == hash)
        done = rename(part, path) == 0 || complain_io(path, "written");
    free(part);
    free(path);
    return done;
}
