/* Messages for whoever runs the program, from deep inside what all programs share. */
#ifndef LOOKSAY_COMMON_COMPLAIN_H
#define LOOKSAY_COMMON_COMPLAIN_H

/* One sentence. Each program defines it: the command line prints it, the window shows it. Called from any thread. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
