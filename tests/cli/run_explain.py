#!/usr/bin/env python3
"""looksay explain as its users meet it: numbers, files, mistakes.

    run_explain.py LOOKSAY [TestCase.test_name...]

Runs against small random models of tests/parity. Standard library only.
"""
import json
import os
import sys
import unittest

import run_cli
from run_cli import OK, OUTPUT, PHOTOS, ROOT, SOME_FAILED, USAGE, TestCase, run

MODELS = ROOT / "tests/parity/models"
FAMILIES = ["vit-gpt2-bin", "vit-bert-bin", "blip-full", "vit-trocr", "vit-trocr-oblong", "dinov2-roberta-sharded",
            "dinov2-swiglu-gpt2", "deit-bert-untied"]


class Numbers(TestCase):
    def check(self, d):
        rows, columns = d["grid"]
        self.assertTrue(d["words"])
        self.assertTrue(d["tokens"])
        n_layers = {len(t["layers"]) for t in d["tokens"]}
        self.assertEqual(len(n_layers), 1)
        for token in d["tokens"]:
            for layer in token["layers"]:
                self.assertEqual(len(layer), rows * columns)
                self.assertTrue(all(weight >= 0 for weight in layer))
                self.assertLess(sum(layer), 1 + 1e-4)
        at = 0
        for word in d["words"]:
            self.assertEqual(len(word["map"]), rows * columns)
            self.assertTrue(all(weight >= 0 for weight in word["map"]))
            self.assertAlmostEqual(sum(word["map"]), 1, delta=1e-4)
            at = d["caption"].index(word["word"], at) + len(word["word"])
            own = d["tokens"][word["first_token"]:word["first_token"] + word["n_tokens"]]
            self.assertEqual(len(own), word["n_tokens"])
            self.assertIn(word["word"], "".join(t["text"] for t in own))
            self.assertAlmostEqual(word["logprob"], sum(t["logprob"] for t in own), delta=1e-3)
        self.assertEqual("".join(t["text"] for t in d["tokens"]).strip(), d["caption"])

    def test_every_family(self):
        for family in FAMILIES:
            with self.subTest(family):
                _, out, err = run("explain", PHOTOS / "wide.jpg", model=MODELS / family, check=OK)
                self.check(json.loads(out))
                self.assertEqual(err, "")

    def test_the_caption_is_the_one_that_caption_says(self):
        for words in ([], ["--beams", "4"], ["--seed", "3", "--max-tokens", "9"], ["--prompt", "a photo"]):
            photo = PHOTOS / "tall.png"
            said = json.loads(run("caption", "-f", "jsonl", "--details", *words, photo, check=OK)[1])
            shown = json.loads(run("explain", *words, photo, check=OK)[1])
            self.assertEqual(shown["caption"], said["caption"])
            self.assertEqual([t["id"] for t in shown["tokens"]], said["tokens"])
            self.assertEqual(shown["size"], said["size"])

    def test_the_box_is_what_the_model_sees(self):
        """vit-gpt2 squashes the picture; deit crops its middle."""
        squashed = json.loads(run("explain", PHOTOS / "wide.jpg", check=OK)[1])
        self.assertEqual(squashed["grid_box"], [0, 0, *squashed["size"]])
        cropped = json.loads(run("explain", PHOTOS / "wide.jpg", model=MODELS / "deit-bert-untied", check=OK)[1])
        x, y, width, height = cropped["grid_box"]
        self.assertAlmostEqual(x + width / 2, cropped["size"][0] / 2, delta=cropped["size"][0] / 30)
        self.assertAlmostEqual(y + height / 2, cropped["size"][1] / 2, delta=cropped["size"][1] / 30)
        self.assertLess(width * height, cropped["size"][0] * cropped["size"][1])

    def test_a_file_and_a_stream(self):
        out = self.work / "words.json"
        run("explain", PHOTOS / "wide.jpg", "-o", out, check=OK)
        self.assertEqual(json.loads(out.read_text()), json.loads(run("explain", PHOTOS / "wide.jpg", check=OK)[1]))
        piped = json.loads(run("explain", "-", stdin=(PHOTOS / "wide.jpg").read_bytes(), check=OK)[1])
        self.assertEqual(piped["words"], json.loads(out.read_text())["words"])
        self.assertEqual(piped["image"], "-")


class Mistakes(TestCase):
    def test_mistakes_are_named(self):
        photo = PHOTOS / "wide.jpg"
        for words, status, said in [
            (["explain"], USAGE, "one image"),
            (["explain", photo, photo], USAGE, "one image"),
            (["explain", photo, "-o", self.work / "words.txt"], USAGE, "words.txt"),
            (["explain", photo, "-o", self.work / "words"], USAGE, "--format"),
            (["explain", photo, "-o", self.work / "a.b/words"], USAGE, "--format"),
            (["explain", photo, "--format", "csv"], USAGE, "--format takes"),
            (["explain", photo, "-o", self.work / "none/words.json"], OUTPUT, "none/words.json"),
            (["explain", self.work / "none.jpg"], SOME_FAILED, "none.jpg"),
        ]:
            got, out, err = run(*words)
            self.assertEqual((got, out), (status, ""), words)
            self.assertIn(said, err, words)
            self.assertEqual(err.count("\n"), 1, err)
        self.assertEqual(list(self.work.iterdir()), [])


if __name__ == "__main__":
    run_cli.LOOKSAY = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
