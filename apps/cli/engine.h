/* The model and session that a command line asks for. */
#ifndef LOOKSAY_CLI_ENGINE_H
#define LOOKSAY_CLI_ENGINE_H

#include <limits.h>

#include "apps/captioner/looksay.h"
#include "apps/cli/options.h"

typedef struct engine {
    char path[PATH_MAX]; /* of the model */
    const char *name;    /* what rows call it: the last part of the path */
    lks_model *model;
    lks_session *session;
    double open_ms;
} engine;

/* Where the model is: --model, or the default model. Returns false when that is missing; `out` then holds the first place that
 * was tried. */
bool engine_find_model(char *out, size_t n_out, const settings *s);

/* Opens model and session; the model has the language that is asked for. Returns false after a message. */
bool engine_open(engine *out, const settings *s);
void engine_close(engine *e);

/* Caption options of the command line on top of the model's defaults. They borrow from `s`. */
void engine_caption_options(lks_caption_options *out, const engine *e, const settings *s);

/* Whether the search needs all that the command line says of it; otherwise false after a message. */
bool engine_check_caption(const settings *s, const lks_caption_options *options);
/* The same of a search that draws tokens at random, or has several beams. */
bool engine_check_search(const settings *s, bool draws, bool has_beams);

/* Whether the model has the language called `code`; otherwise false after a message. */
bool engine_has_language(const engine *e, const char *code);

/* What a command that came to nothing but `st` exits with. */
int engine_exit_status(lks_status st);

/* Where going on over the damage of a picture was not tried, the message says how that is asked for. */
void engine_offer_lenient(lks_error *err);

/* From now on SIGINT and SIGTERM end the work in hand instead of the process. */
void engine_catch_interrupts(void);
bool engine_is_interrupted(void);

/* Bytes of standard input, malloc'ed; at most 1 GiB. */
lks_status engine_read_stdin(void **bytes, size_t *n_bytes, lks_error *err);

/* The picture of that name; "-": the bytes of standard input, which engine_close_picture frees. */
lks_status engine_open_picture(lks_image_source *out, const char *name, lks_error *err);
void engine_close_picture(lks_image_source *picture);

double engine_now_ms(void);

#endif
