/* Forms of sentences: see sentence.h. Quotes are " ' and U+201E, U+201C, U+201D, U+00AB, U+00BB. */
#include "text/sentence.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/unicode.h"

enum { ELLIPSIS = 0x2026 };

typedef struct builder {
    char *text; /* room for everything that can come */
    size_t n;
} builder;

static bool is_closing(uint32_t c)
{
    return c == '.' || c == '!' || c == '?' || c == ELLIPSIS;
}

static bool is_quote(uint32_t c)
{
    return c == '"' || c == '\'' || c == 0x201E || c == 0x201C || c == 0x201D || c == 0xAB || c == 0xBB;
}

/* Marks that no space comes before. */
static bool is_mark(uint32_t c)
{
    return is_closing(c) || c == ',' || c == ';' || c == ':';
}

static uint32_t last_character(const char *text, size_t n, size_t *at)
{
    size_t length;
    *at = lks_utf8_last(text, n);
    return lks_utf8_next(text + *at, n - *at, &length);
}

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

static void add_space(builder *b)
{
    if (b->n > 0 && b->text[b->n - 1] != ' ')
        b->text[b->n++] = ' ';
}

/* [a-z0-9]+(['-][a-z0-9]+)* of the lower case text, as words. */
static void add_words(builder *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_word_byte(lower(text[i])))
            continue;
        add_space(b);
        for (; i < n; i++) {
            bool joins = (text[i] == '\'' || text[i] == '-') && i + 1 < n && is_word_byte(lower(text[i + 1]));
            if (!joins && !is_word_byte(lower(text[i])))
                break;
            b->text[b->n++] = lower(text[i]);
        }
    }
}

static void add_plain(builder *b, const char *text, size_t n)
{
    bool space = b->n > 0;
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t c = lks_utf8_next(text + i, n - i, &length);
        if (lks_char_is_space(c)) {
            space = true;
            continue;
        }
        if (space && !is_mark(c))
            add_space(b);
        space = false;
        b->n += lks_utf8_put(b->text + b->n, c);
    }
}

/* Cuts quotes and spaces, and closing marks as well at the end, off the text; gives it a capital. */
static void trim_plain(builder *b, bool keeps_begin)
{
    size_t at, length, begin = 0;
    while (begin < b->n && !keeps_begin) {
        uint32_t c = lks_utf8_next(b->text + begin, b->n - begin, &length);
        if (!is_quote(c) && c != ' ')
            break;
        begin += length;
    }
    while (b->n > begin) {
        uint32_t c = last_character(b->text, b->n, &at);
        if (!is_quote(c) && !is_closing(c) && c != ' ')
            break;
        b->n = at;
    }
    memmove(b->text, b->text + begin, b->n - begin);
    b->n -= begin;
}

/* The capital of the first character where that is as long in UTF-8, as it is for the letters of Latin-1 and Latin Extended-A. */
static void capitalise(char *text, size_t n)
{
    size_t length;
    if (n == 0)
        return;
    uint32_t c = lks_utf8_next(text, n, &length);
    char upper[4];
    if (lks_utf8_put(upper, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c)) == length)
        memcpy(text, upper, length);
}

char *lks_sentence_clean(const char *text, size_t n, lks_sentence_form form, const char *kept)
{
    size_t n_kept = kept ? strlen(kept) : 0;
    builder b = {.text = malloc(4 * n + 2)}; /* a bad byte becomes three; a kept word may bring a space */
    if (!b.text)
        return NULL;
    bool first_kept = n_kept > 0 && n >= n_kept && memcmp(text, kept, n_kept) == 0;
    for (size_t i = 0; i < n;) {
        size_t end = i;
        bool found = false;
        while (end < n && !(found = n_kept > 0 && n - end >= n_kept && memcmp(text + end, kept, n_kept) == 0))
            end++;
        if (form == LKS_SENTENCE_WORDS)
            add_words(&b, text + i, end - i);
        else
            add_plain(&b, text + i, end - i);
        if (found) {
            add_space(&b);
            memcpy(b.text + b.n, kept, n_kept);
            b.n += n_kept;
            end += n_kept;
        }
        i = end;
    }
    if (form == LKS_SENTENCE_PLAIN) {
        trim_plain(&b, first_kept);
        if (!first_kept)
            capitalise(b.text, b.n);
    }
    b.text[b.n] = '\0';
    return b.text;
}

lks_sentence_ends lks_sentence_look(const char *text, size_t n)
{
    lks_sentence_ends ends = {.closing = ""};
    size_t at, length;
    while (n > 0) {
        uint32_t c = last_character(text, n, &at);
        if (is_closing(c))
            ends.closing[lks_utf8_put(ends.closing, c)] = '\0';
        if (!is_quote(c) && !lks_char_is_space(c))
            break;
        n = at;
    }
    for (size_t i = 0; i < n; i += length) {
        uint32_t c = lks_utf8_next(text + i, n - i, &length), small[2];
        if (is_quote(c) || lks_char_is_space(c))
            continue;
        ends.capital = lks_char_lower(small, c) != 1 || small[0] != c;
        break;
    }
    return ends;
}

char *lks_sentence_finish(const char *sentence, const lks_sentence_ends *ends)
{
    size_t n = strlen(sentence), n_closing = strlen(ends->closing), at;
    if (n == 0 || is_closing(last_character(sentence, n, &at)))
        n_closing = 0;
    char *text = malloc(n + n_closing + 1);
    if (!text)
        return NULL;
    memcpy(text, sentence, n);
    memcpy(text + n, ends->closing, n_closing);
    text[n + n_closing] = '\0';
    if (ends->capital)
        capitalise(text, n);
    return text;
}
