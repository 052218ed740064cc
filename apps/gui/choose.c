/* Asks for files, folders and cameras: see choose.h. */
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

/* ---- cameras ---- */

typedef struct camera_question {
    void (*chosen)(void *context, const char *name);
    void *context;
    GtkEditable *name;
} camera_question;

static void on_camera_response(GtkDialog *dialog, int response, camera_question *q)
{
    char *name = g_strstrip(g_strdup(gtk_editable_get_text(q->name)));
    if (response == GTK_RESPONSE_ACCEPT && *name)
        q->chosen(q->context, name);
    g_free(name);
    gtk_window_destroy(GTK_WINDOW(dialog));
}

/* The first camera of this machine, or NULL. */
static char *find_camera(void)
{
    for (int i = 0; i < 64; i++) {
        char *path = g_strdup_printf("/dev/video%d", i);
        if (g_file_test(path, G_FILE_TEST_EXISTS))
            return path;
        g_free(path);
    }
    return NULL;
}

void choose_camera(GtkWindow *parent, void (*chosen)(void *context, const char *name), void *context)
{
    GtkWidget *dialog =
        gtk_dialog_new_with_buttons("Open a Camera", parent, GTK_DIALOG_MODAL | GTK_DIALOG_USE_HEADER_BAR, "_Cancel",
                                    GTK_RESPONSE_CANCEL, "_Open", GTK_RESPONSE_ACCEPT, NULL);
    GtkWidget *box = gtk_dialog_get_content_area(GTK_DIALOG(dialog));
    GtkWidget *label = g_object_new(GTK_TYPE_LABEL, "label", "_Camera or address", "use-underline", TRUE, "xalign", 0.0,
                                    "margin-start", 12, "margin-end", 12, "margin-top", 12, "margin-bottom", 6, NULL);
    GtkWidget *entry =
        g_object_new(GTK_TYPE_ENTRY, "placeholder-text", "/dev/video0 or rtsp://…", "activates-default", TRUE,
                     "width-chars", 40, "margin-start", 12, "margin-end", 12, "margin-bottom", 12, NULL);
    char *found = find_camera();
    if (found)
        gtk_editable_set_text(GTK_EDITABLE(entry), found);
    g_free(found);
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), entry);
    gtk_accessible_update_property(GTK_ACCESSIBLE(entry), GTK_ACCESSIBLE_PROPERTY_LABEL, "Camera or address", -1);
    gtk_box_append(GTK_BOX(box), label);
    gtk_box_append(GTK_BOX(box), entry);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_ACCEPT);
    camera_question *q = g_new(camera_question, 1);
    *q = (camera_question){chosen, context, GTK_EDITABLE(entry)};
    g_signal_connect(dialog, "response", G_CALLBACK(on_camera_response), q);
    g_object_set_data_full(G_OBJECT(dialog), "question", q, g_free);
    gtk_window_present(GTK_WINDOW(dialog));
    gtk_widget_grab_focus(entry);
}
