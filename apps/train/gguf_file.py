"""GGUF v3 files with string values and f16 or f32 tensors: magic, version, counts, key/values, tensor directory (dimensions
innermost first), aligned data."""
import struct
from pathlib import Path

import numpy as np

ALIGNMENT = 64
UINT32, STRING = 4, 8
KINDS = {0: np.dtype("<f4"), 1: np.dtype("<f2")}


def packed(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def padding(n):
    return -n % ALIGNMENT


def write_gguf(path, strings, tensors):
    """strings {key: text}, tensors {name: f16 or f32 array}."""
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(strings) + 1)]
    head += [packed("general.alignment"), struct.pack("<II", UINT32, ALIGNMENT)]
    for key, value in strings.items():
        head += [packed(key), struct.pack("<I", STRING), packed(value)]
    data, offset = [], 0
    for name, tensor in tensors.items():
        kind = next(k for k, dtype in KINDS.items() if dtype == tensor.dtype)
        shape = tensor.shape[::-1]
        head += [packed(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)]
        data += [tensor.tobytes(), bytes(padding(tensor.nbytes))]
        offset += tensor.nbytes + padding(tensor.nbytes)
    header = b"".join(head)
    Path(path).write_bytes(header + bytes(padding(len(header))) + b"".join(data))


def read_gguf(path):
    """(strings, tensors as f32) of a file that write_gguf wrote."""
    data, at = Path(path).read_bytes(), 24
    if data[:4] != b"GGUF":
        raise ValueError(f"{path} is no GGUF file")
    n_tensors, n_values = struct.unpack_from("<QQ", data, 8)

    def take(layout):
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    def take_text():
        (n,) = take("Q")
        return take(f"{n}s")[0].decode()

    strings, directory = {}, []
    for _ in range(n_values):
        key, (kind,) = take_text(), take("I")
        if kind == STRING:
            strings[key] = take_text()
        else:
            take("I")
    for _ in range(n_tensors):
        name, (n_dims,) = take_text(), take("I")
        shape, (kind, offset) = take(f"{n_dims}Q")[::-1], take("IQ")
        directory.append((name, shape, KINDS[kind], offset))
    base = at + padding(at)
    tensors = {
        name: np.frombuffer(data, dtype, int(np.prod(shape)), base + offset).reshape(shape).astype(np.float32)
        for name, shape, dtype, offset in directory
    }
    return strings, tensors
