"""Caches what the trunk of EfficientNet-Lite2 makes of every picture: maps.npy, maps_mirrored.npy (Flickr8k, as it is and
in a mirror) and maps_labelled.npy in OUT_DIR.

    python features.py DATA_DIR OUT_DIR [--only NAME]

The trunk is never trained, so one pass serves all training; OpenVINO runs it five times as fast as torch, on one core for each
process. Rows already cached are kept when it is started again."""
import argparse
import time
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import nn

from data import FILES, Labelled, Photos
from model import IMAGE_SIZE, TRUNK_SHAPE, load_stem, photo_pixels, trunk

BATCH = 4


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = load_stem()

    def forward(self, pixels):
        return trunk(self.stem, pixels)


def compiled_trunk():
    """pixels [n, 3, 288, 288] -> maps, both numpy."""
    shape = [-1, 3, IMAGE_SIZE, IMAGE_SIZE]
    model = openvino.convert_model(Trunk().eval(), example_input=torch.zeros(BATCH, *shape[1:]), input=shape)
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32",
               "ENABLE_CPU_PINNING": False}  # or several processes would share one core
    run = openvino.compile_model(model, "CPU", options)
    return lambda pixels: run([pixels])[0]


def cache(run, pictures, path, mirror):
    part, progress = path.with_suffix(".part.npy"), path.with_suffix(".rows")
    if path.exists():
        return
    resumed = part.exists() and progress.exists()
    out = np.lib.format.open_memmap(part, "r+" if resumed else "w+", np.float16, (len(pictures.names), *TRUNK_SHAPE))
    begin = int(progress.read_text()) if resumed else 0
    started = time.time()
    for row in range(begin, len(pictures.names), BATCH):
        rows = range(row, min(row + BATCH, len(pictures.names)))
        pixels = torch.stack([photo_pixels(pictures.path(i)) for i in rows])
        out[row : row + BATCH] = run((pixels.flip(3) if mirror else pixels).numpy())
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
    options.add_argument("--only", choices=FILES, help="one of the three, so that several can be made at once")
    given = options.parse_args()
    given.out_dir.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    run = compiled_trunk()
    for name in [given.only] if given.only else FILES:
        pictures = (Labelled if name == "maps_labelled" else Photos)(given.data_dir)
        cache(run, pictures, given.out_dir / f"{name}.npy", mirror=name == "maps_mirrored")


if __name__ == "__main__":
    main()
