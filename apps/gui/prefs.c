/* What the window remembers: see prefs.h. */
#include "apps/gui/prefs.h"

#include <glib.h>

#define GROUP "window"

enum { DEFAULT_WIDTH = 1100, DEFAULT_HEIGHT = 740, MAX_SIDE = 32767, MAX_BEAMS = 32 };

static char *file_name(void)
{
    return g_build_filename(g_get_user_config_dir(), "looksay", "window.ini", NULL);
}

static int read_int(GKeyFile *file, const char *key, int low, int high, int otherwise)
{
    GError *error = NULL;
    int value = g_key_file_get_integer(file, GROUP, key, &error);
    bool bad = error || value < low || value > high;
    g_clear_error(&error);
    return bad ? otherwise : value;
}

void prefs_load(prefs *out)
{
    GKeyFile *file = g_key_file_new();
    char *name = file_name();
    g_key_file_load_from_file(file, name, G_KEY_FILE_NONE, NULL);
    char *format = g_key_file_get_string(file, GROUP, "format", NULL);
    static const char *const formats[] = {"txt", "xmp", "embed", NULL};
    if (!format || !g_strv_contains(formats, format)) {
        g_free(format);
        format = g_strdup("txt");
    }
    *out = (prefs){.model = g_key_file_get_string(file, GROUP, "model", NULL),
                   .language = g_key_file_get_string(file, GROUP, "language", NULL),
                   .n_beams = read_int(file, "beams", 0, MAX_BEAMS, 0),
                   .format = format,
                   .replace = g_key_file_get_boolean(file, GROUP, "replace", NULL),
                   .width = read_int(file, "width", 1, MAX_SIDE, DEFAULT_WIDTH),
                   .height = read_int(file, "height", 1, MAX_SIDE, DEFAULT_HEIGHT),
                   .maximized = g_key_file_get_boolean(file, GROUP, "maximized", NULL)};
    g_key_file_unref(file);
    g_free(name);
}

void prefs_save(const prefs *p)
{
    GKeyFile *file = g_key_file_new();
    char *name = file_name(), *folder = g_path_get_dirname(name);
    if (p->model)
        g_key_file_set_string(file, GROUP, "model", p->model);
    if (p->language)
        g_key_file_set_string(file, GROUP, "language", p->language);
    g_key_file_set_integer(file, GROUP, "beams", p->n_beams);
    g_key_file_set_string(file, GROUP, "format", p->format);
    g_key_file_set_boolean(file, GROUP, "replace", p->replace);
    g_key_file_set_integer(file, GROUP, "width", p->width);
    g_key_file_set_integer(file, GROUP, "height", p->height);
    g_key_file_set_boolean(file, GROUP, "maximized", p->maximized);
    g_mkdir_with_parents(folder, 0700);
    g_key_file_save_to_file(file, name, NULL); /* where it cannot be kept, the next window has the defaults */
    g_key_file_unref(file);
    g_free(folder);
    g_free(name);
}

void prefs_release(prefs *p)
{
    g_free(p->model);
    g_free(p->language);
    g_free(p->format);
    *p = (prefs){0};
}
