/* Files of JSON that name photos: where those photos are; and data sets, one JSON object a line with a photo and what people say
 * of it. */
#ifndef LOOKSAY_CLI_DATASET_H
#define LOOKSAY_CLI_DATASET_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "apps/cli/cider.h"
#include "apps/cli/options.h"

/* DIR/image, or, when dir is NULL, image in the folder of `file`; an absolute image stays. malloc'ed; NULL: out of memory. */
char *dataset_photo_path(const char *dir, const char *file, const char *image);

typedef struct dataset {
    const settings *settings; /* --photos, --split, --references, --limit */
    const char *path;
    FILE *file;
    char *line;
    size_t capacity, number, n_rows, n_bare; /* lines read; rows given; rows without human captions */
    json_t *row;
} dataset;

/* What one row names; valid until the next. */
typedef struct dataset_row {
    const char *image;        /* as the file calls it */
    char path[4096];          /* where it is */
    const json_t *references; /* array of captions */
} dataset_row;

typedef enum dataset_status { DATASET_ROW, DATASET_END, DATASET_WRONG } dataset_status;

/* Returns false after a message. */
bool dataset_open(dataset *out, const char *path, const settings *s);
/* The next row that the settings ask for; those without human captions are passed over. DATASET_WRONG, after a message, when a line
 * is no row of a data set, or when all are without. */
dataset_status dataset_next(dataset *d, dataset_row *row);
void dataset_close(dataset *d);

/* Adds what a model says of a photo; "" where it says nothing. Returns false after a message. */
bool dataset_score(cider *scores, const char *caption, const json_t *references);

#endif
