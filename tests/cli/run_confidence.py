#!/usr/bin/env python3
"""How sure captions are, which are withheld, and pictures that are no photos.

    run_confidence.py LOOKSAY [TestCase.test_name...]

Standard library only.
"""
import csv
import io
import json
import math
import os
import random
import shutil

import program
from program import BAD_MODEL, MODEL, OK, PHOTOS, SOME_FAILED, USAGE, TestCase, rows_of, run
from run_resume import chunk, picture

WEIGHTS = {"bias": 2.0, "mean": 1.5, "least": -0.25, "tokens": 0.125}
NAMES = ("alpha.png", "grey.jpg", "tall.png", "wide.jpg")
DETAILS = ("-f", "jsonl", "--details", "--any-picture")


def png(width, height, colour):
    """A PNG whose pixel x, y has colour(x, y)."""
    import zlib

    rows = b"".join(b"\0" + b"".join(bytes(colour(x, y)) for x in range(width)) for y in range(height))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Calibrated(TestCase):
    def calibrated(self, **changes):
        model = self.work / "calibrated"
        if not model.exists():
            shutil.copytree(MODEL, model)
        path = model / "generation_config.json"
        settings = json.loads(path.read_text()) if path.exists() else {}
        settings["confidence"] = {**WEIGHTS, **changes}
        path.write_text(json.dumps(settings))
        return model


