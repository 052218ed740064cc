/* The GPU, its copies of weights, and the queues: see fusion/device.h. Everything on a queue goes through its one stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/cuda/queue.cuh"

constexpr int ORDINAL = 0; /* the first one that CUDA_VISIBLE_DEVICES leaves */

lks_status lks_cuda_error(lks_error *err, cudaError_t error, const char *what)
{
    if (error == cudaErrorMemoryAllocation)
        return lks_error_set(err, LKS_ERR_NOMEM, "the GPU is out of memory: %s", what);
    return lks_error_set(err, LKS_ERR_DEVICE, "the GPU failed: %s: %s", what, cudaGetErrorString(error));
}

void lks_queue_note_text(lks_queue *queue, const char *text)
{
    if (queue->failed != LKS_OK)
        return;
    queue->failed = LKS_ERR_DEVICE;
    snprintf(queue->failure, sizeof queue->failure, "the GPU failed: %s", text);
}

void lks_queue_note(lks_queue *queue, cudaError_t error, const char *what)
{
    if (error == cudaSuccess || queue->failed != LKS_OK)
        return;
    lks_error err;
    queue->failed = lks_cuda_error(&err, error, what);
    snprintf(queue->failure, sizeof queue->failure, "%.*s", (int)sizeof queue->failure - 1, err.message);
}

static lks_status describe(lks_device_info *info, lks_error *err)
{
    int n = 0;
    cudaError_t error = cudaGetDeviceCount(&n);
    if (error == cudaErrorInsufficientDriver)
        return lks_error_set(
            err, LKS_ERR_DEVICE,
            "no NVIDIA driver, or one too old for CUDA %d.%d; install a newer driver, or use --device cpu",
            CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0))
        return lks_error_set(err, LKS_ERR_DEVICE,
                             "no NVIDIA GPU; see what nvidia-smi and CUDA_VISIBLE_DEVICES say, or use --device cpu");
    cudaDeviceProp p;
    if (error == cudaSuccess)
        error = cudaGetDeviceProperties(&p, ORDINAL);
    if (error != cudaSuccess)
        return lks_error_set(err, LKS_ERR_DEVICE,
                             "the GPU cannot be used: %s; see what nvidia-smi says, or use --device cpu",
                             cudaGetErrorString(error));
    if (p.major * 10 + p.minor < 75)
        return lks_error_set(err, LKS_ERR_DEVICE,
                             "%s has compute capability %d.%d, and 7.5 is needed; use --device cpu", p.name, p.major,
                             p.minor);
    memset(info, 0, sizeof *info);
    snprintf(info->name, sizeof info->name, "%.*s", (int)sizeof info->name - 1, p.name);
    info->major = p.major;
    info->minor = p.minor;
    info->memory_bytes = p.totalGlobalMem;
    return LKS_OK;
}

/* ---- devices ---- */

static void close_device(lks_device *device)
{
    for (int i = 0; i < device->n_mirrors; i++)
        cudaFree(device->mirrors[i].device);
    free(device->expected);
    free(device->biases);
    free(device);
}

static lks_status open_device(lks_device **out, lks_error *err)
{
    lks_device *device = (lks_device *)calloc(1, sizeof *device);
    if (!device)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    lks_status st = describe(&device->info, err);
    if (st == LKS_OK) {
        cudaError_t error = cudaSetDevice(ORDINAL);
        st = error == cudaSuccess ? LKS_OK : lks_cuda_error(err, error, "starting it");
    }
    if (st != LKS_OK) {
        close_device(device);
        return st;
    }
    device->chains = lks_cuda_kernels_wait();
    *out = device;
    return LKS_OK;
}

static lks_status expect(lks_device *device, const lks_linear *layer, lks_error *err)
{
    if (device->n_expected == device->max_expected) {
        int room = device->max_expected ? 2 * device->max_expected : 64;
        lks_linear *grown = (lks_linear *)realloc(device->expected, (size_t)room * sizeof *grown);
        if (!grown)
            return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
        device->expected = grown;
        device->max_expected = room;
    }
    device->expected[device->n_expected++] = *layer;
    return LKS_OK;
}

static size_t rounded_bytes(const lks_linear *layer)
{
    size_t n = layer->bf16.panels && layer->bias ? (size_t)layer->d_out * sizeof(uint16_t) : 0;
    return (n + LKS_ALIGNMENT - 1) / LKS_ALIGNMENT * LKS_ALIGNMENT;
}

