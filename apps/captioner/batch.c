/* Captions of several pictures: see lks_caption_batch.
 *
 * On a CPU, looking is one picture a thread: nothing is shared but weights, and no thread waits for another inside a picture, as it
 * would if all of them worked on one. Pictures that would leave threads idle, the last n % threads, are read by a thread each, as
 * decoding a file cannot be shared, and then encoded by all threads together. A device encodes many pictures at once, while the
 * threads read those that come next. Words are found for all pictures at once: a step reads the decoder's weights once, however many
 * rows it has. On a CPU every number comes out of the same operations in the same order as for the picture alone. A model whose
 * pictures differ in shape captions them singly. No more pictures than threads have their pixels in memory, or than a device encodes
 * at once, unless these are kept. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "apps/captioner/caption.h"
#include "apps/captioner/features.h"
#include "vision/staging.h"

enum { MAX_ROWS = 256, TOKENS_AT_ONCE = 1 << 15 }; /* of pictures that a device encodes together: enough to fill it */

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
    int32_t images[MAX_ROWS]; /* which of the decoder's each picture is */
    const lks_features *kept[MAX_ROWS];
    lks_error *errors;      /* [n] */
    lks_caption **captions; /* [n] */
    lks_staging staging;    /* of a device: this round's pictures */
    atomic_int next;        /* up to `end`: what the threads take, a picture each */
    int end;
} batch;

