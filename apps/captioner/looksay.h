/* Looksay: a picture in, a caption out. The library's only public header; C11 and C++.
 *
 *     lks_model *model;  lks_session *session;  lks_caption *caption;  lks_error err;
 *     lks_caption_options options;
 *     if (lks_model_open(&model, "model.gguf", NULL, &err) == LKS_OK &&
 *         lks_session_open(&session, model, NULL, &err) == LKS_OK) {
 *         lks_caption_options_init(&options, model);
 *         if (lks_caption_file(session, &caption, "photo.jpg", &options, &err) == LKS_OK)
 *             puts(caption->sequences[0].text);
 *     }
 *
 * A model is immutable once open and may be used by any number of sessions and threads at a time. A session belongs to one
 * thread at a time. Functions return LKS_OK (0) or a status with detail in *err (which may be NULL); outputs are untouched on
 * failure. The library never prints, exits, aborts or reads the environment, and never opens a network connection. */
#ifndef LOOKSAY_H
#define LOOKSAY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LKS_API __attribute__((visibility("default")))
#else
#define LKS_API
#endif

#define LKS_VERSION "0.1.0"

#ifndef LKS_STATUS_TYPES
#define LKS_STATUS_TYPES

typedef enum lks_status {
    LKS_OK = 0,
    LKS_ERR_ARGUMENT,    /* the caller passed something that cannot be served */
    LKS_ERR_NOMEM,       /* out of memory */
    LKS_ERR_IO,          /* a file could not be opened, read or written */
    LKS_ERR_IMAGE,       /* an image is damaged, empty, too large or of an unknown format */
    LKS_ERR_MODEL,       /* a model file is damaged, inconsistent or lacks something */
    LKS_ERR_UNSUPPORTED, /* well-formed, but this build or version cannot do it */
    LKS_ERR_INTERRUPTED, /* the caller asked to stop */
    LKS_ERR_DEVICE,      /* there is no GPU to use, or it failed */
    LKS_ERR_DAMAGED /* an image is truncated or damaged; lks_caption_options.lenient may take what can be read of it */
} lks_status;

typedef struct lks_error {
    lks_status status;
    char message[504]; /* one sentence, UTF-8, always terminated; "" when there is no error */
} lks_error;

#endif

typedef struct lks_model lks_model;
typedef struct lks_session lks_session;

/* The version of the library that is linked, as "major.minor.patch". */
LKS_API const char *lks_version(void);

/* ---- models ---- */

typedef struct lks_model_options {
    size_t size;   /* sizeof(lks_model_options) */
    int n_threads; /* for packing weights; 0: all CPUs */
    /* "ref", "blas", "avx2", "avx-vnni", "avx512", "avx512-vnni", "avx512-bf16", "neon", "neon-dotprod";
     * NULL or "auto": the best this CPU has */
    const char *isa;
    /* of linear layers: "f32"; "bf16" or "int8", packed while opening; "int4": those of the decoder, the others int8;
     * NULL or "auto": as the file holds them */
    const char *dtype;
    /* what computes: "cpu"; "cuda": an NVIDIA GPU, and LKS_ERR_DEVICE where there is none to use; "auto": that GPU or else the
     * CPU, see lks_model_device. NULL: "cpu" */
    const char *device;
} lks_model_options;

/* Opens a Hugging Face directory (VisionEncoderDecoder or BLIP) or a Looksay GGUF file. `options` may be NULL. */
LKS_API lks_status lks_model_open(lks_model **out, const char *path, const lks_model_options *options, lks_error *err);
LKS_API void lks_model_close(lks_model *model); /* NULL is safe; all its sessions must be closed */

/* The precision of its linear layers, "f32", "bf16", "int8" or "int4"; static. */
LKS_API const char *lks_model_dtype(const lks_model *model);

/* What computes, "cpu" or "cuda"; static. */
LKS_API const char *lks_model_device(const lks_model *model);

/* The code of language i ("en", "de", ...) that captions can be asked for, the first one being the default; NULL past the last,
 * and always for a model of one language. Static while the model is open. */
LKS_API const char *lks_model_language(const lks_model *model, size_t i);

/* What the model's own settings ask for and captions do not do by themselves, a sentence each; NULL past the last. Static while the
 * model is open. */
LKS_API const char *lks_model_note(const lks_model *model, size_t i);

/* What the model is, as a JSON object: family, sizes, weights, memory, tokenizer, notes. *json is freed with lks_free. */
LKS_API lks_status lks_model_info(const lks_model *model, char **json, lks_error *err);

