/* CIDEr: see cider.h. Words become numbers, an n-gram the 16-bit numbers of its words in one 64-bit key, a caption a sorted
 * list of its keys. */
#include "apps/cli/cider.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SIGMA 6.0

enum { N_ORDERS = 4, MAX_WORDS = 65535, FIRST_SLOTS = 1024 };

/* Open addressing; a slot whose count is 0 is free. The number of slots is a power of two, at most half of them used. */
typedef struct slot {
    uint64_t key;
    uint32_t count;
} slot;

typedef struct table {
    slot *slots;
    size_t n_slots, n_used;
} table;

typedef struct gram {
    uint64_t key;
    uint32_t count;
} gram;

typedef struct text {
    gram *grams; /* sorted by key */
    size_t n;
    int n_bigrams;
} text;

typedef struct photo {
    text caption;
    text *references;
    size_t n_references;
} photo;

struct cider {
    table words; /* hash of a word -> its number */
    photo *photos;
    size_t n, capacity;
};

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x9E3779B97F4A7C15u;
    return x ^ x >> 29;
}

static slot *find(const table *t, uint64_t key)
{
    size_t at = (size_t)mix(key) & (t->n_slots - 1);
    while (t->slots[at].count && t->slots[at].key != key)
        at = (at + 1) & (t->n_slots - 1);
    return &t->slots[at];
}

/* The slot of a key, new ones with count 0: the caller fills it. NULL: out of memory. */
static slot *take(table *t, uint64_t key)
{
    if (2 * (t->n_used + 1) > t->n_slots) {
        table larger = {.n_slots = t->n_slots ? 2 * t->n_slots : FIRST_SLOTS, .n_used = t->n_used};
        larger.slots = calloc(larger.n_slots, sizeof *larger.slots);
        if (!larger.slots)
            return NULL;
        for (size_t i = 0; i < t->n_slots; i++)
            if (t->slots[i].count)
                *find(&larger, t->slots[i].key) = t->slots[i];
        free(t->slots);
        *t = larger;
    }
    slot *found = find(t, key);
    if (!found->count) {
        found->key = key;
        t->n_used++;
    }
    return found;
}

/* *number = that of a word, from 1; words beyond the limit share the last one. */
static bool word_number(cider *c, uint64_t *number, const char *word, size_t n)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ (unsigned char)word[i]) * 1099511628211u;
    slot *found = take(&c->words, hash);
    if (!found)
        return false;
    if (!found->count)
        found->count = c->words.n_used < MAX_WORDS ? (uint32_t)c->words.n_used : MAX_WORDS;
    *number = found->count;
    return true;
}

static int by_key(const void *left, const void *right)
{
    uint64_t a = ((const gram *)left)->key, b = ((const gram *)right)->key;
    return (a > b) - (a < b);
}

/* Sorts the keys and joins equal ones. */
static void count_grams(text *t)
{
    if (t->n > 0)
        qsort(t->grams, t->n, sizeof *t->grams, by_key);
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (n > 0 && t->grams[n - 1].key == t->grams[i].key)
            t->grams[n - 1].count++;
        else
            t->grams[n++] = t->grams[i];
    }
    t->n = n;
}

static bool is_letter(unsigned char c)
{
    return isalnum(c) || c >= 0x80;
}

/* The next word of lower-case text from *at on, and where it ends; 0 at the end of the text. */
static size_t next_word(const char **word, const char *s, size_t *at)
{
    size_t begin = *at;
    while (s[begin] && !is_letter((unsigned char)s[begin]) &&
           !(s[begin] == '\'' && isalpha((unsigned char)s[begin + 1]) && begin > 0 && s[begin - 1] != ' '))
        begin++;
    size_t end = begin;
    if (s[begin] == '\'') {
        end++;
        while (is_letter((unsigned char)s[end]))
            end++;
    } else {
        while (is_letter((unsigned char)s[end]) ||
               (end > begin && strchr("-.,/", s[end]) && s[end] && is_letter((unsigned char)s[end + 1])))
            end++;
        if (s[end] == '\'' && s[end + 1] == 't' && !is_letter((unsigned char)s[end + 2]) && end > begin + 1 &&
            s[end - 1] == 'n')
            end--; /* "do" "n't" */
        else if (end == begin + 1 && s[begin] == 'n' && s[end] == '\'' && s[end + 1] == 't')
            end += 2;
    }
    *word = s + begin;
    *at = end;
    return end - begin;
}

static bool read_text(cider *c, text *out, const char *source)
{
    size_t n = strlen(source), n_words = 0;
    char *lower = calloc(n + 2, 1);
    uint64_t *words = malloc((n + 1) * sizeof *words);
    text t = {.grams = malloc((N_ORDERS * n + 1) * sizeof *t.grams)};
    bool well = lower && words && t.grams;
    for (size_t i = 0; well && i <= n; i++)
        lower[i] = (char)tolower((unsigned char)source[i]);
    const char *word;
    size_t at = 0, length;
    while (well && (length = next_word(&word, lower, &at)) > 0)
        well = word_number(c, &words[n_words++], word, length);
    for (size_t i = 0; well && i < n_words; i++) {
        uint64_t key = 0;
        for (size_t j = 0; j < N_ORDERS && i + j < n_words; j++) {
            key = key << 16 | words[i + j];
            t.grams[t.n++] = (gram){key, 1};
        }
    }
    free(lower);
    free(words);
    if (!well) {
        free(t.grams);
        return false;
    }
    t.n_bigrams = n_words > 0 ? (int)n_words - 1 : 0;
    count_grams(&t);
    *out = t;
    return true;
}

