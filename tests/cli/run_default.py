#!/usr/bin/env python3
"""The model that comes with the program.

    run_default.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import json
import unittest

import program
from program import BAD_MODEL, OK, PORTABLE, ROOT, TestCase, rows_of, run


class DefaultModel(TestCase):
    """The model that comes with the program, found without being named."""

    @unittest.skipIf(PORTABLE, "torch saw what libjpeg makes of the photos")
    def test_agrees_with_its_golden_file(self):
        _, out, _ = run("verify", "--photos", ROOT / "assets/photos", ROOT / "assets/golden/looksay.json", model=None, check=OK)
        self.assertRegex(out.splitlines()[-1], r"^(\d+) of \1 cases agree")

    def test_every_photo_gets_words(self):
        photos = sorted((ROOT / "assets/photos").glob("*.jpg"))
        self.assertGreaterEqual(len(photos), 6)
        rows = rows_of(run("-f", "jsonl", ROOT / "assets/photos", model=None, check=OK)[1])
        self.assertEqual([r["image"] for r in rows], [str(p) for p in photos])
        for row in rows:
            self.assertRegex(row["caption"], r"^[a-z0-9' -]+$")
            self.assertGreaterEqual(len(row["caption"].split()), 2)
        self.assertGreater(len({r["caption"] for r in rows}), len(rows) // 2)

    def test_concepts_that_do_not_fit(self):
        good = (ROOT / "assets/model/looksay.gguf").read_bytes()
        bad = self.work / "bad.gguf"
        both = b'"num_concepts":1000,"num_concept_tokens":3'  # what replaces it is as long
        for said, changed in (("vision.concepts.classifier", b'"num_concepts":1001,"num_concept_tokens":3'),
                              ("num_concepts", b'"num_concepts":-100,"num_concept_tokens":3'),
                              ("num_concepts", b'"num_concepts":   2,"num_concept_tokens":3'),
                              ("vision.positions", b'"num_concepts":1000,"num_concept_tokens":4'),
                              ("num_concept_tokens", b'"num_concepts":100,"num_concept_tokens":99')):
            self.assertEqual((good.count(both), len(changed)), (1, len(both)))
            bad.write_bytes(good.replace(both, changed))
            status, out, err = run(ROOT / "assets/photos/china.jpg", model=bad)
            self.assertEqual((status, out), (BAD_MODEL, ""), changed)
            self.assertIn(said, err)

    def test_instruction_sets_say_the_same(self):
        doctor = {c["check"]: c for c in json.loads(run("doctor", "--format", "json", model=None)[1])}
        found = doctor["instruction sets"]["found"]
        others = ["blas"] * doctor["OpenBLAS"]["ok"]
        photo = ROOT / "assets/photos/astronaut.jpg"
        golden = rows_of(run("-f", "jsonl", "--details", "--isa", "ref", photo, model=None, check=OK)[1])[0]
        tolerance = json.loads((ROOT / "assets/golden/looksay.json").read_text()).get("tolerance", 2e-3)
        for isa in others + [i for i in ("avx2", "avx512") if i in found.lower().replace("-", "")]:
            row = rows_of(run("-f", "jsonl", "--details", "--isa", isa, photo, model=None, check=OK)[1])[0]
            self.assertEqual(row["tokens"], golden["tokens"], isa)
            for a, b in zip(row["logprobs"], golden["logprobs"]):
                self.assertLess(abs(a - b), tolerance, isa)

    def test_words_can_be_banned_and_asked_for(self):
        photo = ROOT / "assets/photos/astronaut.jpg"
        caption = run(photo, model=None, check=OK)[1].strip()
        word = caption.split()[1]
        self.assertNotIn(word, run("--ban", word, photo, model=None, check=OK)[1].split())
        self.assertIn("rocket", run("--must", "rocket", "--beams", "4", photo, model=None, check=OK)[1].split())

    def test_samples_repeat_with_their_seed(self):
        photo = ROOT / "assets/photos/astronaut.jpg"
        one, two = (run("--seed", "7", "--temperature", "1.5", photo, model=None, check=OK)[1] for _ in range(2))
        self.assertEqual(one, two)
        others = {run("--seed", str(i), "--temperature", "1.5", photo, model=None, check=OK)[1] for i in range(6)}
        self.assertGreater(len(others), 1)


if __name__ == "__main__":
    program.main()
