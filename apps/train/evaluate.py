"""Captions of validation photos by beam search, scored by tests/quality/score.py."""
import json
import subprocess
import sys
from pathlib import Path

import torch

SCORER = Path(__file__).resolve().parents[2] / "tests" / "quality" / "score.py"
BATCH, BEAMS = 50, 3


def words_of(tokenizer, ids):
    return tokenizer.decode(ids).strip()


def caption(net, tokenizer, load, rows):
    """[caption of each row]; load(rows) gives the trunk's maps."""
    net.eval()
    captions = []
    for at in range(0, len(rows), BATCH):
        with torch.inference_mode():
            memory = net.memory(load(rows[at : at + BATCH]))
        captions += [words_of(tokenizer, ids) for ids in net.beam(memory, BEAMS)]
    return captions


def evaluate(net, tokenizer, maps, photos, rows, out):
    """Writes the captions to `out` (JSON lines) and returns their scores."""
    with open(out, "w", encoding="utf-8") as lines:
        for row, text in zip(rows, caption(net, tokenizer, maps.photos, rows)):
            lines.write(json.dumps({"image": photos.names[row], "caption": text}) + "\n")
    command = [sys.executable, str(SCORER), str(out), str(photos.captions_file), "--references", "en"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def share_named(net, tokenizer, maps, pictures, rows):
    """Of labelled pictures: how many captions hold the label, word for word."""
    captions = caption(net, tokenizer, maps.labelled, rows)
    return sum(f" {pictures.nouns[row]} " in f" {text} " for row, text in zip(rows, captions)) / len(rows)
