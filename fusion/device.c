/* Finds the module that talks to a GPU: see device.h. It is searched where the program or library that holds this code is
 * installed, and nowhere else. */
#include "fusion/device.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion/cpu/kernels.h"

/* Written once under `once`, constant afterwards. */
static const lks_device_module *module;
static lks_ops ops;
static lks_error failure;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* The path of the module, "" where there is none. */
static void find(char *out, size_t n_out)
{
    static const char *const places[] = {LKS_MODULES, "looksay", "."};
    Dl_info self;
    out[0] = '\0';
    if (!dladdr(&once, &self) || !self.dli_fname)
        return;
    char folder[PATH_MAX];
    if (!realpath(self.dli_fname, folder)) {
        ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1); /* started by a name that is not a path */
        if (n <= 0)
            return;
        folder[n] = '\0';
    }
    char *slash = strrchr(folder, '/');
    if (!slash)
        return;
    *slash = '\0';
    for (size_t i = 0; i < sizeof places / sizeof *places && !out[0]; i++) {
        snprintf(out, n_out, "%s/%s/" LKS_DEVICE_MODULE, folder, places[i]);
        if (access(out, R_OK) != 0)
            out[0] = '\0';
    }
}

static void load(void)
{
    char path[PATH_MAX + 64];
    find(path, sizeof path);
    if (!path[0]) {
        lks_error_set(&failure, LKS_ERR_DEVICE,
                      "this build computes on no GPU: " LKS_DEVICE_MODULE
                      " is missing; build with NVIDIA's nvcc (CUDA 12 or later) in PATH, or use --device cpu");
        return;
    }
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        lks_error_set(&failure, LKS_ERR_DEVICE,
                      "%.300s; install the CUDA libraries that the module was built with, or use --device cpu",
                      dlerror());
        return;
    }
    const lks_device_module *found = dlsym(library, LKS_DEVICE_MODULE_SYMBOL);
    if (!found || found->version != LKS_DEVICE_MODULE_VERSION || found->ops_size != sizeof ops) {
        dlclose(library);
        lks_error_set(&failure, LKS_ERR_DEVICE,
                      "%s belongs to another version of the program; build both again, or use --device cpu", path);
        return;
    }
    ops = *found->ops;
    ops.host = &lks_ops_ref;
    ops.linear_packed_count = lks_ref_linear_packed_count;
    ops.linear_pack = lks_ref_linear_pack;
    ops.linear_unpack = lks_ref_linear_unpack;
    module = found;
}

static lks_status need(lks_error *err)
{
    pthread_once(&once, load);
    return module ? LKS_OK : lks_error_set(err, failure.status, "%s", failure.message);
}

lks_status lks_device_describe(lks_device_info *info, lks_error *err)
{
    lks_status st = need(err);
    return st == LKS_OK ? module->describe(info, err) : st;
}

lks_status lks_device_open(lks_device **out, lks_error *err)
{
    lks_status st = need(err);
    return st == LKS_OK ? module->open(out, err) : st;
}

void lks_device_close(lks_device *device)
{
    if (device)
        module->close(device);
}

const lks_ops *lks_device_ops(const lks_device *device)
{
    (void)device;
    return &ops;
}

lks_status lks_device_expect(lks_device *device, const lks_linear *layer, lks_error *err)
{
    return module->expect(device, layer, err);
}

lks_status lks_device_mirror(lks_device *device, const lks_arena *arena, lks_error *err)
{
    return module->mirror(device, arena, err);
}

lks_status lks_queue_open(lks_queue **out, lks_device *device, lks_error *err)
{
    return module->queue_open(out, device, err);
}

void lks_queue_close(lks_queue *queue)
{
    if (queue)
        module->queue_close(queue);
}

lks_status lks_device_measure(lks_roofline *out, const lks_compute *compute, lks_error *err)
{
    return module->measure(out, compute, err);
}
