/* An allocator that can be told to fail once. The linker puts it in place of the system's (--wrap) in all code that is linked into
 * the test; jansson, a shared library, takes it with json_set_alloc_funcs(malloc, free). */
#ifndef LKS_FAULTS_ALLOCATOR_H
#define LKS_FAULTS_ALLOCATOR_H

#include <stddef.h>

/* Counts from 0 anew; call number `nth` fails. SIZE_MAX: none. */
void allocator_begin(size_t nth);

/* Lets every call succeed again. Returns how many there were since allocator_begin. */
size_t allocator_end(void);

/* Calls neither count nor fail until resumed. */
void allocator_pause(void);
void allocator_resume(void);

/* Blocks that were allocated and not freed since the program began. */
long allocator_live(void);

/* The most bytes that were asked for at once since allocator_begin. */
size_t allocator_largest(void);

#endif
