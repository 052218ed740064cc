/* Button, slider and time of a clip: see transport.h. */
#include "apps/gui/transport.h"

enum { STEP = 5, PAGE = 30 }; /* seconds */

struct transport {
    void (*sought)(void *context, double seconds);
    void *context;
    GtkWidget *box, *slider, *time;
    bool fills; /* the slider follows the clip, not somebody's hand */
};

static void print_time(GString *to, double seconds)
{
    int whole = (int)seconds;
    g_string_append_printf(to, "%d:%02d", whole / 60, whole % 60);
}

static void on_value(GtkRange *slider, transport *t)
{
    double seconds = gtk_range_get_value(slider);
    GString *text = g_string_new(NULL);
    print_time(text, seconds);
    gtk_accessible_update_property(GTK_ACCESSIBLE(slider), GTK_ACCESSIBLE_PROPERTY_VALUE_TEXT, text->str, -1);
    g_string_free(text, TRUE);
    if (!t->fills)
        t->sought(t->context, seconds);
}

void transport_show(transport *t, double seconds, double n_seconds, bool can_seek)
{
    GString *text = g_string_new(NULL);
    print_time(text, seconds);
    if (n_seconds > 0.0) {
        g_string_append(text, " / ");
        print_time(text, n_seconds);
    }
    if (strcmp(gtk_label_get_text(GTK_LABEL(t->time)), text->str) != 0)
        gtk_label_set_text(GTK_LABEL(t->time), text->str);
    g_string_free(text, TRUE);
    t->fills = true;
    if (can_seek) {
        gtk_range_set_range(GTK_RANGE(t->slider), 0.0, n_seconds);
        gtk_range_set_value(GTK_RANGE(t->slider), seconds);
    }
    t->fills = false;
    gtk_widget_set_visible(t->slider, can_seek);
}

void transport_clear(transport *t)
{
    gtk_label_set_text(GTK_LABEL(t->time), "");
    gtk_widget_set_visible(t->slider, FALSE);
}

transport *transport_new(void (*sought)(void *context, double seconds), void *context)
{
    transport *t = g_new0(transport, 1);
    t->sought = sought;
    t->context = context;
    t->box = g_object_new(GTK_TYPE_BOX, "spacing", 8, "visible", FALSE, NULL);
    GtkWidget *play = gtk_toggle_button_new();
    gtk_button_set_icon_name(GTK_BUTTON(play), "media-playback-start-symbolic");
    gtk_actionable_set_action_name(GTK_ACTIONABLE(play), "win.play");
    gtk_widget_set_tooltip_text(play, "Play (Ctrl+Space)");
    gtk_accessible_update_property(GTK_ACCESSIBLE(play), GTK_ACCESSIBLE_PROPERTY_LABEL, "Play", -1);
    GtkAdjustment *adjustment = gtk_adjustment_new(0.0, 0.0, 1.0, STEP, PAGE, 0.0);
    t->slider = gtk_scale_new(GTK_ORIENTATION_HORIZONTAL, adjustment);
    gtk_widget_set_hexpand(t->slider, TRUE);
    gtk_widget_set_tooltip_text(t->slider, "Position (left and right: 5 seconds)");
    gtk_accessible_update_property(GTK_ACCESSIBLE(t->slider), GTK_ACCESSIBLE_PROPERTY_LABEL, "Position", -1);
    g_signal_connect(t->slider, "value-changed", G_CALLBACK(on_value), t);
    t->time = gtk_label_new("");
    GtkWidget *parts[] = {play, t->slider, t->time};
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++)
        gtk_box_append(GTK_BOX(t->box), parts[i]);
    transport_clear(t);
    return t;
}

void transport_free(transport *t)
{
    g_free(t);
}

GtkWidget *transport_widget(transport *t)
{
    return t->box;
}
