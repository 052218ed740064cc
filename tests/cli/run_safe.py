#!/usr/bin/env python3
"""What the user has is not lost: files that are read, results of earlier runs, streams that are closed or full.

    run_safe.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import program
from program import INTERRUPTED, MODEL, OK, OUTPUT, PHOTOS, ROOT, SOME_FAILED, USAGE, TestCase, rows_of, run

LANGUAGES = ROOT / "tests/captioner/models/languages.gguf"


class Safe(TestCase):
    def start(self, *words, **options):
        return subprocess.Popen([program.LOOKSAY, *map(str, words), "--model", str(MODEL)], stderr=subprocess.PIPE, **options)

    def interrupt(self, process, target, n_bytes):
        """Once some rows are there; gives what it said."""
        part = Path(f"{target}.part")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > n_bytes):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1].decode()
        self.assertEqual(process.returncode, INTERRUPTED, said)
        return said

    def test_an_interrupted_run_leaves_the_old_file(self):
        listing, data = self.work / "list", self.work / "data.jsonl"
        listing.write_text(f"{PHOTOS}/wide.jpg\n" * 200000)
        data.write_text(json.dumps({"image": f"{PHOTOS}/wide.jpg", "captions": ["a b"]}) + "\n")
        data.write_text(data.read_text() * 20000)
        for words in (["-f", "jsonl", "--files-from", listing], ["-f", "html", "--files-from", listing], ["eval", data]):
            target = self.work / "kept"
            target.write_text("of a whole run\n")
            Path(f"{target}.part").unlink(missing_ok=True)
            said = self.interrupt(self.start(*words, "-o", target), target, 40000)  # the head of a page is long
            self.assertEqual(target.read_text(), "of a whole run\n")
            self.assertIn("kept: is left as it was; the rows of this unfinished run are in", said)
            part = Path(f"{target}.part").read_text()
            if "html" in words:
                self.assertTrue(part.rstrip().endswith("</html>"))
            else:
                self.assertGreater(len(rows_of(part)), 3)

    def test_a_watch_ends_with_an_interrupt(self):
        folder, target = self.photos("wide.jpg", "tall.png", "grey.jpg", "alpha.png", "turned.jpg"), self.work / "rows"
        target.write_text("of the last watch\n")
        said = self.interrupt(self.start("-f", "jsonl", "--details", "--watch", folder, "-o", target), target, 1000)
        self.assertGreater(len(rows_of(target.read_text())), 0, said)

    def test_what_is_read_is_not_written(self):
        photo, sheet, listing, data, lines = (self.work / n for n in ("in.jpg", "in.png", "list", "data.jsonl", "lines"))
        shutil.copy(PHOTOS / "wide.jpg", photo)
        shutil.copy(PHOTOS / "tall.png", sheet)
        listing.write_text(f"{photo}\n")
        data.write_text('{"image": "in.jpg", "captions": ["a b"]}\n')
        lines.write_text("a dog\n")
        os.link(photo, self.work / "link")
        os.symlink(listing, self.work / "other-name")
        before = {p: p.read_bytes() for p in self.work.iterdir()}
        to = ["translate", "--from", "en", "--to", "de"]
        for words in ([photo, "-o", photo], [photo, "-o", self.work / "link"], ["-f", "csv", self.work / "link", "-o", photo],
                      ["explain", sheet, "-o", sheet], ["--files-from", listing, "-o", listing],
                      ["--files-from", listing, "-o", self.work / "other-name"], ["eval", data, "-o", data],
                      [*to, "--files-from", lines, "-o", lines], [*to, "--image", self.work / "link", "a dog", "-o", self.work / "link"],
                      ["fill", photo, "a [MASK]", "-o", photo],
                      ["video", photo, "-f", "jsonl", "-o", photo], ["video", photo, "-f", "srt", "-o", self.work / "link"]):
            status, out, err = run(*words)
            self.assertEqual((status, out, err.count("\n")), (USAGE, "", 1), (words, err))
            self.assertRegex(err, "is read by this command|is named as a photo is")
        self.assertEqual({p: p.read_bytes() for p in self.work.iterdir()}, before)
        with open(listing, "rb") as file:
            done = subprocess.run([program.LOOKSAY, "--files-from", "-", "-o", str(listing)], stdin=file, capture_output=True)
        self.assertEqual((done.returncode, listing.read_text()), (USAGE, f"{photo}\n"), done.stderr)
        shutil.copy(LANGUAGES, self.work / "model")
        self.assertEqual(run(photo, "-o", self.work / "model", model=self.work / "model")[0], USAGE)
        self.assertEqual((self.work / "model").read_bytes(), LANGUAGES.read_bytes())
        run(photo, "-o", self.work / "new", check=OK)
        run(photo, "-o", self.work / "new", check=OK)

    def test_rows_and_captions_take_no_photos_names(self):
        folder = self.photos("wide.jpg")
        shutil.copy(PHOTOS / "tall.png", folder / "wide.png")
        before = (folder / "wide.png").read_bytes()
        for words in (["-f", "txt", "--ext", "png", "--existing", "overwrite"], ["-f", "txt", "--ext", ".PNG"], ["-o", folder / "wide.png"],
                      ["-f", "csv", "-o", folder / "new.webp"]):
            status, _, err = run(*words, folder / "wide.jpg")
            self.assertEqual((status, (folder / "wide.png").read_bytes()), (USAGE, before), words)
            self.assertIn("photo", err)
        run("-f", "csv", folder / "wide.jpg", env={"LOOKSAY_EXT": "png"}, check=OK)
        self.assertEqual(sorted(os.listdir(folder)), ["wide.jpg", "wide.png"])

    def test_the_dot_of_an_extension_may_be_given(self):
        folder = self.photos("wide.jpg")
        for extension in (".caption", "caption"):
            run("-f", "txt", "--ext", extension, folder, check=OK)
            self.assertEqual(sorted(os.listdir(folder)), ["wide.caption", "wide.jpg"])
        self.assertEqual(run("-f", "txt", "--ext", ".", folder)[0], USAGE)

    def test_models_are_regular_files(self):
        fifo = self.work / "fifo"
        os.mkfifo(fifo)
        data = self.work / "data.jsonl"
        data.write_text('{"image": "none.jpg", "captions": ["a b"]}\n')
        for command in ("convert", "quantize"):
            for target in ("-", fifo, "/dev/null", self.work):
                status, out, err = run(command, MODEL, "-o", target, model=None, cwd=self.work)
                self.assertEqual((status, out), (USAGE, ""), (command, target))
                self.assertIn(f"{target}: is no regular file", err)
        self.assertTrue(fifo.is_fifo())
        for option in ("--data", "--calibrate"):
            self.assertIn("is the data set", run("quantize", MODEL, option, data, "-o", data, model=None)[2])
        self.assertEqual(sorted(os.listdir(self.work)), ["data.jsonl", "fifo"])
        status, out, err = run("quantize", MODEL, "--data", data, model=None)  # nothing is captioned first
        self.assertEqual((status, out, err), (USAGE, "", "looksay: quantize takes one model, and -o FILE.gguf for the new one\n"))

    def test_messages_do_not_go_where_results_are(self):
        bad, target = self.work / "bad.jpg", self.work / "out.csv"
        bad.write_bytes(b"no image")
        command = f"'{program.LOOKSAY}' --model '{MODEL}' -f txt --journal '{self.work}/journal' '{bad}' '{PHOTOS}/none.jpg'"
        self.assertEqual(subprocess.run(["sh", "-c", f"{command} 2>&-"]).returncode, SOME_FAILED)
        self.assertNotIn("looksay: ", (self.work / "journal").read_text())
        for closed, status in (("<&-", OK), (">&-", OUTPUT), ("2>&-", OK), ("<&- >&- 2>&-", OUTPUT)):
            done = subprocess.run(["sh", "-c", f"'{program.LOOKSAY}' --model '{MODEL}' '{PHOTOS}/wide.jpg' {closed}"], capture_output=True)
            self.assertEqual(done.returncode, status, closed)
        done = subprocess.run(["sh", "-c", f"'{program.LOOKSAY}' --model '{MODEL}' - <&-"], capture_output=True, text=True)
        self.assertEqual(done.returncode, SOME_FAILED)
        self.assertIn("standard input cannot be read", done.stderr)

    def test_answers_that_cannot_be_written(self):
        for words in ("--version", "--help", "help", "help bench", "completion bash", "completion fish", "caption --help"):
            with open("/dev/full", "wb") as full:
                done = subprocess.run([program.LOOKSAY, *words.split()], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stderr), (OUTPUT, "looksay: standard output cannot be written\n"), words)

    def test_progress_stays_until_the_next_row(self):
        folder = self.photos("wide.jpg", "tall.png", "grey.jpg", "alpha.png", "turned.jpg")
        ours, theirs = pty.openpty()
        done = subprocess.Popen([program.LOOKSAY, "--model", str(MODEL), "--batch", "1", "--any-picture", str(folder)],
                                stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        shown = b""
        try:
            while some := os.read(ours, 4096):
                shown += some
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        self.assertEqual(done.wait(), OK, shown)
        self.assertEqual(re.findall(rb"(\d) of 5, ", shown), [b"1", b"2", b"3", b"4", b"5"], shown)

    def test_an_interrupt_while_standard_input_is_awaited(self):
        for words in (["explain", "-"], ["fill", "-", "a [MASK]"], ["-"],
                      ["translate", "--from", "en", "--to", "de", "--image", "-", "a dog"]):
            process = subprocess.Popen([program.LOOKSAY, *words, "--verbose", "--model", str(LANGUAGES)], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertIn(b"opened", process.stderr.readline())
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
            self.assertEqual(process.wait(60), INTERRUPTED, (words, said))
            self.assertNotIn(b"cannot be read", said)
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()


if __name__ == "__main__":
    program.main()
