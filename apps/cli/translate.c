/* looksay translate: sentences into another language, with the picture they are about or without. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/cli/inputs.h"
#include "apps/cli/output.h"
#include "apps/common/rows.h"
#include "apps/common/sink.h"

typedef struct translation {
    const settings *settings;
    engine engine;
    lks_translate_options options;
    lks_image_source picture;
    lks_caption *first; /* of the picture: its features serve the other sentences */
    sink sink;
    bool json;
    size_t n_failed;
} translation;

static int stop(void *context)
{
    (void)context;
    return engine_is_interrupted();
}

static void add_json(const translation *t, const char *text, const lks_caption *caption, const char *message)
{
    json_t *row = json_object(), *others = json_array();
    json_object_set_new(row, "text", json_text(text));
    json_object_set_new(row, "from", json_text(t->options.from));
    json_object_set_new(row, "to", json_text(t->options.to));
    if (t->settings->image)
        json_object_set_new(row, "image", json_text(t->settings->image));
    if (caption) {
        json_object_set_new(row, "translation", json_text(caption->sequences[0].text));
        json_object_set_new(row, "score", json_real((double)caption->sequences[0].score));
        for (int i = 1; i < caption->n_sequences; i++)
            json_array_append_new(others, json_text(caption->sequences[i].text));
        if (json_array_size(others) > 0)
            json_object_set(row, "alternatives", others);
    }
    json_object_set_new(row, "model", json_text(t->engine.name));
    json_object_set_new(row, "status", json_string(message ? "error" : "ok"));
    if (message)
        json_object_set_new(row, "error", json_text(message));
    json_dumpf(row, t->sink.stream, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fputc('\n', t->sink.stream);
    json_decref(others);
    json_decref(row);
}

/* One row; as text it has a line for each of --n-best, empty where there is none: rows keep in step with their sources. Returns false
 * when output failed or the user interrupts. */
static bool translate(translation *t, const char *text)
{
    lks_caption *caption = NULL;
    lks_error err = {.message = ""};
    const lks_image_source *picture = t->settings->image ? &t->picture : NULL;
    lks_status st = lks_translate(t->engine.session, &caption, text, picture, &t->options, &err);
    if (st == LKS_ERR_INTERRUPTED)
        return false;
    if (st != LKS_OK) {
        t->n_failed++;
        complain("%s", err.message);
    }
    if (t->json)
        add_json(t, text, caption, st == LKS_OK ? NULL : err.message);
    for (int i = 0; !t->json && i < t->options.n_best; i++)
        fprintf(t->sink.stream, "%s\n", st == LKS_OK && i < caption->n_sequences ? caption->sequences[i].text : "");
    if (caption && caption->features) {
        t->first = caption;
        t->picture.features = caption->features;
        t->options.keep_features = 0;
    } else {
        lks_caption_free(caption);
    }
    return sink_end_row(&t->sink);
}

static bool translate_list(translation *t, FILE *list)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    bool well = true, first = true;
    while (well && (n = getline(&line, &capacity, list)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = '\0';
        well = translate(t, first ? inputs_skip_mark(line) : line);
        first = false;
    }
    free(line);
    return well;
}

static int run(translation *t, FILE *list)
{
    const settings *s = t->settings;
    if (!sink_open(&t->sink, s->output))
        return EXIT_OUTPUT;
    bool well = true;
    for (int i = 0; i < s->n_operands && well; i++)
        well = translate(t, s->operands[i]);
    if (well && list)
        well = translate_list(t, list);
    if (engine_is_interrupted()) {
        sink_leave(&t->sink, false);
        return EXIT_INTERRUPTED;
    }
    if (!well) {
        sink_leave(&t->sink, false);
        return EXIT_OUTPUT;
    }
    if (!sink_close(&t->sink))
        return EXIT_OUTPUT;
    return t->n_failed > 0 ? EXIT_SOME_FAILED : EXIT_ALL_DONE;
}

static void set_options(translation *t)
{
    const settings *s = t->settings;
    lks_translate_options *o = &t->options;
    lks_translate_options_init(o, t->engine.model);
    o->from = s->from;
    o->to = s->to;
    if (s->n_best != OPTION_UNSET)
        o->n_best = s->n_best;
    if (s->n_beams != OPTION_UNSET)
        o->n_beams = s->n_beams;
    else if (o->n_best > o->n_beams)
        o->n_beams = o->n_best;
    if (s->max_tokens != OPTION_UNSET)
        o->max_tokens = s->max_tokens;
    if (!isnan(s->length_penalty))
        o->length_penalty = (float)s->length_penalty;
    o->stop = stop;
    o->keep_features = s->image != NULL;
}

/* What does not fit together. Returns false after a message. */
static bool check(const settings *s)
{
    bool reads_image = s->image && strcmp(s->image, "-") == 0,
         reads_list = s->files_from && strcmp(s->files_from, "-") == 0;
    const char *wrong = NULL;
    if (!s->from || !s->to)
        wrong = "translate needs two languages: --from en --to de";
    else if (strcmp(s->from, s->to) == 0)
        wrong = "translate needs two different languages, such as --from en --to de";
    else if (s->n_operands == 0 && !s->files_from)
        wrong = "translate needs a sentence, or --files-from with one a line";
    else if (reads_image && reads_list)
        wrong = "standard input cannot be both the image and the list of sentences";
    else if (s->n_best != OPTION_UNSET && s->n_beams != OPTION_UNSET && s->n_best > s->n_beams)
        wrong = "--n-best takes at most as many as there are --beams";
    if (wrong)
        complain("%s", wrong);
    return !wrong && output_check_rows(s);
}

static int run_with_engine(translation *t, FILE *list)
{
    const settings *s = t->settings;
    lks_error err;
    if (!engine_has_language(&t->engine, s->from) || !engine_has_language(&t->engine, s->to))
        return EXIT_MODEL;
    set_options(t);
    if (!engine_check_search(s, false, t->options.n_beams > 1))
        return EXIT_USAGE;
    engine_catch_interrupts();
    lks_status st = s->image ? engine_open_picture(&t->picture, s->image, &err) : LKS_OK;
    if (st != LKS_OK) {
        complain("%s", err.message);
        return engine_exit_status(st);
    }
    int status = run(t, list);
    lks_caption_free(t->first);
    engine_close_picture(&t->picture);
    return status;
}

int command_translate(const settings *s)
{
    if (!check(s))
        return EXIT_USAGE;
    FILE *list = s->files_from ? inputs_open_list(s->files_from) : NULL;
    if (s->files_from && !list)
        return EXIT_USAGE;
    translation t = {.settings = s, .json = s->text_format && strcmp(s->text_format, "jsonl") == 0};
    int status = EXIT_MODEL;
    if (engine_open(&t.engine, s)) {
        status = run_with_engine(&t, list);
        engine_close(&t.engine);
    }
    if (list && list != stdin)
        fclose(list);
    return status;
}
