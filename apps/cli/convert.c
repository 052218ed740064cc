/* looksay convert, looksay quantize: a model as one GGUF file. */
#include <stdio.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"

static int convert(const settings *s, const char *name, const char *dtype)
{
    if (s->n_operands != 1 || !s->output) {
        complain("%s takes one model, and -o FILE.gguf for the new one", name);
        return EXIT_USAGE;
    }
    lks_convert_options options = {
        .size = sizeof options, .dtype = dtype, .n_threads = s->n_threads == OPTION_UNSET ? 0 : s->n_threads};
    lks_convert_result result;
    lks_error err;
    double began = engine_now_ms();
    if (lks_model_convert(&result, s->operands[0], s->output, &options, &err) != LKS_OK) {
        complain("%s", err.message);
        bool ours = err.status == LKS_ERR_IO && strncmp(err.message, s->output, strlen(s->output)) == 0;
        return ours ? EXIT_OUTPUT : EXIT_MODEL;
    }
    double before = (double)result.bytes_before / (1 << 20), after = (double)result.bytes_after / (1 << 20);
    printf("%s: %s, %.1f MiB -> %.1f MiB (%.0f %%), %zu tensors", s->output, dtype, before, after,
           100.0 * after / before, result.n_tensors);
    if (result.n_int8_layers)
        printf(", %zu int8 layers", result.n_int8_layers);
    putchar('\n');
    if (s->verbose)
        complain("written in %.0f ms", engine_now_ms() - began);
    return EXIT_ALL_DONE;
}

int command_convert(const settings *s)
{
    return convert(s, "convert", s->to ? s->to : "f32");
}

int command_quantize(const settings *s)
{
    return convert(s, "quantize", s->to ? s->to : "int8");
}
