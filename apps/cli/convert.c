/* looksay convert, looksay quantize: a model as one GGUF file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apps/cli/commands.h"
#include "apps/cli/dataset.h"
#include "apps/cli/engine.h"
#include "apps/cli/output.h"

enum { CALIBRATION_PHOTOS = 32 };

/* Paths, malloc'ed, of the first photos of --calibrate. Returns false after a message. */
static bool find_photos(char *paths[CALIBRATION_PHOTOS], size_t *n, const settings *s)
{
    dataset data;
    dataset_row row;
    dataset_status next = DATASET_END;
    if (!dataset_open(&data, s->calibrate, s))
        return false;
    while (*n < CALIBRATION_PHOTOS && (next = dataset_next(&data, &row)) == DATASET_ROW) {
        paths[*n] = strdup(row.path);
        *n += paths[*n] != NULL;
    }
    dataset_close(&data);
    if (*n == 0 && next == DATASET_END)
        complain("%s: no row was asked for", s->calibrate);
    return *n > 0 && next != DATASET_WRONG;
}

/* Whether there is one model to read, and a place for the new one. Returns false after a message. */
static bool check(const settings *s, const char *name)
{
    struct stat info;
    if (s->n_operands != 1 || !s->output) {
        complain("%s takes one model, and -o FILE.gguf for the new one", name);
        return false;
    }
    const char *wrong = NULL;
    if (strcmp(s->output, "-") == 0 || (stat(s->output, &info) == 0 && !S_ISREG(info.st_mode)))
        wrong = "is no regular file, as a model is; name one with -o FILE.gguf";
    else if ((s->data && output_is_input(s->output, s->data)) ||
             (s->calibrate && output_is_input(s->output, s->calibrate)))
        wrong = "is the data set; give the new model another name";
    if (wrong)
        complain("%s: %s", s->output, wrong);
    return !wrong;
}

static int convert(const settings *s, const char *dtype, const char *const *photos, size_t n_photos)
{
    lks_convert_options options = {.size = sizeof options,
                                   .dtype = dtype,
                                   .n_threads = s->n_threads == OPTION_UNSET ? 0 : s->n_threads,
                                   .kept = s->kept.words,
                                   .n_kept = s->kept.n,
                                   .photos = photos,
                                   .n_photos = n_photos};
    lks_convert_result result;
    lks_error err;
    double began = engine_now_ms();
    if (lks_model_convert(&result, s->operands[0], s->output, &options, &err) != LKS_OK) {
        complain("%s", err.message);
        bool ours = err.status == LKS_ERR_IO && strncmp(err.message, s->output, strlen(s->output)) == 0;
        return ours ? EXIT_OUTPUT : err.status == LKS_ERR_ARGUMENT ? EXIT_USAGE : EXIT_MODEL;
    }
    double before = (double)result.bytes_before / (1 << 20), after = (double)result.bytes_after / (1 << 20);
    printf("%s: %s, %.1f MiB -> %.1f MiB (%.0f %%), %zu tensors", s->output, dtype, before, after,
           100.0 * after / before, result.n_tensors);
    if (result.n_packed_layers)
        printf(", %zu packed layers", result.n_packed_layers);
    if (result.n_calibrated_layers)
        printf(", %zu of them calibrated", result.n_calibrated_layers);
    putchar('\n');
    if (s->verbose)
        complain("written in %.0f ms", engine_now_ms() - began);
    return EXIT_ALL_DONE;
}

int command_convert(const settings *s)
{
    return check(s, "convert") ? convert(s, s->to ? s->to : "f32", NULL, 0) : EXIT_USAGE;
}

/* *score = the CIDEr of a model on --data. Returns an exit status, after a message where it is none of success. */
static int score_model(double *score, const settings *s, const char *model)
{
    settings chosen = *s;
    chosen.model = model;
    dataset data;
    engine e;
    cider *scores = cider_open();
    if (!scores || !dataset_open(&data, s->data, s)) {
        cider_close(scores);
        return EXIT_USAGE;
    }
    int status = engine_open(&e, &chosen) ? EXIT_ALL_DONE : EXIT_MODEL;
    lks_caption_options options;
    if (status == EXIT_ALL_DONE)
        engine_caption_options(&options, &e, &chosen);
    dataset_row row;
    dataset_status next = DATASET_ROW;
    size_t n_captioned = 0;
    while (status == EXIT_ALL_DONE && (next = dataset_next(&data, &row)) == DATASET_ROW) {
        lks_caption *caption = NULL;
        lks_error err;
        lks_status st = lks_caption_file(e.session, &caption, row.path, &options, &err);
        if (st == LKS_ERR_INTERRUPTED)
            status = EXIT_INTERRUPTED;
        else if (!dataset_score(scores, st == LKS_OK ? caption->sequences[0].text : "", row.references))
            status = EXIT_SOME_FAILED;
        n_captioned += st == LKS_OK;
        if (st != LKS_OK && st != LKS_ERR_INTERRUPTED && !s->quiet)
            complain("%s", err.message);
        lks_caption_free(caption);
    }
    if (status == EXIT_ALL_DONE && data.n_rows == 0 && next == DATASET_END)
        complain("%s: no row was asked for", s->data);
    if (status == EXIT_ALL_DONE && (next == DATASET_WRONG || data.n_rows == 0))
        status = EXIT_USAGE;
    if (status == EXIT_ALL_DONE && n_captioned == 0) {
        complain("%s: none of its photos can be captioned", s->data);
        status = EXIT_SOME_FAILED;
    }
    *score = cider_score(scores);
    engine_close(&e);
    dataset_close(&data);
    cider_close(scores);
    return status;
}

int command_quantize(const settings *s)
{
    double before = 0.0, after = 0.0;
    int status = EXIT_ALL_DONE;
    char *photos[CALIBRATION_PHOTOS];
    size_t n_photos = 0;
    if (!check(s, "quantize"))
        return EXIT_USAGE;
    if (s->calibrate && !find_photos(photos, &n_photos, s))
        status = EXIT_USAGE;
    if (status == EXIT_ALL_DONE && s->data) { /* first, as the new model may replace the old one */
        engine_catch_interrupts();
        status = score_model(&before, s, s->operands[0]);
    }
    if (status == EXIT_ALL_DONE)
        status = convert(s, s->to ? s->to : "int8", (const char *const *)photos, n_photos);
    for (size_t i = 0; i < n_photos; i++)
        free(photos[i]);
    if (status == EXIT_ALL_DONE && s->data)
        status = score_model(&after, s, s->output);
    if (status == EXIT_ALL_DONE && s->data)
        printf("CIDEr %.4f -> %.4f (%+.1f %%)\n", before, after, before > 0.0 ? 100.0 * (after / before - 1.0) : 0.0);
    return status;
}
