/* The XMP packet inside a photo: see photo_xmp.h.
 *
 * JPEG (ITU T.81, B.1): FF D8, segments FF xx LENGTH(2, counts itself) DATA; XMP is a segment FF E1 that begins with NAME_JPEG and
 * a zero byte, and lies before FF DA.
 * PNG (ISO 15948, 5.3): 8 bytes, chunks LENGTH(4) TYPE(4) DATA CRC(4); XMP is an iTXt chunk with the keyword NAME_PNG, EXIF a
 * chunk eXIf.
 * WebP: RIFF chunks "XMP " and "EXIF", which libwebpmux knows.
 * IPTC (IIM 4.2): a JPEG segment FF ED that begins with "Photoshop 3.0", resource 0404, data set 2:120. */
#include "apps/common/photo_xmp.h"

#include <libexif/exif-data.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <webp/mux.h>

#include "apps/common/utf8.h"

#define NAME_JPEG "http://ns.adobe.com/xap/1.0/"
#define NAME_PNG "XML:com.adobe.xmp"
#define NAME_IPTC "Photoshop 3.0"
#define NAME_EXIF "Exif\0" /* two zero bytes in all */
#define DAMAGED "is damaged"
#define TWO_PACKETS "has XMP twice"

enum { MAX_SEGMENT = 65535, MAX_DESCRIPTION = 4096 };

/* Where in a JPEG or PNG the packet is, and what around it is to be replaced with it. */
typedef struct place {
    size_t begin, end; /* of the segment or chunk; the same when there is none: where one can go */
    size_t packet, n_packet;
    const unsigned char *iptc, *exif; /* of a JPEG, of a PNG */
    size_t n_iptc, n_exif;
    const char *refusal; /* when nothing can be replaced, why */
} place;

static bool refuse(place *p, const char *why)
{
    p->refusal = why;
    return false;
}

static bool is_jpeg(const unsigned char *b, size_t n)
{
    return n > 3 && b[0] == 0xff && b[1] == 0xd8 && b[2] == 0xff;
}