typedef struct lks_model_cost {
    double encode_flops;           /* multiplications and additions of one image, cross K/V included */
    double decode_flops_per_token; /* of one row */
    double decode_bytes_per_token; /* weights and cross K/V that a decoding step reads */
    double weight_bytes;           /* weights packed in memory; those used in the mapped file do not count */
    double encode_int8_ops, decode_int8_ops_per_token; /* the part of the flops above that is done in int8 */
} lks_model_cost;

/* The arithmetic and traffic that no implementation in the model's precision can avoid: the floor under its times. */
LKS_API void lks_model_cost_estimate(const lks_model *model, lks_model_cost *cost);

/* ---- model files ---- */

typedef struct lks_convert_options {
    size_t size; /* sizeof(lks_convert_options) */
    const char
        *dtype;    /* "f32"; "f16": matrices halved; "bf16", "int8", "int4": linear layers so, packed. NULL: "f32" */
    int n_threads; /* 0: all CPUs */
    const char *const *kept; /* n_kept patterns of fnmatch(3) for names of layers that int8 and int4 leave bf16 */
    size_t n_kept;
    /* n_photos paths: what the model makes of them shows which channels of its encoder are large; these are scaled down before layers
     * are packed, and the weights that meet them up. A file beside the new one holds the model meanwhile. 0: it stays as it is. */
    const char *const *photos;
    size_t n_photos;
} lks_convert_options;

typedef struct lks_convert_result {
    uint64_t bytes_before, bytes_after; /* of the weight files, of the new file */
    size_t n_tensors, n_packed_layers, n_calibrated_layers;
} lks_convert_result;

/* Writes the model at `path` (anything lks_model_open takes, files of packed layers excepted) as one GGUF file that holds weights,
 * configuration and tokenizer. The file appears when it is complete; a failure leaves what was there. `options` and `result`
 * may be NULL. */
LKS_API lks_status lks_model_convert(lks_convert_result *result, const char *path, const char *out_path,
                                     const lks_convert_options *options, lks_error *err);

/* ---- sessions ---- */

typedef struct lks_session_options {
    size_t size;   /* sizeof(lks_session_options) */
    int n_threads; /* 0: all CPUs this process may use */
} lks_session_options;

LKS_API lks_status lks_session_open(lks_session **out, const lks_model *model, const lks_session_options *options,
                                    lks_error *err);
LKS_API void lks_session_close(lks_session *session); /* NULL is safe */

/* ---- captions ---- */

/* What a look at the pixels alone makes of a picture: statistics, no model. Said of pictures whose sides are 16 pixels or more. */
typedef enum lks_picture_kind {
    LKS_PICTURE_PHOTO = 0, /* nothing speaks against it */
    LKS_PICTURE_BLANK,     /* all of one colour, nearly */
    LKS_PICTURE_NOISE,     /* neighbours have nothing to do with each other */
    LKS_PICTURE_DRAWING    /* even areas with sharp edges: a screenshot, text or a drawing */
} lks_picture_kind;

/* What the encoder made of a picture, and all that captions need of it. The numbers mean something to the model, precision and
 * instruction set that made them, and to no other. */
typedef struct lks_features {
    int n_tokens, d_token;
    const float *tokens;        /* [n_tokens, d_token] */
    int width, height, damaged; /* as in lks_caption */
    lks_picture_kind kind;
} lks_features;

#define LKS_AS_MODEL (-1) /* as the model's generation settings have it */

typedef struct lks_caption_options {
    size_t size;                /* sizeof(lks_caption_options), set by lks_caption_options_init */
    int n_beams;                /* 1: greedy or sampling */
    int n_best;                 /* alternatives to return, at most n_beams (or that many samples) */
    int max_tokens, min_tokens; /* generated ones, the end token included; LKS_AS_MODEL by default */
    int no_repeat_ngram;        /* 0: off */
    int early_stopping; /* 0: while a better caption is possible, 1: at n_beams finished captions, 2: never early */
    float length_penalty, repetition_penalty;
    int sample; /* 1: draw from the distribution */
    float temperature, top_p;
    int top_k; /* 0: off */
    uint64_t seed;
    const char *prompt;        /* the caption continues this text; NULL: none */
    const char *const *banned; /* words or phrases that never appear */
    size_t n_banned;
    const char *const *required; /* words or phrases that all appear */
    size_t n_required;
    int lenient;                /* 1: caption what can be read of a damaged image */
    int keep_maps;              /* 1: keep where each token looked, see lks_sequence.maps */
    int64_t max_pixels;         /* images with more are refused; 0: 50 million */
    int (*stop)(void *context); /* asked while decoding; non-zero ends with LKS_ERR_INTERRUPTED; may be NULL */
    void *stop_context;
    int keep_picture;     /* 1: keep the pixels, see lks_caption.picture */
    const char *language; /* code of the caption's language; NULL: the model's default, see lks_model_language */
    int keep_features;    /* 1: keep what the encoder made of the picture, see lks_caption.features */
    /* What was kept of this very picture before, borrowed: the encoder does not run, and the picture is not even read unless
     * keep_picture asks for its pixels. NULL: none. For single pictures. */
    const lks_features *features;
} lks_caption_options;

