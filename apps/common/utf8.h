/* Text that programs with strict readers take. */
#ifndef LOOKSAY_COMMON_UTF8_H
#define LOOKSAY_COMMON_UTF8_H

/* The text, malloc'ed, with U+FFFD for what is not UTF-8; NULL when out of memory. */
char *utf8_repair(const char *text);

#endif