/* Rearranges the layers that lie in the newest mirror; their biases are rounded to `rounded`, behind it. */
static lks_status rearrange(lks_device *device, unsigned char *rounded, cudaStream_t stream, lks_error *err)
{
    unsigned char *room = NULL;
    cudaError_t error = cudaMalloc((void **)&room, LKS_ROOM_BYTES);
    if (error != cudaSuccess)
        return lks_cuda_error(err, error, "room to rearrange weights");
    lks_status st = LKS_OK;
    for (int i = 0; i < device->n_expected && st == LKS_OK; i++) {
        const lks_linear *layer = &device->expected[i];
        st = lks_cuda_rearrange(device, room, LKS_ROOM_BYTES, layer, stream, err);
        if (st != LKS_OK || rounded_bytes(layer) == 0)
            continue;
        lks_rounded_bias *bias = &device->biases[device->n_biases++];
        *bias = {(const float *)lks_on_device_bytes(device, layer->bias), (uint16_t *)rounded};
        st = lks_cuda_round_bias(bias, layer->d_out, stream, err);
        rounded += rounded_bytes(layer);
    }
    device->n_expected = 0;
    error = cudaStreamSynchronize(stream);
    cudaFree(room);
    return st == LKS_OK && error != cudaSuccess ? lks_cuda_error(err, error, "rearranging weights") : st;
}

static lks_status mirror(lks_device *device, const lks_arena *arena, lks_error *err)
{
    if (device->n_mirrors == LKS_MAX_MIRRORS)
        return lks_error_set(err, LKS_ERR_DEVICE, "the model has too many parts for the GPU");
    if (arena->used == 0)
        return LKS_OK;
    size_t n_biases = (size_t)(device->n_biases + device->n_expected), size = arena->used;
    lks_rounded_bias *biases = (lks_rounded_bias *)realloc(device->biases, (n_biases + 1) * sizeof *biases);
    if (!biases)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    device->biases = biases;
    size_t begin = (size + LKS_ALIGNMENT - 1) / LKS_ALIGNMENT * LKS_ALIGNMENT, end = begin;
    for (int i = 0; i < device->n_expected; i++)
        end += rounded_bytes(&device->expected[i]);
    lks_mirror *m = &device->mirrors[device->n_mirrors];
    cudaStream_t stream;
    cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (error != cudaSuccess)
        return lks_cuda_error(err, error, "a stream");
    error = cudaMalloc((void **)&m->device, end);
    if (error == cudaSuccess) {
        m->host = arena->base;
        m->size = size;
        device->n_mirrors++;
        error = cudaMemcpyAsync(m->device, m->host, m->size, cudaMemcpyHostToDevice, stream);
    }
    if (error == cudaSuccess)
        error = cudaStreamSynchronize(stream);
    lks_status st = error == cudaSuccess ? rearrange(device, m->device + begin, stream, err)
                                         : lks_cuda_error(err, error, "the model's weights");
    cudaStreamDestroy(stream);
    return st;
}

/* ---- queues ---- */

static void forget_recordings(lks_queue *queue)
{
    for (int i = 0; i < queue->n_recordings; i++)
        if (queue->recordings[i].graph)
            cudaGraphExecDestroy(queue->recordings[i].graph);
    queue->n_recordings = 0;
}

static void close_queue(lks_queue *queue)
{
    if (queue->stream)
        cudaStreamSynchronize(queue->stream);
    if (queue->recordings)
        forget_recordings(queue);
    if (queue->plans)
        lks_cuda_forget_plans(queue);
    if (queue->blas)
        cublasLtDestroy(queue->blas);
    for (int i = 0; i < 2; i++) {
        if (queue->up_free[i])
            cudaEventDestroy(queue->up_free[i]);
        if (queue->stage_free[i])
            cudaEventDestroy(queue->stage_free[i]);
        cudaFreeHost(queue->stages[i]);
    }
    if (queue->stream)
        cudaStreamDestroy(queue->stream);
    cudaFreeHost(queue->up);
    cudaFreeHost(queue->down);
    cudaFree(queue->memory);
    free(queue->recordings);
    free(queue->plans);
    free(queue);
}