/* Fills `options` with the model's own generation defaults. */
LKS_API void lks_caption_options_init(lks_caption_options *options, const lks_model *model);

/* A word that the model said: the tokens that wrote it, put together again. Words are separated by white space; signs without
 * a letter or digit at their ends, and their tokens, are left off. */
typedef struct lks_word {
    const char *text;          /* UTF-8 */
    int first_token, n_tokens; /* of the sequence's tokens; never 0 */
    float logprob;             /* sum over its tokens: how likely the word was after those before it */
    const float *map; /* [grid_rows, grid_columns] the mean of its tokens' maps, sums to 1; NULL unless keep_maps */
} lks_word;

typedef struct lks_sequence {
    const char *text; /* UTF-8 */
    float score;      /* beams: length-penalised log-probability; otherwise the mean log-probability of a token */
    /* the probability that the caption is good, as whoever calibrated the model defines it; NAN: the model's file holds no
     * calibration for captions of that language */
    double confidence;
    int n_tokens;
    const int32_t *tokens;         /* ids after start token and prompt, the end token included when produced */
    const float *logprobs;         /* [n_tokens] natural logarithm of each token's probability */
    const char *const *token_text; /* [n_tokens] what each token adds to the text; "" for special tokens */
    const float
        *maps; /* [n_tokens, grid_rows * grid_columns] which patches spoke for each token: by how much what attention
                          brought from a patch, in all heads and layers, raised the token's logit over what the mean patch
                          would have done; nothing where it lowered it; each row sums to 1; NULL unless keep_maps */
    int n_words;
    const lks_word *words; /* [n_words] in the order of the text; a prompt's words are not among them */
    int n_layers;          /* of the decoder */
    const float
        *layer_maps; /* [n_tokens, n_layers, grid_rows * grid_columns] the attention weights as they were, averaged over
                                heads: what a row lacks to 1 fell on class token and registers; NULL unless keep_maps */
} lks_sequence;

/* A rectangle in the pixels of a picture. */
typedef struct lks_box {
    double x, y, width, height;
} lks_box;

typedef struct lks_caption {
    int n_sequences;
    const lks_sequence *sequences;        /* best first */
    int grid_rows, grid_columns;          /* patches of the image */
    int width, height;                    /* of the picture as decoded (a scaled JPEG decode included) */
    int damaged;                          /* 1: a lenient read of a damaged image */
    int n_steps;                          /* decoder steps taken */
    double read_ms, encode_ms, decode_ms; /* pixels ready; image tokens and cross K/V ready; words found */
    lks_box
        grid_box; /* where the grid lies on the picture, its first patch in the upper left corner: all of the picture where
                         preprocessing squashes it, its middle where it is cropped, more than it where the crop pads */
    const uint8_t *picture;       /* [height, width, 3] RGB, upright; NULL unless keep_picture */
    lks_picture_kind kind;        /* of several pictures: the first one's */
    const lks_features *features; /* NULL unless keep_features */
} lks_caption;

/* Captions an image file, the bytes of one, or raw pixels (RGB, 8 bits each, `stride` bytes between rows). *out is freed
 * with lks_caption_free. A damaged or missing image is LKS_ERR_IMAGE, LKS_ERR_DAMAGED or LKS_ERR_IO and leaves the session usable. */
LKS_API lks_status lks_caption_file(lks_session *session, lks_caption **out, const char *path,
                                    const lks_caption_options *options, lks_error *err);
LKS_API lks_status lks_caption_bytes(lks_session *session, lks_caption **out, const void *bytes, size_t n_bytes,
                                     const char *name, const lks_caption_options *options, lks_error *err);
LKS_API lks_status lks_caption_rgb(lks_session *session, lks_caption **out, const uint8_t *rgb, int width, int height,
                                   size_t stride, const lks_caption_options *options, lks_error *err);
