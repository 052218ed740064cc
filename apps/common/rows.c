/* Captions as JSON lines and as CSV: see rows.h. */
#include "apps/common/rows.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "apps/common/confidence.h"
#include "apps/common/utf8.h"

enum { JSON_STYLE = JSON_COMPACT | JSON_REAL_PRECISION(9) };

json_t *json_text(const char *text)
{
    json_t *valid = json_string(text);
    if (valid)
        return valid;
    char *repaired = utf8_repair(text);
    json_t *made = repaired ? json_string(repaired) : NULL;
    free(repaired);
    return made;
}

static void add_tokens(json_t *to, const lks_sequence *s)
{
    json_t *tokens = json_array(), *logprobs = json_array();
    for (int i = 0; i < s->n_tokens; i++) {
        json_array_append_new(tokens, json_integer(s->tokens[i]));
        json_array_append_new(logprobs, json_real((double)s->logprobs[i]));
    }
    json_object_set_new(to, "tokens", tokens);
    json_object_set_new(to, "logprobs", logprobs);
}

/* null where the model does not know. */
static json_t *confidence(const lks_sequence *s)
{
    return isnan(s->confidence) ? json_null() : json_real(s->confidence);
}

static json_t *alternatives(const lks_caption *caption, bool details)
{
    json_t *list = json_array();
    for (int i = 0; i < caption->n_sequences; i++) {
        const lks_sequence *s = &caption->sequences[i];
        json_t *one = json_object();
        json_object_set_new(one, "caption", json_text(s->text));
        json_object_set_new(one, "score", json_real((double)s->score));
        json_object_set_new(one, "confidence", confidence(s));
        if (details)
            add_tokens(one, s);
        json_array_append_new(list, one);
    }
    return list;
}

static void write_json(FILE *to, json_t *row, const json_t *extra)
{
    if (extra)
        json_object_update(row, (json_t *)(uintptr_t)extra);
    if (json_dumpf(row, to, JSON_STYLE) != 0)
        errno = errno ? errno : ENOMEM;
    fputc('\n', to);
    json_decref(row);
}

void rows_add_json(FILE *to, const char *image, const lks_caption *caption, const char *model, double ms, bool details,
                   const json_t *extra)
{
    const lks_sequence *best = &caption->sequences[0];
    json_t *row = json_object();
    json_object_set_new(row, "image", json_text(image));
    json_object_set_new(row, "caption", json_text(best->text));
    json_object_set_new(row, "score", json_real((double)best->score));
    json_object_set_new(row, "confidence", confidence(best));
    json_object_set_new(row, "model", json_text(model));
    json_object_set_new(row, "status", json_string("ok"));
    json_object_set_new(row, "ms", json_real(ms));
    if (caption->damaged)
        json_object_set_new(row, "damaged", json_true());
    if (caption->n_sequences > 1)
        json_object_set_new(row, "alternatives", alternatives(caption, details));
    if (details) {
        add_tokens(row, best);
        json_object_set_new(row, "kind", json_string(picture_kind_name(caption->kind)));
        json_object_set_new(row, "size", json_pack("[i, i]", caption->width, caption->height));
        json_object_set_new(row, "timings",
                            json_pack("{s:f, s:f, s:f, s:i}", "read_ms", caption->read_ms, "encode_ms",
                                      caption->encode_ms, "decode_ms", caption->decode_ms, "steps", caption->n_steps));
    }
    write_json(to, row, extra);
}

void rows_add_json_uncertain(FILE *to, const char *image, const lks_caption *caption, const char *reason,
                             const char *model, double ms, bool details, const json_t *extra)
{
    const lks_sequence *best = &caption->sequences[0];
    json_t *row = json_object();
    json_object_set_new(row, "image", json_text(image));
    json_object_set_new(row, "model", json_text(model));
    json_object_set_new(row, "status", json_string("uncertain"));
    json_object_set_new(row, "reason", json_string(reason));
    json_object_set_new(row, "confidence", confidence(best));
    json_object_set_new(row, "kind", json_string(picture_kind_name(caption->kind)));
    json_object_set_new(row, "ms", json_real(ms));
    if (details)
        json_object_set_new(row, "guess", json_text(best->text));
    write_json(to, row, extra);
}

void rows_add_json_error(FILE *to, const char *image, const char *message, const char *model, double ms,
                         const json_t *extra)
{
    json_t *row = json_object();
    json_object_set_new(row, "image", json_text(image));
    json_object_set_new(row, "model", json_text(model));
    json_object_set_new(row, "status", json_string("error"));
    json_object_set_new(row, "error", json_text(message));
    json_object_set_new(row, "ms", json_real(ms));
    write_json(to, row, extra);
}

/* A field in quotes, quotes doubled (RFC 4180). */
static void write_csv_field(FILE *to, const char *text)
{
    fputc('"', to);
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            fputc('"', to);
        fputc(*p, to);
    }
    fputc('"', to);
}

/* caption: NULL when the row has none, because of `why`. */
static void write_csv(FILE *to, const char *image, const lks_sequence *caption, const char *status, const char *why,
                      double confidence_known)
{
    write_csv_field(to, image);
    fputc(',', to);
    write_csv_field(to, caption ? caption->text : "");
    fputc(',', to);
    if (caption)
        fprintf(to, "%.6g", (double)caption->score);
    fprintf(to, ",%s,", status);
    write_csv_field(to, why);
    fputc(',', to);
    if (!isnan(confidence_known))
        fprintf(to, "%.4f", confidence_known);
    fputs("\r\n", to);
}

void rows_begin_csv(FILE *to)
{
    fputs("image,caption,score,status,error,confidence\r\n", to);
}

void rows_add_csv(FILE *to, const char *image, const lks_caption *caption)
{
    write_csv(to, image, &caption->sequences[0], "ok", "", caption->sequences[0].confidence);
}

void rows_add_csv_uncertain(FILE *to, const char *image, const lks_caption *caption, const char *reason)
{
    write_csv(to, image, NULL, "uncertain", reason, caption->sequences[0].confidence);
}

void rows_add_csv_error(FILE *to, const char *image, const char *message)
{
    write_csv(to, image, NULL, "error", message, (double)NAN);
}
