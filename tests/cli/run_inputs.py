#!/usr/bin/env python3
"""What the program reads: folders, lists, pipes, and what is no picture.

    run_inputs.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import program
from program import INTERRUPTED, MODEL, OK, PHOTOS, PORTABLE, SOME_FAILED, USAGE, TestCase, rows_of, run


class Inputs(TestCase):
    def test_folder_in_order_and_recursive(self):
        folder = self.photos("wide.jpg", "tall.png", "grey.jpg")
        (folder / "notes.md").write_text("no image")
        (folder / ".hidden.jpg").write_bytes(b"")
        (folder / "more").mkdir()
        shutil.copy(PHOTOS / "tiny.png", folder / "more" / "A.PNG")
        os.symlink(folder, folder / "more" / "loop")
        flat = [r["image"] for r in rows_of(run("-f", "jsonl", str(folder) + "/", check=OK)[1])]
        self.assertEqual(flat, [f"{folder}/{n}" for n in ("grey.jpg", "tall.png", "wide.jpg")])
        deep = [r["image"] for r in rows_of(run("-r", "-f", "jsonl", folder, check=OK)[1])]
        self.assertEqual(deep, [f"{folder}/{n}" for n in ("grey.jpg", "more/A.PNG", "tall.png", "wide.jpg")])

    def test_standard_input(self):
        image = (PHOTOS / "wide.jpg").read_bytes()
        piped = run("-f", "jsonl", "--details", "-", stdin=image, check=OK)[1]
        named = run("-f", "jsonl", "--details", PHOTOS / "wide.jpg", check=OK)[1]
        self.assertEqual(rows_of(piped)[0]["logprobs"], rows_of(named)[0]["logprobs"])
        self.assertEqual(rows_of(piped)[0]["image"], "-")
        status, _, err = run("-", stdin=b"")
        self.assertEqual(status, SOME_FAILED)
        self.assertIn("standard input is empty", err)

    def test_lists(self):
        names = [str(PHOTOS / n) for n in ("wide.jpg", "tall.png")]
        listing = self.work / "list"
        listing.write_text("\r\n".join(names) + "\r\n\n")
        self.assertEqual([r["image"] for r in rows_of(run("-f", "jsonl", "--files-from", listing, check=OK)[1])], names)
        listing.write_text("\ufeff" + "\n".join(names), encoding="utf-8")
        self.assertEqual([r["image"] for r in rows_of(run("-f", "jsonl", "--files-from", listing, check=OK)[1])], names)
        zeros = "\0".join(names).encode()
        piped = run("-f", "jsonl", "--files-from", "-", "-0", stdin=zeros, check=OK)[1]
        self.assertEqual([r["image"] for r in rows_of(piped)], names)
        status, _, err = run("--files-from", self.work / "none")
        self.assertEqual(status, USAGE)
        self.assertIn("none", err)

    def test_bad_inputs_fail_alone(self):
        """Each bad input is one failed row with one clear error; the good ones around it are captioned all the same."""
        good = (PHOTOS / "wide.jpg").read_bytes()
        flipped = bytearray(good)
        flipped[2:4] = b"\x00\x00"
        bad = {
            "empty.jpg": b"",
            "truncated.jpg": good[:len(good) // 2],
            "truncated.png": (PHOTOS / "tall.png").read_bytes()[:200],
            "flipped.jpg": bytes(flipped),
            "text.jpg": b"this is text, not an image at all\n" * 10,
            # the header of a 26,000 x 26,000 PNG, and no more
            "bomb.png": b"\x89PNG\r\n\x1a\n" + bytes.fromhex("0000000d49484452000065900000659008020000000f6d8b1f") + b"\0" * 115,
        }
        for name, content in bad.items():
            (self.work / name).write_bytes(content)
        (self.work / "folder.jpg").mkdir()
        (self.work / "folder.jpg" / "x").mkdir()
        os.mkfifo(self.work / "fifo.jpg")
        os.symlink("loop.jpg", self.work / "loop.jpg")
        (self.work / "unreadable.jpg").write_bytes(good)
        os.chmod(self.work / "unreadable.jpg", 0)
        (self.work / "png-inside.jpg").write_bytes((PHOTOS / "tall.png").read_bytes())
        odd = os.fsencode(self.work) + b"/caf\xe9 \n.jpg"
        with open(odd, "wb") as file:
            file.write(good)

        failing = [self.work / n for n in bad] + [self.work / n for n in ("fifo.jpg", "loop.jpg", "missing.jpg")]
        fine = [PHOTOS / "wide.jpg", self.work / "png-inside.jpg", odd, PHOTOS / "tall.png"]
        if os.geteuid() != 0:  # root reads everything
            failing.append(self.work / "unreadable.jpg")
        words = [*fine[:2], *failing, *fine[2:]]
        began = time.monotonic()
        status, out, err = run("--format", "jsonl", *words)
        self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(status, SOME_FAILED)
        rows = rows_of(out)
        self.assertEqual(len(rows), len(words))
        for word, row in zip(words, rows):
            if word in fine:
                self.assertEqual(row["status"], "ok", row)
                continue
            self.assertEqual(row["status"], "error", row)
            self.assertNotIn("caption", row)
            self.assertIn(word.name, row["error"])
        self.assertIn(f"{len(failing)} of {len(words)} images failed", err)
        reasons = {Path(r["image"]).name: r["error"] for r in rows if r["status"] == "error"}
        for name, reason in {"empty.jpg": "empty", "fifo.jpg": "FIFO", "missing.jpg": "no such file", "bomb.png": "50 megapixels",
                             "text.jpg": "format", "truncated.jpg": "get a whole copy, or take what can be read of it with --lenient"}.items():
            self.assertIn(reason, reasons[name])

        status, out, err = run(*failing)  # as text: nothing on standard output, a line each on standard error
        self.assertEqual((status, out), (SOME_FAILED, ""))
        self.assertEqual(len(err.splitlines()), len(failing) + 1, err)

        if not PORTABLE:  # whose decoder gives a JPEG up when it ends early
            row, = rows_of(run("--format", "jsonl", "--lenient", self.work / "truncated.jpg", check=OK)[1])
            self.assertTrue(row["damaged"])

    def test_empty_folder_is_done(self):
        (self.work / "empty").mkdir()
        self.assertEqual(run(self.work / "empty", check=OK), (OK, "", "looksay: no images were found\n"))
        self.assertEqual(run("-q", self.work / "empty", check=OK), (OK, "", ""))
        self.assertIn("no images", run("--include", "*.none", PHOTOS, check=OK)[2])

    def test_interrupt_keeps_what_is_done(self):
        listing, target = self.work / "list", self.work / "out.jsonl"
        listing.write_text(f"{PHOTOS}/wide.jpg\n" * 200000)
        words = [program.LOOKSAY, "-f", "jsonl", "-o", str(target), "--files-from", str(listing), "--model", str(MODEL)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE)
        part = Path(str(target) + ".part")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > 1000):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, INTERRUPTED)
        rows = rows_of(target.read_text())
        self.assertGreater(len(rows), 3)
        self.assertTrue(all(r["status"] == "ok" for r in rows))


if __name__ == "__main__":
    program.main()
