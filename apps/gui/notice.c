/* What the code that all programs share has to say: see notice.h. */
#include "apps/gui/notice.h"

#include <glib.h>
#include <stdarg.h>

static GPrivate said = G_PRIVATE_INIT(g_free);

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    char *valid = g_utf8_make_valid(text, -1);
    g_free(text);
    g_private_replace(&said, valid);
}

char *notice_take(void)
{
    char *text = g_strdup(g_private_get(&said));
    g_private_replace(&said, NULL);
    return text;
}
