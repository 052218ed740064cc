/* looksay bench: this machine's peak, layers as a share of it, and a model's stages beside the least time they could take. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apps/cli/batches.h"
#include "apps/cli/bench.h"
#include "apps/cli/commands.h"

enum { DEFAULT_REPEAT = 9, DEFAULT_TOKENS = 20, FOLDER_ROUNDS = 3, DRAWN_WIDTH = 640, DRAWN_HEIGHT = 480 };
#define MACHINE_SECONDS 3.0

extern char **environ;

bool bench_wants_json(const settings *s)
{
    return s->report_format && strcmp(s->report_format, "json") == 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, by_size);
    return values[n / 2];
}

/* A picture for those who name none: waves of colour, written as PNM to a temporary file. */
static bool draw_picture(char *path, size_t n_path)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, n_path, "%s/looksay-bench-XXXXXX", folder && *folder ? folder : "/tmp");
    int descriptor = mkstemp(path);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "wb");
    if (!file) {
        complain("%s: cannot be written: %s", path, strerror(errno));
        return false;
    }
    fprintf(file, "P6 %d %d 255\n", DRAWN_WIDTH, DRAWN_HEIGHT);
    for (int y = 0; y < DRAWN_HEIGHT; y++)
        for (int x = 0; x < DRAWN_WIDTH; x++) {
            const unsigned char pixel[3] = {(unsigned char)(x * y / 64), (unsigned char)(x + y),
                                            (unsigned char)(y * 2)};
            fwrite(pixel, 1, 3, file);
        }
    return fclose(file) == 0;
}

/* Starts the program afresh on the picture: milliseconds until it ends, and its peak of memory. A child's peak counts what its
 * parent held when it was born, so this comes before the model is opened here. Returns its exit status. */
static int run_process(double *ms, double *peak_mib, const char *model, const settings *s, const char *image)
{
    char threads[16];
    snprintf(threads, sizeof threads, "%d", s->n_threads);
    const char *words[] = {"looksay",
                           "caption",
                           "--model",
                           model,
                           image,
                           "--dtype",
                           s->dtype ? s->dtype : "auto",
                           "--device",
                           s->device ? s->device : "cpu",
                           "--isa",
                           s->isa ? s->isa : "auto",
                           s->n_threads == OPTION_UNSET ? NULL : "--threads",
                           threads,
                           NULL};
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status = -1;
    struct rusage usage = {.ru_maxrss = 0};
    double began = engine_now_ms();
    bool done = posix_spawn(&child, "/proc/self/exe", &files, NULL, (char *const *)(uintptr_t)words, environ) == 0 &&
                wait4(child, &status, 0, &usage) == child && WIFEXITED(status);
    *ms = engine_now_ms() - began;
    *peak_mib = (double)usage.ru_maxrss / 1024.0;
    posix_spawn_file_actions_destroy(&files);
    return done ? WEXITSTATUS(status) : EXIT_SOME_FAILED;
}

/* Returns an exit status. */
static int measure_process(figures *out, const char *model, const settings *s, const char *image, int n)
{
    double *samples = calloc((size_t)n, sizeof *samples);
    int status = samples ? EXIT_ALL_DONE : EXIT_SOME_FAILED;
    for (int i = -1; i < n && status == EXIT_ALL_DONE; i++) { /* the first is thrown away: it warms the file cache */
        double ms, peak;
        status = run_process(&ms, &peak, model, s, image);
        samples[i < 0 ? 0 : i] = ms;
        out->peak_mib = peak > out->peak_mib ? peak : out->peak_mib;
    }
    if (status == EXIT_ALL_DONE)
        out->start_ms = bench_median(samples, n);
    free(samples);
    return status;
}

static double size_mib(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) ? (double)info.st_size / (1 << 20) : 0.0;
}

/* Milliseconds of one caption's stages. */
typedef struct stages {
    double read, encode, decode;
    int n_steps;
} stages;

static bool time_caption(stages *out, lks_session *session, const char *image, const lks_caption_options *options)
{
    lks_caption *caption;
    lks_error err;
    if (lks_caption_file(session, &caption, image, options, &err) != LKS_OK) {
        complain("%s", err.message);
        return false;
    }
    *out = (stages){caption->read_ms, caption->encode_ms, caption->decode_ms, caption->n_steps};
    lks_caption_free(caption);
    return true;
}

