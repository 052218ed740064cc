/* The photo that is chosen: see detail.h. */
#include "apps/gui/detail.h"

#include "apps/gui/transport.h"
#include "apps/gui/words.h"

struct detail {
    detail_events events;
    void *context;
    GtkWidget *box, *picture, *spinner, *sure, *sure_label, *model, *editor, *message;
    words *words;
    transport *transport;
    Photo *photo; /* or NULL */
    gulong handler;
    telling *told;         /* whose words are shown, or NULL */
    preview *shown;        /* what the picture shows, or NULL */
    int word;              /* chosen, or -1 */
    GdkTexture *frame;     /* of a clip, the last one; or NULL */
    GCancellable *glowing; /* of the glow that is being made, or NULL */
    bool fills;            /* the editor's text is being set, not typed */
};

static void show_texture(detail *d, GdkTexture *texture)
{
    gtk_picture_set_paintable(GTK_PICTURE(d->picture), GDK_PAINTABLE(texture));
}

static void show_plain(detail *d)
{
    show_texture(d, d->frame ? d->frame : d->shown ? d->shown->texture : NULL);
}

/* ---- where the model looked, made in another thread ---- */

typedef struct glow {
    preview *shown;
    telling *told;
    int word;
} glow;

static void free_glow(gpointer data)
{
    glow *g = data;
    preview_unref(g->shown);
    telling_unref(g->told);
    g_free(g);
}

static void make_glow(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    (void)source;
    (void)cancellable;
    const glow *g = data;
    g_task_return_pointer(task, preview_glow(g->shown, g->told, g->word), g_object_unref);
}

static void on_glow(GObject *source, GAsyncResult *result, gpointer data)
{
    (void)source;
    GdkTexture *texture = g_task_propagate_pointer(G_TASK(result), NULL);
    if (!texture) /* cancelled, and `data` may be gone */
        return;
    show_texture(data, texture);
    g_object_unref(texture);
}

static void stop_glow(detail *d)
{
    if (d->glowing)
        g_cancellable_cancel(d->glowing);
    g_clear_object(&d->glowing);
}

static void show_word(detail *d)
{
    stop_glow(d);
    if (d->word < 0 || !d->told || !d->shown) {
        show_plain(d);
        return;
    }
    glow *g = g_new(glow, 1);
    *g = (glow){preview_ref(d->shown), telling_ref(d->told), d->word};
    d->glowing = g_cancellable_new();
    GTask *task = g_task_new(NULL, d->glowing, on_glow, d);
    g_task_set_task_data(task, g, free_glow);
    g_task_run_in_thread(task, make_glow);
    g_object_unref(task);
}

/* ---- what is known of the photo ---- */

static void show_preview(detail *d)
{
    preview *shown = d->photo ? d->photo->shown : NULL;
    if (shown == d->shown)
        return;
    preview_unref(d->shown);
    d->shown = shown ? preview_ref(shown) : NULL;
    show_word(d);
}

static void show_told(detail *d)
{
    telling *told = d->photo ? d->photo->told : NULL;
    if (told == d->told)
        return;
    telling_unref(d->told);
    d->told = told ? telling_ref(told) : NULL;
    d->word = -1;
    words_show(d->words, told);
    gtk_widget_set_visible(d->sure, told != NULL);
    if (told) {
        char *sure = g_strdup_printf("%.0f %% sure%s%s", 100.0 * told->confidence, told->doubt ? " · " : "",
                                     told->doubt ? told->doubt : "");
        char *model =
            g_strdup_printf("%s · %.0f ms%s", told->model, told->ms, told->damaged ? " · the file is damaged" : "");
        gtk_level_bar_set_value(GTK_LEVEL_BAR(d->sure), told->confidence);
        char *tip = g_strdup_printf("%s\nThe mean probability of the caption's parts", sure);
        gtk_label_set_text(GTK_LABEL(d->sure_label), sure);
        gtk_widget_set_tooltip_text(d->sure_label, tip);
        gtk_label_set_text(GTK_LABEL(d->model), model);
        g_free(sure);
        g_free(tip);
        g_free(model);
    } else {
        gtk_label_set_text(GTK_LABEL(d->sure_label), "");
        gtk_label_set_text(GTK_LABEL(d->model), "");
    }
    show_word(d);
}

static char *typed_text(detail *d)
{
    char *text = NULL;
    g_object_get(gtk_text_view_get_buffer(GTK_TEXT_VIEW(d->editor)), "text", &text, NULL);
    return text;
}