static void release_photo(photo *p)
{
    free(p->caption.grams);
    for (size_t i = 0; i < p->n_references; i++)
        free(p->references[i].grams);
    free(p->references);
}

cider *cider_open(void)
{
    return calloc(1, sizeof(cider));
}

void cider_close(cider *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->n; i++)
        release_photo(&c->photos[i]);
    free(c->photos);
    free(c->words.slots);
    free(c);
}

bool cider_add(cider *c, const char *caption, const char *const *references, size_t n_references)
{
    if (c->n == c->capacity) {
        size_t capacity = c->capacity ? 2 * c->capacity : 64;
        photo *photos = realloc(c->photos, capacity * sizeof *photos);
        if (!photos)
            return false;
        c->photos = photos;
        c->capacity = capacity;
    }
    photo p = {.references = calloc(n_references + 1, sizeof *p.references)};
    bool well = p.references && read_text(c, &p.caption, caption);
    for (; well && p.n_references < n_references; p.n_references++)
        if (!read_text(c, &p.references[p.n_references], references[p.n_references]))
            well = false;
    if (!well) {
        release_photo(&p);
        return false;
    }
    c->photos[c->n++] = p;
    return true;
}

/* In how many photos' human captions every n-gram is. A photo's own n-grams are counted once: its lists are joined first. */
static bool count_documents(table *out, const cider *c)
{
    for (size_t i = 0; i < c->n; i++) {
        const photo *p = &c->photos[i];
        text all = {.grams = NULL};
        size_t n = 0;
        for (size_t j = 0; j < p->n_references; j++)
            n += p->references[j].n;
        all.grams = malloc((n + 1) * sizeof *all.grams);
        if (!all.grams)
            return false;
        for (size_t j = 0; j < p->n_references; j++) {
            const text *t = &p->references[j];
            if (t->n > 0)
                memcpy(all.grams + all.n, t->grams, t->n * sizeof *t->grams);
            all.n += t->n;
        }
        count_grams(&all);
        bool well = true;
        for (size_t j = 0; j < all.n && well; j++) {
            slot *found = take(out, all.grams[j].key);
            well = found != NULL;
            if (well)
                found->count++;
        }
        free(all.grams);
        if (!well)
            return false;
    }
    return true;
}

static int order_of(uint64_t key)
{
    return key >> 48 ? 3 : key >> 32 ? 2 : key >> 16 ? 1 : 0;
}

/* log(n_photos / df); a caption may hold what no human one does. */
static double rarity(const table *documents, size_t n_photos, uint64_t key)
{
    uint32_t count = documents->n_slots ? find(documents, key)->count : 0;
    return log((double)n_photos) - log(count > 1 ? (double)count : 1.0);
}

static void norms(double out[N_ORDERS], const text *t, const table *documents, size_t n_photos)
{
    for (int n = 0; n < N_ORDERS; n++)
        out[n] = 0.0;
    for (size_t i = 0; i < t->n; i++) {
        double weight = t->grams[i].count * rarity(documents, n_photos, t->grams[i].key);
        out[order_of(t->grams[i].key)] += weight * weight;
    }
    for (int n = 0; n < N_ORDERS; n++)
        out[n] = sqrt(out[n]);
}

static double likeness(const text *a, const text *b, const table *documents, size_t n_photos)
{
    double dot[N_ORDERS] = {0}, norm_a[N_ORDERS], norm_b[N_ORDERS], sum = 0.0;
    norms(norm_a, a, documents, n_photos);
    norms(norm_b, b, documents, n_photos);
    for (size_t i = 0, j = 0; i < a->n && j < b->n;) {
        if (a->grams[i].key == b->grams[j].key) {
            double weight = rarity(documents, n_photos, a->grams[i].key);
            uint32_t count_a = a->grams[i].count, count_b = b->grams[j].count;
            dot[order_of(a->grams[i].key)] += (count_a < count_b ? count_a : count_b) * weight * count_b * weight;
            i++;
            j++;
        } else if (a->grams[i].key < b->grams[j].key) {
            i++;
        } else {
            j++;
        }
    }
    double gap = a->n_bigrams - b->n_bigrams;
    for (int n = 0; n < N_ORDERS; n++)
        if (norm_a[n] != 0.0 && norm_b[n] != 0.0)
            sum += dot[n] / (norm_a[n] * norm_b[n]);
    return sum / N_ORDERS * exp(-gap * gap / (2 * SIGMA * SIGMA));
}

double cider_score(const cider *c)
{
    table documents = {.slots = NULL};
    double total = NAN;
    if (count_documents(&documents, c)) {
        total = 0.0;
        for (size_t i = 0; i < c->n; i++) {
            const photo *p = &c->photos[i];
            double sum = 0.0;
            for (size_t j = 0; j < p->n_references; j++)
                sum += likeness(&p->caption, &p->references[j], &documents, c->n);
            total += p->n_references ? 10.0 * sum / (double)p->n_references : 0.0;
        }
        total = c->n ? total / (double)c->n : 0.0;
    }
    free(documents.slots);
    return total;
}