/* Photos per second of a folder whose photos all look like this one, n captioned together. */
static bool time_folder(double *photos_per_s, lks_session *session, const char *image, int n,
                        const lks_caption_options *options)
{
    lks_image_source pictures[LKS_MAX_BATCH] = {{.path = NULL}};
    lks_caption *captions[LKS_MAX_BATCH];
    lks_error errors[LKS_MAX_BATCH], err;
    for (int i = 0; i < n; i++)
        pictures[i].path = image;
    double began = engine_now_ms();
    lks_status st = lks_caption_batch(session, captions, errors, pictures, n, options, &err);
    *photos_per_s = n * 1e3 / (engine_now_ms() - began);
    if (st != LKS_OK)
        complain("%s", err.message);
    for (int i = 0; st == LKS_OK && i < n; i++)
        lks_caption_free(captions[i]);
    return st == LKS_OK;
}

/* One round of everything, kept as sample k. */
enum { READ, ENCODE, DECODE, ALL, MAPS, GREEDY, THREE_BEAMS, FOLDER, N_SERIES };

static bool run_round(double *samples[N_SERIES], int k, figures *out, lks_session *session, lks_session *explainer,
                      const char *image, const lks_caption_options *options)
{
    lks_caption_options maps = *options, greedy = *options, beams = *options;
    stages own, kept, one, three;
    maps.keep_maps = 1;
    greedy.n_beams = greedy.n_best = 1;
    beams.n_beams = 3;
    beams.n_best = 1;
    if (!time_caption(&own, session, image, options) || !time_caption(&kept, explainer, image, &maps) ||
        !time_caption(&one, session, image, &greedy) || !time_caption(&three, session, image, &beams))
        return false;
    if (k < FOLDER_ROUNDS && !time_folder(&samples[FOLDER][k], session, image, out->n_batch, options))
        return false;
    out->n_steps = own.n_steps;
    samples[READ][k] = own.read;
    samples[ENCODE][k] = own.encode;
    samples[DECODE][k] = own.decode / own.n_steps;
    samples[ALL][k] = own.read + own.encode + own.decode;
    samples[MAPS][k] = kept.read + kept.encode + kept.decode - samples[ALL][k];
    samples[GREEDY][k] = one.encode + one.decode;
    samples[THREE_BEAMS][k] = three.encode + three.decode;
    return true;
}

void bench_find_floors(figures *out, const lks_model *model, const peaks *machine)
{
    lks_model_cost cost;
    lks_model_cost_estimate(model, &cost);
    bool bf16 = strcmp(lks_model_dtype(model), "bf16") == 0;
    double peak = (bf16 ? machine->bf16_gflops : machine->f32_gflops) * 1e6, int8_peak = machine->int8_gops * 1e6;
    double flops = ((cost.decode_flops_per_token - cost.decode_int8_ops_per_token) / peak +
                    cost.decode_int8_ops_per_token / int8_peak) *
                   out->n_beams;
    double bytes = cost.decode_bytes_per_token / (machine->dram_gbps * 1e6); /* per millisecond */
    out->encode_floor_ms = (cost.encode_flops - cost.encode_int8_ops) / peak + cost.encode_int8_ops / int8_peak;
    out->decode_floor_ms_per_token = flops > bytes ? flops : bytes;
    out->floor_ms = out->encode_floor_ms + out->n_steps * out->decode_floor_ms_per_token;
}

static bool measure_model(figures *out, engine *e, const settings *s, const char *image, int n,
                          const lks_caption_options *options)
{
    double *block = calloc((size_t)n * N_SERIES, sizeof *block), *samples[N_SERIES];
    for (int i = 0; i < N_SERIES; i++)
        samples[i] = block + i * n;
    out->n_beams = options->n_beams;
    out->n_batch = (int)batches_count(s, e->model);
    lks_session_options session_options = {.size = sizeof session_options,
                                           .n_threads = s->n_threads == OPTION_UNSET ? 0 : s->n_threads};
    /* Maps are kept in a session of their own, so that neither rebuilds its buffers. */
    lks_session *explainer = NULL;
    lks_error err;
    bool done = block && lks_session_open(&explainer, e->model, &session_options, &err) == LKS_OK;
    if (block && !done)
        complain("%s", err.message);
    for (int i = -1; i < n && done; i++) /* the first is thrown away: it warms caches */
        done = run_round(samples, i < 0 ? 0 : i, out, e->session, explainer, image, options);
    lks_session_close(explainer);
    if (done) {
        out->read_ms = bench_median(samples[READ], n);
        out->encode_ms = bench_median(samples[ENCODE], n);
        out->decode_ms_per_token = bench_median(samples[DECODE], n);
        out->caption_ms = bench_median(samples[ALL], n);
        out->maps_ms = bench_median(samples[MAPS], n);
        out->greedy_ms = bench_median(samples[GREEDY], n);
        out->three_beams_ms = bench_median(samples[THREE_BEAMS], n);
        out->folder_photos_per_s = bench_median(samples[FOLDER], n < FOLDER_ROUNDS ? n : FOLDER_ROUNDS);
        out->file_mib = size_mib(e->path);
    }
    free(block);
    return done;
}

