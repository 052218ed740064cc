/* A build without letters, for want of FreeType or Fontconfig: see lettering.h. */
#include "apps/cli/lettering.h"

#include "apps/cli/options.h"

bool lettering_is_built(void)
{
    return false;
}

bool lettering_open(lettering **out, const char *sample, int height)
{
    (void)out;
    (void)sample;
    (void)height;
    complain("this program was built without FreeType and Fontconfig, which words in pictures need");
    return false;
}

void lettering_close(lettering *l)
{
    (void)l;
}

int lettering_width(lettering *l, const char *text)
{
    (void)l;
    (void)text;
    return 0;
}

int lettering_write(lettering *l, canvas *to, int x, int baseline, const char *text, const uint8_t colour[3])
{
    (void)l;
    (void)to;
    (void)baseline;
    (void)text;
    (void)colour;
    return x;
}
