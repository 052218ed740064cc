"""Fits how probable it is that a caption is good, measures it by cross-validation, and writes it into the model's file.

    python confidence.py ../../build/looksay ../../assets/model/looksay.gguf DATA_DIR [--output NEW.gguf] [--plot FILE.png]

DATA_DIR/flickr8k as README.md says; the photos of `val`, which no weight was trained on, are captioned by the program itself, as
anybody would. The file is replaced in one step (or another one written); only its generation settings change.

Good: a caption that agrees with what five people said of the photo at least as well as a person does. Agreement is CIDEr-D over
the words; the threshold is the median agreement of one person's caption with the other four's, over all captions of `val`.

    p(good) = 1 / (1 + exp(-(bias + mean a + least b + n c)))

of the log-probabilities of the caption's n tokens: their mean (a acts as a temperature), the least, and their number. Logistic
regression, by Newton's method; expected calibration error over ten bins of equal size, of predictions for photos that the
coefficients were not fitted on (ten folds)."""
import argparse
import json
import re
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cider import CiderD
from gguf_file import replace_string

NAMES = ("bias", "mean", "least", "tokens")
RIDGE, N_STEPS, N_FOLDS, N_BINS = 1e-3, 50, 10, 10
SETTINGS = "looksay.generation"


def words(text):
    return re.findall(r"[a-z0-9]+(?:['-][a-z0-9]+)*", text.lower())