void lks_desks_close(lks_desk *desks, int n)
{
    for (int i = 0; desks && i < n; i++) {
        lks_arena_release(&desks[i].scratch);
        free(desks[i].looker.image);
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
    size_t look = lks_vit_scratch(model->vit, shape, 1, 1);
    size_t attend = lks_decoder_scratch(model->decoder, 1, 1, 1, shape->n_tokens, 1);
    if (!desk->looker.image)
        desk->looker.image = malloc(lks_look_pixels(shape) * sizeof(float));
    if (!desk->looker.tokens)
        desk->looker.tokens = malloc(lks_look_tokens(model, shape) * sizeof(float));
    if (!desk->looker.image || !desk->looker.tokens)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for a picture");
    desk->looker.compute = (lks_compute){.ops = model->ops, .scratch = &desk->scratch};
    return lks_arena_init(&desk->scratch, look > attend ? look : attend, err);
}

/* Pictures first..end-1, one a thread: `job` takes them with take_next. */
static void run_apart(batch *b, lks_job job, int first, int end)
{
    atomic_store(&b->next, first);
    b->end = end;
    lks_threads_run(b->session->threads, job, b);
}

/* Returns false when no picture is left. */
static bool take_next(int *i, batch *b)
{
    *i = atomic_fetch_add(&b->next, 1);
    return *i < b->end;
}

static void read_picture(batch *b, int i)
{
    lks_look_read(&b->seen[i], b->session->model, &b->pictures[i], b->options, &b->errors[i]);
}

static void read_apart(void *argument, int thread, int n_threads)
{
    (void)thread;
    (void)n_threads;
    batch *b = argument;
    for (int i; take_next(&i, b);)
        read_picture(b, i);
}

/* Looks at a picture that has been read. */
static void look_at(batch *b, const lks_looker *with, int i)
{
    lks_session *s = b->session;
    lks_error *err = &b->errors[i];
    if (err->status != LKS_OK)
        return;
    lks_status st = lks_look_encode(&b->seen[i], s->model, with, &b->pictures[i], err);
    double began = lks_now_ms();
    if (st == LKS_OK)
        st = lks_decoder_look(&with->compute, s->state, i, 1, with->tokens, err);
    b->images[i] = i;
    if (!b->pictures[i].features) /* else nothing was encoded */
        b->seen[i].encode_ms += lks_now_ms() - began;
    if (st == LKS_OK && b->options->keep_features)
        lks_features_copy(&b->kept[i], &b->seen[i].features, &with->compute, err);
    if (!b->options->keep_picture)
        lks_image_release(&b->seen[i].image);
}

static void look_apart(void *argument, int thread, int n_threads)
{
    (void)n_threads;
    batch *b = argument;
    lks_desk *desk = &b->session->desks[thread];
    for (int i; take_next(&i, b);) {
        if (open_desk(desk, b->session->model, &b->errors[i]) != LKS_OK)
            continue;
        read_picture(b, i);
        look_at(b, &desk->looker, i);
    }
}

/* As many pictures as there are threads, or all that are left. */
static int end_of_round(const batch *b, int first)
{
    int n_threads = lks_threads_count(b->session->threads);
    return b->n - first < n_threads ? b->n : first + n_threads;
}

/* Reads and encodes all pictures. What is wrong with one is among the errors. */
static lks_status look_at_all(batch *b, const lks_looker *together, lks_error *err)
{
    lks_session *s = b->session;
    int n_threads = lks_threads_count(s->threads), n_apart = n_threads > 1 ? b->n - b->n % n_threads : 0;
    if (n_apart > 0 && !s->desks && !(s->desks = calloc((size_t)n_threads, sizeof *s->desks)))
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory");
    if (n_apart > 0)
        run_apart(b, look_apart, 0, n_apart);
    for (int i = n_apart, end; i < b->n; i = end) {
        end = end_of_round(b, i);
        run_apart(b, read_apart, i, end);
        for (int k = i; k < end; k++)
            look_at(b, together, k);
    }
    return LKS_OK;
}

/* ---- on a device ---- */

/* Reads pictures and stages them: those that are ready first come first. */
static void stage_apart(void *argument, int thread, int n_threads)
{
    (void)thread;
    (void)n_threads;
    batch *b = argument;
    const lks_model *model = b->session->model;
    const lks_compute compute = {.ops = model->ops};
    for (int i; take_next(&i, b);) {
        read_picture(b, i);
        double began = lks_now_ms();
        if (b->errors[i].status == LKS_OK && !b->pictures[i].features)
            lks_staging_put(&b->staging, &b->images[i], &model->preprocess, &b->seen[i].image, &compute, &b->errors[i]);
        b->seen[i].read_ms += lks_now_ms() - began;
        if (!b->options->keep_picture)
            lks_image_release(&b->seen[i].image);
    }
}

/* Queues the looking at pictures first..end-1, of which the staged ones are to be encoded; the first is image n_images of the decoder,
 * which is advanced. */
static lks_status look_together(batch *b, const lks_looker *with, int *n_images, int first, int end, lks_error *err)
{
    const lks_model *model = b->session->model;
    const lks_compute *compute = &with->compute;
    const lks_vit_shape *shape = lks_vit_usual_shape(model->vit);
    const size_t of_tokens = lks_look_tokens(model, shape);
    float *tokens = with->tokens;
    int n = b->staging.n;
    lks_status st = LKS_OK;
    if (n > 0) {
        lks_staging_queue(&b->staging, with->image, compute);
        st = lks_vit_encode(model->vit, compute, tokens, with->image, shape, n, err);
    }
    for (int i = first; i < end; i++) {
        const lks_features *kept = b->pictures[i].features;
        if (b->errors[i].status != LKS_OK)
            continue;
        if (kept) {
            b->images[i] = n++;
            compute->ops->upload(compute, tokens + (size_t)b->images[i] * of_tokens, kept->tokens,
                                 of_tokens * sizeof *tokens);
        }
        b->seen[i].features.tokens = tokens + (size_t)b->images[i] * of_tokens;
        b->images[i] += *n_images;
    }
    if (st == LKS_OK && n > 0)
        st = lks_decoder_look(compute, b->session->state, *n_images, n, tokens, err);
    for (int i = first; i < end && st == LKS_OK && b->options->keep_features; i++)
        if (b->errors[i].status == LKS_OK)
            st = lks_features_copy(&b->kept[i], &b->seen[i].features, compute, err);
    *n_images += n;
    return st;
}

/* Pictures of that shape that a device is to encode together, of n: in parts that are nearly alike. */
static int count_together(const lks_vit_shape *shape, int n)
{
    int most = TOKENS_AT_ONCE / shape->n_tokens > 0 ? TOKENS_AT_ONCE / shape->n_tokens : 1;
    int n_parts = (n + most - 1) / most;
    return (n + n_parts - 1) / n_parts;
}

/* As look_at_all, `at_once` pictures at a time. The time that queueing takes and the device is waited for is shared out evenly. */
static lks_status look_on_device(batch *b, const lks_looker *with, int at_once, lks_error *err)
{
    const lks_vit_shape *shape = lks_vit_usual_shape(b->session->model->vit);
    lks_status st = LKS_OK;
    double ms = 0.0;
    int n_images = 0, n_encoded = 0;
    for (int i = 0, end; i < b->n && st == LKS_OK; i = end) {
        end = b->n - i < at_once ? b->n : i + at_once;
        st = lks_staging_open(&b->staging, &with->compute, shape->width, shape->height, at_once, err);
        if (st != LKS_OK)
            break;
        run_apart(b, stage_apart, i, end);
        double began = lks_now_ms();
        st = look_together(b, with, &n_images, i, end, err);
        ms += lks_now_ms() - began;
        lks_staging_close(&b->staging);
    }
    double began = lks_now_ms();
    if (st == LKS_OK)
        st = with->compute.ops->sync(&with->compute, err);
    ms += lks_now_ms() - began;
    for (int i = 0; i < b->n; i++)
        n_encoded += b->errors[i].status == LKS_OK && !b->pictures[i].features;
    for (int i = 0; i < b->n; i++)
        if (b->errors[i].status == LKS_OK && !b->pictures[i].features)
            b->seen[i].encode_ms = ms / n_encoded;
    return st;
}

/* The looker at as many of n pictures at once as the memory holds. */
static lks_status open_looker(lks_session *s, lks_looker *out, int *at_once, int n, lks_error *err)
{
    const lks_vit_shape *shape = lks_vit_usual_shape(s->model->vit);
    *at_once = s->queue ? count_together(shape, n) : 1;
    lks_status st = lks_session_looker(s, out, shape, *at_once, 0, err);
    while (st == LKS_ERR_NOMEM && *at_once > 1) {
        *at_once = (*at_once + 1) / 2;
        st = lks_session_looker(s, out, shape, *at_once, 0, err);
    }
    return st;
}

/* ---- words ---- */

/* Finds the words for the pictures that could be read. */
static lks_status find_words(batch *b, lks_error *err)
{
    lks_hypothesis *hypotheses[MAX_ROWS] = {NULL};
    int32_t images[MAX_ROWS];
    int pictures[MAX_ROWS], n_found[MAX_ROWS], n = 0;
    for (int i = 0; i < b->n; i++)
        if (b->errors[i].status == LKS_OK) {
            images[n] = b->images[i];
            pictures[n++] = i;
        }
    if (n == 0)
        return LKS_OK;
    double began = lks_now_ms();
    lks_status st = lks_session_find(b->session, hypotheses, n_found, images, n, &b->plan->search, NULL, err);
    for (int k = 0; k < n && st == LKS_OK; k++) {
        int i = pictures[k];
        st = lks_caption_make(&b->captions[i], b->session, b->plan, hypotheses[k], n_found[k], &b->seen[i], b->options,
                              err);
        if (st != LKS_OK)
            break;
        b->captions[i]->features = b->kept[i];
        b->kept[i] = NULL;
    }
    double share = (lks_now_ms() - began) / n;
    for (int k = 0; k < n; k++) {
        if (b->captions[pictures[k]])
            b->captions[pictures[k]]->decode_ms = share;
        lks_hypotheses_free(hypotheses[k]);
    }
    return st;
}

/* A picture that has been read. */
static lks_status caption_one(batch *b, int i, lks_error *err)
{
    lks_seen *seen = &b->seen[i];
    if (b->errors[i].status != LKS_OK ||
        lks_session_encode(b->session, seen, 0, &b->pictures[i], &b->errors[i]) != LKS_OK)
        return LKS_OK;
    return lks_caption_find(b->session, &b->captions[i], seen->shape.n_tokens, b->plan, seen, b->options, err);
}

/* Pictures of several shapes: one after another, each with as many tokens as it has. */
static lks_status run_singly(batch *b, lks_error *err)
{
    lks_status st = LKS_OK;
    for (int i = 0, end; i < b->n && st == LKS_OK; i = end) {
        end = end_of_round(b, i);
        run_apart(b, read_apart, i, end);
        for (int k = i; k < end; k++) {
            if (st == LKS_OK)
                st = caption_one(b, k, err);
            lks_image_release(&b->seen[k].image);
        }
    }
    return st;
}

static lks_status run(batch *b, lks_error *err)
{
    lks_session *s = b->session;
    if (!lks_preprocess_is_fixed(&s->model->preprocess))
        return run_singly(b, err);
    int n_tokens = lks_vit_usual_shape(s->model->vit)->n_tokens, at_once;
    lks_looker together;
    lks_status st = open_looker(s, &together, &at_once, b->n, err);
    if (st == LKS_OK)
        st = lks_session_prepare(s, b->n, n_tokens, &b->plan->search, false, err);
    if (st == LKS_OK)
        st = s->queue ? look_on_device(b, &together, at_once, err) : look_at_all(b, &together, err);
    if (st == LKS_OK)
        st = find_words(b, err);
    for (int i = 0; i < b->n; i++) {
        lks_image_release(&b->seen[i].image);
        free((void *)(uintptr_t)b->kept[i]);
    }
    return st;
}

static lks_status check(const lks_caption_options *o, lks_error *err)
{
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
    if (n < 1 || n > LKS_MAX_BATCH)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "a batch has from 1 to %d pictures, not %d", LKS_MAX_BATCH, n);
    for (int i = 0; i < n; i++) {
        captions[i] = NULL;
        errors[i] = (lks_error){.status = LKS_OK};
    }
    lks_plan plan;
    lks_status st = lks_plan_make(&plan, session->model, options, err);
    if (st != LKS_OK)
        return st;
    st = check(options, err);
    int most = MAX_ROWS / lks_search_rows(&plan.search), done = 0;
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
