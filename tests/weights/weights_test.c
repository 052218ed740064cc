/* See weights_test.h. */
#include "tests/weights/weights_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion/weights/file.h"
#include "fusion/weights/weights.h"

void put(bytes *b, const void *data, size_t n)
{
    if (n > b->capacity - b->n) {
        b->capacity = (b->n + n) * 2;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    if (n)
        memcpy(b->data + b->n, data, n);
    b->n += n;
}

void put_text(bytes *b, const char *text)
{
    put(b, text, strlen(text));
}

void put_le(bytes *b, uint64_t value, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)(value >> 8 * i);
        put(b, &byte, 1);
    }
}

void put_zeros(bytes *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, "", 1);
}

void clear(bytes *b)
{
    free(b->data);
    *b = (bytes){0};
}

bytes load(const char *path)
{
    char *data;
    bytes b = {0};
    lks_error err = {0};
    if (lks_file_read(&data, &b.n, path, 1 << 20, &err) != LKS_OK)
        fail_msg("%s", err.message);
    b.data = (unsigned char *)data;
    b.capacity = b.n + 1;
    return b;
}

/* Reads all of every tensor. */
static void touch(const lks_weight_list *list, size_t n_file)
{
    for (size_t i = 0; i < list->n_tensors; i++) {
        const lks_tensor *tensor = &list->tensors[i];
        size_t count = (size_t)lks_tensor_count(tensor);
        assert_true(count <= n_file); /* no tensor is larger than the file it came from */
        float *values = calloc(count + 1, sizeof *values);
        assert_non_null(values);
        lks_tensor_to_f32(values, tensor);
        free(values);
        lks_weights_check_finite(tensor, NULL);
    }
}

lks_status read_copy(weight_reader reader, const unsigned char *data, size_t n, lks_error *err)
{
    unsigned char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, data, n);
    const lks_weight_source in = {copy, n, "some.file"};
    lks_weight_list list = {0};
    *err = (lks_error){0};
    lks_status st = reader(&list, &in, err);
    if (st == LKS_OK)
        touch(&list, n);
    lks_weight_list_release(&list);
    free(copy);
    assert_true(st == LKS_OK || (err->status == st && strncmp(err->message, "some.file: ", 11) == 0));
    return st;
}

void check_refused(weight_reader reader, bytes *b, const char *needle, const char *file, int line)
{
    lks_error err;
    lks_status st = read_copy(reader, b->data, b->n, &err);
    clear(b);
    if (st == LKS_OK || !strstr(err.message, needle)) {
        print_error("expected '%s', got '%s'\n", needle, st == LKS_OK ? "success" : err.message);
        _fail(file, line);
    }
}

void check_accepted(weight_reader reader, bytes *b, const char *file, int line)
{
    lks_error err;
    lks_status st = read_copy(reader, b->data, b->n, &err);
    clear(b);
    if (st != LKS_OK) {
        print_error("%s\n", err.message);
        _fail(file, line);
    }
}

void check_truncations(weight_reader reader, const bytes *b, size_t n_needed)
{
    lks_error err;
    for (size_t n = 0; n < n_needed; n++)
        if (read_copy(reader, b->data, n, &err) == LKS_OK)
            fail_msg("accepted the first %zu of %zu bytes", n, b->n);
    assert_int_equal(read_copy(reader, b->data, b->n, &err), LKS_OK);
}

void check_flips(weight_reader reader, const bytes *b)
{
    lks_error err;
    for (size_t bit = 0; bit < 8 * b->n; bit++) {
        unsigned char mask = (unsigned char)(1 << bit % 8);
        b->data[bit / 8] ^= mask;
        read_copy(reader, b->data, b->n, &err);
        b->data[bit / 8] ^= mask;
    }
}

char *make_folder(void)
{
    const char *base = getenv("TMPDIR");
    char *folder = malloc(512);
    assert_non_null(folder);
    snprintf(folder, 512, "%s/looksay-weights-XXXXXX", base && *base ? base : P_tmpdir);
    assert_non_null(mkdtemp(folder));
    return folder;
}

void remove_folder(char *folder)
{
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing));) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove(path);
    }
    closedir(listing);
    assert_int_equal(rmdir(folder), 0);
    free(folder);
}

const char *path_in(char text[512], const char *folder, const char *name)
{
    int n = snprintf(text, 512, "%s/%s", folder, name);
    assert_in_range(n, 1, 511);
    return text;
}

void store(const char *path, const void *data, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(n ? fwrite(data, 1, n, file) : 0, n);
    assert_int_equal(fclose(file), 0);
}