LKS_API void lks_caption_free(lks_caption *caption); /* NULL is safe */

/* Pixels in memory: RGB, 8 bits each, `stride` bytes between rows. */
typedef struct lks_picture {
    const uint8_t *rgb;
    int width, height;
    size_t stride;
} lks_picture;

#define LKS_MAX_JOINT 64 /* pictures at most */

/* One caption for several pictures, such as frames of one shot: their image tokens become one sequence, and every word attends to
 * all of it at once. Cross-attention knows no order of pictures, and copies of one picture say what it says alone. Sizes and
 * grid_box of the caption are the first picture's, times those of all; maps and pixels cannot be kept. */
LKS_API lks_status lks_caption_joint(lks_session *session, lks_caption **out, const lks_picture *pictures,
                                     int n_pictures, const lks_caption_options *options, lks_error *err);

/* A picture to look at: the first of these that is set. */
typedef struct lks_image_source {
    const char *path;  /* a file, or NULL */
    const void *bytes; /* the bytes of one, or NULL */
    size_t n_bytes;
    lks_picture pixels;
    const char *name;             /* of bytes, for messages; NULL: "image" */
    const lks_features *features; /* what was kept of the picture before: see lks_caption_options.features; or NULL */
} lks_image_source;

#define LKS_MAX_BATCH 256 /* pictures at most */

/* Captions n pictures, each as lks_caption_file would: a caption depends neither on the pictures beside it nor on their number (with
 * the instruction set "blas" and on a GPU only up to rounding: their libraries promise no more). What is gained is speed: threads read
 * and encode a picture each, or a GPU encodes many at once, and the words of all are found together. captions[i] is freed with
 * lks_caption_free; it is NULL when picture i could not be read, and errors[i] then says why. decode_ms is an equal share, on a GPU
 * encode_ms too. Neither maps nor options->features go with it. A failure that is no picture's own, such as options that cannot be
 * served, leaves all captions NULL; after LKS_ERR_NOMEM fewer pictures together may do. */
LKS_API lks_status lks_caption_batch(lks_session *session, lks_caption **captions, lks_error *errors,
                                     const lks_image_source *pictures, int n, const lks_caption_options *options,
                                     lks_error *err);

/* ---- translations ---- */

typedef struct lks_translate_options {
    size_t size;           /* sizeof(lks_translate_options), set by lks_translate_options_init */
    const char *from, *to; /* language codes, see lks_model_language */
    int n_beams, n_best;   /* alternatives to return, at most n_beams */
    int max_tokens;
    float length_penalty;
    int (*stop)(void *context); /* asked while decoding; non-zero ends with LKS_ERR_INTERRUPTED; may be NULL */
    void *stop_context;
    int keep_features; /* 1: keep what the encoder made of the picture, for the next sentence about it: see lks_caption.features */
} lks_translate_options;

/* Fills `options` with defaults; the languages are left to the caller. */
LKS_API void lks_translate_options_init(lks_translate_options *options, const lks_model *model);

/* Translates a sentence (UTF-8), with the picture it is about, or without: picture NULL. The result is a caption without a grid; its
 * sequences' texts end as the source does. Freed with lks_caption_free. A sentence that is too long for the model, empty or in a
 * language it does not have is LKS_ERR_ARGUMENT; a model that does not translate is LKS_ERR_UNSUPPORTED. */
LKS_API lks_status lks_translate(lks_session *session, lks_caption **out, const char *text,
                                 const lks_image_source *picture, const lks_translate_options *options, lks_error *err);

/* ---- filling gaps ---- */

typedef struct lks_fill_options {
    size_t size;          /* sizeof(lks_fill_options), set by lks_fill_options_init */
    const char *language; /* of the text; NULL: the model's default */
    int n_best;           /* fillings to return at most */
    int n_beams;          /* of the search behind them, at least n_best */
    float guidance;       /* how much more what the picture changes counts; 0: as the model has it. See lks_filling */
    int (*stop)(void *context);
    void *stop_context;
} lks_fill_options;

LKS_API void lks_fill_options_init(lks_fill_options *options, const lks_model *model);

typedef struct lks_filling {
    const char *text;         /* the whole text with its gaps filled, UTF-8 */
    const char *const *words; /* [n_gaps] what stands in each gap */
    /* Of these words in these gaps together. With p that of the model, q that without the picture, and guidance g, it is
     * proportional to p (p / q)^g, and all fillings that were found have together what they have in the model. */
    double probability;
} lks_filling;

