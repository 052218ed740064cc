/* Captions of several pictures: see lks_caption_batch.
 *
 * Looking is one picture a thread: nothing is shared but weights, and no thread waits for another inside a picture, as it would if
 * all of them worked on one. Pictures that would leave threads idle, the last n % threads, are looked at by all threads together.
 * Words are found for all pictures at once: a step reads the decoder's weights once, however many rows it has. Every number comes
 * out of the same operations in the same order as for the picture alone. A model whose pictures differ in shape captions them
 * singly. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "apps/captioner/caption.h"
#include "apps/captioner/features.h"

enum { MAX_ROWS = 256 };

/* A thread's own place to look at pictures. */
typedef struct lks_desk {
    lks_looker looker;
    lks_arena scratch;
} lks_desk;

typedef struct batch {
    lks_session *session;
    const lks_image_source *pictures;
    const lks_caption_options *options;
    const lks_plan *plan;
    int n;
    lks_seen seen[MAX_ROWS];
    const lks_features *kept[MAX_ROWS];
    lks_error *errors;      /* [n] */
    lks_caption **captions; /* [n] */
    int n_apart;            /* the first so many are looked at by a thread each */
    atomic_int next;
} batch;

void lks_desks_close(lks_desk *desks, int n)
{
    for (int i = 0; desks && i < n; i++) {
        lks_arena_release(&desks[i].scratch);
        free(desks[i].looker.pixels);
        free(desks[i].looker.tokens);
    }
    free(desks);
}

/* Opened when its thread first needs it. */
static lks_status open_desk(lks_desk *desk, const lks_model *model, lks_error *err)
{
    if (desk->scratch.size > 0)
        return LKS_OK;
    const lks_vit_shape *shape = lks_vit_usual_shape(model->vit);
    size_t look = lks_vit_scratch(model->vit, shape, 1);
    size_t attend = lks_decoder_scratch(model->decoder, 1, 1, shape->n_tokens, 1);
    if (!desk->looker.pixels)
        desk->looker.pixels = malloc(lks_look_pixels(shape) * sizeof(float));
    if (!desk->looker.tokens)
        desk->looker.tokens = malloc(lks_look_tokens(model, shape) * sizeof(float));
    if (!desk->looker.pixels || !desk->looker.tokens)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a picture");
    desk->looker.image = desk->looker.pixels;
    desk->looker.compute = (lks_compute){.ops = model->ops, .scratch = &desk->scratch};
    return lks_arena_init(&desk->scratch, look > attend ? look : attend, err);
}

static void look_at(batch *b, const lks_looker *with, int i)
{
    lks_session *s = b->session;
    lks_error *err = &b->errors[i];
    lks_status st = lks_look_read(&b->seen[i], s->model, &b->pictures[i], b->options, err);
    if (st == LKS_OK)
        st = lks_look_encode(&b->seen[i], s->model, with, &b->pictures[i], err);
    double began = lks_now_ms();
    if (st == LKS_OK)
        st = lks_decoder_look(&with->compute, s->state, i, with->tokens, err);
    if (!b->pictures[i].features) /* else nothing was encoded */
        b->seen[i].encode_ms += lks_now_ms() - began;
    if (st == LKS_OK && b->options->keep_features)
        lks_features_copy(&b->kept[i], &b->seen[i].features, &with->compute, err);
}

static void look_apart(void *argument, int thread, int n_threads)
{
    (void)n_threads;
    batch *b = argument;
    lks_desk *desk = &b->session->desks[thread];
    for (int i; (i = atomic_fetch_add(&b->next, 1)) < b->n_apart;)
        if (open_desk(desk, b->session->model, &b->errors[i]) == LKS_OK)
            look_at(b, &desk->looker, i);
}

/* Reads and encodes all pictures. What is wrong with one is among the errors. */
static lks_status look_at_all(batch *b, lks_error *err)
{
    lks_session *s = b->session;
    int n_threads = lks_threads_count(s->threads);
    b->n_apart = n_threads > 1 && !s->queue ? b->n - b->n % n_threads : 0; /* a device has one queue */
    if (b->n_apart > 0 && !s->desks && !(s->desks = calloc((size_t)n_threads, sizeof *s->desks)))
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    if (b->n_apart > 0)
        lks_threads_run(s->threads, look_apart, b);
    lks_looker together;
    lks_status st = lks_session_looker(s, &together, lks_vit_usual_shape(s->model->vit), 0, err);
    for (int i = b->n_apart; st == LKS_OK && i < b->n; i++)
        look_at(b, &together, i);
    return st;
}

