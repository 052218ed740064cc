#!/usr/bin/env python3
"""BLEU of `looksay translate` on the sentences of Multi30k's validation part, by sacrebleu (pip install sacrebleu).

    translation.py LOOKSAY DATA/multi30k/captions.jsonl.gz [--model M] [--from en] [--to de] [--beams 5]

The file has a sentence group a line: "split", and "pair" = the same sentence in each language. BLEU is cased, with the tokenizer 13a."""
import argparse
import gzip
import json
import subprocess

import sacrebleu


def pairs(path, source, target):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [tuple(" ".join(row["pair"][code].split()) for code in (source, target)) for row in rows if row["split"] == "val"]


def translate(looksay, model, source, target, beams, sentences):
    options = ["--from", source, "--to", target, "--beams", str(beams), "--files-from", "-", "--quiet"]
    options += ["--model", model] if model else []
    done = subprocess.run([looksay, "translate", *options], input="\n".join(sentences) + "\n", stdout=subprocess.PIPE, check=True,
                          text=True)
    return done.stdout.splitlines()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("looksay")
    options.add_argument("data")
    options.add_argument("--model")
    options.add_argument("--from", dest="source", default="en")
    options.add_argument("--to", dest="target", default="de")
    options.add_argument("--beams", type=int, default=5)
    given = options.parse_args()
    theirs = pairs(given.data, given.source, given.target)
    ours = translate(given.looksay, given.model, given.source, given.target, given.beams, [source for source, _ in theirs])
    if len(ours) != len(theirs):
        raise SystemExit(f"{len(ours)} translations of {len(theirs)} sentences")
    bleu = sacrebleu.corpus_bleu(ours, [[target for _, target in theirs]])
    print(json.dumps({"from": given.source, "to": given.target, "n": len(ours), "bleu": round(bleu.score, 2)}))


if __name__ == "__main__":
    main()
