/* Help texts, completions and descriptions of what was given, from the table of options. */
#include <string.h>

#include "apps/cli/options_table.h"

enum { NAME_WIDTH = 30 }; /* of an option with its value; the help begins two columns on */

void options_print_help(FILE *to, unsigned groups)
{
    groups |= GROUP_ALWAYS;
    for (int i = 0; i < n_options; i++) {
        const option *o = &option_table[i];
        if (!(o->group & groups))
            continue;
        char letter[8] = "    ";
        if (o->letter)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        int n = fprintf(to, "  %s--%s%s%s", letter, o->name, o->metavar ? " " : "", o->metavar ? o->metavar : "");
        if (n > NAME_WIDTH) {
            fputc('\n', to);
            n = 0;
        }
        fprintf(to, "%*s%s\n", NAME_WIDTH + 2 - n, "", o->help);
    }
}

void options_describe(FILE *to, const settings *s, unsigned groups)
{
    for (int i = 0; i < n_options; i++) {
        const option *o = &option_table[i];
        const char *field = (const char *)s + o->field;
        if (!(o->group & groups) || !option_is_set(s, o))
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

/* The values of an option that takes one of several, with spaces between. */
static void print_choices(FILE *to, const option *o)
{
    for (const char *c = o->metavar; *c; c++)
        fputc(*c == '|' ? ' ' : *c, to);
}

static void print_bash_options(FILE *to, const command *c)
{
    fprintf(to, "    %s) words='", c->name);
    for (int i = 0; i < n_options; i++)
        if (option_table[i].group & (c->groups | GROUP_ALWAYS))
            fprintf(to, "--%s ", option_table[i].name);
    fputs("'\n        case $before in\n", to);
    for (int i = 0; i < n_options; i++) {
        const option *o = &option_table[i];
        if (!(o->group & c->groups) || o->kind != KIND_CHOICE)
            continue;
        fprintf(to, "        --%s", o->name);
        if (o->letter)
            fprintf(to, "|-%c", o->letter);
        fputs(") choices='", to);
        print_choices(to, o);
        fputs("' ;;\n", to);
    }
    fputs("        esac ;;\n", to);
}

static void print_bash(FILE *to, const command *commands, size_t n_commands)
{
    fputs("_looksay() {\n    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local words= choices= i command=caption\n"
          "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in\n",
          to);
    for (size_t c = 0; c < n_commands; c++)
        fprintf(to, "        %s) command=%s ;;\n", commands[c].name, commands[c].name);
    fputs("        esac\n    done\n    case $command in\n", to);
    for (size_t c = 0; c < n_commands; c++)
        print_bash_options(to, &commands[c]);
    fputs("    esac\n    if [[ -n $choices ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$choices\" -- "
          "\"$word\")\n    elif [[ $word == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- "
          "\"$word\")\n"
          "    elif ((COMP_CWORD == 1)); then\n        mapfile -t COMPREPLY < <(compgen -f -W '",
          to);
    for (size_t c = 0; c < n_commands; c++)
        fprintf(to, "%s ", commands[c].name);
    fputs("' -- \"$word\")\n    else\n        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n    fi\n}\n"
          "complete -o filenames -F _looksay looksay\n",
          to);
}

/* Whether command c is being typed; the first is when no other is. */
static void print_fish_condition(FILE *to, const command *commands, size_t n_commands, size_t c)
{
    if (c > 0) {
        fprintf(to, "__fish_seen_subcommand_from %s", commands[c].name);
        return;
    }
    fputs("not __fish_seen_subcommand_from", to);
    for (size_t other = 1; other < n_commands; other++)
        fprintf(to, " %s", commands[other].name);
}

static void print_fish(FILE *to, const command *commands, size_t n_commands)
{
    for (size_t c = 0; c < n_commands; c++)
        fprintf(to, "complete -c looksay -n __fish_use_subcommand -a %s -d '%s'\n", commands[c].name,
                commands[c].summary);
    for (size_t c = 0; c < n_commands; c++)
        for (int i = 0; i < n_options; i++) {
            const option *o = &option_table[i];
            if (!(o->group & (commands[c].groups | GROUP_ALWAYS)))
                continue;
            fputs("complete -c looksay -n '", to);
            print_fish_condition(to, commands, n_commands, c);
            fprintf(to, "' -l %s", o->name);
            if (o->kind == KIND_CHOICE) {
                fputs(" -x -a '", to);
                print_choices(to, o);
                fputc('\'', to);
            } else if (o->kind != KIND_FLAG) {
                fputs(" -r", to);
            }
            fputc('\n', to);
        }
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
