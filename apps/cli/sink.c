/* A file that appears only when it is complete: see sink.h. */
#include "apps/cli/sink.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/cli/options.h"

bool sink_open(sink *out, const char *path)
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
        s.stream = fopen(plain ? s.part : path, "w");
    if (!s.stream) {
        complain("%s: cannot be written: %s", plain ? s.part : path, strerror(errno));
        free(s.path);
        free(s.part);
        return false;
    }
    *out = s;
    return true;
}

static void fail(sink *s)
{
    int error = errno;
    s->failed = true;
    if (s->part && ftruncate(fileno(s->stream), s->whole) == 0)
        complain("%s: cannot be written: %s; the rows before are whole", s->part, strerror(error));
    else
        complain("%s: cannot be written: %s", s->part ? s->part : "output", strerror(error));
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
        s->whole = ftell(s->stream);
    return true;
}

bool sink_close(sink *s)
{
    bool done = sink_end_row(s);
    if (done && s->part && fsync(fileno(s->stream)) != 0) {
        fail(s);
        done = false;
    }
    if (s->stream != stdout && fclose(s->stream) != 0)
        done = false;
    if (done && s->part && rename(s->part, s->path) != 0) {
        complain("%s: cannot take the place of %s: %s", s->part, s->path, strerror(errno));
        done = false;
    }
    free(s->path);
    free(s->part);
    *s = (sink){0};
    return done;
}
