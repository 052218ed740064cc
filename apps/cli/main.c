/* looksay: a picture in, a caption out, on the command line. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/captioner/looksay.h"
#include "apps/cli/commands.h"
#include "apps/cli/guess.h"

static const command commands[] = {
    {.name = "caption",
     .synopsis = "[caption] [OPTION...] FILE|DIR|-...",
     .summary = "say what pictures show",
     .description =
         "Captions JPEG, PNG, WebP, BMP, GIF, PNM and TGA pictures. A folder stands for the images in it; - reads\n"
         "one image from standard input. 'caption' may be left out.",
     .examples =
         "  looksay photo.jpg                            a caption\n"
         "  looksay --beams 5 --n-best 3 photo.jpg       three alternatives\n"
         "  looksay -r photos -f jsonl -o captions.jsonl a library, one JSON object per photo\n"
         "  looksay -r photos -f csv -o out.csv --resume goes on after a crash\n"
         "  looksay -r photos -f html -o photos.html     a page to look at and search\n"
         "  looksay photos -f txt                        photo.txt beside every photo, for training tools\n"
         "  looksay -r photos -f embed                   description and alt text into every photo, as XMP\n"
         "  looksay --prompt 'a photo of' photo.jpg      the caption continues the prompt\n"
         "  curl -s URL | looksay -                      an image from a pipe\n"
         "  looksay -r photos --exclude '*_thumb.*' --shard 1/4 -f jsonl   a quarter of a library\n"
         "  looksay -r photos --feature-cache photos.cache --prompt 'a photo of'   looks once, words it many times\n"
         "  looksay -r inbox -f embed --watch            every photo that comes in\n"
         "  find . -name '*.png' -print0 | looksay --files-from - -0\n",
     .groups =
         GROUP_MODEL | GROUP_SEARCH | GROUP_INPUT | GROUP_CAPTION_OUTPUT | GROUP_OUTPUT | GROUP_RESUME | GROUP_CACHE,
     .run = command_caption},
    {.name = "explain",
     .synopsis = "explain [OPTION...] IMAGE -o FILE",
     .summary = "where the model looked for each word",
     .description =
         "Captions one picture and shows for every word where the model looked when it said it. FILE.png is a sheet "
         "with\n"
         "the picture once for each word, FILE.html a page on which pointing at a word lights its place, FILE.json\n"
         "the numbers: words, tokens, probabilities, and the attention of every decoder layer.",
     .examples = "  looksay explain photo.jpg -o words.png\n"
                 "  looksay explain photo.jpg -o words.html\n"
                 "  looksay explain --beams 3 photo.jpg -o words.json\n"
                 "  looksay explain photo.jpg | jq -r '.words[].word'\n",
     .groups = GROUP_MODEL | GROUP_SEARCH | GROUP_OUTPUT | GROUP_EXPLAIN,
     .run = command_explain},
    {.name = "video",
     .synopsis = "video [OPTION...] CLIP|-|CAMERA",
     .summary = "subtitles that say what a clip shows, beside it or in it",
     .description =
         "Captions a clip, a camera (/dev/video0, rtsp://...) or, as -, standard input: one caption for each shot, "
         "and\n"
         "another every few seconds where the picture has changed. Frames are compared as 32 x 32 grey thumbnails; a\n"
         "difference is the mean over the cells, 0 for the same and 1 for black against white.",
     .examples =
         "  looksay video holiday.mp4 -o holiday.srt\n"
         "  looksay video holiday.mp4 -o captioned.mp4   a copy with the captions in its pictures\n"
         "  looksay video holiday.mp4 -f jsonl           one JSON object per caption, with time codes\n"
         "  looksay video --joint 4 clip.mkv             every word attends to four frames of its shot at once\n"
         "  looksay video --every 0 clip.mkv             one caption a shot\n"
         "  looksay video /dev/video0 -f jsonl           a camera, until Ctrl-C\n",
     .groups = GROUP_MODEL | GROUP_SEARCH | GROUP_OUTPUT | GROUP_VIDEO,
     .run = command_video},
    {.name = "translate",
     .synopsis = "translate --from CODE --to CODE TEXT...",
     .summary = "a sentence in another language, with its picture or without",
     .description =
         "Translates sentences of the kind that describe pictures. With --image the model looks at the picture too.",
     .examples = "  looksay translate --from en --to de \"A brown dog runs on the beach.\"\n"
                 "  looksay translate --from en --to de --image photo.jpg \"A player hits the ball.\"\n"
                 "  looksay translate --from en --to fr --files-from english.txt -o french.txt\n",
     .groups = GROUP_MODEL | GROUP_TRANSLATE | GROUP_OUTPUT,
     .run = command_translate},
    {.name = "fill",
     .synopsis = "fill [OPTION...] [IMAGE] TEXT",
     .summary = "what may stand in the gaps of a text",
     .description = "Fills the gaps of a text, each written [MASK], with words that suit the picture (- is standard\n"
                    "input) and the other words.\n"
                    "Prints the likeliest fillings, the probability of the words before each.",
     .examples = "  looksay fill photo.jpg \"a [MASK] dog on the [MASK]\"\n"
                 "  looksay fill --n-best 10 --format jsonl photo.jpg \"a man is riding a [MASK]\"\n"
                 "  looksay fill --lang de foto.jpg \"Ein [MASK] läuft\"\n",
     .groups = GROUP_MODEL | GROUP_FILL | GROUP_OUTPUT,
     .run = command_fill},
    {.name = "info",
     .synopsis = "info [OPTION...] [MODEL]",
     .summary = "what a model is",
     .description = "Opens a model and prints its family, sizes, vocabulary, generation defaults and cost.",
     .examples = "  looksay info\n  looksay info --format json models/blip\n",
     .groups = GROUP_MODEL | GROUP_REPORT,
     .run = command_info},
    {.name = "verify",
     .synopsis = "verify [OPTION...] [GOLDEN]",
     .summary = "compare a model's captions with a golden file",
     .description =
         "GOLDEN is a file of captions made by another program, token by token (default: golden.json in the\n"
         "model's folder). Every case must agree: the same tokens, each log-probability within the tolerance.",
     .examples = "  looksay verify --model models/blip\n"
                 "  looksay verify --model models/blip --photos photos golden.json\n",
     .groups = GROUP_MODEL | GROUP_VERIFY,
     .run = command_verify},
    {.name = "eval",
     .synopsis = "eval [OPTION...] DATA.jsonl",
     .summary = "caption a data set, references beside each caption",
     .description =
         "DATA.jsonl holds one object per photo: \"image\" (a path), the human captions, perhaps a \"split\". Prints\n"
         "one JSON object per photo with \"caption\" and \"references\", and the CIDEr of all.",
     .examples = "  looksay eval --split val --beams 3 --photos images captions.jsonl -o val.jsonl\n",
     .groups = GROUP_MODEL | GROUP_SEARCH | GROUP_DATA | GROUP_OUTPUT | GROUP_CACHE,
     .run = command_eval},
    {.name = "convert",
     .synopsis = "convert [OPTION...] MODEL -o FILE.gguf",
     .summary = "a model as one GGUF file",
     .description =
         "Writes weights, configuration and tokenizer of a Hugging Face directory or GGUF file as one GGUF file, and\n"
         "only the tensors that captions need.",
     .examples = "  looksay convert models/blip -o blip.gguf\n  looksay convert models/blip -o blip.gguf --to f16\n",
     .groups = GROUP_CONVERT,
     .run = command_convert},
    {.name = "quantize",
     .synopsis = "quantize [OPTION...] MODEL -o FILE.gguf",
     .summary = "a smaller, faster model: linear layers in int8, int4 or bf16",
     .description =
         "Writes a GGUF file whose linear layers are integers of 8 or 4 bits, or bf16, packed as the program computes\n"
         "with them. It is mapped and used in place when it is opened. Embeddings, norms and filters keep their\n"
         "precision. With --data both models caption its photos, and their CIDEr is printed. With --calibrate the\n"
         "model first looks at photos, and large channels of its encoder are scaled so that rounding costs less.",
     .examples = "  looksay quantize models/blip -o blip-int8.gguf\n  looksay --model blip-int8.gguf photo.jpg\n"
                 "  looksay quantize models/blip -o blip-int8.gguf --data captions.jsonl --split val --photos images\n",
     .groups = GROUP_QUANTIZE,
     .run = command_quantize},
    {.name = "bench",
     .synopsis = "bench [OPTION...] [IMAGE]",
     .summary = "measure this machine, and a model on it",
     .description =
         "Measures the multiply-add peak and the memory bandwidth, layers of typical sizes as a share of that peak,\n"
         "and each stage of a caption, all in one run.",
     .examples = "  looksay bench\n  looksay bench --model models/blip --format json photo.jpg\n",
     .groups = GROUP_MODEL | GROUP_SEARCH | GROUP_REPORT | GROUP_BENCH,
     .run = command_bench},
    {.name = "doctor",
     .synopsis = "doctor [OPTION...]",
     .summary = "what this machine can do, what is missing, how to get it",
     .description = "Checks the processor, the instruction sets, the default model and a caption of a drawn picture.",
     .examples = "  looksay doctor\n",
     .groups = GROUP_MODEL | GROUP_REPORT,
     .run = command_doctor},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static void print_overview(FILE *to)
{
    fputs("Looksay looks at a picture and says what it shows.\n\nusage:\n", to);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  looksay %-38s %s\n", commands[i].synopsis, commands[i].summary);
    fputs("  looksay completion bash|zsh|fish               print completions for a shell\n"
          "  looksay COMMAND --help                         options and examples of a command\n"
          "  looksay --version\n\nexamples:\n",
          to);
    fputs(commands[0].examples, to);
    fputs("\nResults go to standard output, everything else to standard error. Exit status: 0 all done, 1 some images\n"
          "failed, 2 usage, 3 model, 4 output, 130 interrupted. Every option has a twin in the environment:\n"
          "LOOKSAY_MODEL for --model, LOOKSAY_MAX_TOKENS for --max-tokens; the option wins.\n",
          to);
}

static void print_help(const command *c)
{
    printf("usage: looksay %s\n\n%s\n\noptions:\n", c->synopsis, c->description);
    options_print_help(stdout, c->groups);
    printf("\nexamples:\n%s", c->examples);
}

static const command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* The command that was meant by a word that is none; NULL: no name is near. */
static const char *guess_command(const char *typed)
{
    guess near = {.word = NULL};
    for (int i = 0; i < N_COMMANDS; i++)
        guess_consider(&near, typed, commands[i].name);
    return near.word;
}

