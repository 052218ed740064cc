/* GGUF v3 writer: see gguf.h, and gguf.c for the layout. */
#include "fusion/weights/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion/weights/reader.h"

#define ALIGNMENT 64
#define ALIGNMENT_KEY "general.alignment"

enum { TYPE_U32 = 4, TYPE_STRING = 8 };

static const int tensor_types[LKS_DTYPE_COUNT] = {
    [LKS_F32] = 0, [LKS_F16] = 1,  [LKS_BF16] = 30, [LKS_F64] = 28, [LKS_I8] = 24,
    [LKS_U8] = -1, [LKS_I16] = 25, [LKS_I32] = 26,  [LKS_I64] = 27, [LKS_BOOL] = -1,
};

/* A file that becomes `path` when it is complete. */
typedef struct output {
    FILE *file;
    char *temporary;
    const char *path;
    uint64_t n_written;
    int failure; /* errno of the first write that failed; 0: none */
} output;

static void note_failure(output *out, bool failed)
{
    if (failed && !out->failure)
        out->failure = errno ? errno : EIO;
}

static void put(output *out, const void *data, size_t n)
{
    note_failure(out, n && fwrite(data, 1, n, out->file) != n);
    out->n_written += n;
}

static void put_u64(output *out, uint64_t value)
{
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    put(out, bytes, sizeof bytes);
}

static void put_u32(output *out, uint32_t value)
{
    unsigned char bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(value >> 8 * i);
    put(out, bytes, sizeof bytes);
}

static void put_text(output *out, const char *text, size_t n)
{
    put_u64(out, n);
    put(out, text, n);
}

static void put_padding(output *out)
{
    static const unsigned char zeros[ALIGNMENT];
    put(out, zeros, (size_t)(-out->n_written % ALIGNMENT));
}

static size_t tensor_bytes(const lks_tensor *tensor)
{
    return (size_t)lks_tensor_count(tensor) * lks_dtype_size(tensor->dtype);
}

void lks_gguf_name(char short_name[LKS_GGUF_MAX_NAME + 1], const char *name)
{
    enum { KEPT = LKS_GGUF_MAX_NAME - 17 };
    size_t n = strlen(name);
    if (n <= LKS_GGUF_MAX_NAME) {
        memcpy(short_name, name, n + 1);
        return;
    }
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)name[i]) * 0x100000001B3u;
    memcpy(short_name, name, KEPT);
    snprintf(short_name + KEPT, LKS_GGUF_MAX_NAME + 1 - KEPT, "~%016" PRIx64, hash);
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* names [n] get sorted; true when one appears twice. */
static bool has_twins(const char **names, size_t n)
{
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 1; i < n; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return true;
    return false;
}

static lks_status check_names(const lks_gguf_string *strings, size_t n_strings, const lks_tensor *tensors,
                              size_t n_tensors, const char *path, lks_error *err)
{
    size_t n = n_strings > n_tensors ? n_strings : n_tensors;
    const char **names = calloc(n + 1, sizeof *names);
    if (!names)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < n_strings; i++)
        names[i] = strings[i].key;
    names[n_strings] = ALIGNMENT_KEY;
    bool twins = has_twins(names, n_strings + 1);
    for (size_t i = 0; i < n_tensors; i++)
        names[i] = tensors[i].name;
    twins = has_twins(names, n_tensors) || twins;
    free(names);
    return twins ? lks_error_set(err, LKS_ERR_ARGUMENT, "%s: a key or tensor would appear twice", path) : LKS_OK;
}

static lks_status check_tensor(const lks_tensor *tensor, const char *path, lks_error *err)
{
    const char *reason = NULL;
    if (!*tensor->name || strlen(tensor->name) > LKS_GGUF_MAX_NAME)
        reason = "needs a name of 1 to 64 bytes";
    else if (tensor_types[tensor->dtype] < 0)
        reason = "has a type that GGUF cannot hold";
    else if (!lks_tensor_is_contiguous(tensor))
        reason = "is not contiguous";
    return reason ? lks_error_set(err, LKS_ERR_ARGUMENT, "%s: tensor '%.80s' %s", path, tensor->name, reason) : LKS_OK;
}

