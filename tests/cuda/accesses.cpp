/* See accesses.h. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vector>

#include "tests/cuda/accesses.h"
#include "tests/cuda/shim/cuda_runtime.h"

namespace
{
/* Whom one record of reads speaks for: a thread, or several of a warp, a block or a grid whom nothing orders. */
enum group { ONE, OF_WARP, OF_BLOCK, OF_GRID };

/* When a byte was accessed last. Epochs count the barriers of all blocks, one after the other; 0 is never. Turns count those of the
 * thread's warp since the block's last one. */
struct record {
    const void *by; /* the instruction behind it, NULL for the host's work */
    uint32_t epoch;
    int thread : 12; /* or LKS_NO_THREAD */
    unsigned group : 4;
    unsigned turn : 16;
};
static_assert(sizeof(record) == 16, "there are two for every byte");

struct byte {
    record write, read;
};

struct area {
    uintptr_t begin, end;
    byte *bytes;
};

std::vector<area> areas;
size_t last_area;
area shared;
uint32_t now, launch_begin, block_begin, synchronised;
/* Of the thread of the host that runs kernels; others, which prepare launches, touch no device memory. */
#define OWN static thread_local __attribute__((tls_model("initial-exec")))
OWN int thread = LKS_NO_THREAD;
OWN unsigned turn;
OWN bool waited = true;
constexpr int WARP = 32;

void tick()
{
    if (++now == 0) {
        fprintf(stderr, "emulated GPU: too many barriers to count\n");
        abort();
    }
}

void say_who(const char *what, const record &r)
{
    if (r.thread == LKS_NO_THREAD) {
        fprintf(stderr, "  %s by a copy or matrix product\n", what);
        return;
    }
    fprintf(stderr, "  %s by thread %d", what, r.thread);
    Dl_info info;
    if (dladdr(r.by, &info)) {
        char command[4096], line[1024] = "";
        snprintf(command, sizeof command, "addr2line -s -e '%s' 0x%zx", info.dli_fname,
                 (uintptr_t)r.by - 1 - (uintptr_t)info.dli_fbase);
        FILE *lines = popen(command, "r");
        if (lines && fgets(line, sizeof line, lines))
            fprintf(stderr, ", %.*s", (int)strcspn(line, "\n"), line);
        if (lines)
            pclose(lines);
    }
    fprintf(stderr, "\n");
}

[[noreturn]] void offence(const char *what, const record *before, bool before_wrote, const record &current, bool writes)
{
    fprintf(stderr, "emulated GPU: %s (block %u %u %u)\n", what, blockIdx.x, blockIdx.y, blockIdx.z);
    if (before)
        say_who(before_wrote ? "written" : "read", *before);
    say_who(writes ? "written" : "read", current);
    abort();
}

/* Whether everybody `r` speaks for was done before the current thread came here. */
bool in_order(const record &r, bool is_shared)
{
    if (r.epoch < launch_begin || (is_shared && r.epoch < block_begin))
        return true;
    if (r.epoch < block_begin || r.group == OF_GRID)
        return false;
    if (r.epoch < now)
        return true;
    bool same_warp = r.thread / WARP == thread / WARP;
    switch (r.group) {
    case ONE:
        return r.thread == thread || (same_warp && r.turn < turn);
    case OF_WARP:
        return same_warp && r.turn < turn;
    default:
        return false;
    }
}

void note_read(record &r, const record &current, bool is_shared)
{
    if (in_order(r, is_shared)) {
        r = current;
    } else if (r.epoch < block_begin || r.group == OF_GRID) {
        r.epoch = current.epoch;
        r.group = OF_GRID;
    } else if (r.group == OF_BLOCK || r.thread / WARP != thread / WARP) {
        r.group = OF_BLOCK;
    } else {
        r.turn = current.turn;
        r.group = OF_WARP;
    }
}

void check_start(const byte &b, const record &current, bool writes)
{
    if (waited)
        return;
    if (writes)
        offence("a kernel writes before it waits for the one before it", NULL, false, current, true);
    if (b.write.epoch > synchronised)
        offence("a kernel reads what the one before it may still write", &b.write, true, current, false);
}

void check(byte &b, const record &current, bool is_shared, bool writes)
{
    if (!is_shared)
        check_start(b, current, writes);
    if (b.write.epoch == 0 || (is_shared && b.write.epoch < block_begin)) {
        if (!writes)
            offence("a read of what nobody has written yet", NULL, false, current, false);
    } else if (!in_order(b.write, is_shared)) {
        offence("nothing orders two accesses", &b.write, true, current, writes);
    }
    if (!writes) {
        note_read(b.read, current, is_shared);
        return;
    }
    if (!in_order(b.read, is_shared))
        offence("nothing orders two accesses", &b.read, false, current, true);
    b.write = current;
}

