/* Fuzzes what reads photos and XMP files to put a caption into them. A packet that was put in is found again, and so is the
 * caption. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apps/common/complain.h"
#include "apps/common/metadata.h"
#include "apps/common/photo_xmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void complain(const char *format, ...)
{
    (void)format;
}

static void embed(const uint8_t *data, size_t size, const char *existing)
{
    photo_xmp x, again;
    size_t n_packet, n;
    if (!photo_xmp_read(&x, data, size))
        return;
    char *packet =
        metadata_merge("fuzz", &n_packet, x.packet, x.n_packet, x.description, "a caption", existing, METADATA_INSIDE);
    unsigned char *made = packet ? photo_xmp_replace(&n, data, size, packet, n_packet) : NULL;
    if (made) {
        if (!photo_xmp_read(&again, made, n) || !again.packet || again.n_packet != n_packet ||
            memcmp(again.packet, packet, n_packet) != 0 || !metadata_is_complete(again.packet, n_packet, NULL))
            abort();
        photo_xmp_release(&again);
    }
    free(packet);
    free(made);
    photo_xmp_release(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    embed(data, size, "append");
    embed(data, size, "overwrite");
    size_t n;
    char *made = metadata_merge("fuzz", &n, (const char *)data, size, NULL, "a caption", "prepend", METADATA_BESIDE);
    if (made && !metadata_is_complete(made, n, NULL))
        abort();
    free(made);
    return 0;
}
