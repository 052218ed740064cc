/* How probable it is that a caption is good: see confidence.h. */
#include "apps/captioner/confidence.h"

#include <math.h>
#include <stdio.h>

#include "fusion/json.h"
#include "fusion/status.h"

lks_status lks_calibration_parse(lks_calibration *out, const json_t *generation, const char *path, lks_error *err)
{
    lks_calibration c = {.known = 0};
    const json_t *given = json_object_get(generation, "confidence");
    if (!given || json_is_null(given)) {
        *out = c;
        return LKS_OK;
    }
    const struct {
        const char *key;
        double *to;
    } numbers[] = {{"bias", &c.bias}, {"mean", &c.mean}, {"least", &c.least}, {"tokens", &c.tokens}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        const json_t *number = json_object_get(given, numbers[i].key);
        if (!json_is_number(number) || !isfinite(json_number_value(number)))
            return lks_error_set(err, LKS_ERR_MODEL, "%s: 'confidence' has no number '%s'; fit it again", path,
                                 numbers[i].key);
        *numbers[i].to = json_number_value(number);
    }
    snprintf(c.language, sizeof c.language, "%s", lks_json_string(given, "language", ""));
    c.known = 1;
    *out = c;
    return LKS_OK;
}

double lks_calibration_judge(const lks_calibration *c, const float *logprobs, int n_tokens)
{
    if (!c->known || n_tokens < 1)
        return (double)NAN;
    double sum = 0.0, least = 0.0;
    for (int i = 0; i < n_tokens; i++) {
        sum += (double)logprobs[i];
        least = fmin(least, (double)logprobs[i]);
    }
    return 1.0 / (1.0 + exp(-(c->bias + c->mean * sum / n_tokens + c->least * least + c->tokens * n_tokens)));
}
