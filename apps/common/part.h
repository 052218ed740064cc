/* The unfinished file beside the one that it becomes. One process at a time has it, which a lock says; a link in its place is not
 * followed. */
#ifndef LOOKSAY_COMMON_PART_H
#define LOOKSAY_COMMON_PART_H

#include <stdio.h>
#include <sys/types.h>

/* Opens the part for reading and writing at its first byte, or makes it with this mode. NULL with errno, for part_error. */
FILE *part_open(const char *part, mode_t mode);

/* As above, but a new file, in place of what a killed process left. */
FILE *part_make(const char *part);

/* Why a part cannot be opened or written. */
const char *part_error(int error);

/* Takes over what the file at `path`, if there is one, has besides its bytes: owner and permissions where both can be kept,
 * and the user's extended attributes. */
void part_inherit(FILE *part, const char *path);

#endif
