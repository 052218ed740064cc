/* 64-bit FNV-1a (Fowler, Noll and Vo): the same number for the same bytes on every machine and in every version, so that shards
 * and journals stay what they are. It tells accidents apart, not attacks. */
#ifndef LOOKSAY_COMMON_HASH_H
#define LOOKSAY_COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

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

#endif
