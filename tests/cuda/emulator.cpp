/* Runs the kernels of fusion/cuda on the host, so that their arithmetic of indices can be checked where there is no GPU.
 *
 * Every thread of a block is a fiber. It runs until it has to wait for others, at a barrier or an exchange within its warp. What
 * nothing orders between two such places ends the program, as do reads of what was never written (accesses.h), and lanes that miss an
 * exchange or wait for something else. Device memory may not be touched by the host: it is out of reach but for the time of a launch
 * or copy, with a page out of reach behind it, and begins as NaN, as shared memory does. Work is done when it is queued; captured
 * work is kept and done by every launch of its graph.
 *
 * What it does not show: speed, limits of registers and shared memory, caches, the rounding of a GPU's own functions, cuBLASLt. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <mutex>
#include <vector>

#include "tests/cuda/accesses.h"
#include "tests/cuda/shim/cuda_runtime.h"

dim3 threadIdx, blockIdx, blockDim, gridDim;

static void give_up(const char *what)
{
    fprintf(stderr, "emulated GPU: %s (block %u %u %u, thread %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z,
            threadIdx.x);
    abort();
}

/* ---- threads of a block ---- */

constexpr size_t STACK_BYTES = 64 << 10;
constexpr int WARP = 32, MAX_THREADS = 1024, SLOT = 64;
constexpr size_t MAX_SHARED = 48 << 10; /* what every GPU gives without being asked */

enum fiber_state { READY, AT_BARRIER, AT_EXCHANGE, DONE };

/* A copy of 16 bytes into shared memory that has begun. */
struct copy {
    void *to;
    const void *from;
    size_t n_bytes;
};

struct fiber {
    jmp_buf where;
    ucontext_t start;
    bool started, waited; /* waited: for the kernel before */
    fiber_state state;
    unsigned n_exchanges, n_warp_barriers;
    std::vector<copy> copies;
};

struct warp {
    unsigned char slots[2][WARP][SLOT]; /* by turns: a lane may be one exchange ahead */
    int n_waiting;
};

static std::mutex one_launch;
static fiber *fibers[MAX_THREADS];
static warp warps[MAX_THREADS / WARP];
static jmp_buf scheduler;
static const std::function<void()> *program;
static unsigned char *shared_memory;
static size_t shared_bytes;
static int running, n_threads, n_at_barrier, n_done;

static void run_fiber()
{
    for (;;) {
        (*program)();
        fibers[running]->state = DONE;
        n_done++;
        if (!_setjmp(fibers[running]->where))
            _longjmp(scheduler, 1);
    }
}

static void resume(int thread)
{
    running = thread;
    threadIdx = dim3((unsigned)thread);
    fiber *f = fibers[thread];
    lks_accesses_run(thread, f->n_warp_barriers, f->waited);
    if (_setjmp(scheduler))
        return;
    if (f->started)
        _longjmp(f->where, 1);
    f->started = true;
    setcontext(&f->start);
}

static void wait_as(fiber_state state)
{
    fiber *f = fibers[running];
    f->state = state;
    if (!_setjmp(f->where))
        _longjmp(scheduler, 1);
}

static void open_barrier()
{
    if (n_at_barrier == 0 || n_at_barrier + n_done < n_threads)
        return;
    for (int i = 0; i < n_threads; i++)
        if (fibers[i]->state == AT_BARRIER) {
            fibers[i]->state = READY;
            fibers[i]->n_warp_barriers = 0;
        }
    n_at_barrier = 0;
    lks_accesses_barrier();
}

void __syncthreads()
{
    n_at_barrier++;
    wait_as(AT_BARRIER);
}

const unsigned char *lks_emulated_exchange(const void *value, size_t size, size_t *stride)
{
    if (size > SLOT)
        give_up("an exchange of too many bytes");
    int me = running, first = me / WARP * WARP;
    warp *w = &warps[me / WARP];
    unsigned turn = fibers[me]->n_exchanges++ % 2;
    memcpy(w->slots[turn][me % WARP], value, size);
    *stride = SLOT;
    if (++w->n_waiting < WARP) {
        wait_as(AT_EXCHANGE);
    } else {
        w->n_waiting = 0;
        for (int i = first; i < first + WARP; i++)
            if (fibers[i]->state == AT_EXCHANGE)
                fibers[i]->state = READY;
    }
    return w->slots[turn][0];
}

