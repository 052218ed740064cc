/* looksay-gui: the window's program. A second start hands its photos to the window that is there. */
#include <stdlib.h>

#include "apps/captioner/looksay.h"
#include "apps/gui/keys.h"
#include "apps/gui/window.h"

#define APPLICATION_ID "org.looksay.Looksay"

enum { EXIT_USAGE = 2, MAX_BEAMS = 32 };

typedef struct program {
    window *window;  /* NULL until there is one */
    bool understood; /* the command line; where it is not, GApplication ends with a status of its own */
} program;

static const GOptionEntry options[] = {
    {"model", 'm', G_OPTION_FLAG_NONE, G_OPTION_ARG_FILENAME, NULL, "Hugging Face directory or GGUF file", "PATH"},
    {"lang", 'l', G_OPTION_FLAG_NONE, G_OPTION_ARG_STRING, NULL, "Language of captions, such as de", "CODE"},
    {"beams", 'b', G_OPTION_FLAG_NONE, G_OPTION_ARG_STRING, NULL, "Beams of beam search; 1 is greedy", "N"},
    {"version", 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_NONE, NULL, "Print the version and end", NULL},
    {G_OPTION_REMAINING, 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_FILENAME_ARRAY, NULL, NULL, "[PHOTO|CLIP|CAMERA|FOLDER…]"},
    {NULL, 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_NONE, NULL, NULL, NULL}};

/* Options have twins in the environment, of which text is that of --beams or NULL; the option wins. */
static int read_beams(GVariantDict *given, const char *text)
{
    guint64 number;
    g_variant_dict_lookup(given, "beams", "&s", &text); /* a number 0 would not get here: GLib takes it for none */
    if (!text)
        return -1;
    return g_ascii_string_to_unsigned(text, 10, 1, MAX_BEAMS, &number, NULL) ? (int)number : 0;
}

static int on_local_options(GApplication *app, GVariantDict *given, program *p)
{
    (void)app;
    p->understood = true;
    if (g_variant_dict_contains(given, "version")) {
        g_print("looksay-gui %s\n", lks_version());
        return EXIT_SUCCESS;
    }
    if (read_beams(given, g_getenv("LOOKSAY_BEAMS")) == 0) {
        g_printerr("looksay-gui: --beams takes a whole number from 1 to %d\n", MAX_BEAMS);
        return EXIT_USAGE;
    }
    return -1; /* go on */
}

static void on_quit(GSimpleAction *action, GVariant *parameter, gpointer app)
{
    (void)action;
    (void)parameter;
    GList *windows = g_list_copy(gtk_application_get_windows(app));
    for (GList *one = windows; one; one = one->next)
        gtk_window_close(one->data);
    g_list_free(windows);
}

static void on_startup(GApplication *app, program *p)
{
    (void)p;
    static const GActionEntry actions[] = {{.name = "quit", .activate = on_quit}};
    g_action_map_add_action_entries(G_ACTION_MAP(app), actions, G_N_ELEMENTS(actions), app);
    keys_set(GTK_APPLICATION(app));
}

static char *absolute(GApplicationCommandLine *line, const char *name)
{
    GFile *file = g_application_command_line_create_file_for_arg(line, name);
    char *path = g_file_get_path(file);
    g_object_unref(file);
    return path ? path : g_strdup(name);
}

static int on_command_line(GApplication *app, GApplicationCommandLine *line, program *p)
{
    GVariantDict *given = g_application_command_line_get_options_dict(line);
    if (!p->window)
        p->window = window_new(GTK_APPLICATION(app));
    const char *name = NULL;
    if (!g_variant_dict_lookup(given, "model", "^&ay", &name))
        name = g_application_command_line_getenv(line, "LOOKSAY_MODEL");
    char *model = name ? absolute(line, name) : NULL;
    engine_choice chosen = {.model = model,
                            .n_beams = read_beams(given, g_application_command_line_getenv(line, "LOOKSAY_BEAMS"))};
    if (!g_variant_dict_lookup(given, "lang", "&s", &chosen.language))
        chosen.language = g_application_command_line_getenv(line, "LOOKSAY_LANG");
    window_use(p->window, &chosen);
    g_free(model);

    const char **names = NULL;
    g_variant_dict_lookup(given, G_OPTION_REMAINING, "^a&ay", &names);
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    for (const char **one = names; one && *one; one++)
        g_ptr_array_add(paths, absolute(line, *one));
    g_ptr_array_add(paths, NULL);
    window_open(p->window, (char **)paths->pdata);
    g_ptr_array_unref(paths);
    g_free(names);
    window_present(p->window);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    program p = {.window = NULL};
    g_log_writer_default_set_use_stderr(TRUE);
    g_set_application_name("Looksay");
    gtk_window_set_default_icon_name(APPLICATION_ID);
    GtkApplication *app =
        gtk_application_new(APPLICATION_ID, G_APPLICATION_HANDLES_COMMAND_LINE | G_APPLICATION_SEND_ENVIRONMENT);
    g_application_add_main_option_entries(G_APPLICATION(app), options);
    g_application_set_option_context_summary(G_APPLICATION(app), "Says what photos show.");
    g_signal_connect(app, "handle-local-options", G_CALLBACK(on_local_options), &p);
    g_signal_connect(app, "startup", G_CALLBACK(on_startup), &p);
    g_signal_connect(app, "command-line", G_CALLBACK(on_command_line), &p);
    int status = g_application_run(G_APPLICATION(app), argc, argv);
    if (!p.understood) {
        g_printerr("looksay-gui: 'looksay-gui --help' lists the options\n");
        status = EXIT_USAGE;
    }
    window_free(p.window);
    g_object_unref(app);
    return status;
}
