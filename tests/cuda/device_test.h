/* What the tests of a device share: the device with its queue beside the reference, and buffers that both can read. */
#ifndef LKS_DEVICE_TEST_H
#define LKS_DEVICE_TEST_H

#include "fusion/device.h"
#include "tests/ops/ops_test.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef struct device_bench {
    lks_device *device;
    lks_queue *queue;
    lks_arena weights; /* of the host; the device has a copy once device_mirror is called */
    lks_arena room;    /* of the device */
    lks_arena scratch; /* of the host, for the reference */
    lks_compute compute, reference;
} device_bench;

/* Ends the test program as skipped, and says why, where there is no device. To be called first. */
void device_need(void);
/* The same where it does not compute in bf16. */
void device_need_bf16(void);
/* Whether layers of that precision are for this device. After device_need. */
bool device_takes(lks_precision precision);

void device_open(device_bench *b);
void device_close(device_bench *b);

/* Device memory with the same bytes, or undefined ones for host NULL; of all tests until device_reset. */
void *device_put(device_bench *b, const void *host, size_t n_bytes);
void device_reset(device_bench *b);
/* The bytes as the host can read them; free() them. */
void *device_get(device_bench *b, const void *memory, size_t n_bytes);

/* Fails unless the device's numbers are close to those expected, as assert_close. */
void device_assert_close(device_bench *b, const float *memory, const float *expected, size_t n, double tolerance,
                         const char *what);

/* The host's address of a copy of the bytes among the weights. */
void *device_weight(device_bench *b, const void *bytes, size_t n_bytes);
/* Gives the device the weights so far, once per device_open; `layers` [n] are those of lks_device_expect. */
void device_mirror(device_bench *b, const lks_linear *layers, int n);

#endif
