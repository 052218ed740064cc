#!/usr/bin/env python3
"""A model says the same from one GGUF file as from its directory.

    run_packed.py LOOKSAY MODEL_DIR [--photos DIR]

`looksay convert` to f32 must give the very same tokens and log-probabilities, `looksay quantize` to each precision those of the
directory opened with --dtype so, whose layers are made from the same weights; f16 must open and speak. Needs nothing beyond the standard
library.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

TIMINGS = {"model", "ms", "timings"}


def run(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, encoding="utf-8", timeout=300)
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {' '.join(map(str, words))}\n{done.stderr.strip()}")
    return done.stdout


def captions(looksay, model, photos, *options):
    """What the model says, without what depends on the day."""
    text = run(looksay, "caption", "--model", model, "--format", "jsonl", "--details", "--beams", 2, "--max-tokens", 8,
               *options, *photos)
    return [{k: v for k, v in json.loads(line).items() if k not in TIMINGS} for line in text.splitlines()]


def check(what, got, want):
    if not want or got != want:
        sys.exit(f"FAIL {what}\n  want {json.dumps(want)}\n  got  {json.dumps(got)}")
    print(f"ok   {what}: {len(got)} captions")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looksay", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, default=Path(__file__).resolve().parent / "photos")
    options = parser.parse_args()
    photos = sorted(options.photos.glob("*.*"))[:4]
    with tempfile.TemporaryDirectory(prefix="looksay-packed-") as folder:
        f32, f16, packed = (Path(folder) / name for name in ("f32.gguf", "f16.gguf", "packed.gguf"))
        run(options.looksay, "convert", options.model, "-o", f32)
        run(options.looksay, "convert", options.model, "-o", f16, "--to", "f16")
        plain = captions(options.looksay, options.model, photos)
        check("f32", captions(options.looksay, f32, photos), plain)
        check("f16", [sorted(row) for row in captions(options.looksay, f16, photos)], [sorted(row) for row in plain])
        for dtype in ("int8", "bf16", "int4"):
            said = run(options.looksay, "quantize", options.model, "-o", packed, "--to", dtype)
            if " MiB -> " not in said or "packed layers" not in said:
                sys.exit(f"FAIL quantize prints no sizes: {said}")
            low = captions(options.looksay, options.model, photos, "--dtype", dtype)
            check(dtype, captions(options.looksay, packed, photos), low)
            check(f"{dtype} from f32.gguf", captions(options.looksay, f32, photos, "--dtype", dtype), low)
            if low == plain:
                sys.exit(f"FAIL {dtype} gives the very numbers of f32: nothing was packed")


if __name__ == "__main__":
    main()
