/* The thread that plays clips, without a window: what becomes of a wish to go elsewhere that meets the clip's end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib/gstdio.h>

#include "apps/gui/player.h"

enum { PATIENCE = 60 }; /* seconds */

typedef struct seen {
    int n_frames, n_ends;
    double last; /* the time of the last frame, in seconds */
    char *message;
} seen;

static void on_shown(void *context, const player_frame *frame)
{
    seen *s = context;
    s->n_frames++;
    s->last = frame->seconds;
    assert_int_equal(g_bytes_get_size(frame->rgb), (gsize)frame->width * (gsize)frame->height * 3);
}

static void on_ended(void *context, const char *message)
{
    seen *s = context;
    s->n_ends++;
    g_free(s->message);
    s->message = g_strdup(message);
}

/* Brings events until a frame or an end has come. */
static void wait_for(const seen *s, int n_frames, int n_ends)
{
    gint64 end = g_get_monotonic_time() + PATIENCE * G_USEC_PER_SEC;
    while (s->n_frames < n_frames && s->n_ends < n_ends && g_get_monotonic_time() < end) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
}

/* A clip of one second. */
static int make_clip(void **state)
{
    char *folder = g_dir_make_tmp("looksay-player-XXXXXX", NULL), *path = g_build_filename(folder, "clip.mp4", NULL);
    const char *arguments[] = {
        "ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=1", path, NULL};
    int status = -1;
    g_spawn_sync(NULL, (char **)arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL);
    g_free(folder);
    *state = path;
    return status;
}

static int remove_clip(void **state)
{
    char *folder = g_path_get_dirname(*state);
    g_remove(*state);
    g_rmdir(folder);
    g_free(folder);
    g_free(*state);
    return 0;
}

/* The main thread is busy while the clip ends; before it hears of that, somebody goes back. */
static void test_who_seeks_at_the_end_goes_there(void **state)
{
    static const player_events events = {on_shown, on_ended};
    seen s = {0};
    player *p = player_new(&events, &s);
    player_play(p, *state);
    wait_for(&s, 1, 1);
    assert_int_equal(s.n_frames, 1);
    for (int i = 0; i < 3; i++) {
        g_usleep(2 * G_USEC_PER_SEC);
        int n_frames = s.n_frames;
        player_seek(p, 0.5);
        wait_for(&s, n_frames + 1, 1);
        assert_int_equal(s.n_ends, 0);
        assert_int_equal(s.n_frames, n_frames + 1);
        assert_true(s.last >= 0.4 && s.last <= 0.9);
    }
    wait_for(&s, G_MAXINT, 1); /* from there it plays on, to one end */
    assert_int_equal(s.n_ends, 1);
    assert_null(s.message);
    assert_true(s.last >= 0.8);
    player_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_seeks_at_the_end_goes_there, make_clip, remove_clip)};
    return cmocka_run_group_tests_name("gui_player", tests, NULL, NULL);
}
