"""Caches what the trunk of EfficientNet-Lite2 makes of every picture: maps.npy, maps_mirrored.npy, maps_cropped.npy,
maps_cropped_mirrored.npy (Flickr8k, as it is, in a mirror, and a random part of each of both) and maps_labelled.npy in OUT_DIR.

    python features.py DATA_DIR OUT_DIR [--only NAME]

The trunk rests in training from maps, so one pass serves it all; OpenVINO runs it five times as fast as torch, on one core for each
process. Rows already cached are kept when it is started again."""
import argparse
import random
import time
from pathlib import Path

import numpy as np
import openvino
import torch

from data import CROPPED, FILES, MIRRORED, VIEWS, Labelled, Photos
from model import IMAGE_SIZE, TRUNK_SHAPE, Trunk, load_stem, photo_pixels
from pixels import random_part

BATCH = 4


def compiled_trunk():
    """pixels [n, 3, 288, 288] -> maps, both numpy."""
    shape = [-1, 3, IMAGE_SIZE, IMAGE_SIZE]
    model = openvino.convert_model(Trunk(load_stem()).eval(), example_input=torch.zeros(BATCH, *shape[1:]), input=shape)
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32",
               "ENABLE_CPU_PINNING": False}  # or several processes would share one core
    run = openvino.compile_model(model, "CPU", options)
    return lambda pixels: run([pixels])[0]


def view_of(pictures, row, view):
    """Pixels [3, 288, 288]."""
    part = random_part(random.Random(row * len(VIEWS) + view)) if view & CROPPED else (0, 0, 1, 1)
    pixels = photo_pixels(pictures.path(row), part)
    return pixels.flip(2) if view & MIRRORED else pixels


def cache(run, pictures, path, view):
    part, progress = path.with_suffix(".part.npy"), path.with_suffix(".rows")
    if path.exists():
        return
    resumed = part.exists() and progress.exists()
    out = np.lib.format.open_memmap(part, "r+" if resumed else "w+", np.float16, (len(pictures.names), *TRUNK_SHAPE))
    begin = int(progress.read_text()) if resumed else 0
    started = time.time()
    for row in range(begin, len(pictures.names), BATCH):
        rows = range(row, min(row + BATCH, len(pictures.names)))
        out[row : row + BATCH] = run(torch.stack([view_of(pictures, i, view) for i in rows]).numpy())
        if row // BATCH % 100 == 99:
            out.flush()
            progress.write_text(str(row + BATCH))
            print(f"{path.name}: {row + BATCH} of {len(pictures.names)}, {time.time() - started:.0f} s", flush=True)
    out.flush()
    part.rename(path)
    progress.unlink(missing_ok=True)


@torch.inference_mode()
def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--only", choices=FILES, help="one of them, so that several can be made at once")
    given = options.parse_args()
    given.out_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    run = compiled_trunk()
    for name in [given.only] if given.only else FILES:
        pictures = (Photos if name in VIEWS else Labelled)(given.data_dir)
        cache(run, pictures, given.out_dir / f"{name}.npy", VIEWS.index(name) if name in VIEWS else 0)


if __name__ == "__main__":
    main()
