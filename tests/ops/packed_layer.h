/* What the tests of packed layers (int8, int4, bf16) share: shapes, strides, activations, residuals, threads and batches against the
 * reference, and the distance from f32. */
#ifndef LKS_PACKED_LAYER_H
#define LKS_PACKED_LAYER_H

#include "tests/ops/ops_test.h"

typedef struct layer_case {
    int n, d_in, d_out;
    int extra_stride;
    lks_activation activation;
    bool bias, residual, in_place;
    float scale, offset; /* of the inputs */
} layer_case;

typedef void linear_function(const lks_compute *compute, const lks_linear *layer, const lks_linear_args *args);

/* The precision that a test is about: every test program defines its own. */
typedef struct packed_format {
    /* Points the layer at weights w [d_out, d_in], packed into new memory: release frees it. Where threads may pack ranges of
     * channels, 0..half is one and half..d_out the other. */
    void (*pack)(lks_linear *layer, const float *w, int half);
    void (*release)(lks_linear *layer);
    double (*tolerance)(const layer_case *c); /* of assert_close, against the reference */
    double least_share, most_share;           /* of the outputs' size that the distance from f32 is, for 512 inputs */
    linear_function *const *emulated;         /* what the state EMULATED runs; NULL: nothing */
} packed_format;
extern const packed_format tested_format;

/* A layer with random biases, packed. */
typedef struct packed_layer {
    lks_linear layer;
    float *bias;
} packed_layer;
packed_layer layer_pack(const float *w, int d_in, int d_out, bool with_bias);
void layer_release(packed_layer *p);

/* The state of a test is an instruction set, or EMULATED: the AVX-VNNI kernels with their one special instruction written out,
 * so that they are tested on every machine with AVX2. */
#define EMULATED LKS_ISA_COUNT
/* Opens the table that a state means, and returns what runs a layer with it; skips the running test where there is none. */
linear_function *layer_bench_open(bench *b, lks_isa isa, int n_threads);

/* The outputs of a layer without biases are these sums of products to the last bit; x [n, d_in], w [d_out, d_in]. */
void layer_assert_exact(const bench *b, linear_function *function, const float *w, const float *x, int n, int d_in,
                        int d_out);

enum { STRANGE_INPUTS = 37, STRANGE_OUTPUTS = 66 };
/* A row of zeros gives the biases. `spoil` puts what it likes into the other rows of x [n, STRANGE_INPUTS], `look` sees the
 * outputs [n, STRANGE_OUTPUTS]. */
void layer_assert_strange(void **state, int n, void (*spoil)(float *x), void (*look)(const float *y));

/* Tests: */
void layer_shapes(void **state);
void layer_large(void **state);
void layer_options(void **state);
void layer_close_to_f32(void **state);
void layer_batch_independence(void **state);

#endif