/* Those of blocks as large as the GPU's memory suggests, or as the others where that is not free. */
static cudaError_t make_rooms(lks_queue *queue)
{
    const size_t share = queue->device->info.memory_bytes / LKS_BLOCK_SHARE / LKS_ALIGNMENT * LKS_ALIGNMENT;
    const size_t others = LKS_BLAS_BYTES + LKS_ROOM_BYTES;
    queue->block_bytes = share < LKS_ROOM_BYTES ? LKS_ROOM_BYTES : share > LKS_MOST_BLOCK ? LKS_MOST_BLOCK : share;
    cudaError_t error = cudaMalloc((void **)&queue->memory, others + 2 * queue->block_bytes);
    if (error == cudaErrorMemoryAllocation && queue->block_bytes > LKS_ROOM_BYTES) {
        (void)cudaGetLastError();
        queue->block_bytes = LKS_ROOM_BYTES;
        error = cudaMalloc((void **)&queue->memory, others + 2 * LKS_ROOM_BYTES);
    }
    return error;
}

static cudaError_t start_queue(lks_queue *queue)
{
    cudaError_t error = cudaSetDevice(ORDINAL);
    if (error == cudaSuccess)
        error = cudaStreamCreateWithFlags(&queue->stream, cudaStreamNonBlocking);
    for (int i = 0; i < 2 && error == cudaSuccess; i++) {
        error = cudaEventCreateWithFlags(&queue->up_free[i], cudaEventDisableTiming);
        if (error == cudaSuccess)
            error = cudaEventCreateWithFlags(&queue->stage_free[i], cudaEventDisableTiming);
    }
    if (error == cudaSuccess)
        error = cudaMallocHost((void **)&queue->up, LKS_STAGE_BYTES);
    if (error == cudaSuccess)
        error = cudaMallocHost((void **)&queue->down, LKS_STAGE_BYTES);
    return error == cudaSuccess ? make_rooms(queue) : error;
}

static lks_status open_queue(lks_queue **out, lks_device *device, lks_error *err)
{
    lks_queue *queue = (lks_queue *)calloc(1, sizeof *queue);
    if (!queue)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    queue->device = device;
    queue->recording = -1;
    queue->plans = (lks_product_plan *)calloc(LKS_MAX_PLANS, lks_cuda_plan_bytes());
    queue->recordings = (lks_recording *)calloc(LKS_MAX_RECORDINGS, sizeof *queue->recordings);
    lks_status st = queue->plans && queue->recordings ? LKS_OK : lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    if (st == LKS_OK) {
        cudaError_t error = start_queue(queue);
        if (error != cudaSuccess)
            st = lks_cuda_error(err, error, "a session's room");
    }
    if (st == LKS_OK && cublasLtCreate(&queue->blas) != CUBLAS_STATUS_SUCCESS)
        st = lks_error_set(err, LKS_ERR_DEVICE, "cuBLASLt does not start on this GPU; install CUDA's libraries again");
    if (st != LKS_OK) {
        close_queue(queue);
        return st;
    }
    queue->blas_room = queue->memory;
    queue->rooms[LKS_ROOM_SUMS] = queue->blas_room + LKS_BLAS_BYTES;
    queue->rooms[LKS_ROOM_INPUTS] = queue->rooms[LKS_ROOM_SUMS] + LKS_ROOM_BYTES;
    queue->rooms[LKS_ROOM_OUTPUTS] = queue->rooms[LKS_ROOM_INPUTS] + queue->block_bytes;
    *out = queue;
    return LKS_OK;
}

/* ---- memory and transfers ---- */

/* What was recorded names memory that may be another's now. */
static lks_status arena_open(const lks_compute *compute, lks_arena *arena, size_t size, lks_error *err)
{
    forget_recordings(compute->queue);
    size_t cost = (size + LKS_ALIGNMENT - 1) / LKS_ALIGNMENT * LKS_ALIGNMENT;
    void *base = NULL;
    cudaError_t error = cudaMalloc(&base, cost ? cost : LKS_ALIGNMENT);
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); /* this failure is told here */
        return lks_error_set(err, LKS_ERR_NOMEM, "the GPU is out of memory: %zu bytes for activations", size);
    }
    memset(arena, 0, sizeof *arena);
    arena->base = (unsigned char *)base;
    arena->size = cost;
    return LKS_OK;
}

static void arena_close(const lks_compute *compute, lks_arena *arena)
{
    if (arena->base) {
        cudaStreamSynchronize(compute->queue->stream);
        forget_recordings(compute->queue);
        cudaFree(arena->base);
    }
    memset(arena, 0, sizeof *arena);
}

