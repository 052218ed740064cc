/* A file by its content. */
#ifndef LOOKSAY_COMMON_CONTENT_H
#define LOOKSAY_COMMON_CONTENT_H

#include "apps/common/hash.h"

typedef struct content_id {
    uint64_t size, hash;
} content_id;

static inline content_id content_identify(const void *bytes, size_t n)
{
    return (content_id){n, hash_content(bytes, n)};
}

#endif
