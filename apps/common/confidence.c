/* How sure a model was of a caption: see confidence.h. */
#include "apps/common/confidence.h"

#include <math.h>
#include <stdio.h>

double caption_confidence(const lks_sequence *s)
{
    double sum = 0.0;
    for (int i = 0; i < s->n_tokens; i++)
        sum += exp((double)s->logprobs[i]);
    return s->n_tokens > 0 ? sum / s->n_tokens : 0.0;
}

const char *picture_kind_text(lks_picture_kind kind)
{
    switch (kind) {
    case LKS_PICTURE_BLANK:
        return "blank picture";
    case LKS_PICTURE_NOISE:
        return "noise, no picture";
    case LKS_PICTURE_DRAWING:
        return "looks like a screenshot or drawing, no photo";
    default:
        return NULL;
    }
}

const char *picture_kind_name(lks_picture_kind kind)
{
    switch (kind) {
    case LKS_PICTURE_BLANK:
        return "blank";
    case LKS_PICTURE_NOISE:
        return "noise";
    case LKS_PICTURE_DRAWING:
        return "drawing";
    default:
        return "photo";
    }
}

bool caption_doubt(char reason[DOUBT_BYTES], const lks_caption *caption, double min_confidence, bool any_picture)
{
    const char *kind = any_picture ? NULL : picture_kind_text(caption->kind);
    double confidence = caption->sequences[0].confidence;
    if (kind)
        snprintf(reason, DOUBT_BYTES, "%s", kind);
    else if (!isnan(min_confidence) && isnan(confidence))
        snprintf(reason, DOUBT_BYTES, "the model does not know how good its captions in this language are");
    else if (!isnan(min_confidence) && confidence < min_confidence)
        snprintf(reason, DOUBT_BYTES, "confidence %.3f is below %g", confidence, min_confidence);
    else
        return false;
    return true;
}
