/* The command line: see options.h. */
#include "apps/cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef enum option_kind { KIND_FLAG, KIND_INT, KIND_REAL, KIND_TEXT, KIND_CHOICE, KIND_WORDS, KIND_TEXTS } option_kind;

typedef struct option {
    const char *name;
    char letter; /* short form, or 0 */
    option_kind kind;
    option_group group;
    size_t field; /* offset in settings */
    /* What the value is called; the choices of KIND_CHOICE, separated by |, the first what is meant without. */
    const char *metavar;
    const char *help;
    double min, max; /* of numbers */
} option;

#define FIELD(name) offsetof(settings, name)
#define FLAG(name, letter, group, field, help)                                                                         \
    {                                                                                                                  \
        name, letter, KIND_FLAG, group, FIELD(field), NULL, help, 0, 0                                                 \
    }
#define NUMBER(name, letter, kind, group, field, metavar, min, max, help)                                              \
    {                                                                                                                  \
        name, letter, kind, group, FIELD(field), metavar, help, min, max                                               \
    }
#define TEXT(name, letter, kind, group, field, metavar, help)                                                          \
    {                                                                                                                  \
        name, letter, kind, group, FIELD(field), metavar, help, 0, 0                                                   \
    }

/* clang-format off */
static const option options[] = {
    TEXT("model", 'm', KIND_TEXT, GROUP_MODEL, model, "PATH", "Hugging Face directory or GGUF file; default: the one that came with the program"),
    NUMBER("threads", 't', KIND_INT, GROUP_MODEL | GROUP_CONVERT | GROUP_QUANTIZE, n_threads, "N", 1, 1024, "CPU threads; default: all this process may use"),
    TEXT("isa", 0, KIND_CHOICE, GROUP_MODEL, isa, "auto|ref|blas|avx2|avx-vnni|avx512|avx512-vnni|avx512-bf16|neon|neon-dotprod", "instruction set; auto takes the best this CPU has"),
    TEXT("dtype", 0, KIND_CHOICE, GROUP_MODEL, dtype, "auto|f32|bf16|int8|int4", "precision of linear layers; auto takes what the model file holds"),
    TEXT("packed-cache", 0, KIND_TEXT, GROUP_MODEL, packed_cache, "DIR", "keep what --dtype packs of a Hugging Face directory there: the next start need not pack again"),
    TEXT("device", 0, KIND_CHOICE, GROUP_MODEL, device, "cpu|cuda|auto", "what computes; cuda is an NVIDIA GPU, auto takes one if there is, and says so; default: cpu"),

    TEXT("from", 0, KIND_TEXT, GROUP_TRANSLATE, from, "CODE", "language of the text, such as en; 'looksay info' lists those of the model"),
    TEXT("to", 0, KIND_TEXT, GROUP_TRANSLATE, to, "CODE", "language to translate into"),
    TEXT("image", 'i', KIND_TEXT, GROUP_TRANSLATE, image, "IMAGE", "the picture that the text is about"),
    TEXT("lang", 'l', KIND_TEXT, GROUP_SEARCH, language, "CODE", "language of the caption, such as de; 'looksay info' lists those of the model, the default first"),
    TEXT("lang", 'l', KIND_TEXT, GROUP_FILL, language, "CODE", "language of the text, such as de; default: the model's first"),
    NUMBER("beams", 'b', KIND_INT, GROUP_SEARCH | GROUP_TRANSLATE | GROUP_FILL, n_beams, "N", 1, 256, "beams of beam search; 1 is greedy"),
    NUMBER("max-tokens", 0, KIND_INT, GROUP_SEARCH | GROUP_TRANSLATE, max_tokens, "N", 1, 100000, "longest caption, in tokens"),
    NUMBER("min-tokens", 0, KIND_INT, GROUP_SEARCH, min_tokens, "N", 0, 100000, "shortest caption, in tokens"),
    TEXT("prompt", 'p', KIND_TEXT, GROUP_SEARCH, prompt, "TEXT", "the caption continues this text"),
    NUMBER("n-best", 'n', KIND_INT, GROUP_CAPTION_OUTPUT | GROUP_DATA | GROUP_TRANSLATE | GROUP_FILL, n_best, "N", 1, 256, "alternatives, at most one per beam"),
    TEXT("ban", 0, KIND_WORDS, GROUP_SEARCH, banned, "WORDS", "words or phrases that never appear; commas between, may be repeated"),
    TEXT("must", 0, KIND_WORDS, GROUP_SEARCH, required, "WORDS", "words or phrases that all appear; commas between, may be repeated"),
    NUMBER("no-repeat-ngram", 0, KIND_INT, GROUP_SEARCH, no_repeat_ngram, "N", 0, 1000, "no run of N tokens appears twice; 0: off"),
    NUMBER("length-penalty", 0, KIND_REAL, GROUP_SEARCH | GROUP_TRANSLATE, length_penalty, "X", -100, 100, "above 0 beam search prefers long captions, below 0 short ones"),
    NUMBER("repetition-penalty", 0, KIND_REAL, GROUP_SEARCH, repetition_penalty, "X", 1e-3, 1000, "above 1 tokens already used become less likely"),
    FLAG("sample", 0, GROUP_SEARCH, sample, "draw tokens at random; implied by --temperature, --top-k, --top-p and --seed"),
    NUMBER("temperature", 0, KIND_REAL, GROUP_SEARCH, temperature, "X", 1e-3, 1000, "below 1 draws likely tokens more often"),
    NUMBER("top-k", 0, KIND_INT, GROUP_SEARCH, top_k, "N", 0, 1000000, "draw among the N likeliest tokens; 0: all"),
    NUMBER("top-p", 0, KIND_REAL, GROUP_SEARCH, top_p, "P", 1e-6, 1, "draw among the likeliest tokens that hold this probability together"),
    NUMBER("seed", 0, KIND_INT, GROUP_SEARCH, seed, "N", 0, INT_MAX, "start of the random numbers; the same seed draws the same caption"),
    FLAG("lenient", 0, GROUP_CAPTION_OUTPUT | GROUP_DATA | GROUP_EXPLAIN | GROUP_BENCH, lenient, "caption what can be read of a damaged image"),

    TEXT("files-from", 0, KIND_TEXT, GROUP_INPUT, files_from, "LIST", "file with one image path per line; - is standard input"),
    TEXT("files-from", 0, KIND_TEXT, GROUP_TRANSLATE, files_from, "LINES", "file with one sentence per line; - is standard input"),
    FLAG("null", '0', GROUP_INPUT, null_separated, "paths of --files-from and --dry-run end in a zero byte, not a line end"),
    FLAG("recursive", 'r', GROUP_INPUT, recursive, "folders with all folders in them"),
    TEXT("include", 0, KIND_TEXTS, GROUP_INPUT, include, "GLOB", "of folders and lists, only images whose name matches, or path if GLOB has a /; may be repeated"),
    TEXT("exclude", 0, KIND_TEXTS, GROUP_INPUT, exclude, "GLOB", "of folders and lists, no image or folder that matches; may be repeated"),
    TEXT("shard", 0, KIND_TEXT, GROUP_INPUT, shard, "I/N", "only part I of N, chosen by a hash of each path; the parts are disjoint and complete"),
    FLAG("watch", 0, GROUP_INPUT, watch, "then wait for photos to come into the folders, until interrupted"),
    FLAG("dry-run", 0, GROUP_INPUT, dry_run, "print which images would be captioned, and stop"),

    NUMBER("batch", 0, KIND_INT, GROUP_INPUT | GROUP_DATA, n_batch, "N", 1, 256, "photos captioned together; captions do not depend on it; default: 8, or more where there are more threads"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_CAPTION_OUTPUT, format, "text|jsonl|csv|html|txt|xmp|embed", "html is a page with thumbnails; txt writes PHOTO.txt beside every photo, xmp PHOTO.jpg.xmp, embed XMP into it"),
    FLAG("details", 0, GROUP_CAPTION_OUTPUT, details, "with jsonl: tokens, log-probabilities, sizes and timings"),
    TEXT("existing", 0, KIND_CHOICE, GROUP_CAPTION_OUTPUT, existing, "skip|overwrite|append|prepend", "what to do with captions that are there; default: skip, where xmp and embed fill what is empty"),
    TEXT("ext", 0, KIND_TEXT, GROUP_CAPTION_OUTPUT, extension, "EXT", "PHOTO.EXT beside the photo: some training tools want caption, Adobe's programs with --format xmp want xmp"),
    NUMBER("min-confidence", 0, KIND_REAL, GROUP_CAPTION_OUTPUT, min_confidence, "P", 0, 1, "a caption that is good with a probability below P is not given: the row says uncertain, and why"),
    FLAG("any-picture", 0, GROUP_CAPTION_OUTPUT, any_picture, "caption blank pictures, noise, screenshots and drawings too; else a calibrated model calls them uncertain"),
    TEXT("feature-cache", 0, KIND_TEXT, GROUP_CACHE, feature_cache, "FILE", "keep what the encoder makes of photos there: a later run, with another prompt or search, need not look again"),
    NUMBER("feature-cache-size", 0, KIND_INT, GROUP_CACHE, feature_cache_mib, "MIB", 1, 1 << 24, "size of that file, from which the longest unused goes; default: 1024"),
    FLAG("resume", 0, GROUP_RESUME, resume, "go on where an interrupted or killed run of this command was"),
    TEXT("journal", 0, KIND_TEXT, GROUP_RESUME, journal, "FILE", "where --resume keeps what is done; default: OUTPUT.journal, or .looksay.journal in the folder"),
    TEXT("output", 'o', KIND_TEXT, GROUP_OUTPUT, output, "FILE", "write here, not to standard output; appears when it is complete"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_REPORT, report_format, "text|json", "for people or for programs"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_TRANSLATE | GROUP_FILL, text_format, "text|jsonl", "lines for people or rows for programs"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_EXPLAIN, explain_format, "png|html|json", "default: what the name of FILE ends in, and json without one"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_VIDEO, video_format, "srt|vtt|jsonl|clip", "clip: a copy with the captions in its pictures, .mp4, .mov, .mkv or .webm; default: what the name of FILE ends in, and srt without one"),

    NUMBER("every", 0, KIND_REAL, GROUP_VIDEO, every, "S", 0, 86400, "seconds after which a shot gets another caption if it has changed; 0: never; default: 2"),
    NUMBER("scene", 0, KIND_REAL, GROUP_VIDEO, scene, "T", 0, 1, "a frame that differs from the one before by more is a cut; 0: no cuts; default: 0.1"),
    NUMBER("gate", 0, KIND_REAL, GROUP_VIDEO, gate, "D", 0, 1, "a frame that differs by no more keeps the caption it has; default: 0.015"),
    NUMBER("joint", 0, KIND_INT, GROUP_VIDEO, n_joint, "N", 1, 16, "frames of a shot that the words attend to together; default: 1"),

    TEXT("data", 0, KIND_TEXT, GROUP_QUANTIZE, data, "DATA.jsonl", "score both models on these photos, as eval does, and print their CIDEr"),
    TEXT("photos", 0, KIND_TEXT, GROUP_DATA | GROUP_VERIFY | GROUP_QUANTIZE, photos, "DIR", "folder of the photos; default: where the data file is"),
    TEXT("split", 0, KIND_TEXT, GROUP_DATA | GROUP_QUANTIZE, split, "NAME", "only rows whose \"split\" is NAME"),
    TEXT("references", 0, KIND_TEXT, GROUP_DATA | GROUP_QUANTIZE, references, "KEY", "key of the human captions; default: captions"),
    NUMBER("limit", 0, KIND_INT, GROUP_DATA | GROUP_QUANTIZE, limit, "N", 1, INT_MAX, "only the first N photos"),
    NUMBER("tolerance", 0, KIND_REAL, GROUP_VERIFY, tolerance, "X", 0, 100, "largest difference of a log-probability; default: the golden file's own, or 0.002"),
    NUMBER("repeat", 0, KIND_INT, GROUP_BENCH, repeat, "N", 1, 10000, "runs of each measurement; default: 9"),

    TEXT("output", 'o', KIND_TEXT, GROUP_CONVERT | GROUP_QUANTIZE, output, "FILE.gguf", "the new model; appears when it is complete"),
    TEXT("to", 0, KIND_CHOICE, GROUP_CONVERT, to, "f32|f16", "precision of matrices; default: f32"),
    TEXT("to", 0, KIND_CHOICE, GROUP_QUANTIZE, to, "int8|int4|bf16", "precision of linear layers; default: int8"),
    TEXT("keep", 0, KIND_TEXTS, GROUP_QUANTIZE, kept, "GLOB", "layers whose names match stay bf16; may be repeated"),

    FLAG("quiet", 'q', GROUP_ALWAYS, quiet, "no progress and no messages about single images"),
    FLAG("verbose", 'v', GROUP_ALWAYS, verbose, "say what is opened and how long it takes"),
    FLAG("help", 'h', GROUP_ALWAYS, help, "this text"),
};
/* clang-format on */

