/* What the user wants captioned, one image path at a time, in order: files and folders from the command line, then the lines
 * of --files-from, which may be a pipe that is still being written.
 *
 * A shard takes the paths whose hash says so. What is hashed is the path below the folder that was named, or the path as
 * written for a file and a list's line: shards are disjoint and complete, and a photo stays in its shard when others come or
 * go, and when the folder moves.
 *
 * With --watch there is no end but an interrupt: when all paths are named, those follow that come into the folders. */
#ifndef LOOKSAY_CLI_INPUTS_H
#define LOOKSAY_CLI_INPUTS_H

#include <stdio.h>

#include "apps/cli/options.h"
#include "apps/cli/watch.h"

/* Which paths count. Patterns are those of fnmatch(3), with * matching / too; one with a / is compared with the whole path
 * below the folder named, any other with the last part. */
typedef struct input_filter {
    const word_list *include; /* empty: all */
    const word_list *exclude; /* a folder that matches is not entered */
    unsigned shard, n_shards; /* 0 <= shard < n_shards */
} input_filter;

typedef struct inputs {
    char **paths; /* from operands and folders, expanded */
    size_t n_paths, capacity, next;
    FILE *list; /* --files-from, or NULL */
    bool begun; /* its first line has been read */
    int separator;
    char *line;
    size_t line_capacity;
    input_filter filter;
    watch *watch; /* of --watch, or NULL */
    bool recursive;
    char **operands; /* to be read again when the watch has lost something */
    int n_operands;
    bool quiet, waits; /* waits: all that was there is named */
    int several;       /* 1: more than one image, or a folder or list that may hold more */
} inputs;

/* Expands operands and opens the list. Returns false after a message when the list cannot be opened, when --shard makes no
 * sense, or when memory runs out. A folder without images is no error; one that cannot be read stays in the list, and fails
 * as an image would. Borrows from `s`. */
bool inputs_open(inputs *out, const settings *s);

/* The file of lines that --files-from names; "-": standard input. NULL after a message. */
FILE *inputs_open_list(const char *path);

/* The first line of a list without the byte order mark that some editors put there. */
char *inputs_skip_mark(char *line);

/* The next path, or NULL at the end. "-" means the bytes on standard input. Valid until the next call. */
const char *inputs_next(inputs *in);

/* Whether the next path, or the end, is known without waiting for it. */
bool inputs_ready(const inputs *in);

/* The path has been written to by ourselves: that is no news. */
void inputs_ignore(inputs *in, const char *path);

/* How many paths there are, or 0 when a list or a watch makes that unknown. */
size_t inputs_count(const inputs *in);

void inputs_close(inputs *in);

#endif
