/* Rounded rows of inputs in scratch memory for the int4 kernels. Private to fusion/cpu. */
#ifndef LKS_CPU_INT4_ROWS_H
#define LKS_CPU_INT4_ROWS_H

#include "fusion/cpu/word_rows.h"

typedef struct lks_int4_job {
    const lks_linear *layer;
    const lks_linear_args *args;
    int first, n;            /* rows of this chunk */
    lks_int4_inputs *inputs; /* [n, lks_int4_groups(d_in)] */
} lks_int4_job;

/* Rounds the rows of `args` chunk by chunk, and runs `part` with a lks_int4_job on each; it counts n_lanes multiply-adds as one. */
void lks_int4_run(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args, lks_job part,
                  int n_lanes);

#endif
