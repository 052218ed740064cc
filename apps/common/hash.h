/* hash_more: 64-bit FNV-1a (Fowler, Noll and Vo): the same number for the same bytes on every machine and in every version, so that shards
 * and journals stay what they are. It tells accidents apart, not attacks. */
#ifndef LOOKSAY_COMMON_HASH_H
#define LOOKSAY_COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t hash_more(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Spreads the hash over all its bits (the finalizer of splitmix64), for when few of them are used. */
static inline uint64_t hash_spread(uint64_t hash)
{
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    return hash ^ hash >> 31;
}

/* Of whole files, at the speed of memory: words of 8 bytes in four lanes, each `lane = rotate(lane ^ word) * odd`, which loses
 * nothing, joined and spread at the end. Another number than hash_more gives; for this machine's byte order. */
static inline uint64_t hash_content(const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    uint64_t lanes[4] = {1, 2, 3, 4};
    size_t at = 0;
    for (; n - at >= 32; at += 32)
        for (size_t i = 0; i < 4; i++) {
            uint64_t word;
            memcpy(&word, p + at + 8 * i, sizeof word);
            word ^= lanes[i];
            lanes[i] = (word << 29 | word >> 35) * UINT64_C(0x9e3779b97f4a7c15);
        }
    uint64_t hash = hash_more(HASH_START ^ n, p + at, n - at);
    for (size_t i = 0; i < 4; i++)
        hash = hash_spread(hash ^ lanes[i]) + i;
    return hash;
}

#endif
