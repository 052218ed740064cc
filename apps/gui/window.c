/* The window: what happens in it. See window.h. */
#include "apps/gui/window.h"

#include "apps/common/default_model.h"
#include "apps/gui/appearance.h"
#include "apps/gui/frames.h"
#include "apps/gui/gather.h"
#include "apps/gui/window_parts.h"

enum { PATH_BYTES = 4096 };

Photo *window_selected(const window *w)
{
    return gtk_single_selection_get_selected_item(w->selection);
}

void window_warn(window *w, const char *message)
{
    gtk_label_set_text(GTK_LABEL(w->bar_label), message);
    gtk_accessible_update_property(GTK_ACCESSIBLE(w->bar), GTK_ACCESSIBLE_PROPERTY_LABEL, message, -1);
    gtk_info_bar_set_revealed(GTK_INFO_BAR(w->bar), TRUE);
}

void window_say(window *w, const char *message)
{
    gtk_label_set_text(GTK_LABEL(w->status), message);
}

static void on_bar_response(GtkInfoBar *bar, int response, gpointer data)
{
    (void)response;
    (void)data;
    gtk_info_bar_set_revealed(bar, FALSE);
}

/* ---- from the album ---- */

/* Languages by their own names; others go by their code. */
static const char *name_of_language(const char *code)
{
    static const char *const known[][2] = {{"en", "English"}, {"de", "Deutsch"}, {"fr", "Français"},
                                           {"cs", "Čeština"}, {"es", "Español"}, {"it", "Italiano"}};
    for (gsize i = 0; i < G_N_ELEMENTS(known); i++)
        if (strcmp(known[i][0], code) == 0)
            return known[i][1];
    return code;
}

static void show_languages(window *w, char **codes)
{
    g_strfreev(w->codes);
    w->codes = g_strdupv(codes);
    GtkStringList *names = gtk_string_list_new(NULL);
    guint chosen = 0;
    for (guint i = 0; codes[i]; i++) {
        gtk_string_list_append(names, name_of_language(codes[i]));
        if (g_strcmp0(codes[i], w->language) == 0)
            chosen = i;
    }
    w->fills = true;
    gtk_drop_down_set_model(GTK_DROP_DOWN(w->languages), G_LIST_MODEL(names));
    gtk_drop_down_set_selected(GTK_DROP_DOWN(w->languages), chosen);
    w->fills = false;
    gtk_widget_set_visible(w->languages_line, codes[0] && codes[1]);
    g_object_unref(names);
}

static void on_opened(void *context, const char *model, char **languages, const char *error)
{
    window *w = context;
    if (!w->widget)
        return;
    w->no_model = error;
    char *tip = g_strdup_printf("%s\nThe model, and how it searches", model);
    gtk_label_set_text(GTK_LABEL(w->model_label), error ? "No model" : model);
    gtk_widget_set_tooltip_text(w->model_label, error ? NULL : tip);
    g_free(tip);
    show_languages(w, languages);
    if (error)
        window_warn(w, error);
    else
        gtk_info_bar_set_revealed(GTK_INFO_BAR(w->bar), FALSE);
}

static void on_moved(void *context)
{
    window *w = context;
    if (!w->widget)
        return;
    album_counts c = album_count(w->album);
    guint n_over = c.n_done + c.n_failed;
    GString *text = g_string_new(NULL);
    if (c.n == 0)
        g_string_assign(text, "No photos");
    else
        g_string_printf(text, "%u of %u captioned", c.n_done, c.n);
    if (c.n_failed > 0)
        g_string_append_printf(text, " · %u failed", c.n_failed);
    if (w->paused && n_over < c.n)
        g_string_append(text, " · paused");
    window_say(w, text->str);
    g_string_free(text, TRUE);
    gtk_widget_set_visible(w->progress, n_over < c.n);
    gtk_progress_bar_set_fraction(GTK_PROGRESS_BAR(w->progress), c.n ? (double)n_over / c.n : 0.0);
    gtk_stack_set_visible_child_name(GTK_STACK(w->stack), c.n ? "photos" : "welcome");
}

/* ---- photos ---- */

