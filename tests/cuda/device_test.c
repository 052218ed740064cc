/* See device_test.h. */
#include "tests/cuda/device_test.h"

enum { SKIPPED = 77 };
#define ROOM_BYTES ((size_t)48 << 20)
#define WEIGHT_BYTES ((size_t)16 << 20)

static lks_device_info info;

void device_need(void)
{
    lks_error err;
    lks_status st = lks_device_describe(&info, &err);
    if (st != LKS_OK) {
        printf("skipped: %s\n", err.message);
        exit(SKIPPED);
    }
    printf("on %s, compute capability %d.%d\n", info.name, info.major, info.minor);
}

bool device_takes(lks_precision precision)
{
    return precision != LKS_PRECISION_BF16 || info.major >= 8;
}

void device_need_bf16(void)
{
    device_need();
    if (!device_takes(LKS_PRECISION_BF16)) {
        printf("skipped: it computes no bf16\n");
        exit(SKIPPED);
    }
}

static void ok(lks_status st, const lks_error *err)
{
    if (st != LKS_OK)
        fail_msg("%s", err->message);
}

void device_open(device_bench *b)
{
    lks_error err = {.message = ""};
    *b = (device_bench){0};
    ok(lks_device_open(&b->device, &err), &err);
    ok(lks_queue_open(&b->queue, b->device, &err), &err);
    b->compute = (lks_compute){.ops = lks_device_ops(b->device), .scratch = &b->room, .queue = b->queue};
    ok(lks_arena_init(&b->weights, WEIGHT_BYTES, &err), &err);
    ok(b->compute.ops->arena_open(&b->compute, &b->room, ROOM_BYTES, &err), &err);
    ok(lks_arena_init(&b->scratch, lks_ops_scratch(1, 2048, 512, 4096), &err), &err);
    b->reference = (lks_compute){.ops = lks_ops_get(LKS_ISA_REF), .scratch = &b->scratch};
}

void device_close(device_bench *b)
{
    lks_error err = {.message = ""};
    ok(b->compute.ops->sync(&b->compute, &err), &err);
    b->compute.ops->arena_close(&b->compute, &b->room);
    lks_queue_close(b->queue);
    lks_device_close(b->device);
    lks_arena_release(&b->weights);
    lks_arena_release(&b->scratch);
}

void *device_put(device_bench *b, const void *host, size_t n_bytes)
{
    void *memory = lks_arena_take(&b->room, n_bytes ? n_bytes : 1, 1);
    assert_non_null(memory);
    if (host)
        b->compute.ops->upload(&b->compute, memory, host, n_bytes);
    return memory;
}

void device_reset(device_bench *b)
{
    lks_arena_reset(&b->room, 0);
}

void *device_get(device_bench *b, const void *memory, size_t n_bytes)
{
    lks_error err = {.message = ""};
    void *host = malloc(n_bytes ? n_bytes : 1);
    assert_non_null(host);
    b->compute.ops->download(&b->compute, host, memory, n_bytes);
    ok(b->compute.ops->sync(&b->compute, &err), &err);
    return host;
}

void device_assert_close(device_bench *b, const float *memory, const float *expected, size_t n, double tolerance,
                         const char *what)
{
    float *actual = device_get(b, memory, n * sizeof *actual);
    assert_close(actual, expected, n, tolerance, what);
    free(actual);
}

void *device_weight(device_bench *b, const void *bytes, size_t n_bytes)
{
    void *copy = lks_arena_take(&b->weights, n_bytes, 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n_bytes);
    return copy;
}

void device_mirror(device_bench *b, const lks_linear *layers, int n)
{
    lks_error err = {.message = ""};
    for (int i = 0; i < n; i++)
        ok(lks_device_expect(b->device, &layers[i], &err), &err);
    ok(lks_device_mirror(b->device, &b->weights, &err), &err);
}
