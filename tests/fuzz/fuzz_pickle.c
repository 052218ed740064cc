/* Fuzzes the pickle machine and the views it describes: the input becomes the data.pkl of an archive whose storages "0" to "3"
 * hold 256 bytes each. */
#include "tests/fuzz/weights_fuzz.h"

#define N_STORAGES 4
#define N_STORAGE 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* n bytes, little-endian, n up to 16 of which the upper half is zero. */
static uint8_t *put_le(uint8_t *p, uint64_t value, int n)
{
    for (int i = 0; i < n; i++)
        *p++ = (uint8_t)(i < 8 ? value >> 8 * i : 0);
    return p;
}

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t n)
{
    if (n)
        memcpy(p, data, n);
    return p + n;
}

/* The local or central header of an entry, the latter for one that begins at `begin`. */
static uint8_t *put_header(uint8_t *p, bool central, const char *name, size_t size, size_t begin)
{
    size_t n_name = strlen(name);
    p = put_le(p, central ? 0x02014B50 : 0x04034B50, 4);
    p = put_le(p, 0, central ? 16 : 14); /* versions, flags, method (stored), time, checksum */
    p = put_le(p, size, 4);
    p = put_le(p, size, 4);
    p = put_le(p, n_name, 2);
    p = put_le(p, 0, central ? 12 : 2);
    if (central)
        p = put_le(p, begin, 4);
    return put_bytes(p, name, n_name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t storage[N_STORAGE];
    uint8_t *archive = malloc(size + N_STORAGES * (N_STORAGE + 128) + 256), *p = archive;
    demand(archive != NULL);
    size_t begins[N_STORAGES];
    char name[] = "x/data/0";
    p = put_header(p, false, "x/data.pkl", size, 0);
    p = put_bytes(p, data, size);
    for (size_t i = 0; i < N_STORAGES; i++) {
        name[sizeof name - 2] = (char)('0' + i);
        begins[i] = (size_t)(p - archive);
        p = put_header(p, false, name, N_STORAGE, 0);
        p = put_bytes(p, storage, N_STORAGE);
    }
    size_t directory = (size_t)(p - archive);
    p = put_header(p, true, "x/data.pkl", size, 0);
    for (size_t i = 0; i < N_STORAGES; i++) {
        name[sizeof name - 2] = (char)('0' + i);
        p = put_header(p, true, name, N_STORAGE, begins[i]);
    }
    size_t end = (size_t)(p - archive);
    p = put_le(p, 0x06054B50, 4);
    p = put_le(p, 0, 6);
    p = put_le(p, N_STORAGES + 1, 2);
    p = put_le(p, end - directory, 4);
    p = put_le(p, directory, 4);
    p = put_le(p, 0, 2);
    fuzz_reader(lks_torch_read, archive, (size_t)(p - archive));
    free(archive);
    return 0;
}
