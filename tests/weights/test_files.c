/* What lies under a model's path: no file at all, special files, wrong contents, indexes that lie. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fusion/weights/file.h"
#include "fusion/weights/weights.h"
#include "tests/weights/weights_test.h"

static void refuse_path(const char *path, lks_status status, const char *needle)
{
    lks_weights *w = NULL;
    lks_error err = {0};
    lks_status st = lks_weights_open(&w, path, &err);
    if (st != status || !strstr(err.message, needle) || !strstr(err.message, path))
        fail_msg("%s: expected %d '%s', got %d '%s'", path, (int)status, needle, (int)st, err.message);
    assert_null(w);
}

static void test_special(void **state)
{
    (void)state;
    char *folder = make_folder(), path[512], target[512];
    refuse_path(path_in(path, folder, "absent"), LKS_ERR_IO, "No such file");
    refuse_path(folder, LKS_ERR_MODEL, "holds no model.safetensors");

    assert_int_equal(mkfifo(path_in(path, folder, "pipe"), 0600), 0);
    refuse_path(path, LKS_ERR_IO, "is a pipe or device");
    refuse_path("/dev/null", LKS_ERR_IO, "is a pipe or device");

    assert_int_equal(symlink("loop", path_in(path, folder, "loop")), 0);
    refuse_path(path, LKS_ERR_IO, "symbolic links");
    assert_int_equal(symlink("absent", path_in(path, folder, "model.safetensors")), 0);
    refuse_path(path, LKS_ERR_IO, "No such file");
    refuse_path(folder, LKS_ERR_IO, "model.safetensors: cannot be opened"); /* there, but dangling: not passed over */
    assert_int_equal(unlink(path), 0);

    /* A good file is good behind a link, as in a download cache. */
    bytes good = load(DATA "types.safetensors");
    store(path_in(target, folder, "blob"), good.data, good.n);
    assert_int_equal(symlink("blob", path), 0);
    lks_weights *w = NULL;
    assert_int_equal(lks_weights_open(&w, folder, NULL), LKS_OK);
    assert_string_equal(lks_weights_path(w), folder);
    lks_weights_close(w);
    clear(&good);

    if (geteuid() != 0) {
        assert_int_equal(chmod(target, 0), 0);
        refuse_path(target, LKS_ERR_IO, "Permission denied");
    }
    remove_folder(folder);
}

/* A header of 640 bytes begins as a pickle does. */
static void test_lengths_that_look_like_a_pickle(void **state)
{
    (void)state;
    char *folder = make_folder(), path[512];
    for (int protocol = 2; protocol <= 5; protocol++) {
        const size_t n_header = 0x80 + 0x100 * (size_t)protocol;
        unsigned char file[8 + 0x80 + 0x500 + 4] = {0x80, (unsigned char)protocol};
        memset(file + 8, ' ', n_header);
        static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}";
        memcpy(file + 8, header, sizeof header - 1);
        store(path_in(path, folder, "weights"), file, 8 + n_header + 4);
        lks_weights *w = NULL;
        lks_error err = {0};
        if (lks_weights_open(&w, path, &err) != LKS_OK)
            fail_msg("%s", err.message);
        assert_string_equal(lks_weights_format(w), "safetensors");
        assert_non_null(lks_weights_find(w, "a"));
        lks_weights_close(w);
    }
    remove_folder(folder);
}

static void test_contents(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t n;
        const char *needle;
    } cases[] = {
        {"", 0, "is empty"},
        {"x", 1, "too short"},
        {"GGUF", 4, "no GGUF header"},
        {"PK\3\4", 4, "no end record"},
        {"\x80\2}q\1.", 6, "is a bare pickle"},
        {"<!DOCTYPE html><html>", 21, "is no safetensors, torch or GGUF file"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "git lfs pull"},
        {"\377\377\377\377\377\377\377\177{}", 10, "longer than the format allows"},
        {"\2\0\0\0\0\0\0\0{}", 10, "holds no tensors"},
    };
    char *folder = make_folder(), path[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        store(path_in(path, folder, "weights"), cases[i].data, cases[i].n);
        refuse_path(path, LKS_ERR_MODEL, cases[i].needle);
    }
    remove_folder(folder);
}

/* A folder's file is read by what it contains, and names that are not ASCII are only bytes. */
static void test_names(void **state)
{
    (void)state;
    char *folder = make_folder(), path[512];
    bytes torch = load(DATA "views.bin");
    store(path_in(path, folder, "model.safetensors"), torch.data, torch.n);
    lks_weights *w = NULL;
    assert_int_equal(lks_weights_open(&w, folder, NULL), LKS_OK);
    assert_string_equal(lks_weights_format(w), "torch");
    lks_weights_close(w);
    store(path_in(path, folder, "Gewichte \xFF\n.bin"), torch.data, torch.n);
    assert_int_equal(lks_weights_open(&w, path, NULL), LKS_OK);
    lks_weights_close(w);
    clear(&torch);
    remove_folder(folder);
}

