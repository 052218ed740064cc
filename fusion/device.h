/* A GPU: finding it, giving it a copy of the weights, and the queues that sessions compute on.
 *
 * The code that talks to it is a module, looksay-cuda.so, that is loaded when a device is first asked for: a program without one
 * starts and runs where no driver is installed. lks_device is a GPU as one model sees it; its weights are where the model's arenas
 * say, and ops find the copy by that address. lks_queue is one session's work on it, done in the order it was queued. */
#ifndef LKS_DEVICE_H
#define LKS_DEVICE_H

#include "fusion/ops.h"
#include "fusion/roofline.h"

typedef struct lks_device lks_device;
typedef struct lks_queue lks_queue;

typedef struct lks_device_info {
    char name[128];
    int major, minor; /* compute capability */
    size_t memory_bytes;
} lks_device_info;

/* What the GPU is; otherwise LKS_ERR_DEVICE with the cause and the remedy. */
lks_status lks_device_describe(lks_device_info *info, lks_error *err);

lks_status lks_device_open(lks_device **out, lks_error *err);
void lks_device_close(lks_device *device); /* NULL is safe; its queues must be closed */
const lks_ops *lks_device_ops(const lks_device *device);

/* Notes a layer whose weights are in the arena that is mirrored next: below f32 they lie there otherwise than a device wants them. */
lks_status lks_device_expect(lks_device *device, const lks_linear *layer, lks_error *err);
/* Copies what the arena holds. It stays the device's until the device is closed, and the arena must not change. */
lks_status lks_device_mirror(lks_device *device, const lks_arena *arena, lks_error *err);

lks_status lks_queue_open(lks_queue **out, lks_device *device, lks_error *err);
void lks_queue_close(lks_queue *queue); /* NULL is safe */

/* What the device does at most: products of large matrices, and a copy within its memory, bytes read and written. Takes a second or
 * two and, as long, up to 3 GiB of it. bf16_gflops is 0 where it cannot be computed with. */
lks_status lks_device_measure(lks_roofline *out, const lks_compute *compute, lks_error *err);

/* What the module exports under LKS_DEVICE_MODULE_SYMBOL. Functions of the table that run on the host are NULL there. */
#define LKS_DEVICE_MODULE "looksay-cuda.so"
#define LKS_DEVICE_MODULE_SYMBOL "lks_cuda_module"
#define LKS_DEVICE_MODULE_VERSION 5

typedef struct lks_device_module {
    int version;
    size_t ops_size; /* sizeof(lks_ops): module and program belong together */
    const lks_ops *ops;
    lks_status (*describe)(lks_device_info *info, lks_error *err);
    lks_status (*open)(lks_device **out, lks_error *err);
    void (*close)(lks_device *device);
    lks_status (*expect)(lks_device *device, const lks_linear *layer, lks_error *err);
    lks_status (*mirror)(lks_device *device, const lks_arena *arena, lks_error *err);
    lks_status (*queue_open)(lks_queue **out, lks_device *device, lks_error *err);
    void (*queue_close)(lks_queue *queue);
    lks_status (*measure)(lks_roofline *out, const lks_compute *compute, lks_error *err);
} lks_device_module;

#endif
