/* Runs a fuzz target on every file of the folders named on the command line: for compilers without libFuzzer. Each input lies
 * in memory of just its size, so that sanitizers see what reads too far. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = -1;
    if (file && fseek(file, 0, SEEK_END) == 0)
        size = ftell(file);
    uint8_t *data = size >= 0 ? malloc(size ? (size_t)size : 1) : NULL;
    int good = data && fseek(file, 0, SEEK_SET) == 0 && fread(data, 1, (size_t)size, file) == (size_t)size;
    if (file)
        fclose(file);
    if (good)
        LLVMFuzzerTestOneInput(data, (size_t)size);
    else
        fprintf(stderr, "%s: cannot be read\n", path);
    free(data);
    return good;
}

/* How many inputs were replayed; -1 when one could not be read. */
static long replay_folder(const char *folder)
{
    DIR *listing = opendir(folder);
    if (!listing) {
        fprintf(stderr, "%s: cannot be opened\n", folder);
        return -1;
    }
    long n = 0;
    for (struct dirent *entry; n >= 0 && (entry = readdir(listing));) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        n = replay_file(path) ? n + 1 : -1;
    }
    closedir(listing);
    return n;
}

int main(int argc, char **argv)
{
    long n = 0;
    for (int i = 1; i < argc; i++) {
        long more = replay_folder(argv[i]);
        if (more <= 0) {
            fprintf(stderr, "%s: nothing to replay\n", argv[i]);
            return 1;
        }
        n += more;
    }
    printf("%ld inputs replayed\n", n);
    return n > 0 ? 0 : 1;
}
