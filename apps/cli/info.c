/* looksay info: what a model is. */
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"

/* "key: value" lines, an object's members behind its name. */
static void print_members(const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        char name[96];
        snprintf(name, sizeof name, "%s%s%s", prefix, *prefix ? " " : "", key);
        if (json_is_object(value)) {
            print_members(value, name);
        } else if (json_is_string(value)) {
            printf("%-28s %s\n", name, json_string_value(value));
        } else if (json_is_real(value)) {
            printf("%-28s %.4g\n", name, json_real_value(value));
        } else {
            char *text = json_dumps(value, JSON_ENCODE_ANY);
            printf("%-28s %s\n", name, text ? text : "");
            lks_free(text);
        }
    }
}

int command_info(const settings *s)
{
    settings with_model = *s;
    if (s->n_operands > 1) {
        complain("info takes one model");
        return EXIT_USAGE;
    }
    if (s->n_operands == 1)
        with_model.model = s->operands[0];
    engine e;
    if (!engine_open(&e, &with_model))
        return EXIT_MODEL;
    char *text = NULL;
    lks_error err;
    int status = EXIT_ALL_DONE;
    if (lks_model_info(e.model, &text, &err) != LKS_OK) {
        complain("%s", err.message);
        status = EXIT_MODEL;
    } else if (s->report_format && strcmp(s->report_format, "json") == 0) {
        puts(text);
    } else {
        json_t *root = json_loads(text, 0, NULL);
        print_members(root, "");
        json_decref(root);
    }
    lks_free(text);
    engine_close(&e);
    return status;
}
