/* A report that goes on where a killed one was. Two kinds of output, one journal:
 *
 * Rows: an entry is written when its row is on the disk, with the length of the output up to there and the hash of all of it.
 * What stands behind the last entry is cut off and done again, so that no row is torn, lost or there twice.
 * Sidecars: an entry is written when the new file is on the disk under its temporary name, with its size and hash. Only of the
 * last entry can the file still have that name; it then gets its own. */
#ifndef LOOKSAY_CLI_RESUME_H
#define LOOKSAY_CLI_RESUME_H

#include "apps/cli/options.h"
#include "apps/common/journal.h"
#include "apps/common/sidecar.h"
#include "apps/common/sink.h"

/* Whether the command line names what a run can go on with, and a place for its journal. Returns false after a message. */
bool resume_check(const settings *s);

/* Opens the journal that --journal names, or the one beside the output (FILE.journal) or in the folder with the photos. The
 * command line has been checked. Returns false after a message. model_bytes tells models of one name apart. */
bool resume_open(journal *out, const settings *s, const char *model, long long model_bytes);

/* Opens the sink at the end of the last row that journal and file agree on. Gives the hash of what is there. */
bool resume_rows(sink *out, uint64_t *hash, journal *j, const char *path);

/* Adds an entry for the row that ends where s->whole is now; begun: where it began. Not committed. */
bool resume_add_row(journal *j, uint64_t *hash, const sink *s, uint64_t begun, const char *image, bool failed);

/* Ends the sidecar of the last entry. */
bool resume_sidecars(journal *j, const sidecar *s);

#endif
