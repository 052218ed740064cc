/* A file that appears only when it is complete: see sink.h. */
#include "apps/common/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/complain.h"
#include "apps/common/part.h"

/* The file itself, not a link to it, malloc'ed; NULL after a message. */
static char *real_path(const char *path)
{
    struct stat info;
    bool is_link = lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    char *real = is_link ? realpath(path, NULL) : strdup(path);
    if (!real)
        complain("%s: cannot be written: %s", path, is_link ? "it is a link to nothing" : strerror(errno));
    return real;
}

/* Opens what is no regular file. */
static bool open_stream(sink *out, const char *path)
{
    sink s = {.stream = strcmp(path, "-") == 0 ? stdout : fopen(path, "w")};
    if (!s.stream) {
        complain("%s: cannot be written: %s", path, strerror(errno));
        return false;
    }
    *out = s;
    return true;
}

/* Opens the part with what is in it; rows that go to a private file are private from the first. */
static FILE *open_part(const char *part, const char *path)
{
    struct stat info;
    bool replaces = stat(path, &info) == 0;
    mode_t mode = replaces ? (info.st_mode & 0777) | 0600 : 0666;
    FILE *stream = part_open(part, mode);
    if (!stream)
        complain("%s: cannot be written: %s", part, part_error(errno));
    else if (replaces)
        fchmod(fileno(stream), mode); /* it may be an old part */
    return stream;
}

static bool open_rows(sink *out, const char *path)
{
    char *real = real_path(path), *part = NULL;
    if (real && asprintf(&part, "%s.part", real) < 0) {
        part = NULL;
        complain("out of memory");
    }
    FILE *stream = part ? open_part(part, real) : NULL;
    if (!stream) {
        free(real);
        free(part);
        return false;
    }
    *out = (sink){.stream = stream, .path = real, .part = part};
    return true;
}

bool sink_open(sink *out, const char *path)
{
    struct stat info;
    if (!path || strcmp(path, "-") == 0 || (stat(path, &info) == 0 && !S_ISREG(info.st_mode)))
        return open_stream(out, path ? path : "-");
    sink s;
    if (!open_rows(&s, path))
        return false;
    if (!sink_cut(&s, 0)) {
        sink_leave(&s, false);
        return false;
    }
    *out = s;
    return true;
}

static void fail(sink *s)
{
    int error = errno;
    s->failed = true;
    if (s->part && ftruncate(fileno(s->stream), (off_t)s->whole) == 0)
        complain("%s: cannot be written: %s; the rows before are whole", s->part, strerror(error));
    else
        complain("%s: cannot be written: %s", s->part ? s->part : "output", strerror(error));
}

/* Copies the complete file to its part in one step: through a part of its own. */
static bool copy_file(const char *part, const char *path, FILE *from)
{
    sink s;
    if (!sink_open(&s, part))
        return false;
    fchmod(fileno(s.stream), 0600); /* until open_part sets the file's own */
    char buffer[1 << 16];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, from)) > 0)
        fwrite(buffer, 1, n, s.stream);
    if (ferror(from)) {
        complain("%s: cannot be read: %s", path, strerror(errno));
        sink_leave(&s, false);
        return false;
    }
    return sink_close(&s);
}

bool sink_continue(sink *out, bool *was_complete, const char *path)
{
    char *real = real_path(path), *part = NULL;
    if (!real)
        return false;
    if (asprintf(&part, "%s.part", real) < 0) {
        free(real);
        complain("out of memory");
        return false;
    }
    struct stat info;
    FILE *from = lstat(part, &info) == 0 ? NULL : fopen(real, "r");
    bool is_complete = from != NULL, done = !is_complete || copy_file(part, real, from);
    if (is_complete)
        fclose(from);
    done = done && open_rows(out, real);
    free(part);
    free(real);
    if (!done)
        return false;
    fseeko(out->stream, 0, SEEK_END);
    out->whole = (uint64_t)ftello(out->stream);
    *was_complete = is_complete;
    return true;
}

bool sink_cut(sink *s, uint64_t n)
{
    if (fflush(s->stream) != 0 || ftruncate(fileno(s->stream), (off_t)n) != 0 ||
        fseeko(s->stream, (off_t)n, SEEK_SET) != 0) {
        fail(s);
        return false;
    }
    s->whole = n;
    return true;
}

bool sink_end_row(sink *s)
{
    if (s->failed)
        return false;
    if (fflush(s->stream) != 0 || ferror(s->stream)) {
        fail(s);
        return false;
    }
    if (s->part)
        s->whole = (uint64_t)ftello(s->stream);
    return true;
}

bool sink_settle(sink *s)
{
    if (!sink_end_row(s))
        return false;
    if (s->part && fsync(fileno(s->stream)) != 0) {
        fail(s);
        return false;
    }
    return true;
}

/* Everything that was taken. */
static bool release(sink *s)
{
    bool done = s->stream == stdout || fclose(s->stream) == 0;
    free(s->path);
    free(s->part);
    *s = (sink){0};
    return done;
}

bool sink_close(sink *s)
{
    bool done = sink_settle(s);
    if (done && s->part)
        part_inherit(s->stream, s->path);
    if (done && s->part && rename(s->part, s->path) != 0) {
        complain("%s: cannot take the place of %s: %s", s->part, s->path, strerror(errno));
        done = false;
    }
    return release(s) && done;
}

void sink_leave(sink *s, bool keep)
{
    if (s->part && !keep)
        unlink(s->part);
    release(s);
}
