/* The widgets of a window: see window_parts.h. */
#include "apps/gui/list.h"
#include "apps/gui/window_parts.h"

static void name(GtkWidget *widget, const char *text)
{
    gtk_accessible_update_property(GTK_ACCESSIBLE(widget), GTK_ACCESSIBLE_PROPERTY_LABEL, text, -1);
}

static GtkWidget *make_button(const char *label, const char *action, const char *tip)
{
    GtkWidget *button = gtk_button_new_with_mnemonic(label);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    gtk_widget_set_tooltip_text(button, tip);
    return button;
}

static GtkWidget *make_icon_button(const char *icon, const char *action, const char *tip)
{
    GtkWidget *button = gtk_button_new_from_icon_name(icon);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    gtk_widget_set_tooltip_text(button, tip);
    name(button, tip);
    return button;
}

static void add_section(GMenu *menu, const char *const (*items)[2], gsize n)
{
    GMenu *section = g_menu_new();
    for (gsize i = 0; i < n; i++)
        g_menu_append(section, items[i][0], items[i][1]);
    g_menu_append_section(menu, NULL, G_MENU_MODEL(section));
    g_object_unref(section);
}

static GtkWidget *make_menu(void)
{
    static const char *const add[][2] = {
        {"_Open Photos…", "win.open"}, {"Open a _Folder…", "win.open-folder"}, {"Open a _Camera…", "win.open-camera"}};
    static const char *const save[][2] = {
        {"_Save the Caption", "win.save"}, {"Save _All Captions", "win.save-all"}, {"_Export…", "win.export"}};
    static const char *const where[][2] = {{"In a _Text File Beside the Photo", "win.format::txt"},
                                           {"In an _XMP File Beside the Photo", "win.format::xmp"},
                                           {"_Inside the Photo", "win.format::embed"},
                                           {"_Replace Captions That Are There", "win.replace"}};
    static const char *const list[][2] = {{"Take the Photo _Off the List", "win.remove"},
                                          {"_Clear the List", "win.clear"}};
    static const char *const about[][2] = {
        {"_Keyboard Shortcuts", "win.keys"}, {"A_bout Looksay", "win.about"}, {"_Quit", "app.quit"}};
    GMenu *menu = g_menu_new(), *saving = g_menu_new();
    add_section(menu, add, G_N_ELEMENTS(add));
    add_section(menu, save, G_N_ELEMENTS(save));
    add_section(saving, where, G_N_ELEMENTS(where));
    g_menu_append_submenu(menu, "Where Captions Are Sa_ved", G_MENU_MODEL(saving));
    add_section(menu, list, G_N_ELEMENTS(list));
    add_section(menu, about, G_N_ELEMENTS(about));
    GtkWidget *button = g_object_new(GTK_TYPE_MENU_BUTTON, "icon-name", "open-menu-symbolic", "menu-model", menu,
                                     "tooltip-text", "Menu (F10)", NULL);
    name(button, "Menu");
    g_object_unref(menu);
    g_object_unref(saving);
    return button;
}

/* 0 beams are shown as "auto". */
static gboolean on_beams_output(GtkSpinButton *spin, gpointer data)
{
    (void)data;
    if (gtk_spin_button_get_value_as_int(spin) != 0)
        return FALSE;
    gtk_editable_set_text(GTK_EDITABLE(spin), "auto");
    return TRUE;
}

static int on_beams_input(GtkSpinButton *spin, double *value, gpointer data)
{
    (void)data;
    if (strcmp(gtk_editable_get_text(GTK_EDITABLE(spin)), "auto") != 0)
        return FALSE;
    *value = 0.0;
    return TRUE;
}

/* Hidden until a model has several. */
static GtkWidget *make_languages(window *w)
{
    GtkWidget *line = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label =
        g_object_new(GTK_TYPE_LABEL, "label", "_Language", "use-underline", TRUE, "hexpand", TRUE, "xalign", 0.0, NULL);
    w->languages = gtk_drop_down_new(NULL, NULL);
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), w->languages);
    gtk_box_append(GTK_BOX(line), label);
    gtk_box_append(GTK_BOX(line), w->languages);
    gtk_widget_set_visible(line, FALSE);
    w->languages_line = line;
    return line;
}