static void show_text(detail *d)
{
    const char *text = d->photo && d->photo->text ? d->photo->text : "";
    char *typed = typed_text(d);
    if (strcmp(text, typed) != 0) {
        d->fills = true;
        gtk_text_buffer_set_text(gtk_text_view_get_buffer(GTK_TEXT_VIEW(d->editor)), text, -1);
        d->fills = false;
    }
    g_free(typed);
    gtk_widget_set_sensitive(d->editor, d->photo && d->photo->text);
    gtk_accessible_update_property(GTK_ACCESSIBLE(d->picture), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                   *text ? text : "No picture", -1);
}

/* The next caption of a clip waits until no word of this one is looked at. */
static bool is_held(const detail *d)
{
    return d->word >= 0 && d->photo && d->photo->is_live;
}

static void on_changed(Photo *photo, detail *d)
{
    if (!is_held(d)) {
        show_preview(d);
        show_told(d);
        show_text(d);
    }
    bool works = photo && photo->state == PHOTO_WORKING;
    gtk_spinner_set_spinning(GTK_SPINNER(d->spinner), works);
    gtk_widget_set_visible(d->spinner, works);
    gtk_label_set_text(GTK_LABEL(d->message), photo && photo->message ? photo->message : "");
    gtk_widget_set_visible(d->message, photo && photo->message);
}

static void on_word(void *context, int word)
{
    detail *d = context;
    d->word = word;
    show_word(d);
    if (word >= 0)
        return;
    on_changed(d->photo, d);
    d->events.no_word(d->context);
}

static void on_typed(GtkTextBuffer *buffer, detail *d)
{
    (void)buffer;
    if (d->fills || !d->photo || !d->photo->text)
        return;
    char *text = typed_text(d);
    photo_edit(d->photo, text);
    g_free(text);
}

void detail_show(detail *d, Photo *photo)
{
    if (d->photo)
        g_clear_signal_handler(&d->handler, d->photo);
    g_clear_object(&d->frame);
    d->word = -1;
    g_set_object(&d->photo, photo);
    if (photo)
        d->handler = g_signal_connect(photo, "changed", G_CALLBACK(on_changed), d);
    gtk_widget_set_visible(transport_widget(d->transport), photo && photo->is_live);
    transport_clear(d->transport);
    on_changed(photo, d);
    show_word(d);
}

bool detail_has_word(const detail *d)
{
    return d->word >= 0;
}

void detail_show_frame(detail *d, GdkTexture *frame, double seconds, double n_seconds, bool can_seek)
{
    transport_show(d->transport, seconds, n_seconds, can_seek);
    g_set_object(&d->frame, frame);
    if (d->word < 0)
        show_plain(d);
}

void detail_step_word(detail *d, int step)
{
    if (step == 0)
        words_clear(d->words);
    else
        words_step(d->words, step);
}

void detail_edit(detail *d)
{
    gtk_widget_grab_focus(d->editor);
}

void detail_revert(detail *d)
{
    const telling *told = d->photo ? d->photo->told : NULL;
    if (!told || strcmp(told->text, d->photo->text) == 0)
        return;
    GtkTextBuffer *buffer = gtk_text_view_get_buffer(GTK_TEXT_VIEW(d->editor));
    GtkTextIter begin, end;
    gtk_text_buffer_begin_user_action(buffer);
    gtk_text_buffer_get_bounds(buffer, &begin, &end);
    gtk_text_buffer_delete(buffer, &begin, &end);
    gtk_text_buffer_insert(buffer, &begin, told->text, -1);
    gtk_text_buffer_end_user_action(buffer);
}

/* ---- widgets ---- */

static GtkWidget *make_picture(detail *d)
{
    d->picture = g_object_new(GTK_TYPE_PICTURE, "vexpand", TRUE, "hexpand", TRUE, "can-shrink", TRUE, NULL);
    gtk_widget_set_size_request(d->picture, 240, 180);
    d->spinner = g_object_new(GTK_TYPE_SPINNER, "halign", GTK_ALIGN_CENTER, "valign", GTK_ALIGN_CENTER, "width-request",
                              32, "height-request", 32, NULL);
    GtkWidget *overlay = gtk_overlay_new();
    gtk_overlay_set_child(GTK_OVERLAY(overlay), d->picture);
    gtk_overlay_add_overlay(GTK_OVERLAY(overlay), d->spinner);
    return overlay;
}

