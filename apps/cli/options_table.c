/* All options of all commands. */
#include "apps/cli/options_table.h"

#define FIELD(name) offsetof(settings, name)
#define FLAG(name, letter, group, field, help)                                                                         \
    {                                                                                                                  \
        name, letter, KIND_FLAG, group, FIELD(field), NULL, help, 0, 0                                                 \
    }
#define NUMBER(name, letter, kind, group, field, metavar, min, max, help)                                              \
    {                                                                                                                  \
        name, letter, kind, group, FIELD(field), metavar, help, min, max                                               \
    }
#define TEXT(name, letter, kind, group, field, metavar, help)                                                          \
    {                                                                                                                  \
        name, letter, kind, group, FIELD(field), metavar, help, 0, 0                                                   \
    }

/* clang-format off */
const option option_table[] = {
    TEXT("model", 'm', KIND_TEXT, GROUP_MODEL, model, "PATH", "Hugging Face directory or GGUF file; default: the one that came with the program"),
    NUMBER("threads", 't', KIND_INT, GROUP_MODEL | GROUP_CONVERT | GROUP_QUANTIZE, n_threads, "N", 1, 1024, "CPU threads; default: all this process may use"),
    TEXT("isa", 0, KIND_CHOICE, GROUP_MODEL, isa, "auto|ref|blas|avx2|avx-vnni|avx512|avx512-vnni|avx512-bf16|neon|neon-dotprod", "instruction set; auto takes the best this CPU has"),
    TEXT("dtype", 0, KIND_CHOICE, GROUP_MODEL, dtype, "auto|f32|bf16|int8|int4", "precision of linear layers; auto takes what the model file holds"),
    TEXT("packed-cache", 0, KIND_TEXT, GROUP_MODEL, packed_cache, "DIR", "keep what --dtype packs of a Hugging Face directory there: the next start need not pack again"),
    TEXT("device", 0, KIND_CHOICE, GROUP_MODEL, device, "cpu|cuda|auto", "what computes; cuda is an NVIDIA GPU, auto takes one if there is, and says so; default: cpu"),

    TEXT("from", 0, KIND_TEXT, GROUP_TRANSLATE, from, "CODE", "language of the text, such as en; 'looksay info' lists those of the model"),
    TEXT("to", 0, KIND_TEXT, GROUP_TRANSLATE, to, "CODE", "language to translate into"),
    TEXT("image", 'i', KIND_TEXT, GROUP_TRANSLATE, image, "IMAGE", "the picture that the text is about; - is standard input"),
    TEXT("lang", 'l', KIND_TEXT, GROUP_SEARCH, language, "CODE", "language of the caption, such as de; 'looksay info' lists those of the model, the default first"),
    TEXT("lang", 'l', KIND_TEXT, GROUP_FILL, language, "CODE", "language of the text, such as de; default: the model's first"),
    NUMBER("beams", 'b', KIND_INT, GROUP_SEARCH | GROUP_TRANSLATE | GROUP_FILL, n_beams, "N", 1, 256, "beams of beam search; 1 is greedy"),
    NUMBER("max-tokens", 0, KIND_INT, GROUP_SEARCH | GROUP_TRANSLATE, max_tokens, "N", 1, 100000, "longest caption, in tokens"),
    NUMBER("min-tokens", 0, KIND_INT, GROUP_SEARCH, min_tokens, "N", 0, 100000, "shortest caption, in tokens"),
    TEXT("prompt", 'p', KIND_TEXT, GROUP_SEARCH, prompt, "TEXT", "the caption continues this text"),
    NUMBER("n-best", 'n', KIND_INT, GROUP_CAPTION_OUTPUT | GROUP_DATA | GROUP_TRANSLATE | GROUP_FILL, n_best, "N", 1, 256, "alternatives, at most one per beam"),
    TEXT("ban", 0, KIND_WORDS, GROUP_SEARCH, banned, "WORDS", "words or phrases that never appear; commas between, may be repeated"),
    TEXT("must", 0, KIND_WORDS, GROUP_SEARCH, required, "WORDS", "words or phrases that all appear; commas between, may be repeated"),
    NUMBER("no-repeat-ngram", 0, KIND_INT, GROUP_SEARCH, no_repeat_ngram, "N", 0, 1000, "no run of N tokens appears twice; 0: off"),
    NUMBER("length-penalty", 0, KIND_REAL, GROUP_SEARCH | GROUP_TRANSLATE, length_penalty, "X", -100, 100, "above 0 beam search prefers long captions, below 0 short ones"),
    NUMBER("guidance", 0, KIND_REAL, GROUP_FILL, guidance, "X", 0, 10, "above 0 words that the picture makes likelier come first; 0: the model's own order; default: 0.5"),
    NUMBER("repetition-penalty", 0, KIND_REAL, GROUP_SEARCH, repetition_penalty, "X", 1e-3, 1000, "above 1 tokens already used become less likely"),
    FLAG("sample", 0, GROUP_SEARCH, sample, "draw tokens at random; implied by --temperature, --top-k, --top-p and --seed"),
    NUMBER("temperature", 0, KIND_REAL, GROUP_SEARCH, temperature, "X", 1e-3, 1000, "below 1 draws likely tokens more often"),
    NUMBER("top-k", 0, KIND_INT, GROUP_SEARCH, top_k, "N", 0, 1000000, "draw among the N likeliest tokens; 0: all"),
    NUMBER("top-p", 0, KIND_REAL, GROUP_SEARCH, top_p, "P", 1e-6, 1, "draw among the likeliest tokens that hold this probability together"),
    NUMBER("seed", 0, KIND_INT, GROUP_SEARCH, seed, "N", 0, INT_MAX, "start of the random numbers; the same seed draws the same caption"),
    FLAG("lenient", 0, GROUP_CAPTION_OUTPUT | GROUP_DATA | GROUP_EXPLAIN | GROUP_BENCH, lenient, "caption what can be read of a damaged image"),

    TEXT("files-from", 0, KIND_TEXT, GROUP_INPUT, files_from, "LIST", "file with one image path per line; - is standard input"),
    TEXT("files-from", 0, KIND_TEXT, GROUP_TRANSLATE, files_from, "LINES", "file with one sentence per line; - is standard input"),
    FLAG("null", '0', GROUP_INPUT, null_separated, "paths of --files-from and --dry-run end in a zero byte, not a line end"),
    FLAG("recursive", 'r', GROUP_INPUT, recursive, "folders with all folders in them"),
    TEXT("include", 0, KIND_TEXTS, GROUP_INPUT, include, "GLOB", "of folders and lists, only images whose name matches, or path if GLOB has a /; may be repeated"),
    TEXT("exclude", 0, KIND_TEXTS, GROUP_INPUT, exclude, "GLOB", "of folders and lists, no image or folder that matches; may be repeated"),
    TEXT("shard", 0, KIND_TEXT, GROUP_INPUT, shard, "I/N", "only part I of N, chosen by a hash of each path; the parts are disjoint and complete"),
    FLAG("watch", 0, GROUP_INPUT, watch, "then wait for photos to come into the folders, until interrupted"),
    FLAG("dry-run", 0, GROUP_INPUT, dry_run, "print which images would be captioned, and stop"),

    NUMBER("batch", 0, KIND_INT, GROUP_INPUT | GROUP_DATA, n_batch, "N", 1, 256, "photos captioned together; captions do not depend on it, on a GPU but for rounding; default: 8, or more where there are more threads; 64 on a GPU"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_CAPTION_OUTPUT, format, "text|jsonl|csv|html|txt|xmp|embed", "html is a page with thumbnails; txt writes PHOTO.txt beside every photo, xmp PHOTO.jpg.xmp, embed XMP into it"),
    FLAG("details", 0, GROUP_CAPTION_OUTPUT, details, "with jsonl: tokens, log-probabilities, sizes and timings"),
    TEXT("existing", 0, KIND_CHOICE, GROUP_CAPTION_OUTPUT, existing, "skip|overwrite|append|prepend", "what to do with captions that are there; default: skip, where xmp and embed fill what is empty"),
    TEXT("ext", 0, KIND_TEXT, GROUP_CAPTION_OUTPUT, extension, "EXT", "PHOTO.EXT beside the photo: some training tools want caption, Adobe's programs with --format xmp want xmp"),
    NUMBER("min-confidence", 0, KIND_REAL, GROUP_CAPTION_OUTPUT, min_confidence, "P", 0, 1, "a caption that is good with a probability below P is not given: the row says uncertain, and why"),
    FLAG("any-picture", 0, GROUP_CAPTION_OUTPUT, any_picture, "caption blank pictures, noise, screenshots and drawings too; else a calibrated model calls them uncertain"),
    TEXT("feature-cache", 0, KIND_TEXT, GROUP_CACHE, feature_cache, "FILE", "keep what the encoder makes of photos there: a later run, with another prompt or search, need not look again"),
    NUMBER("feature-cache-size", 0, KIND_INT, GROUP_CACHE, feature_cache_mib, "MIB", 1, 1 << 24, "size of that file, from which the longest unused goes; default: 1024"),
    FLAG("resume", 0, GROUP_RESUME, resume, "go on where an interrupted or killed run of this command was"),
    TEXT("journal", 0, KIND_TEXT, GROUP_RESUME, journal, "FILE", "where --resume keeps what is done; default: OUTPUT.journal, or .looksay.journal in the folder"),
    TEXT("output", 'o', KIND_TEXT, GROUP_OUTPUT, output, "FILE", "write here, not to standard output; appears when it is complete"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_REPORT, report_format, "text|json", "for people or for programs"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_TRANSLATE | GROUP_FILL, text_format, "text|jsonl", "lines for people or rows for programs"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_EXPLAIN, explain_format, "png|html|json", "default: what the name of FILE ends in, and json without one"),
    TEXT("format", 'f', KIND_CHOICE, GROUP_VIDEO, video_format, "srt|vtt|jsonl|clip", "clip: a copy with the captions in its pictures, .mp4, .mov, .mkv or .webm; default: what the name of FILE ends in, and srt without one"),

    NUMBER("every", 0, KIND_REAL, GROUP_VIDEO, every, "S", 0, 86400, "seconds after which a shot gets another caption if it has changed; 0: never; default: 2"),
    NUMBER("scene", 0, KIND_REAL, GROUP_VIDEO, scene, "T", 0, 1, "a frame that differs from the one before by more is a cut; 0: no cuts; default: 0.1"),
    NUMBER("gate", 0, KIND_REAL, GROUP_VIDEO, gate, "D", 0, 1, "a frame that differs by no more keeps the caption it has; default: 0.015"),
    NUMBER("joint", 0, KIND_INT, GROUP_VIDEO, n_joint, "N", 1, 16, "frames of a shot that the words attend to together; default: 1"),

    TEXT("data", 0, KIND_TEXT, GROUP_QUANTIZE, data, "DATA.jsonl", "score both models on these photos, as eval does, and print their CIDEr"),
    TEXT("photos", 0, KIND_TEXT, GROUP_DATA | GROUP_VERIFY | GROUP_QUANTIZE, photos, "DIR", "folder of the photos; default: where the data file is"),
    TEXT("split", 0, KIND_TEXT, GROUP_DATA | GROUP_QUANTIZE, split, "NAME", "only rows whose \"split\" is NAME"),
    TEXT("references", 0, KIND_TEXT, GROUP_DATA | GROUP_QUANTIZE, references, "KEY", "key of the human captions; default: captions"),
    NUMBER("limit", 0, KIND_INT, GROUP_DATA | GROUP_QUANTIZE, limit, "N", 1, INT_MAX, "only the first N photos"),
    NUMBER("tolerance", 0, KIND_REAL, GROUP_VERIFY, tolerance, "X", 0, 100, "largest difference of a log-probability; default: the golden file's own, or 0.002"),
    NUMBER("repeat", 0, KIND_INT, GROUP_BENCH, repeat, "N", 1, 10000, "runs of each measurement; default: 9"),

    TEXT("output", 'o', KIND_TEXT, GROUP_CONVERT | GROUP_QUANTIZE, output, "FILE.gguf", "the new model; appears when it is complete"),
    TEXT("to", 0, KIND_CHOICE, GROUP_CONVERT, to, "f32|f16", "precision of matrices; default: f32"),
    TEXT("to", 0, KIND_CHOICE, GROUP_QUANTIZE, to, "int8|int4|bf16", "precision of linear layers; default: int8"),
    TEXT("calibrate", 0, KIND_TEXT, GROUP_QUANTIZE, calibrate, "DATA.jsonl", "look at the first 32 of these photos, and scale channels of the encoder that are large there down before rounding"),
    TEXT("keep", 0, KIND_TEXTS, GROUP_QUANTIZE, kept, "GLOB", "layers whose names match stay bf16; may be repeated"),

    FLAG("quiet", 'q', GROUP_ALWAYS, quiet, "no progress and no messages about single images"),
    FLAG("verbose", 'v', GROUP_ALWAYS, verbose, "say what is opened and how long it takes"),
    FLAG("help", 'h', GROUP_ALWAYS, help, "this text"),
};
/* clang-format on */

const int n_options = sizeof option_table / sizeof *option_table;

_Static_assert(sizeof option_table / sizeof *option_table <= MAX_OPTIONS, "settings.given is too short");
