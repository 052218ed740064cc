"""The training data: a folder with flickr8k/captions.jsonl (one photo a line: image, split, five captions in "en" and, of most
photos, five in "de" and one each in "fr" and "cs"), flickr8k/images/; multi30k/captions.jsonl.gz (text about other photos: image_id,
split, "pair" = one caption in four languages, "en" and "de" = five more each); and labelled/labels.jsonl (one picture a line:
image, label) with its pictures."""
import gzip
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch

MIRRORED, CROPPED = 1, 2  # of a view of a photo: one, both or neither
VIEWS = ("maps", "maps_mirrored", "maps_cropped", "maps_cropped_mirrored")
FILES = (*VIEWS, "maps_labelled")
FOREIGN = ("de", "fr", "cs")


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
        self.foreign = [{code: row[code] for code in FOREIGN if row.get(code)} for row in rows]
        self.train = [i for i, row in enumerate(rows) if row["split"] == "train"]
        self.val = [i for i, row in enumerate(rows) if row["split"] == "val"]

    def said(self, row):
        """{language: captions} of a photo, without empty lists."""
        return {"en": self.captions[row], **self.foreign[row]}

    def path(self, row):
        return self.root / "images" / self.names[row]


class Multi30k:
    """Text about photos of Flickr30k: `train` and `val` hold its rows. What is said of a validation photo of Flickr8k is left out
    of `train`; `pair_of` finds the row of a training photo of Flickr8k."""

    def __init__(self, data_dir, photos):
        with gzip.open(Path(data_dir) / "multi30k" / "captions.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        number = {photos.names[row].split("_")[0]: row for row in photos.train + photos.val}
        held, trained = set(photos.val), set(photos.train)
        photo = [number.get(row["image_id"]) for row in rows]
        self.val = [row for row in rows if row["split"] == "val"]
        self.train = [row for row, at in zip(rows, photo) if row["split"] == "train" and at not in held]
        self.pair_of = {at: row["pair"] for row, at in zip(rows, photo) if row["split"] == "train" and at in trained}


def with_article(noun):
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


LABELS = Path(__file__).with_name("labels.tsv")  # a label a line, and what one says of such a picture in FOREIGN


class Labelled:
    """Pictures with a label and no caption. `train` and `aside` hold row numbers: every tenth picture of a class is kept to
    measure with. A label becomes the caption "a LABEL", or what labels.tsv has; breeds, which ImageNet names alone, with the animal."""

    BREEDS = {"dog": ("n02085620", "n02113978"), "cat": ("n02123045", "n02124075")}  # WordNet numbers

    def __init__(self, data_dir):
        self.root = Path(data_dir) / "labelled"
        with open(self.root / "labels.jsonl", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        self.names = [row["image"] for row in rows]
        self.nouns = [self.noun(row["image"], row["label"]) for row in rows]
        with open(LABELS, encoding="utf-8") as lines:
            fields = [line.rstrip("\n").split("\t") for line in lines]
        self.foreign = {label: dict(zip(FOREIGN, names)) for label, *names in fields}
        self.train, self.aside, seen = [], [], Counter()
        for i, noun in enumerate(self.nouns):
            seen[noun] += 1
            (self.train if seen[noun] % 10 else self.aside).append(i)

    def noun(self, image, label):
        label = normalise(label)
        for animal, (first, last) in self.BREEDS.items():
            if first <= Path(image).name[:9] <= last and animal not in label.split():
                return f"{label} {animal}"
        return label

    def concepts(self):
        """The names of ImageNet's 1,000 classes, in the order of classifiers: one picture of each, sorted by WordNet number."""
        return [noun for name, noun in zip(self.names, self.nouns) if name.startswith("imagenet1k/")]

    def path(self, row):
        return self.root / self.names[row]

    def caption(self, noun, language):
        return with_article(noun) if language == "en" else self.foreign[noun][language]


class Maps:
    """What features.py cached: the trunk's maps [picture, 120, 18, 18], f16 on disk; Flickr8k's in four views."""

    def __init__(self, work_dir):
        *self.views, self.labelled_maps = (np.load(Path(work_dir) / f"{name}.npy", mmap_mode="r") for name in FILES)

    def photos(self, rows, views=None):
        """[len(rows), 120, 18, 18] f32, on the default device; `views` of these photos, or None: as they are."""
        return self.floats([self.views[view][i] for i, view in zip(rows, views or [0] * len(rows))])

    def random_views(self, rows, dice):
        return [dice.randrange(len(self.views)) for _ in rows]

    def labelled(self, rows):
        return self.floats([self.labelled_maps[i] for i in rows])

    @staticmethod
    def floats(arrays):
        return torch.from_numpy(np.stack(arrays)).to(torch.get_default_device()).float()
