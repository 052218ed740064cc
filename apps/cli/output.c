/* What --output may not be: see output.h. */
#include "apps/cli/output.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/common/image_name.h"

bool output_is_input(const char *output, const char *input)
{
    struct stat to, from;
    bool standard = strcmp(input, "-") == 0;
    return strcmp(output, "-") != 0 && stat(output, &to) == 0 && S_ISREG(to.st_mode) &&
           (standard ? fstat(STDIN_FILENO, &from) : stat(input, &from)) == 0 && to.st_dev == from.st_dev &&
           to.st_ino == from.st_ino;
}

static bool refuse(const char *output)
{
    complain("%s: is read by this command, and would be lost; give --output another name", output);
    return false;
}

bool output_check(const settings *s)
{
    const char *const others[] = {s->files_from, s->image, s->model, s->feature_cache};
    if (!s->output)
        return true;
    for (int i = 0; i < s->n_operands; i++)
        if (output_is_input(s->output, s->operands[i]))
            return refuse(s->output);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i] && output_is_input(s->output, others[i]))
            return refuse(s->output);
    return true;
}

bool output_check_rows(const settings *s)
{
    if (s->output && image_name_is_known(s->output)) {
        complain("%s: is named as a photo is, and would hold text; give --output another name", s->output);
        return false;
    }
    return output_check(s);
}
