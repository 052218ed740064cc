/* Files of JSON that name photos: see dataset.h. */
#include "apps/cli/dataset.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

char *dataset_photo_path(const char *dir, const char *file, const char *image)
{
    char *path;
    if (image[0] == '/')
        return strdup(image);
    if (dir)
        return asprintf(&path, "%s/%s", dir, image) < 0 ? NULL : path;
    const char *slash = strrchr(file, '/');
    int n = slash ? (int)(slash - file) + 1 : 0;
    return asprintf(&path, "%.*s%s", n, file, image) < 0 ? NULL : path;
}

bool dataset_open(dataset *out, const char *path, const settings *s)
{
    *out = (dataset){.settings = s, .path = path, .file = fopen(path, "r")};
    if (!out->file)
        complain("%s: cannot be opened: %s", path, strerror(errno));
    return out->file != NULL;
}

void dataset_close(dataset *d)
{
    if (d->file)
        fclose(d->file);
    json_decref(d->row);
    free(d->line);
    *d = (dataset){.file = NULL};
}

static const char *references_key(const dataset *d)
{
    return d->settings->references ? d->settings->references : "captions";
}

/* Reads d->line; false after a message. */
static bool read_row(dataset *d, dataset_row *out)
{
    const char *key = references_key(d);
    json_error_t detail;
    json_decref(d->row);
    d->row = json_loads(d->line, 0, &detail);
    out->image = json_string_value(json_object_get(d->row, "image"));
    out->references = json_object_get(d->row, key);
    if (!d->row)
        complain("%s: line %zu is not JSON: %s", d->path, d->number, detail.text);
    else if (!out->image)
        complain("%s: line %zu has no \"image\"", d->path, d->number);
    else if (out->references && !json_is_array(out->references) && !json_is_null(out->references))
        complain("%s: line %zu: \"%s\" is no list of captions", d->path, d->number, key);
    else
        return true;
    return false;
}

static bool find_photo(const dataset *d, dataset_row *out)
{
    char *path = dataset_photo_path(d->settings->photos, d->path, out->image);
    size_t n = path ? strlen(path) : sizeof out->path;
    if (n < sizeof out->path)
        memcpy(out->path, path, n + 1);
    else
        complain("%s: line %zu: the path of the photo is too long", d->path, d->number);
    free(path);
    return n < sizeof out->path;
}

static bool is_wanted(const dataset *d)
{
    const char *split = json_string_value(json_object_get(d->row, "split"));
    return !d->settings->split || (split && strcmp(split, d->settings->split) == 0);
}

dataset_status dataset_next(dataset *d, dataset_row *row)
{
    size_t limit = d->settings->limit == OPTION_UNSET ? SIZE_MAX : (size_t)d->settings->limit;
    while (d->n_rows < limit && getline(&d->line, &d->capacity, d->file) >= 0) {
        d->number++;
        if (d->line[strspn(d->line, " \t\r\n")] == '\0')
            continue;
        if (!read_row(d, row))
            return DATASET_WRONG;
        if (!is_wanted(d))
            continue;
        if (json_array_size(row->references) == 0) {
            d->n_bare++;
            continue;
        }
        if (!find_photo(d, row))
            return DATASET_WRONG;
        d->n_rows++;
        return DATASET_ROW;
    }
    if (d->n_rows > 0 || d->n_bare == 0)
        return DATASET_END;
    complain("%s: no line has a list \"%s\"; name the key of the human captions with --references", d->path,
             references_key(d));
    return DATASET_WRONG;
}

/* The human captions of a row as texts; malloc'ed, *n of them. What is no text is left out. */
static const char **texts_of(const json_t *references, size_t *n)
{
    const char **texts = calloc(json_array_size(references) + 1, sizeof *texts);
    *n = 0;
    for (size_t i = 0; texts && i < json_array_size(references); i++) {
        texts[*n] = json_string_value(json_array_get(references, i));
        *n += texts[*n] != NULL;
    }
    return texts;
}

bool dataset_score(cider *scores, const char *caption, const json_t *references)
{
    size_t n;
    const char **texts = texts_of(references, &n);
    bool added = texts && cider_add(scores, caption, texts, n);
    free(texts);
    if (!added)
        complain("out of memory for the scores of captions");
    return added;
}
