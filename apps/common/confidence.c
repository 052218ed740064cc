/* How sure a model was of a caption: see confidence.h. */
#include "apps/common/confidence.h"

#include <math.h>

double caption_confidence(const lks_sequence *s)
{
    double sum = 0.0;
    for (int i = 0; i < s->n_tokens; i++)
        sum += exp((double)s->logprobs[i]);
    return s->n_tokens > 0 ? sum / s->n_tokens : 0.0;
}
