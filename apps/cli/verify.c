/* looksay verify: a model's captions against a golden file that another program made from the same files. "tolerance" is how far
 * its log-probabilities may be off where --tolerance does not say; without it they are those of f32.
 *
 *     {"tolerance": 0.002,
 *      "cases": [{"image": "a.jpg", "args": {"max_tokens": 20, "beams": 3}, "tokens": [...], "logprobs": [...],
 *                 "caption": "..."}]}
 *
 * `args` are named after the options of looksay caption. Other tasks have a key of their own, and need no picture:
 *
 *     {"translate": {"text": "...", "from": "en", "to": "de"}, "args": {...}, "tokens", "logprobs", "caption": as above}
 *     {"fill": "a [MASK] dog", "args": {...}, "filling": {"text": "a brown dog", "probability": 0.5}}    one of the likeliest */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/dataset.h"
#include "apps/cli/engine.h"

#define DEFAULT_TOLERANCE 2e-3

typedef struct verification {
    const settings *settings;
    const char *file;
    engine engine;
    double tolerance, worst;
} verification;

/* Options of a case on top of the model's defaults; false after a message when one is unknown. */
static bool case_options(lks_caption_options *o, const verification *v, const json_t *args)
{
    lks_caption_options_init(o, v->engine.model);
    const struct {
        const char *name;
        int *whole;
        float *real;
    } known[] = {{"beams", &o->n_beams, NULL},
                 {"n_best", &o->n_best, NULL},
                 {"max_tokens", &o->max_tokens, NULL},
                 {"min_tokens", &o->min_tokens, NULL},
                 {"no_repeat_ngram", &o->no_repeat_ngram, NULL},
                 {"length_penalty", NULL, &o->length_penalty},
                 {"repetition_penalty", NULL, &o->repetition_penalty}};
    const struct {
        const char *name, **text;
    } texts[] = {{"prompt", &o->prompt}, {"language", &o->language}};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)args, name, value)
    {
        size_t i = 0, n = sizeof known / sizeof *known;
        while (i < n && strcmp(known[i].name, name) != 0)
            i++;
        size_t text = 0;
        while (text < 2 && strcmp(texts[text].name, name) != 0)
            text++;
        if (text < 2 && json_is_string(value)) {
            *texts[text].text = json_string_value(value);
        } else if (i < n && known[i].whole && json_is_integer(value)) {
            *known[i].whole = (int)json_integer_value(value);
        } else if (i < n && known[i].real && json_is_number(value)) {
            *known[i].real = (float)json_number_value(value);
        } else {
            complain("%s: unknown argument \"%s\"", v->file, name);
            return false;
        }
    }
    return true;
}

/* Whether two texts are the same but for the space around them. */
static bool reads_alike(const char *a, const char *b)
{
    static const char space[] = " \t\r\n\v\f";
    a += strspn(a, space);
    b += strspn(b, space);
    size_t n_a = strlen(a), n_b = strlen(b);
    while (n_a > 0 && strchr(space, a[n_a - 1]))
        n_a--;
    while (n_b > 0 && strchr(space, b[n_b - 1]))
        n_b--;
    return n_a == n_b && memcmp(a, b, n_a) == 0;
}

/* Compares; on a difference says which in `why`. A NaN is a difference. */
static bool agrees(verification *v, const lks_sequence *got, const json_t *golden, char *why, size_t n_why)
{
    const json_t *tokens = json_object_get(golden, "tokens"), *logprobs = json_object_get(golden, "logprobs");
    const char *caption = json_string_value(json_object_get(golden, "caption"));
    size_t n = json_array_size(tokens);
    for (size_t i = 0; i < n && i < (size_t)got->n_tokens; i++) {
        long long want = json_integer_value(json_array_get(tokens, i));
        if (want != got->tokens[i]) {
            snprintf(why, n_why, "token %zu is %d, should be %lld", i, (int)got->tokens[i], want);
            return false;
        }
    }
    if (n != (size_t)got->n_tokens || json_array_size(logprobs) != n) {
        snprintf(why, n_why, "%d tokens, should be %zu", got->n_tokens, n);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        double want = json_number_value(json_array_get(logprobs, i)), gap = fabs((double)got->logprobs[i] - want);
        if (!(gap <= v->tolerance)) {
            snprintf(why, n_why, "log-probability %zu is %.6f, should be %.6f", i, (double)got->logprobs[i], want);
            return false;
        }
        v->worst = gap > v->worst ? gap : v->worst;
    }
    if (caption && !reads_alike(caption, got->text)) {
        snprintf(why, n_why, "the text is '%s', should be '%s'", got->text, caption);
        return false;
    }
    return true;
}

/* The same of what a run brought, which is freed, or its error. */
static bool result_agrees(verification *v, lks_status st, lks_caption *caption, const lks_error *err,
                          const json_t *golden, char *why, size_t n_why)
{
    if (st != LKS_OK) {
        snprintf(why, n_why, "%s", err->message);
        return false;
    }
    bool well = agrees(v, &caption->sequences[0], golden, why, n_why);
    lks_caption_free(caption);
    return well;
}

static bool caption_agrees(verification *v, const json_t *golden, const lks_caption_options *options, const char *path,
                           char *why, size_t n_why)
{
    lks_caption *caption = NULL;
    lks_error err;
    if (!path) {
        snprintf(why, n_why, "a case needs \"image\"");
        return false;
    }
    lks_status st = lks_caption_file(v->engine.session, &caption, path, options, &err);
    return result_agrees(v, st, caption, &err, golden, why, n_why);
}