static GtkWidget *make_model_button(window *w)
{
    static const char *const choices[][3] = {
        {"Choose a Model _File…", "win.open-model", "A GGUF file (Ctrl+M)"},
        {"Choose a Model F_older…", "win.open-model-folder", "A Hugging Face directory"},
        {"Use the _Default Model", "win.default-model", "The model that came with the program"}};
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 6);
    for (gsize i = 0; i < G_N_ELEMENTS(choices); i++) {
        GtkWidget *button = make_button(choices[i][0], choices[i][1], choices[i][2]);
        gtk_button_set_has_frame(GTK_BUTTON(button), FALSE);
        gtk_box_append(GTK_BOX(box), button);
    }
    GtkWidget *line = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    GtkWidget *label =
        g_object_new(GTK_TYPE_LABEL, "label", "_Beams", "use-underline", TRUE, "hexpand", TRUE, "xalign", 0.0, NULL);
    w->beams = gtk_spin_button_new_with_range(0.0, 32.0, 1.0);
    g_signal_connect(w->beams, "output", G_CALLBACK(on_beams_output), NULL);
    g_signal_connect(w->beams, "input", G_CALLBACK(on_beams_input), NULL);
    gtk_spin_button_set_numeric(GTK_SPIN_BUTTON(w->beams), FALSE);
    gtk_editable_set_width_chars(GTK_EDITABLE(w->beams), 5);
    gtk_spin_button_update(GTK_SPIN_BUTTON(w->beams)); /* 0 is what it has shown before it knew better */
    gtk_widget_set_tooltip_text(w->beams, "How many captions are weighed against each other; auto: the model's own");
    gtk_label_set_mnemonic_widget(GTK_LABEL(label), w->beams);
    gtk_accessible_update_relation(GTK_ACCESSIBLE(w->beams), GTK_ACCESSIBLE_RELATION_LABELLED_BY, label, NULL, -1);
    gtk_box_append(GTK_BOX(line), label);
    gtk_box_append(GTK_BOX(line), w->beams);
    gtk_box_append(GTK_BOX(box), line);
    gtk_box_append(GTK_BOX(box), make_languages(w));
    GtkWidget *popover = g_object_new(GTK_TYPE_POPOVER, "child", box, NULL);
    w->model_label = g_object_new(GTK_TYPE_LABEL, "label", "No model", "ellipsize", PANGO_ELLIPSIZE_MIDDLE,
                                  "max-width-chars", 30, NULL);
    GtkWidget *face = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 6);
    gtk_box_append(GTK_BOX(face), w->model_label);
    gtk_box_append(GTK_BOX(face), gtk_image_new_from_icon_name("pan-down-symbolic"));
    GtkWidget *button = g_object_new(GTK_TYPE_MENU_BUTTON, "child", face, "popover", popover, "tooltip-text",
                                     "The model, and how it searches", NULL);
    name(button, "Model");
    return button;
}

static GtkWidget *make_header(window *w)
{
    GtkWidget *header = gtk_header_bar_new();
    GtkWidget *open = make_button("_Open", "win.open", "Open photos (Ctrl+O)");
    w->pause = gtk_toggle_button_new();
    gtk_button_set_icon_name(GTK_BUTTON(w->pause), "media-playback-pause-symbolic");
    gtk_actionable_set_action_name(GTK_ACTIONABLE(w->pause), "win.pause");
    gtk_widget_set_tooltip_text(w->pause, "Pause (Ctrl+P)");
    name(w->pause, "Pause");
    w->menu_button = make_menu();
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), open);
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header),
                              make_icon_button("folder-open-symbolic", "win.open-folder", "Open a folder"));
    gtk_header_bar_pack_start(GTK_HEADER_BAR(header), w->pause);
    gtk_header_bar_pack_end(GTK_HEADER_BAR(header), w->menu_button);
    gtk_header_bar_pack_end(GTK_HEADER_BAR(header), make_model_button(w));
    return header;
}