static bool is_png(const unsigned char *b, size_t n)
{
    static const unsigned char magic[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return n > 8 && memcmp(b, magic, 8) == 0;
}

static bool is_webp(const unsigned char *b, size_t n)
{
    return n > 12 && memcmp(b, "RIFF", 4) == 0 && memcmp(b + 8, "WEBP", 4) == 0;
}

/* Whether the data begin with the name and a zero byte. */
static bool is_named(const unsigned char *data, size_t n, const char *name)
{
    return n > strlen(name) && memcmp(data, name, strlen(name) + 1) == 0;
}

static bool find_in_jpeg(place *out, const unsigned char *b, size_t n)
{
    place p = {.begin = 0};
    size_t at = 2;
    bool leading = true, has_offsets = false;
    p.begin = p.end = at;
    while (at + 4 <= n && b[at] == 0xff) {
        if (b[at + 1] == 0xff) { /* a fill byte */
            at++;
            continue;
        }
        if (b[at + 1] == 0xda) {
            *out = p;
            return true;
        }
        size_t length = (size_t)b[at + 2] << 8 | b[at + 3];
        if (length < 2 || length + 2 > n - at)
            break;
        const unsigned char *data = b + at + 4;
        size_t n_data = length - 2, end = at + 2 + length;
        has_offsets |= b[at + 1] == 0xe2 && is_named(data, n_data, "MPF");
        leading &= b[at + 1] == 0xe0 || b[at + 1] == 0xe1; /* JFIF and EXIF come first */
        if (b[at + 1] == 0xe1 && is_named(data, n_data, NAME_JPEG)) {
            if (p.packet || has_offsets) /* of two, which counts? And offsets across it would no longer be right */
                return refuse(out, p.packet ? TWO_PACKETS : "has XMP behind offsets that would no longer be right");
            p.packet = at + 4 + sizeof NAME_JPEG;
            p.n_packet = end - p.packet;
            p.begin = at;
            p.end = end;
        } else if (leading && !p.packet) {
            p.begin = p.end = end;
        }
        if (b[at + 1] == 0xed && is_named(data, n_data, NAME_IPTC)) {
            p.iptc = data + sizeof NAME_IPTC;
            p.n_iptc = n_data - sizeof NAME_IPTC;
        }
        at = end;
    }
    return refuse(out, DAMAGED);
}

static uint32_t read_u32(const unsigned char *b)
{
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void write_u32(unsigned char *b, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        b[i] = (unsigned char)(value >> (24 - 8 * i));
}

/* keyword 0, compression flag and method, language 0, translated keyword 0, text */
static bool find_in_itxt(place *out, const unsigned char *b, size_t at, size_t length)
{
    const unsigned char *data = b + at + 8, *end = data + length;
    const unsigned char *language = data + sizeof NAME_PNG + 2;
    if (language < end && language[-2] != 0)
        return refuse(out, "has compressed XMP, which cannot be replaced");
    if (language >= end)
        return refuse(out, DAMAGED);
    const unsigned char *keyword = memchr(language, 0, (size_t)(end - language));
    const unsigned char *stop = keyword ? memchr(keyword + 1, 0, (size_t)(end - keyword - 1)) : NULL;
    if (!stop || out->packet)
        return refuse(out, stop ? TWO_PACKETS : DAMAGED);
    out->packet = (size_t)(stop + 1 - b);
    out->n_packet = (size_t)(end - stop - 1);
    out->begin = at;
    out->end = at + length + 12;
    return true;
}

static bool find_in_png(place *out, const unsigned char *b, size_t n)
{
    place p = {.begin = 33, .end = 33}; /* behind IHDR */
    size_t at = 8;
    while (n - at >= 12) {
        size_t length = read_u32(b + at);
        const unsigned char *type = b + at + 4;
        if (length > n - at - 12 || (at == 8 && (memcmp(type, "IHDR", 4) != 0 || length != 13)))
            break;
        if (memcmp(type, "iTXt", 4) == 0 && is_named(b + at + 8, length, NAME_PNG) && !find_in_itxt(&p, b, at, length))
            return refuse(out, p.refusal);
        if (memcmp(type, "eXIf", 4) == 0) {
            p.exif = b + at + 8;
            p.n_exif = length;
        }
        if (memcmp(type, "IEND", 4) == 0) {
            *out = p;
            return true;
        }
        at += length + 12;
    }
    return refuse(out, DAMAGED);
}

static uint32_t crc32_of(const unsigned char *b, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= b[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

/* Copies the file with n_new bytes in place of the segment or chunk; they are for the caller to fill. NULL when out of memory. */
static unsigned char *open_gap(const unsigned char *b, size_t n, const place *p, size_t n_gap)
{
    unsigned char *made = malloc(n - (p->end - p->begin) + n_gap);
    if (!made)
        return NULL;
    memcpy(made, b, p->begin);
    memcpy(made + p->begin + n_gap, b + p->end, n - p->end);
    return made;
}

static unsigned char *replace_in_jpeg(size_t *n_new, const unsigned char *b, size_t n, const char *packet,
                                      size_t n_packet)
{
    place p;
    size_t length = 2 + sizeof NAME_JPEG + n_packet;
    if (!find_in_jpeg(&p, b, n) || length > MAX_SEGMENT)
        return NULL;
    unsigned char *made = open_gap(b, n, &p, length + 2), *to = made ? made + p.begin : NULL;
    if (!made)
        return NULL;
    const unsigned char head[4] = {0xff, 0xe1, (unsigned char)(length >> 8), (unsigned char)length};
    memcpy(to, head, sizeof head);
    memcpy(to + 4, NAME_JPEG, sizeof NAME_JPEG);
    memcpy(to + 4 + sizeof NAME_JPEG, packet, n_packet);
    *n_new = n - (p.end - p.begin) + length + 2;
    return made;
}

static unsigned char *replace_in_png(size_t *n_new, const unsigned char *b, size_t n, const char *packet,
                                     size_t n_packet)
{
    place p;
    size_t length = sizeof NAME_PNG + 4 + n_packet;
    if (!find_in_png(&p, b, n) || length > INT32_MAX)
        return NULL;
    unsigned char *made = open_gap(b, n, &p, length + 12), *to = made ? made + p.begin : NULL;
    if (!made)
        return NULL;
    write_u32(to, (uint32_t)length);
    memcpy(to + 4, "iTXt", 4);
    memcpy(to + 8, NAME_PNG, sizeof NAME_PNG);
    memset(to + 8 + sizeof NAME_PNG, 0, 4);
    memcpy(to + 12 + sizeof NAME_PNG, packet, n_packet);
    write_u32(to + 8 + length, crc32_of(to + 4, length + 4));
    *n_new = n - (p.end - p.begin) + length + 12;
    return made;
}

static unsigned char *replace_in_webp(size_t *n_new, const unsigned char *b, size_t n, const char *packet,
                                      size_t n_packet)
{
    WebPData whole = {b, n}, xmp = {(const uint8_t *)packet, n_packet}, made = {NULL, 0};
    WebPMux *mux = WebPMuxCreate(&whole, 0);
    unsigned char *copy = NULL;
    if (mux && WebPMuxSetChunk(mux, "XMP ", &xmp, 0) == WEBP_MUX_OK && WebPMuxAssemble(mux, &made) == WEBP_MUX_OK)
        copy = malloc(made.size);
    if (copy) {
        memcpy(copy, made.bytes, made.size);
        *n_new = made.size;
    }
    WebPDataClear(&made);
    WebPMuxDelete(mux);
    return copy;
}

unsigned char *photo_xmp_replace(size_t *n_new, const unsigned char *bytes, size_t n, const char *packet,
                                 size_t n_packet)
{
    if (is_jpeg(bytes, n))
        return replace_in_jpeg(n_new, bytes, n, packet, n_packet);
    if (is_png(bytes, n))
        return replace_in_png(n_new, bytes, n, packet, n_packet);
    return is_webp(bytes, n) ? replace_in_webp(n_new, bytes, n, packet, n_packet) : NULL;
}

/* What cameras write where people would. */
static bool is_of_a_camera(const char *text)
{
    static const char *const known[] = {"OLYMPUS DIGITAL CAMERA",
                                        "SONY DSC",
                                        "SAMSUNG CAMERA PICTURES",
                                        "MINOLTA DIGITAL CAMERA",
                                        "KONICA MINOLTA DIGITAL CAMERA",
                                        "Exif_JPEG_PICTURE",
                                        "DCIM"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(text, known[i], strlen(known[i])) == 0)
            return true;
    return text[strspn(text, " ")] == '\0';
}

/* malloc'ed; NULL: none. */
static char *read_exif(const unsigned char *b, size_t n)
{
    char value[MAX_DESCRIPTION];
    ExifData *exif = n <= UINT_MAX ? exif_data_new_from_data(b, (unsigned)n) : NULL;
    ExifEntry *entry = exif ? exif_content_get_entry(exif->ifd[EXIF_IFD_0], EXIF_TAG_IMAGE_DESCRIPTION) : NULL;
    char *text = NULL;
    if (entry && exif_entry_get_value(entry, value, sizeof value) && !is_of_a_camera(value))
        text = utf8_repair(value);
    if (exif)
        exif_data_unref(exif);
    return text;
}

/* As PNG and WebP have it: mostly without the name that JPEG gives it, and without which libexif knows it not. */
static char *read_exif_chunk(const unsigned char *b, size_t n)
{
    if (n >= sizeof NAME_EXIF && memcmp(b, NAME_EXIF, sizeof NAME_EXIF) == 0)
        return read_exif(b, n);
    unsigned char *named = malloc(sizeof NAME_EXIF + n);
    if (!named)
        return NULL;
    memcpy(named, NAME_EXIF, sizeof NAME_EXIF);
    memcpy(named + sizeof NAME_EXIF, b, n);
    char *text = read_exif(named, sizeof NAME_EXIF + n);
    free(named);
    return text;
}

/* Bytes [n] of a file as a C string, malloc'ed: AddressSanitizer's strict strings let strndup have terminated ones only. */
static char *copy_text(const unsigned char *bytes, size_t n)
{
    char *text = malloc(n + 1);
    if (text) {
        memcpy(text, bytes, n);
        text[n] = '\0';
    }
    return text;
}

/* Data set 2:120 of IIM records, malloc'ed; NULL: none. */
static char *read_caption_abstract(const unsigned char *b, size_t n)
{
    for (size_t at = 0; n - at >= 5 && b[at] == 0x1c;) {
        size_t length = (size_t)b[at + 3] << 8 | b[at + 4];
        if (length > n - at - 5) /* also the long form, whose first bit is set */
            return NULL;
        if (b[at + 1] == 2 && b[at + 2] == 120) {
            char *raw = copy_text(b + at + 5, length), *text = raw ? utf8_repair(raw) : NULL;
            free(raw);
            return text;
        }
        at += 5 + length;
    }
    return NULL;
}

/* "8BIM" ID(2) NAME(1 + length, even) LENGTH(4) DATA(even) */
static char *read_iptc(const unsigned char *b, size_t n)
{
    for (size_t at = 0; n - at >= 12 && memcmp(b + at, "8BIM", 4) == 0;) {
        size_t n_name = (size_t)b[at + 6] + 1, data = at + 6 + n_name + n_name % 2;
        if (data + 4 > n)
            return NULL;
        size_t length = read_u32(b + data);
        data += 4;
        if (length > n - data)
            return NULL;
        if (b[at + 4] == 0x04 && b[at + 5] == 0x04)
            return read_caption_abstract(b + data, length);
        at = data + length + length % 2;
        if (at > n)
            return NULL;
    }
    return NULL;
}

static bool read_webp(photo_xmp *out, const unsigned char *b, size_t n)
{
    WebPData whole = {b, n}, xmp = {NULL, 0}, exif = {NULL, 0};
    WebPMux *mux = WebPMuxCreate(&whole, 0);
    if (!mux)
        return false;
    if (WebPMuxGetChunk(mux, "XMP ", &xmp) == WEBP_MUX_OK) {
        out->packet = copy_text(xmp.bytes, xmp.size);
        out->n_packet = out->packet ? strlen(out->packet) : 0;
    }
    if (WebPMuxGetChunk(mux, "EXIF", &exif) == WEBP_MUX_OK && exif.size > 0)
        out->description = read_exif_chunk(exif.bytes, exif.size);
    WebPMuxDelete(mux);
    return true;
}

bool photo_xmp_read(photo_xmp *out, const unsigned char *bytes, size_t n)
{
    photo_xmp x = {.packet = NULL};
    place p = {.begin = 0};
    bool done = is_jpeg(bytes, n)  ? find_in_jpeg(&p, bytes, n)
                : is_png(bytes, n) ? find_in_png(&p, bytes, n)
                                   : is_webp(bytes, n) && read_webp(&x, bytes, n);
    if (!done)
        return false;
    if (p.packet) {
        x.packet = copy_text(bytes + p.packet, p.n_packet);
        x.n_packet = x.packet ? strlen(x.packet) : 0;
    }
    if (is_jpeg(bytes, n)) {
        x.description = read_exif(bytes, n);
        if (!x.description && p.iptc)
            x.description = read_iptc(p.iptc, p.n_iptc);
    }
    if (p.exif)
        x.description = read_exif_chunk(p.exif, p.n_exif);
    *out = x;
    return true;
}

const char *photo_xmp_refusal(const unsigned char *bytes, size_t n)
{
    place p = {.refusal = DAMAGED};
    if (is_jpeg(bytes, n))
        find_in_jpeg(&p, bytes, n);
    else if (is_png(bytes, n))
        find_in_png(&p, bytes, n);
    else if (!is_webp(bytes, n))
        return "takes no XMP: JPEG, PNG and WebP do";
    return p.refusal;
}

void photo_xmp_release(photo_xmp *x)
{
    free(x->packet);
    free(x->description);
    *x = (photo_xmp){.packet = NULL};
}
