/* How fast weights are read when few rows are computed, as in decoding. Private to the captioner. */
#ifndef LKS_MACHINE_ROWS_H
#define LKS_MACHINE_ROWS_H

#include "apps/captioner/looksay.h"
#include "fusion/ops.h"

typedef struct lks_row_bench lks_row_bench;

/* A layer in every precision, together far larger than caches are. */
lks_status lks_row_bench_open(lks_row_bench **out, const lks_ops *ops, lks_threads *threads, lks_error *err);
void lks_row_bench_close(lks_row_bench *bench);

/* Times the layer once for each number of rows and each precision; speed->rows keeps the best. */
void lks_row_bench_run(lks_row_bench *bench, lks_machine_speed *speed);

#endif
