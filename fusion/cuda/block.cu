/* A transformer's layer with bf16 weights: see lks_block in fusion/ops.h. And other bf16 layers whose results are rounded.
 *
 * Only the residual stream x is f32. What lies between the steps is bf16, which the next product would round it to, in the rooms of
 * the queue: some sequences at a time go through the whole layer, as many as have room for their widest rows. Biases, residuals and
 * the activations that cuBLASLt has come with the products. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256, WIDTH = 8; /* numbers that a thread takes at once: 16 bytes of bf16 */
constexpr int MAX_HEAD = 128;           /* of lks_cuda_attention_bf16 */

/* x Phi(x), where Phi(-|x|) = erfc(z) / 2, z = |x| / sqrt 2, and erfc(z) = 1 / (1 + a1 z + .. + a6 z^6)^16 but for 3e-7 (Abramowitz &
 * Stegun 1964, 7.1.28), a thousandth of what bf16 tells apart. */
__device__ __forceinline__ float rounded_gelu(float x)
{
    float z = 0.70710678118654752440f * fabsf(x);
    float p = 0.0000430638f;
    p = p * z + 0.0002765672f;
    p = p * z + 0.0001520143f;
    p = p * z + 0.0092705272f;
    p = p * z + 0.0422820123f;
    p = p * z + 0.0705230784f;
    p = p * z + 1.0f;
    p *= p;
    p *= p;
    p *= p;
    p *= p;
    float tail = __fdividef(0.5f * x, p);
    return x > 0.0f ? x - tail : tail;
}

/* y = activation(y + bias), rows of n_vectors * WIDTH numbers. */
template <bool GELU>
static __global__ void finish_rounded(lks_vector<uint16_t, WIDTH> *y, const float *bias, int n, int n_vectors,
                                      lks_activation activation)
{
    lks_begin();
    for (int at = (int)(blockIdx.x * THREADS + threadIdx.x); at < n * n_vectors; at += (int)(gridDim.x * THREADS)) {
        lks_vector<uint16_t, WIDTH> row = y[at];
        lks_vector<float, 4> added[WIDTH / 4] = {};
        if (bias) {
#pragma unroll
            for (int i = 0; i < WIDTH / 4; i++)
                added[i] = ((const lks_vector<float, 4> *)bias)[at % n_vectors * (WIDTH / 4) + i];
        }
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            float sum = lks_bf16_widen(row.at[k]) + added[k / 4].at[k % 4];
            row.at[k] = lks_bf16_narrow(GELU ? rounded_gelu(sum) : lks_activated(sum, activation));
        }
        y[at] = row;
    }
}

static const uint16_t *rounded_bias(const lks_device *device, const float *exact)
{
    for (int i = 0; i < device->n_biases; i++)
        if (device->biases[i].exact == exact)
            return device->biases[i].rounded;
    return NULL;
}

/* y [n, d_out] = activation(x w^T + bias), rounded. */
static void run_rounded(const lks_compute *compute, const lks_linear *layer, uint16_t *y, const uint16_t *x, int n,
                        lks_activation activation)
{
    const float *bias = lks_on_device(compute, layer->bias);
    lks_product p = {};
    p.n = n;
    p.m = layer->d_out;
    p.k = layer->d_in;
    p.x = x;
    p.w = lks_on_device(compute, layer->bf16.panels);
    p.x_stride = p.w_stride = layer->d_in;
    p.y = y;
    p.y_stride = layer->d_out;
    p.type = p.y_type = CUDA_R_16BF;
    p.bias = bias ? rounded_bias(compute->queue->device, bias) : NULL;
    p.activation = activation;
    if ((bias == NULL) == (p.bias == NULL) && lks_cuda_product(compute, &p))
        return;
    lks_cuda_sums(compute, &p);
    int n_vectors = layer->d_out / WIDTH;
    auto kernel = activation == LKS_ACT_GELU ? finish_rounded<true> : finish_rounded<false>;
    lks_launch(compute, "end of a rounded layer", kernel, lks_blocks((int64_t)n * n_vectors, THREADS), dim3(THREADS), 0,
               (lks_vector<uint16_t, WIDTH> *)y, bias, n, n_vectors, activation);
}

static bool runs_rounded(const lks_linear *layer)
{
    return layer->bf16.panels && layer->d_in % WIDTH == 0 && layer->d_out % WIDTH == 0;
}