static int help(const char *topic)
{
    const command *c = topic ? find_command(topic) : NULL;
    if (c) {
        print_help(c);
        return EXIT_ALL_DONE;
    }
    if (!topic || strcmp(topic, "help") == 0 || strcmp(topic, "version") == 0 || strcmp(topic, "completion") == 0) {
        print_overview(stdout);
        return EXIT_ALL_DONE;
    }
    const char *meant = guess_command(topic);
    if (meant)
        complain("help: no command is called '%s'; did you mean %s?", topic, meant);
    else
        complain("help: no command is called '%s'; 'looksay --help' lists them", topic);
    return EXIT_USAGE;
}

/* Words that are no command of their own: help, version, completions. Returns -1 for anything else. */
static int answer(int argc, char **argv)
{
    const char *first = argv[1];
    if (strcmp(first, "--version") == 0 || strcmp(first, "version") == 0) {
        printf("looksay %s\n", lks_version());
        return EXIT_ALL_DONE;
    }
    if (strcmp(first, "help") == 0)
        return help(argv[2]);
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return help(NULL);
    if (strcmp(first, "completion") == 0) {
        if (argc == 3 && options_print_completion(stdout, argv[2], commands, N_COMMANDS))
            return EXIT_ALL_DONE;
        complain("completion takes bash, zsh or fish");
        return EXIT_USAGE;
    }
    return -1;
}

