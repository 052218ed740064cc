#!/usr/bin/env python3
"""Write tests/weights/data: small weight files made by the libraries that define the formats.

    pip install torch safetensors gguf numpy
    python tests/weights/make_fixtures.py

Every tensor counts upwards from its own first value, so that the tests know what to expect.
"""
import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

DATA = Path(__file__).resolve().parent / "data"


def counting(first, *shape, dtype=torch.float32):
    n = int(np.prod(shape, dtype=np.int64))
    return (torch.arange(n, dtype=torch.float32) + first).reshape(shape).to(dtype)


def safetensors_files():
    types = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f64": torch.float64, "i8": torch.int8,
             "u8": torch.uint8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64}
    tensors = {f"type.{name}": counting(1, 2, 3, dtype=dtype) for name, dtype in types.items()}
    tensors["type.bool"] = torch.tensor([False, True, True])
    tensors["scalar"] = torch.tensor(7.5)
    tensors["empty"] = torch.zeros(0, 3)
    tensors["four"] = counting(0, 2, 1, 3, 2)
    save_file(tensors, DATA / "types.safetensors", metadata={"format": "pt"})
    save_file({"nan": torch.tensor([[0.0, 1.0], [float("nan"), 3.0]]), "inf": torch.tensor([1, float("-inf")]).half(),
               "fine": torch.tensor([3e38, -3e38])}, DATA / "nan.safetensors")
    save_file({"f8": torch.zeros(3, dtype=torch.float8_e4m3fn)}, DATA / "f8.safetensors")
    save_file({"deep": torch.zeros(1, 1, 1, 1, 2)}, DATA / "five-dims.safetensors")

    folder = DATA / "shards"
    folder.mkdir()
    parts = [{"a.weight": counting(10, 2, 2), "c.weight": counting(30, 3)}, {"b.weight": counting(20, 4)}]
    weight_map = {}
    for i, part in enumerate(parts):
        name = f"model-0000{i + 1}-of-00002.safetensors"
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map.update({key: name for key in part})
    index = {"metadata": {"total_size": 44}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


class Command:
    """A pickle of this runs a command when it is loaded by anything careless."""

    def __reduce__(self):
        return os.system, ("touch looksay-was-tricked",)


def torch_files():
    base = counting(0, 3, 4)
    state = {"whole": base, "transposed": base.T, "column": base[:, 1], "corner": base[1:, 2:],
             "half": counting(1, 5, dtype=torch.float16), "brain": counting(2, 5, dtype=torch.bfloat16),
             "double": counting(3, 2, dtype=torch.float64), "long": counting(4, 3, dtype=torch.int64),
             "int": counting(5, 3, dtype=torch.int32), "short": counting(5, 3, dtype=torch.int16),
             "char": counting(-1, 3, dtype=torch.int8), "byte": counting(250, 3, dtype=torch.uint8),
             "flags": torch.tensor([True, False]), "scalar": torch.tensor(7.5), "empty": torch.zeros(0, 3),
             "ids": torch.arange(4).expand(1, -1), "parameter": torch.nn.Parameter(counting(6, 2)), "tied": base}
    torch.save(state, DATA / "views.bin")
    layer = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        layer[0].weight.copy_(counting(1, 2, 2))
    for protocol in (3, 4, 5):
        torch.save(layer.state_dict(), DATA / f"protocol{protocol}.bin", pickle_protocol=protocol)
    torch.save({"epoch": 3, "rate": 0.1, "state_dict": layer.state_dict(), "history": [1, (2, "x"), None]},
               DATA / "checkpoint.bin")
    torch.save({"model": layer.state_dict()}, DATA / "model-key.bin")

    torch.save(layer.state_dict(), DATA / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(layer, DATA / "module.bin")
    torch.save({"a": torch.zeros(2), "b": Command()}, DATA / "command.bin")
    torch.save({"deep": torch.zeros(1, 1, 1, 1, 2)}, DATA / "five-dims.bin")
    torch.save({"wide": torch.zeros(1).expand(1 << 40)}, DATA / "repeated.bin")
    torch.save([torch.zeros(2)], DATA / "list.bin")
    torch.save({"epoch": 3}, DATA / "no-tensors.bin")
    with zipfile.ZipFile(DATA / "protocol4.bin") as source, \
            zipfile.ZipFile(DATA / "compressed.bin", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))

    folder = DATA / "bin-shards"
    folder.mkdir()
    parts = [{"a.weight": counting(10, 2, 2)}, {"b.weight": counting(20, 4)}]
    names = [f"pytorch_model-0000{i + 1}-of-00002.bin" for i in range(2)]
    for name, part in zip(names, parts):
        torch.save(part, folder / name)
    index = {"metadata": {"total_size": 32}, "weight_map": {"a.weight": names[0], "b.weight": names[1]}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")


def gguf_files():
    writer = gguf.GGUFWriter(DATA / "values.gguf", "looksay")
    writer.add_string("looksay.note", "zwei Hunde \N{DOG FACE}")
    writer.add_uint32("looksay.count", 3)
    writer.add_bool("looksay.flag", True)
    writer.add_float64("looksay.rate", 0.5)
    writer.add_array("looksay.sizes", [1, 2, 3])
    writer.add_array("looksay.words", ["a", "dog", ""])
    for name, dtype in (("f32", np.float32), ("f16", np.float16), ("f64", np.float64), ("i8", np.int8), ("i16", np.int16),
                        ("i32", np.int32), ("i64", np.int64)):
        writer.add_tensor(f"type.{name}", (np.arange(6) + 1).reshape(2, 3).astype(dtype))
    brain = counting(1, 2, 4, dtype=torch.bfloat16)
    writer.add_tensor("type.bf16", brain.view(torch.uint8).numpy(), raw_shape=(2, 8),
                      raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.add_tensor("four", np.arange(12, dtype=np.float32).reshape(2, 1, 3, 2))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    writer = gguf.GGUFWriter(DATA / "aligned.gguf", "looksay")
    writer.add_custom_alignment(128)
    writer.add_tensor("a", np.arange(3, dtype=np.float32))
    writer.add_tensor("b", np.arange(3, 6, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    writer = gguf.GGUFWriter(DATA / "quantised.gguf", "looksay")
    writer.add_tensor("packed", np.zeros((1, 34), dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    torch.manual_seed(0)
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir()
    safetensors_files()
    torch_files()
    gguf_files()
    for path in DATA.rglob("*"):
        path.chmod(0o644 if path.is_file() else 0o755)
    return 0


if __name__ == "__main__":
    sys.exit(main())
