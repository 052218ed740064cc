/* How probable it is that a caption is good: what a model file says about its own captions. Private to the captioner.
 *
 *     confidence = 1 / (1 + exp(-(bias + mean a + least b + n c)))
 *
 * of the log-probabilities of a caption's n tokens: their mean (a: a temperature) and the least of them. The four coefficients are
 * fitted by apps/train/confidence.py, and stand in the generation settings as the object "confidence". */
#ifndef LKS_CONFIDENCE_H
#define LKS_CONFIDENCE_H

#include <jansson.h>

#include "apps/captioner/looksay.h"

typedef struct lks_calibration {
    int known;         /* 0: the model's file says nothing */
    char language[16]; /* it holds for; "": the model's default */
    double bias, mean, least, tokens;
} lks_calibration;

/* generation: NULL, or an object that may hold "confidence". */
lks_status lks_calibration_parse(lks_calibration *out, const json_t *generation, const char *path, lks_error *err);

/* NAN when the calibration is not known or the caption has no tokens. */
double lks_calibration_judge(const lks_calibration *c, const float *logprobs, int n_tokens);

#endif
