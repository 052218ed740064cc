/* What can be done from the keyboard: see keys.h. */
#include "apps/gui/keys.h"

static const struct key {
    const char *group, *action, *keys, *title; /* keys: one or more, separated by spaces; action NULL: a widget's own */
} keys[] = {
    {"Photos", "win.open", "<Control>o", "Open photos"},
    {"Photos", "win.open-folder", "<Control><Shift>o", "Open a folder"},
    {"Photos", "win.open-camera", "<Control><Shift>k", "Open a camera"},
    {"Photos", "win.play", "<Control>space", "Play a clip, or stop it"},
    {"Photos", "win.pause", "<Control>p", "Pause, or go on captioning"},
    {"Photos", NULL, "Up Down", "Choose a photo in the list"},
    {"Photos", NULL, "Delete <Control>Delete", "Take the photo off the list"},
    {"Words", "win.next-word", "<Alt>Right", "Show where the model looked for the next word"},
    {"Words", "win.previous-word", "<Alt>Left", "The same for the word before"},
    {"Words", "win.no-word", "Escape", "Show the picture as it is"},
    {"Captions", "win.edit", "F2", "Edit the caption"},
    {"Captions", "win.revert", "<Control>r", "Back to what the model said"},
    {"Captions", "win.copy", "<Control><Shift>c", "Copy the caption"},
    {"Captions", "win.save", "<Control>s", "Save the caption with its photo"},
    {"Captions", "win.save-all", "<Control><Shift>s", "Save all captions"},
    {"Captions", "win.export", "<Control>e", "Export all captions to one file"},
    {"Program", "win.open-model", "<Control>m", "Choose a model file"},
    {"Program", "win.menu", "F10", "Menu"},
    {"Program", "win.keys", "<Control>question F1", "This help"},
    {"Program", "app.quit", "<Control>q", "Quit"},
};

void keys_set(GtkApplication *app)
{
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (!keys[i].action)
            continue;
        char **list = g_strsplit(keys[i].keys, " ", 0);
        gtk_application_set_accels_for_action(app, keys[i].action, (const char *const *)list);
        g_strfreev(list);
    }
}

void keys_show(GtkWindow *parent)
{
    GString *xml = g_string_new("<interface><object class='GtkShortcutsWindow' id='keys'><property name='modal'>1"
                                "</property><child><object class='GtkShortcutsSection'><property name='section-name'>"
                                "keys</property><property name='max-height'>12</property>");
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (i == 0 || strcmp(keys[i].group, keys[i - 1].group) != 0)
            g_string_append_printf(xml,
                                   "%s<child><object class='GtkShortcutsGroup'><property name='title'>%s</property>",
                                   i ? "</object></child>" : "", keys[i].group);
        char *text = g_markup_printf_escaped("<child><object class='GtkShortcutsShortcut'><property name='title'>%s"
                                             "</property><property name='accelerator'>%s</property></object></child>",
                                             keys[i].title, keys[i].keys);
        g_string_append(xml, text);
        g_free(text);
    }
    g_string_append(xml, "</object></child></object></child></object></interface>");
    GtkBuilder *builder = gtk_builder_new_from_string(xml->str, -1);
    GtkWindow *window = GTK_WINDOW(gtk_builder_get_object(builder, "keys"));
    gtk_window_set_transient_for(window, parent);
    gtk_window_present(window);
    g_object_unref(builder);
    g_string_free(xml, TRUE);
}
