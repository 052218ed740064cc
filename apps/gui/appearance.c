/* How the window looks: see appearance.h. Desktops say whether they are dark through the settings portal
 * (org.freedesktop.appearance color-scheme: 1 dark, 2 light, 0 no preference); where there is none, GTK's own setting holds. */
#include "apps/gui/appearance.h"

static const char rules[] =
    ".row { padding: 6px; }\n"
    ".thumbnail { border-radius: 6px; background: alpha(currentColor, 0.08); }\n"
    "label.error { color: mix(#e01b24, currentColor, 0.4); }\n" /* near the text's: dark on light, light on dark */
    "row:selected .error { color: inherit; }\n"
    ".name { font-size: smaller; }\n"
    ".detail { padding: 12px; }\n"
    ".word { padding: 2px 7px; min-height: 0; min-width: 0; font-size: 1.25em; }\n"
    ".word:checked { background: #ff9614; color: #000; }\n"
    ".status { padding: 4px 12px; }\n"
    ".welcome { font-size: 1.25em; }\n";

static void obey(GVariant *value)
{
    GVariant *scheme = g_variant_ref(value);
    while (g_variant_is_of_type(scheme, G_VARIANT_TYPE_VARIANT)) {
        GVariant *inner = g_variant_get_variant(scheme);
        g_variant_unref(scheme);
        scheme = inner;
    }
    if (g_variant_is_of_type(scheme, G_VARIANT_TYPE_UINT32)) {
        static const char dark[] = "gtk-application-prefer-dark-theme";
        guint32 preference = g_variant_get_uint32(scheme);
        if (preference == 0)
            gtk_settings_reset_property(gtk_settings_get_default(), dark);
        else
            g_object_set(gtk_settings_get_default(), dark, preference == 1, NULL);
    }
    g_variant_unref(scheme);
}

static void on_signal(GDBusProxy *portal, const char *sender, const char *signal, GVariant *parameters, gpointer data)
{
    (void)portal;
    (void)sender;
    (void)data;
    const char *group, *key;
    GVariant *value;
    if (strcmp(signal, "SettingChanged") != 0 || !g_variant_is_of_type(parameters, G_VARIANT_TYPE("(ssv)")))
        return;
    g_variant_get(parameters, "(&s&sv)", &group, &key, &value);
    if (strcmp(group, "org.freedesktop.appearance") == 0 && strcmp(key, "color-scheme") == 0)
        obey(value);
    g_variant_unref(value);
}

static void on_read(GObject *portal, GAsyncResult *result, gpointer data)
{
    (void)data;
    GVariant *answer = g_dbus_proxy_call_finish(G_DBUS_PROXY(portal), result, NULL);
    if (!answer)
        return;
    if (g_variant_is_of_type(answer, G_VARIANT_TYPE("(v)"))) {
        GVariant *value;
        g_variant_get(answer, "(v)", &value);
        obey(value);
        g_variant_unref(value);
    }
    g_variant_unref(answer);
}

static void on_portal(GObject *source, GAsyncResult *result, gpointer data)
{
    (void)source;
    (void)data;
    GDBusProxy *portal = g_dbus_proxy_new_for_bus_finish(result, NULL);
    if (!portal)
        return;
    g_signal_connect(portal, "g-signal", G_CALLBACK(on_signal), NULL);
    g_dbus_proxy_call(portal, "Read", g_variant_new("(ss)", "org.freedesktop.appearance", "color-scheme"),
                      G_DBUS_CALL_FLAGS_NO_AUTO_START, -1, NULL, on_read, NULL);
    /* lives as long as the program, to hear of changes */
}

void appearance_set(GdkDisplay *display)
{
    GtkCssProvider *provider = gtk_css_provider_new();
    gtk_css_provider_load_from_data(provider, rules, -1);
    gtk_style_context_add_provider_for_display(display, GTK_STYLE_PROVIDER(provider),
                                               GTK_STYLE_PROVIDER_PRIORITY_APPLICATION);
    g_object_unref(provider);
    g_dbus_proxy_new_for_bus(G_BUS_TYPE_SESSION, G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START, NULL,
                             "org.freedesktop.portal.Desktop", "/org/freedesktop/portal/desktop",
                             "org.freedesktop.portal.Settings", NULL, on_portal, NULL);
}
