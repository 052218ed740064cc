/* Fuzzes the reader of whole safetensors files. */
#include "tests/fuzz/weights_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_reader(lks_safetensors_read, data, size);
    return 0;
}
