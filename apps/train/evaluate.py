"""Captions of validation photos by beam search, scored by tests/quality/score.py."""
import json
import subprocess
import sys
from pathlib import Path

import torch

from model import END

SCORER = Path(__file__).resolve().parents[2] / "tests" / "quality" / "score.py"
BATCH, BEAMS, LONGEST = 50, 3, 30


def words_of(tokenizer, ids):
    return tokenizer.decode(ids).strip()


def caption(net, writer, load, rows, language="en"):
    """[caption of each row]; load(rows) gives the trunk's maps."""
    net.eval()
    captions = []
    for at in range(0, len(rows), BATCH):
        with torch.inference_mode():
            memory = net.memory(load(rows[at : at + BATCH]))
        ids = net.beam(memory, BEAMS, LONGEST, (END, writer.named[language]))
        captions += [words_of(writer.tokenizer, i) for i in ids]
    return captions


def score(net, writer, maps, photos, rows, out, language="en"):
    """Writes the captions to `out` (JSON lines) and returns their scores."""
    with open(out, "w", encoding="utf-8") as lines:
        for row, text in zip(rows, caption(net, writer, maps.photos, rows, language)):
            lines.write(json.dumps({"image": photos.names[row], "caption": text}) + "\n")
    command = [sys.executable, str(SCORER), str(out), str(photos.captions_file), "--references", language]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def share_named(net, writer, maps, pictures, rows):
    """Of labelled pictures: how many captions hold the label, word for word."""
    captions = caption(net, writer, maps.labelled, rows)
    return sum(f" {pictures.nouns[row]} " in f" {text} " for row, text in zip(rows, captions)) / len(rows)


def evaluate(net, writer, maps, photos, pictures, rows, out):
    """CIDEr and BLEU-4 of each language, and the share of labelled pictures set aside that are named."""
    scores = {code: score(net, writer, maps, photos, rows, out.with_suffix(f".{code}.jsonl"), code) for code in writer.languages}
    return {**scores, "named": share_named(net, writer, maps, pictures, pictures.aside)}