static lks_status check_input(const lks_gguf_string *strings, size_t n_strings, const lks_tensor *tensors,
                              size_t n_tensors, const char *path, lks_error *err)
{
    for (size_t i = 0; i < n_strings; i++)
        if (!*strings[i].key || strlen(strings[i].key) > 65535)
            return lks_error_set(err, LKS_ERR_ARGUMENT, "%s: a key is empty or too long", path);
    for (size_t i = 0; i < n_tensors; i++) {
        lks_status st = check_tensor(&tensors[i], path, err);
        if (st != LKS_OK)
            return st;
    }
    return check_names(strings, n_strings, tensors, n_tensors, path, err);
}

static void write_all(output *out, const lks_gguf_string *strings, size_t n_strings, const lks_tensor *tensors,
                      size_t n_tensors)
{
    put(out, "GGUF", 4);
    put_u32(out, 3);
    put_u64(out, n_tensors);
    put_u64(out, n_strings + 1);
    put_text(out, ALIGNMENT_KEY, strlen(ALIGNMENT_KEY));
    put_u32(out, TYPE_U32);
    put_u32(out, ALIGNMENT);
    for (size_t i = 0; i < n_strings; i++) {
        put_text(out, strings[i].key, strlen(strings[i].key));
        put_u32(out, TYPE_STRING);
        put_text(out, strings[i].value, strings[i].n);
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        const lks_tensor *tensor = &tensors[i];
        put_text(out, tensor->name, strlen(tensor->name));
        put_u32(out, (uint32_t)tensor->n_dims);
        for (int d = tensor->n_dims - 1; d >= 0; d--)
            put_u64(out, (uint64_t)tensor->shape[d]);
        put_u32(out, (uint32_t)tensor_types[tensor->dtype]);
        put_u64(out, offset);
        offset += (tensor_bytes(tensor) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    put_padding(out);
    for (size_t i = 0; i < n_tensors; i++) {
        put(out, tensors[i].data, tensor_bytes(&tensors[i]));
        put_padding(out);
    }
}

static lks_status system_error(const char *path, int number, lks_error *err)
{
    char text[128];
    return lks_error_set(err, LKS_ERR_IO, "%s: cannot be written: %s", path, strerror_r(number, text, sizeof text));
}

/* Creates a file beside `path` under a name that nobody else has. */
static lks_status open_output(output *out, const char *path, lks_error *err)
{
    size_t n = strlen(path) + 48;
    out->path = path;
    out->temporary = malloc(n);
    if (!out->temporary)
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    int fd = -1;
    for (int i = 0; i < 100 && fd < 0; i++) {
        snprintf(out->temporary, n, "%s.%ld-%d.tmp", path, (long)getpid(), i);
        fd = open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0)
        return system_error(path, errno, err);
    out->file = fdopen(fd, "wb");
    if (!out->file) {
        int number = errno;
        close(fd);
        unlink(out->temporary);
        return system_error(path, number, err);
    }
    return LKS_OK;
}

/* Asks that the new name survive a crash; where a file system cannot do that for folders, the file itself is safe anyway. */
static void sync_folder(const char *path)
{
    char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
    if (slash)
        slash[slash == folder] = '\0';
    int fd = folder ? open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

static lks_status finish_output(output *out, lks_error *err)
{
    note_failure(out, fflush(out->file) != 0);
    note_failure(out, fsync(fileno(out->file)) != 0);
    note_failure(out, fclose(out->file) != 0);
    if (!out->failure)
        note_failure(out, rename(out->temporary, out->path) != 0);
    if (out->failure) {
        unlink(out->temporary);
        return system_error(out->path, out->failure, err);
    }
    sync_folder(out->path);
    return LKS_OK;
}

lks_status lks_gguf_write(const char *path, const lks_gguf_string *strings, size_t n_strings, const lks_tensor *tensors,
                          size_t n_tensors, lks_error *err)
{
    lks_status st = check_input(strings, n_strings, tensors, n_tensors, path, err);
    if (st != LKS_OK)
        return st;
    output out = {0};
    st = open_output(&out, path, err);
    if (st == LKS_OK) {
        write_all(&out, strings, n_strings, tensors, n_tensors);
        st = finish_output(&out, err);
    }
    free(out.temporary);
    return st;
}
