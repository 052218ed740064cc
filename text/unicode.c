/* UTF-8 by the well-formed table of the Unicode standard (table 3-7); classes from text/unicode_tables.h; decompositions,
 * compositions and lower case from utf8proc, held to what tokenizers does where its version of Unicode is another.
 *
 * Normalisation is done here from utf8proc's per-character decomposition: its own whole-string function orders
 * combining marks by exchange, which is quadratic, and texts are hostile. */
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/unicode_tables.h"

static bool is_tail(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

uint32_t lks_utf8_next(const char *s, size_t n, size_t *length)
{
    const unsigned char *b = (const unsigned char *)s;
    *length = 1;
    if (b[0] < 0x80)
        return b[0];

    unsigned low = 0x80, high = 0xBF; /* what the second byte may be */
    size_t need;
    uint32_t c;
    if (b[0] >= 0xC2 && b[0] <= 0xDF) {
        need = 2;
        c = b[0] & 0x1Fu;
    } else if ((b[0] & 0xF0) == 0xE0) {
        need = 3;
        c = b[0] & 0x0Fu;
        low = b[0] == 0xE0 ? 0xA0 : 0x80;
        high = b[0] == 0xED ? 0x9F : 0xBF;
    } else if (b[0] >= 0xF0 && b[0] <= 0xF4) {
        need = 4;
        c = b[0] & 0x07u;
        low = b[0] == 0xF0 ? 0x90 : 0x80;
        high = b[0] == 0xF4 ? 0x8F : 0xBF;
    } else {
        return LKS_CHAR_BAD;
    }
    for (size_t i = 1; i < need; i++) {
        if (i >= n || (i == 1 ? b[1] < low || b[1] > high : !is_tail(b[i])))
            return LKS_CHAR_BAD;
        c = (c << 6) | (b[i] & 0x3Fu);
        *length = i + 1;
    }
    return c;
}

bool lks_utf8_valid(const char *s, size_t n)
{
    for (size_t i = 0, length; i < n; i += length) {
        if (lks_utf8_next(s + i, n - i, &length) == LKS_CHAR_BAD &&
            !(length == 3 && memcmp(s + i, "\xEF\xBF\xBD", 3) == 0))
            return false;
    }
    return true;
}

size_t lks_utf8_put(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3F));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

size_t lks_utf8_last(const char *s, size_t n)
{
    size_t i = n - 1;
    while (i > 0 && is_tail((unsigned char)s[i]))
        i--;
    return i;
}

static bool in_ranges(const char_range *ranges, size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ranges[middle].last < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && ranges[low].first <= c;
}

#define IN(table, c) in_ranges(table, sizeof(table) / sizeof *(table), c)

bool lks_char_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

bool lks_char_is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    return IN(LETTERS, c);
}

bool lks_char_is_number(uint32_t c)
{
    return c < 0x80 ? c >= '0' && c <= '9' : IN(NUMBERS, c);
}

bool lks_char_is_digit(uint32_t c)
{
    return c < 0x80 ? c >= '0' && c <= '9' : IN(DIGITS, c);
}

bool lks_char_is_mark(uint32_t c)
{
    return c >= 0x300 && IN(MARKS, c);
}

bool lks_char_is_nonspacing(uint32_t c)
{
    return c >= 0x300 && IN(NONSPACING, c);
}

bool lks_char_is_word(uint32_t c)
{
    if (c < 0x80)
        return lks_char_is_letter(c) || lks_char_is_number(c) || c == '_';
    return IN(WORDS, c);
}

bool lks_char_is_control(uint32_t c)
{
    if (c < 0x80)
        return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F;
    return IN(CONTROLS, c);
}

bool lks_char_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    return IN(PUNCTUATION, c);
}