enum { N_OPTIONS = sizeof options / sizeof *options, MAX_OTHERS = 2 };

/* What an option does nothing without: any of the others. "--name" is given, "--name A|B" has one of these values, "a folder" is
 * among the operands. An option that the command does not take is not asked for. */
static const struct need {
    const char *name, *others[MAX_OTHERS];
} needs[] = {
    {"packed-cache", {"--dtype bf16|int8|int4"}},
    {"n-best", {"--format text|jsonl|html"}},
    {"null", {"--files-from", "--dry-run"}},
    {"include", {"a folder", "--files-from"}},
    {"exclude", {"a folder", "--files-from"}},
    {"watch", {"a folder"}},
    {"details", {"--format jsonl"}},
    {"existing", {"--format txt|xmp|embed"}},
    {"ext", {"--format txt|xmp"}},
    {"feature-cache-size", {"--feature-cache"}},
    {"photos", {"--data"}},
    {"split", {"--data"}},
    {"references", {"--data"}},
    {"limit", {"--data"}},
    {"keep", {"--to int8|int4"}},
};

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("looksay: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

static bool one_of(const char *choices, const char *value, size_t n)
{
    for (const char *p = choices; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
        if (strncmp(p, value, n) == 0 && (p[n] == '|' || p[n] == '\0') && n > 0)
            return true;
    return false;
}

static bool add_word(word_list *list, const char *begin, size_t n)
{
    const char **grown = realloc(list->words, (list->n + 1) * sizeof *grown);
    char *word = strndup(begin, n);
    if (grown)
        list->words = grown;
    if (!grown || !word) {
        free(word);
        complain("out of memory");
        return false;
    }
    list->words[list->n++] = word;
    return true;
}

/* Adds the words of `value`, which commas separate; spaces around them do not count. */
static bool add_words(word_list *list, const char *value)
{
    while (*value) {
        size_t n = strcspn(value, ",");
        const char *begin = value, *end = value + n;
        value = *end ? end + 1 : end;
        while (begin < end && isspace((unsigned char)*begin))
            begin++;
        while (end > begin && isspace((unsigned char)end[-1]))
            end--;
        if (begin < end && !add_word(list, begin, (size_t)(end - begin)))
            return false;
    }
    return true;
}

/* Sets an option; `given` is how the user wrote its name. */
static bool set(settings *s, const option *o, const char *given, const char *value)
{
    char *field = (char *)s + o->field, *end = NULL;
    errno = 0;
    switch (o->kind) {
    case KIND_FLAG:
        *(bool *)(void *)field = true;
        return true;
    case KIND_INT: {
        long number = strtol(value, &end, 10);
        if (end == value || *end || errno || (double)number < o->min || (double)number > o->max) {
            complain("%s takes a whole number from %.0f to %.0f, not '%s'", given, o->min, o->max, value);
            return false;
        }
        *(int *)(void *)field = (int)number;
        return true;
    }
    case KIND_REAL: {
        double number = strtod(value, &end);
        if (end == value || *end || !(number >= o->min && number <= o->max)) {
            complain("%s takes a number from %g to %g, not '%s'", given, o->min, o->max, value);
            return false;
        }
        *(double *)(void *)field = number;
        return true;
    }
    case KIND_CHOICE:
        if (!one_of(o->metavar, value, strlen(value))) {
            complain("%s takes %s, not '%s'", given, o->metavar, value);
            return false;
        }
        *(const char **)(void *)field = value;
        return true;
    case KIND_TEXT:
        *(const char **)(void *)field = value;
        return true;
    case KIND_WORDS:
        return add_words((word_list *)(void *)field, value);
    case KIND_TEXTS:
        return add_word((word_list *)(void *)field, value, strlen(value));
    }
    return false;
}

/* LOOKSAY_MAX_TOKENS for "max-tokens". */
static void twin_name(char *out, size_t n_out, const char *name)
{
    int n = snprintf(out, n_out, "LOOKSAY_%s", name);
    for (int i = 0; i < n; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* Two options may share a name (--format): the environment may hold a value meant for the other. */
static bool is_meant_for_another(const option *o, const char *value)
{
    size_t n = strlen(value);
    if (o->kind != KIND_CHOICE || one_of(o->metavar, value, n))
        return false;
    for (int i = 0; i < N_OPTIONS; i++)
        if (&options[i] != o && strcmp(options[i].name, o->name) == 0 && one_of(options[i].metavar, value, n))
            return true;
    return false;
}

static bool read_environment(settings *s, unsigned groups)
{
    for (int i = 0; i < N_OPTIONS; i++) {
        char name[64];
        twin_name(name, sizeof name, options[i].name);
        const char *value = options[i].group & groups ? getenv(name) : NULL;
        bool off = options[i].kind == KIND_FLAG && value && strcmp(value, "0") == 0;
        if (value && *value && !off && !is_meant_for_another(&options[i], value) && !set(s, &options[i], name, value))
            return false;
    }
    return true;
}

static const option *find_long(const char *name, size_t n, unsigned groups)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if ((options[i].group & groups) && strncmp(options[i].name, name, n) == 0 && options[i].name[n] == '\0')
            return &options[i];
    return NULL;
}

static const option *find_letter(char letter, unsigned groups)
{
    for (int i = 0; i < N_OPTIONS; i++)
        if ((options[i].group & groups) && options[i].letter == letter)
            return &options[i];
    return NULL;
}

/* A command line being read. */
typedef struct reader {
    settings *s;
    const command *command;
    int argc, next;
    char **argv;
    bool given[N_OPTIONS]; /* by the command line, not the environment */
} reader;

/* `attached`: the value that came with the name, or NULL. Lists of the command line replace the environment's. */
static bool take(reader *r, const option *o, const char *given, const char *attached)
{
    if (!o) {
        complain("unknown option %s; 'looksay %s --help' lists those it takes", given, r->command->name);
        return false;
    }
    bool first = !r->given[o - options];
    r->given[o - options] = true;
    if (o->kind == KIND_FLAG) {
        if (attached) {
            complain("%s takes no value", given);
            return false;
        }
        return set(r->s, o, given, NULL);
    }
    if (!attached && r->next == r->argc) {
        complain("%s needs a value: %s", given, o->metavar);
        return false;
    }
    bool many = o->kind == KIND_WORDS || o->kind == KIND_TEXTS;
    word_list *list = many ? (word_list *)(void *)((char *)r->s + o->field) : NULL;
    if (list && first) {
        for (size_t i = 0; i < list->n; i++)
            free((void *)(uintptr_t)list->words[i]);
        list->n = 0;
    }
    return set(r->s, o, given, attached ? attached : r->argv[r->next++]);
}

static bool read_arguments(reader *r)
{
    settings *s = r->s;
    unsigned groups = r->command->groups | GROUP_ALWAYS;
    bool only_operands = false;
    while (r->next < r->argc) {
        char *word = r->argv[r->next++];
        if (only_operands || word[0] != '-' || word[1] == '\0') {
            s->operands[s->n_operands++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (word[1] == '-') {
            size_t n = strcspn(word + 2, "=");
            const char *attached = word[2 + n] ? word + 3 + n : NULL;
            if (!take(r, find_long(word + 2, n, groups), word, attached))
                return false;
        } else {
            for (char *p = word + 1; *p; p++) {
                const option *o = find_letter(*p, groups);
                char given[3] = {'-', *p, '\0'};
                bool rest = o && o->kind != KIND_FLAG && p[1];
                if (!take(r, o, given, rest ? p + 1 : NULL))
                    return false;
                if (rest)
                    break;
            }
        }
    }
    return true;
}

static bool is_set(const settings *s, const option *o)
{
    const void *field = (const char *)s + o->field;
    switch (o->kind) {
    case KIND_FLAG:
        return *(const bool *)field;
    case KIND_INT:
        return *(const int *)field != OPTION_UNSET;
    case KIND_REAL:
        return !isnan(*(const double *)field);
    case KIND_TEXT:
    case KIND_CHOICE:
        return *(const char *const *)field != NULL;
    case KIND_WORDS:
    case KIND_TEXTS:
        return ((const word_list *)field)->n > 0;
    }
    return false;
}

bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static bool names_folder(const settings *s)
{
    for (int i = 0; i < s->n_operands; i++)
        if (is_folder(s->operands[i]))
            return true;
    return false;
}

/* See `needs`. */
static bool is_there(const reader *r, const char *other)
{
    if (other[0] != '-')
        return names_folder(r->s);
    size_t n = strcspn(other + 2, " ");
    const option *o = find_long(other + 2, n, r->command->groups);
    const char *values = other[2 + n] ? other + 3 + n : NULL;
    if (!o || !values)
        return !o || is_set(r->s, o);
    const char *value = *(const char *const *)(const void *)((const char *)r->s + o->field);
    return value ? one_of(values, value, strlen(value)) : one_of(values, o->metavar, strcspn(o->metavar, "|"));
}

/* Nothing that the command line asks for may be passed over in silence; what the environment holds is for other commands too. */
static bool check_needs(const reader *r)
{
    for (size_t k = 0; k < sizeof needs / sizeof *needs; k++) {
        const struct need *need = &needs[k];
        const option *o = find_long(need->name, strlen(need->name), r->command->groups);
        bool met = !o || !r->given[o - options];
        for (int i = 0; i < MAX_OTHERS && need->others[i] && !met; i++)
            met = is_there(r, need->others[i]);
        if (!met) {
            const char *second = need->others[1];
            complain("--%s does nothing without %s%s%s", need->name, need->others[0], second ? " or " : "",
                     second ? second : "");
            return false;
        }
    }
    return true;
}

bool settings_parse(settings *out, const command *chosen, int argc, char **argv)
{
    settings *s = out;
    *s = (settings){.operands = calloc((size_t)argc + 1, sizeof *s->operands)};
    for (int i = 0; i < N_OPTIONS; i++) {
        char *field = (char *)s + options[i].field;
        if (options[i].kind == KIND_INT)
            *(int *)(void *)field = OPTION_UNSET;
        else if (options[i].kind == KIND_REAL)
            *(double *)(void *)field = NAN;
    }
    reader r = {.s = s, .command = chosen, .argc = argc, .argv = argv};
    if (!s->operands) {
        complain("out of memory");
        return false;
    }
    if (read_environment(s, chosen->groups | GROUP_ALWAYS) && read_arguments(&r) && (s->help || check_needs(&r)))
        return true;
    settings_release(s);
    return false;
}

void settings_release(settings *s)
{
    word_list *lists[] = {&s->banned, &s->required, &s->include, &s->exclude, &s->kept};
    for (size_t k = 0; k < sizeof lists / sizeof *lists; k++) {
        for (size_t i = 0; i < lists[k]->n; i++)
            free((void *)(uintptr_t)lists[k]->words[i]);
        free(lists[k]->words);
        *lists[k] = (word_list){0};
    }
    free(s->operands);
    s->operands = NULL;
}

void options_print_help(FILE *to, unsigned groups)
{
    groups |= GROUP_ALWAYS;
    for (int i = 0; i < N_OPTIONS; i++) {
        const option *o = &options[i];
        if (!(o->group & groups))
            continue;
        char name[80], letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        int n = snprintf(name, sizeof name, "%s--%s%s%s", letter, o->name, o->metavar ? " " : "",
                         o->metavar ? o->metavar : "");
        if (n > 28)
            fprintf(to, "  %s\n  %-28s  %s\n", name, "", o->help);
        else
            fprintf(to, "  %-28s  %s\n", name, o->help);
    }
}

void options_describe(FILE *to, const settings *s, unsigned groups)
{
    for (int i = 0; i < N_OPTIONS; i++) {
        const option *o = &options[i];
        const char *field = (const char *)s + o->field;
        if (!(o->group & groups) || !is_set(s, o))
            continue;
        if (o->kind == KIND_FLAG) {
            fprintf(to, " --%s", o->name);
        } else if (o->kind == KIND_INT) {
            fprintf(to, " --%s=%d", o->name, *(const int *)(const void *)field);
        } else if (o->kind == KIND_REAL) {
            fprintf(to, " --%s=%.17g", o->name, *(const double *)(const void *)field);
        } else if (o->kind == KIND_WORDS || o->kind == KIND_TEXTS) {
            const word_list *list = (const word_list *)(const void *)field;
            for (size_t k = 0; k < list->n; k++)
                fprintf(to, " --%s=%s", o->name, list->words[k]);
        } else {
            fprintf(to, " --%s=%s", o->name, *(const char *const *)(const void *)field);
        }
    }
}

static void print_bash(FILE *to, const command *commands, size_t n_commands)
{
    fputs("_looksay() {\n    local word=${COMP_WORDS[COMP_CWORD]} words= i command=caption\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n",
          to);
    for (size_t c = 0; c < n_commands; c++)
        fprintf(to, "        %s) command=%s ;;\n", commands[c].name, commands[c].name);
    fputs("        esac\n    done\n    case $command in\n", to);
    for (size_t c = 0; c < n_commands; c++) {
        fprintf(to, "    %s) words='", commands[c].name);
        for (int i = 0; i < N_OPTIONS; i++)
            if (options[i].group & (commands[c].groups | GROUP_ALWAYS))
                fprintf(to, "--%s ", options[i].name);
        fputs("' ;;\n", to);
    }
    fputs("    esac\n    if [[ $word == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
          "\"$word\")\n"
          "    elif ((COMP_CWORD == 1)); then\n        mapfile -t COMPREPLY < <(compgen -f -W '",
          to);
    for (size_t c = 0; c < n_commands; c++)
        fprintf(to, "%s ", commands[c].name);
    fputs("' -- \"$word\")\n    else\n        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n    fi\n}\n"
          "complete -o filenames -F _looksay looksay\n",
          to);
}

static void print_fish(FILE *to, const command *commands, size_t n_commands)
{
    for (size_t c = 0; c < n_commands; c++)
        fprintf(to, "complete -c looksay -n __fish_use_subcommand -a %s -d '%s'\n", commands[c].name,
                commands[c].summary);
    for (size_t c = 0; c < n_commands; c++)
        for (int i = 0; i < N_OPTIONS; i++)
            if (options[i].group & (commands[c].groups | GROUP_ALWAYS))
                fprintf(to, "complete -c looksay -n '__fish_seen_subcommand_from %s' -l %s%s\n", commands[c].name,
                        options[i].name, options[i].kind == KIND_FLAG ? "" : " -r");
}

bool options_print_completion(FILE *to, const char *shell, const command *commands, size_t n_commands)
{
    if (strcmp(shell, "bash") == 0) {
        print_bash(to, commands, n_commands);
    } else if (strcmp(shell, "zsh") == 0) {
        fputs("autoload -U +X bashcompinit && bashcompinit\n", to);
        print_bash(to, commands, n_commands);
    } else if (strcmp(shell, "fish") == 0) {
        print_fish(to, commands, n_commands);
    } else {
        return false;
    }
    return true;
}
