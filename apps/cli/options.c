/* The command line: see options.h. */
#include "apps/cli/options_table.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/cli/guess.h"

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
        if (!*value && strcmp(o->name, "prompt") != 0) {
            complain("%s needs a value: %s", given, o->metavar);
            return false;
        }
        *(const char **)(void *)field = value;
        return true;
    case KIND_WORDS:
        return add_words((word_list *)(void *)field, value);
    case KIND_TEXTS:
        return add_word((word_list *)(void *)field, value, strlen(value));
    }
    return false;
}

#define TWIN_PREFIX "LOOKSAY_"

/* LOOKSAY_MAX_TOKENS for "max-tokens". */
static void twin_name(char *out, size_t n_out, const char *name)
{
    int n = snprintf(out, n_out, TWIN_PREFIX "%s", name);
    for (int i = 0; i < n; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* Two options may share a name (--format): the environment may hold a value meant for the other. */
static bool is_meant_for_another(const option *o, const char *value)
{
    size_t n = strlen(value);
    if (o->kind != KIND_CHOICE || one_of(o->metavar, value, n))
        return false;
    for (int i = 0; i < n_options; i++)
        if (&option_table[i] != o && strcmp(option_table[i].name, o->name) == 0 &&
            one_of(option_table[i].metavar, value, n))
            return true;
    return false;
}

/* Tells of variables that are no option's twin but nearly so. */
static void tell_of_slips(void)
{
    for (char **variable = environ; *variable; variable++) {
        char typed[64], name[64];
        const int n = (int)strcspn(*variable, "=");
        if (strncmp(*variable, TWIN_PREFIX, strlen(TWIN_PREFIX)) != 0 || n >= (int)sizeof typed)
            continue;
        snprintf(typed, sizeof typed, "%.*s", n - (int)strlen(TWIN_PREFIX), *variable + strlen(TWIN_PREFIX));
        for (char *c = typed; *c; c++)
            *c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
        guess near = {.word = NULL};
        bool known = false;
        for (int i = 0; i < n_options; i++) {
            known |= strcmp(typed, option_table[i].name) == 0;
            guess_consider(&near, typed, option_table[i].name);
        }
        if (known || !near.word)
            continue;
        twin_name(name, sizeof name, near.word);
        complain("%.*s in the environment does nothing; did you mean %s?", n, *variable, name);
    }
}

/* The value of a flag's twin. Returns false after a message. */
static bool set_flag(settings *s, const option *o, const char *name, const char *value)
{
    static const char *const words[] = {"0", "false", "no", "off", "1", "true", "yes", "on"};
    enum { N_WORDS = sizeof words / sizeof *words };
    int i = 0;
    while (i < N_WORDS && strcasecmp(words[i], value) != 0)
        i++;
    if (i == N_WORDS) {
        complain("%s takes 0 or 1, false or true, no or yes, off or on, not '%s'", name, value);
        return false;
    }
    *(bool *)(void *)((char *)s + o->field) = i >= N_WORDS / 2;
    return true;
}

static bool read_environment(settings *s, unsigned groups)
{
    tell_of_slips();
    for (int i = 0; i < n_options; i++) {
        char name[64];
        const option *o = &option_table[i];
        twin_name(name, sizeof name, o->name);
        const char *value = o->group & groups ? getenv(name) : NULL;
        if (!value || !*value || is_meant_for_another(o, value))
            continue;
        if (!(o->kind == KIND_FLAG ? set_flag(s, o, name, value) : set(s, o, name, value)))
            return false;
    }
    return true;
}

static const option *find_long(const char *name, size_t n, unsigned groups)
{
    for (int i = 0; i < n_options; i++)
        if ((option_table[i].group & groups) && strncmp(option_table[i].name, name, n) == 0 &&
            option_table[i].name[n] == '\0')
            return &option_table[i];
    return NULL;
}

static const option *find_letter(char letter, unsigned groups)
{
    for (int i = 0; i < n_options; i++)
        if ((option_table[i].group & groups) && option_table[i].letter == letter)
            return &option_table[i];
    return NULL;
}

/* A command line being read. */
typedef struct reader {
    settings *s;
    const command *command;
    int argc, next;
    char **argv;
} reader;

static void complain_unknown(const reader *r, const char *given)
{
    guess near = {.word = NULL};
    bool is_long = given[1] == '-';
    char typed[64];
    snprintf(typed, sizeof typed, "%.*s", (int)strcspn(given + 2, "="), given + 2);
    for (int i = 0; i < n_options && is_long; i++)
        if (option_table[i].group & (r->command->groups | GROUP_ALWAYS))
            guess_consider(&near, typed, option_table[i].name);
    if (near.word)
        complain("unknown option %s; did you mean --%s?", given, near.word);
    else
        complain("unknown option %s; 'looksay %s --help' lists those it takes", given, r->command->name);
}

/* `attached`: the value that came with the name, or NULL. Lists of the command line replace the environment's. */
static bool take(reader *r, const option *o, const char *given, const char *attached)
{
    if (!o) {
        complain_unknown(r, given);
        return false;
    }
    bool first = !r->s->given[o - option_table];
    r->s->given[o - option_table] = true;
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

bool option_is_set(const settings *s, const option *o)
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

enum { MAX_OTHERS = 2 };

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
    {"photos", {"--data", "--calibrate"}},
    {"split", {"--data", "--calibrate"}},
    {"references", {"--data", "--calibrate"}},
    {"limit", {"--data", "--calibrate"}},
    {"keep", {"--to int8|int4"}},
    {"calibrate", {"--to int8|int4"}},
};

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
        return !o || option_is_set(r->s, o);
    const char *value = *(const char *const *)(const void *)((const char *)r->s + o->field);
    return value ? one_of(values, value, strlen(value)) : one_of(values, o->metavar, strcspn(o->metavar, "|"));
}

/* Nothing that the command line asks for may be passed over in silence; what the environment holds is for other commands too. */
static bool check_needs(const reader *r)
{
    for (size_t k = 0; k < sizeof needs / sizeof *needs; k++) {
        const struct need *need = &needs[k];
        const option *o = find_long(need->name, strlen(need->name), r->command->groups);
        bool met = !o || !r->s->given[o - option_table];
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

/* Words begin with the space before them: one at the prompt's end would be a word of its own. Returns false after a message. */
static bool trim_prompt(settings *s)
{
    size_t n = s->prompt ? strlen(s->prompt) : 0;
    if (n == 0 || !isspace((unsigned char)s->prompt[n - 1]))
        return true;
    while (n > 0 && isspace((unsigned char)s->prompt[n - 1]))
        n--;
    s->prompt = s->trimmed_prompt = strndup(s->prompt, n);
    if (!s->prompt)
        complain("out of memory");
    return s->prompt != NULL;
}

/* The dot before an extension is ours. */
static void trim_extension(settings *s)
{
    if (s->extension && s->extension[0] == '.')
        s->extension++;
}

bool settings_gives(const settings *s, const char *name)
{
    bool given = false;
    for (int i = 0; i < n_options && !given; i++)
        given = s->given[i] && strcmp(option_table[i].name, name) == 0;
    return given;
}

bool settings_parse(settings *out, const command *chosen, int argc, char **argv)
{
    settings *s = out;
    *s = (settings){.operands = calloc((size_t)argc + 1, sizeof *s->operands)};
    for (int i = 0; i < n_options; i++) {
        char *field = (char *)s + option_table[i].field;
        if (option_table[i].kind == KIND_INT)
            *(int *)(void *)field = OPTION_UNSET;
        else if (option_table[i].kind == KIND_REAL)
            *(double *)(void *)field = NAN;
    }
    reader r = {.s = s, .command = chosen, .argc = argc, .argv = argv};
    if (!s->operands) {
        complain("out of memory");
        return false;
    }
    if (read_environment(s, chosen->groups | GROUP_ALWAYS) && read_arguments(&r) && (s->help || check_needs(&r)) &&
        trim_prompt(s)) {
        trim_extension(s);
        return true;
    }
    settings_release(s);
    return false;
}

static void release_words(word_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free((void *)(uintptr_t)list->words[i]);
    free(list->words);
    *list = (word_list){0};
}

void settings_release(settings *s)
{
    release_words(&s->banned);
    release_words(&s->required);
    release_words(&s->include);
    release_words(&s->exclude);
    release_words(&s->kept);
    free(s->trimmed_prompt);
    free(s->operands);
    s->trimmed_prompt = NULL;
    s->operands = NULL;
}
