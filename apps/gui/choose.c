/* Asks for files and folders: see choose.h. */
#include "apps/gui/choose.h"

typedef struct question {
    choose_what what;
    void (*chosen)(void *context, choose_what what, char **paths);
    void *context;
} question;

static const struct kind {
    const char *title, *accept;
    GtkFileChooserAction action;
} kinds[] = {[CHOOSE_PICTURES] = {"Open Photos", "_Open", GTK_FILE_CHOOSER_ACTION_OPEN},
             [CHOOSE_FOLDER] = {"Open a Folder of Photos", "_Open", GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER},
             [CHOOSE_MODEL_FILE] = {"Choose a Model File", "_Choose", GTK_FILE_CHOOSER_ACTION_OPEN},
             [CHOOSE_MODEL_FOLDER] = {"Choose a Model Folder", "_Choose", GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER},
             [CHOOSE_EXPORT] = {"Export Captions", "_Export", GTK_FILE_CHOOSER_ACTION_SAVE}};

static void on_response(GtkNativeDialog *dialog, int response, question *q)
{
    if (response == GTK_RESPONSE_ACCEPT) {
        GListModel *files = gtk_file_chooser_get_files(GTK_FILE_CHOOSER(dialog));
        GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 0; i < g_list_model_get_n_items(files); i++) {
            GFile *file = g_list_model_get_item(files, i);
            char *path = g_file_get_path(file);
            if (path) /* what is on no disk has none */
                g_ptr_array_add(paths, path);
            g_object_unref(file);
        }
        g_object_unref(files);
        g_ptr_array_add(paths, NULL);
        if (paths->len > 1)
            q->chosen(q->context, q->what, (char **)paths->pdata);
        g_ptr_array_unref(paths);
    }
    g_free(q);
    g_object_unref(dialog);
}

static void add_filter(GtkFileChooser *chooser, const char *name, const char *const *mime_types, const char *pattern)
{
    GtkFileFilter *filter = gtk_file_filter_new();
    gtk_file_filter_set_name(filter, name);
    for (; mime_types && *mime_types; mime_types++)
        gtk_file_filter_add_mime_type(filter, *mime_types);
    if (pattern)
        gtk_file_filter_add_pattern(filter, pattern);
    gtk_file_chooser_add_filter(chooser, filter);
    g_object_unref(filter);
}

void choose(GtkWindow *parent, choose_what what, void (*chosen)(void *context, choose_what what, char **paths),
            void *context)
{
    static const char *const pictures[] = {"image/*", "video/*", NULL};
    const struct kind *kind = &kinds[what];
    GtkFileChooserNative *dialog =
        gtk_file_chooser_native_new(kind->title, parent, kind->action, kind->accept, "_Cancel");
    GtkFileChooser *chooser = GTK_FILE_CHOOSER(dialog);
    gtk_file_chooser_set_select_multiple(chooser, what == CHOOSE_PICTURES || what == CHOOSE_FOLDER);
    if (what == CHOOSE_PICTURES) {
        add_filter(chooser, "Photos and clips", pictures, NULL);
        add_filter(chooser, "All files", NULL, "*");
    } else if (what == CHOOSE_MODEL_FILE) {
        add_filter(chooser, "Models (*.gguf)", NULL, "*.gguf");
        add_filter(chooser, "All files", NULL, "*");
    } else if (what == CHOOSE_EXPORT) {
        gtk_file_chooser_set_current_name(chooser, "captions.html");
    }
    question *q = g_new(question, 1);
    *q = (question){what, chosen, context};
    gtk_native_dialog_set_modal(GTK_NATIVE_DIALOG(dialog), TRUE);
    g_signal_connect(dialog, "response", G_CALLBACK(on_response), q);
    gtk_native_dialog_show(GTK_NATIVE_DIALOG(dialog));
}
