/* Templates: the special tokens that stand around a text, for one text alone. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static lks_status put_part(lks_ids *parts, const json_t *part, const json_t *special, const char *name, lks_error *err)
{
    const json_t *sequence = json_object_get(part, "Sequence");
    if (sequence) {
        const char *which = json_string_value(json_object_get(sequence, "id"));
        if (!which || strcmp(which, "A") != 0)
            return lks_token_json_damaged(name, "the template for one text uses another sequence than A", err);
        lks_ids_put(parts, -1);
        return LKS_OK;
    }
    const char *token = json_string_value(json_object_get(json_object_get(part, "SpecialToken"), "id"));
    const json_t *ids = token ? json_object_get(json_object_get(special, token), "ids") : NULL;
    if (!json_is_array(ids))
        return lks_token_json_damaged(name, "the template uses a special token that it does not define", err);
    for (size_t i = 0; i < json_array_size(ids); i++) {
        json_int_t id = json_integer_value(json_array_get(ids, i));
        if (!json_is_integer(json_array_get(ids, i)) || id < 0 || id > INT32_MAX)
            return lks_token_json_damaged(name, "a special token of the template has no proper id", err);
        lks_ids_put(parts, (int32_t)id);
    }
    return LKS_OK;
}

/* ["[SEP]", 102] */
static lks_status put_pair(lks_ids *parts, const json_t *root, const char *key, const char *name, lks_error *err)
{
    const json_t *id = json_array_get(json_object_get(root, key), 1);
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
        return lks_token_json_damaged(name, "the post-processor lacks its sep or cls token", err);
    lks_ids_put(parts, (int32_t)json_integer_value(id));
    return LKS_OK;
}

static lks_status open_template(void *list_pointer, const json_t *root, const char *name, lks_error *err)
{
    lks_templates *list = list_pointer;
    const char *type = lks_token_json_type(root);
    lks_ids parts = {0};
    lks_status st = LKS_OK;
    if (strcmp(type, "ByteLevel") == 0)
        return LKS_OK; /* it only moves offsets */
    if (strcmp(type, "TemplateProcessing") == 0) {
        const json_t *single = json_object_get(root, "single");
        if (!json_is_array(single) || json_array_size(single) > 64)
            st = lks_token_json_damaged(name, "the template for one text is missing or too long", err);
        for (size_t i = 0; st == LKS_OK && i < json_array_size(single); i++)
            st = put_part(&parts, json_array_get(single, i), json_object_get(root, "special_tokens"), name, err);
    } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        st = put_pair(&parts, root, "cls", name, err);
        lks_ids_put(&parts, -1);
        if (st == LKS_OK)
            st = put_pair(&parts, root, "sep", name, err);
    } else {
        st = lks_token_json_unsupported(name, "post-processor", type, err);
    }

    size_t n_sequences = 0;
    for (size_t i = 0; i < parts.n; i++)
        n_sequences += parts.at[i] < 0;
    if (st == LKS_OK && parts.failed)
        st = lks_text_nomem(name, err);
    if (st == LKS_OK && n_sequences > 1)
        st = lks_token_json_unsupported(name, "template", "with its text more than once", err);
    lks_template *step;
    if (st == LKS_OK)
        st = lks_stage_new(&step, &list->at, &list->n, sizeof *step, "too many post-processors", name, err);
    if (st != LKS_OK) {
        lks_ids_release(&parts);
        return st;
    }
    step->parts = parts.at;
    step->n = parts.n;
    return LKS_OK;
}

lks_status lks_templates_open(lks_templates *list, const json_t *root, const char *name, lks_error *err)
{
    return lks_stages_open(list, root, "processors", open_template, name, err);
}

void lks_templates_release(lks_templates *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->at[i].parts);
    free(list->at);
    *list = (lks_templates){0};
}

void lks_templates_apply(const lks_templates *list, lks_ids *ids, lks_ids *spare)
{
    for (size_t i = 0; i < list->n; i++) {
        const lks_template *step = &list->at[i];
        spare->n = 0;
        for (size_t k = 0; k < step->n; k++) {
            if (step->parts[k] >= 0)
                lks_ids_put(spare, step->parts[k]);
            for (size_t j = 0; step->parts[k] < 0 && j < ids->n; j++)
                lks_ids_put(spare, ids->at[j]);
        }
        lks_ids t = *ids;
        *ids = *spare;
        *spare = t;
    }
}
