/* What the code that all programs share has to say, until somebody shows it. */
#ifndef LOOKSAY_GUI_NOTICE_H
#define LOOKSAY_GUI_NOTICE_H

#include "apps/common/complain.h"

/* The last message of this thread, g_malloc'ed, which is then forgotten; NULL when there was none. */
char *notice_take(void);

#endif
