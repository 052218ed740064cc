/* What the user wants captioned: see inputs.h. */
#include "apps/cli/inputs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apps/cli/engine.h"
#include "apps/common/hash.h"
#include "apps/common/image_name.h"

enum { MAX_SHARDS = 9999999 };

static bool append(inputs *in, const char *path)
{
    if (in->n_paths == in->capacity) {
        size_t capacity = in->capacity ? 2 * in->capacity : 64;
        char **grown = realloc(in->paths, capacity * sizeof *grown);
        if (!grown)
            return false;
        in->paths = grown;
        in->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return false;
    in->paths[in->n_paths++] = copy;
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool is_visible_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    return (slash ? slash[1] : path[0]) != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool matches(const word_list *patterns, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    for (size_t i = 0; i < patterns->n; i++) {
        const char *pattern = patterns->words[i];
        if (fnmatch(pattern, strchr(pattern, '/') ? path : name, 0) == 0)
            return true;
    }
    return false;
}

/* path: below the folder named, or as written. */
static bool is_in_shard(const input_filter *f, const char *path)
{
    return f->n_shards == 1 || hash_spread(hash_more(HASH_START, path, strlen(path))) % f->n_shards == f->shard;
}

static bool is_wanted(const input_filter *f, const char *path)
{
    return (f->include->n == 0 || matches(f->include, path)) && !matches(f->exclude, path) && is_in_shard(f, path);
}

typedef enum entry_kind { ENTRY_FILE, ENTRY_FOLDER, ENTRY_LINK_TO_FOLDER } entry_kind;

/* The folder entry's kind; most file systems tell it with the name, which spares a call for every photo. */
static entry_kind kind_of(const struct dirent *entry, const char *path)
{
    struct stat info;
    if (entry->d_type == DT_DIR)
        return ENTRY_FOLDER;
    if (entry->d_type == DT_LNK)
        return is_folder(path) ? ENTRY_LINK_TO_FOLDER : ENTRY_FILE;
    if (entry->d_type != DT_UNKNOWN || lstat(path, &info) != 0)
        return ENTRY_FILE;
    if (S_ISLNK(info.st_mode))
        return is_folder(path) ? ENTRY_LINK_TO_FOLDER : ENTRY_FILE;
    return S_ISDIR(info.st_mode) ? ENTRY_FOLDER : ENTRY_FILE;
}

/* Images of a folder in byte order of their names, each folder in it at its place. Links to folders are not followed below
 * the first, so that no loop can be. n_root: how much of each path names the folder from the command line, slash included. */
static bool append_folder(inputs *in, const char *folder, size_t n_root, bool recursive)
{
    struct dirent **entries;
    size_t length = strlen(folder);
    const char *below = length > n_root ? folder + n_root : folder;
    while (length > 1 && folder[length - 1] == '/')
        length--;
    if (n_root == 0)
        n_root = length + (folder[length - 1] != '/');
    if (in->watch &&
        !watch_add(in->watch, folder, n_root)) /* before it is read: what comes between is seen twice, not never */
        return false;
    int n = scandir(folder, &entries, is_visible, by_bytes);
    if (n < 0)
        return !is_in_shard(&in->filter, below) || append(in, folder);
    bool done = true;
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (done && asprintf(&path, "%.*s%s%s", (int)length, folder, folder[length - 1] == '/' ? "" : "/",
                             entries[i]->d_name) < 0) {
            path = NULL;
            done = false;
        }
        entry_kind kind = path ? kind_of(entries[i], path) : ENTRY_LINK_TO_FOLDER;
        if (kind == ENTRY_FOLDER)
            done = !recursive || matches(in->filter.exclude, path + n_root) || append_folder(in, path, n_root, true);
        else if (kind == ENTRY_FILE && image_name_is_known(path) && is_wanted(&in->filter, path + n_root))
            done = append(in, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return done;
}

/* "2/8" is shard 1 of 0..7. */
static bool read_shard(input_filter *f, const char *text)
{
    char *slash = NULL, *end = NULL;
    unsigned long i = isdigit((unsigned char)text[0]) ? strtoul(text, &slash, 10) : 0;
    unsigned long n = slash && *slash == '/' && isdigit((unsigned char)slash[1]) ? strtoul(slash + 1, &end, 10) : 0;
    if (!end || *end || i < 1 || i > n || n > MAX_SHARDS) {
        complain("--shard takes I/N, as in 2/8, with I from 1 to N; not '%s'", text);
        return false;
    }
    f->shard = (unsigned)(i - 1);
    f->n_shards = (unsigned)n;
    return true;
}

static bool append_operand(inputs *in, const char *operand, bool recursive)
{
    if (strcmp(operand, "-") == 0 || !is_folder(operand))
        return !is_in_shard(&in->filter, operand) || append(in, operand);
    in->several = 1;
    return append_folder(in, operand, 0, recursive);
}

FILE *inputs_open_list(const char *path)
{
    if (strcmp(path, "-") == 0)
        return stdin;
    FILE *list = is_folder(path) ? NULL : fopen(path, "r");
    if (!list)
        complain("%s: %s", path, is_folder(path) ? "is a folder; --files-from takes a file of lines" : strerror(errno));
    return list;
}

bool inputs_open(inputs *out, const settings *s)
{
    inputs in = {.recursive = s->recursive,
                 .operands = s->operands,
                 .n_operands = s->n_operands,
                 .quiet = s->quiet,
                 .separator = s->null_separated ? '\0' : '\n',
                 .several = s->n_operands > 1 || s->files_from,
                 .filter = {.include = &s->include, .exclude = &s->exclude, .n_shards = 1}};
    bool done = true, listed = s->files_from && strcmp(s->files_from, "-") == 0;
    if (s->shard && !read_shard(&in.filter, s->shard))
        return false;
    if (s->watch && !watch_open(&in.watch))
        return false;
    for (int i = 0; i < s->n_operands && done; i++) {
        if (listed && strcmp(s->operands[i], "-") == 0) {
            complain("standard input cannot be both an image (-) and a list of images (--files-from -)");
            inputs_close(&in);
            return false;
        }
        done = append_operand(&in, s->operands[i], s->recursive);
    }
    if (!done) {
        if (!in.watch)
            complain("out of memory");
        inputs_close(&in);
        return false;
    }
    if (s->files_from) {
        in.list = inputs_open_list(s->files_from);
        if (!in.list) {
            inputs_close(&in);
            return false;
        }
        struct stat info;
        if (!s->dry_run && fstat(fileno(in.list), &info) == 0 && !S_ISREG(info.st_mode))
            setvbuf(in.list, NULL, _IONBF, 0); /* a pipe: what is there can then be told from what is still to come */
    }
    *out = in;
    return true;
}

/* Adds what is in a folder that has come, or in all folders after a loss. What cannot be added has had its message. */
static void read_again(inputs *in, const watch_event *e)
{
    bool done = true;
    if (e->kind == WATCH_LOST)
        for (int i = 0; i < in->n_operands && done; i++)
            done = !is_folder(in->operands[i]) || append_folder(in, in->operands[i], 0, in->recursive);
    else if (in->recursive && is_visible_path(e->path) && !matches(in->filter.exclude, e->path + e->n_root))
        append_folder(in, e->path, e->n_root, true);
}

/* The next path that has come; NULL: no more will. */
static const char *wait_for_next(inputs *in)
{
    if (!in->waits && !in->quiet)
        complain("watching; Ctrl-C ends");
    in->waits = true;
    for (;;) {
        while (in->next < in->n_paths) {
            const char *path = in->paths[in->next++];
            if (watch_is_news(in->watch, path))
                return path;
        }
        watch_event e = watch_next(in->watch);
        if (e.kind == WATCH_END)
            break;
        if (e.kind == WATCH_READY) {
            if (watch_is_news(in->watch, e.path))
                return e.path;
        } else if (e.kind != WATCH_FILE)
            read_again(in, &e);
        else if (is_visible_path(e.path) && image_name_is_known(e.path) && is_wanted(&in->filter, e.path + e.n_root) &&
                 watch_is_news(in->watch, e.path))
            return e.path;
    }
    if (!engine_is_interrupted())
        complain("no folder is left to watch");
    return NULL;
}

char *inputs_skip_mark(char *line)
{
    static const char mark[] = "\xef\xbb\xbf";
    return strncmp(line, mark, strlen(mark)) == 0 ? line + strlen(mark) : line;
}

static bool is_file(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

const char *inputs_next(inputs *in)
{
    while (in->next < in->n_paths && !in->waits) {
        const char *path = in->paths[in->next++];
        if (!in->watch || !is_file(path) || watch_is_news(in->watch, path))
            return path;
    }
    ssize_t n;
    while (in->list && (n = getdelim(&in->line, &in->line_capacity, in->separator, in->list)) >= 0) {
        if (n > 0 && in->line[n - 1] == in->separator)
            in->line[--n] = '\0';
        if (in->separator == '\n' && n > 0 && in->line[n - 1] == '\r')
            in->line[--n] = '\0';
        const char *path = in->begun ? in->line : inputs_skip_mark(in->line);
        in->begun = true;
        if (*path && is_wanted(&in->filter, path))
            return path;
    }
    return in->watch ? wait_for_next(in) : NULL;
}

bool inputs_ready(const inputs *in)
{
    if (in->next < in->n_paths)
        return !in->waits;
    if (in->watch || !in->list)
        return !in->watch;
    struct pollfd list = {.fd = fileno(in->list), .events = POLLIN};
    return poll(&list, 1, 0) == 1;
}

void inputs_ignore(inputs *in, const char *path)
{
    if (in->watch)
        watch_ignore(in->watch, path);
}

size_t inputs_count(const inputs *in)
{
    return in->list || in->watch ? 0 : in->n_paths;
}

void inputs_close(inputs *in)
{
    for (size_t i = 0; i < in->n_paths; i++)
        free(in->paths[i]);
    free(in->paths);
    free(in->line);
    watch_close(in->watch);
    if (in->list && in->list != stdin)
        fclose(in->list);
    *in = (inputs){0};
}
