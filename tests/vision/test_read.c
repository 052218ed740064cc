/* Files that are no images, or cannot be read: one clear message each, and never a wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/vision/fixtures.h"
#include "vision/image.h"

static char folder[] = "/tmp/looksay-read-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

static void expect(const char *path, lks_status status, const char *says)
{
    lks_error err = {0};
    lks_image image = {.width = -7};
    bool damaged = true;
    assert_int_equal(lks_image_read(&image, &damaged, path, NULL, &err), status);
    assert_int_equal(image.width, -7);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void test_not_there(void **state)
{
    (void)state;
    expect(in_folder("nothing.jpg"), LKS_ERR_IO, "nothing.jpg: no such file");
}

static void test_directory(void **state)
{
    (void)state;
    expect(folder, LKS_ERR_IO, "is a directory");
}

static void test_fifo(void **state)
{
    (void)state;
    const char *path = in_folder("pipe.jpg");
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(5); /* a read that waits for a writer ends the test */
    expect(path, LKS_ERR_IO, "FIFO");
    alarm(0);
    unlink(path);
}

static void test_device(void **state)
{
    (void)state;
    expect("/dev/null", LKS_ERR_IO, "is a device");
}

static void test_empty_file(void **state)
{
    (void)state;
    const char *path = in_folder("empty.png");
    write_file(path, "", 0);
    expect(path, LKS_ERR_IMAGE, "empty.png: the file is empty");
    unlink(path);
}

static void test_link_to_itself(void **state)
{
    (void)state;
    const char *path = in_folder("loop.jpg");
    assert_int_equal(symlink("loop.jpg", path), 0);
    expect(path, LKS_ERR_IO, "symbolic link");
    unlink(path);
}

static void test_unreadable(void **state)
{
    (void)state;
    const char *path = in_folder("secret.jpg");
    write_file(path, "x", 1);
    assert_int_equal(chmod(path, 0), 0);
    if (access(path, R_OK) == 0) {
        unlink(path);
        print_message("Skipped: this user may read every file\n");
        skip();
    }
    expect(path, LKS_ERR_IO, "permission denied");
    unlink(path);
}

static void test_huge_file(void **state)
{
    (void)state;
    const char *path = in_folder("huge.jpg");
    write_file(path, "x", 1);
    if (truncate(path, (off_t)2 << 30) != 0) {
        unlink(path);
        print_message("Skipped: no sparse file of 2 GiB here\n");
        skip();
    }
    expect(path, LKS_ERR_IMAGE, "larger than 1 GiB");
    unlink(path);
}

static void test_names_are_printable(void **state)
{
    (void)state;
    static const struct {
        const char *name, *printed;
    } names[] = {
        {"caf\xE9.jpg", "caf\\xE9.jpg: "},
        {"two\nlines\x1B[31m.jpg", "two\\x0Alines\\x1B[31m.jpg: "},
        {"caf\xC3\xA9 \xE5\x9B\xBE.jpg", "caf\xC3\xA9 \xE5\x9B\xBE.jpg: "},
        {"over\xC0\xAFlong\xED\xA0\x80.jpg", "over\\xC0\\xAFlong\\xED\\xA0\\x80.jpg: "},
        {"c1\xC2\x85.jpg", "c1\\xC2\\x85.jpg: "},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        expect(in_folder(names[i].name), LKS_ERR_IO, names[i].printed);
        const char *path = in_folder(names[i].name);
        write_file(path, "GIF89a", 6);
        expect(path, LKS_ERR_IMAGE, names[i].printed);
        unlink(path);
    }
}

static void test_long_name_keeps_its_end(void **state)
{
    (void)state;
    char path[3000];
    memset(path, 'a', sizeof path);
    for (size_t i = 1; i < sizeof path - 20; i += 100)
        path[i] = '/';
    strcpy(path + sizeof path - 20, "/the_end.jpg");
    lks_error err = {0};
    lks_image image;
    assert_int_equal(lks_image_read(&image, NULL, path, NULL, &err), LKS_ERR_IO);
    assert_true(strncmp(err.message, "...", 3) == 0);
    assert_non_null(strstr(err.message, "/the_end.jpg: no such file"));
}

/* A file that is wholly read, through a symbolic link, with a name that lies about its format. */
static void test_good_file(void **state)
{
    (void)state;
    char target[4096];
    assert_non_null(realpath(fixture_path("wrong_extension.png"), target));
    const char *path = in_folder("link.bmp");
    assert_int_equal(symlink(target, path), 0);
    lks_error err = {0};
    lks_image image;
    bool damaged = true;
    assert_int_equal(lks_image_read(&image, &damaged, path, NULL, &err), LKS_OK);
    assert_false(damaged);
    assert_int_equal(image.width, 64);
    assert_int_equal(image.height, 48);
    lks_image_release(&image);
    assert_null(image.rgb);
    lks_image_release(&image);
    lks_image_release(NULL);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_directory),
        cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_device),
        cmocka_unit_test(test_empty_file),
        cmocka_unit_test(test_link_to_itself),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_huge_file),
        cmocka_unit_test(test_names_are_printable),
        cmocka_unit_test(test_long_name_keeps_its_end),
        cmocka_unit_test(test_good_file),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