json_t *bench_json_of_model(const figures *f, const engine *e)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "model",
                     e->name, "dtype", lks_model_dtype(e->model), "tokens", f->n_steps, "beams", f->n_beams, "read_ms",
                     f->read_ms, "encode_ms", f->encode_ms, "encode_floor_ms", f->encode_floor_ms,
                     "decode_ms_per_token", f->decode_ms_per_token, "decode_floor_ms_per_token",
                     f->decode_floor_ms_per_token, "caption_ms", f->caption_ms, "floor_ms", f->floor_ms, "maps_ms",
                     f->maps_ms, "greedy_ms", f->greedy_ms, "three_beams_ms", f->three_beams_ms, "photos_per_s",
                     f->folder_photos_per_s, "start_to_caption_ms", f->start_ms);
}

static void print_json(const lks_machine_speed *m, const figures *f, const engine *e)
{
    json_t *layers = json_array();
    for (int i = 0; i < 3; i++)
        json_array_append_new(layers, json_pack("{s:i, s:f, s:f, s:f, s:f, s:f}", "tokens", m->layers[i].n_tokens,
                                                "linear_gflops", m->layers[i].linear_gflops, "bf16_gflops",
                                                m->layers[i].bf16_gflops, "int8_gops", m->layers[i].int8_gops,
                                                "attention_gflops", m->layers[i].attention_gflops,
                                                "int8_attention_gops", m->layers[i].int8_attention_gops));
    json_t *rows = json_array();
    for (int i = 0; i < 3; i++)
        json_array_append_new(rows, json_pack("{s:i, s:f, s:f, s:f, s:f}", "rows", m->rows[i].n_rows, "f32_gbps",
                                              m->rows[i].f32_gbps, "bf16_gbps", m->rows[i].bf16_gbps, "int8_gbps",
                                              m->rows[i].int8_gbps, "int4_gbps", m->rows[i].int4_gbps));
    json_t *model = bench_json_of_model(f, e);
    json_object_set_new(model, "peak_mib", json_real(f->peak_mib));
    json_t *root =
        json_pack("{s:{s:i, s:s, s:f, s:f, s:f, s:f, s:o, s:o}, s:[o]}", "machine", "threads", m->n_threads, "isa",
                  m->isa, "f32_gflops", m->f32_gflops, "bf16_gflops", m->bf16_gflops, "int8_gops", m->int8_gops,
                  "dram_gbps", m->dram_gbps, "layers", layers, "decode_rows", rows, "models", model);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(5));
    putchar('\n');
    json_decref(root);
}

static void print_text(const lks_machine_speed *m, const figures *f, const engine *e)
{
    printf(
        "machine    %d threads, %s: %.1f GFLOP/s multiply-adds, bf16 %.1f, int8 %.1f GOP/s, %.1f GB/s memory reads\n",
        m->n_threads, m->isa, m->f32_gflops, m->bf16_gflops, m->int8_gops, m->dram_gbps);
    for (int i = 0; i < 3; i++) {
        printf("layers     %3d tokens: linear f32 %6.1f GFLOP/s, %3.0f %% of peak; bf16 %6.1f, %3.0f %%; "
               "int8 %6.1f GOP/s, %3.0f %%; attention %6.1f GFLOP/s, %.2f x its floor",
               m->layers[i].n_tokens, m->layers[i].linear_gflops, 100.0 * m->layers[i].linear_gflops / m->f32_gflops,
               m->layers[i].bf16_gflops, 100.0 * m->layers[i].bf16_gflops / m->bf16_gflops, m->layers[i].int8_gops,
               100.0 * m->layers[i].int8_gops / m->int8_gops, m->layers[i].attention_gflops,
               m->f32_gflops / m->layers[i].attention_gflops);
        if (m->layers[i].int8_attention_gops > 0.0)
            printf("; of int8 models %.1f GOP/s", m->layers[i].int8_attention_gops);
        putchar('\n');
    }
    for (int i = 0; i < 3; i++)
        printf(
            "rows       %3d at a time: weights read at %.1f GB/s f32, %3.0f %% of memory reads; bf16 %.1f, %3.0f %%; "
            "int8 %.1f, %3.0f %%; int4 %.1f, %3.0f %%\n",
            m->rows[i].n_rows, m->rows[i].f32_gbps, 100.0 * m->rows[i].f32_gbps / m->dram_gbps, m->rows[i].bf16_gbps,
            100.0 * m->rows[i].bf16_gbps / m->dram_gbps, m->rows[i].int8_gbps,
            100.0 * m->rows[i].int8_gbps / m->dram_gbps, m->rows[i].int4_gbps,
            100.0 * m->rows[i].int4_gbps / m->dram_gbps);
    printf("model      %s, %s, %d tokens a caption, %d beam%s\n", e->name, lks_model_dtype(e->model), f->n_steps,
           f->n_beams, f->n_beams == 1 ? "" : "s");
    printf(
        "stages     read %.2f ms; encode %.2f ms, floor %.2f, %.0f %%; decode %.3f ms a token, floor %.3f, %.0f %%\n",
        f->read_ms, f->encode_ms, f->encode_floor_ms, 100.0 * f->encode_floor_ms / f->encode_ms, f->decode_ms_per_token,
        f->decode_floor_ms_per_token, 100.0 * f->decode_floor_ms_per_token / f->decode_ms_per_token);
    printf("caption    %.2f ms; floor %.2f ms, %.0f %% of the time\n", f->caption_ms, f->floor_ms,
           100.0 * f->floor_ms / f->caption_ms);
    printf("beams      3 take %.2f x as long as greedy: %.2f ms, %.2f ms\n", f->three_beams_ms / f->greedy_ms,
           f->three_beams_ms, f->greedy_ms);
    printf("folder     %.1f photos/s\n", f->folder_photos_per_s);
    printf("maps       %+.2f ms, %+.1f %%, to keep what looksay explain shows\n", f->maps_ms,
           100.0 * f->maps_ms / f->caption_ms);
    printf("process    %.1f ms from start to end with one caption, peak memory %.1f MiB", f->start_ms, f->peak_mib);
    if (f->file_mib > 0.0)
        printf(" (model file %.1f MiB)", f->file_mib);
    putchar('\n');
}

