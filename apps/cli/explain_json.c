/* An explanation as numbers.
 *
 *     {"image", "caption", "score", "model", "size": [width, height], "grid": [rows, columns], "grid_box": [x, y, width, height],
 *      "words":  [{"word", "logprob", "first_token", "n_tokens", "map": [rows * columns numbers that sum to 1]}],
 *      "timings": {"read_ms", "encode_ms", "decode_ms", "steps"},
 *      "tokens": [{"id", "text", "logprob", "layers": [one list of rows * columns weights for each decoder layer]}]} */
#include <jansson.h>

#include "apps/cli/explain.h"
#include "apps/cli/options.h"
#include "apps/cli/report.h"

static json_t *numbers(const float *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real((double)values[i]));
    return list;
}

static json_t *words_of(const lks_sequence *s, size_t n_patches)
{
    json_t *list = json_array();
    for (int i = 0; i < s->n_words; i++) {
        const lks_word *word = &s->words[i];
        json_t *row = json_pack("{s:o, s:f, s:i, s:i}", "word", json_text(word->text), "logprob", (double)word->logprob,
                                "first_token", word->first_token, "n_tokens", word->n_tokens);
        json_object_set_new(row, "map", numbers(word->map, n_patches));
        json_array_append_new(list, row);
    }
    return list;
}

static json_t *tokens_of(const lks_sequence *s, size_t n_patches)
{
    json_t *list = json_array();
    const float *map = s->layer_maps;
    for (int i = 0; i < s->n_tokens; i++) {
        json_t *row = json_pack("{s:i, s:o, s:f}", "id", (int)s->tokens[i], "text", json_text(s->token_text[i]),
                                "logprob", (double)s->logprobs[i]);
        json_t *layers = json_array();
        for (int layer = 0; layer < s->n_layers; layer++, map += n_patches)
            json_array_append_new(layers, numbers(map, n_patches));
        json_object_set_new(row, "layers", layers);
        json_array_append_new(list, row);
    }
    return list;
}

bool explain_write_json(FILE *to, const explanation *e)
{
    const lks_caption *c = e->caption;
    const lks_sequence *s = e->sequence;
    size_t n_patches = (size_t)c->grid_rows * (size_t)c->grid_columns;
    json_t *all = json_object();
    json_object_set_new(all, "image", json_text(e->image));
    json_object_set_new(all, "caption", json_text(s->text));
    json_object_set_new(all, "score", json_real((double)s->score));
    json_object_set_new(all, "model", json_text(e->model));
    json_object_set_new(all, "size", json_pack("[i, i]", c->width, c->height));
    json_object_set_new(all, "grid", json_pack("[i, i]", c->grid_rows, c->grid_columns));
    json_object_set_new(all, "grid_box",
                        json_pack("[f, f, f, f]", c->grid_box.x, c->grid_box.y, c->grid_box.width, c->grid_box.height));
    json_object_set_new(all, "timings",
                        json_pack("{s:f, s:f, s:f, s:i}", "read_ms", c->read_ms, "encode_ms", c->encode_ms, "decode_ms",
                                  c->decode_ms, "steps", c->n_steps));
    json_object_set_new(all, "words", words_of(s, n_patches));
    json_object_set_new(all, "tokens", tokens_of(s, n_patches));
    bool done = json_dumpf(all, to, JSON_COMPACT | JSON_REAL_PRECISION(7)) == 0;
    fputc('\n', to);
    json_decref(all);
    if (!done && !ferror(to))
        complain("out of memory for the maps of %s", e->image);
    return done || ferror(to);
}
