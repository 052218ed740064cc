/* When to use the pool: handing out a job costs a microsecond or two, some twenty thousand multiply-adds. */
#include "fusion/cpu/kernels.h"

#define WORK_WORTH_A_POOL 2e4

void lks_parallel(const lks_compute *compute, double work, lks_job job, void *argument)
{
    lks_threads_run(work < WORK_WORTH_A_POOL ? NULL : compute->threads, job, argument);
}
