/* What the user wants captioned: see inputs.h. */
#include "apps/cli/inputs.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

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

/* In a folder, only files with an image's extension count; a file that is named gets read whatever its name is. */
static bool has_image_extension(const char *name)
{
    static const char *const extensions[] = {"jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif",
                                             "pnm", "ppm",  "pgm", "pbm",  "tga", NULL};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && extensions[i]; i++)
        if (strcasecmp(dot + 1, extensions[i]) == 0)
            return true;
    return false;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static bool is_folder(const char *path, bool follow_links)
{
    struct stat info;
    int failed = follow_links ? stat(path, &info) : lstat(path, &info);
    return !failed && S_ISDIR(info.st_mode);
}

/* Images of a folder in byte order of their names, each folder in it at its place. Links to folders are not followed below
 * the first, so that no loop can be. */
static bool append_folder(inputs *in, const char *folder, bool recursive)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_visible, by_bytes);
    if (n < 0)
        return append(in, folder);
    bool done = true;
    size_t length = strlen(folder);
    while (length > 1 && folder[length - 1] == '/')
        length--;
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (done && asprintf(&path, "%.*s%s%s", (int)length, folder, folder[length - 1] == '/' ? "" : "/",
                             entries[i]->d_name) < 0) {
            path = NULL;
            done = false;
        }
        if (path && is_folder(path, false))
            done = !recursive || append_folder(in, path, true);
        else if (path && has_image_extension(path))
            done = append(in, path);
        free(path);
        free(entries[i]);
    }
    free(entries);
    return done;
}

bool inputs_open(inputs *out, const settings *s)
{
    inputs in = {.separator = s->null_separated ? '\0' : '\n', .several = s->n_operands > 1 || s->files_from};
    bool done = true;
    for (int i = 0; i < s->n_operands && done; i++) {
        const char *operand = s->operands[i];
        bool folder = strcmp(operand, "-") != 0 && is_folder(operand, true);
        in.several |= folder;
        done = folder ? append_folder(&in, operand, s->recursive) : append(&in, operand);
    }
    if (!done) {
        complain("out of memory");
        inputs_close(&in);
        return false;
    }
    if (s->files_from) {
        in.list = strcmp(s->files_from, "-") == 0 ? stdin : fopen(s->files_from, "r");
        if (!in.list) {
            complain("%s: cannot be opened: %s", s->files_from, strerror(errno));
            inputs_close(&in);
            return false;
        }
    }
    *out = in;
    return true;
}

const char *inputs_next(inputs *in)
{
    if (in->next < in->n_paths)
        return in->paths[in->next++];
    ssize_t n;
    while (in->list && (n = getdelim(&in->line, &in->line_capacity, in->separator, in->list)) >= 0) {
        if (n > 0 && in->line[n - 1] == in->separator)
            in->line[--n] = '\0';
        if (in->separator == '\n' && n > 0 && in->line[n - 1] == '\r')
            in->line[--n] = '\0';
        if (n > 0)
            return in->line;
    }
    return NULL;
}

size_t inputs_count(const inputs *in)
{
    return in->list ? 0 : in->n_paths;
}

void inputs_close(inputs *in)
{
    for (size_t i = 0; i < in->n_paths; i++)
        free(in->paths[i]);
    free(in->paths);
    free(in->line);
    if (in->list && in->list != stdin)
        fclose(in->list);
    *in = (inputs){0};
}
