/* What each command does; all return an exit status. */
#ifndef LOOKSAY_CLI_COMMANDS_H
#define LOOKSAY_CLI_COMMANDS_H

#include "apps/cli/options.h"

int command_caption(const settings *s);
int command_eval(const settings *s);
int command_explain(const settings *s);
int command_fill(const settings *s);
int command_translate(const settings *s);
int command_video(const settings *s);
int command_verify(const settings *s);
int command_info(const settings *s);
int command_doctor(const settings *s);
int command_bench(const settings *s);
int command_convert(const settings *s);
int command_quantize(const settings *s);

#endif
