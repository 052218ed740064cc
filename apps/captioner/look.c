/* From a picture to what the decoder attends to: see look.h. */
#include "apps/captioner/look.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/captioner/features.h"
#include "apps/captioner/picture.h"
#include "vision/staging.h"

double lks_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

size_t lks_look_tokens(const lks_model *model, const lks_vit_shape *shape)
{
    return (size_t)shape->n_tokens * (size_t)lks_vit_width(model->vit);
}

size_t lks_look_pixels(const lks_vit_shape *shape)
{
    return (size_t)shape->width * (size_t)shape->height * 3;
}

/* The pixels as an image: as they are where rows have no gaps and nobody keeps it, otherwise a copy. */
static lks_status take_pixels(lks_image *out, const lks_picture *p, const lks_caption_options *o, lks_error *err)
{
    int64_t max_pixels = o->max_pixels ? o->max_pixels : LKS_IMAGE_MAX_PIXELS;
    if (!p->rgb || p->width < 1 || p->height < 1 || (int64_t)p->width * p->height > max_pixels ||
        p->stride < (size_t)p->width * 3)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "an image of %d x %d pixels with %zu bytes a row is not valid",
                             p->width, p->height, p->stride);
    size_t row = (size_t)p->width * 3;
    lks_image image = {.width = p->width, .height = p->height, .borrowed = p->stride == row && !o->keep_picture};
    image.rgb = image.borrowed ? (uint8_t *)(uintptr_t)p->rgb : malloc(row * (size_t)p->height);
    if (!image.rgb)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for an image of %d x %d pixels", p->width, p->height);
    for (int y = 0; y < p->height && !image.borrowed; y++)
        memcpy(image.rgb + (size_t)y * row, p->rgb + (size_t)y * p->stride, row);
    *out = image;
    return LKS_OK;
}

static lks_status read_picture(lks_image *out, bool *damaged, const lks_model *model, const lks_image_source *picture,
                               const lks_caption_options *o, lks_error *err)
{
    lks_decode_options decode = {.max_pixels = o->max_pixels, .lenient = o->lenient != 0};
    const lks_preprocess *p = &model->preprocess;
    if (p->do_resize) {
        decode.target_width = p->shortest_edge ? p->shortest_edge : p->resize_width;
        decode.target_height = p->shortest_edge ? p->shortest_edge : p->resize_height;
    }
    if (picture->path)
        return lks_image_read(out, damaged, picture->path, &decode, err);
    if (picture->bytes)
        return lks_image_decode(out, damaged, picture->bytes, picture->n_bytes, picture->name ? picture->name : "image",
                                &decode, err);
    return take_pixels(out, &picture->pixels, o, err);
}

/* What the encoder makes of the picture, of width x height pixels. */
static lks_status find_shape(lks_vit_shape *shape, const lks_model *model, const lks_image_source *picture, int width,
                             int height, lks_error *err)
{
    int tensor_width, tensor_height;
    char name[256];
    lks_status st = lks_preprocess_size(&model->preprocess, &tensor_width, &tensor_height, width, height, err);
    if (st == LKS_OK)
        st = lks_vit_find_shape(model->vit, shape, tensor_width, tensor_height, err);
    if (st == LKS_OK)
        return st;
    lks_image_printable_name(name, sizeof name,
                             picture->path   ? picture->path
                             : picture->name ? picture->name
                                             : "image");
    return lks_error_prefix(err, st, name);
}

/* What was kept of a picture, whose pixels are `image` where they were read again. */
static lks_status check_kept(const lks_features *kept, const lks_model *model, const lks_image *image,
                             const lks_vit_shape *shape, lks_error *err)
{
    lks_status st = lks_features_check(kept, model, shape, err);
    if (st != LKS_OK)
        return st;
    if (image->rgb && (image->width != kept->width || image->height != kept->height))
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the features are those of another picture: %d x %d pixels, not %d x %d", kept->width,
                             kept->height, image->width, image->height);
    return LKS_OK;
}

lks_status lks_look_read(lks_seen *out, const lks_model *model, const lks_image_source *picture,
                         const lks_caption_options *options, lks_error *err)
{
    const lks_features *kept = picture->features;
    lks_seen seen = {.read_ms = 0.0};
    double began = lks_now_ms();
    bool damaged = false;
    lks_status st = LKS_OK;
    if (!kept || options->keep_picture)
        st = read_picture(&seen.image, &damaged, model, picture, options, err);
    if (st != LKS_OK)
        return st;
    if (kept)
        seen.features = *kept;
    else
        seen.features = (lks_features){.width = seen.image.width,
                                       .height = seen.image.height,
                                       .damaged = damaged,
                                       .kind = lks_picture_judge(&seen.image, damaged)};
    st = find_shape(&seen.shape, model, picture, seen.features.width, seen.features.height, err);
    if (st == LKS_OK && kept)
        st = check_kept(kept, model, &seen.image, &seen.shape, err);
    if (st != LKS_OK) {
        lks_image_release(&seen.image);
        return st;
    }
    seen.features.n_tokens = seen.shape.n_tokens;
    seen.features.d_token = lks_vit_width(model->vit);
    seen.read_ms = kept ? 0.0 : lks_now_ms() - began;
    *out = seen;
    return LKS_OK;
}

/* Queues what makes with->image of the picture. */
static lks_status preprocess(const lks_seen *seen, const lks_model *model, const lks_looker *with, lks_error *err)
{
    const lks_compute *compute = &with->compute;
    if (!compute->ops->stage)
        return lks_preprocess_run(&model->preprocess, with->image, &seen->image, compute, err);
    lks_staging staging;
    int index;
    lks_status st = lks_staging_open(&staging, compute, seen->shape.width, seen->shape.height, 1, err);
    if (st != LKS_OK)
        return st;
    st = lks_staging_put(&staging, &index, &model->preprocess, &seen->image, compute, err);
    if (st == LKS_OK)
        lks_staging_queue(&staging, with->image, compute);
    lks_staging_close(&staging);
    return st;
}

static lks_status encode(lks_seen *seen, const lks_model *model, const lks_looker *with, lks_error *err)
{
    double began = lks_now_ms();
    lks_status st = preprocess(seen, model, with, err);
    double ready = lks_now_ms();
    seen->read_ms += ready - began;
    if (st == LKS_OK)
        st = lks_vit_encode(model->vit, &with->compute, with->tokens, with->image, &seen->shape, 1, err);
    if (st == LKS_OK)
        st = with->compute.ops->sync(&with->compute, err);
    seen->encode_ms = lks_now_ms() - ready;
    return st;
}

lks_status lks_look_encode(lks_seen *seen, const lks_model *model, const lks_looker *with,
                           const lks_image_source *picture, lks_error *err)
{
    lks_status st = LKS_OK;
    if (picture->features)
        with->compute.ops->upload(&with->compute, with->tokens, picture->features->tokens,
                                  lks_look_tokens(model, &seen->shape) * sizeof *with->tokens);
    else
        st = encode(seen, model, with, err);
    seen->features.tokens = with->tokens;
    return st;
}
