/* Error detail: one formatted sentence, cut at a UTF-8 boundary when it does not fit. */
#include "fusion/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drops a multi-byte character that the end of the buffer cut in two. */
static void trim_partial_utf8(char *text)
{
    size_t n = strlen(text), back = 0;
    while (back < n && back < 3 && ((unsigned char)text[n - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back == n)
        return;
    unsigned char lead = (unsigned char)text[n - 1 - back];
    size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
    if (lead >= 0xC0 && back < need)
        text[n - 1 - back] = '\0';
}

lks_status(lks_error_set)(lks_error *err, lks_status status, const char *format, ...)
{
    if (!err)
        return status;
    err->status = status;
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(err->message, sizeof err->message, format, arguments);
    va_end(arguments);
    if (n >= (int)sizeof err->message)
        trim_partial_utf8(err->message);
    return status;
}

lks_status lks_error_prefix(lks_error *err, lks_status fallback, const char *prefix)
{
    if (!err)
        return fallback;
    char rest[sizeof err->message];
    memcpy(rest, err->message, sizeof rest);
    return lks_error_set(err, err->status, "%s: %s", prefix, rest);
}
