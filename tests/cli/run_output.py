#!/usr/bin/env python3
"""What the program writes: formats, files that appear whole, disks that are full.

    run_output.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import program
from program import MODEL, OK, OUTPUT, PHOTOS, SOME_FAILED, TestCase, rows_of, run


class Output(TestCase):
    def test_text_of_one_photo_is_the_caption_alone(self):
        _, out, err = run(PHOTOS / "wide.jpg", check=OK)
        self.assertEqual((out.count("\n"), err), (1, ""))
        self.assertNotIn("wide.jpg", out)

    def test_text_of_several_names_them(self):
        _, out, _ = run(PHOTOS / "wide.jpg", PHOTOS / "tall.png", check=OK)
        lines = out.split("\n")  # a random model's words may hold other line separators
        self.assertEqual([line.split(": ")[0] for line in lines], [f"{PHOTOS}/wide.jpg", f"{PHOTOS}/tall.png", ""])

    def test_jsonl(self):
        _, out, _ = run("--format", "jsonl", "--details", "--beams", "3", "--n-best", "2", PHOTOS / "wide.jpg", check=OK)
        row, = rows_of(out)
        self.assertEqual(row["image"], str(PHOTOS / "wide.jpg"))
        self.assertEqual((row["status"], row["model"], row["size"]), ("ok", "vit-gpt2-bin", [160, 90]))
        self.assertEqual(len(row["tokens"]), len(row["logprobs"]))
        self.assertTrue(all(p <= 0 for p in row["logprobs"]))
        self.assertEqual(len(row["alternatives"]), 2)
        self.assertGreaterEqual(row["alternatives"][0]["score"], row["alternatives"][1]["score"])
        self.assertEqual(row["alternatives"][0]["caption"], row["caption"])
        self.assertGreaterEqual(row["ms"], row["timings"]["encode_ms"])

    def test_csv(self):
        bad = self.work / 'quote " comma , line\n.jpg'
        bad.write_bytes(b"no image")
        status, out, _ = run("--format", "csv", PHOTOS / "wide.jpg", bad)
        self.assertEqual(status, SOME_FAILED)
        rows = list(csv.reader(io.StringIO(out, newline="")))
        self.assertEqual(rows[0], ["image", "caption", "score", "status", "error", "confidence"])
        self.assertEqual((rows[1][3], rows[2][0], rows[2][3]), ("ok", str(bad), "error"))
        self.assertEqual(len(rows), 3)

    def test_sidecars(self):
        folder = self.photos("wide.jpg", "tall.png")
        (folder / "tall.txt").write_text("mine\n")
        _, out, err = run("--format", "txt", folder, check=OK)
        self.assertEqual(out, "")
        self.assertIn("1 of 2", err)
        said = (folder / "wide.txt").read_text()
        self.assertEqual((folder / "tall.txt").read_text(), "mine\n")
        run("--format", "txt", "--existing", "append", folder / "tall.png", check=OK)
        tall = (folder / "tall.txt").read_text().splitlines()
        self.assertEqual((len(tall), tall[0]), (2, "mine"))
        run("--format", "txt", "--existing", "prepend", folder / "wide.jpg", check=OK)
        self.assertEqual((folder / "wide.txt").read_text(), said * 2)
        run("--format", "txt", "--existing", "overwrite", folder, check=OK)
        self.assertEqual((folder / "wide.txt").read_text(), said)
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["tall.png", "tall.txt", "wide.jpg", "wide.txt"])

    def test_output_file_appears_whole(self):
        target = self.work / "out.jsonl"
        target.write_text("old")
        status, out, _ = run("-f", "jsonl", "-o", target, PHOTOS / "wide.jpg", self.work / "none.jpg")
        self.assertEqual((status, out), (SOME_FAILED, ""))
        self.assertEqual([r["status"] for r in rows_of(target.read_text())], ["ok", "error"])
        self.assertFalse((self.work / "out.jsonl.part").exists())

    def test_output_that_cannot_be_written(self):
        status, out, err = run("-o", self.work / "none" / "out", PHOTOS / "wide.jpg")
        self.assertEqual((status, out), (OUTPUT, ""))
        self.assertIn("none/out", err)
        if os.path.exists("/dev/full"):
            for words in (["-o", "/dev/full"], ["-f", "jsonl", "-o", "/dev/full"]):
                status, _, err = run(*words, PHOTOS / "wide.jpg")
                self.assertEqual(status, OUTPUT, err)
                self.assertIn("No space left", err)

    def test_full_disk_keeps_the_rows_before(self):
        """A file size limit stands in for a full disk: both fail a write in the middle of a row."""
        script = ("import resource, os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
                  "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); os.execv(sys.argv[1], sys.argv[1:])")
        target = self.work / "out.jsonl"
        words = [sys.executable, "-c", script, program.LOOKSAY, "-f", "jsonl", "-o", str(target), "--model", str(MODEL)]
        done = subprocess.run(words + [str(PHOTOS / "wide.jpg")] * 20, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, OUTPUT, done.stderr)
        self.assertIn("File too large", done.stderr)
        part = Path(str(target) + ".part").read_text()
        self.assertGreaterEqual(len(rows_of(part)), 2)
        self.assertTrue(part.endswith("}\n"))
        self.assertFalse(target.exists())

    def test_same_caption_whatever_the_threads_and_the_company(self):
        alone = [run("-f", "jsonl", "--details", "-t", t, PHOTOS / "tall.png", check=OK)[1] for t in ("1", "2", "3")]
        company = run("-f", "jsonl", "--details", "--beams", "1", PHOTOS / "wide.jpg", PHOTOS / "tall.png", check=OK)[1]
        rows = [rows_of(text)[-1] for text in alone + [company]]
        for row in rows[1:3]:
            self.assertEqual((row["tokens"], row["logprobs"]), (rows[0]["tokens"], rows[0]["logprobs"]))
        again = run("-f", "jsonl", "--details", "--beams", "1", PHOTOS / "tall.png", check=OK)[1]
        self.assertEqual(rows_of(again)[0]["logprobs"], rows[3]["logprobs"])


if __name__ == "__main__":
    program.main()
