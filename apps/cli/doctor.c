/* looksay doctor: what this machine can do, what is missing and how to get it. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "apps/cli/commands.h"
#include "apps/cli/engine.h"
#include "apps/video/load.h"

enum { DRAWN_SIDE = 96 };

/* One line of the report: what was checked, whether it is well, what was found, and the remedy if it is not. */
static void note(json_t *checks, const char *name, bool well, const char *found, const char *remedy)
{
    json_array_append_new(checks, json_pack("{s:s, s:b, s:s, s:s?}", "check", name, "ok", well, "found", found,
                                            "remedy", well ? NULL : remedy));
}

static void check_machine(json_t *checks)
{
    lks_machine machine;
    lks_machine_describe(&machine);
    char text[128];
    snprintf(text, sizeof text, "%s, %d threads", machine.cpu, machine.n_cpus);
    note(checks, "processor", true, text, NULL);
    snprintf(text, sizeof text, "%s%s%s%s%s", machine.isa, machine.avx512 ? ", AVX-512" : "",
             machine.avx512_bf16 ? ", BF16" : "", machine.avx512_vnni ? ", VNNI" : "", machine.avx2 ? ", AVX2" : "");
    note(checks, "instruction sets", machine.avx2 || machine.avx512, text,
         "this CPU has no kernels of its own here; captions come from OpenBLAS or portable code, slower");
    note(checks, "OpenBLAS", machine.openblas || machine.avx2, machine.openblas ? "found" : "not found",
         "install OpenBLAS; Debian calls it libopenblas0-pthread");
}

/* A machine without a GPU is well; the line says why none is used. */
static void check_gpu(json_t *checks)
{
    lks_gpu gpu;
    lks_error err;
    char text[600];
    if (lks_gpu_describe(&gpu, &err) == LKS_OK)
        snprintf(text, sizeof text, "%s, %.0f GiB: used by --device cuda", gpu.name,
                 (double)gpu.memory_bytes / (double)(1 << 30));
    else
        snprintf(text, sizeof text, "not used: %s", err.message);
    note(checks, "GPU", true, text, NULL);
}

static void check_modules(json_t *checks)
{
    lks_error err;
    bool reads = video_load(&err) != NULL;
    char *remedy = reads ? NULL : strchr(err.message, ';');
    if (remedy)
        *remedy = '\0';
    note(checks, "clips", reads, reads ? "read by FFmpeg's libraries" : err.message,
         remedy ? remedy + 2 : "build again with FFmpeg's libraries");
}

/* A sun over grass: enough to see that a model says something. */
static void draw(uint8_t *rgb)
{
    for (int y = 0; y < DRAWN_SIDE; y++)
        for (int x = 0; x < DRAWN_SIDE; x++) {
            int dx = x - 70, dy = y - 22;
            uint8_t *p = rgb + 3 * (y * DRAWN_SIDE + x);
            bool sun = dx * dx + dy * dy<150, grass = y> 60;
            p[0] = sun ? 255 : grass ? 60 : 120;
            p[1] = sun ? 220 : grass ? 140 : 180;
            p[2] = sun ? 80 : grass ? 50 : 240;
        }
}

static void check_model(json_t *checks, const settings *s)
{
    char path[PATH_MAX];
    bool found = engine_find_model(path, sizeof path, s);
    note(checks, "model", found, path, "install the default model there, or name one with --model");
    engine e;
    if (!found)
        return;
    if (!engine_open(&e, s)) {
        note(checks, "opening the model", false, "failed, see the message above", "name another with --model");
        return;
    }
    uint8_t *rgb = malloc(3 * DRAWN_SIDE * DRAWN_SIDE);
    lks_caption_options options;
    engine_caption_options(&options, &e, s);
    lks_caption *caption = NULL;
    lks_error err = {.message = "out of memory"};
    if (rgb) {
        draw(rgb);
        lks_caption_rgb(e.session, &caption, rgb, DRAWN_SIDE, DRAWN_SIDE, 3 * DRAWN_SIDE, &options, &err);
    }
    char text[600];
    if (caption)
        snprintf(text, sizeof text, "\"%s\" after %.0f ms to open, %.0f ms to caption", caption->sequences[0].text,
                 e.open_ms, caption->read_ms + caption->encode_ms + caption->decode_ms);
    else
        snprintf(text, sizeof text, "%s", err.message);
    note(checks, "caption of a drawn picture", caption != NULL, text, "name another model with --model");
    lks_caption_free(caption);
    free(rgb);
    engine_close(&e);
}

int command_doctor(const settings *s)
{
    if (s->n_operands > 0) {
        complain("doctor takes options only; --model names the model to check");
        return EXIT_USAGE;
    }
    json_t *checks = json_array();
    check_machine(checks);
    check_gpu(checks);
    check_modules(checks);
    check_model(checks, s);
    bool json = s->report_format && strcmp(s->report_format, "json") == 0, well = true;
    size_t i;
    json_t *check;
    json_array_foreach(checks, i, check)
    {
        bool ok = json_is_true(json_object_get(check, "ok"));
        well = well && ok;
        if (json)
            continue;
        printf("%s %-28s %s\n", ok ? "ok     " : "MISSING", json_string_value(json_object_get(check, "check")),
               json_string_value(json_object_get(check, "found")));
        if (!ok)
            printf("        %-28s %s\n", "remedy:", json_string_value(json_object_get(check, "remedy")));
    }
    if (json) {
        json_dumpf(checks, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(checks);
    return well ? EXIT_ALL_DONE : EXIT_SOME_FAILED;
}
