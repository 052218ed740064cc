/* A file that appears only when it is complete: see sink.h. */
#include "apps/common/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/complain.h"

static bool open_mode(sink *out, const char *path, const char *mode)
{
    sink s = {.stream = stdout};
    struct stat info;
    bool standard = !path || strcmp(path, "-") == 0;
    bool plain = !standard && (stat(path, &info) != 0 || S_ISREG(info.st_mode));
    if (plain) {
        s.path = strdup(path);
        if (!s.path || asprintf(&s.part, "%s.part", path) < 0) {
            free(s.path);
            complain("out of memory");
            return false;
        }
    }
    if (!standard)
        s.stream = fopen(plain ? s.part : path, plain ? mode : "w");
    if (!s.stream) {
        complain("%s: cannot be written: %s", plain ? s.part : path, strerror(errno));
        free(s.path);
        free(s.part);
        return false;
    }
    *out = s;
    return true;
}

bool sink_open(sink *out, const char *path)
{
    return open_mode(out, path, "w+");
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

/* Copies `from` to `path` in one step: through a part of its own. */
static bool copy_file(const char *path, FILE *from)
{
    sink s;
    if (!sink_open(&s, path))
        return false;
    char buffer[1 << 16];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, from)) > 0)
        fwrite(buffer, 1, n, s.stream);
    if (ferror(from)) {
        complain("%s: cannot be written: %s", path, strerror(errno));
        sink_leave(&s, false);
        return false;
    }
    return sink_close(&s);
}

bool sink_continue(sink *out, bool *was_complete, const char *path)
{
    char *part;
    if (asprintf(&part, "%s.part", path) < 0) {
        complain("out of memory");
        return false;
    }
    bool done = true, begun = access(part, F_OK) == 0;
    FILE *complete = begun ? NULL : fopen(path, "r");
    if (complete) {
        done = copy_file(part, complete);
        fclose(complete);
    }
    free(part);
    if (!done || !open_mode(out, path, complete || begun ? "r+" : "w+"))
        return false;
    fseeko(out->stream, 0, SEEK_END);
    out->whole = (uint64_t)ftello(out->stream);
    *was_complete = complete != NULL;
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
