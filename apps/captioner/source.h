/* Source texts: what translation and filling read. Private to the captioner. */
#ifndef LKS_SOURCE_H
#define LKS_SOURCE_H

#include "apps/captioner/session.h"

typedef struct lks_source {
    int32_t *tokens; /* language token, the text's, end token */
    int n;
} lks_source;

/* An error that says what to do when the model reads no texts; `task` is what was wanted ("translate"). */
lks_status lks_source_check(const lks_model *model, const char *task, lks_error *err);

/* The text in the form of its language; `kept` as in lks_sentence_clean. */
lks_status lks_source_encode(lks_source *out, const lks_model *model, const lks_language *language, const char *text,
                             const char *kept, lks_error *err);
void lks_source_release(lks_source *source);

/* Makes the session's memory of the picture, when there is one, and the source. *features, unless NULL, are the picture's, with tokens
 * in that memory, or zeros. Adds to the times. */
lks_status lks_source_attend(lks_session *session, int *n_memory, lks_features *features, double *read_ms,
                             double *encode_ms, const lks_source *source, const lks_image_source *picture,
                             lks_error *err);

/* The model's start, end and suppressed tokens, and a plain search after the start token and *task, which is borrowed. */
lks_search_options lks_source_search(const lks_model *model, const int32_t *task);

#endif