bool lks_char_is_han(uint32_t c)
{
    return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
           (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
           (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

/* Capitals of Unicode 16 and 17, which utf8proc may not know yet. */
static uint32_t newer_lower(uint32_t c)
{
    static const uint32_t pairs[][2] = {{0x1C89, 0x1C8A}, {0xA7CB, 0x264},  {0xA7CC, 0xA7CD}, {0xA7CE, 0xA7CF},
                                        {0xA7D2, 0xA7D3}, {0xA7D4, 0xA7D5}, {0xA7DA, 0xA7DB}, {0xA7DC, 0x19B}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (pairs[i][0] == c)
            return pairs[i][1];
    }
    if (c >= 0x10D50 && c <= 0x10D65)
        return c + 0x20;
    return c >= 0x16EA0 && c <= 0x16EB8 ? c + 0x1B : c;
}

size_t lks_char_lower(uint32_t *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    if (c == 0x130) { /* the only lower case of two characters */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
    if (out[0] == c)
        out[0] = newer_lower(c);
    return 1;
}

bool lks_grapheme_breaks(uint32_t *previous, int32_t *state, uint32_t c)
{
    bool breaks = utf8proc_grapheme_break_stateful((utf8proc_int32_t)*previous, (utf8proc_int32_t)c, state);
    *previous = c;
    return breaks;
}

static uint8_t combining_class(utf8proc_int32_t c)
{
    if (c < 0x300 || !IN(COMBINING, (uint32_t)c))
        return 0;
    return (uint8_t)utf8proc_get_property(c)->combining_class;
}

/* Stable order of the marks in run [n] by combining class: insertion for the few that real text has, counting beyond. */
static bool order_run(utf8proc_int32_t *run, size_t n)
{
    if (n <= 16) {
        for (size_t i = 1; i < n; i++) {
            utf8proc_int32_t c = run[i];
            uint8_t class_c = combining_class(c);
            size_t j = i;
            for (; j > 0 && combining_class(run[j - 1]) > class_c; j--)
                run[j] = run[j - 1];
            run[j] = c;
        }
        return true;
    }
    size_t at[257] = {0};
    utf8proc_int32_t *sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return false;
    for (size_t i = 0; i < n; i++)
        at[combining_class(run[i]) + 1]++;
    for (size_t k = 1; k < 257; k++)
        at[k] += at[k - 1];
    for (size_t i = 0; i < n; i++)
        sorted[at[combining_class(run[i])]++] = run[i];
    memcpy(run, sorted, n * sizeof *run);
    free(sorted);
    return true;
}

/* The canonical or compatibility decomposition of s [n] as malloc'ed code points, marks in canonical order. */
static utf8proc_int32_t *decompose(size_t *n_out, const char *s, size_t n, bool compatibility)
{
    utf8proc_option_t options =
        UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : (utf8proc_option_t)0);
    enum { MOST = 32 }; /* the longest decomposition (U+FDFA) has 18 */
    size_t cap = n + MOST, used = 0, run = 0;
    utf8proc_int32_t *out = malloc(cap * sizeof *out);
    for (size_t i = 0, length; out && i < n; i += length) {
        utf8proc_int32_t c = (utf8proc_int32_t)lks_utf8_next(s + i, n - i, &length);
        if (cap - used < MOST) {
            utf8proc_int32_t *larger = cap > SIZE_MAX / sizeof *out / 2 ? NULL : realloc(out, 2 * cap * sizeof *out);
            if (!larger) {
                free(out);
                return NULL;
            }
            cap *= 2;
            out = larger;
        }
        size_t before = used;
        bool changes = c >= 0x80 && (compatibility ? IN(NFKD_CHANGES, (uint32_t)c) : IN(NFD_CHANGES, (uint32_t)c));
        if (!changes) {
            out[used++] = c;
        } else {
            utf8proc_ssize_t wrote = utf8proc_decompose_char(c, out + used, MOST, options, NULL);
            if (wrote < 0 || wrote > MOST)
                out[used++] = c;
            else
                used += (size_t)wrote;
        }
        for (; before < used; before++) {
            if (combining_class(out[before]) != 0)
                continue;
            if (before - run > 1 && !order_run(out + run, before - run)) {
                free(out);
                return NULL;
            }
            run = before + 1;
        }
    }
    if (out && used - run > 1 && !order_run(out + run, used - run)) {
        free(out);
        return NULL;
    }
    *n_out = used;
    return out;
}

char *lks_utf8_normalize(size_t *n_out, const char *s, size_t n, lks_form form)
{
    bool ascii = true;
    for (size_t i = 0; i < n && ascii; i++)
        ascii = (unsigned char)s[i] < 0x80;
    if (ascii) {
        char *copy = malloc(n + 1);
        if (copy && n)
            memcpy(copy, s, n);
        *n_out = n;
        return copy;
    }

    size_t count;
    utf8proc_int32_t *chars = decompose(&count, s, n, form == LKS_NFKC || form == LKS_NFKD);
    if (!chars)
        return NULL;
    if (form == LKS_NFC || form == LKS_NFKC) {
        utf8proc_ssize_t composed =
            utf8proc_normalize_utf32(chars, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        count = composed < 0 ? count : (size_t)composed;
    }
    char *out = count > (SIZE_MAX - 1) / 4 ? NULL : malloc(count * 4 + 1);
    size_t used = 0;
    for (size_t i = 0; out && i < count; i++)
        used += lks_utf8_put(out + used, (uint32_t)chars[i]);
    free(chars);
    *n_out = used;
    return out;
}
