/* Which table serves which instruction set, and how much scratch the ops need. */
#include "fusion/ops.h"

#include <assert.h>
#include <string.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

#if defined(LKS_HAVE_AVX2) || defined(LKS_HAVE_AVX512) || defined(LKS_HAVE_NEON)
static const lks_ops *vector_table(lks_isa isa)
{
    lks_cpu cpu;
    lks_cpu_detect(&cpu);
#ifdef LKS_HAVE_AVX2
    if (isa == LKS_ISA_AVX2 && cpu.avx2_fma)
        return &lks_ops_avx2;
    if (isa == LKS_ISA_AVX_VNNI && cpu.avx_vnni)
        return &lks_ops_avx_vnni;
#endif
#ifdef LKS_HAVE_AVX512
    if (isa == LKS_ISA_AVX512 && cpu.avx512)
        return &lks_ops_avx512;
    if (isa == LKS_ISA_AVX512_VNNI && cpu.avx512_vnni)
        return &lks_ops_avx512_vnni;
    if (isa == LKS_ISA_AVX512_BF16 && cpu.avx512_vnni && cpu.avx512_bf16)
        return &lks_ops_avx512_bf16;
#endif
#ifdef LKS_HAVE_NEON
    if (isa == LKS_ISA_NEON && cpu.neon)
        return &lks_ops_neon;
    if (isa == LKS_ISA_NEON_DOTPROD && cpu.neon_dotprod)
        return &lks_ops_neon_dotprod;
#endif
    return NULL;
}
#else
static const lks_ops *vector_table(lks_isa isa)
{
    (void)isa;
    return NULL;
}
#endif

static const lks_ops *best_table(void)
{
    static const lks_isa order[] = {LKS_ISA_AVX512_BF16, LKS_ISA_AVX512_VNNI,  LKS_ISA_AVX512, LKS_ISA_AVX_VNNI,
                                    LKS_ISA_AVX2,        LKS_ISA_NEON_DOTPROD, LKS_ISA_NEON,   LKS_ISA_BLAS};
    lks_cpu cpu;
    lks_cpu_detect(&cpu);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        const lks_ops *ops = lks_ops_get(order[i]);
        if (ops && (ops->isa != LKS_ISA_AVX512_BF16 || cpu.bf16_outruns_f32))
            return ops;
    }
    return &lks_ops_ref;
}

const lks_ops *lks_ops_get(lks_isa isa)
{
    switch (isa) {
    case LKS_ISA_AUTO:
        return best_table();
    case LKS_ISA_REF:
        return &lks_ops_ref;
    case LKS_ISA_AVX2:
    case LKS_ISA_AVX_VNNI:
    case LKS_ISA_AVX512:
    case LKS_ISA_AVX512_VNNI:
    case LKS_ISA_AVX512_BF16:
    case LKS_ISA_NEON:
    case LKS_ISA_NEON_DOTPROD:
        return vector_table(isa);
    case LKS_ISA_BLAS:
#ifdef LKS_HAVE_BLAS
        return lks_ops_blas();
#endif
    case LKS_ISA_CUDA: /* comes with its device */
    case LKS_ISA_COUNT:
        break;
    }
    return NULL;
}

void lks_linear_run(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    if (layer->int8.panels)
        compute->ops->linear_int8(compute, layer, args);
    else if (layer->bf16.panels)
        compute->ops->linear_bf16(compute, layer, args);
    else if (layer->int4.panels)
        compute->ops->linear_int4(compute, layer, args);
    else
        compute->ops->linear(compute, layer, args);
}

void lks_linear_dense(const lks_compute *compute, const lks_linear *layer, float *y, const float *x, int n,
                      lks_activation activation, const float *residual)
{
    lks_linear_args args = {.n = n,
                            .x = x,
                            .x_stride = layer->d_in,
                            .y = y,
                            .y_stride = layer->d_out,
                            .activation = activation,
                            .residual = residual,
                            .residual_stride = layer->d_out};
    lks_linear_run(compute, layer, &args);
}

void lks_linear_rounded(const lks_compute *compute, uint16_t *const *y, float *exact, const lks_linear *const *layers,
                        int n_layers, const float *x, int n)
{
    const lks_ops *ops = compute->ops;
    if (ops->linear_rounded && ops->linear_rounded(compute, y, layers, n_layers, x, n))
        return;
    for (int i = 0; i < n_layers; i++) {
        const lks_linear *layer = layers[i];
        if (ops->linear_fuses && ops->linear_fuses(layer)) {
            const lks_linear_args args = {
                .n = n, .x = x, .x_stride = layer->d_in, .y_stride = layer->d_out, .y_bf16 = y[i]};
            lks_linear_run(compute, layer, &args);
            continue;
        }
        lks_linear_dense(compute, layer, exact, x, n, LKS_ACT_NONE, NULL);
        ops->round_bf16(compute, y[i], exact, (size_t)n * (size_t)layer->d_out);
    }
}

