/* The model that comes with the program: see default_model.h. */
#include "apps/common/default_model.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MODEL_FILE "looksay.gguf"

bool default_model_find(char *out, size_t n_out)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        n = snprintf(program, sizeof program, "./looksay");
    program[n] = '\0';
    *strrchr(program, '/') = '\0';
    static const char *const places[] = {"../share/looksay", "../assets/model"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[PATH_MAX + 64];
        snprintf(path, sizeof path, "%s/%s/" MODEL_FILE, program, places[i]);
        bool found = access(path, R_OK) == 0;
        if (found || i == 0)
            snprintf(out, n_out, "%s", path);
        if (found)
            return true;
    }
    return false;
}
