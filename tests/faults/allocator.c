/* See allocator.h. */
#include "tests/faults/allocator.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names for --wrap */
void __real_free(void *p);
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void __wrap_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);
/* NOLINTEND(bugprone-reserved-identifier) */

static atomic_size_t n_calls, fail_at = SIZE_MAX, largest;
static atomic_long n_live;
static atomic_bool paused;

void allocator_begin(size_t nth)
{
    largest = 0;
    n_calls = 0;
    fail_at = nth;
}

size_t allocator_end(void)
{
    fail_at = SIZE_MAX;
    return n_calls;
}

void allocator_pause(void)
{
    paused = true;
}

void allocator_resume(void)
{
    paused = false;
}

long allocator_live(void)
{
    return n_live;
}

size_t allocator_largest(void)
{
    return largest;
}

static bool may_allocate(size_t n)
{
    if (n > largest)
        largest = n;
    return paused || n_calls++ != fail_at;
}

static void *count(void *block)
{
    n_live += block != NULL;
    return block;
}

void __wrap_free(void *p)
{
    n_live -= p != NULL;
    __real_free(p);
}

void *__wrap_malloc(size_t n)
{
    return may_allocate(n) ? count(__real_malloc(n)) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return may_allocate(n * size) ? count(__real_calloc(n, size)) : NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
    if (!may_allocate(n))
        return NULL;
    return p ? __real_realloc(p, n) : count(__real_malloc(n));
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return may_allocate(n) ? count(__real_aligned_alloc(alignment, n)) : NULL;
}

char *__wrap_strdup(const char *text)
{
    return may_allocate(strlen(text) + 1) ? count(__real_strdup(text)) : NULL;
}

char *__wrap_strndup(const char *text, size_t n)
{
    return may_allocate(strnlen(text, n) + 1) ? count(__real_strndup(text, n)) : NULL;
}
