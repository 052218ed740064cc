/* Splitters: cutting a text into the pieces that the model sees one by one.
 *
 * Each splitter names spans of a piece as matches or gaps; a behavior says what becomes of the two. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* Visible bytes stand for themselves; the other 68 are U+0100 onwards, in order. */
static bool byte_is_visible(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
}

uint32_t lks_byte_to_char(unsigned char byte)
{
    if (byte_is_visible(byte))
        return byte;
    if (byte <= ' ')
        return 256u + byte;
    return byte <= 0xA0 ? 256u + 33 + (byte - 0x7Fu) : 256u + 67;
}

int lks_char_to_byte(uint32_t c)
{
    if (c < 256)
        return byte_is_visible(c) ? (int)c : -1;
    if (c <= 256 + ' ')
        return (int)(c - 256);
    if (c <= 256 + 66)
        return (int)(c - 256 - 33 + 0x7F);
    return c == 256 + 67 ? 0xAD : -1;
}

lks_status lks_metaspace_open(lks_prepend *prepend, lks_str *replacement, const json_t *root, const char *name,
                              lks_error *err)
{
    size_t length = 0;
    bool given = lks_token_json_text(root, "replacement", replacement);
    if (replacement->failed)
        return lks_text_nomem(name, err);
    if (!given || replacement->n == 0 ||
        (lks_utf8_next(replacement->at, replacement->n, &length), length != replacement->n))
        return lks_token_json_damaged(name, "the replacement of a Metaspace is not one character", err);
    const char *scheme = json_string_value(json_object_get(root, "prepend_scheme"));
    *prepend = lks_token_json_bool(root, "add_prefix_space", true) ? LKS_PREPEND_ALWAYS : LKS_PREPEND_NEVER;
    if (scheme && strcmp(scheme, "always") == 0)
        *prepend = LKS_PREPEND_ALWAYS;
    else if (scheme && strcmp(scheme, "first") == 0)
        *prepend = LKS_PREPEND_FIRST;
    else if (scheme && strcmp(scheme, "never") == 0)
        *prepend = LKS_PREPEND_NEVER;
    else if (scheme)
        return lks_token_json_unsupported(name, "prepend_scheme", scheme, err);
    return LKS_OK;
}

static lks_status open_behavior(lks_behavior *behavior, const json_t *root, lks_behavior otherwise, const char *name,
                                lks_error *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *text = json_string_value(json_object_get(root, "behavior"));
    *behavior = otherwise;
    for (size_t i = 0; text && i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *behavior = (lks_behavior)i;
            return LKS_OK;
        }
    }
    return text ? lks_token_json_unsupported(name, "split behavior", text, err) : LKS_OK;
}

static lks_status open_splitter(void *list_pointer, const json_t *root, const char *name, lks_error *err)
{
    lks_splitters *list = list_pointer;
    lks_splitter *step;
    lks_status st = lks_stage_new(&step, &list->at, &list->n, sizeof *step, "too many pre-tokenizers", name, err);
    if (st != LKS_OK)
        return st;
    const char *type = lks_token_json_type(root);
    if (strcmp(type, "ByteLevel") == 0) {
        step->kind = LKS_SPLIT_BYTE_LEVEL;
        step->add_prefix_space = lks_token_json_bool(root, "add_prefix_space", true);
        step->use_regex = lks_token_json_bool(root, "use_regex", true);
    } else if (strcmp(type, "BertPreTokenizer") == 0) {
        step->kind = LKS_SPLIT_BERT;
    } else if (strcmp(type, "Whitespace") == 0) {
        step->kind = LKS_SPLIT_WHITESPACE;
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        step->kind = LKS_SPLIT_WHITESPACE_ONLY;
    } else if (strcmp(type, "Metaspace") == 0) {
        step->kind = LKS_SPLIT_METASPACE;
        step->split = lks_token_json_bool(root, "split", true);
        return lks_metaspace_open(&step->prepend, &step->replacement, root, name, err);
    } else if (strcmp(type, "Digits") == 0) {
        step->kind = LKS_SPLIT_DIGITS;
        step->individual = lks_token_json_bool(root, "individual_digits", false);
    } else if (strcmp(type, "Punctuation") == 0) {
        step->kind = LKS_SPLIT_PUNCTUATION;
        return open_behavior(&step->behavior, root, LKS_ISOLATED, name, err);
    } else if (strcmp(type, "CharDelimiterSplit") == 0) {
        step->kind = LKS_SPLIT_DELIMITER;
        bool given = lks_token_json_text(root, "delimiter", &step->replacement);
        if (step->replacement.failed)
            return lks_text_nomem(name, err);
        if (!given || step->replacement.n == 0)
            return lks_token_json_damaged(name, "a CharDelimiterSplit has no delimiter", err);
    } else if (strcmp(type, "Split") == 0) {
        step->kind = LKS_SPLIT_PATTERN;
        step->invert = lks_token_json_bool(root, "invert", false);
        st = open_behavior(&step->behavior, root, LKS_REMOVED, name, err);
        return st != LKS_OK ? st : lks_pattern_open(&step->pattern, json_object_get(root, "pattern"), name, err);
    } else {
        return lks_token_json_unsupported(name, "pre-tokenizer", type, err);
    }
    return LKS_OK;
}

