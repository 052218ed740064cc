/* preprocessor_config.json -> lks_preprocess, with the class defaults of transformers 5. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "fusion/json.h"
#include "vision/preprocess.h"

#define MAX_SIDE 8192 /* of the tensor; a vision encoder's input is a few hundred pixels wide */

/* What the classes have in common. */
#define SCALED .do_resize = true, .do_rescale = true, .do_normalize = true, .rescale_factor = 1.0 / 255.0
#define CROPPED .do_center_crop = true, .crop_width = 224, .crop_height = 224
#define STANDARD .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f}
#define CLIP .mean = {0.48145466f, 0.4578275f, 0.40821073f}, .std = {0.26862954f, 0.26130258f, 0.27577711f}

typedef struct processor_class {
    const char *stem; /* the name without ImageProcessor, FeatureExtractor, Fast, Pil */
    bool square;      /* a single number for `size` means a square, not the shorter side */
    lks_preprocess defaults;
} processor_class;

static const processor_class classes[] = {
    {"ViT", true, {SCALED, .resample = LKS_FILTER_BILINEAR, STANDARD, .resize_width = 224, .resize_height = 224}},
    {"DeiT",
     true,
     {SCALED, .resample = LKS_FILTER_BICUBIC, STANDARD, CROPPED, .resize_width = 256, .resize_height = 256}},
    {"Blip", true, {SCALED, .resample = LKS_FILTER_BICUBIC, CLIP, .resize_width = 384, .resize_height = 384}},
    {"Bit", false, {SCALED, .resample = LKS_FILTER_BICUBIC, CLIP, CROPPED, .shortest_edge = 224}},
    {"CLIP", false, {SCALED, .resample = LKS_FILTER_BICUBIC, CLIP, CROPPED, .shortest_edge = 224}},
};

typedef struct parser {
    const char *path;
    lks_error *err;
} parser;

static lks_status invalid(const parser *p, const char *key, const char *expected)
{
    return lks_error_set(p->err, LKS_ERR_MODEL, "%s: \"%s\" must be %s", p->path, key, expected);
}

/* The value of a key that is there. An explicit null switches the class default off: then NULL is returned and *status is
 * an error if the value is needed. */
static json_t *find(lks_status *status, const parser *p, json_t *config, const char *key, bool needed)
{
    json_t *value = json_object_get(config, key);
    *status = LKS_OK;
    if (!json_is_null(value))
        return value;
    if (needed)
        *status = invalid(p, key, "given, not null");
    return NULL;
}