def read_people(data, split):
    """{path of a photo: [words of each human caption]}."""
    folder = data / "flickr8k"
    with open(folder / "captions.jsonl", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {str(folder / "images" / r["image"]): [words(c) for c in r["en"]] for r in rows if r["split"] == split}


def caption(program, model, photos):
    """The program's rows, in the order of the photos."""
    command = [program, "caption", "--model", model, "--format", "jsonl", "--details", "--any-picture", "--quiet", "--files-from", "-"]
    done = subprocess.run(command, input="\n".join(photos), stdout=subprocess.PIPE, check=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def default_language(program, model):
    info = subprocess.run([program, "info", "--format", "json", model], stdout=subprocess.PIPE, check=True, text=True)
    return (json.loads(info.stdout)["languages"] or ["en"])[0]


def person_agreement(people):
    """Of each human caption with the others of its photo."""
    found = []
    for i in range(max(map(len, people.values()))):
        others = {photo: said[:i] + said[i + 1 :] for photo, said in people.items() if i < len(said) and len(said) > 1}
        scorer = CiderD(others)
        found += [scorer.score(photo, people[photo][i], True) for photo in others]
    return np.array(found)


def features(row):
    logprobs = row["logprobs"]
    return [1.0, sum(logprobs) / len(logprobs), min(logprobs), len(logprobs)]


def probability(x, weights):
    return 1 / (1 + np.exp(-x @ weights))


def fit(x, good):
    """Coefficients for columns as they are; found for columns of mean 0 and deviation 1, of which the ridge keeps none from growing
    but those that tell nothing."""
    centre, scale = x[:, 1:].mean(0), x[:, 1:].std(0) + 1e-9
    z = np.hstack([x[:, :1], (x[:, 1:] - centre) / scale])
    weights, ridge = np.zeros(x.shape[1]), RIDGE * len(x) * np.diag([0.0] + [1.0] * (x.shape[1] - 1))
    for _ in range(N_STEPS):
        p = probability(z, weights)
        weights -= np.linalg.solve(z.T @ (z * (p * (1 - p))[:, None]) + ridge, z.T @ (p - good) + ridge @ weights)
    slopes = weights[1:] / scale
    return np.concatenate([[weights[0] - slopes @ centre], slopes])


def cross_validated(x, good):
    order = np.random.default_rng(0).permutation(len(x))
    predicted = np.zeros(len(x))
    for k in range(N_FOLDS):
        held = order[k::N_FOLDS]
        rest = np.setdiff1d(order, held)
        predicted[held] = probability(x[held], fit(x[rest], good[rest]))
    return predicted


def bins(predicted, good):
    """(mean prediction, share of good ones, how many) of ten bins of equal size."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), N_BINS)
    return [(predicted[part].mean(), good[part].mean(), len(part)) for part in parts]


def calibration_error(parts):
    return sum(n * abs(p - share) for p, share, n in parts) / sum(n for _, _, n in parts)


def area_under_curve(predicted, good):
    """How often a good caption gets more than a bad one."""
    yes, no = predicted[good > 0.5], predicted[good < 0.5]
    return float(((yes[:, None] > no).mean() + 0.5 * (yes[:, None] == no).mean()))


def plot(path, parts, title):
    side, margin = 480, 56
    picture = Image.new("RGB", (side + 2 * margin, side + 2 * margin), "white")
    draw = ImageDraw.Draw(picture)

    def at(x, y):
        return margin + x * side, margin + (1 - y) * side

    for k in range(11):
        draw.line([at(k / 10, 0), at(k / 10, 1)], fill="#e4e4e4")
        draw.line([at(0, k / 10), at(1, k / 10)], fill="#e4e4e4")
        if k % 2 == 0:
            draw.text((at(k / 10, 0)[0] - 8, margin + side + 6), f"{k / 10:.1f}", fill="black")
            draw.text((margin - 24, at(0, k / 10)[1] - 6), f"{k / 10:.1f}", fill="black")
    draw.line([at(0, 0), at(1, 1)], fill="#808080", width=2)
    draw.line([at(p, share) for p, share, _ in parts], fill="#1f5fa8", width=2)
    for p, share, n in parts:
        x, y = at(p, share)
        error = 1.96 * np.sqrt(max(share * (1 - share), 1e-4) / n) * side
        draw.line([(x, max(margin, y - error)), (x, min(margin + side, y + error))], fill="#1f5fa8")
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill="#1f5fa8")
    draw.text((margin, 20), title, fill="black")
    draw.text((margin + side / 2 - 60, side + 2 * margin - 24), "predicted confidence", fill="black")
    draw.text((margin + 6, margin + 4), "share of good captions", fill="black")
    picture.quantize(32).save(path, optimize=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("program")
    options.add_argument("model", type=Path)
    options.add_argument("data", type=Path)
    options.add_argument("--output", type=Path, help="default: the model's own file")
    options.add_argument("--plot", type=Path, help="reliability of predictions for photos not fitted on")
    given = options.parse_args()
    people = read_people(given.data, "val")
    rows = [row for row in caption(given.program, given.model, list(people)) if row["status"] == "ok" and row["logprobs"]]
    scorer, threshold = CiderD(people), float(np.median(person_agreement(people)))
    agreement = np.array([scorer.score(row["image"], words(row["caption"]), True) for row in rows])
    x, good = np.array([features(row) for row in rows]), (agreement >= threshold).astype(float)
    predicted = cross_validated(x, good)
    parts = bins(predicted, good)
    report = {
        "photos": len(rows), "threshold": round(threshold, 4), "good": round(float(good.mean()), 4),
        "calibration_error": round(float(calibration_error(parts)), 4),
        "brier": round(float(((predicted - good) ** 2).mean()), 4), "auc": round(area_under_curve(predicted, good), 4),
    }
    if given.plot:
        title = f"{len(rows)} photos of val, ten folds: calibration error {report['calibration_error']:.3f}, AUC {report['auc']:.3f}"
        plot(given.plot, parts, title)
    weights = {name: round(float(w), 6) for name, w in zip(NAMES, fit(x, good))}
    language = {"language": default_language(given.program, given.model)}

    def change(text):
        return json.dumps({**json.loads(text), "confidence": {**weights, **language, "fit": report}})

    replace_string(given.model, given.output or given.model, SETTINGS, change)
    print(json.dumps({**weights, **report}))
    for floor in (0.3, 0.4, 0.5, 0.6, 0.7):
        kept = predicted >= floor
        if kept.any():
            print(f"--min-confidence {floor}: {kept.mean():.0%} of the captions are given, {good[kept].mean():.0%} of them good")


if __name__ == "__main__":
    main()