static bool translation_agrees(verification *v, const json_t *golden, const lks_caption_options *args,
                               const lks_image_source *picture, char *why, size_t n_why)
{
    const json_t *task = json_object_get(golden, "translate");
    const char *text = json_string_value(json_object_get(task, "text"));
    lks_translate_options options;
    lks_translate_options_init(&options, v->engine.model);
    options.from = json_string_value(json_object_get(task, "from"));
    options.to = json_string_value(json_object_get(task, "to"));
    options.n_beams = args->n_beams;
    options.max_tokens = args->max_tokens;
    options.length_penalty = args->length_penalty;
    lks_caption *caption = NULL;
    lks_error err;
    lks_status st = lks_translate(v->engine.session, &caption, text ? text : "", picture, &options, &err);
    return result_agrees(v, st, caption, &err, golden, why, n_why);
}

static bool filling_agrees(verification *v, const json_t *golden, const lks_caption_options *args,
                           const lks_image_source *picture, char *why, size_t n_why)
{
    const json_t *wanted = json_object_get(golden, "filling");
    const char *text = json_string_value(json_object_get(wanted, "text"));
    double want = json_number_value(json_object_get(wanted, "probability"));
    lks_fill_options options;
    lks_fill_options_init(&options, v->engine.model);
    options.language = args->language;
    options.n_best = options.n_beams = args->n_beams;
    options.guidance = 0.0f;
    lks_fillings *fillings;
    lks_error err;
    if (lks_fill(v->engine.session, &fillings, json_string_value(json_object_get(golden, "fill")), picture, &options,
                 &err) != LKS_OK) {
        snprintf(why, n_why, "%s", err.message);
        return false;
    }
    const lks_filling *found = NULL;
    for (int i = 0; i < fillings->n && !found; i++)
        if (text && strcmp(fillings->items[i].text, text) == 0)
            found = &fillings->items[i];
    double gap = found ? fabs(found->probability - want) : NAN;
    bool well = gap <= v->tolerance;
    if (!found)
        snprintf(why, n_why, "'%s' is not among the likeliest", text ? text : "");
    else if (!well)
        snprintf(why, n_why, "the probability of '%s' is %.6f, should be %.6f", text, found->probability, want);
    else
        v->worst = gap > v->worst ? gap : v->worst;
    lks_fillings_free(fillings);
    return well;
}

static bool run_case(verification *v, const json_t *golden)
{
    const char *image = json_string_value(json_object_get(golden, "image"));
    lks_caption_options args;
    char why[600] = "its arguments are not known";
    char *path = image ? dataset_photo_path(v->settings->photos, v->file, image) : NULL;
    const lks_image_source source = {.path = path}, *picture = path ? &source : NULL;
    bool well = case_options(&args, v, json_object_get(golden, "args"));
    if (well && json_is_string(json_object_get(golden, "fill")))
        well = filling_agrees(v, golden, &args, picture, why, sizeof why);
    else if (well && json_is_object(json_object_get(golden, "translate")))
        well = translation_agrees(v, golden, &args, picture, why, sizeof why);
    else if (well)
        well = caption_agrees(v, golden, &args, path, why, sizeof why);
    char *shown = json_dumps(json_object_get(golden, "args"), JSON_COMPACT);
    if (well)
        printf("ok   %s %s\n", image ? image : "text", shown ? shown : "");
    else
        printf("FAIL %s %s: %s\n", image ? image : "text", shown ? shown : "", why);
    free(shown);
    free(path);
    return well;
}

static int run(verification *v)
{
    json_error_t detail = {.text = ""};
    FILE *file = fopen(v->file, "r");
    if (!file) {
        complain("%s: %s; name a golden file", v->file, strerror(errno));
        return EXIT_USAGE;
    }
    json_t *golden = json_loadf(file, 0, &detail);
    fclose(file);
    const json_t *cases = json_object_get(golden, "cases");
    const json_t *tolerance = json_object_get(golden, "tolerance");
    size_t n = json_array_size(cases), n_well = 0;
    if (isnan(v->tolerance))
        v->tolerance = json_is_number(tolerance) ? json_number_value(tolerance) : DEFAULT_TOLERANCE;
    if (!golden)
        complain("%s: is no golden file: line %d: %s", v->file, detail.line, detail.text);
    else if (n == 0)
        complain("%s: holds no \"cases\"", v->file);
    for (size_t i = 0; i < n; i++)
        n_well += run_case(v, json_array_get(cases, i));
    json_decref(golden);
    if (n == 0)
        return EXIT_USAGE;
    printf("%zu of %zu cases agree, log-probabilities within %.1e\n", n_well, n, v->worst);
    return n_well == n ? EXIT_ALL_DONE : EXIT_SOME_FAILED;
}

int command_verify(const settings *s)
{
    verification v = {.settings = s, .tolerance = s->tolerance};
    if (s->n_operands > 1) {
        complain("verify takes one golden file");
        return EXIT_USAGE;
    }
    if (!engine_open(&v.engine, s))
        return EXIT_MODEL;
    char beside[PATH_MAX + 32];
    const char *model = v.engine.path, *slash = strrchr(model, '/');
    int n = is_folder(model) ? (int)strlen(model) : slash ? (int)(slash - model) : 0;
    snprintf(beside, sizeof beside, "%.*s%sgolden.json", n, model, n > 0 ? "/" : "");
    v.file = s->n_operands ? s->operands[0] : beside;
    int status = run(&v);
    engine_close(&v.engine);
    return status;
}
