/* All that the window can do: see window_parts.h. */
#include "apps/captioner/looksay.h"
#include "apps/gui/keys.h"
#include "apps/gui/save.h"
#include "apps/gui/window_parts.h"

static void on_saved(void *context, const char *message, bool failed)
{
    window *w = context;
    w->n_saving--;
    if (!w->widget)
        return;
    (failed ? window_warn : window_say)(w, message);
}

static void on_chosen(void *context, choose_what what, char **paths)
{
    window *w = context;
    switch (what) {
    case CHOOSE_PICTURES:
    case CHOOSE_FOLDER:
        window_open(w, paths);
        break;
    case CHOOSE_MODEL_FILE:
    case CHOOSE_MODEL_FOLDER:
        window_set_model(w, paths[0]);
        break;
    case CHOOSE_EXPORT:
        w->n_saving++;
        save_export(album_photos(w->album), paths[0], on_saved, w);
        break;
    }
}

static void ask(choose_what what, window *w)
{
    choose(w->widget, what, on_chosen, w);
}

static void on_open(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    ask(CHOOSE_PICTURES, w);
}

static void on_open_folder(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    ask(CHOOSE_FOLDER, w);
}

static void on_camera(void *context, const char *name)
{
    char *paths[] = {g_strdup(name), NULL};
    window_open(context, paths);
    g_free(paths[0]);
}

static void on_open_camera(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    choose_camera(((window *)w)->widget, on_camera, w);
}

static void on_open_model(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    ask(CHOOSE_MODEL_FILE, w);
}

static void on_open_model_folder(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    ask(CHOOSE_MODEL_FOLDER, w);
}

static void on_export(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    ask(CHOOSE_EXPORT, w);
}

static void on_default_model(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    window *w = data;
    window_set_model(w, NULL);
}

/* ---- captions ---- */

static void save(window *w, GPtrArray *photos)
{
    w->n_saving++;
    save_photos(photos, w->prefs.format, w->prefs.replace, on_saved, w);
    g_ptr_array_unref(photos);
}

static void on_save(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    window *w = data;
    Photo *photo = window_selected(w);
    if (!photo || !photo->text)
        return;
    GPtrArray *one = g_ptr_array_new();
    g_ptr_array_add(one, photo);
    save(w, one);
}

static void on_save_all(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    window *w = data;
    GListModel *photos = album_photos(w->album);
    GPtrArray *all = g_ptr_array_new_with_free_func(g_object_unref);
    for (guint i = 0; i < g_list_model_get_n_items(photos); i++) {
        Photo *photo = g_list_model_get_item(photos, i);
        if (photo->text && !photo_is_saved_as(photo, w->prefs.format))
            g_ptr_array_add(all, photo);
        else
            g_object_unref(photo);
    }
    save(w, all);
}

static void on_copy(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    window *w = data;
    Photo *photo = window_selected(w);
    if (!photo || !photo->text)
        return;
    gdk_clipboard_set_text(gtk_widget_get_clipboard(GTK_WIDGET(w->widget)), photo->text);
    window_say(w, "Copied the caption");
}

static void on_revert(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    detail_revert(((window *)data)->detail);
}

static void on_edit(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    detail_edit(((window *)w)->detail);
}

static void on_next_word(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    detail_step_word(((window *)w)->detail, 1);
}

static void on_previous_word(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    detail_step_word(((window *)w)->detail, -1);
}

static void on_no_word(GSimpleAction *action, GVariant *parameter, gpointer w)
{
    (void)action;
    (void)parameter;
    detail_step_word(((window *)w)->detail, 0);
}

/* ---- the list ---- */

static void remove_selected(window *w)
{
    Photo *photo = window_selected(w);
    if (photo)
        album_remove(w->album, photo);
}

static void on_remove(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    window *w = data;
    Photo *photo = window_selected(w);
    window_lose(w, photo && photo_is_unsaved(photo), "_Take Off Without Saving", remove_selected);
}

/* What is still being read from folders is not wanted either. */
static void clear(window *w)
{
    g_cancellable_cancel(w->gathering);
    g_object_unref(w->gathering);
    w->gathering = g_cancellable_new();
    album_clear(w->album);
}

static void on_clear(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    window *w = data;
    window_lose(w, window_count_unsaved(w), "_Clear Without Saving", clear);
}

/* ---- what has a state ---- */

static void on_pause(GSimpleAction *action, GVariant *state, gpointer data)
{
    window *w = data;
    w->paused = g_variant_get_boolean(state);
    album_pause(w->album, w->paused);
    g_simple_action_set_state(action, state);
}

static void on_play(GSimpleAction *action, GVariant *state, gpointer data)
{
    (void)action;
    window_set_playing(data, g_variant_get_boolean(state));
}

static void on_format(GSimpleAction *action, GVariant *state, gpointer data)
{
    window *w = data;
    g_free(w->prefs.format);
    w->prefs.format = g_variant_dup_string(state, NULL);
    g_simple_action_set_state(action, state);
}

static void on_replace(GSimpleAction *action, GVariant *state, gpointer data)
{
    window *w = data;
    w->prefs.replace = g_variant_get_boolean(state);
    g_simple_action_set_state(action, state);
}

/* ---- help ---- */

static void on_menu(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    gtk_menu_button_popup(GTK_MENU_BUTTON(((window *)data)->menu_button));
}

static void on_keys(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    keys_show(((window *)data)->widget);
}

static void on_about(GSimpleAction *action, GVariant *parameter, gpointer data)
{
    (void)action;
    (void)parameter;
    static const char *const authors[] = {"The Looksay authors", NULL};
    gtk_show_about_dialog(((window *)data)->widget, "program-name", "Looksay", "version", lks_version(), "comments",
                          "Says what photos show, and where it looked", "license-type", GTK_LICENSE_MIT_X11, "authors",
                          authors, "logo-icon-name", "org.looksay.Looksay", NULL);
}

void window_add_actions(window *w)
{
    static const GActionEntry entries[] = {
        {.name = "open", .activate = on_open},
        {.name = "open-folder", .activate = on_open_folder},
        {.name = "open-camera", .activate = on_open_camera},
        {.name = "open-model", .activate = on_open_model},
        {.name = "open-model-folder", .activate = on_open_model_folder},
        {.name = "default-model", .activate = on_default_model},
        {.name = "export", .activate = on_export},
        {.name = "save", .activate = on_save},
        {.name = "save-all", .activate = on_save_all},
        {.name = "copy", .activate = on_copy},
        {.name = "revert", .activate = on_revert},
        {.name = "edit", .activate = on_edit},
        {.name = "next-word", .activate = on_next_word},
        {.name = "previous-word", .activate = on_previous_word},
        {.name = "no-word", .activate = on_no_word},
        {.name = "remove", .activate = on_remove},
        {.name = "clear", .activate = on_clear},
        {.name = "play", .state = "false", .change_state = on_play},
        {.name = "pause", .state = "false", .change_state = on_pause},
        {.name = "format", .parameter_type = "s", .state = "'txt'", .change_state = on_format},
        {.name = "replace", .state = "false", .change_state = on_replace},
        {.name = "menu", .activate = on_menu},
        {.name = "keys", .activate = on_keys},
        {.name = "about", .activate = on_about},
    };
    g_action_map_add_action_entries(G_ACTION_MAP(w->widget), entries, G_N_ELEMENTS(entries), w);
    g_action_group_change_action_state(G_ACTION_GROUP(w->widget), "format", g_variant_new_string(w->prefs.format));
    g_action_group_change_action_state(G_ACTION_GROUP(w->widget), "replace", g_variant_new_boolean(w->prefs.replace));
}
