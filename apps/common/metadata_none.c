/* A build without XMP: see metadata.h and photo_xmp.h. */
#include "apps/common/complain.h"
#include "apps/common/metadata.h"
#include "apps/common/photo_xmp.h"

static bool complain_missing(void)
{
    complain("this program was built without XMP");
    return false;
}

bool metadata_is_built(void)
{
    return false;
}

bool metadata_is_complete(const char *bytes, size_t n, const char *description)
{
    (void)bytes;
    (void)n;
    (void)description;
    return complain_missing();
}

char *metadata_description(const char *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    complain_missing();
    return NULL;
}

char *metadata_merge(const char *path, size_t *n_new, const char *old, size_t n_old, const char *description,
                     const char *caption, const char *existing, metadata_place place)
{
    (void)path;
    (void)n_new;
    (void)old;
    (void)n_old;
    (void)description;
    (void)caption;
    (void)existing;
    (void)place;
    complain_missing();
    return NULL;
}

bool photo_xmp_read(photo_xmp *out, const unsigned char *bytes, size_t n)
{
    (void)out;
    (void)bytes;
    (void)n;
    return complain_missing();
}

const char *photo_xmp_refusal(const unsigned char *bytes, size_t n)
{
    (void)bytes;
    (void)n;
    return "takes no XMP";
}

unsigned char *photo_xmp_replace(size_t *n_new, const unsigned char *bytes, size_t n, const char *packet,
                                 size_t n_packet)
{
    (void)n_new;
    (void)bytes;
    (void)n;
    (void)packet;
    (void)n_packet;
    complain_missing();
    return NULL;
}

void photo_xmp_release(photo_xmp *x)
{
    (void)x;
}
