/* Packed models kept in a folder: see packed_cache.h. */
#include "apps/cli/packed_cache.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/captioner/looksay.h"
#include "apps/common/hash.h"

/* The state of the files in a folder; false when it cannot be read. Files may be links, as in the hub's own cache. */
static bool read_state(uint64_t *state, const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0)
        return false;
    uint64_t hash = hash_more(HASH_START, LKS_VERSION, sizeof LKS_VERSION);
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        struct stat info;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (length < (int)sizeof path && stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            const int64_t facts[] = {(int64_t)info.st_size, (int64_t)info.st_mtim.tv_sec,
                                     (int64_t)info.st_mtim.tv_nsec};
            hash = hash_more(hash, entries[i]->d_name, strlen(entries[i]->d_name) + 1);
            hash = hash_more(hash, facts, sizeof facts);
        }
        free(entries[i]);
    }
    free(entries);
    *state = hash;
    return true;
}

/* Removes what was packed before from the same directory to the same precision. */
static void remove_others(const char *cache, const char *family, const char *current)
{
    struct dirent **entries;
    int n = scandir(cache, &entries, NULL, NULL);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name, *end = strrchr(name, '.');
        char path[PATH_MAX];
        if (strncmp(name, family, strlen(family)) == 0 && end && strcmp(end, ".gguf") == 0 &&
            strcmp(name, current) != 0 && snprintf(path, sizeof path, "%s/%s", cache, name) < (int)sizeof path)
            unlink(path);
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

/* Makes the packed file. */
static bool pack(const char *packed, const char *path, const settings *s)
{
    const lks_convert_options options = {
        .size = sizeof options, .dtype = s->dtype, .n_threads = s->n_threads == OPTION_UNSET ? 0 : s->n_threads};
    lks_error err;
    if (mkdir(s->packed_cache, 0777) != 0 && errno != EEXIST) {
        complain("%s: cannot be made: %s; going on without a packed model", s->packed_cache, strerror(errno));
        return false;
    }
    if (lks_model_convert(NULL, path, packed, &options, &err) == LKS_OK)
        return true;
    complain("%s; going on without a packed model", err.message);
    return false;
}

void packed_cache_resolve(char *out, size_t n_out, const char *path, const settings *s)
{
    char real[PATH_MAX], family[NAME_MAX], name[NAME_MAX], packed[PATH_MAX];
    uint64_t state;
    snprintf(out, n_out, "%s", path);
    bool packs = s->dtype && strcmp(s->dtype, "auto") != 0 && strcmp(s->dtype, "f32") != 0 && is_folder(path);
    if (settings_gives(s, "packed-cache") && access(path, F_OK) == 0 && !is_folder(path) && !s->quiet)
        complain("%s: one file, opened as it is; --packed-cache keeps what is packed of Hugging Face directories",
                 path);
    if (!s->packed_cache || !packs || !realpath(path, real) || !read_state(&state, real))
        return;
    const char *slash = strrchr(real, '/');
    snprintf(family, sizeof family, "%.100s-%08" PRIx64 "-%s-", slash[1] ? slash + 1 : "model",
             hash_spread(hash_more(HASH_START, real, strlen(real))) >> 32, s->dtype);
    snprintf(name, sizeof name, "%.200s%016" PRIx64 ".gguf", family, hash_spread(state));
    int n = snprintf(packed, sizeof packed, "%s/%s", s->packed_cache, name);
    if (n >= (int)sizeof packed || (access(packed, R_OK) != 0 && !pack(packed, path, s)))
        return;
    remove_others(s->packed_cache, family, name);
    snprintf(out, n_out, "%s", packed);
}
