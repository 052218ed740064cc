/* looksay bench on a GPU: its peak, layers as a share of it, and photos in large batches. */
#include <jansson.h>
#include <stdlib.h>

#include "apps/cli/bench.h"

enum { MOST_PHOTOS = 64, MOST_ROUNDS = 5 };
#define LONG_ENOUGH_MS 250.0 /* of a batch: more photos would say the same */

/* Photos of the model's own size, in memory: reading them takes next to nothing. */
typedef struct batch {
    int n_photos;
    double photos_per_s, encode_photos_per_s; /* all of it; without finding the words */
} batch;

/* The size of the pictures that the encoder sees. Returns false after a message. */
static bool find_size(int *width, int *height, const lks_model *model)
{
    char *text;
    lks_error err;
    if (lks_model_info(model, &text, &err) != LKS_OK) {
        complain("%s", err.message);
        return false;
    }
    json_t *info = json_loads(text, 0, NULL);
    json_t *vision = json_object_get(info, "vision");
    *width = (int)json_integer_value(json_object_get(vision, "image_width"));
    *height = (int)json_integer_value(json_object_get(vision, "image_height"));
    json_decref(info);
    lks_free(text);
    return *width > 0 && *height > 0;
}

static uint8_t *draw(int width, int height)
{
    uint8_t *rgb = malloc((size_t)width * (size_t)height * 3), *at = rgb;
    for (int y = 0; rgb && y < height; y++)
        for (int x = 0; x < width; x++) {
            *at++ = (uint8_t)(x * y / 64);
            *at++ = (uint8_t)(x + y);
            *at++ = (uint8_t)(y * 2);
        }
    return rgb;
}

/* Milliseconds of n photos, and of finding their words. */
static bool time_batch(double *ms, double *decode_ms, lks_session *session, const lks_picture *picture, int n,
                       const lks_caption_options *options)
{
    lks_image_source pictures[MOST_PHOTOS] = {{.path = NULL}};
    lks_caption *captions[MOST_PHOTOS];
    lks_error errors[MOST_PHOTOS], err;
    for (int i = 0; i < n; i++)
        pictures[i].pixels = *picture;
    double began = engine_now_ms();
    lks_status st = lks_caption_batch(session, captions, errors, pictures, n, options, &err);
    *ms = engine_now_ms() - began;
    *decode_ms = 0.0;
    if (st != LKS_OK)
        complain("%s", err.message);
    for (int i = 0; st == LKS_OK && i < n; i++) {
        *decode_ms += captions[i] ? captions[i]->decode_ms : 0.0;
        lks_caption_free(captions[i]);
    }
    return st == LKS_OK;
}

/* The largest of a few batches that takes long, or of all: n_rounds times, the median. */
static bool measure_batch(batch *out, lks_session *session, const lks_picture *picture, int n_rounds,
                          const lks_caption_options *options)
{
    double all[MOST_ROUNDS], words[MOST_ROUNDS], encode[MOST_ROUNDS];
    bool last = false;
    for (int n = 1; !last; n *= 8) {
        for (int i = 0; i < 2; i++) /* the first one makes room and loads what it needs */
            if (!time_batch(&all[0], &words[0], session, picture, n, options))
                return false;
        out->n_photos = n;
        last = n == MOST_PHOTOS || all[0] > LONG_ENOUGH_MS;
    }
    n_rounds = n_rounds < MOST_ROUNDS ? n_rounds : MOST_ROUNDS;
    for (int i = 0; i < n_rounds; i++) {
        if (i > 0 && !time_batch(&all[i], &words[i], session, picture, out->n_photos, options))
            return false;
        encode[i] = all[i] - words[i];
    }
    out->photos_per_s = out->n_photos * 1e3 / bench_median(all, n_rounds);
    out->encode_photos_per_s = out->n_photos * 1e3 / bench_median(encode, n_rounds);
    return true;
}

static json_t *json_of_block(const lks_block_speed *b)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f}", "all", b->all, "qkv", b->qkv, "proj", b->proj, "fc1", b->fc1, "fc2",
                     b->fc2);
}

static json_t *json_of_length(const lks_gpu_speed *g, int i)
{
    json_t *layer = json_pack("{s:i, s:i, s:o, s:o, s:o, s:i, s:f, s:f}", "tokens", g->layers[i].n_tokens, "rows",
                              g->layers[i].n_rows, "f32_gflops", json_of_block(&g->layers[i].f32), "bf16_gflops",
                              json_of_block(&g->layers[i].bf16), "int8_gops", json_of_block(&g->layers[i].int8),
                              "heads", g->layers[i].n_heads, "f32_attention_gflops", g->layers[i].f32_attention_gflops,
                              "bf16_attention_gflops", g->layers[i].bf16_attention_gflops);
    const lks_whole_speed *w = &g->layers[i].block;
    if (g->layers[i].n_photos > 0)
        json_object_set_new(layer, "bf16_block",
                            json_pack("{s:i, s:f, s:f, s:f}", "photos", g->layers[i].n_photos, "gflops", w->all,
                                      "linear_gflops", w->linear, "attention_gflops", w->attention));
    return layer;
}