class Confidence(Calibrated):
    def middle(self, rows):
        """A confidence that some captions have and some have not."""
        found = sorted(r["confidence"] for r in rows)
        self.assertLess(found[1], found[2])
        return (found[1] + found[2]) / 2

    def test_confidence_is_what_the_model_says(self):
        folder, model = self.photos(*NAMES), self.calibrated()
        for words in ([], ["--beams", "3", "--n-best", "3"], ["--max-tokens", "2"]):
            for row in rows_of(run(*DETAILS, *words, folder, model=model, check=OK)[1]):
                for one in [row, *row.get("alternatives", [])]:
                    logprobs = one["logprobs"]
                    at = (WEIGHTS["bias"] + WEIGHTS["mean"] * sum(logprobs) / len(logprobs) + WEIGHTS["least"] * min(logprobs)
                          + WEIGHTS["tokens"] * len(logprobs))
                    self.assertAlmostEqual(one["confidence"], 1 / (1 + math.exp(-at)), places=6)
        self.assertTrue(json.loads(run("info", "--format", "json", model, model=None, check=OK)[1])["calibrated"])

    def test_without_calibration_nothing_is_claimed(self):
        folder = self.photos(*NAMES)
        rows = rows_of(run("-f", "jsonl", "--any-picture", folder, check=OK)[1])
        self.assertTrue(all(r["confidence"] is None and r["caption"] for r in rows))
        table = list(csv.DictReader(io.StringIO(run("-f", "csv", "--any-picture", folder, check=OK)[1], newline="")))
        self.assertTrue(all(r["confidence"] == "" and r["caption"] for r in table))
        self.assertFalse(json.loads(run("info", "--format", "json", check=OK)[1])["calibrated"])
        status, out, err = run("--min-confidence", "0.5", folder)
        self.assertEqual((status, out), (USAGE, ""))
        self.assertIn("calibration", err)

    def test_low_confidence_is_uncertain(self):
        folder, model = self.photos(*NAMES), self.calibrated()
        plain = {r["image"]: r for r in rows_of(run(*DETAILS, folder, model=model, check=OK)[1])}
        floor = self.middle(plain.values())
        _, out, err = run(*DETAILS, "--min-confidence", repr(floor), folder, model=model, check=OK)
        self.assertIn("2 of 4 images are uncertain", err)
        for row in rows_of(out):
            before = plain[row["image"]]
            self.assertEqual(row["confidence"], before["confidence"])
            if before["confidence"] >= floor:
                self.assertEqual((row["status"], row["caption"]), ("ok", before["caption"]))
            else:
                self.assertEqual((row["status"], row["guess"]), ("uncertain", before["caption"]))
                self.assertIn("confidence", row["reason"])
                self.assertNotIn("caption", row)
        _, out, _ = run("-f", "csv", "--any-picture", "--min-confidence", repr(floor), folder, model=model, check=OK)
        table = list(csv.DictReader(io.StringIO(out, newline="")))
        self.assertEqual(sorted(r["status"] for r in table), ["ok", "ok", "uncertain", "uncertain"])
        for row in table:
            self.assertAlmostEqual(float(row["confidence"]), plain[row["image"]]["confidence"], places=3)
            self.assertEqual(row["caption"] == "", row["status"] == "uncertain")
            self.assertEqual(row["error"] == "", row["status"] == "ok")
        page = run("-f", "html", "--any-picture", "--min-confidence", repr(floor), folder, model=model, check=OK)[1]
        self.assertEqual((page.count("uncertain: "), page.count("<img"), page.count("<meter")), (2, 4, 2))
        lines = run("--any-picture", "--min-confidence", repr(floor), folder, model=model, check=OK)[1].splitlines()
        self.assertEqual(sum(": uncertain: confidence" in line for line in lines), 2)
        nothing = rows_of(run("-f", "jsonl", "--any-picture", "--min-confidence", "1", folder, model=model, check=OK)[1])
        self.assertEqual({r["status"] for r in nothing}, {"uncertain"})
        for wrong in ("2", "-0.1", "x", "nan"):
            self.assertEqual(run("--min-confidence", wrong, folder, model=model)[0], USAGE)

    def test_uncertain_captions_are_not_written(self):
        folder, model = self.photos(*NAMES), self.calibrated()
        rows = rows_of(run(*DETAILS, folder, model=model, check=OK)[1])
        floor = self.middle(rows)
        sure = {os.path.splitext(os.path.basename(r["image"]))[0] for r in rows if r["confidence"] >= floor}
        words = ["-f", "txt", "--any-picture", "--resume", "--min-confidence", repr(floor), folder]
        _, _, err = run(*words, model=model, check=OK)
        self.assertEqual({p.stem for p in folder.glob("*.txt")}, sure)
        self.assertEqual(err.count(": uncertain: confidence"), 2)
        _, _, err = run(*words, model=model, check=OK)  # goes on where it was: all are done
        self.assertIn("4 images were done before", err)
        self.assertNotIn("uncertain", err)

    def test_resumed_rows_keep_what_was_uncertain(self):
        folder, model, target = self.photos(*NAMES), self.calibrated(), self.work / "out.jsonl"
        floor = self.middle(rows_of(run(*DETAILS, folder, model=model, check=OK)[1]))
        words = ["-f", "jsonl", "--any-picture", "--min-confidence", repr(floor), "--resume", "-o", target, folder]
        run(*words, model=model, check=OK)
        first = target.read_text()
        shutil.copy(PHOTOS / "large.jpg", folder / "z.jpg")
        run(*words, model=model, check=OK)
        self.assertTrue(target.read_text().startswith(first))
        self.assertEqual(len(rows_of(target.read_text())), 5)

    def test_broken_coefficients_are_named(self):
        for broken in ({"mean": "1"}, {"least": None}, {"bias": True}):
            status, out, err = run(PHOTOS / "wide.jpg", model=self.calibrated(**broken))
            self.assertEqual((status, out), (BAD_MODEL, ""))
            self.assertIn(next(iter(broken)), err)

    def test_calibration_goes_with_the_model(self):
        model, packed = self.calibrated(), self.work / "packed.gguf"
        run("convert", model, "-o", packed, model=None, check=OK)
        rows = [rows_of(run(*DETAILS, PHOTOS / "wide.jpg", model=m, check=OK)[1])[0] for m in (model, packed)]
        self.assertIsNotNone(rows[1]["confidence"])
        self.assertAlmostEqual(rows[0]["confidence"], rows[1]["confidence"], places=5)


