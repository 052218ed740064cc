/* looksay explain: where the model looked for each word of a caption, as numbers, a page or a sheet of pictures. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/cli/explain.h"
#include "apps/cli/output.h"
#include "apps/common/sink.h"

static const struct writer {
    const char *format;
    bool needs_picture;
    bool (*write)(FILE *to, const explanation *e);
} writers[] = {
#ifdef LOOKSAY_SHEETS
    {"png", true, explain_write_png},
#endif
    {"html", true, explain_write_html},
    {"json", false, explain_write_json},
};

enum { N_WRITERS = sizeof writers / sizeof *writers };

/* --format, else the end of the output's name, else JSON for standard output. */
static const struct writer *find_writer(const settings *s)
{
    const char *wanted = s->explain_format;
    if (!wanted && s->output && strcmp(s->output, "-") != 0) {
        const char *dot = strrchr(s->output, '.');
        wanted = dot && !strchr(dot, '/') ? dot + 1 : "";
    }
    if (!wanted)
        wanted = "json";
    for (int i = 0; i < N_WRITERS; i++)
        if (strcasecmp(writers[i].format, wanted) == 0)
            return &writers[i];
    if (strcasecmp(wanted, "png") == 0)
        complain("this build draws no PNG sheets: it was made without FreeType, Fontconfig or libspng; write .html or "
                 ".json");
    else
        complain("%s: the name does not tell what to write; end it in .png, .html or .json, or say --format",
                 s->output);
    return NULL;
}

static lks_status caption_one(lks_session *session, lks_caption **caption, const char *name,
                              const lks_caption_options *options, lks_error *err)
{
    lks_image_source picture;
    lks_status st = engine_open_picture(&picture, name, err);
    if (st == LKS_OK && picture.path)
        st = lks_caption_file(session, caption, picture.path, options, err);
    else if (st == LKS_OK)
        st = lks_caption_bytes(session, caption, picture.bytes, picture.n_bytes, picture.name, options, err);
    engine_close_picture(&picture);
    return st;
}

static int run_explain(const settings *s, const engine *e, const struct writer *writer)
{
    lks_caption_options options;
    engine_caption_options(&options, e, s);
    if (!engine_check_caption(s, &options))
        return EXIT_USAGE;
    options.keep_maps = 1;
    options.keep_picture = writer->needs_picture;
    lks_caption *caption;
    lks_error err;
    lks_status st = caption_one(e->session, &caption, s->operands[0], &options, &err);
    if (st != LKS_OK) {
        engine_offer_lenient(&err);
        complain("%s", err.message);
        return engine_exit_status(st);
    }
    const explanation explained = {
        .image = s->operands[0], .model = e->name, .caption = caption, .sequence = &caption->sequences[0]};
    sink out;
    bool written = sink_open(&out, s->output);
    if (written) {
        written = writer->write(out.stream, &explained);
        if (written)
            written = sink_close(&out);
        else
            sink_leave(&out, false);
    }
    lks_caption_free(caption);
    return written ? EXIT_ALL_DONE : EXIT_OUTPUT;
}

int command_explain(const settings *s)
{
    if (s->n_operands != 1) {
        complain("explain takes one image, or - for standard input");
        return EXIT_USAGE;
    }
    const struct writer *writer = find_writer(s);
    if (!writer || !output_check(s))
        return EXIT_USAGE;
    engine e;
    if (!engine_open(&e, s))
        return EXIT_MODEL;
    engine_catch_interrupts();
    int status = run_explain(s, &e, writer);
    engine_close(&e);
    return status;
}
