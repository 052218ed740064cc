/* Helpers of the weight-file tests: bytes put together by hand, readers run on exact copies, temporary folders. */
#ifndef LKS_WEIGHTS_TEST_H
#define LKS_WEIGHTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fusion/weights/reader.h"

#define DATA "tests/weights/data/"

typedef struct bytes {
    unsigned char *data;
    size_t n, capacity;
} bytes;

void put(bytes *b, const void *data, size_t n);
void put_text(bytes *b, const char *text);       /* without length or terminator */
void put_le(bytes *b, uint64_t value, size_t n); /* n bytes, little-endian */
void put_zeros(bytes *b, size_t n);
void clear(bytes *b);

/* A whole file; the test fails when it cannot be read. */
bytes load(const char *path);

typedef lks_status (*weight_reader)(lks_weight_list *out, const lks_weight_source *in, lks_error *err);

/* Runs a reader on a copy that ends where its memory ends, so that sanitizers see the first byte read too much, then reads
 * every element of what it lists. An error must start with the name of the file. */
lks_status read_copy(weight_reader reader, const unsigned char *data, size_t n, lks_error *err);

/* The reader must refuse the bytes, with `needle` in the message; clears the bytes. */
#define assert_refused(reader, b, needle) check_refused(reader, b, needle, __FILE__, __LINE__)
void check_refused(weight_reader reader, bytes *b, const char *needle, const char *file, int line);

/* The reader must accept the bytes; clears them. */
#define assert_accepted(reader, b) check_accepted(reader, b, __FILE__, __LINE__)
void check_accepted(weight_reader reader, bytes *b, const char *file, int line);

/* Every strict beginning shorter than n_needed bytes is refused, whatever single bits are flipped nothing bad happens. */
void check_truncations(weight_reader reader, const bytes *b, size_t n_needed);
void check_flips(weight_reader reader, const bytes *b);

/* A new folder under the system's temporary one; remove_folder takes away its files, then itself. */
char *make_folder(void);
void remove_folder(char *folder);
const char *path_in(char text[512], const char *folder, const char *name);
void store(const char *path, const void *data, size_t n);

#endif
