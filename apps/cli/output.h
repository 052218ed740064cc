/* What --output may not be: something that the command reads. */
#ifndef LOOKSAY_CLI_OUTPUT_H
#define LOOKSAY_CLI_OUTPUT_H

#include "apps/cli/options.h"

/* Whether both names are of one regular file; "-" is the file that standard input comes from. */
bool output_is_input(const char *output, const char *input);

/* Whether --output is none of the files that the command line names for reading; false after a message. */
bool output_check(const settings *s);

/* The same for rows of text, whose file is also not named as a photo is: that would be a slip, and the end of the photo. */
bool output_check_rows(const settings *s);

#endif
