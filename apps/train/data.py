"""The training data: a folder with flickr8k/captions.jsonl (one photo a line: image, split, five captions in "en"),
flickr8k/images/, and, for the vocabulary only, multi30k/captions.jsonl.gz where there is one."""
import gzip
import json
import re
from pathlib import Path

import numpy as np

CAPTIONS_PER_PHOTO = 5


def normalise(caption):
    """Lower case, words and numbers only; captions are learnt, and rewarded, in this form."""
    return " ".join(re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", caption.lower()))


class Photos:
    """Rows in file order; `train` and `val` hold row numbers, the same ones that index cached features."""

    def __init__(self, data_dir):
        self.root = Path(data_dir) / "flickr8k"
        self.captions_file = self.root / "captions.jsonl"
        with open(self.captions_file, encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        self.names = [row["image"] for row in rows]
        self.captions = [row["en"] for row in rows]
        self.train = [i for i, row in enumerate(rows) if row["split"] == "train"]
        self.val = [i for i, row in enumerate(rows) if row["split"] == "val"]

    def path(self, row):
        return self.root / "images" / self.names[row]


def extra_captions(data_dir):
    """English captions of other photos."""
    path = Path(data_dir) / "multi30k" / "captions.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [caption for line in lines for caption in json.loads(line).get("en", [])]


class Features:
    """Cached image features, [photo, 64, 1280] f16 on disk, as they are and of the mirrored photos."""

    def __init__(self, work_dir):
        self.plain = np.load(Path(work_dir) / "features.npy", mmap_mode="r")
        self.mirrored = np.load(Path(work_dir) / "features_mirrored.npy", mmap_mode="r")

    def batch(self, rows, mirror=None):
        """[len(rows), 64, 1280] f32; `mirror` says which photos are seen in a mirror."""
        mirror = mirror or [False] * len(rows)
        return np.stack([(self.mirrored if m else self.plain)[i] for i, m in zip(rows, mirror)]).astype(np.float32)
