/* The reference int4 linear layer: see fusion/int4.h. Plain loops over the packed panels, sums of groups in double precision. */
#include "fusion/cpu/int4_rows.h"
#include "fusion/cpu/kernels.h"

/* sum over groups of s scale (sum X Q - 8 sum X) */
static double dot(const lks_linear *layer, const lks_int4_inputs *inputs, int o)
{
    enum { COLUMNS = LKS_INT4_COLUMNS, HALF = LKS_INT4_GROUP / 2 };
    size_t n_groups = lks_int4_groups(layer->d_in), first = (size_t)(o / COLUMNS) * n_groups;
    double total = 0.0;
    for (size_t g = 0; g < n_groups; g++) {
        const uint8_t *weights = layer->int4.panels + (first + g) * LKS_INT4_GROUP_BYTES + (size_t)(o % COLUMNS) * 4;
        int32_t sum = -inputs[g].eight_sums;
        for (int k = 0; k < HALF; k++) {
            int byte = weights[k / 4 * COLUMNS * 4 + k % 4];
            sum += inputs[g].x[k] * (byte & 15) + inputs[g].x[k + HALF] * (byte >> 4);
        }
        float scale = lks_bf16_to_float(layer->int4.scales[(first + g) * COLUMNS + (size_t)(o % COLUMNS)]);
        total += (double)inputs[g].scale * (double)scale * (double)sum;
    }
    return total;
}

static void linear_part(void *argument, int thread, int n_threads)
{
    const lks_int4_job *job = argument;
    const lks_linear *layer = job->layer;
    long begin, end;
    lks_threads_share(layer->d_out, 1, thread, n_threads, &begin, &end);
    for (int i = 0; i < job->n; i++)
        for (long o = begin; o < end; o++) {
            double y = dot(layer, job->inputs + (size_t)i * lks_int4_groups(layer->d_in), (int)o);
            if (layer->bias)
                y += (double)layer->bias[o];
            lks_ref_put_output(job->args, job->first + i, o, y);
        }
}

void lks_ref_linear_int4(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    lks_int4_run(compute, layer, args, linear_part, 1);
}