void __syncwarp()
{
    size_t stride;
    char nothing = 0;
    lks_emulated_exchange(&nothing, sizeof nothing, &stride);
    fiber *f = fibers[running];
    if (++f->n_warp_barriers > UINT16_MAX)
        give_up("more barriers of a warp than are counted");
    lks_accesses_run(running, f->n_warp_barriers, f->waited);
}

void lks_emulated_wait_for_previous()
{
    fiber *f = fibers[running];
    f->waited = true;
    lks_accesses_run(running, f->n_warp_barriers, true);
}

void *lks_emulated_shared()
{
    return shared_memory;
}

static void check_sixteen(const void *in_shared)
{
    const unsigned char *at = (const unsigned char *)in_shared;
    if (at < shared_memory || at + 16 > shared_memory + shared_bytes || (uintptr_t)at % 16 != 0)
        give_up("16 bytes that are not in shared memory, or not at a multiple of 16");
}

void lks_emulated_copy_async(void *to, const void *from, size_t n_bytes)
{
    check_sixteen(to);
    if ((uintptr_t)from % 16 != 0)
        give_up("a copy from an address that is no multiple of 16");
    lks_accesses_read(from, n_bytes, __builtin_return_address(0));
    lks_accesses_write(to, 16, __builtin_return_address(0));
    memset(to, 0xFF, 16);
    fibers[running]->copies.push_back({to, from, n_bytes});
}

void lks_emulated_copies_wait()
{
    for (const copy &c : fibers[running]->copies) {
        lks_accesses_write(c.to, 16, __builtin_return_address(0));
        memset(c.to, 0, 16);
        memcpy(c.to, c.from, c.n_bytes);
    }
    fibers[running]->copies.clear();
}

static void make_fibers(int n)
{
    for (int i = 0; i < n; i++) {
        if (fibers[i])
            continue;
        fibers[i] = new fiber();
        getcontext(&fibers[i]->start);
        fibers[i]->start.uc_stack.ss_sp =
            mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        fibers[i]->start.uc_stack.ss_size = STACK_BYTES;
        makecontext(&fibers[i]->start, run_fiber, 0);
    }
}

static void run_block(size_t shared, bool chained)
{
    if (shared)
        memset(shared_memory, 0xFF, shared);
    lks_accesses_block(shared_memory, shared);
    n_at_barrier = n_done = 0;
    for (int i = 0; i < n_threads; i++) {
        fibers[i]->state = READY;
        fibers[i]->n_exchanges = fibers[i]->n_warp_barriers = 0;
        fibers[i]->waited = !chained;
        fibers[i]->copies.clear();
    }
    for (int i = 0; i < n_threads / WARP; i++)
        warps[i].n_waiting = 0;
    while (n_done < n_threads) {
        bool any = false;
        for (int i = 0; i < n_threads; i++) {
            if (fibers[i]->state != READY)
                continue;
            any = true;
            resume(i);
        }
        open_barrier();
        if (!any && n_done < n_threads) {
            bool woken = false;
            for (int i = 0; i < n_threads; i++)
                woken |= fibers[i]->state == READY;
            if (!woken)
                give_up("threads wait for each other for ever: some left a warp, or stand at different barriers");
        }
    }
}

/* ---- device memory ---- */

struct region {
    unsigned char *begin, *given;
    size_t size, asked;
};

static std::vector<region> regions;
static size_t bytes_in_use;

static size_t page()
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void reach(int protection)
{
    for (const region &r : regions)
        mprotect(r.begin, r.size, protection);
}

/* Holds device memory within reach, for one thread at a time. */
struct within_reach {
    std::lock_guard<std::mutex> lock;
    within_reach() : lock(one_launch)
    {
        reach(PROT_READ | PROT_WRITE);
    }
    ~within_reach()
    {
        reach(PROT_NONE);
    }
};

static size_t memory_bytes()
{
    const char *given = getenv("LOOKSAY_EMULATED_MEMORY");
    return given ? (size_t)strtoull(given, NULL, 10) : (size_t)8 << 30;
}

