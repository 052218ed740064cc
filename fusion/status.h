/* Status codes and error detail: how every function of the library reports failure.
 *
 * A function returns lks_status (0 is success) and, when it touched a file or a model, fills lks_error with one
 * sentence that names the file or tensor, the cause and the remedy. Outputs are untouched on failure. */
#ifndef LKS_STATUS_H
#define LKS_STATUS_H

#ifndef LKS_STATUS_TYPES /* looksay.h declares the same types for users; a unit test holds the two together */
#define LKS_STATUS_TYPES

typedef enum lks_status {
    LKS_OK = 0,
    LKS_ERR_ARGUMENT,    /* the caller passed something that cannot be served */
    LKS_ERR_NOMEM,       /* out of memory */
    LKS_ERR_IO,          /* a file could not be opened, read or written */
    LKS_ERR_IMAGE,       /* an image is damaged, empty, too large or of an unknown format */
    LKS_ERR_MODEL,       /* a model file is damaged, inconsistent or lacks something */
    LKS_ERR_UNSUPPORTED, /* well-formed, but this build or version cannot do it */
    LKS_ERR_INTERRUPTED, /* the caller asked to stop */
    LKS_ERR_DEVICE,      /* there is no GPU to use, or it failed */
    LKS_ERR_DAMAGED      /* an image is truncated or damaged; a lenient read may take what can be read of it */
} lks_status;

typedef struct lks_error {
    lks_status status;
    char message[504]; /* one sentence, UTF-8, always terminated; "" when there is no error */
} lks_error;

#endif

#ifdef __GNUC__
#define LKS_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define LKS_PRINTF(text, first)
#endif

/* Fills `err` (may be NULL) with `status` and the formatted message, cut to fit at a UTF-8 boundary; returns `status`. */
lks_status lks_error_set(lks_error *err, lks_status status, const char *format, ...) LKS_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* which looks at one file at a time: lets it see that the status comes back */
#define lks_error_set(err, status, ...) ((lks_error_set)(err, status, __VA_ARGS__), (status))
#endif

/* Puts "prefix: " before the message that `err` (may be NULL) holds; returns err->status, or `fallback` for NULL. */
lks_status lks_error_prefix(lks_error *err, lks_status fallback, const char *prefix);

#endif
