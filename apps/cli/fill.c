/* looksay fill: what may stand in the gaps of a text, given a picture. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/cli/output.h"
#include "apps/common/rows.h"
#include "apps/common/sink.h"

static int stop(void *context)
{
    (void)context;
    return engine_is_interrupted();
}

static void write_json(FILE *to, const char *image, const char *text, const char *model, const lks_fillings *fillings)
{
    json_t *row = json_object(), *list = json_array();
    if (image)
        json_object_set_new(row, "image", json_text(image));
    json_object_set_new(row, "text", json_text(text));
    for (int i = 0; i < fillings->n; i++) {
        const lks_filling *filling = &fillings->items[i];
        json_t *item = json_object(), *words = json_array();
        for (int g = 0; g < fillings->n_gaps; g++)
            json_array_append_new(words, json_text(filling->words[g]));
        json_object_set_new(item, "text", json_text(filling->text));
        json_object_set_new(item, "words", words);
        json_object_set_new(item, "probability", json_real(filling->probability));
        json_array_append_new(list, item);
    }
    json_object_set_new(row, "fillings", list);
    json_object_set_new(row, "model", json_text(model));
    json_dumpf(row, to, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fputc('\n', to);
    json_decref(row);
}

static int run(const engine *e, const settings *s)
{
    const char *image = s->n_operands == 2 ? s->operands[0] : NULL, *text = s->operands[s->n_operands - 1];
    lks_fill_options options;
    lks_fill_options_init(&options, e->model);
    options.language = s->language;
    if (s->n_best != OPTION_UNSET)
        options.n_best = s->n_best;
    if (s->n_beams != OPTION_UNSET)
        options.n_beams = s->n_beams;
    else if (options.n_beams < 2 * options.n_best) /* not every beam fills every gap */
        options.n_beams = 2 * options.n_best > 256 ? 256 : 2 * options.n_best;
    if (!isnan(s->guidance))
        options.guidance = (float)s->guidance;
    options.stop = stop;
    lks_fillings *fillings;
    lks_error err;
    lks_image_source picture = {.path = NULL};
    lks_status st = image ? engine_open_picture(&picture, image, &err) : LKS_OK;
    if (st == LKS_OK)
        st = lks_fill(e->session, &fillings, text, image ? &picture : NULL, &options, &err);
    engine_close_picture(&picture);
    if (st != LKS_OK) {
        complain("%s", err.message);
        return st == LKS_ERR_UNSUPPORTED ? EXIT_MODEL : engine_exit_status(st);
    }
    sink out;
    bool written = sink_open(&out, s->output);
    if (written) {
        if (s->text_format && strcmp(s->text_format, "jsonl") == 0)
            write_json(out.stream, image, text, e->name, fillings);
        else
            for (int i = 0; i < fillings->n; i++)
                fprintf(out.stream, "%.3f\t%s\n", fillings->items[i].probability, fillings->items[i].text);
        written = sink_end_row(&out) && sink_close(&out);
    }
    lks_fillings_free(fillings);
    return written ? EXIT_ALL_DONE : EXIT_OUTPUT;
}

int command_fill(const settings *s)
{
    if (s->n_operands < 1 || s->n_operands > 2) {
        complain("fill takes a picture and a text with gaps, such as photo.jpg \"a [MASK] dog\", or the text alone");
        return EXIT_USAGE;
    }
    if (!output_check_rows(s))
        return EXIT_USAGE;
    engine e;
    if (!engine_open(&e, s))
        return EXIT_MODEL;
    engine_catch_interrupts();
    int status = run(&e, s);
    engine_close(&e);
    return status;
}
