/* The table of options, for those who read and print it: options.c, options_print.c. */
#ifndef LOOKSAY_CLI_OPTIONS_TABLE_H
#define LOOKSAY_CLI_OPTIONS_TABLE_H

#include "apps/cli/options.h"

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

extern const option option_table[];
extern const int n_options;

/* Whether the command line or the environment set the option. */
bool option_is_set(const settings *s, const option *o);

#endif
