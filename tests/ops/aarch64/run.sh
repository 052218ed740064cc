#!/usr/bin/env bash
# run.sh SOURCE_DIR WORK_DIR: the op tests of AArch64 in a cross build, two at a time under qemu-user. Exit status 77 (CTest:
# skipped) without compiler or emulator. Emulation is slow: of the long tests only those cases run that differ between instruction
# sets; the rest of their code is the same on x86.
set -euo pipefail
source=$1
work=$2
gcc=$(command -v aarch64-linux-gnu-gcc) || { echo "aarch64-linux-gnu-gcc is not installed"; exit 77; }
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static) || { echo "qemu-aarch64 is not installed"; exit 77; }

mkdir -p "$work"
cmake -S "$source/tests/ops/aarch64" -B "$work" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_SYSTEM_NAME=Linux \
    -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER="$gcc" >"$work/log" || { cat "$work/log"; exit 1; }
ninja -C "$work" -j2 >"$work/log" || { cat "$work/log"; exit 1; }

# CPU TEST CASE,...: max has dot products, cortex-a72 has not.
jobs='max int4 packing,layout,inputs,layer_shapes,layer_options,layer_close_to_f32,strange_rows
max linear shapes,options,packing_fills,unpacking
max attention key_counts,head_widths,linear_kind,sharp,batch_independence
max attention_int8 all
max conv all
max int8 all
max bf16 layer_shapes,layer_options,exact_sums,layer_close_to_f32,strange_rows,widening
max top all
max rows all
cortex-a72 int8 layer_options,exact_integers
cortex-a72 int4 layer_options'
export qemu work
# shellcheck disable=SC2016
xargs -P2 -L1 bash -c 'out=$(OPS_CASES=$2 timeout 300 "$qemu" -cpu "$0" "$work/test_$1" 2>&1)
    status=$?; echo "$1 on $0: $out"; exit $((status != 0))' <<<"$jobs"
