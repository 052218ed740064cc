/* A report that goes on where a killed one was: see resume.h. */
#include "apps/cli/resume.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/hash.h"

static bool complain_memory(void)
{
    complain("out of memory");
    return false;
}

/* Where the journal of this command line is, malloc'ed; NULL when out of memory. */
static char *journal_path(const settings *s)
{
    char *path = NULL;
    if (s->journal)
        return strdup(s->journal);
    if (s->output)
        return asprintf(&path, "%s.journal", s->output) < 0 ? NULL : path;
    const char *folder = s->operands[0], *shard = s->shard, *slash = shard ? strchr(shard, '/') : NULL;
    int n = slash ? asprintf(&path, "%s/.looksay-%.*s-%s.journal", folder, (int)(slash - shard), shard, slash + 1)
                  : asprintf(&path, "%s/.looksay.journal", folder);
    return n < 0 ? NULL : path;
}

/* Everything that an output depends on, but the images. */
static char *describe_run(const settings *s, const char *model, long long model_bytes)
{
    char *text = NULL;
    size_t n;
    FILE *to = open_memstream(&text, &n);
    if (!to)
        return NULL;
    fprintf(to, "%s (%lld bytes)", model, model_bytes);
    options_describe(to, s, GROUP_SEARCH | GROUP_CAPTION_OUTPUT);
    if (s->dtype)
        fprintf(to, " --dtype=%s", s->dtype);
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

bool resume_check(const settings *s)
{
    struct stat info;
    if (sidecar_of(s->format, s->extension, s->existing).kind == SIDECAR_NONE &&
        (!s->output || strcmp(s->output, "-") == 0)) {
        complain(
            "--resume goes on with a file: name it with --output, or write beside the photos, as --format txt does");
        return false;
    }
    if (s->output && stat(s->output, &info) == 0 && !S_ISREG(info.st_mode)) {
        complain("%s: is no regular file, so --resume cannot go on with it", s->output);
        return false;
    }
    if (!s->journal && !s->output && (s->n_operands == 0 || !is_folder(s->operands[0]))) {
        complain("--resume keeps its journal in the folder that is captioned; name a file for it with --journal");
        return false;
    }
    return true;
}

bool resume_open(journal *out, const settings *s, const char *model, long long model_bytes)
{
    char *path = journal_path(s), *run = describe_run(s, model, model_bytes);
    bool done = path && run ? journal_open(out, path, run) : complain_memory();
    free(run);
    free(path);
    return done;
}

/* Hashes the next n bytes; fewer are there: false. */
static bool hash_stream(uint64_t *hash, FILE *from, uint64_t n)
{
    char buffer[1 << 14];
    uint64_t h = *hash;
    while (n > 0) {
        size_t some = fread(buffer, 1, n < sizeof buffer ? (size_t)n : sizeof buffer, from);
        if (some == 0)
            return false;
        h = hash_more(h, buffer, some);
        n -= some;
    }
    *hash = h;
    return true;
}

bool resume_rows(sink *out, uint64_t *hash, journal *j, const char *path)
{
    sink s;
    bool was_complete;
    if (!sink_continue(&s, &was_complete, path))
        return false;
    uint64_t h = HASH_START, at = 0;
    size_t n = 0;
    rewind(s.stream);
    for (; n < j->n_entries; n++) {
        const journal_entry *e = &j->entries[n];
        uint64_t next = h;
        if (e->size < at || !hash_stream(&next, s.stream, e->size - at) || next != e->hash)
            break;
        h = next;
        at = e->size;
    }
    if (was_complete && n < j->n_entries && s.whole > 0) {
        complain("%s: has changed since %s was written; remove the journal to start again, or write to another file",
                 path, j->path);
        sink_leave(&s, false);
        return false;
    }
    if (!sink_cut(&s, at) || !journal_keep(j, n)) {
        sink_leave(&s, true);
        return false;
    }
    *out = s;
    *hash = h;
    return true;
}

bool resume_add_row(journal *j, uint64_t *hash, const sink *s, uint64_t begun, const char *image, bool failed)
{
    char buffer[1 << 14];
    while (begun < s->whole) {
        uint64_t left = s->whole - begun;
        ssize_t n = pread(fileno(s->stream), buffer, left < sizeof buffer ? (size_t)left : sizeof buffer, (off_t)begun);
        if (n <= 0) {
            complain("%s: cannot be read back: %s", s->part, n < 0 ? strerror(errno) : "it was cut off");
            return false;
        }
        *hash = hash_more(*hash, buffer, (size_t)n);
        begun += (uint64_t)n;
    }
    return journal_add(j, image, failed, s->whole, *hash);
}

bool resume_sidecars(journal *j, const sidecar *s)
{
    const journal_entry *last = j->n_entries ? &j->entries[j->n_entries - 1] : NULL;
    return (!last || last->failed || sidecar_finish(s, last->image, last->size, last->hash)) &&
           journal_keep(j, j->n_entries);
}
