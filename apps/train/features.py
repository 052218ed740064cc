"""Caches EfficientNet-Lite2's features of every photo, as it is and mirrored: features.npy, features_mirrored.npy in OUT_DIR.

    python features.py DATA_DIR OUT_DIR

The stem is never trained, so one pass serves all training. Rows already cached are kept when it is started again."""
import argparse
import time
from pathlib import Path

import numpy as np
import torch

from data import Photos
from model import FEATURE_CHANNELS, N_PATCHES, load_stem, photo_pixels, stem_features

BATCH = 4


def cache(stem, photos, path, mirror):
    shape = (len(photos.names), N_PATCHES, FEATURE_CHANNELS)
    part, progress = path.with_suffix(".part.npy"), path.with_suffix(".rows")
    if path.exists():
        return
    resumed = part.exists() and progress.exists()
    out = np.lib.format.open_memmap(part, "r+" if resumed else "w+", np.float16, shape)
    begin = int(progress.read_text()) if resumed else 0
    started = time.time()
    for row in range(begin, len(photos.names), BATCH):
        pixels = torch.stack([photo_pixels(photos.path(i)) for i in range(row, min(row + BATCH, len(photos.names)))])
        out[row : row + BATCH] = stem_features(stem, pixels.flip(3) if mirror else pixels).numpy()
        if row // BATCH % 100 == 99:
            out.flush()
            progress.write_text(str(row + BATCH))
            print(f"{path.name}: {row + BATCH} of {len(photos.names)} photos, {time.time() - started:.0f} s", flush=True)
    out.flush()
    part.rename(path)
    progress.unlink(missing_ok=True)


@torch.inference_mode()
def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    given = options.parse_args()
    given.out_dir.mkdir(parents=True, exist_ok=True)
    photos = Photos(given.data_dir)
    stem = load_stem().to(memory_format=torch.channels_last)
    cache(stem, photos, given.out_dir / "features.npy", mirror=False)
    cache(stem, photos, given.out_dir / "features_mirrored.npy", mirror=True)


if __name__ == "__main__":
    main()
