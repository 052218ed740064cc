/* What the emulated GPU finds in kernels (accesses.h), each kind of offence beside the same kernel without it. */
#include "fusion/cuda/mma.cuh"

extern "C" {
#include <sys/wait.h>
#include <unistd.h>

#include "tests/cuda/device_test.h"
}

static constexpr int THREADS = 64, BLOCKS = 2, NUMBERS = THREADS * BLOCKS;

static float *own_part(float *x)
{
    return x + blockIdx.x * THREADS;
}

/* The threads of a block turn round what they hold. */
template <bool RIGHT> static void turn_round(float *x)
{
    LKS_SHARED(float, shared);
    lks_begin();
    float *mine = own_part(x);
    shared[threadIdx.x] = mine[threadIdx.x];
    if (RIGHT)
        __syncthreads();
    mine[threadIdx.x] = shared[THREADS - 1 - threadIdx.x];
}

/* What others have read is overwritten. */
template <bool RIGHT> static void overwrite(float *x)
{
    LKS_SHARED(float, shared);
    lks_begin();
    shared[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    float sum = shared[0] + shared[THREADS - 1];
    if (RIGHT)
        __syncthreads();
    shared[threadIdx.x] = sum;
}

/* Lanes exchange by shared memory; a shuffle between orders nothing. */
template <bool RIGHT> static void exchange(float *x)
{
    LKS_SHARED(float, shared);
    lks_begin();
    float *mine = own_part(x);
    shared[threadIdx.x] = mine[threadIdx.x];
    float other = __shfl_xor_sync(LKS_WHOLE_WARP, mine[threadIdx.x], 1);
    if (RIGHT)
        __syncwarp();
    mine[threadIdx.x] = shared[threadIdx.x ^ 1] + other;
}

/* A warp's barrier orders nothing for other warps. */
template <bool RIGHT> static void of_one_warp(float *x)
{
    LKS_SHARED(float, shared);
    lks_begin();
    shared[threadIdx.x] = 1.0f;
    __syncwarp();
    own_part(x)[threadIdx.x] = shared[RIGHT ? threadIdx.x ^ 1 : threadIdx.x ^ LKS_WARP];
}

/* Blocks write in places of their own, or not. */
template <bool RIGHT> static void of_one_block(float *x)
{
    lks_begin();
    (RIGHT ? own_part(x) : x)[threadIdx.x] = 1.0f;
}

/* A block reads what another one writes. */
template <bool RIGHT> static void of_another_block(float *x)
{
    lks_begin();
    own_part(x)[threadIdx.x] = (RIGHT ? own_part(x) : x)[threadIdx.x] + 1.0f;
}

/* x is written as far as NUMBERS. */
template <bool RIGHT> static void of_device_memory(float *x)
{
    lks_begin();
    if (x[RIGHT ? NUMBERS - 1 : NUMBERS] > 2.0f)
        own_part(x)[threadIdx.x] = 1.0f;
}

template <bool RIGHT> static void of_shared_memory(float *x)
{
    LKS_SHARED(float, shared);
    lks_begin();
    if (RIGHT || threadIdx.x > 0)
        shared[threadIdx.x] = 1.0f;
    __syncthreads();
    if (shared[0] > 2.0f)
        own_part(x)[threadIdx.x] = 1.0f;
}

/* Copies land when they are waited for, and are there for others behind a barrier. */
template <bool RIGHT> static void copy_over(float *x)
{
    LKS_SHARED(uint16_t, shared);
    lks_begin();
    lks_copy_async(shared + 8 * threadIdx.x, x, false);
    lks_copies_wait();
    if (RIGHT)
        __syncthreads();
    unsigned matrices[4];
    lks_load_matrices<false>(matrices, shared + 8 * (threadIdx.x ^ 1));
    if (blockIdx.x > 0)
        own_part(x)[threadIdx.x] = __uint_as_float(matrices[0]);
}

/* x was written by the launch before. */
template <bool RIGHT> static void read_early(float *x)
{
    lks_let_next_start();
    if (RIGHT)
        lks_wait_for_previous();
    float y = own_part(x)[threadIdx.x];
    if (!RIGHT)
        lks_wait_for_previous();
    own_part(x)[threadIdx.x] = y + 1.0f;
}

template <bool RIGHT> static void write_early(float *x)
{
    lks_let_next_start();
    if (RIGHT)
        lks_wait_for_previous();
    own_part(x)[threadIdx.x] = 1.0f;
}

typedef void kernel(float *x);

static void launch(kernel *program)
{
    cudaStream_t stream;
    float *x, ones[NUMBERS];
    for (float &one : ones)
        one = 1.0f;
    assert_int_equal(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaMalloc((void **)&x, (NUMBERS + 1) * sizeof *x), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(x, ones, sizeof ones, cudaMemcpyHostToDevice, stream), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    lks_launch_on(stream, false, of_one_block<true>, dim3(BLOCKS), dim3(THREADS), 0, x);
    lks_launch_on(stream, true, program, dim3(BLOCKS), dim3(THREADS), 2048, x);
    assert_int_equal(cudaStreamSynchronize(stream), cudaSuccess);
    assert_int_equal(cudaFree(x), cudaSuccess);
    assert_int_equal(cudaStreamDestroy(stream), cudaSuccess);
}

/* In a process of its own, which the emulated GPU ends: how it ended, and the first bytes of what it said. */
static int launch_apart(kernel *program, char *said, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        launch(program);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < size - 1; n += (size_t)got) {
        got = read(ends[0], said + n, size - 1 - n);
        assert_true(got >= 0);
    }
    said[n] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

typedef struct offence {
    const char *name, *message;
    kernel *right, *wrong;
} offence;

#define OFFENCE(kernel, message)                                                                                       \
    {                                                                                                                  \
#kernel, message, kernel < true>, kernel < false>                                                              \
    }
static const char unordered[] = "nothing orders two accesses", unwritten[] = "nobody has written yet";
static const offence offences[] = {
    OFFENCE(turn_round, unwritten),
    OFFENCE(overwrite, unordered),
    OFFENCE(exchange, unordered),
    OFFENCE(of_one_warp, unwritten),
    OFFENCE(of_one_block, unordered),
    OFFENCE(of_another_block, unordered),
    OFFENCE(copy_over, unwritten),
    OFFENCE(of_device_memory, unwritten),
    OFFENCE(of_shared_memory, unwritten),
    OFFENCE(read_early, "reads what the one before it may still write"),
    OFFENCE(write_early, "writes before it waits"),
};

static void offences_are_found(void **state)
{
    (void)state;
    for (const offence &o : offences) {
        char said[4096];
        if (launch_apart(o.right, said, sizeof said) != 0)
            fail_msg("%s, without its fault: %s", o.name, said);
        int status = launch_apart(o.wrong, said, sizeof said);
        if (!WIFSIGNALED(status) || !strstr(said, o.message) || !strstr(said, "thread"))
            fail_msg("%s, with its fault: status %d, %s", o.name, status, said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(offences_are_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