static void print_json(const lks_gpu *gpu, const lks_gpu_speed *g, const figures *f, const batch *b, const engine *e)
{
    json_t *layers = json_array();
    for (int i = 0; i < 3; i++)
        json_array_append_new(layers, json_of_length(g, i));
    json_t *model = bench_json_of_model(f, e);
    json_object_set_new(model, "batch",
                        json_pack("{s:i, s:f, s:f}", "photos", b->n_photos, "photos_per_s", b->photos_per_s,
                                  "encode_photos_per_s", b->encode_photos_per_s));
    json_t *root =
        json_pack("{s:{s:s, s:s, s:f, s:f, s:f, s:f, s:o}, s:[o]}", "machine", "device", lks_model_device(e->model),
                  "gpu", gpu->name, "f32_gflops", g->f32_gflops, "bf16_gflops", g->bf16_gflops, "int8_gops",
                  g->int8_gops, "dram_gbps", g->dram_gbps, "layers", layers, "models", model);
    json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(5));
    putchar('\n');
    json_decref(root);
}

static double share(double part, double whole)
{
    return whole > 0.0 ? 100.0 * part / whole : 0.0;
}

static void print_block(const char *name, const lks_block_speed *b, double peak)
{
    printf("  %-9s%6.1f TFLOP/s, %3.0f %% of peak; qkv %3.0f %%, proj %3.0f %%, fc1 %3.0f %%, fc2 %3.0f %%\n", name,
           b->all * 1e-3, share(b->all, peak), share(b->qkv, peak), share(b->proj, peak), share(b->fc1, peak),
           share(b->fc2, peak));
}

static void print_whole(const lks_whole_speed *w, int n_photos, double peak)
{
    printf("  block    %6.1f TFLOP/s, %3.0f %% of peak, bf16, %d photos; its linear layers %3.0f %%, its attention "
           "%3.0f %%\n",
           w->all * 1e-3, share(w->all, peak), n_photos, share(w->linear, peak), share(w->attention, peak));
}

static void print_text(const lks_gpu *gpu, const lks_gpu_speed *g, const figures *f, const batch *b, const engine *e)
{
    printf("machine    %s: %.1f TFLOP/s f32, %.1f bf16, %.1f TOP/s int8, %.0f GB/s copied\n", gpu->name,
           g->f32_gflops * 1e-3, g->bf16_gflops * 1e-3, g->int8_gops * 1e-3, g->dram_gbps);
    for (int i = 0; i < 3; i++) {
        printf("layers     %d tokens, linear on %d rows; attention of %d heads %.1f TFLOP/s f32, %.1f bf16, %.0f %% "
               "of peak\n",
               g->layers[i].n_tokens, g->layers[i].n_rows, g->layers[i].n_heads,
               g->layers[i].f32_attention_gflops * 1e-3, g->layers[i].bf16_attention_gflops * 1e-3,
               share(g->layers[i].bf16_attention_gflops, g->bf16_gflops));
        print_block("f32", &g->layers[i].f32, g->f32_gflops);
        print_block("bf16", &g->layers[i].bf16, g->bf16_gflops);
        print_block("int8", &g->layers[i].int8, g->int8_gops);
        if (g->layers[i].n_photos > 0)
            print_whole(&g->layers[i].block, g->layers[i].n_photos, g->bf16_gflops);
    }
    printf("model      %s, %s, %d tokens a caption, %d beam%s\n", e->name, lks_model_dtype(e->model), f->n_steps,
           f->n_beams, f->n_beams == 1 ? "" : "s");
    printf(
        "stages     read %.2f ms; encode %.2f ms, floor %.3f, %.0f %%; decode %.3f ms a token, floor %.4f, %.0f %%\n",
        f->read_ms, f->encode_ms, f->encode_floor_ms, share(f->encode_floor_ms, f->encode_ms), f->decode_ms_per_token,
        f->decode_floor_ms_per_token, share(f->decode_floor_ms_per_token, f->decode_ms_per_token));
    printf("caption    %.2f ms; floor %.2f ms, %.0f %% of the time\n", f->caption_ms, f->floor_ms,
           share(f->floor_ms, f->caption_ms));
    printf("beams      3 take %.2f x as long as greedy: %.2f ms, %.2f ms\n", f->three_beams_ms / f->greedy_ms,
           f->three_beams_ms, f->greedy_ms);
    printf(
        "batch      %d photo%s from memory: %.1f captions/s; encoded %.1f photos/s, %.0f %% of what the peak allows\n",
        b->n_photos, b->n_photos == 1 ? "" : "s", b->photos_per_s, b->encode_photos_per_s,
        share(b->encode_photos_per_s * f->encode_floor_ms, 1e3));
    printf("folder     %.1f photos/s\n", f->folder_photos_per_s);
    printf("maps       %+.2f ms, %+.1f %%, to keep what looksay explain shows\n", f->maps_ms,
           100.0 * f->maps_ms / f->caption_ms);
    printf("process    %.1f ms from start to end with one caption\n", f->start_ms);
}

bool bench_gpu(figures *f, engine *e, const settings *s, const lks_gpu *gpu, const lks_gpu_speed *speed, int n,
               const lks_caption_options *options)
{
    bench_find_floors(f, e->model, &(peaks){speed->f32_gflops, speed->bf16_gflops, speed->int8_gops, speed->dram_gbps});
    int width, height;
    if (!find_size(&width, &height, e->model))
        return false;
    uint8_t *rgb = draw(width, height);
    if (!rgb) {
        complain("out of memory");
        return false;
    }
    batch b;
    const lks_picture picture = {.rgb = rgb, .width = width, .height = height, .stride = (size_t)width * 3};
    bool done = measure_batch(&b, e->session, &picture, n, options);
    if (done)
        (bench_wants_json(s) ? print_json : print_text)(gpu, speed, f, &b, e);
    free(rgb);
    return done;
}
