/* A byte trie in one hash table of edges: (node, byte) -> node. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_NODES = 1 << 24 }; /* a key packs a node and a byte into 32 bits */

static uint32_t edge_key(uint32_t node, unsigned char byte)
{
    return ((node << 8) | byte) + 1; /* the last node never has edges, so this does not wrap */
}

static size_t edge_slot(const lks_trie *trie, uint32_t key)
{
    size_t mask = trie->n_slots - 1;
    size_t i = (size_t)(((uint64_t)key * 0x9E3779B97F4A7C15u) >> 24) & mask;
    while (trie->edges[i].key != 0 && trie->edges[i].key != key)
        i = (i + 1) & mask;
    return i;
}

static bool resize(lks_trie *trie, size_t n_slots)
{
    lks_trie larger = *trie;
    larger.n_slots = n_slots;
    larger.edges = calloc(n_slots, sizeof *larger.edges);
    if (!larger.edges)
        return false;
    for (size_t i = 0; i < trie->n_slots; i++) {
        if (trie->edges[i].key)
            larger.edges[edge_slot(&larger, trie->edges[i].key)] = trie->edges[i];
    }
    free(trie->edges);
    trie->edges = larger.edges;
    trie->n_slots = n_slots;
    return true;
}

bool lks_trie_init(lks_trie *trie, size_t n_bytes_hint)
{
    *trie = (lks_trie){0};
    size_t n_slots = 64;
    while (n_slots < n_bytes_hint && n_slots < MOST_NODES)
        n_slots *= 2;
    trie->cap_nodes = 64;
    trie->value = malloc(trie->cap_nodes * sizeof *trie->value);
    if (!trie->value || !resize(trie, n_slots)) {
        lks_trie_release(trie);
        return false;
    }
    trie->value[0] = -1;
    trie->n_nodes = 1;
    return true;
}

bool lks_trie_add(lks_trie *trie, const char *s, size_t n, int32_t value)
{
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t key = edge_key(node, (unsigned char)s[i]);
        size_t slot = edge_slot(trie, key);
        if (trie->edges[slot].key == 0) {
            if (trie->n_nodes >= MOST_NODES - 1)
                return false;
            if (trie->n_nodes == trie->cap_nodes) {
                int32_t *moved = realloc(trie->value, 2 * trie->cap_nodes * sizeof *moved);
                if (!moved)
                    return false;
                trie->value = moved;
                trie->cap_nodes *= 2;
            }
            if (2 * (trie->n_edges + 1) > trie->n_slots) {
                if (!resize(trie, 2 * trie->n_slots))
                    return false;
                slot = edge_slot(trie, key);
            }
            trie->value[trie->n_nodes] = -1;
            trie->edges[slot] = (struct lks_trie_edge){.key = key, .node = (uint32_t)trie->n_nodes++};
            trie->n_edges++;
        }
        node = trie->edges[slot].node;
    }
    trie->value[node] = value;
    return true;
}

uint32_t lks_trie_step(const lks_trie *trie, uint32_t node, unsigned char byte)
{
    return trie->edges[edge_slot(trie, edge_key(node, byte))].node;
}

void lks_trie_release(lks_trie *trie)
{
    free(trie->edges);
    free(trie->value);
    *trie = (lks_trie){0};
}
