/* A widget that puts its children in lines: see wrap.h. */
#include "apps/gui/wrap.h"

enum { GAP = 2 };

struct _Wrap {
    GtkWidget parent;
};

G_DEFINE_TYPE(Wrap, wrap, GTK_TYPE_WIDGET)

/* Places children in lines of `width`, or only measures them. Returns the height of all lines. */
static int set_lines(GtkWidget *widget, int width, bool place)
{
    bool mirrored = gtk_widget_get_direction(widget) == GTK_TEXT_DIR_RTL;
    int x = 0, y = 0, line = 0;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child; child = gtk_widget_get_next_sibling(child)) {
        int wide, high;
        gtk_widget_measure(child, GTK_ORIENTATION_HORIZONTAL, -1, NULL, &wide, NULL, NULL);
        wide = MIN(wide, width);
        gtk_widget_measure(child, GTK_ORIENTATION_VERTICAL, wide, NULL, &high, NULL, NULL);
        if (x > 0 && x + wide > width) {
            x = 0;
            y += line + GAP;
            line = 0;
        }
        if (place)
            gtk_widget_size_allocate(child, &(GtkAllocation){mirrored ? width - x - wide : x, y, wide, high}, -1);
        x += wide + GAP;
        line = MAX(line, high);
    }
    return y + line;
}

static GtkSizeRequestMode get_request_mode(GtkWidget *widget)
{
    (void)widget;
    return GTK_SIZE_REQUEST_HEIGHT_FOR_WIDTH;
}

/* As wide as the widest child, rather as wide as all of them. */
static void measure(GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum, int *natural,
                    int *minimum_baseline, int *natural_baseline)
{
    *minimum_baseline = *natural_baseline = -1;
    int widest = 0, all = 0;
    for (GtkWidget *child = gtk_widget_get_first_child(widget); child; child = gtk_widget_get_next_sibling(child)) {
        int least, wide;
        gtk_widget_measure(child, GTK_ORIENTATION_HORIZONTAL, -1, &least, &wide, NULL, NULL);
        widest = MAX(widest, least);
        all += wide + GAP;
    }
    if (orientation == GTK_ORIENTATION_HORIZONTAL) {
        *minimum = widest;
        *natural = MAX(widest, all);
    } else {
        *minimum = *natural = set_lines(widget, for_size < 0 ? MAX(widest, all) : for_size, false);
    }
}

static void size_allocate(GtkWidget *widget, int width, int height, int baseline)
{
    (void)height;
    (void)baseline;
    set_lines(widget, width, true);
}

static void dispose(GObject *object)
{
    for (GtkWidget *child; (child = gtk_widget_get_first_child(GTK_WIDGET(object)));)
        gtk_widget_unparent(child);
    G_OBJECT_CLASS(wrap_parent_class)->dispose(object);
}

static void wrap_class_init(WrapClass *class)
{
    GtkWidgetClass *widget = GTK_WIDGET_CLASS(class);
    widget->get_request_mode = get_request_mode;
    widget->measure = measure;
    widget->size_allocate = size_allocate;
    G_OBJECT_CLASS(class)->dispose = dispose;
    gtk_widget_class_set_accessible_role(widget, GTK_ACCESSIBLE_ROLE_GROUP);
}

static void wrap_init(Wrap *w)
{
    (void)w;
}

GtkWidget *wrap_new(void)
{
    return g_object_new(wrap_get_type(), NULL);
}
