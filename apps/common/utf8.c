/* Text that programs with strict readers take: see utf8.h. */
#include "apps/common/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

char *utf8_repair(const char *text)
{
    size_t n = strlen(text), used = 0;
    char *out = malloc(3 * n + 1);
    if (!out)
        return NULL;
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &c);
        const char *from = length > 0 ? text + i : "\xEF\xBF\xBD";
        size_t n_from = length > 0 ? (size_t)length : 3;
        memcpy(out + used, from, n_from);
        used += n_from;
        i += length > 0 ? (size_t)length : 1;
    }
    out[used] = '\0';
    return out;
}
