"""GGUF v3 files with string values and f16 or f32 tensors: magic, version, counts, key/values, tensor directory (dimensions
innermost first), aligned data."""
import os
import struct
from pathlib import Path

import numpy as np

ALIGNMENT = 64
UINT32, STRING, ARRAY = 4, 8, 9
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of the other types
KINDS = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 24: np.dtype("i1"), 26: np.dtype("<i4"), 30: np.dtype("<u2")}
STORED, BF16 = (0, 1), 30  # what write_gguf writes
PANEL = 64  # output channels of a packed layer that stand together


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
        kind = next(k for k in STORED if KINDS[k] == tensor.dtype)
        shape = tensor.shape[::-1]
        head += [packed(name), struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)]
        data += [tensor.tobytes(), bytes(padding(tensor.nbytes))]
        offset += tensor.nbytes + padding(tensor.nbytes)
    header = b"".join(head)
    Path(path).write_bytes(header + bytes(padding(len(header))) + b"".join(data))


def read_gguf(path):
    """(strings, tensors as f32) of a file that write_gguf or looksay wrote, int8 layers unpacked."""
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
        directory.append((name, shape, kind, offset))
    base = at + padding(at)
    tensors = {
        name: as_float(np.frombuffer(data, KINDS[kind], int(np.prod(shape)), base + offset).reshape(shape), kind)
        for name, shape, kind, offset in directory
    }
    return strings, unpacked(tensors)


def as_float(array, kind):
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == BF16 else array.astype(np.float32)


def unpacked(tensors):
    """Packed layers NAME.int8, with scale, sum and bias, and NAME.bf16, with bias, become NAME.weight [out, in] and NAME.bias; the rest
    stays."""
    layers = {name: tensor for name, tensor in tensors.items() if ".int8" not in name and ".bf16" not in name}
    for name, panels in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind not in ("int8", "bf16"):
            continue
        rows = panels.transpose(0, 2, 1, 3).reshape(panels.shape[0] * PANEL, -1)
        scale, bias = tensors.get(f"{name}_scale"), tensors.get(f"{name}_bias")
        if bias is not None:
            layers[f"{layer}.bias"] = bias
        layers[f"{layer}.weight"] = rows[: len(bias)] if scale is None else rows[: len(scale)] * scale[:, None]
    return layers


def replace_string(path, out_path, key, change):
    """Copies the file with one string value changed; everything else stays as it is, whatever its type. The new file appears when
    it is complete."""
    data, at, alignment, place = Path(path).read_bytes(), 24, 32, None
    if data[:4] != b"GGUF":
        raise ValueError(f"{path} is no GGUF file")
    n_tensors, n_values = struct.unpack_from("<QQ", data, 8)

    def number(layout):
        nonlocal at
        (value,) = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return value

    def text():
        nonlocal at
        n = number("Q")
        at += n
        return data[at - n : at]

    def skip(kind):
        nonlocal at
        if kind == STRING:
            text()
        elif kind == ARRAY:
            of, n = number("I"), number("Q")
            for _ in range(n):
                skip(of)
        else:
            at += VALUE_BYTES[kind]

    for _ in range(n_values):
        name, kind, begin = text().decode(), number("I"), at
        if name == "general.alignment":
            alignment = struct.unpack_from("<I", data, at)[0]
        skip(kind)
        if name == key and kind == STRING:
            place = begin, at
    for _ in range(n_tensors):
        text()
        n_dims = number("I")
        at += 8 * n_dims + 12  # dimensions, kind, offset
    if not place:
        raise ValueError(f"{path} has no text {key}")
    begin, end = place
    header = data[:begin] + packed(change(data[begin + 8 : end].decode())) + data[end:at]
    part = Path(f"{out_path}.part")
    part.write_bytes(header + bytes(-len(header) % alignment) + data[at + -at % alignment :])
    os.replace(part, out_path)