static bool measure_on_cpu(figures *f, engine *e, const settings *s, const char *image, int n,
                           const lks_caption_options *options)
{
    lks_machine_speed m;
    lks_error err;
    if (lks_machine_measure(&m, s->isa, s->n_threads == OPTION_UNSET ? 0 : s->n_threads, MACHINE_SECONDS, &err) !=
        LKS_OK) {
        complain("%s", err.message);
        return false;
    }
    if (!measure_model(f, e, s, image, n, options))
        return false;
    bench_find_floors(f, e->model, &(peaks){m.f32_gflops, m.bf16_gflops, m.int8_gops, m.dram_gbps});
    (bench_wants_json(s) ? print_json : print_text)(&m, f, e);
    return true;
}

static bool measure_on_gpu(figures *f, engine *e, const settings *s, const char *image, int n,
                           const lks_caption_options *options)
{
    lks_gpu gpu;
    lks_gpu_speed speed;
    lks_error err;
    if (lks_gpu_describe(&gpu, &err) != LKS_OK || lks_gpu_measure(&speed, &err) != LKS_OK) {
        complain("%s", err.message);
        return false;
    }
    return measure_model(f, e, s, image, n, options) && bench_gpu(f, e, s, &gpu, &speed, n, options);
}

static int measure(const settings *s, const char *image)
{
    figures f = {.read_ms = 0.0};
    int n = s->repeat == OPTION_UNSET ? DEFAULT_REPEAT : s->repeat;
    char model[PATH_MAX];
    int status = engine_find_model(model, sizeof model, s) ? measure_process(&f, model, s, image, n) : EXIT_ALL_DONE;
    if (status != EXIT_ALL_DONE)
        return status; /* the child said why */
    engine e;
    if (!engine_open(&e, s))
        return EXIT_MODEL;
    lks_caption_options options;
    engine_caption_options(&options, &e, s);
    if (s->max_tokens == OPTION_UNSET)
        options.max_tokens = DEFAULT_TOKENS;
    if (s->min_tokens == OPTION_UNSET) /* all of them, whatever the picture shows */
        options.min_tokens = options.max_tokens;
    bool on_gpu = strcmp(lks_model_device(e.model), "cuda") == 0;
    if (!engine_check_caption(s, &options))
        status = EXIT_USAGE;
    else if (!(on_gpu ? measure_on_gpu : measure_on_cpu)(&f, &e, s, image, n, &options))
        status = EXIT_SOME_FAILED;
    engine_close(&e);
    return status;
}

int command_bench(const settings *s)
{
    if (s->n_operands > 1) {
        complain("bench takes one image");
        return EXIT_USAGE;
    }
    char drawn[PATH_MAX] = "";
    if (s->n_operands == 0 && !draw_picture(drawn, sizeof drawn))
        return EXIT_OUTPUT;
    int status = measure(s, s->n_operands ? s->operands[0] : drawn);
    if (*drawn)
        unlink(drawn);
    return status;
}
