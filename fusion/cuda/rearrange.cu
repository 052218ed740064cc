/* Weights below f32 come in panels of 64 outputs (fusion/int8.h, bf16.h), made for CPUs. Matrix products want plain rows: each panel is
 * rearranged where it lies, [groups, 64, width] to [64, groups * width], which is as large. int4 stays as it is. */
#include "fusion/cuda/kernels.cuh"

constexpr int THREADS = 256, COLUMNS = 64;

/* One block to a panel; WORD is the weights of a group that lie side by side. */
template <class WORD> static __global__ void rearrange(WORD *rows, const WORD *panels, int n_groups)
{
    lks_begin();
    int64_t panel = (int64_t)blockIdx.x * n_groups * COLUMNS;
    for (int at = (int)threadIdx.x; at < n_groups * COLUMNS; at += THREADS)
        rows[panel + at] = panels[panel + (int64_t)(at % n_groups) * COLUMNS + at / n_groups];
}

lks_status lks_cuda_rearrange(const lks_device *device, unsigned char *room, size_t room_bytes, const lks_linear *layer,
                              cudaStream_t stream, lks_error *err)
{
    static_assert(LKS_INT8_GROUP * sizeof(int8_t) == sizeof(uint32_t) &&
                      LKS_BF16_GROUP * sizeof(uint16_t) == sizeof(uint32_t),
                  "a group is a word");
    static_assert(LKS_INT8_COLUMNS == COLUMNS && LKS_BF16_COLUMNS == COLUMNS, "panels are alike");
    const void *panels = layer->int8.panels ? (const void *)layer->int8.panels : layer->bf16.panels;
    int group = layer->int8.panels ? LKS_INT8_GROUP : LKS_BF16_GROUP;
    if (!panels)
        return LKS_OK;
    if (layer->bf16.panels && device->info.major < 8)
        return lks_error_set(
            err, LKS_ERR_DEVICE,
            "%s computes no bf16 (that takes compute capability 8.0, it has %d.%d); use --dtype f32 or int8",
            device->info.name, device->info.major, device->info.minor);
    uint32_t *weights = (uint32_t *)(uintptr_t)lks_on_device_bytes(device, panels);
    int n_groups = (layer->d_in + group - 1) / group, n_panels = (layer->d_out + COLUMNS - 1) / COLUMNS;
    size_t panel = (size_t)n_groups * COLUMNS;
    int at_once = (int)(room_bytes / (panel * sizeof *weights));
    for (int i = 0; i < n_panels; i += at_once) {
        int n = n_panels - i < at_once ? n_panels - i : at_once;
        uint32_t *from = weights + (size_t)i * panel;
        lks_launch_on(stream, false, rearrange<uint32_t>, dim3((unsigned)n), dim3(THREADS), 0, (uint32_t *)room, from,
                      n_groups);
        cudaError_t error = cudaGetLastError();
        if (error == cudaSuccess)
            error = cudaMemcpyAsync(from, room, (size_t)n * panel * sizeof *weights, cudaMemcpyDeviceToDevice, stream);
        if (error != cudaSuccess)
            return lks_cuda_error(err, error, "rearranging weights");
    }
    return LKS_OK;
}

static __global__ void round_bias(lks_rounded_bias bias, int n)
{
    lks_begin();
    int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i < n)
        bias.rounded[i] = lks_bf16_narrow(bias.exact[i]);
}

lks_status lks_cuda_round_bias(const lks_rounded_bias *bias, int n, cudaStream_t stream, lks_error *err)
{
    lks_launch_on(stream, false, round_bias, dim3((unsigned)((n + THREADS - 1) / THREADS)), dim3(THREADS), 0, *bias, n);
    cudaError_t error = cudaGetLastError();
    return error == cudaSuccess ? LKS_OK : lks_cuda_error(err, error, "rounding biases");
}
