/* The part of Python's pickle language that torch.save needs to write a state dict, as data: nothing is ever called.
 *
 * Known names are collections.OrderedDict, torch.Size, the storage classes of torch and the two functions that rebuild
 * tensors and parameters; any other name is an error. The result is a flat pool of objects that refer to each other by
 * number, so that shared and even circular references cost nothing and are never followed deeper than one looks. */
#ifndef LKS_WEIGHTS_PICKLE_H
#define LKS_WEIGHTS_PICKLE_H

#include "fusion/weights/reader.h"

typedef enum lks_pickle_kind {
    LKS_PICKLE_OTHER, /* None, floats, byte strings: of no use to us */
    LKS_PICKLE_INT,
    LKS_PICKLE_TEXT,
    LKS_PICKLE_TUPLE,
    LKS_PICKLE_LIST, /* contents are dropped */
    LKS_PICKLE_DICT, /* contents stand in lks_pickle.assignments */
    LKS_PICKLE_CLASS,
    LKS_PICKLE_STORAGE, /* items: "storage", class, key (text), location, number of elements (int) */
    LKS_PICKLE_TENSOR   /* items: storage, offset (int), size (tuple), stride (tuple), and what we do not need */
} lks_pickle_kind;

typedef struct lks_pickle_object {
    lks_pickle_kind kind;
    uint32_t n; /* bytes of a text, items of a tuple, storage or tensor */
    union {
        int64_t integer;
        const char *text;     /* not terminated, in the pickle */
        uint32_t first;       /* item: index into lks_pickle.items */
        uint32_t class_index; /* known to pickle.c */
    } as;
    lks_dtype dtype; /* of a storage */
} lks_pickle_object;

typedef struct lks_pickle_assignment { /* dict[key] = value, in the order they were made */
    uint32_t dict, key, value;
} lks_pickle_assignment;

typedef struct lks_pickle {
    lks_pickle_object *objects;
    uint32_t *items;
    lks_pickle_assignment *assignments;
    size_t n_objects, object_capacity, n_items, item_capacity, n_assignments, assignment_capacity;
    uint32_t root;
} lks_pickle;

/* Reads the pickle data [n] of the file `path`. The texts of `out` lie in `data`. */
lks_status lks_pickle_read(lks_pickle *out, const unsigned char *data, size_t n, const char *path, lks_error *err);
void lks_pickle_release(lks_pickle *pickle);

#endif
