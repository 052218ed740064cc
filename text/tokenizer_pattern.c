/* Patterns, matched by hand: fixed strings, " {n,}", "\s+", "\A +| +\z", "\A" with a fixed string, "fixed|strings", and GPT-2's words:
 *   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
#include "text/tokenizer_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char GPT2_WORDS[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
static const char GPT2_GROUPED[] = "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* " {n,}" or " +" */
static bool read_spaces(const char *regex, size_t *least)
{
    if (strcmp(regex, " +") == 0) {
        *least = 1;
        return true;
    }
    if (strncmp(regex, " {", 2) != 0 || regex[2] < '1' || regex[2] > '9')
        return false;
    char *end;
    *least = strtoul(regex + 2, &end, 10);
    return *least < 1000 && strcmp(end, ",}") == 0;
}

/* Fixed strings with "|" between them; out: each with a NUL behind it. False when there is more to the expression. */
static bool read_words(lks_str *out, const char *regex)
{
    size_t begin = 0;
    for (const char *at = regex;; at++) {
        if (*at == '|' || *at == '\0') {
            if (out->n == begin && !out->failed) /* an empty string among them */
                return false;
            lks_str_put(out, "", 1);
            begin = out->n;
            if (*at == '\0')
                return true;
            continue;
        }
        bool escaped = *at == '\\';
        if (escaped && (isalnum((unsigned char)*++at) || *at == '\0')) /* a class, or nothing */
            return false;
        if (!escaped && strchr("()[]{}?*+^$.", *at))
            return false;
        lks_str_put(out, at, 1);
    }
}

lks_status lks_pattern_open(lks_pattern *pattern, const json_t *value, const char *name, lks_error *err)
{
    if (lks_token_json_text(value, "String", &pattern->text)) {
        pattern->kind = LKS_PATTERN_TEXT;
        return pattern->text.failed ? lks_text_nomem(name, err) : LKS_OK;
    }
    const char *regex = json_string_value(json_object_get(value, "Regex"));
    if (!regex)
        return lks_token_json_damaged(name, "a pattern is neither a String nor a Regex", err);
    if (read_spaces(regex, &pattern->least))
        pattern->kind = LKS_PATTERN_SPACES;
    else if (strcmp(regex, "\\s+") == 0)
        pattern->kind = LKS_PATTERN_WHITES;
    else if (strcmp(regex, GPT2_WORDS) == 0 || strcmp(regex, GPT2_GROUPED) == 0)
        pattern->kind = LKS_PATTERN_GPT2;
    else if (strcmp(regex, "\\A +| +\\z") == 0)
        pattern->kind = LKS_PATTERN_ENDS;
    else if (strncmp(regex, "\\A", 2) == 0 && !strchr(regex, '|') && read_words(&pattern->text, regex + 2))
        pattern->kind = LKS_PATTERN_HEAD;
    else if (read_words(&pattern->text, regex))
        pattern->kind = LKS_PATTERN_WORDS;
    else
        return lks_token_json_unsupported(name, "regular expression", regex, err);
    return pattern->text.failed ? lks_text_nomem(name, err) : LKS_OK;
}

void lks_pattern_release(lks_pattern *pattern)
{
    lks_str_release(&pattern->text);
}

/* The length of the first of the words that text [n] begins with; 0: it begins with none. */
static size_t word_length(const lks_str *words, const char *text, size_t n)
{
    for (size_t at = 0, length; at < words->n; at += length + 1) {
        length = strlen(words->at + at);
        if (length <= n && memcmp(words->at + at, text, length) == 0)
            return length;
    }
    return 0;
}

/* Spaces at either end of text [n], from `from` on. */
static bool find_ends(const char *text, size_t n, size_t from, size_t *start, size_t *end)
{
    size_t head = 0, tail = n;
    while (from == 0 && head < n && text[head] == ' ')
        head++;
    while (tail > from && text[tail - 1] == ' ')
        tail--;
    *start = head ? 0 : tail;
    *end = head ? head : n;
    return *end > *start;
}

bool lks_pattern_find(const lks_pattern *pattern, const char *text, size_t n, size_t from, size_t *start, size_t *end)
{
    const char *found;
    size_t length;
    switch (pattern->kind) {
    case LKS_PATTERN_TEXT:
        if (pattern->text.n == 0 || from >= n)
            return false;
        found = memmem(text + from, n - from, pattern->text.at, pattern->text.n);
        if (!found)
            return false;
        *start = (size_t)(found - text);
        *end = *start + pattern->text.n;
        return true;
    case LKS_PATTERN_SPACES:
        for (size_t i = from; i < n; i = *end + 1) {
            found = memchr(text + i, ' ', n - i);
            if (!found)
                return false;
            *start = (size_t)(found - text);
            for (*end = *start; *end < n && text[*end] == ' ';)
                ++*end;
            if (*end - *start >= pattern->least)
                return true;
        }
        return false;
    case LKS_PATTERN_WHITES:
        for (*start = from; *start < n; *start += length) {
            if (lks_char_is_space(lks_utf8_next(text + *start, n - *start, &length)))
                break;
        }
        for (*end = *start; *end < n; *end += length) {
            if (!lks_char_is_space(lks_utf8_next(text + *end, n - *end, &length)))
                break;
        }
        return *end > *start;
    case LKS_PATTERN_ENDS:
        return find_ends(text, n, from, start, end);
    case LKS_PATTERN_HEAD:
        *start = 0;
        *end = from == 0 ? word_length(&pattern->text, text, n) : 0;
        return *end > 0;
    case LKS_PATTERN_WORDS:
        for (*start = from; *start < n; ++*start) {
            length = word_length(&pattern->text, text + *start, n - *start);
            *end = *start + length;
            if (length)
                return true;
        }
        return false;
    default:
        if (from >= n)
            return false;
        *start = from;
        *end = lks_gpt2_word(text, n, from);
        return true;
    }
}

typedef enum word_class { CLASS_SPACE, CLASS_LETTER, CLASS_NUMBER, CLASS_OTHER } word_class;

static word_class class_at(const char *text, size_t n, size_t at, size_t *length)
{
    uint32_t c = lks_utf8_next(text + at, n - at, length);
    if (lks_char_is_letter(c))
        return CLASS_LETTER;
    if (lks_char_is_number(c))
        return CLASS_NUMBER;
    return lks_char_is_space(c) ? CLASS_SPACE : CLASS_OTHER;
}

static size_t run_end(const char *text, size_t n, size_t at, word_class class)
{
    size_t length;
    while (at < n && class_at(text, n, at, &length) == class)
        at += length;
    return at;
}

static size_t contraction(const char *s, size_t n)
{
    static const char *const tails[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (n < 2 || s[0] != '\'')
        return 0;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        size_t k = strlen(tails[i]);
        if (n > k && memcmp(s + 1, tails[i], k) == 0)
            return k + 1;
    }
    return 0;
}

size_t lks_gpt2_word(const char *text, size_t n, size_t at)
{
    size_t length = contraction(text + at, n - at);
    if (length)
        return at + length;
    word_class class = class_at(text, n, at, &length);
    if (class != CLASS_SPACE)
        return run_end(text, n, at + length, class);
    if (text[at] == ' ' && at + 1 < n) {
        class = class_at(text, n, at + 1, &length);
        if (class != CLASS_SPACE)
            return run_end(text, n, at + 1 + length, class);
    }
    /* Spaces: all of them at the end of the text, else all but the last, which the next word may take. */
    size_t end = run_end(text, n, at, CLASS_SPACE);
    size_t last = at + lks_utf8_last(text + at, end - at);
    return end == n || last == at ? end : last;
}
