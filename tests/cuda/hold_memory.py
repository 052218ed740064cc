#!/usr/bin/env python3
"""Holds the first GPU's memory but for some bytes until its standard input ends. Says "held" when it does.

usage: hold_memory.py BYTES_LEFT
"""
import ctypes
import sys

PIECE = 1 << 30


def check(status, what):
    if status != 0:
        sys.exit(f"{what}: CUDA error {status}")


def main():
    left = int(sys.argv[1])
    cuda = ctypes.CDLL("libcuda.so.1")
    device, context, address = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_uint64()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    check(cuda.cuInit(0), "cuInit")
    check(cuda.cuDeviceGet(ctypes.byref(device), 0), "cuDeviceGet")
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    check(cuda.cuCtxSetCurrent(context), "cuCtxSetCurrent")
    piece = PIECE
    while True:
        check(cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)), "cuMemGetInfo")
        piece = min(piece, max(free.value - left, 0))
        if piece < 1 << 21:  # what the driver gives out at once
            break
        if cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(piece)) != 0:
            piece //= 2
    print("held", free.value, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
