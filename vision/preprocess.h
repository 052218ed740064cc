/* Preprocessing: an image becomes the float tensor a vision encoder expects, as preprocessor_config.json says. */
#ifndef LKS_PREPROCESS_H
#define LKS_PREPROCESS_H

#include "vision/image.h"

typedef struct lks_preprocess {
    bool do_resize, do_center_crop, do_rescale, do_normalize;
    int resize_width, resize_height; /* exact size, when shortest_edge is 0 */
    int shortest_edge;               /* > 0: the shorter side becomes this, aspect kept */
    int longest_edge;                /* > 0: with shortest_edge, an upper bound of the longer side */
    int crop_width, crop_height;
    lks_filter resample;
    double rescale_factor;
    float mean[3], std[3];
} lks_preprocess;

/* Fills `out` from the JSON text of a preprocessor_config.json. Missing keys take the defaults of the class that
 * image_processor_type (or feature_extractor_type) names: ViT, DeiT, BLIP, BitImageProcessor, CLIP (with or without "Fast"/"Pil"
 * suffixes), or of ViT when it names none; an explicit null is no value, as in transformers. In a processor_config.json the
 * keys stand in its "image_processor" object. `path` is for messages. */
lks_status lks_preprocess_parse(lks_preprocess *out, const char *json, size_t n, const char *path, lks_error *err);

/* Whether the tensors of all images have one size; else it follows an image's aspect. */
bool lks_preprocess_is_fixed(const lks_preprocess *preprocess);

/* Size of the tensor for an image of image_width x image_height. LKS_ERR_IMAGE: it is too elongated. */
lks_status lks_preprocess_size(const lks_preprocess *preprocess, int *width, int *height, int image_width,
                               int image_height, lks_error *err);

/* pixels [height, width, 3] f32 of lks_preprocess_size. */
lks_status lks_preprocess_run(const lks_preprocess *preprocess, float *pixels, const lks_image *image,
                              const lks_compute *compute, lks_error *err);

/* Where that tensor lies on an image of width x height pixels, in those pixels; where the crop pads, it reaches beyond the
 * image. Of an image too elongated to resize, the whole. */
typedef struct lks_view {
    double x, y, width, height;
} lks_view;

lks_view lks_preprocess_view(const lks_preprocess *preprocess, int width, int height);

#endif
