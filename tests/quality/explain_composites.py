#!/usr/bin/env python3
"""Does `looksay explain` point at the right place? Two photos side by side; a noun that people used for only one of them must have
most of its map's mass on that half.

    explain_composites.py LOOKSAY CAPTIONS.jsonl PHOTOS [--pairs 75] [--split val] [--references en] [-- EXPLAIN-OPTION...]

CAPTIONS.jsonl holds one object per photo: "image", "split", and the human captions under the references' key. Photos are drawn
with a fixed seed; each is cut to its middle square; every pair is shown both ways round, so that a map which does not depend on
the picture is right exactly half the time. A noun counts when people said it of one photo and never of the other. Needs
Pillow.

Prints one JSON object: composites shown, composites whose caption names something, nouns, the share of nouns with more than half of
their mass on the right half ("right", with its standard error; chance is 0.5), the mean mass there, the same for the plain mean of the
attention weights over layers, and the probability of so many by chance.
"""
import argparse
import json
import math
import random
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NOUNS = set("""man men woman women boy boys girl girls child children baby people person guy lady kid kids dog dogs puppy horse
horses bird cat ball bike bicycle motorcycle snow snowboard skis skateboard skateboarder skier water ocean beach sand lake river
pool grass field tree trees rock rocks mountain cliff street road building car truck boat shirt jacket dress hat helmet swing
slide bench wall fence stairs soccer football basketball tennis racket camera guitar microphone table crowd wave surfboard surfer
player team swimmer climber biker cyclist runner rider rope stick toy bubbles leaves log bridge sign door window couch bed floor
sidewalk tent flag kayak canoe raft frisbee hill forest woods park playground track ramp hoop trampoline""".split())
SIDE = 256


def mentions(row, key):
    """noun -> in how many captions of the photo it stands."""
    counts = {}
    for caption in row[key]:
        for word in set(re.findall(r"[a-z]+", caption.lower())) & NOUNS:
            counts[word] = counts.get(word, 0) + 1
    return counts


def choose_pairs(rows, key, n, seed):
    """Pairs of photos each with a noun that three people said of it and nobody of the other."""
    dice, said = random.Random(seed), [mentions(row, key) for row in rows]
    pairs = []
    for _ in range(100 * n):
        if len(pairs) == n:
            return pairs
        a, b = dice.sample(range(len(rows)), 2)
        if all(any(said[x][w] >= 3 and w not in said[y] for w in said[x]) for x, y in ((a, b), (b, a))):
            pairs.append((rows[a]["image"], set(said[a]) - set(said[b]), rows[b]["image"], set(said[b]) - set(said[a])))
    sys.exit(f"only {len(pairs)} pairs could be formed")


def half(path):
    from PIL import Image

    with Image.open(path) as photo:
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        return photo.convert("RGB").crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.BICUBIC)


def share_left(values, grid):
    """The part of the mass in the left half of the grid; a column in the middle counts half."""
    rows, columns = grid
    left = sum(values[r * columns + c] * min(max(columns / 2 - c, 0), 1) for r in range(rows) for c in range(columns))
    return left / sum(values)


def attention(explained, word):
    """The word's attention weights, averaged over its tokens and all layers."""
    tokens = explained["tokens"][word["first_token"]:word["first_token"] + word["n_tokens"]]
    layers = [layer for token in tokens for layer in token["layers"]]
    return [sum(column) for column in zip(*layers)]


def judge(explained, left_nouns, right_nouns):
    """[(noun, mass of its map on its own half, the same of plain attention)]"""
    found = []
    for word in explained["words"]:
        noun = word["word"].lower()
        if noun in left_nouns or noun in right_nouns:
            own = [share_left(values, explained["grid"]) for values in (word["map"], attention(explained, word))]
            found.append((noun, *(s if noun in left_nouns else 1 - s for s in own)))
    return found


def tail(n, k):
    """P(at least k of n) for a fair coin."""
    return sum(math.comb(n, i) for i in range(k, n + 1)) / 2 ** n


def main():
    arguments = sys.argv[1:]
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("looksay")
    parser.add_argument("captions")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pairs", type=int, default=75)
    parser.add_argument("--split", default="val")
    parser.add_argument("--references", default="captions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args(arguments[:cut])
    from PIL import Image

    with open(given.captions, encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if given.split in ("", row.get("split"))]
    pairs = choose_pairs(rows, given.references, given.pairs, given.seed)

    with tempfile.TemporaryDirectory() as folder:
        def explain(job):
            number, (left, left_nouns, right, right_nouns) = job
            canvas, path = Image.new("RGB", (2 * SIDE, SIDE)), Path(folder) / f"{number}.png"
            canvas.paste(half(given.photos / left), (0, 0))
            canvas.paste(half(given.photos / right), (SIDE, 0))
            canvas.save(path)
            subprocess.run([given.looksay, "explain", "--threads", "1", *arguments[cut + 1:], path, "-o", f"{path}.json"],
                                 check=True)
            return judge(json.loads(Path(f"{path}.json").read_text(encoding="utf-8")), left_nouns, right_nouns)

        shown = [way for a, an, b, bn in pairs for way in ((a, an, b, bn), (b, bn, a, an))]
        with ThreadPoolExecutor(given.jobs) as pool:
            found = list(pool.map(explain, enumerate(shown)))
    nouns = [noun for one in found for noun in one]
    if not nouns:
        sys.exit("the captions name nothing that people named")
    n, right = len(nouns), sum(mass > 0.5 for _, mass, _ in nouns)
    share = right / n
    print(json.dumps({
        "composites": len(shown), "composites_with_nouns": sum(map(bool, found)), "nouns": n, "right": round(share, 4),
        "standard_error": round(math.sqrt(share * (1 - share) / n), 4),
        "mass": round(sum(mass for _, mass, _ in nouns) / n, 4),
        "attention_right": round(sum(mass > 0.5 for _, _, mass in nouns) / n, 4),
        "attention_mass": round(sum(mass for _, _, mass in nouns) / n, 4), "by_chance": tail(n, right)}))


if __name__ == "__main__":
    main()
