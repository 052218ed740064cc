/* The reference table with linear layers by OpenBLAS, for CPUs that our kernels do not serve. The library is opened when
 * the table is first asked for, since it starts threads of its own and takes milliseconds to load. It computes on one
 * thread; our pool shares out blocks of columns, always the same ones. */
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#include "fusion/cpu/kernels.h"
#include "fusion/cpu/word_rows.h"

enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 }; /* of the CBLAS interface */
enum { BLOCK_ROWS = 96, BLOCK_COLUMNS = 256 };

typedef void sgemm_function(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                            const float *a, int a_stride, const float *b, int b_stride, float beta, float *c,
                            int c_stride);
typedef void set_threads_function(int n_threads);

/* Written once under `once`, constant afterwards. */
static sgemm_function *sgemm;
static lks_ops table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_library(void)
{
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    sgemm_function *multiply;
    set_threads_function *set_threads;
    *(void **)&multiply = dlsym(library, "cblas_sgemm");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    if (!multiply || !set_threads) {
        dlclose(library);
        return;
    }
    set_threads(1);
    sgemm = multiply;
}

typedef struct linear_job {
    const lks_linear *layer;
    const lks_linear_args *args;
} linear_job;

static void linear_block(const linear_job *job, int row, int n, int column, int n_columns)
{
    float sums[BLOCK_ROWS * BLOCK_COLUMNS];
    const lks_linear *layer = job->layer;
    const lks_linear_args *args = job->args;
    sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, n, n_columns, layer->d_in, 1.0f, args->x + row * args->x_stride,
          (int)args->x_stride, layer->packed + (size_t)column * (size_t)layer->d_in, layer->d_in, 0.0f, sums,
          BLOCK_COLUMNS);
    for (int i = 0; i < n; i++) {
        float *y = args->y + (row + i) * args->y_stride + column;
        for (int j = 0; j < n_columns; j++) {
            float sum = sums[i * BLOCK_COLUMNS + j] + (layer->bias ? layer->bias[column + j] : 0.0f);
            sum = lks_ref_activation(sum, args->activation);
            y[j] = args->residual ? sum + args->residual[(row + i) * args->residual_stride + column + j] : sum;
        }
    }
}

static void linear_part(void *argument, int thread, int n_threads)
{
    const linear_job *job = argument;
    long begin, end;
    lks_threads_share(job->layer->d_out, BLOCK_COLUMNS, thread, n_threads, &begin, &end);
    for (long column = begin; column < end; column += BLOCK_COLUMNS) {
        int n_columns = end - column < BLOCK_COLUMNS ? (int)(end - column) : BLOCK_COLUMNS;
        for (int row = 0; row < job->args->n; row += BLOCK_ROWS) {
            int n = job->args->n - row < BLOCK_ROWS ? job->args->n - row : BLOCK_ROWS;
            linear_block(job, row, n, (int)column, n_columns);
        }
    }
}

static void linear(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args)
{
    linear_job job = {.layer = layer, .args = args};
    lks_parallel(compute, (double)args->n * layer->d_in * layer->d_out / 8, linear_part, &job);
}

static void make_table(void)
{
    open_library();
    table = lks_ops_ref;
    table.isa = LKS_ISA_BLAS;
    table.name = "blas";
    table.linear = linear;
}

const lks_ops *lks_ops_blas(void)
{
    pthread_once(&once, make_table);
    return sgemm ? &table : NULL;
}