/* Whether the table does it in one go. */
static bool is_fused(const lks_ops *ops, const lks_inverted_residual *args)
{
    return ops->inverted_residual && ops->residual_fits(args);
}

/* Floats of the maps behind the expansion, none without one, and behind the filter. */
static size_t expanded_floats(const lks_inverted_residual *args)
{
    const lks_conv2d *conv = &args->conv;
    return args->expand ? (size_t)(conv->n * conv->height * conv->width) * (size_t)conv->c_in : 0;
}

static size_t filtered_floats(const lks_inverted_residual *args)
{
    const lks_conv2d *conv = &args->conv;
    return (size_t)(conv->n * conv->out_height * conv->out_width) * (size_t)conv->c_out;
}

size_t lks_inverted_residual_scratch(const lks_ops *ops, int n_threads, const lks_inverted_residual *args)
{
    if (is_fused(ops, args))
        return ops->residual_scratch(n_threads, args);
    return lks_arena_cost(expanded_floats(args), sizeof(float)) + lks_arena_cost(filtered_floats(args), sizeof(float)) +
           (ops->depthwise_scratch ? ops->depthwise_scratch(n_threads, &args->conv) : 0);
}

void lks_inverted_residual_run(const lks_compute *compute, const lks_inverted_residual *args)
{
    const lks_ops *ops = compute->ops;
    if (is_fused(ops, args)) {
        ops->inverted_residual(compute, args);
        return;
    }
    const size_t mark = lks_arena_mark(compute->scratch);
    lks_conv2d conv = args->conv;
    float *expanded = lks_arena_take(compute->scratch, expanded_floats(args), sizeof *expanded);
    conv.x = args->expand ? expanded : args->x;
    conv.y = lks_arena_take(compute->scratch, filtered_floats(args), sizeof *conv.y);
    assert(expanded && conv.y);
    if (args->expand)
        lks_linear_dense(compute, args->expand, expanded, args->x, conv.n * conv.height * conv.width, args->activation,
                         NULL);
    ops->depthwise_conv2d(compute, &conv);
    lks_linear_dense(compute, args->project, args->y, conv.y, conv.n * conv.out_height * conv.out_width, LKS_ACT_NONE,
                     args->residual);
    lks_arena_reset(compute->scratch, mark);
}

void lks_linear_row(const lks_ops *ops, float *row, const lks_linear *layer, int o)
{
    if (layer->int8.panels)
        lks_int8_unpack(row, &layer->int8, layer->d_in, o);
    else if (layer->bf16.panels)
        lks_bf16_unpack(row, &layer->bf16, layer->d_in, o);
    else if (layer->int4.panels)
        lks_int4_unpack(row, &layer->int4, layer->d_in, o);
    else
        ops->linear_unpack(row, layer->packed, layer->d_in, o);
}

lks_precision lks_linear_precision(const lks_linear *layer)
{
    return layer->int8.panels   ? LKS_PRECISION_INT8
           : layer->int4.panels ? LKS_PRECISION_INT4
           : layer->bf16.panels ? LKS_PRECISION_BF16
                                : LKS_PRECISION_F32;
}

static const char *const precision_names[] = {"auto", "f32", "bf16", "int8", "int4"};

const char *lks_precision_name(lks_precision precision)
{
    return precision_names[precision];
}

bool lks_precision_parse(lks_precision *precision, const char *name)
{
    for (size_t i = 0; i < sizeof precision_names / sizeof *precision_names; i++)
        if (strcmp(precision_names[i], name) == 0) {
            *precision = (lks_precision)i;
            return true;
        }
    return false;
}

double lks_linear_bytes(lks_precision precision, double n_weights)
{
    static const double bytes[] = {4, 4, 2, 1, 0.5 + 2.0 / LKS_INT4_GROUP};
    return bytes[precision] * n_weights;
}

float *lks_result_room(const lks_compute *compute, float *host, size_t n)
{
    return compute->queue ? lks_arena_take(compute->scratch, n, sizeof *host) : host;
}

void lks_result_fetch(const lks_compute *compute, float *host, const float *room, size_t n)
{
    if (compute->queue)
        compute->ops->download(compute, host, room, n * sizeof *host);
}

/* Attention and the layers of low precision take scratch, one at a time; the fused kernels need more of it than the reference. */
size_t lks_ops_scratch(int n_threads, int max_keys, int max_d_head, int max_d)
{
    size_t per_thread = lks_arena_cost(lks_attention_scratch_floats(max_keys, max_d_head), sizeof(float));
    size_t attention = lks_arena_cost((size_t)n_threads, per_thread), rows = lks_rows_scratch(max_d);
    return attention > rows ? attention : rows;
}