static void refuse_index(const char *json, const char *needle)
{
    char *folder = make_folder(), path[512];
    bytes shard = load(DATA "shards/model-00001-of-00002.safetensors"), gguf = load(DATA "aligned.gguf");
    store(path_in(path, folder, "one"), shard.data, shard.n);
    store(path_in(path, folder, "same"), shard.data, shard.n);
    store(path_in(path, folder, "gguf"), gguf.data, gguf.n);
    store(path_in(path, folder, "model.safetensors.index.json"), json, strlen(json));
    lks_weights *w = NULL;
    lks_error err = {0};
    if (lks_weights_open(&w, folder, &err) == LKS_OK || !strstr(err.message, needle))
        fail_msg("expected '%s', got '%s'", needle, err.message);
    clear(&shard);
    clear(&gguf);
    remove_folder(folder);
}

static void test_indexes(void **state)
{
    (void)state;
    refuse_index("", "JSON is invalid");
    refuse_index("[]", "is no object");
    refuse_index("{}", "no weight_map");
    refuse_index("{\"weight_map\":[]}", "no weight_map");
    refuse_index("{\"weight_map\":{}}", "no weight_map");
    refuse_index("{\"weight_map\":{\"a.weight\":3}}", "the shard of tensor 'a.weight' is no bare file name");
    static const char *const names[] = {"", ".", "..", "../one", "/etc/passwd", "a/b", "..\\\\one", "./one"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char json[128];
        snprintf(json, sizeof json, "{\"weight_map\":{\"a.weight\":\"%s\"}}", names[i]);
        refuse_index(json, "the shard of tensor 'a.weight' is no bare file name");
    }
    refuse_index("{\"weight_map\":{\"a.weight\":\"one\\u0000\"}}", "JSON is invalid");
    refuse_index("{\"weight_map\":{\"a.weight\":\"absent\"}}", "absent: cannot be opened");
    refuse_index("{\"weight_map\":{\"a.weight\":\"one\",\"a.weight\":\"one\"}}", "duplicate");
    refuse_index("{\"weight_map\":{\"a.weight\":\"one\",\"c.weight\":\"same\"}}", "appears twice");
    refuse_index("{\"weight_map\":{\"a.weight\":\"one\",\"z.weight\":\"one\"}}", "no shard holds tensor 'z.weight'");
    refuse_index("{\"weight_map\":{\"a.weight\":\"one\",\"c.weight\":\"gguf\"}}", "files");
}

static void test_read_limit(void **state)
{
    (void)state;
    char *data = NULL, *folder = make_folder(), path[512];
    size_t n = 77;
    lks_error err = {0};
    assert_int_equal(lks_file_read(&data, &n, DATA "types.safetensors", 1126, &err), LKS_ERR_IO);
    assert_non_null(strstr(err.message, "has 1127 bytes, at most 1126 are read"));
    assert_null(data);
    assert_int_equal(n, 77);
    assert_int_equal(lks_file_read(&data, &n, DATA "types.safetensors", 1127, &err), LKS_OK);
    assert_int_equal(n, 1127);
    assert_int_equal(data[n], 0);
    free(data);
    assert_int_equal(lks_file_read(&data, &n, "tests", 1000, &err), LKS_ERR_IO);
    assert_non_null(strstr(err.message, "is a directory"));
    store(path_in(path, folder, "empty"), "", 0);
    assert_int_equal(lks_file_read(&data, &n, path, 0, &err), LKS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(data[0], 0);
    free(data);
    lks_map map = {(const unsigned char *)"", 1};
    assert_int_equal(lks_map_open(&map, path, &err), LKS_OK);
    assert_null(map.data);
    assert_int_equal(map.size, 0);
    lks_map_close(&map);
    lks_map_close(&map);
    remove_folder(folder);
}

/* Pages of files that this process has in memory. */
static long mapped_pages(void)
{
    char line[200], *at = line;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    strtol(at, &at, 10); /* of the address space, then of memory */
    strtol(at, &at, 10);
    return strtol(at, NULL, 10);
}

static uint32_t sum_of(const lks_map *map)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < map->size; i++)
        sum = sum * 31 + map->data[i];
    return sum;
}

static void test_what_is_forgotten_is_read_again(void **state)
{
    (void)state;
    enum { N_PAGES = 2000, PAGE = 4096, N = N_PAGES * PAGE };
    char *folder = make_folder(), path[512];
    unsigned char *content = malloc(N);
    assert_non_null(content);
    for (int i = 0; i < N; i++)
        content[i] = (unsigned char)(i * 7 + i / 5000);
    store(path_in(path, folder, "weights"), content, N);
    lks_map map;
    assert_int_equal(lks_map_open(&map, path, NULL), LKS_OK);
    const uint32_t sum = sum_of(&map);
    const long before = mapped_pages();
    lks_map_forget(&map, map.data + 100, N - 200); /* all pages but the first and the last */
    const long after = mapped_pages();
    assert_in_range(before - after, N_PAGES / 2, N_PAGES);
    assert_int_equal(sum_of(&map), sum);

    lks_map_forget(&map, content, N); /* not the map's: left alone */
    lks_map_forget(&map, map.data + 100, N);
    lks_map_forget(&map, map.data + N, 0);
    for (int i = 0; i < N; i++)
        assert_int_equal(content[i], (unsigned char)(i * 7 + i / 5000));
    lks_map_close(&map);
    free(content);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_lengths_that_look_like_a_pickle),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_indexes),
        cmocka_unit_test(test_read_limit),
        cmocka_unit_test(test_what_is_forgotten_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