/* Both stages anew; what is on its way from the old ones arrives first. */
static bool grow_stages(lks_queue *queue, size_t n_bytes)
{
    lks_queue_note(queue, cudaStreamSynchronize(queue->stream), "upload");
    queue->stage_bytes = 0;
    cudaError_t error = cudaSuccess;
    for (int i = 0; i < 2; i++) {
        cudaFreeHost(queue->stages[i]);
        queue->stages[i] = NULL;
        if (error == cudaSuccess)
            error = cudaMallocHost((void **)&queue->stages[i], n_bytes);
    }
    if (error != cudaSuccess) {
        (void)cudaGetLastError(); /* the caller tells of it */
        return false;
    }
    queue->stage_bytes = n_bytes;
    return true;
}

static void *stage(const lks_compute *compute, size_t n_bytes)
{
    lks_queue *queue = compute->queue;
    if (n_bytes > queue->stage_bytes && !grow_stages(queue, n_bytes))
        return NULL;
    queue->stage_turn = 1 - queue->stage_turn;
    lks_queue_note(queue, cudaEventSynchronize(queue->stage_free[queue->stage_turn]), "upload");
    return queue->stages[queue->stage_turn];
}

static bool is_staged(const lks_queue *queue, const void *host)
{
    const unsigned char *at = (const unsigned char *)host, *begin = queue->stages[queue->stage_turn];
    return begin && at >= begin && at < begin + queue->stage_bytes;
}

/* What is not staged goes through the two halves of the pinned memory: one is filled while the other is on its way. */
static void upload(const lks_compute *compute, void *to, const void *host, size_t n_bytes)
{
    lks_queue *queue = compute->queue;
    if (is_staged(queue, host)) {
        lks_queue_note(queue, cudaMemcpyAsync(to, host, n_bytes, cudaMemcpyHostToDevice, queue->stream), "upload");
        lks_queue_note(queue, cudaEventRecord(queue->stage_free[queue->stage_turn], queue->stream), "upload");
        return;
    }
    const size_t turn = LKS_STAGE_BYTES / 2;
    for (size_t at = 0; at < n_bytes; at += turn) {
        size_t n = n_bytes - at < turn ? n_bytes - at : turn;
        unsigned char *stage = queue->up + (size_t)queue->up_turn * turn;
        lks_queue_note(queue, cudaEventSynchronize(queue->up_free[queue->up_turn]), "upload");
        memcpy(stage, (const unsigned char *)host + at, n);
        lks_queue_note(queue,
                       cudaMemcpyAsync((unsigned char *)to + at, stage, n, cudaMemcpyHostToDevice, queue->stream),
                       "upload");
        lks_queue_note(queue, cudaEventRecord(queue->up_free[queue->up_turn], queue->stream), "upload");
        queue->up_turn = 1 - queue->up_turn;
    }
}

/* Waits, and hands the host what it downloaded. */
static void deliver(lks_queue *queue)
{
    lks_queue_note(queue, cudaStreamSynchronize(queue->stream), "work on it");
    for (int i = 0; i < queue->n_downloads; i++)
        memcpy(queue->downloads[i].to, queue->downloads[i].from, queue->downloads[i].n_bytes);
    queue->n_downloads = 0;
    queue->down_used = 0;
}

static void download(const lks_compute *compute, void *host, const void *from, size_t n_bytes)
{
    lks_queue *queue = compute->queue;
    for (size_t at = 0; at < n_bytes;) {
        if (queue->n_downloads == LKS_MAX_DOWNLOADS || queue->down_used == LKS_STAGE_BYTES)
            deliver(queue);
        size_t room = LKS_STAGE_BYTES - queue->down_used, n = n_bytes - at < room ? n_bytes - at : room;
        unsigned char *stage = queue->down + queue->down_used;
        lks_queue_note(
            queue, cudaMemcpyAsync(stage, (const unsigned char *)from + at, n, cudaMemcpyDeviceToHost, queue->stream),
            "download");
        queue->downloads[queue->n_downloads].to = (unsigned char *)host + at;
        queue->downloads[queue->n_downloads].from = stage;
        queue->downloads[queue->n_downloads++].n_bytes = n;
        queue->down_used += (n + LKS_ALIGNMENT - 1) / LKS_ALIGNMENT * LKS_ALIGNMENT;
        if (queue->down_used > LKS_STAGE_BYTES)
            queue->down_used = LKS_STAGE_BYTES;
        at += n;
    }
}

static lks_status sync(const lks_compute *compute, lks_error *err)
{
    lks_queue *queue = compute->queue;
    deliver(queue);
    lks_status st = queue->failed;
    if (st != LKS_OK)
        lks_error_set(err, st, "%s", queue->failure);
    queue->failed = LKS_OK;
    return st;
}

