/* Clips and cameras in the window: see window_parts.h. */
#include "apps/gui/window_parts.h"

static void show_playing(window *w, bool playing)
{
    GAction *action = g_action_map_lookup_action(G_ACTION_MAP(w->widget), "play");
    g_simple_action_set_state(G_SIMPLE_ACTION(action), g_variant_new_boolean(playing));
}

/* While a word is looked at, its caption and the picture it is about stay. */
static void look(window *w)
{
    if (!w->wants_caption || !w->frame.rgb || detail_has_word(w->detail))
        return;
    w->wants_caption = false;
    album_look(w->album, w->clip, w->frame.rgb, w->frame.width, w->frame.height);
}

static void keep(window *w, const player_frame *frame)
{
    GBytes *before = w->frame.rgb;
    w->frame = *frame;
    if (w->frame.rgb)
        g_bytes_ref(w->frame.rgb);
    if (before)
        g_bytes_unref(before);
}

static void on_shown(void *context, const player_frame *frame)
{
    window *w = context;
    keep(w, frame);
    GdkTexture *texture =
        gdk_memory_texture_new(frame->width, frame->height, GDK_MEMORY_R8G8B8, frame->rgb, (gsize)frame->width * 3);
    detail_show_frame(w->detail, texture, frame->seconds, frame->n_seconds, frame->can_seek);
    g_object_unref(texture);
    w->wants_caption |= frame->is_news;
    look(w);
}

static void on_ended(void *context, const char *message)
{
    window *w = context;
    w->clip_ended = true;
    show_playing(w, false);
    if (message)
        album_fail(w->album, w->clip, message);
}

void window_look_again(window *w)
{
    w->wants_caption = w->clip != NULL;
    look(w);
}

void window_play(window *w, Photo *photo)
{
    static const player_events events = {on_shown, on_ended};
    Photo *clip = photo && photo->is_live ? photo : NULL;
    if (!clip && !w->clip)
        return;
    if (!w->player)
        w->player = player_new(&events, w);
    keep(w, &(player_frame){.rgb = NULL});
    g_set_object(&w->clip, clip);
    w->wants_caption = w->clip_ended = false;
    player_play(w->player, clip ? clip->path : NULL);
    show_playing(w, clip != NULL);
}

void window_seek(window *w, double seconds)
{
    if (!w->clip)
        return;
    if (w->clip_ended)
        window_play(w, w->clip);
    player_seek(w->player, seconds);
}

void window_set_playing(window *w, bool playing)
{
    if (!w->clip)
        return;
    if (w->clip_ended && playing) {
        window_play(w, w->clip);
        return;
    }
    player_pause(w->player, !playing);
    show_playing(w, playing && !w->clip_ended);
}