static void on_selected(GtkSingleSelection *selection, GParamSpec *spec, window *w)
{
    (void)selection;
    (void)spec;
    Photo *photo = window_selected(w);
    album_select(w->album, photo);
    detail_show(w->detail, photo);
    window_play(w, photo);
}

static void on_found(void *context, const char *path, bool is_clip, const char *message)
{
    window *w = context;
    if (path)
        album_add(w->album, path, is_clip);
    else if (message)
        window_warn(w, message);
}

void window_open(window *w, char **paths)
{
    if (w->widget && paths[0])
        gather(paths, w->gathering, on_found, w);
}

static gboolean on_drop(GtkDropTarget *target, const GValue *value, double x, double y, window *w)
{
    (void)target;
    (void)x;
    (void)y;
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    for (GSList *one = g_value_get_boxed(value); one; one = one->next) {
        char *path = g_file_get_path(one->data);
        if (path)
            g_ptr_array_add(paths, path);
    }
    bool any = paths->len > 0;
    g_ptr_array_add(paths, NULL);
    window_open(w, (char **)paths->pdata);
    g_ptr_array_unref(paths);
    return any;
}

/* ---- the model ---- */

/* The strings may be the window's own. */
static void use(window *w, const engine_choice *wanted)
{
    char path[PATH_BYTES];
    bool found = wanted->model || default_model_find(path, sizeof path);
    char *model = g_strdup(wanted->model ? wanted->model : path), *language = g_strdup(wanted->language);
    g_free(w->model);
    g_free(w->language);
    w->model = model;
    w->language = language;
    w->n_beams = wanted->n_beams;
    w->no_model = !found;
    gtk_spin_button_set_value(GTK_SPIN_BUTTON(w->beams), w->n_beams);
    if (found) {
        album_use(w->album, &(engine_choice){w->model, w->language, w->n_beams});
        window_look_again(w);
        return;
    }
    char *message = g_strdup_printf("%s: the default model is missing; install it there, or choose a model", w->model);
    window_warn(w, message);
    g_free(message);
}

void window_use(window *w, const engine_choice *given)
{
    engine_choice is = {w->model, w->language, w->n_beams};
    if (!w->model)
        is = (engine_choice){w->prefs.model, w->prefs.language, w->prefs.n_beams};
    engine_choice wanted = {given->model ? given->model : is.model, given->language ? given->language : is.language,
                            given->n_beams >= 0 ? given->n_beams : is.n_beams};
    bool in_use = w->model && strcmp(wanted.model, w->model) == 0 && g_strcmp0(wanted.language, w->language) == 0 &&
                  wanted.n_beams == w->n_beams;
    if (!in_use || w->no_model)
        use(w, &wanted);
}

void window_set_model(window *w, const char *model)
{
    char *copy = g_strdup(model);
    g_free(w->prefs.model);
    w->prefs.model = copy;
    use(w, &(engine_choice){copy, w->language, w->n_beams});
}

static void on_beams(GtkSpinButton *spin, window *w)
{
    int n = gtk_spin_button_get_value_as_int(spin);
    if (n == w->n_beams)
        return;
    w->prefs.n_beams = n;
    use(w, &(engine_choice){w->model, w->language, n});
}

static void on_language(GtkDropDown *list, GParamSpec *spec, window *w)
{
    (void)spec;
    guint i = gtk_drop_down_get_selected(list);
    if (w->fills || i == GTK_INVALID_LIST_POSITION)
        return;
    g_free(w->prefs.language);
    w->prefs.language = g_strdup(w->codes[i]);
    use(w, &(engine_choice){w->model, w->codes[i], w->n_beams});
}

static void on_no_word(void *context)
{
    window *w = context;
    if (w->wants_caption)
        window_look_again(w);
}

static void on_sought(void *context, double seconds)
{
    window_seek(context, seconds);
}

/* ---- beginning and end ---- */

guint window_count_unsaved(const window *w)
{
    GListModel *photos = album_photos(w->album);
    guint n = 0;
    for (guint i = 0; i < g_list_model_get_n_items(photos); i++) {
        Photo *photo = g_list_model_get_item(photos, i);
        n += photo_is_unsaved(photo);
        g_object_unref(photo);
    }
    return n;
}

