/* Who read and wrote each byte of an emulated GPU's memory, and whether that was in order.
 *
 * Kernels are compiled with the calls that -fsanitize=thread puts before loads and stores; accesses.cpp answers them. Two threads may
 * touch a byte, one of them writing, if something orders them: they belong to different launches; or to one block with a barrier of
 * the block between, or one of their warp, if they share it. Shuffles, votes and products of a warp order nothing. What was never
 * written may not be read; shared memory begins so in every block. A kernel that may start before the one before it ends
 * writes nothing until it has waited, and reads only what was there at the last synchronisation. The first offence ends the
 * program and says the threads and lines. */
#ifndef LKS_TESTS_CUDA_ACCESSES_H
#define LKS_TESTS_CUDA_ACCESSES_H

#include <stddef.h>

/* Memory whose bytes are watched from now on. */
void lks_accesses_watch(const void *begin, size_t n_bytes);
void lks_accesses_forget(const void *begin);

/* What orders accesses. */
void lks_accesses_launch();
void lks_accesses_block(const void *shared, size_t n_bytes);
void lks_accesses_barrier();
void lks_accesses_synchronised();

/* The thread that runs from here on: its number within the block, its warp's barriers since the block's last one, 65,535 at most, and
 * whether it may touch what the kernel before makes. NO_THREAD: the host, or work of another kind on a stream. */
constexpr int LKS_NO_THREAD = -1;
void lks_accesses_run(int thread, unsigned n_warp_barriers, bool waited);

void lks_accesses_read(const void *memory, size_t n_bytes, const void *by);
void lks_accesses_write(void *memory, size_t n_bytes, const void *by);

#endif