class NoPhotos(Calibrated):
    def pictures(self):
        """A folder with a photo and, by kind, pictures that are none."""
        folder, dice = self.work / "pictures", random.Random(1)
        folder.mkdir()
        (folder / "photo.png").write_bytes(picture(1))
        (folder / "blank.png").write_bytes(png(64, 48, lambda x, y: (200, 190, 180)))
        (folder / "black.png").write_bytes(png(64, 48, lambda x, y: (dice.randrange(6),) * 3))
        (folder / "noise.png").write_bytes(png(96, 64, lambda x, y: dice.choices(range(256), k=3)))
        strokes = set()
        for y in range(8, 150, 14):
            for x in range(8, 190, 5):
                if dice.random() < 0.8:
                    at, high, wide = dice.randrange(4), dice.randrange(3, 8), dice.choice((1, 4))
                    strokes |= {(x, y + k) for k in range(high)} | {(x + k, y + at) for k in range(wide)}
        (folder / "text.png").write_bytes(png(200, 160, lambda x, y: (10, 10, 20) if (x, y) in strokes else (255, 255, 255)))
        (folder / "chart.png").write_bytes(png(200, 160, lambda x, y: (30, 90, 200) if x % 40 > 12 and y > 20 + 97 * (x // 40) % 120
                                               else (250, 250, 250)))
        return folder, {"blank.png": "blank", "black.png": "blank", "noise.png": "noise", "text.png": "drawing", "chart.png": "drawing"}

    def test_they_are_said_not_captioned(self):
        folder, kinds = self.pictures()
        model = self.calibrated()
        _, out, err = run("-f", "jsonl", folder, model=model, check=OK)
        self.assertIn("5 of 6 images are uncertain", err)
        for row in rows_of(out):
            kind = kinds.get(os.path.basename(row["image"]))
            if not kind:
                self.assertEqual(row["status"], "ok")
                continue
            self.assertEqual((row["status"], row["kind"]), ("uncertain", kind), row)
            self.assertIn({"blank": "blank picture", "noise": "noise", "drawing": "screenshot or drawing"}[kind], row["reason"])
            self.assertNotIn("caption", row)
        alone = run(folder / "blank.png", model=model, check=OK)  # the row says it; a sum of one says no more
        self.assertEqual(alone[1:], ("uncertain: blank picture\n", ""))
        run("-f", "txt", folder, model=model, check=OK)
        self.assertEqual([p.name for p in folder.glob("*.txt")], ["photo.txt"])

    def test_unless_they_are_asked_for(self):
        folder, kinds = self.pictures()
        for row in rows_of(run(*DETAILS, folder, model=self.calibrated(), check=OK)[1]):
            self.assertEqual((row["status"], row["kind"]), ("ok", kinds.get(os.path.basename(row["image"]), "photo")))
            self.assertIn("caption", row)

    def test_a_model_that_is_not_calibrated_captions_them(self):
        folder, kinds = self.pictures()
        for row in rows_of(run("-f", "jsonl", "--details", folder, check=OK)[1]):
            self.assertEqual((row["status"], row["kind"]), ("ok", kinds.get(os.path.basename(row["image"]), "photo")))
            self.assertTrue(row["tokens"])

    def test_the_cache_knows_them(self):
        folder, _ = self.pictures()
        model = self.calibrated()
        cached = ["--feature-cache", self.work / "cache"]
        if "without SQLite" in run(*cached, folder)[2]:
            self.skipTest("built without SQLite")
        first, again = ([{k: v for k, v in r.items() if k != "ms"} for r in rows_of(run("-f", "jsonl", *words, folder, model=model, check=OK)[1])]
                        for words in ([], cached))
        self.assertEqual(first, again)

    def test_damaged_pictures_still_fail(self):
        (self.work / "bad.png").write_bytes(b"no picture")
        self.assertEqual(run("-f", "jsonl", self.work / "bad.png")[0], SOME_FAILED)


if __name__ == "__main__":
    program.main()