static GtkWidget *make_sure(detail *d)
{
    GtkWidget *line = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 8);
    d->sure = g_object_new(GTK_TYPE_LEVEL_BAR, "width-request", 96, "valign", GTK_ALIGN_CENTER, NULL);
    gtk_accessible_update_property(GTK_ACCESSIBLE(d->sure), GTK_ACCESSIBLE_PROPERTY_LABEL, "Confidence", -1);
    d->sure_label = g_object_new(GTK_TYPE_LABEL, "ellipsize", PANGO_ELLIPSIZE_END, NULL);
    d->model = g_object_new(GTK_TYPE_LABEL, "ellipsize", PANGO_ELLIPSIZE_END, "hexpand", TRUE, "xalign", 1.0, NULL);
    gtk_widget_add_css_class(d->model, "dim-label");
    gtk_box_append(GTK_BOX(line), d->sure);
    gtk_box_append(GTK_BOX(line), d->sure_label);
    gtk_box_append(GTK_BOX(line), d->model);
    return line;
}

static GtkWidget *make_editor(detail *d)
{
    d->editor = g_object_new(GTK_TYPE_TEXT_VIEW, "wrap-mode", GTK_WRAP_WORD_CHAR, "accepts-tab", FALSE, "top-margin", 8,
                             "bottom-margin", 8, "left-margin", 8, "right-margin", 8, NULL);
    gtk_accessible_update_property(GTK_ACCESSIBLE(d->editor), GTK_ACCESSIBLE_PROPERTY_LABEL, "Caption",
                                   GTK_ACCESSIBLE_PROPERTY_DESCRIPTION, "The text that is saved, copied and exported",
                                   -1);
    g_signal_connect(gtk_text_view_get_buffer(GTK_TEXT_VIEW(d->editor)), "changed", G_CALLBACK(on_typed), d);
    GtkWidget *scroller = g_object_new(GTK_TYPE_SCROLLED_WINDOW, "child", d->editor, "has-frame", TRUE,
                                       "min-content-height", 64, "hscrollbar-policy", GTK_POLICY_NEVER, NULL);
    return scroller;
}

static GtkWidget *make_button(const char *label, const char *action, const char *tip)
{
    GtkWidget *button = gtk_button_new_with_mnemonic(label);
    gtk_actionable_set_action_name(GTK_ACTIONABLE(button), action);
    gtk_widget_set_tooltip_text(button, tip);
    return button;
}

static GtkWidget *make_buttons(void)
{
    GtkWidget *line = g_object_new(GTK_TYPE_BOX, "spacing", 6, "halign", GTK_ALIGN_END, NULL);
    gtk_box_append(GTK_BOX(line), make_button("_Copy", "win.copy", "Copy the caption (Ctrl+Shift+C)"));
    gtk_box_append(GTK_BOX(line), make_button("_Revert", "win.revert", "Back to what the model said (Ctrl+R)"));
    GtkWidget *save = make_button("_Save", "win.save", "Save the caption with the photo (Ctrl+S)");
    gtk_widget_add_css_class(save, "suggested-action");
    gtk_box_append(GTK_BOX(line), save);
    return line;
}

detail *detail_new(const detail_events *events, void *context)
{
    detail *d = g_new0(detail, 1);
    d->events = *events;
    d->context = context;
    d->word = -1;
    d->words = words_new(on_word, d);
    d->transport = transport_new(events->sought, context);
    d->box = gtk_box_new(GTK_ORIENTATION_VERTICAL, 8);
    gtk_widget_add_css_class(d->box, "detail");
    d->message = g_object_new(GTK_TYPE_LABEL, "wrap", TRUE, "wrap-mode", PANGO_WRAP_WORD_CHAR, "xalign", 0.0,
                              "selectable", TRUE, "visible", FALSE, NULL);
    gtk_widget_add_css_class(d->message, "error");
    GtkWidget *parts[] = {make_picture(d), transport_widget(d->transport),
                          d->message,      words_widget(d->words),
                          make_sure(d),    make_editor(d),
                          make_buttons()};
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++)
        gtk_box_append(GTK_BOX(d->box), parts[i]);
    g_object_ref_sink(d->box);
    on_changed(NULL, d);
    return d;
}

void detail_free(detail *d)
{
    detail_show(d, NULL);
    stop_glow(d);
    words_free(d->words);
    transport_free(d->transport);
    telling_unref(d->told);
    preview_unref(d->shown);
    g_object_unref(d->box);
    g_free(d);
}

GtkWidget *detail_widget(detail *d)
{
    return d->box;
}
