#!/usr/bin/env python3
"""Fill tests/fuzz/corpus with seeds: the weight files of tests/weights/data and the pickles within them, and the small
tokenizers of tests/text/fixtures.

    python tests/fuzz/make_seeds.py

Inputs that a fuzzer found stand beside them under the name of what they broke, and stay.
"""
import shutil
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "weights" / "data"
TOKENIZERS = HERE.parent / "text" / "fixtures"
LARGEST_SEED = 13_000
FORMATS = {"safetensors": "*.safetensors", "gguf": "*.gguf", "torch": "*.bin"}


def main():
    for name in (*FORMATS, "pickle"):
        (HERE / "corpus" / name).mkdir(parents=True, exist_ok=True)
    for name, pattern in FORMATS.items():
        for path in sorted(DATA.glob(pattern)):
            shutil.copyfile(path, HERE / "corpus" / name / f"seed-{path.stem}")
    for path in sorted(DATA.glob("*.bin")):
        if not zipfile.is_zipfile(path):
            continue
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith("/data.pkl"):
                    (HERE / "corpus" / "pickle" / f"seed-{path.stem}").write_bytes(archive.read(entry))
    tokenizers = HERE / "corpus" / "tokenizer"
    tokenizers.mkdir(parents=True, exist_ok=True)
    for path in sorted(TOKENIZERS.rglob("*")):
        if path.suffix in (".json", ".model") and "config" not in path.name and path.stat().st_size < LARGEST_SEED:
            shutil.copyfile(path, tokenizers / f"seed-{path.relative_to(TOKENIZERS).as_posix().replace('/', '-')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
