/* A caption as a line of words: see words.h. */
#include "apps/gui/words.h"

#include "apps/gui/wrap.h"

struct words {
    void (*chosen)(void *context, int word);
    void *context;
    GtkWidget *box;
    GtkToggleButton *active; /* the chosen one, or NULL */
};

static int number_of(GtkToggleButton *button)
{
    return GPOINTER_TO_INT(g_object_get_data(G_OBJECT(button), "number"));
}

static void on_toggled(GtkToggleButton *button, gpointer data)
{
    words *w = data;
    if (gtk_toggle_button_get_active(button)) {
        GtkToggleButton *before = w->active;
        w->active = button; /* first: what the other one then tells is not for us */
        if (before)
            gtk_toggle_button_set_active(before, FALSE);
        w->chosen(w->context, number_of(button));
    } else if (w->active == button) {
        w->active = NULL;
        w->chosen(w->context, -1);
    }
}

words *words_new(void (*chosen)(void *context, int word), void *context)
{
    words *w = g_new0(words, 1);
    w->chosen = chosen;
    w->context = context;
    w->box = wrap_new();
    gtk_accessible_update_property(GTK_ACCESSIBLE(w->box), GTK_ACCESSIBLE_PROPERTY_LABEL, "Words of the caption",
                                   GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                   "Choosing a word shows where in the picture the model looked for it", -1);
    gtk_widget_add_css_class(w->box, "words");
    g_object_ref_sink(w->box);
    return w;
}

void words_free(words *w)
{
    g_object_unref(w->box);
    g_free(w);
}

GtkWidget *words_widget(words *w)
{
    return w->box;
}

static void describe(GtkWidget *button, const telling_word *word)
{
    char *sure = g_strdup_printf("%.0f %% sure", 100.0 * word->sure);
    gtk_widget_set_tooltip_text(button, sure);
    gtk_accessible_update_property(GTK_ACCESSIBLE(button), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION, sure, -1);
    g_free(sure);
}

static GtkWidget *make_word(words *w, const telling_word *word, int number)
{
    GtkWidget *button = gtk_toggle_button_new_with_label(word->text);
    gtk_widget_add_css_class(button, "flat");
    gtk_widget_add_css_class(button, "word");
    describe(button, word);
    g_object_set_data(G_OBJECT(button), "number", GINT_TO_POINTER(number));
    g_signal_connect(button, "toggled", G_CALLBACK(on_toggled), w);
    return button;
}

/* The button that shows this word already, or NULL. */
static GtkWidget *find_same(GtkWidget *button, const telling_word *word)
{
    bool same = button && strcmp(gtk_button_get_label(GTK_BUTTON(button)), word->text) == 0;
    return same ? button : NULL;
}

/* While a clip plays, captions often begin alike: those words stay, and with them the keyboard's place. */
void words_show(words *w, const telling *t)
{
    GtkToggleButton *before = w->active;
    w->active = NULL;
    if (before)
        gtk_toggle_button_set_active(before, FALSE);
    int n = t ? t->n_words : 0, i = 0;
    GtkWidget *child = gtk_widget_get_first_child(w->box), *same;
    for (; i < n && (same = find_same(child, &t->words[i])); i++) {
        describe(same, &t->words[i]);
        child = gtk_widget_get_next_sibling(same);
    }
    while (child) {
        GtkWidget *next = gtk_widget_get_next_sibling(child);
        gtk_widget_unparent(child);
        child = next;
    }
    for (; i < n; i++)
        gtk_widget_set_parent(make_word(w, &t->words[i], i), w->box);
}

void words_step(words *w, int step)
{
    GtkWidget *next = NULL;
    if (w->active)
        next = step > 0 ? gtk_widget_get_next_sibling(GTK_WIDGET(w->active))
                        : gtk_widget_get_prev_sibling(GTK_WIDGET(w->active));
    if (!next)
        next = step > 0 ? gtk_widget_get_first_child(w->box) : gtk_widget_get_last_child(w->box);
    if (next)
        gtk_toggle_button_set_active(GTK_TOGGLE_BUTTON(next), TRUE);
}

void words_clear(words *w)
{
    if (w->active)
        gtk_toggle_button_set_active(w->active, FALSE);
}
