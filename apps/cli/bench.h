/* What the parts of looksay bench share. */
#ifndef LOOKSAY_CLI_BENCH_H
#define LOOKSAY_CLI_BENCH_H

#include <jansson.h>

#include "apps/cli/engine.h"

typedef struct figures {
    double read_ms, encode_ms, decode_ms_per_token, caption_ms, maps_ms, start_ms, peak_mib, file_mib;
    double encode_floor_ms, decode_floor_ms_per_token, floor_ms; /* the least that the machine could take */
    double greedy_ms, three_beams_ms;                            /* a caption's encoding and words */
    double folder_photos_per_s;
    int n_steps, n_beams, n_batch; /* tokens of a caption; photos that `looksay caption` would take together */
} figures;

/* The most that a machine can do, 10^9 operations and bytes per second. */
typedef struct peaks {
    double f32_gflops, bf16_gflops, int8_gops, dram_gbps;
} peaks;

double bench_median(double *values, int n); /* of values that may be sorted */
bool bench_wants_json(const settings *s);
json_t *bench_json_of_model(const figures *f, const engine *e); /* what was measured of it on any machine */

/* What no implementation in the model's precision could do faster on this machine, by arithmetic or by memory reads. */
void bench_find_floors(figures *out, const lks_model *model, const peaks *machine);

/* The floors of what was measured, and photos in large batches, n times; prints all of it. Returns false after a message. */
bool bench_gpu(figures *f, engine *e, const settings *s, const lks_gpu *gpu, const lks_gpu_speed *speed, int n,
               const lks_caption_options *options);

#endif
