/* Checks a JPEG file's Huffman tables before stb_image decodes with them (ITU-T T.81, B.2).
 *
 * stb_image trusts what these say: tables with more codes than symbols, and scans that name a table which the file never
 * defined, make it read outside its own. A walk over the segments refuses both; all else stb_image checks itself. */
#include "vision/decode.h"

enum { MARKER_DHT = 0xC4, MARKER_RST0 = 0xD0, MARKER_SOI = 0xD8, MARKER_EOI = 0xD9, MARKER_SOS = 0xDA };
enum { MAX_SYMBOLS = 255 }; /* a 256th collides with the mark of "no short code" in stb_image's lookup table */

/* One bit per table: class (0 DC, 1 AC) * 4 + slot. */
typedef unsigned table_set;

/* The tables of one DHT segment's body; false when one cannot be used. */
static bool read_tables(table_set *defined, const uint8_t *body, size_t n)
{
    while (n > 0) {
        if (n < 17 || body[0] >> 4 > 1 || (body[0] & 15) > 3)
            return false;
        size_t n_symbols = 0;
        for (int length = 1; length <= 16; length++)
            n_symbols += body[length];
        if (n_symbols > MAX_SYMBOLS || n_symbols > n - 17)
            return false;
        *defined |= 1U << ((body[0] >> 4) * 4 + (body[0] & 15));
        body += 17 + n_symbols;
        n -= 17 + n_symbols;
    }
    return true;
}

/* Whether the tables that a scan header names for its components are there. A progressive scan has either DC or AC
 * coefficients and names a table that it does not use; a sequential one has both. */
static bool has_tables(table_set defined, const uint8_t *body, size_t n, bool progressive)
{
    if (n < 1 || n < 4 + 2 * (size_t)body[0])
        return false;
    const size_t n_components = body[0];
    const bool dc = !progressive || body[1 + 2 * n_components] == 0, ac = !progressive || !dc;
    for (size_t i = 0; i < n_components; i++) {
        const int slots = body[2 + 2 * i];
        if (slots >> 4 > 3 || (slots & 15) > 3)
            return false;
        if ((dc && !(defined >> (slots >> 4) & 1)) || (ac && !(defined >> (4 + (slots & 15)) & 1)))
            return false;
    }
    return true;
}

bool lks_decode_jpeg_tables_are_sound(const uint8_t *bytes, size_t n)
{
    table_set defined = 0;
    bool progressive = false;
    for (size_t at = 0; at + 1 < n;) {
        const int marker = bytes[at + 1];
        if (bytes[at] != 0xFF || marker == 0xFF) {
            at++;
            continue;
        }
        at += 2;
        if (marker == 0 || (marker >= MARKER_RST0 && marker <= MARKER_SOI))
            continue; /* a stuffed byte of a scan, a restart marker in one, or the start of the file */
        if (marker == MARKER_EOI)
            return true;
        if (n - at < 2)
            return true;
        const size_t length = (size_t)bytes[at] << 8 | bytes[at + 1];
        if (length < 2 || length > n - at) /* ends early: stb_image reads zeros from here, so no table may follow */
            return marker != MARKER_DHT && marker != MARKER_SOS;
        const uint8_t *body = bytes + at + 2;
        progressive |= marker == 0xC2;
        if (marker == MARKER_DHT && !read_tables(&defined, body, length - 2))
            return false;
        if (marker == MARKER_SOS && !has_tables(defined, body, length - 2, progressive))
            return false;
        at += length;
    }
    return true;
}