bool lks_cuda_linear_rounded(const lks_compute *compute, uint16_t *const *y, const lks_linear *const *layers,
                             int n_layers, const float *x, int n)
{
    for (int i = 0; i < n_layers; i++)
        if (!runs_rounded(layers[i]) || !lks_is_aligned(y[i], WIDTH * sizeof *y[i]))
            return false;
    const int d_in = layers[0]->d_in;
    uint16_t *rounded = (uint16_t *)compute->queue->rooms[LKS_ROOM_INPUTS];
    int most = (int)(LKS_ROOM_BYTES / sizeof *rounded / (size_t)d_in);
    for (int first = 0; first < n; first += most) {
        int some = n - first < most ? n - first : most;
        lks_cuda_round_bf16(compute, rounded, x + (int64_t)first * d_in, (size_t)some * (size_t)d_in);
        for (int i = 0; i < n_layers; i++)
            run_rounded(compute, layers[i], y[i] + (int64_t)first * layers[i]->d_out, rounded, some, LKS_ACT_NONE);
    }
    return true;
}

/* x [n, d] += layer(input). */
static void add_layer(const lks_compute *compute, const lks_linear *layer, float *x, const uint16_t *input, int n)
{
    lks_linear_args args = {};
    args.n = n;
    args.y = x;
    args.y_stride = args.residual_stride = layer->d_out;
    args.residual = x;
    lks_cuda_linear_of_rounded(compute, layer, &args, input);
}

static void attend(const lks_compute *compute, const lks_block *block, uint16_t *mixed, const uint16_t *qkv,
                   int n_batch, int n_tokens)
{
    const int d = block->qkv.d_in;
    lks_attention a = lks_attention_of_qkv(n_batch, n_tokens, block->n_heads, d / block->n_heads, d);
    a.key_bf16 = qkv + d;
    a.value_bf16 = qkv + 2 * d;
    lks_cuda_attention_bf16(compute, &a, qkv, mixed);
}

/* That go through the layer at once. */
static int most_rows(const lks_block *block, size_t room_bytes)
{
    int widest = block->qkv.d_out > block->fc1.d_out ? block->qkv.d_out : block->fc1.d_out;
    return (int)(room_bytes / sizeof(uint16_t) / (size_t)widest);
}

bool lks_cuda_block_fits(const lks_block *block, int n_tokens)
{
    const lks_linear *layers[] = {&block->qkv, &block->proj, &block->fc1, &block->fc2};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        if (!runs_rounded(layers[i]))
            return false;
    return !block->scale1 && !block->scale2 && !block->gated && block->qkv.d_in <= LKS_MAX_NORM &&
           block->qkv.d_in <= block->n_heads * MAX_HEAD && n_tokens <= most_rows(block, LKS_ROOM_BYTES);
}

void lks_cuda_block(const lks_compute *compute, const lks_block *block, float *x, int n_batch, int n_tokens,
                    unsigned parts)
{
    const int d = block->qkv.d_in, most = most_rows(block, compute->queue->block_bytes) / n_tokens;
    const int n_parts = (n_batch + most - 1) / most, at_once = (n_batch + n_parts - 1) / n_parts; /* alike, nearly */
    const bool linear = parts & LKS_BLOCK_LINEAR, norms = parts & LKS_BLOCK_NORMS;
    uint16_t *narrow = (uint16_t *)compute->queue->rooms[LKS_ROOM_INPUTS];
    uint16_t *wide = (uint16_t *)compute->queue->rooms[LKS_ROOM_OUTPUTS];
    for (int i = 0; i < n_batch; i += at_once) {
        int n_sequences = n_batch - i < at_once ? n_batch - i : at_once, n = n_sequences * n_tokens;
        float *rows = x + (int64_t)i * n_tokens * d;
        if (norms)
            lks_cuda_layer_norm_bf16(compute, narrow, rows, n, d, &block->norm1, block->eps);
        if (linear)
            run_rounded(compute, &block->qkv, wide, narrow, n, LKS_ACT_NONE);
        if (parts & LKS_BLOCK_ATTENTION)
            attend(compute, block, narrow, wide, n_sequences, n_tokens);
        if (linear)
            add_layer(compute, &block->proj, rows, narrow, n);
        if (norms)
            lks_cuda_layer_norm_bf16(compute, narrow, rows, n, d, &block->norm2, block->eps);
        if (linear) {
            run_rounded(compute, &block->fc1, wide, narrow, n, block->activation);
            add_layer(compute, &block->fc2, rows, wide, n);
        }
    }
}