static void on_answer(GtkDialog *dialog, int response, window *w)
{
    gtk_window_destroy(GTK_WINDOW(dialog));
    if (response == GTK_RESPONSE_NO && w->widget)
        w->after_answer(w);
}

void window_lose(window *w, guint n, const char *answer, void (*then)(window *w))
{
    if (n == 0) {
        then(w);
        return;
    }
    w->after_answer = then;
    char *text =
        n == 1 ? g_strdup("One edited caption is not saved") : g_strdup_printf("%u edited captions are not saved", n);
    GtkWidget *dialog =
        gtk_message_dialog_new(w->widget, GTK_DIALOG_MODAL, GTK_MESSAGE_QUESTION, GTK_BUTTONS_NONE, "%s", text);
    g_free(text);
    gtk_dialog_add_button(GTK_DIALOG(dialog), answer, GTK_RESPONSE_NO);
    gtk_dialog_add_button(GTK_DIALOG(dialog), "_Go Back", GTK_RESPONSE_CANCEL);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_CANCEL);
    g_signal_connect(dialog, "response", G_CALLBACK(on_answer), w);
    gtk_window_present(GTK_WINDOW(dialog));
}

static void close_unsaved(window *w)
{
    w->sure_to_close = true;
    gtk_window_close(w->widget);
}

/* From here on no widget is touched any more. */
static gboolean on_close(GtkWindow *widget, window *w)
{
    guint n_unsaved = w->sure_to_close ? 0 : window_count_unsaved(w);
    if (n_unsaved > 0) {
        window_lose(w, n_unsaved, "_Close Without Saving", close_unsaved);
        return TRUE;
    }
    w->prefs.maximized = gtk_window_is_maximized(widget);
    gtk_window_get_default_size(widget, &w->prefs.width, &w->prefs.height);
    prefs_save(&w->prefs);
    g_cancellable_cancel(w->gathering);
    window_play(w, NULL);
    detail_show(w->detail, NULL);
    w->widget = NULL;
    return FALSE;
}

window *window_new(GtkApplication *app)
{
    static const album_events of_album = {on_opened, on_moved};
    static const detail_events of_detail = {on_no_word, on_sought};
    window *w = g_new0(window, 1);
    w->app = app;
    w->gathering = g_cancellable_new();
    prefs_load(&w->prefs);
    w->album = album_new(&of_album, w);
    w->detail = detail_new(&of_detail, w);
    window_build(w);
    window_add_actions(w);
    g_signal_connect(w->selection, "notify::selected-item", G_CALLBACK(on_selected), w);
    g_signal_connect(w->bar, "response", G_CALLBACK(on_bar_response), NULL);
    g_signal_connect(w->beams, "value-changed", G_CALLBACK(on_beams), w);
    g_signal_connect(w->languages, "notify::selected", G_CALLBACK(on_language), w);
    g_signal_connect(w->widget, "close-request", G_CALLBACK(on_close), w);
    GtkDropTarget *target = gtk_drop_target_new(GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);
    g_signal_connect(target, "drop", G_CALLBACK(on_drop), w);
    gtk_widget_add_controller(GTK_WIDGET(w->widget), GTK_EVENT_CONTROLLER(target));
    appearance_set(gtk_widget_get_display(GTK_WIDGET(w->widget)));
    on_moved(w);
    gtk_widget_realize(GTK_WIDGET(w->widget));
    frames_watch(GTK_WIDGET(w->widget));
    return w;
}

void window_free(window *w)
{
    if (!w)
        return;
    while (w->n_saving > 0)
        g_main_context_iteration(NULL, TRUE);
    if (w->player)
        player_close(w->player);
    detail_free(w->detail);
    album_close(w->album);
    g_object_unref(w->gathering);
    prefs_release(&w->prefs);
    g_strfreev(w->codes);
    g_free(w->language);
    g_free(w->model);
    g_free(w);
}

void window_present(window *w)
{
    if (w->widget)
        gtk_window_present(w->widget);
}