static GtkWidget *make_welcome(void)
{
    GtkWidget *box = g_object_new(GTK_TYPE_BOX, "orientation", GTK_ORIENTATION_VERTICAL, "spacing", 12, "halign",
                                  GTK_ALIGN_CENTER, "valign", GTK_ALIGN_CENTER, NULL);
    GtkWidget *icon = g_object_new(GTK_TYPE_IMAGE, "icon-name", "image-x-generic-symbolic", "pixel-size", 96,
                                   "accessible-role", GTK_ACCESSIBLE_ROLE_PRESENTATION, NULL);
    GtkWidget *label = gtk_label_new("Drop photos, clips or a folder here");
    gtk_widget_add_css_class(label, "welcome");
    GtkWidget *open = make_button("Open _Photos…", "win.open", "Open photos (Ctrl+O)");
    gtk_widget_add_css_class(open, "suggested-action");
    gtk_box_append(GTK_BOX(box), icon);
    gtk_box_append(GTK_BOX(box), label);
    gtk_box_append(GTK_BOX(box), open);
    return box;
}

static GtkWidget *make_photos(window *w)
{
    w->selection = gtk_single_selection_new(g_object_ref(album_photos(w->album)));
    w->list = list_new(GTK_SELECTION_MODEL(w->selection));
    GtkWidget *scroller = g_object_new(GTK_TYPE_SCROLLED_WINDOW, "child", w->list, "hscrollbar-policy",
                                       GTK_POLICY_NEVER, "width-request", 280, NULL);
    return g_object_new(GTK_TYPE_PANED, "start-child", scroller, "end-child", detail_widget(w->detail),
                        "shrink-start-child", FALSE, "shrink-end-child", FALSE, "resize-start-child", FALSE, "position",
                        380, NULL);
}

static GtkWidget *make_bar(window *w)
{
    w->bar = g_object_new(GTK_TYPE_INFO_BAR, "message-type", GTK_MESSAGE_ERROR, "show-close-button", TRUE, "revealed",
                          FALSE, "accessible-role", GTK_ACCESSIBLE_ROLE_ALERT, NULL);
    w->bar_label = g_object_new(GTK_TYPE_LABEL, "wrap", TRUE, "wrap-mode", PANGO_WRAP_WORD_CHAR, "xalign", 0.0,
                                "selectable", TRUE, NULL);
    gtk_info_bar_add_child(GTK_INFO_BAR(w->bar), w->bar_label);
    return w->bar;
}

static GtkWidget *make_status(window *w)
{
    GtkWidget *line = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    gtk_widget_add_css_class(line, "status");
    w->status = g_object_new(GTK_TYPE_LABEL, "xalign", 0.0, "hexpand", TRUE, "ellipsize", PANGO_ELLIPSIZE_END,
                             "accessible-role", GTK_ACCESSIBLE_ROLE_STATUS, NULL);
    w->progress =
        g_object_new(GTK_TYPE_PROGRESS_BAR, "valign", GTK_ALIGN_CENTER, "width-request", 200, "visible", FALSE, NULL);
    name(w->progress, "Captions");
    gtk_box_append(GTK_BOX(line), w->status);
    gtk_box_append(GTK_BOX(line), w->progress);
    return line;
}

void window_build(window *w)
{
    w->widget = GTK_WINDOW(gtk_application_window_new(w->app));
    gtk_window_set_title(w->widget, "Looksay");
    gtk_window_set_default_size(w->widget, w->prefs.width, w->prefs.height);
    if (w->prefs.maximized)
        gtk_window_maximize(w->widget);
    gtk_window_set_titlebar(w->widget, make_header(w));
    w->stack = gtk_stack_new();
    gtk_widget_set_vexpand(w->stack, TRUE);
    gtk_stack_add_named(GTK_STACK(w->stack), make_welcome(), "welcome");
    gtk_stack_add_named(GTK_STACK(w->stack), make_photos(w), "photos");
    GtkWidget *box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 0), *parts[] = {make_bar(w), w->stack, make_status(w)};
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++)
        gtk_box_append(GTK_BOX(box), parts[i]);
    gtk_window_set_child(w->widget, box);
}
