/* Folders that are watched for photos to come (inotify(7)). A file is news once it is closed after writing, moved in or linked:
 * nothing that is still being written, and nothing twice. */
#ifndef LOOKSAY_CLI_WATCH_H
#define LOOKSAY_CLI_WATCH_H

#include <stdbool.h>
#include <stddef.h>

typedef struct watch watch;

typedef enum watch_kind {
    WATCH_END,    /* interrupted, or no folder is left */
    WATCH_FILE,   /* a file is complete */
    WATCH_READY,  /* nobody writes any more to a file that watch_is_news was asked about */
    WATCH_FOLDER, /* a folder has come; what is in it comes without further news */
    WATCH_LOST    /* more has happened than could be kept: all folders have to be read again */
} watch_kind;

typedef struct watch_event {
    watch_kind kind;
    const char *path; /* of a file or folder; valid until the next event */
    size_t n_root;    /* as given for the folder that it is in */
} watch_event;

/* Returns false after a message. */
bool watch_open(watch **out);

/* From now on what comes into the folder is an event. n_root: how much of paths below names what the user named. A folder that
 * is not there is no error. Returns false after a message: out of memory, or more folders than the system watches. */
bool watch_add(watch *w, const char *folder, size_t n_root);

/* Waits for the next event. */
watch_event watch_next(watch *w);

/* Whether a file is there, not empty, in a version that was not asked about before, and nobody is writing to it: when that is done, there is
 * an event (WATCH_READY). */
bool watch_is_news(watch *w, const char *path);

/* Our own change to a file is no news. */
void watch_ignore(watch *w, const char *path);

/* NULL is safe. */
void watch_close(watch *w);

#endif
