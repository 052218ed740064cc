/* The list of photos: see list.h. A row's widgets are made once and bound to the photos that scroll by. */
#include "apps/gui/list.h"

#include "apps/gui/photo.h"

enum { PICTURE_WIDTH = 96, PICTURE_HEIGHT = 72 };

typedef struct row {
    GtkWidget *box, *picture, *spinner, *caption, *name;
    Photo *photo; /* while bound */
    gulong handler;
    GBytes *thumbnail; /* what the picture is made of; borrowed from nobody */
} row;

static const char *describe(const Photo *p)
{
    if (p->state == PHOTO_FAILED)
        return p->message;
    if (p->text)
        return p->text;
    return p->state == PHOTO_WORKING ? "Looking…" : "Waiting";
}

static void show_thumbnail(row *r)
{
    GBytes *wanted = r->photo->told ? r->photo->told->thumbnail : NULL;
    if (wanted == r->thumbnail)
        return;
    g_clear_pointer(&r->thumbnail, g_bytes_unref);
    GdkTexture *texture = wanted ? gdk_texture_new_from_bytes(wanted, NULL) : NULL;
    gtk_picture_set_paintable(GTK_PICTURE(r->picture), GDK_PAINTABLE(texture));
    g_clear_object(&texture);
    r->thumbnail = wanted ? g_bytes_ref(wanted) : NULL;
}

static void on_changed(Photo *p, row *r)
{
    bool works = p->state == PHOTO_WORKING, failed = p->state == PHOTO_FAILED;
    gtk_spinner_set_spinning(GTK_SPINNER(r->spinner), works);
    gtk_widget_set_visible(r->spinner, works);
    if (strcmp(gtk_label_get_text(GTK_LABEL(r->caption)), describe(p)) != 0)
        gtk_label_set_text(GTK_LABEL(r->caption), describe(p));
    char *name = g_strdup_printf("%s%s%s", p->name, p->edited ? " · edited" : "", p->saved ? " · saved" : "");
    gtk_label_set_text(GTK_LABEL(r->name), name);
    (failed ? gtk_widget_add_css_class : gtk_widget_remove_css_class)(r->caption, "error");
    (p->text || failed ? gtk_widget_remove_css_class : gtk_widget_add_css_class)(r->caption, "dim-label");
    char *label = g_strdup_printf("%s: %s", name, describe(p));
    gtk_accessible_update_property(GTK_ACCESSIBLE(r->box), GTK_ACCESSIBLE_PROPERTY_LABEL, label, -1);
    show_thumbnail(r);
    g_free(label);
    g_free(name);
}

static GtkWidget *make_label(GtkWidget *box, int lines)
{
    GtkWidget *label = g_object_new(GTK_TYPE_LABEL, "xalign", 0.0, "wrap", lines > 1, "lines", lines, "ellipsize",
                                    PANGO_ELLIPSIZE_END, "wrap-mode", PANGO_WRAP_WORD_CHAR, NULL);
    gtk_box_append(GTK_BOX(box), label);
    return label;
}

static void free_row(gpointer data)
{
    row *r = data;
    g_clear_pointer(&r->thumbnail, g_bytes_unref);
    g_free(r);
}

static void on_setup(GtkListItemFactory *factory, GtkListItem *item)
{
    (void)factory;
    row *r = g_new0(row, 1);
    r->box = gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 12);
    gtk_widget_add_css_class(r->box, "row");
    GtkWidget *frame = gtk_overlay_new();
    gtk_widget_set_size_request(frame, PICTURE_WIDTH, PICTURE_HEIGHT);
    gtk_widget_set_overflow(frame, GTK_OVERFLOW_HIDDEN);
    gtk_widget_add_css_class(frame, "thumbnail");
    r->picture = g_object_new(GTK_TYPE_PICTURE, "content-fit", GTK_CONTENT_FIT_COVER, "can-shrink", TRUE,
                              "accessible-role", GTK_ACCESSIBLE_ROLE_PRESENTATION, NULL);
    r->spinner = g_object_new(GTK_TYPE_SPINNER, "halign", GTK_ALIGN_CENTER, "valign", GTK_ALIGN_CENTER, NULL);
    gtk_overlay_set_child(GTK_OVERLAY(frame), gtk_box_new(GTK_ORIENTATION_HORIZONTAL, 0)); /* its size is the frame's */
    gtk_overlay_add_overlay(GTK_OVERLAY(frame), r->picture);
    gtk_overlay_add_overlay(GTK_OVERLAY(frame), r->spinner);
    gtk_box_append(GTK_BOX(r->box), frame);
    GtkWidget *texts = g_object_new(GTK_TYPE_BOX, "orientation", GTK_ORIENTATION_VERTICAL, "spacing", 2, "valign",
                                    GTK_ALIGN_CENTER, "hexpand", TRUE, NULL);
    r->caption = make_label(texts, 2);
    r->name = make_label(texts, 1);
    gtk_widget_add_css_class(r->name, "dim-label");
    gtk_widget_add_css_class(r->name, "name");
    gtk_box_append(GTK_BOX(r->box), texts);
    gtk_list_item_set_child(item, r->box);
    g_object_set_data_full(G_OBJECT(item), "row", r, free_row);
}

static void on_bind(GtkListItemFactory *factory, GtkListItem *item)
{
    (void)factory;
    row *r = g_object_get_data(G_OBJECT(item), "row");
    r->photo = gtk_list_item_get_item(item);
    r->handler = g_signal_connect(r->photo, "changed", G_CALLBACK(on_changed), r);
    on_changed(r->photo, r);
}

static void on_unbind(GtkListItemFactory *factory, GtkListItem *item)
{
    (void)factory;
    row *r = g_object_get_data(G_OBJECT(item), "row");
    g_clear_signal_handler(&r->handler, r->photo);
    r->photo = NULL;
}

/* Keys of the list and not of the window: a text field deletes words with them. */
static void add_keys(GtkWidget *view)
{
    GtkEventController *controller = gtk_shortcut_controller_new();
    gtk_shortcut_controller_add_shortcut(GTK_SHORTCUT_CONTROLLER(controller),
                                         gtk_shortcut_new(gtk_shortcut_trigger_parse_string("Delete|<Control>Delete"),
                                                          gtk_named_action_new("win.remove")));
    gtk_widget_add_controller(view, controller);
}

GtkWidget *list_new(GtkSelectionModel *photos)
{
    GtkListItemFactory *factory = gtk_signal_list_item_factory_new();
    g_signal_connect(factory, "setup", G_CALLBACK(on_setup), NULL);
    g_signal_connect(factory, "bind", G_CALLBACK(on_bind), NULL);
    g_signal_connect(factory, "unbind", G_CALLBACK(on_unbind), NULL);
    GtkWidget *view = gtk_list_view_new(photos, factory);
    gtk_accessible_update_property(GTK_ACCESSIBLE(view), GTK_ACCESSIBLE_PROPERTY_LABEL, "Photos", -1);
    add_keys(view);
    return view;
}
