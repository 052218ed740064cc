#!/usr/bin/env python3
"""Compare `looksay caption` with golden files made by transformers.

    run_parity.py LOOKSAY DIR [--photos DIR] [--tolerance X] [--no-jpeg]

DIR holds a model and its golden.json (see README.md for the layout). One line is printed per case; the exit status is 0 when
every case agrees: same tokens, log-probabilities within the tolerance, same text, same n-best list. Needs nothing beyond
the standard library.
"""
import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

FLAGS = {  # golden argument -> command-line flag
    "max_tokens": "--max-tokens",
    "min_tokens": "--min-tokens",
    "beams": "--beams",
    "n_best": "--n-best",
    "prompt": "--prompt",
    "length_penalty": "--length-penalty",
    "repetition_penalty": "--repetition-penalty",
    "no_repeat_ngram": "--no-repeat-ngram",
}


def flags_of(args):
    flags = []
    for name, value in args.items():
        flags += [FLAGS[name], str(value)]
    return flags


def compare_hypothesis(want, row, tolerance, what):
    """Returns (largest log-probability difference, list of complaints)."""
    for key in ("tokens", "logprobs", "caption"):
        if key not in row:
            return math.nan, [f"{what}: no \"{key}\" in the row"]
    tokens, logprobs = row["tokens"], row["logprobs"]
    if tokens != want["tokens"]:
        both = min(len(tokens), len(want["tokens"]))
        at = next((i for i in range(both) if tokens[i] != want["tokens"][i]), both)
        return math.nan, [f"{what}: tokens differ at {at}: want {want['tokens']} got {tokens}"]
    if len(logprobs) != len(tokens):
        return math.nan, [f"{what}: {len(logprobs)} log-probabilities for {len(tokens)} tokens"]
    complaints, worst = [], 0.0
    for i, (a, b) in enumerate(zip(want["logprobs"], logprobs)):
        gap = abs(a - b) if isinstance(b, (int, float)) else math.nan
        worst = gap if math.isnan(gap) else max(worst, gap)
        if not gap <= tolerance:  # a NaN is a failure too
            complaints.append(f"{what}: log-probability {i} (token {tokens[i]}): want {a:.6f} got {b}")
            break
    if row["caption"].strip() != want["caption"].replace("\0", "").strip():  # a text of C has no U+0000
        complaints.append(f"{what}: caption: want {want['caption']!r} got {row['caption']!r}")
    return worst, complaints


def compare_case(case, row, tolerance):
    if row.get("status") == "error" or row.get("error"):
        return math.nan, [f"error row: {row.get('error')}"]
    if Path(row.get("image", "")).name != Path(case["image"]).name:
        return math.nan, [f"row is about {row.get('image')!r}"]
    worst, complaints = compare_hypothesis(case, row, tolerance, "best")
    wanted = case.get("alternatives")
    if wanted and not complaints:
        got = row.get("alternatives")
        if not isinstance(got, list) or len(got) != len(wanted):
            return worst, [f"want {len(wanted)} alternatives, best first, got {got!r}"]
        for i, (a, b) in enumerate(zip(wanted, got)):
            gap, more = compare_hypothesis(a, b, tolerance, f"alternative {i}")
            worst = max(worst, gap)
            complaints += more
    return worst, complaints


def run_group(looksay, model, photos, args, cases):
    """One process for all photos that share their flags; returns one row (or a message) per case."""
    command = [str(looksay), "caption", "--model", str(model), "--dtype", "f32", "--format", "jsonl", "--details"]
    command += flags_of(args) + [str(photos / case["image"]) for case in cases]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=300)
    rows, broken = [], None
    for line in done.stdout.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            broken = f"not JSON: {line[:80]!r} ({error})"
            break
    if broken is None and len(rows) != len(cases):
        broken = f"{len(rows)} rows for {len(cases)} photos"
    if broken is None and done.returncode != 0:
        broken = "rows for all photos, and yet a failure"
    if broken is not None:
        broken = f"{broken}; exit status {done.returncode}; stderr: {done.stderr.strip()[-400:]}; ran {' '.join(command)}"
    return rows, broken


def check_model(looksay, model, photos, tolerance, jpeg=True, out=sys.stdout):
    """Returns (cases, failures)."""
    golden = json.loads((model / "golden.json").read_text(encoding="utf-8"))
    groups = {}
    for case in golden["cases"]:
        if case["image"].endswith(".jpg") and not jpeg:
            continue
        groups.setdefault(json.dumps(case["args"], sort_keys=True), []).append(case)
    n_cases = n_failures = 0
    for cases in groups.values():
        args = cases[0]["args"]
        rows, broken = run_group(looksay, model, photos, args, cases)
        for i, case in enumerate(cases):
            n_cases += 1
            name = f"{model.name} {case['image']} {' '.join(flags_of(args))}".rstrip()
            worst, complaints = (math.nan, [broken]) if broken else compare_case(case, rows[i], tolerance)
            if complaints:
                n_failures += 1
                print(f"FAIL {name}", *complaints, sep="\n     ", file=out)
            else:
                print(f"ok   {name}: {len(case['tokens'])} tokens, log-probabilities within {worst:.1e}", file=out)
    return n_cases, n_failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looksay", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--photos", type=Path, default=Path(__file__).resolve().parent / "photos")
    parser.add_argument("--tolerance", type=float, default=2e-3)
    parser.add_argument("--no-jpeg", action="store_true",
                        help="leave JPEGs out: for a build without libjpeg, whose decoder rounds otherwise")
    options = parser.parse_args()
    n_cases, n_failures = check_model(options.looksay, options.model, options.photos, options.tolerance,
                                     jpeg=not options.no_jpeg)
    print(f"{options.model.name}: {n_cases - n_failures} of {n_cases} cases agree")
    return 1 if n_failures or n_cases == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
