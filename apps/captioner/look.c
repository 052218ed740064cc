/* From a picture to what the decoder attends to: see look.h. */
#include "apps/captioner/look.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apps/captioner/features.h"
#include "apps/captioner/picture.h"

double lks_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

size_t lks_look_tokens(const lks_model *model)
{
    return (size_t)lks_vit_n_tokens(model->vit) * (size_t)lks_vit_width(model->vit);
}

size_t lks_look_pixels(const lks_model *model)
{
    int width, height;
    lks_vit_image_size(model->vit, &width, &height);
    return (size_t)width * (size_t)height * 3;
}

/* The pixels as an image of our own, without gaps between rows. */
static lks_status copy_pixels(lks_image *out, const lks_picture *p, const lks_caption_options *o, lks_error *err)
{
    int64_t max_pixels = o->max_pixels ? o->max_pixels : LKS_IMAGE_MAX_PIXELS;
    if (!p->rgb || p->width < 1 || p->height < 1 || (int64_t)p->width * p->height > max_pixels ||
        p->stride < (size_t)p->width * 3)
        return lks_error_set(err, LKS_ERR_ARGUMENT, "an image of %d x %d pixels with %zu bytes a row is not valid",
                             p->width, p->height, p->stride);
    size_t row = (size_t)p->width * 3;
    lks_image image = {.width = p->width, .height = p->height, .rgb = malloc(row * (size_t)p->height)};
    if (!image.rgb)
        return lks_error_set(err, LKS_ERR_NOMEM, "out of memory for an image of %d x %d pixels", p->width, p->height);
    for (int y = 0; y < p->height; y++)
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
    return copy_pixels(out, &picture->pixels, o, err);
}

/* Puts features where encoding leaves tokens. */
static lks_status recall(lks_seen *seen, const lks_model *model, const lks_looker *with, const lks_features *features,
                         lks_error *err)
{
    const lks_image *image = &seen->image;
    lks_status st = lks_features_check(features, model, err);
    if (st != LKS_OK)
        return st;
    if (image->rgb && (image->width != features->width || image->height != features->height))
        return lks_error_set(err, LKS_ERR_ARGUMENT,
                             "the features are those of another picture: %d x %d pixels, not %d x %d", features->width,
                             features->height, image->width, image->height);
    with->compute.ops->upload(&with->compute, with->tokens, features->tokens,
                              lks_look_tokens(model) * sizeof *with->tokens);
    seen->features = *features;
    seen->features.tokens = with->tokens;
    return LKS_OK;
}

static lks_status encode(lks_seen *seen, const lks_model *model, const lks_looker *with, bool damaged, double began,
                         lks_error *err)
{
    seen->features = (lks_features){.n_tokens = lks_vit_n_tokens(model->vit),
                                    .d_token = lks_vit_width(model->vit),
                                    .tokens = with->tokens,
                                    .width = seen->image.width,
                                    .height = seen->image.height,
                                    .damaged = damaged,
                                    .kind = lks_picture_judge(&seen->image, damaged)};
    lks_status st = lks_preprocess_run(&model->preprocess, with->pixels, &seen->image, with->compute.threads, err);
    double read = lks_now_ms();
    const lks_ops *ops = with->compute.ops;
    if (st == LKS_OK && with->image != with->pixels)
        ops->upload(&with->compute, with->image, with->pixels, lks_look_pixels(model) * sizeof *with->pixels);
    if (st == LKS_OK)
        st = lks_vit_encode(model->vit, &with->compute, with->tokens, with->image, err);
    if (st == LKS_OK)
        st = ops->sync(&with->compute, err);
    seen->read_ms = read - began;
    seen->encode_ms = lks_now_ms() - read;
    return st;
}

lks_status lks_look(lks_seen *out, const lks_model *model, const lks_looker *with, const lks_image_source *picture,
                    const lks_caption_options *options, lks_error *err)
{
    lks_seen seen = {.read_ms = 0.0};
    double began = lks_now_ms();
    bool damaged = false;
    lks_status st = LKS_OK;
    if (!picture->features || options->keep_picture)
        st = read_picture(&seen.image, &damaged, model, picture, options, err);
    if (st != LKS_OK)
        return st;
    st = picture->features ? recall(&seen, model, with, picture->features, err)
                           : encode(&seen, model, with, damaged, began, err);
    if (st != LKS_OK) {
        lks_image_release(&seen.image);
        return st;
    }
    *out = seen;
    return LKS_OK;
}
