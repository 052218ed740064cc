/* What every fuzzer of a weight format does with its reader. */
#ifndef LKS_WEIGHTS_FUZZ_H
#define LKS_WEIGHTS_FUZZ_H

#include <stdlib.h>
#include <string.h>

#include "fusion/weights/reader.h"
#include "fusion/weights/weights.h"

static void demand(bool condition)
{
    if (!condition)
        abort();
}

/* Reads `data`; every listed tensor must be readable to its last element, every refusal must say something of the file. */
static void fuzz_reader(lks_status (*reader)(lks_weight_list *, const lks_weight_source *, lks_error *),
                        const uint8_t *data, size_t size)
{
    const lks_weight_source in = {data, size, "input"};
    lks_weight_list list = {0};
    lks_error err = {0};
    lks_status st = reader(&list, &in, &err);
    demand(st == LKS_OK || (err.status == st && strncmp(err.message, "input: ", 7) == 0));
    for (size_t i = 0; st == LKS_OK && i < list.n_tensors; i++) {
        const lks_tensor *tensor = &list.tensors[i];
        size_t count = (size_t)lks_tensor_count(tensor);
        demand(count <= size && *tensor->name);
        float *values = malloc((count + 1) * sizeof *values);
        demand(values != NULL);
        lks_tensor_to_f32(values, tensor);
        free(values);
        lks_weights_check_finite(tensor, &err);
    }
    volatile char sum = 0;
    for (size_t i = 0; st == LKS_OK && i < list.n_strings; i++)
        for (size_t k = 0; k < list.strings[i].n_value; k++)
            sum = (char)(sum ^ list.strings[i].value[k]);
    lks_weight_list_release(&list);
}

#endif
