#!/usr/bin/env python3
"""The golden file of a model whose layers are stored in low precision: what the reference kernels say about photos.

    make_golden.py LOOKSAY MODEL.gguf OUT.json [--languages de] [--fill PHOTO TEXT] PHOTO...

Where layers round their inputs, a last bit that differs between instruction sets can move an input by a whole step, so that
log-probabilities agree less closely than those of f32. The file says how closely: three times the largest difference seen
between the reference and the other instruction sets of this machine. Cases whose words differ between them are left out, with
a message. Golden files of f32 models are made by torch: apps/train/golden.py."""
import argparse
import json
import math
import os
import subprocess
import sys

SETTINGS = [{}, {"beams": 1}, {"beams": 5, "max_tokens": 8}]
FILL_BEAMS = 5


def rows(looksay, model, isa, args, photos):
    named = {"lang" if name == "language" else name.replace("_", "-"): str(value) for name, value in args.items()}
    options = [word for name, value in named.items() for word in ("--" + name, value)]
    done = subprocess.run([looksay, "caption", "--model", model, "--isa", isa, "--format", "jsonl", "--details", *options, *photos],
                          check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def filling(looksay, model, isa, photo, text):
    """The likeliest, {"text", "words", "probability"}."""
    done = subprocess.run([looksay, "fill", "--model", model, "--isa", isa, "--format", "jsonl", "--beams", str(FILL_BEAMS), "--n-best",
                           str(FILL_BEAMS), photo, text], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["fillings"][0]


def available(looksay):
    """The instruction sets that this machine has beside the reference."""
    named = subprocess.run([looksay, "caption", "--help"], capture_output=True, text=True).stdout
    choices = next(line.split()[1] for line in named.splitlines() if line.split()[:1] == ["--isa"])
    return [isa for isa in choices.split("|") if isa not in ("auto", "ref")
            and subprocess.run([looksay, "info", "--isa", isa], capture_output=True).returncode == 0]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("looksay", "model", "out"):
        options.add_argument(name)
    options.add_argument("photos", nargs="+")
    options.add_argument("--languages", type=lambda codes: codes.split(","), default=[], help="captions in these as well")
    options.add_argument("--fill", nargs=2, metavar=("PHOTO", "TEXT"), action="append", default=[], help="a text with gaps")
    given = options.parse_args()
    cases, worst, folder = [], 0.0, os.path.dirname(os.path.abspath(given.out))
    others = available(given.looksay)
    for args in SETTINGS + [{"language": code} for code in given.languages]:
        golden = rows(given.looksay, given.model, "ref", args, given.photos)
        said = {isa: rows(given.looksay, given.model, isa, args, given.photos) for isa in others}
        for i, row in enumerate(golden):
            differ = [isa for isa in others if said[isa][i]["tokens"] != row["tokens"]]
            if differ:
                print(f"left out: {row['image']} {args}: other words with {', '.join(differ)}", file=sys.stderr)
                continue
            for isa in others:
                worst = max([worst] + [abs(a - b) for a, b in zip(row["logprobs"], said[isa][i]["logprobs"])])
            image = os.path.relpath(row["image"], folder)
            cases.append({"image": image, "args": args, "tokens": row["tokens"], "caption": row["caption"],
                          "logprobs": [round(x, 6) for x in row["logprobs"]]})
    for photo, text in given.fill:
        golden = filling(given.looksay, given.model, "ref", photo, text)
        for isa in others:
            said = filling(given.looksay, given.model, isa, photo, text)
            worst = max(worst, abs(said["probability"] - golden["probability"]))
        cases.append({"image": os.path.relpath(photo, folder), "fill": text, "args": {"beams": FILL_BEAMS},
                      "filling": {"text": golden["text"], "probability": round(golden["probability"], 6)}})
    tolerance = max(2e-3, math.ceil(3e3 * worst) / 1e3)
    lines = ",\n".join(json.dumps(case) for case in cases)
    with open(given.out, "w", encoding="utf-8") as file:
        file.write(f'{{"tolerance": {tolerance}, "cases": [\n{lines}\n]}}\n')
    print(f"{given.out}: {len(cases)} cases; {', '.join(others) or 'no other instruction set'} within {worst:.4f} of ref")


if __name__ == "__main__":
    main()