static thread_local cudaError_t last_error;

static cudaError_t failed(cudaError_t error)
{
    last_error = error;
    return error;
}

cudaError_t cudaMalloc(void **out, size_t n_bytes)
{
    constexpr size_t ALIGNMENT = 256, MAX_FILLED = (size_t)32 << 20;
    std::lock_guard<std::mutex> lock(one_launch);
    if (bytes_in_use + n_bytes > memory_bytes())
        return failed(cudaErrorMemoryAllocation);
    size_t rounded = (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, size = (rounded + page() - 1) / page() * page();
    void *begin = mmap(NULL, size + page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (begin == MAP_FAILED)
        return failed(cudaErrorMemoryAllocation);
    region r = {(unsigned char *)begin, (unsigned char *)begin + size - rounded, size, n_bytes};
    if (n_bytes <= MAX_FILLED) {
        mprotect(r.begin, r.size, PROT_READ | PROT_WRITE);
        memset(r.begin, 0xFF, r.size);
        mprotect(r.begin, r.size, PROT_NONE);
    }
    regions.push_back(r);
    lks_accesses_watch(r.given, n_bytes);
    bytes_in_use += n_bytes;
    *out = r.given;
    return cudaSuccess;
}

cudaError_t cudaFree(void *memory)
{
    std::lock_guard<std::mutex> lock(one_launch);
    for (size_t i = 0; memory && i < regions.size(); i++)
        if (regions[i].given == memory) {
            bytes_in_use -= regions[i].asked;
            lks_accesses_forget(memory);
            munmap(regions[i].begin, regions[i].size + page());
            regions.erase(regions.begin() + (long)i);
            return cudaSuccess;
        }
    return memory ? failed(cudaErrorInvalidValue) : cudaSuccess;
}

cudaError_t cudaMallocHost(void **out, size_t n_bytes)
{
    *out = malloc(n_bytes);
    return *out ? cudaSuccess : failed(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *memory)
{
    free(memory);
    return cudaSuccess;
}

/* ---- streams and graphs ---- */

struct emulated_graph {
    std::vector<std::function<void()>> work;
};

struct emulated_stream {
    emulated_graph *capture; /* NULL: none */
    bool broken;             /* something that cannot be captured came in */
};

static void run_grid(bool chained, dim3 grid, dim3 block, size_t shared, const std::function<void()> &thread)
{
    if (block.y != 1 || block.z != 1 || block.x % WARP != 0 || block.x > MAX_THREADS || grid.y > 65535 ||
        grid.z > 65535 || shared > MAX_SHARED)
        give_up("a launch that no GPU takes");
    program = &thread;
    n_threads = (int)block.x;
    blockDim = block;
    gridDim = grid;
    make_fibers(n_threads);
    shared_memory = (unsigned char *)malloc(shared ? shared : 1);
    shared_bytes = shared;
    lks_accesses_launch();
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = dim3(x, y, z);
                run_block(shared, chained);
            }
    lks_accesses_run(LKS_NO_THREAD, 0, true);
    lks_accesses_block(NULL, 0);
    free(shared_memory);
}

void lks_emulate_work(cudaStream_t stream, std::function<void()> work)
{
    if (stream->capture) {
        stream->capture->work.push_back(work);
        return;
    }
    within_reach here;
    lks_accesses_launch();
    work();
}

void lks_emulate(cudaStream_t stream, bool chained, dim3 grid, dim3 block, size_t shared, std::function<void()> thread)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
        failed(cudaErrorInvalidValue);
        return;
    }
    lks_emulate_work(stream, [=]() { run_grid(chained, grid, block, shared, thread); });
}

