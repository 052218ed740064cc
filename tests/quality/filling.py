#!/usr/bin/env python3
"""Whether the picture helps `looksay fill`: how often a masked content word is found with the right photo, another photo and none.

    filling.py LOOKSAY DATA/flickr8k/captions.jsonl DATA/flickr8k/images [--model M] [--split val] [--limit 500]

Of each photo of the split its first English caption, with one content word masked: a word of letters that is not among the 60
commonest of all captions. The other photo is the next one. Found is what comes first and is the word, letter for letter."""
import argparse
import json
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

N_FUNCTION_WORDS = 60


def words_of(caption):
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", caption.lower())


def masked(caption, common, dice):
    """(text with a gap, its word), or None."""
    words = words_of(caption)
    content = [i for i, word in enumerate(words) if word.isalpha() and word not in common]
    if not content:
        return None
    at = dice.choice(content)
    return " ".join("[MASK]" if i == at else word for i, word in enumerate(words)), words[at]


def filled(looksay, model, photo, text):
    """The likeliest word for the gap."""
    command = [looksay, "fill", "--n-best", "1", "--format", "jsonl", "--quiet"] + (["--model", model] if model else [])
    done = subprocess.run([*command, *([photo] if photo else []), text], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)["fillings"][0]["words"][0]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("looksay", "captions", "images"):
        options.add_argument(name)
    options.add_argument("--model")
    options.add_argument("--split", default="val")
    options.add_argument("--limit", type=int, default=500)
    given = options.parse_args()
    with open(given.captions, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    counts = Counter(word for row in rows for caption in row["en"] for word in words_of(caption))
    common, dice = {word for word, _ in counts.most_common(N_FUNCTION_WORDS)}, random.Random(0)
    rows = [row for row in rows if row["split"] == given.split][: given.limit]
    photos = [str(Path(given.images) / row["image"]) for row in rows]
    found, n = Counter(), 0
    for i, row in enumerate(rows):
        gap = masked(row["en"][0], common, dice)
        if not gap:
            continue
        n += 1
        for name, photo in (("right", photos[i]), ("other", photos[(i + 1) % len(rows)]), ("none", None)):
            found[name] += filled(given.looksay, given.model, photo, gap[0]) == gap[1]
    print(json.dumps({"n": n, **{name: round(found[name] / n, 4) for name in ("right", "other", "none")}}))


if __name__ == "__main__":
    main()