lks_status lks_splitters_open(lks_splitters *list, const json_t *root, const char *name, lks_error *err)
{
    return lks_stages_open(list, root, "pretokenizers", open_splitter, name, err);
}

void lks_splitters_release(lks_splitters *list)
{
    for (size_t i = 0; i < list->n; i++) {
        lks_str_release(&list->at[i].replacement);
        lks_pattern_release(&list->at[i].pattern);
    }
    free(list->at);
    *list = (lks_splitters){0};
}

/* Builds the pieces of one text span by span, as a behavior wants them. */
typedef struct cutter {
    lks_pieces *out;
    const char *text;
    lks_behavior behavior;
    bool first; /* the text is the caller's from the start */
    bool open;  /* [start, end) waits for what may join it */
    bool open_is_match;
    size_t start, end;
} cutter;

static void cut_flush(cutter *cut)
{
    if (cut->open && cut->end > cut->start)
        lks_pieces_put(cut->out, cut->text + cut->start, cut->end - cut->start, -1, cut->first && cut->start == 0);
    cut->open = false;
}

static void cut_span(cutter *cut, size_t start, size_t end, bool match)
{
    if (start == end || (match && cut->behavior == LKS_REMOVED))
        return;
    bool joins = false;
    if (cut->open && cut->behavior == LKS_CONTIGUOUS)
        joins = match == cut->open_is_match;
    else if (cut->open && cut->behavior == LKS_MERGED_WITH_PREVIOUS)
        joins = match && !cut->open_is_match;
    else if (cut->open && cut->behavior == LKS_MERGED_WITH_NEXT)
        joins = !match && cut->open_is_match;
    if (joins) {
        cut->end = end;
        cut->open_is_match = match || cut->behavior == LKS_MERGED_WITH_PREVIOUS;
        return;
    }
    cut_flush(cut);
    cut->open = true;
    cut->open_is_match = match;
    cut->start = start;
    cut->end = end;
}

/* Every character of which `is` holds is a match of its own. */
static void cut_chars(cutter *cut, size_t n, bool (*is)(uint32_t))
{
    size_t gap = 0;
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = lks_utf8_next(cut->text + i, n - i, &length);
        if (!is(c))
            continue;
        cut_span(cut, gap, i, false);
        cut_span(cut, i, i + length, true);
        gap = i + length;
    }
    cut_span(cut, gap, n, false);
    cut_flush(cut);
}

static void cut_pattern(cutter *cut, size_t n, const lks_pattern *pattern, bool invert)
{
    size_t gap = 0, start, end;
    while (lks_pattern_find(pattern, cut->text, n, gap, &start, &end)) {
        cut_span(cut, gap, start, invert);
        cut_span(cut, start, end, !invert);
        gap = end;
    }
    cut_span(cut, gap, n, invert);
    cut_flush(cut);
}

/* Runs of word characters and runs of others, without the spaces: \w+|[^\w\s]+ */
static void cut_words(cutter *cut, size_t n)
{
    enum { SPACE, WORD, OTHER } before = SPACE;
    size_t start = 0;
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = lks_utf8_next(cut->text + i, n - i, &length);
        int now = lks_char_is_word(c) ? WORD : lks_char_is_space(c) ? SPACE : OTHER;
        if (now != (int)before) {
            cut_span(cut, start, i, before == SPACE);
            start = i;
        }
        before = now == WORD ? WORD : now == OTHER ? OTHER : SPACE;
    }
    cut_span(cut, start, n, before == SPACE);
    cut_flush(cut);
}

static void cut_bert(cutter *cut, size_t n)
{
    size_t start = 0;
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = lks_utf8_next(cut->text + i, n - i, &length);
        bool space = lks_char_is_space(c);
        if (!space && !lks_char_is_punctuation(c))
            continue;
        cut_span(cut, start, i, false);
        if (!space)
            cut_span(cut, i, i + length, false);
        start = i + length;
    }
    cut_span(cut, start, n, false);
    cut_flush(cut);
}