/* Finds the words for the pictures that could be read. */
static lks_status find_words(batch *b, lks_error *err)
{
    lks_hypothesis *hypotheses[MAX_ROWS] = {NULL};
    int32_t images[MAX_ROWS];
    int n_found[MAX_ROWS], n = 0;
    for (int i = 0; i < b->n; i++)
        if (b->errors[i].status == LKS_OK)
            images[n++] = i;
    if (n == 0)
        return LKS_OK;
    double began = lks_now_ms();
    lks_status st = lks_session_find(b->session, hypotheses, n_found, images, n, &b->plan->search, NULL, err);
    for (int k = 0; k < n && st == LKS_OK; k++) {
        int i = images[k];
        st = lks_caption_make(&b->captions[i], b->session, b->plan, hypotheses[k], n_found[k], &b->seen[i], b->options,
                              err);
        if (st != LKS_OK)
            break;
        b->captions[i]->features = b->kept[i];
        b->kept[i] = NULL;
    }
    double share = (lks_now_ms() - began) / n;
    for (int k = 0; k < n; k++) {
        if (b->captions[images[k]])
            b->captions[images[k]]->decode_ms = share;
        lks_hypotheses_free(hypotheses[k]);
    }
    return st;
}

/* Pictures of several shapes: one after another, each with as many tokens as it has. */
static lks_status run_singly(batch *b, lks_error *err)
{
    lks_status st = LKS_OK;
    for (int i = 0; i < b->n && st == LKS_OK; i++) {
        lks_seen *seen = &b->seen[i];
        if (lks_session_look(b->session, seen, 0, &b->pictures[i], b->options, &b->errors[i]) != LKS_OK)
            continue;
        st = lks_caption_find(b->session, &b->captions[i], seen->shape.n_tokens, b->plan, seen, b->options, err);
        lks_image_release(&seen->image);
    }
    return st;
}

static lks_status run(batch *b, lks_error *err)
{
    lks_session *s = b->session;
    if (!lks_preprocess_is_fixed(&s->model->preprocess))
        return run_singly(b, err);
    int n_tokens = lks_vit_usual_shape(s->model->vit)->n_tokens;
    lks_status st = lks_session_prepare(s, b->n, n_tokens, &b->plan->search, false, err);
    if (st == LKS_OK)
        st = look_at_all(b, err);
    if (st == LKS_OK)
        st = find_words(b, err);
    for (int i = 0; i < b->n; i++) {
        lks_image_release(&b->seen[i].image);
        free((void *)(uintptr_t)b->kept[i]);
    }
    return st;
}

static lks_status check(int n, const lks_caption_options *o, lks_error *err)
{
    if (n < 1 || n > LKS_MAX_BATCH)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "a batch has from 1 to %d pictures, not %d", LKS_MAX_BATCH, n);
    if (o->keep_maps || o->features)
        return lks_error_set(
            err, LKS_ERR_ARGUMENT,
            "maps are kept of single pictures only, and the features of a batch stand with its pictures");
    return LKS_OK;
}

lks_status lks_caption_batch(lks_session *session, lks_caption **captions, lks_error *errors,
                             const lks_image_source *pictures, int n, const lks_caption_options *options,
                             lks_error *err)
{
    lks_plan plan;
    lks_status st = lks_plan_make(&plan, session->model, options, err);
    if (st != LKS_OK)
        return st;
    st = check(n, options, err);
    int most = MAX_ROWS / lks_search_rows(&plan.search), done = 0;
    for (int i = 0; st == LKS_OK && i < n; i++) {
        captions[i] = NULL;
        errors[i] = (lks_error){.status = LKS_OK};
    }
    while (st == LKS_OK && done < n) {
        batch b = {.session = session, .options = options, .plan = &plan, .n = n - done < most ? n - done : most};
        b.pictures = pictures + done;
        b.errors = errors + done;
        b.captions = captions + done;
        st = run(&b, err);
        done += b.n;
    }
    for (int i = 0; st != LKS_OK && i < done; i++) {
        lks_caption_free(captions[i]);
        captions[i] = NULL;
    }
    lks_plan_release(&plan);
    return st;
}