void access(const area &within, uintptr_t at, size_t n_bytes, bool writes, const void *by)
{
    if (at + n_bytes > within.end)
        n_bytes = within.end - at; /* the page behind it stops the program */
    const record current = {by, now, thread, ONE, turn};
    byte *b = &within.bytes[at - within.begin], *end = b + n_bytes, before = *b;
    check(*b, current, &within == &shared, writes);
    /* Bytes side by side mostly have the same history. */
    for (b++; b < end; b++) {
        if (memcmp(b, &before, sizeof before) == 0) {
            *b = b[-1];
            continue;
        }
        before = *b;
        check(*b, current, &within == &shared, writes);
    }
}

void look_up(const void *memory, size_t n_bytes, bool writes, const void *by)
{
    if (n_bytes == 0)
        return;
    uintptr_t at = (uintptr_t)memory;
    if (at - shared.begin < shared.end - shared.begin) {
        access(shared, at, n_bytes, writes, by);
        return;
    }
    for (size_t i = 0; i < areas.size(); i++) {
        size_t which = i == 0 ? last_area : i - (i <= last_area);
        const area &a = areas[which];
        if (at < a.begin || at >= a.end)
            continue;
        last_area = which;
        access(a, at, n_bytes, writes, by);
        return;
    }
}

byte *room_for(size_t n_bytes)
{
    void *room =
        mmap(NULL, n_bytes * sizeof(byte), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) {
        fprintf(stderr, "emulated GPU: no room to note accesses of %zu bytes\n", n_bytes);
        abort();
    }
    return (byte *)room;
}
} // namespace

void lks_accesses_watch(const void *begin, size_t n_bytes)
{
    areas.push_back({(uintptr_t)begin, (uintptr_t)begin + n_bytes, room_for(n_bytes)});
}

void lks_accesses_forget(const void *begin)
{
    for (size_t i = 0; i < areas.size(); i++)
        if (areas[i].begin == (uintptr_t)begin) {
            munmap(areas[i].bytes, (areas[i].end - areas[i].begin) * sizeof(byte));
            areas.erase(areas.begin() + (long)i);
            last_area = 0;
            return;
        }
}

void lks_accesses_launch()
{
    tick();
    launch_begin = now;
}

void lks_accesses_block(const void *memory, size_t n_bytes)
{
    tick();
    block_begin = now;
    if ((uintptr_t)memory == shared.begin && n_bytes == shared.end - shared.begin)
        return;
    if (shared.bytes)
        munmap(shared.bytes, (shared.end - shared.begin) * sizeof(byte));
    shared = {};
    if (n_bytes)
        shared = {(uintptr_t)memory, (uintptr_t)memory + n_bytes, room_for(n_bytes)};
}

void lks_accesses_barrier()
{
    tick();
}

void lks_accesses_synchronised()
{
    synchronised = now;
}

void lks_accesses_run(int thread_, unsigned n_warp_barriers, bool waited_)
{
    thread = thread_;
    turn = n_warp_barriers;
    waited = waited_;
}

void lks_accesses_read(const void *memory, size_t n_bytes, const void *by)
{
    look_up(memory, n_bytes, false, by);
}

void lks_accesses_write(void *memory, size_t n_bytes, const void *by)
{
    look_up(memory, n_bytes, true, by);
}

/* ---- what the compiler calls ---- */

static void compiled_access(const void *at, size_t n_bytes, bool writes, const void *by)
{
    if (thread != LKS_NO_THREAD)
        look_up(at, n_bytes, writes, by);
}

#define WATCHED(name, n, writes)                                                                                       \
    void __tsan_##name##n(void *at)                                                                                    \
    {                                                                                                                  \
        compiled_access(at, n, writes, __builtin_return_address(0));                                                   \
    }
#define WATCHED_BOTH(n)                                                                                                \
    WATCHED(read, n, false)                                                                                            \
    WATCHED(write, n, true)                                                                                            \
    WATCHED(unaligned_read, n, false)                                                                                  \
    WATCHED(unaligned_write, n, true)

extern "C" {
WATCHED_BOTH(1)
WATCHED_BOTH(2)
WATCHED_BOTH(4)
WATCHED_BOTH(8)
WATCHED_BOTH(16)

void __tsan_read_range(void *at, size_t n)
{
    compiled_access(at, n, false, __builtin_return_address(0));
}

void __tsan_write_range(void *at, size_t n)
{
    compiled_access(at, n, true, __builtin_return_address(0));
}

void __tsan_init()
{
}

void __tsan_func_entry(void *)
{
}

void __tsan_func_exit()
{
}
}