typedef struct lks_fillings {
    int n, n_gaps;
    const lks_filling *items; /* [n] likeliest first */
    double read_ms, encode_ms, decode_ms;
} lks_fillings;

/* What may stand in the gaps of `text`, each written [MASK], given the picture or, where that is NULL, the other words alone. *out
 * is freed with lks_fillings_free. A text without gaps is LKS_ERR_ARGUMENT; a model that does not fill gaps is LKS_ERR_UNSUPPORTED. */
LKS_API lks_status lks_fill(lks_session *session, lks_fillings **out, const char *text, const lks_image_source *picture,
                            const lks_fill_options *options, lks_error *err);
LKS_API void lks_fillings_free(lks_fillings *fillings); /* NULL is safe */

/* ---- the machine ---- */

typedef struct lks_machine {
    int n_cpus;
    char cpu[64];                                         /* brand string */
    const char *isa;                                      /* the instruction set that "auto" takes, static */
    int avx2, avx512, avx512_vnni, avx512_bf16, openblas; /* 1: available to this build on this CPU */
} lks_machine;

LKS_API void lks_machine_describe(lks_machine *machine);

typedef struct lks_gpu {
    char name[128];
    int major, minor; /* its compute capability */
    uint64_t memory_bytes;
} lks_gpu;

/* The GPU that "cuda" takes. LKS_ERR_DEVICE where there is none to use: *err then says why, and after a semicolon what helps. */
LKS_API lks_status lks_gpu_describe(lks_gpu *gpu, lks_error *err);

typedef struct lks_machine_speed {
    const char *isa; /* what was measured, static */
    int n_threads;
    double f32_gflops;             /* multiply-adds in registers: the peak */
    double bf16_gflops, int8_gops; /* the same for bf16 and int8 */
    double dram_gbps;              /* memory reads */
    struct {
        int n_tokens;                  /* 197, 257, 577: a ViT at 224 px, 256 px with patches of 16, 384 px */
        double linear_gflops;          /* the four linear layers of a transformer block of width 768 */
        double bf16_gflops, int8_gops; /* the same layers with such weights, rounding their inputs included */
        double attention_gflops;       /* its self-attention, 12 heads of 64 */
        double int8_attention_gops;    /* that of int8 models; 0 where they attend as others */
    } layers[3];
    struct {
        int n_rows;                                       /* 1, 3, 8: greedy, beams, a batch */
        double f32_gbps, bf16_gbps, int8_gbps, int4_gbps; /* weights read by a layer too large for caches */
    } rows[3];
} lks_machine_speed;

/* Measures the roofline and typical layers, all threads busy, best of several rounds; takes about `seconds`. isa NULL: the
 * best. n_threads 0: all. */
LKS_API lks_status lks_machine_measure(lks_machine_speed *speed, const char *isa, int n_threads, double seconds,
                                       lks_error *err);

/* 10^9 operations per second of the linear layers of a transformer block of width 768: all together, and each. */
typedef struct lks_block_speed {
    double all;
    double qkv, proj, fc1, fc2; /* proj and fc2 with a residual, fc1 with GELU */
} lks_block_speed;

/* 10^9 operations per second of a whole transformer block with bf16 weights, as an encoder computes it: all that takes time, and its
 * linear layers (biases, GELU and residuals with them) and its attention each by themselves. */
typedef struct lks_whole_speed {
    double all;
    double linear, attention;
} lks_whole_speed;

typedef struct lks_gpu_speed {
    double f32_gflops, bf16_gflops, int8_gops; /* products of large matrices: the peak; bf16 0: not on this GPU */
    double dram_gbps;                          /* a large copy within its memory, bytes read and written */
    struct {
        int n_tokens;        /* 577, 257, 197: a ViT at 384 px, 256 px with patches of 16, 224 px */
        int n_rows, n_heads; /* of linear layers and self-attention, of width 64: of 64 photos on a fast GPU */
        lks_block_speed f32, bf16, int8;                    /* with such weights, rounding their inputs included */
        double f32_attention_gflops, bf16_attention_gflops; /* as models of f32 attend, and those below */
        int n_photos; /* of the block; 0: this GPU has none with bf16, or too little memory */
        lks_whole_speed block;
    } layers[3];
} lks_gpu_speed;

/* Measures the GPU that "cuda" takes, and typical layers on it; takes a few seconds and, as long, up to a quarter of its memory. */
LKS_API lks_status lks_gpu_measure(lks_gpu_speed *speed, lks_error *err);

/* Frees what lks_model_info returned. */
LKS_API void lks_free(void *memory);

#ifdef __cplusplus
}
#endif

#endif
