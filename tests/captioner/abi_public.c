/* looksay.h's view of the status types. */
#include "apps/captioner/looksay.h"

extern const long abi_public[];
extern const unsigned long n_abi_public;
#define LKS_ABI_NAME abi_public
#define LKS_ABI_COUNT n_abi_public
#include "tests/captioner/abi.inc"