static bool capturing(cudaStream_t stream)
{
    if (stream->capture)
        stream->broken = true;
    return stream->capture != NULL;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags)
{
    (void)flags;
    *out = new emulated_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    std::lock_guard<std::mutex> lock(one_launch);
    lks_accesses_synchronised();
    return capturing(stream) ? failed(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n_bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    (void)kind;
    if (capturing(stream))
        return failed(cudaErrorStreamCaptureUnsupported);
    lks_emulate_work(stream, [=]() {
        memmove(to, from, n_bytes);
        lks_accesses_write(to, n_bytes, NULL);
    });
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    (void)mode;
    if (stream->capture)
        return failed(cudaErrorInvalidValue);
    stream->capture = new emulated_graph();
    stream->broken = false;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    emulated_graph *graph = stream->capture;
    stream->capture = NULL;
    if (!graph || stream->broken) {
        delete graph;
        *out = NULL;
        return failed(cudaErrorStreamCaptureUnsupported);
    }
    *out = graph;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *out = new emulated_graph(*graph);
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream)
{
    if (capturing(stream))
        return failed(cudaErrorStreamCaptureUnsupported);
    within_reach here;
    for (const std::function<void()> &work : graph->work) {
        lks_accesses_launch();
        work();
    }
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned flags)
{
    (void)flags;
    *out = new int(0);
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)event;
    return capturing(stream) ? failed(cudaErrorStreamCaptureUnsupported) : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaSuccess;
}

/* ---- devices and errors ---- */

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    default:
        return "emulated failure";
    }
}

cudaError_t cudaGetLastError()
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

/* LOOKSAY_EMULATED_GPU is a compute capability such as 7.5, or "none", or "no-driver". */
static const char *asked_for()
{
    const char *given = getenv("LOOKSAY_EMULATED_GPU");
    return given ? given : "9.0";
}

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = 0;
    if (strcmp(asked_for(), "none") == 0)
        return failed(cudaErrorNoDevice);
    if (strcmp(asked_for(), "no-driver") == 0)
        return failed(cudaErrorInsufficientDriver);
    *n = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    (void)device;
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "emulated GPU");
    properties->totalGlobalMem = memory_bytes();
    properties->major = asked_for()[0] - '0';
    properties->minor = asked_for()[2] - '0';
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : failed(cudaErrorInvalidValue);
}

/* ---- tensor cores ---- */

/* What every lane gives to a product, in the order of its registers. */
struct fragments {
    unsigned a[4], b[2];
};

void lks_emulated_load_matrices(unsigned to[4], const void *row, bool turned)
{
    check_sixteen(row);
    lks_accesses_read(row, 16, __builtin_return_address(0));
    size_t stride;
    const unsigned char *all = lks_emulated_exchange(row, 16, &stride);
    int lane = (int)threadIdx.x % WARP, group = lane / 4, place = lane % 4;
    for (int matrix = 0; matrix < 4; matrix++) {
        uint16_t pair[2];
        for (int k = 0; k < 2; k++) {
            int y = turned ? 2 * place + k : group, x = turned ? group : 2 * place + k;
            memcpy(&pair[k], all + (size_t)(matrix * 8 + y) * stride + (size_t)x * sizeof pair[k], sizeof pair[k]);
        }
        to[matrix] = (unsigned)pair[0] | (unsigned)pair[1] << 16;
    }
}

static float half_of(unsigned pair, int which)
{
    return __uint_as_float(which ? pair & 0xFFFF0000u : pair << 16);
}

void lks_emulated_mma_bf16(float c[4], const unsigned a[4], const unsigned b[2])
{
    fragments own;
    memcpy(own.a, a, sizeof own.a);
    memcpy(own.b, b, sizeof own.b);
    size_t stride;
    const unsigned char *all = lks_emulated_exchange(&own, sizeof own, &stride);
    int lane = (int)threadIdx.x % WARP, group = lane / 4, place = lane % 4;
    for (int r = 0; r < 4; r++) {
        int row = group + (r < 2 ? 0 : 8), column = 2 * place + r % 2;
        float sum = 0.0f;
        for (int k = 0; k < 16; k++) {
            /* A: row and row + 8 alternate, k and k + 8 are two registers apart; B: k and k + 8 are one apart. */
            const fragments *left = (const fragments *)(all + (size_t)(row % 8 * 4 + k % 8 / 2) * stride);
            const fragments *right = (const fragments *)(all + (size_t)(column * 4 + k % 8 / 2) * stride);
            sum += half_of(left->a[(row >= 8) + 2 * (k >= 8)], k % 2) * half_of(right->b[k >= 8], k % 2);
        }
        c[r] += sum;
    }
}
