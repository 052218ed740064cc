#!/usr/bin/env python3
"""Languages, translation and filling on the command line, on a tiny model that knows four sentences by heart.

    run_languages.py LOOKSAY [--portable]

Standard library only."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests/captioner/models"
MODEL, GOLDEN = MODELS / "languages.gguf", MODELS / "languages.json"
OTHER = ROOT / "tests/parity/models/vit-gpt2-bin"
PHOTO = ROOT / "tests/parity/photos/wide.jpg"
LOOKSAY = None

OK, SOME_FAILED, USAGE, BAD_MODEL = 0, 1, 2, 3


def run(*words, model=MODEL, stdin=b"", env=None, check=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKSAY_")}
    environment.update(env or {})
    done = subprocess.run([LOOKSAY, *map(str, words), "--model", str(model)], input=stdin, capture_output=True, timeout=300,
                          env=environment)
    out, err = done.stdout.decode(), done.stderr.decode()
    if check is not None and done.returncode != check:
        raise AssertionError(f"exit status {done.returncode}, not {check}\nstdout: {out}\nstderr: {err}")
    return done.returncode, out, err


class Languages(unittest.TestCase):
    @unittest.skipIf("--portable" in sys.argv, "torch saw what libjpeg makes of the photos")
    def test_every_task_agrees_with_torch(self):
        for options in ([], ["--isa", "ref"], ["--threads", "1"]):
            out = run("verify", GOLDEN, *options, check=OK)[1]
            self.assertRegex(out.splitlines()[-1], r"^(\d+) of \1 cases agree")
        self.assertGreater(len(json.loads(GOLDEN.read_text("utf-8"))["cases"]), 40)

    def test_a_wrong_golden_is_found(self):
        cases = json.loads(GOLDEN.read_text("utf-8"))["cases"]
        translation = next(c for c in cases if "translate" in c)
        filling = next(c for c in cases if "fill" in c and "image" not in c)
        translation["logprobs"][1] += 0.01
        filling["filling"]["probability"] += 0.01
        unknown = {"fill": "no gap", "args": {}, "filling": {"text": "", "probability": 0}}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "wrong.json"
            path.write_text(json.dumps({"cases": [translation, filling, unknown]}), "utf-8")
            out = run("verify", path, "--photos", PHOTO.parent, check=SOME_FAILED)[1]
        self.assertEqual(out.count("FAIL"), 3)
        self.assertIn("log-probability 1", out)
        self.assertIn("the probability of", out)

    def test_captions_come_in_the_language_asked_for(self):
        english = run(PHOTO, check=OK)[1]
        german = run("--lang", "de", PHOTO, check=OK)[1]
        self.assertTrue(english.startswith("a brown dog"))
        self.assertTrue(german.startswith("Ein brauner Hund"))
        self.assertEqual(run(PHOTO, env={"LOOKSAY_LANG": "de"}, check=OK)[1], german)
        prompted = run("--lang", "de", "--prompt", "Ein Hund", PHOTO, check=OK)[1]
        self.assertTrue(prompted.startswith("Ein Hund"))

    def test_int8_says_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            small = Path(folder) / "small.gguf"
            subprocess.run([LOOKSAY, "quantize", str(MODEL), "-o", str(small)], check=True, capture_output=True)
            words = ("translate", "--from", "en", "--to", "fr", "A man rides a bike.")
            self.assertEqual(run(*words, model=small, check=OK)[1], run(*words, check=OK)[1])
            self.assertIn("de", json.loads(run("info", "--format", "json", model=small, check=OK)[1])["languages"])

    def test_translations_are_lines_in_order(self):
        out = run("translate", "--from", "en", "--to", "de", "a man rides a bike", "A girl looks at the water.", check=OK)[1]
        self.assertEqual(out, "Ein Mann fährt auf einem Fahrrad\nEin Mädchen blickt auf das Wasser.\n")
        lines = "Muž jede na kole.\r\n\nDívka se dívá na vodu\n".encode()
        status, out, err = run("translate", "--from", "cs", "--to", "en", "--files-from", "-", stdin=lines)
        self.assertEqual((status, out), (SOME_FAILED, "A man rides a bike.\n\nA girl looks at the water\n"))
        self.assertIn("no words", err)

    def test_alternatives_keep_lines_in_step(self):
        words = ("translate", "--from", "en", "--to", "de", "-n", "2", "--files-from", "-")
        status, out, _ = run(*words, stdin="\ufeffa man rides a bike\n?\ntwo dogs\n".encode())
        lines = out.split("\n")
        self.assertEqual((status, len(lines)), (SOME_FAILED, 7))
        self.assertEqual([bool(line) for line in lines], [True, True, False, False, True, True, False])
        self.assertEqual(lines[0], "Ein Mann fährt auf einem Fahrrad")

    def test_a_picture_serves_every_sentence(self):
        def rows(*sentences):
            out = run("translate", "--from", "en", "--to", "de", "--format", "jsonl", "--image", PHOTO, *sentences, check=OK)[1]
            return [(row["translation"], row["score"]) for row in map(json.loads, out.splitlines())]

        sentences = ("a girl looks at the water", "two dogs", "a girl looks at the water")
        self.assertEqual(rows(*sentences), [row for sentence in sentences for row in rows(sentence)])

    def test_rows_for_programs(self):
        out = run("translate", "--from", "en", "--to", "de", "--format", "jsonl", "--n-best", "2", "--image", PHOTO,
                  "a girl looks at the water", check=OK)[1]
        row = json.loads(out)
        self.assertEqual((row["from"], row["to"], row["status"], row["image"]), ("en", "de", "ok", str(PHOTO)))
        self.assertEqual(len(row["alternatives"]), 1)
        self.assertTrue(row["translation"].startswith("Ein"))
        failed = json.loads(run("translate", "--from", "en", "--to", "de", "-f", "jsonl", "?", check=SOME_FAILED)[1])
        self.assertEqual(failed["status"], "error")
        self.assertNotIn("translation", failed)
        row = json.loads(run("fill", "--format", "jsonl", "--n-best", "3", PHOTO, "A [MASK] dog", check=OK)[1])
        self.assertEqual(row["fillings"][0]["words"], ["brown"])
        self.assertEqual(row["fillings"][0]["text"], "A brown dog")
        self.assertLessEqual(len(row["fillings"]), 3)

    def test_gaps_are_filled_with_and_without_a_picture(self):
        for words in ((PHOTO, "a [MASK] dog runs"), ("a [MASK] dog runs",)):
            first = run("fill", *words, check=OK)[1].splitlines()[0]
            probability, text = first.split("\t")
            self.assertEqual(text, "a brown dog runs")
            self.assertTrue(0 < float(probability) <= 1)
        self.assertIn("Hund", run("fill", "--lang", "de", "Ein brauner [MASK] läuft am Strand", check=OK)[1].splitlines()[0])

    def test_the_picture_may_come_from_standard_input(self):
        for words in (("translate", "--from", "en", "--to", "de", "a girl looks at the water", "--image"), ("fill", "a [MASK] dog runs")):
            at = len(words) if words[0] == "translate" else 1
            named, piped = ([*words[:at], picture, *words[at:]] for picture in (PHOTO, "-"))
            self.assertEqual(run(*piped, stdin=PHOTO.read_bytes(), check=OK), run(*named, check=OK))

    def test_mistakes_are_usage_and_name_the_remedy(self):
        for words, status, part in (
            (("translate", "--to", "de", "a"), USAGE, "--from en --to de"),
            (("translate", "--from", "en", "--to", "de"), USAGE, "sentence"),
            (("translate", "--from", "en", "--to", "xx", "a"), BAD_MODEL, "en, de, fr, cs"),
            (("translate", "--from", "de", "--to", "de", "a"), USAGE, "two different languages"),
            (("translate", "--from", "en", "--to", "de", "-n", "3", "-b", "2", "a"), USAGE, "--beams"),
            (("translate", "--from", "en", "--to", "de", "--length-penalty", "2", "-b1", "a"), USAGE, "--length-penalty does nothing"),
            (("translate", "--from", "en", "--to", "de", "--image", "-", "--files-from", "-"), USAGE, "standard input"),
            (("translate", "--from", "en", "--to", "de", "--image", "-", "a dog"), SOME_FAILED, "standard input is empty"),
            (("translate", "--from", "en", "--to", "de", "--files-from", PHOTO.parent), USAGE, "is a folder"),
            (("fill", "-", "a [MASK]"), SOME_FAILED, "standard input is empty"),
            (("translate", "--from", "en", "--to", "de", "--files-from", "/nowhere/x", "a"), USAGE, "/nowhere/x"),
            (("--lang", "xx", PHOTO), BAD_MODEL, "en, de, fr, cs"),
            (("fill",), USAGE, "[MASK]"),
            (("fill", PHOTO, "no gap"), USAGE, "[MASK]"),
            (("fill", "/nowhere/x.jpg", "a [MASK]"), SOME_FAILED, "/nowhere/x.jpg"),
        ):
            code, out, err = run(*words)
            self.assertEqual((code, out), (status, ""), words)
            self.assertIn(part, err)
        for words in (("--lang", "de", PHOTO), ("translate", "--from", "en", "--to", "de", "a"), ("fill", "a [MASK]")):
            code, out, err = run(*words, model=OTHER)
            self.assertEqual((code, out), (BAD_MODEL, ""), words)
            self.assertIn("apps/train", err)


if __name__ == "__main__":
    LOOKSAY = os.path.abspath(sys.argv.pop(1))
    if "--portable" in sys.argv:
        sys.argv.remove("--portable")
    unittest.main(verbosity=1)
