"""Scores captions against human ones: CIDEr and BLEU-4 of pycocoevalcap with its PTB tokenizer (needs Java).

    looksay eval captions.jsonl --references en --split val --photos images > out.jsonl
    python score.py out.jsonl
    looksay caption images --format jsonl > out.jsonl
    python score.py out.jsonl captions.jsonl [--references en]

Rows are matched by file name. A row without a caption counts as an empty caption."""
import argparse
import contextlib
import json
import sys
from pathlib import Path


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def read_pair(captions_path, references_path, key):
    """{name: caption}, {name: [references]} of the photos that have both."""
    rows = {Path(row["image"]).name: row for row in read_rows(captions_path)}
    if references_path:
        known = {Path(row["image"]).name: row.get(key) for row in read_rows(references_path)}
    else:
        known = {name: row.get("references") for name, row in rows.items()}
    captions = {name: row.get("caption") or "" for name, row in rows.items() if known.get(name)}
    return captions, {name: known[name] for name in captions}


def score(captions, references):
    """(CIDEr, BLEU-4)."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with contextlib.redirect_stdout(sys.stderr):
        tokenizer = PTBTokenizer()
        theirs = tokenizer.tokenize({name: [{"caption": c} for c in captions] for name, captions in references.items()})
        ours = tokenizer.tokenize({name: [{"caption": caption}] for name, caption in captions.items()})
        cider, _ = Cider().compute_score(theirs, ours)
        bleu, _ = Bleu(4).compute_score(theirs, ours)
    return float(cider), float(bleu[3])


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("captions", help="JSON lines with image and caption, as looksay caption or eval writes them")
    options.add_argument("reference_file", nargs="?", help="JSON lines with image and a list of captions")
    options.add_argument("--references", default="captions", metavar="KEY", help="where that list stands (default: captions)")
    given = options.parse_args()
    captions, references = read_pair(given.captions, given.reference_file, given.references)
    if not captions:
        sys.exit(f"{given.captions}: no row has references; name the file that holds them, and --references KEY")
    cider, bleu = score(captions, references)
    empty = sum(not caption for caption in captions.values())
    print(json.dumps({"n": len(captions), "empty": empty, "cider": round(cider, 4), "bleu4": round(bleu, 4)}))


if __name__ == "__main__":
    main()