/* Appends text [n] in GPT-2's alphabet. */
static void put_bytes(lks_pieces *out, const char *text, size_t n, bool first)
{
    size_t start = out->text.n;
    for (size_t i = 0; i < n; i++)
        lks_str_put_char(&out->text, lks_byte_to_char((unsigned char)text[i]));
    lks_pieces_close(out, start, -1, first);
}

static void split_byte_level(const lks_splitter *step, lks_pieces *out, lks_str *line, const char *text, size_t n,
                             bool first)
{
    if (step->add_prefix_space && text[0] != ' ') {
        lks_str_clear(line);
        lks_str_put(line, " ", 1);
        lks_str_put(line, text, n);
        if (line->failed) {
            out->failed = true;
            return;
        }
        text = line->at;
        n = line->n;
    }
    for (size_t at = 0, end; at < n; at = end) {
        end = step->use_regex ? lks_gpt2_word(text, n, at) : n;
        put_bytes(out, text + at, end - at, first && at == 0);
    }
}

static void split_metaspace(const lks_splitter *step, lks_pieces *out, lks_str *line, const char *text, size_t n,
                            bool first)
{
    const lks_str *mark = &step->replacement;
    lks_str_clear(line);
    bool marked = text[0] == ' ' || (n >= mark->n && memcmp(text, mark->at, mark->n) == 0);
    if (!marked && (step->prepend == LKS_PREPEND_ALWAYS || (step->prepend == LKS_PREPEND_FIRST && first)))
        lks_str_put(line, mark->at, mark->n);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ')
            lks_str_put(line, mark->at, mark->n);
        else
            lks_str_put(line, text + i, 1);
    }
    if (line->failed) {
        out->failed = true;
        return;
    }
    if (!step->split) {
        lks_pieces_put(out, line->at, line->n, -1, first);
        return;
    }
    cutter cut = {.out = out, .text = line->at, .behavior = LKS_MERGED_WITH_NEXT, .first = first};
    lks_pattern pattern = {.kind = LKS_PATTERN_TEXT, .text = *mark};
    cut_pattern(&cut, line->n, &pattern, false);
}

static void split_piece(const lks_splitter *step, lks_pieces *out, lks_str *line, const char *text, size_t n,
                        bool first)
{
    cutter cut = {.out = out, .text = text, .behavior = step->behavior, .first = first};
    lks_pattern delimiter = {.kind = LKS_PATTERN_TEXT, .text = step->replacement};
    switch (step->kind) {
    case LKS_SPLIT_BYTE_LEVEL:
        split_byte_level(step, out, line, text, n, first);
        break;
    case LKS_SPLIT_METASPACE:
        split_metaspace(step, out, line, text, n, first);
        break;
    case LKS_SPLIT_BERT:
        cut.behavior = LKS_ISOLATED;
        cut_bert(&cut, n);
        break;
    case LKS_SPLIT_WHITESPACE:
        cut.behavior = LKS_REMOVED;
        cut_words(&cut, n);
        break;
    case LKS_SPLIT_WHITESPACE_ONLY:
        cut.behavior = LKS_REMOVED;
        cut_chars(&cut, n, lks_char_is_space);
        break;
    case LKS_SPLIT_DIGITS:
        cut.behavior = step->individual ? LKS_ISOLATED : LKS_CONTIGUOUS;
        cut_chars(&cut, n, lks_char_is_digit);
        break;
    case LKS_SPLIT_PUNCTUATION:
        cut_chars(&cut, n, lks_char_is_punctuation);
        break;
    case LKS_SPLIT_PATTERN:
        cut_pattern(&cut, n, &step->pattern, step->invert);
        break;
    case LKS_SPLIT_DELIMITER:
        cut.behavior = LKS_REMOVED;
        cut_pattern(&cut, n, &delimiter, false);
        break;
    }
}

void lks_splitters_apply(const lks_splitters *list, lks_pieces *pieces, lks_pieces *spare)
{
    lks_str line = {0};
    for (size_t i = 0; i < list->n && !lks_pieces_failed(pieces); i++) {
        lks_pieces_clear(spare);
        for (size_t k = 0; k < pieces->n; k++) {
            const lks_piece *piece = &pieces->at[k];
            const char *text = pieces->text.at + piece->start;
            if (piece->id >= 0)
                lks_pieces_put(spare, text, piece->n, piece->id, piece->first);
            else if (piece->n)
                split_piece(&list->at[i], spare, &line, text, piece->n, piece->first);
        }
        lks_pieces_swap(pieces, spare);
    }
    lks_str_release(&line);
}