static json_t *member(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static bool as_side(int *side, const json_t *value)
{
    double number = json_is_number(value) ? json_number_value(value) : 0.0;
    if (!(number >= 1.0 && number <= MAX_SIDE) || number != floor(number))
        return false;
    *side = (int)number;
    return true;
}

static lks_status read_flag(bool *out, const parser *p, json_t *config, const char *key)
{
    json_t *value = json_object_get(config, key);
    if (!value)
        return LKS_OK;
    if (!json_is_boolean(value) && !json_is_null(value))
        return invalid(p, key, "true or false");
    *out = json_is_true(value);
    return LKS_OK;
}

/* [r, g, b] or one number for all three. */
static lks_status read_channels(float out[3], const parser *p, json_t *config, const char *key, bool divisor,
                                bool needed)
{
    lks_status st;
    json_t *value = find(&st, p, config, key, needed);
    if (!value)
        return st;
    if (json_is_array(value) && json_array_size(value) != 3)
        return invalid(p, key, "a list of three numbers");
    float channels[3];
    for (size_t c = 0; c < 3; c++) {
        json_t *number = json_is_array(value) ? json_array_get(value, c) : value;
        if (!json_is_number(number))
            return invalid(p, key, "a list of three numbers");
        channels[c] = (float)json_number_value(number);
        if (!isfinite(channels[c]) || (divisor && channels[c] == 0.0f))
            return invalid(p, key, divisor ? "finite numbers other than 0" : "finite numbers");
    }
    memcpy(out, channels, sizeof channels);
    return LKS_OK;
}

/* N | [height, width] | {"height", "width"} | {"shortest_edge"[, "longest_edge"]} */
static lks_status read_size(lks_preprocess *out, const parser *p, json_t *config, bool square)
{
    lks_status st;
    json_t *value = find(&st, p, config, "size", out->do_resize);
    if (!value)
        return st;
    int width = 0, height = 0, shortest = 0, longest = 0;
    bool ok;
    if (json_is_number(value)) {
        ok = as_side(&width, value);
        height = width;
        if (ok && !square) {
            shortest = width;
            width = height = 0;
        }
    } else if (json_is_array(value)) {
        ok = json_array_size(value) == 2 && as_side(&height, json_array_get(value, 0)) &&
             as_side(&width, json_array_get(value, 1));
    } else if (member(value, "shortest_edge")) {
        ok = as_side(&shortest, member(value, "shortest_edge"));
        if (member(value, "longest_edge"))
            ok = ok && as_side(&longest, member(value, "longest_edge"));
    } else if (member(value, "height") || member(value, "width")) {
        ok = as_side(&height, member(value, "height")) && as_side(&width, member(value, "width"));
    } else {
        return lks_error_set(p->err, LKS_ERR_UNSUPPORTED,
                             "%s: \"size\" is supported as height and width or as shortest_edge only", p->path);
    }
    if (!ok)
        return invalid(p, "size", "made of whole numbers from 1 to 8192");
    out->resize_width = width;
    out->resize_height = height;
    out->shortest_edge = shortest;
    out->longest_edge = longest;
    return LKS_OK;
}

static lks_status read_crop(lks_preprocess *out, const parser *p, json_t *config)
{
    lks_status st;
    json_t *value = find(&st, p, config, "crop_size", out->do_center_crop);
    if (!value)
        return st;
    int width = 0, height = 0;
    bool ok;
    if (json_is_number(value)) {
        ok = as_side(&width, value);
        height = width;
    } else if (json_is_array(value)) {
        ok = json_array_size(value) == 2 && as_side(&height, json_array_get(value, 0)) &&
             as_side(&width, json_array_get(value, 1));
    } else {
        ok = as_side(&height, member(value, "height")) && as_side(&width, member(value, "width"));
    }
    if (!ok)
        return invalid(p, "crop_size", "a number or height and width, from 1 to 8192");
    out->crop_width = width;
    out->crop_height = height;
    return LKS_OK;
}

static lks_status read_numbers(lks_preprocess *out, const parser *p, json_t *config)
{
    lks_status st;
    json_t *value = find(&st, p, config, "resample", out->do_resize);
    if (st != LKS_OK)
        return st;
    if (value) {
        if (!json_is_integer(value) || json_integer_value(value) < LKS_FILTER_NEAREST ||
            json_integer_value(value) > LKS_FILTER_HAMMING)
            return invalid(p, "resample", "a number from 0 to 5 (nearest, lanczos, bilinear, bicubic, box, hamming)");
        out->resample = (lks_filter)json_integer_value(value);
    }
    value = find(&st, p, config, "rescale_factor", out->do_rescale);
    if (!value)
        return st;
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return invalid(p, "rescale_factor", "a number");
    out->rescale_factor = json_number_value(value);
    return LKS_OK;
}

static bool drop_suffix(size_t *n, const char *name, const char *suffix)
{
    size_t n_suffix = strlen(suffix);
    if (*n < n_suffix || memcmp(name + *n - n_suffix, suffix, n_suffix) != 0)
        return false;
    *n -= n_suffix;
    return true;
}

static const processor_class *find_class(const char *name)
{
    size_t n = strlen(name);
    drop_suffix(&n, name, "Pil");
    drop_suffix(&n, name, "Fast");
    if (!drop_suffix(&n, name, "ImageProcessor") && !drop_suffix(&n, name, "FeatureExtractor"))
        return NULL;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (n == strlen(classes[i].stem) && memcmp(name, classes[i].stem, n) == 0)
            return &classes[i];
    return NULL;
}

/* The class that the file names; ViT when it names none. */
static lks_status read_class(const processor_class **out, const parser *p, json_t *config)
{
    json_t *name = member(config, "image_processor_type");
    if (!name)
        name = member(config, "feature_extractor_type");
    *out = name ? NULL : &classes[0];
    if (json_is_string(name))
        *out = find_class(json_string_value(name));
    if (*out)
        return LKS_OK;
    return lks_error_set(p->err, LKS_ERR_UNSUPPORTED,
                         "%s: image processor \"%.80s\" is not supported (ViT, DeiT, Blip, Bit and CLIP are)", p->path,
                         json_is_string(name) ? json_string_value(name) : "?");
}

static lks_status read_config(lks_preprocess *out, const parser *p, json_t *config)
{
    const processor_class *class;
    lks_status st = read_class(&class, p, config);
    if (st != LKS_OK)
        return st;
    lks_preprocess result = class->defaults;
    bool square = class->square, pad = false;
    if ((st = read_flag(&square, p, config, "default_to_square")) != LKS_OK ||
        (st = read_flag(&result.do_resize, p, config, "do_resize")) != LKS_OK ||
        (st = read_flag(&result.do_center_crop, p, config, "do_center_crop")) != LKS_OK ||
        (st = read_flag(&result.do_rescale, p, config, "do_rescale")) != LKS_OK ||
        (st = read_flag(&result.do_normalize, p, config, "do_normalize")) != LKS_OK ||
        (st = read_flag(&pad, p, config, "do_pad")) != LKS_OK ||
        (st = read_size(&result, p, config, square)) != LKS_OK || (st = read_crop(&result, p, config)) != LKS_OK ||
        (st = read_numbers(&result, p, config)) != LKS_OK ||
        (st = read_channels(result.mean, p, config, "image_mean", false, result.do_normalize)) != LKS_OK ||
        (st = read_channels(result.std, p, config, "image_std", true, result.do_normalize)) != LKS_OK)
        return st;

    if (pad)
        return lks_error_set(p->err, LKS_ERR_UNSUPPORTED, "%s: \"do_pad\" is not supported", p->path);
    if (result.do_center_crop && result.crop_width == 0)
        return invalid(p, "crop_size", "given when do_center_crop is true");
    if (!result.do_center_crop && !result.do_resize)
        return lks_error_set(p->err, LKS_ERR_UNSUPPORTED,
                             "%s: images of any size are not supported: give \"size\", or crop", p->path);
    *out = result;
    return LKS_OK;
}

lks_status lks_preprocess_parse(lks_preprocess *out, const char *json, size_t n, const char *path, lks_error *err)
{
    json_error_t problem;
    json_t *root = json_loadb(json, n, 0, &problem);
    if (!root && lks_json_exhausted(&problem))
        return lks_error_set(err, LKS_ERR_NOMEM, "%s: out of memory", path);
    if (!root)
        return lks_error_set(err, LKS_ERR_MODEL, "%s: line %d is not JSON: %s", path, problem.line, problem.text);
    const parser p = {path, err};
    json_t *nested =
        json_object_get(root, "image_processor"); /* processor_config.json holds the same keys one level down */
    lks_status st;
    if (!json_is_object(root))
        st = lks_error_set(err, LKS_ERR_MODEL, "%s: must hold a JSON object", path);
    else
        st = read_config(out, &p, json_is_object(nested) ? nested : root);
    json_decref(root);
    return st;
}