/* ---- recordings: CUDA graphs ---- */

/* Done plainly when it first comes, as cuBLASLt then loads what it needs; captured the second time, replayed from then on. */
static bool record(const lks_compute *compute, const int64_t key[4])
{
    lks_queue *queue = compute->queue;
    const int64_t whole[5] = {key[0], key[1], key[2], key[3], (int64_t)compute->scratch->used};
    lks_recording *found = NULL;
    for (int i = 0; i < queue->n_recordings && !found; i++)
        if (memcmp(queue->recordings[i].key, whole, sizeof whole) == 0)
            found = &queue->recordings[i];
    if (found && found->graph) {
        lks_queue_note(queue, cudaGraphLaunch(found->graph, queue->stream), "recorded work");
        return true;
    }
    if (!found && queue->n_recordings == LKS_MAX_RECORDINGS)
        return false;
    if (!found) {
        found = &queue->recordings[queue->n_recordings++];
        memset(found, 0, sizeof *found);
        memcpy(found->key, whole, sizeof whole);
    }
    if (found->n_seen++ == 0 || cudaStreamBeginCapture(queue->stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess)
        return false;
    queue->recording = (int)(found - queue->recordings);
    return false;
}

static void recorded(const lks_compute *compute)
{
    lks_queue *queue = compute->queue;
    if (queue->recording < 0)
        return;
    lks_recording *r = &queue->recordings[queue->recording];
    queue->recording = -1;
    cudaGraph_t graph = NULL;
    cudaError_t error = cudaStreamEndCapture(queue->stream, &graph);
    if (error == cudaSuccess)
        error = cudaGraphInstantiate(&r->graph, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    if (error == cudaSuccess)
        error = cudaGraphLaunch(r->graph, queue->stream);
    lks_queue_note(queue, error, "recording work");
}

/* ---- the module ---- */

static lks_ops make_ops(void)
{
    lks_ops ops;
    memset(&ops, 0, sizeof ops); /* what is for the host stays NULL */
    ops.isa = LKS_ISA_CUDA;
    ops.name = "cuda";
    ops.arena_open = arena_open;
    ops.arena_close = arena_close;
    ops.upload = upload;
    ops.stage = stage;
    ops.download = download;
    ops.sync = sync;
    ops.record = record;
    ops.recorded = recorded;
    ops.copy = lks_cuda_copy;
    ops.linear = lks_cuda_linear;
    ops.linear_int8 = lks_cuda_linear_int8;
    ops.linear_bf16 = lks_cuda_linear_bf16;
    ops.linear_int4 = lks_cuda_linear_int4;
    ops.linear_rounded = lks_cuda_linear_rounded;
    ops.linear_top = lks_cuda_linear_top;
    ops.attention = lks_cuda_attention;
    ops.layer_norm = lks_cuda_layer_norm;
    ops.rms_norm = lks_cuda_rms_norm;
    ops.conv2d = lks_cuda_conv2d;
    ops.depthwise_conv2d = lks_cuda_depthwise_conv2d;
    ops.block_fits = lks_cuda_block_fits;
    ops.block = lks_cuda_block;
    ops.embed = lks_cuda_embed;
    ops.patches = lks_cuda_patches;
    ops.resample = lks_cuda_resample;
    ops.activate = lks_cuda_activate;
    ops.add_scaled = lks_cuda_add_scaled;
    ops.gated = lks_cuda_gated;
    ops.mean = lks_cuda_mean;
    ops.add_outer = lks_cuda_add_outer;
    ops.inverse_deviation = lks_cuda_inverse_deviation;
    ops.round_bf16 = lks_cuda_round_bf16;
    ops.softmax = lks_cuda_softmax;
    ops.log_softmax = lks_cuda_log_softmax;
    ops.log_sum_exp = lks_cuda_log_sum_exp;
    ops.top_k = lks_cuda_top_k;
    return ops;
}

static const lks_ops cuda_ops = make_ops();

/* Named by LKS_DEVICE_MODULE_SYMBOL; filled before dlopen returns, constant afterwards. */
extern "C" __attribute__((visibility("default"))) const lks_device_module lks_cuda_module = {LKS_DEVICE_MODULE_VERSION,
                                                                                             sizeof(lks_ops),
                                                                                             &cuda_ops,
                                                                                             describe,
                                                                                             open_device,
                                                                                             close_device,
                                                                                             expect,
                                                                                             mirror,
                                                                                             open_queue,
                                                                                             close_queue,
                                                                                             lks_cuda_roofline};