/* A file that is opened where a standard stream was closed would take that stream's words. What holds the place can be used as
 * little as the closed stream could, but for messages, which go nowhere. */
static void hold_closed_streams(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR}; /* of standard input, output and error */
    for (int i = 0; i < 3; i++)
        if (fcntl(i, F_GETFD) < 0)
            open("/dev/null", modes[i]);
}

static int run(int argc, char **argv)
{
    int status = answer(argc, argv);
    if (status >= 0)
        return status;
    const command *c = find_command(argv[1]);
    const char *meant = !c && argv[1][0] != '-' && access(argv[1], F_OK) != 0 ? guess_command(argv[1]) : NULL;
    if (meant) {
        complain("%s: neither a command nor a file; did you mean 'looksay %s'?", argv[1], meant);
        return EXIT_USAGE;
    }
    int skip = c ? 2 : 1;
    if (!c)
        c = &commands[0];
    settings s;
    if (!settings_parse(&s, c, argc - skip, argv + skip))
        return EXIT_USAGE;
    status = EXIT_ALL_DONE;
    if (s.help)
        print_help(c);
    else
        status = c->run(&s);
    settings_release(&s);
    return status;
}

int main(int argc, char **argv)
{
    hold_closed_streams();
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    int status = run(argc, argv);
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (!written && status == EXIT_ALL_DONE) {
        complain("standard output cannot be written");
        status = EXIT_OUTPUT;
    }
    return status;
}
