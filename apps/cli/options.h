/* The command line: one table of options for all commands, each with a twin in the environment (LOOKSAY_BEAMS for --beams); the
 * flag wins. Help texts and shell completions are printed from the same table. */
#ifndef LOOKSAY_CLI_OPTIONS_H
#define LOOKSAY_CLI_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "apps/common/complain.h" /* here: a line "looksay: ..." on standard error */

/* Exit statuses. */
enum {
    EXIT_ALL_DONE = 0,
    EXIT_SOME_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_MODEL = 3,
    EXIT_OUTPUT = 4,
    EXIT_INTERRUPTED = 130
};

#define OPTION_UNSET INT_MIN /* an int that nobody gave; floats are NAN, texts NULL */

/* Which commands take an option: the groups of a command are or-ed together. */
typedef enum option_group {
    GROUP_ALWAYS = 1 << 0,
    GROUP_MODEL = 1 << 1,
    GROUP_SEARCH = 1 << 2,
    GROUP_INPUT = 1 << 3,
    GROUP_CAPTION_OUTPUT = 1 << 4,
    GROUP_OUTPUT = 1 << 5,
    GROUP_REPORT = 1 << 6,
    GROUP_DATA = 1 << 7,
    GROUP_VERIFY = 1 << 8,
    GROUP_BENCH = 1 << 9,
    GROUP_CONVERT = 1 << 10,
    GROUP_QUANTIZE = 1 << 11,
    GROUP_EXPLAIN = 1 << 12,
    GROUP_RESUME = 1 << 13,
    GROUP_VIDEO = 1 << 14,
    GROUP_TRANSLATE = 1 << 15,
    GROUP_FILL = 1 << 16,
    GROUP_CACHE = 1 << 17
} option_group;

typedef struct word_list {
    const char **words;
    size_t n;
} word_list;

enum { MAX_OPTIONS = 96 };

typedef struct settings {
    /* what is open, and how it computes */
    const char *model, *isa, *dtype, *device, *packed_cache;
    int n_threads, n_batch;
    /* search; unset: the model's own */
    int n_beams, max_tokens, min_tokens, n_best, no_repeat_ngram, top_k, seed;
    double length_penalty, guidance, repetition_penalty, temperature, top_p;
    bool sample;
    const char *prompt, *language;
    char *trimmed_prompt; /* owned: the prompt where it ended in white space */
    word_list banned, required;
    /* input */
    const char *files_from, *shard;
    word_list include, exclude;
    word_list kept;
    bool null_separated, recursive, watch, lenient, dry_run;
    const char *feature_cache;
    int feature_cache_mib;
    /* output */
    const char *format, *report_format, *explain_format, *video_format, *existing, *extension, *output, *journal;
    bool resume, details, any_picture, quiet, verbose, help;
    double min_confidence;
    /* video */
    double every, scene, gate;
    int n_joint;
    /* translate, fill */
    const char *from, *image, *text_format;
    /* translate: a language; convert, quantize: a precision */
    const char *to;
    /* eval, verify, bench, quantize */
    const char *data, *calibrate, *photos, *split, *references;
    int limit, repeat;
    double tolerance;
    /* which options of the table were given, by the command line and not the environment */
    bool given[MAX_OPTIONS];
    /* what is left when the options are taken out */
    char **operands;
    int n_operands;
} settings;

typedef struct command {
    const char *name, *synopsis, *summary, *description, *examples;
    unsigned groups; /* of option_group */
    int (*run)(const settings *s);
} command;

/* Fills `out` for the chosen command from the environment, then from argv[0..argc). Returns false after a message on standard error. Operands and
 * texts are borrowed from argv and the environment; what is not is released with settings_release. */
bool settings_parse(settings *out, const command *chosen, int argc, char **argv);
void settings_release(settings *s);

/* Whether the command line, not the environment, gave the option. */
bool settings_gives(const settings *s, const char *name);

/* Whether there is a folder of that name, or a link to one. */
bool is_folder(const char *path);

/* The part of a help text that lists the options of `groups`. */
void options_print_help(FILE *to, unsigned groups);

/* The options of `groups` that were given, as " --name=value" each, in the order of the table. */
void options_describe(FILE *to, const settings *s, unsigned groups);

/* Completion script for "bash", "zsh" or "fish"; false for any other shell. */
bool options_print_completion(FILE *to, const char *shell, const command *commands, size_t n_commands);

#endif
