/* SentencePiece's precompiled_charsmap: replacements of short strings in a double-array trie.
 *
 *   bytes:  size of the trie in bytes (u32) | units (u32 each) | replacements, NUL-terminated
 *   unit:   bits 0-7 label, 8 has a leaf, 9 offset is times 256, 10-31 offset; a leaf: bits 0-30 where its text begins
 *
 * It is applied as tokenizers does: to each grapheme cluster of less than six bytes as a whole (the shortest entry that
 * begins it replaces all of it), and where that finds nothing to each character. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool base64_decode(unsigned char *out, size_t *n_out, const char *text, size_t n)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t used = 0;
    while (n > 0 && text[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[used++] = (unsigned char)(bits >> n_bits);
        }
    }
    *n_out = used;
    return true;
}

static uint32_t read_u32(const unsigned char *b)
{
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

lks_status lks_charsmap_open(lks_charsmap *map, const char *base64, size_t n, const char *name, lks_error *err)
{
    if (n == 0)
        return LKS_OK;
    unsigned char *bytes = malloc(n);
    if (!bytes)
        return lks_text_nomem(name, err);
    size_t n_bytes;
    lks_status st = LKS_OK;
    if (!base64_decode(bytes, &n_bytes, base64, n) || n_bytes < 8 || read_u32(bytes) > n_bytes - 4 ||
        read_u32(bytes) % 4 != 0 || read_u32(bytes) == 0) {
        st = lks_token_json_damaged(name, "precompiled_charsmap is not a character map", err);
        goto done;
    }
    size_t n_trie = read_u32(bytes);
    map->n_units = n_trie / 4;
    map->n_texts = n_bytes - 4 - n_trie;
    map->units = malloc(n_trie);
    map->texts = malloc(map->n_texts + 1);
    if (!map->units || !map->texts) {
        st = lks_text_nomem(name, err);
        goto done;
    }
    for (size_t i = 0; i < map->n_units; i++)
        map->units[i] = read_u32(bytes + 4 + 4 * i);
    memcpy(map->texts, bytes + 4 + n_trie, map->n_texts);
    map->texts[map->n_texts] = '\0';
done:
    free(bytes);
    return st;
}

void lks_charsmap_release(lks_charsmap *map)
{
    free(map->units);
    free(map->texts);
    *map = (lks_charsmap){0};
}

static uint32_t unit_offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 0x200u) >> 6);
}

/* The replacement of the shortest entry that begins s [n], NULL when none does. */
static const char *find(const lks_charsmap *map, const char *s, size_t n)
{
    if (!map->n_units)
        return NULL;
    uint32_t node = unit_offset(map->units[0]);
    for (size_t i = 0; i < n && s[i] != '\0'; i++) {
        uint32_t byte = (unsigned char)s[i];
        node ^= byte;
        if (node >= map->n_units || (map->units[node] & 0x800000FFu) != byte)
            return NULL;
        uint32_t unit = map->units[node];
        node ^= unit_offset(unit);
        if (unit & 0x100u) {
            uint32_t at = node < map->n_units ? map->units[node] & 0x7FFFFFFFu : UINT32_MAX;
            return at < map->n_texts ? map->texts + at : NULL;
        }
    }
    return NULL;
}

static void put_cluster(const lks_charsmap *map, lks_str *out, const char *s, size_t n)
{
    const char *with = n < 6 ? find(map, s, n) : NULL;
    if (with) {
        lks_str_put(out, with, strlen(with));
        return;
    }
    for (size_t i = 0, length; i < n; i += length) {
        lks_utf8_next(s + i, n - i, &length);
        with = find(map, s + i, length);
        if (with)
            lks_str_put(out, with, strlen(with));
        else
            lks_str_put(out, s + i, length);
    }
}

void lks_charsmap_apply(const lks_charsmap *map, lks_str *out, const char *text, size_t n)
{
    size_t start = 0, length;
    uint32_t previous = 0;
    int32_t state = 0;
    for (size_t i = 0; i < n; i += length) {
        uint32_t c = lks_utf8_next(text + i, n - i, &length);
        if (lks_grapheme_breaks(&previous, &state, c) && i > 0) {
            put_cluster(map, out, text + start, i - start);
            start = i;
        }
    }
    put_cluster(map, out, text + start, n - start);
}
