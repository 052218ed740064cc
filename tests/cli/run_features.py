#!/usr/bin/env python3
"""Photos that need not be looked at again: the cache of features, and copies of one photo.

    run_features.py LOOKSAY [TestCase.test_name...]

Standard library only.
"""
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import program
from program import MODEL, OK, OUTPUT, PHOTOS, ROOT, SOME_FAILED, USAGE, TestCase, rows_of, run
from run_resume import picture

NAMES = ("alpha.png", "grey.jpg", "large.jpg", "tall.png", "turned.jpg", "wide.jpg")
NEVER_THE_SAME = ("ms", "timings")


def without_times(rows):
    return [{k: v for k, v in r.items() if k not in NEVER_THE_SAME} for r in rows]


class Features(TestCase):
    def setUp(self):
        super().setUp()
        self.cache = self.work / "features.sqlite"
        self.folder = self.photos(*NAMES)

    def rows(self, *words, hits, of=len(NAMES), folder=None, model=MODEL, cache=True):
        """Rows of a run with the cache, which says how many photos it knew."""
        cached = ["--feature-cache", self.cache] if cache else []
        _, out, err = run("-f", "jsonl", "--details", "--any-picture", *cached, *words, folder or self.folder, model=model, check=OK)
        if cache:
            said = re.search(r"(\d+) of (\d+) images were in the cache", err)
            self.assertEqual(said and (int(said[1]), int(said[2])), (hits, of), err)
        return rows_of(out)

    def values(self):
        with sqlite3.connect(self.cache) as file:
            found = file.execute("SELECT value FROM features ORDER BY rowid").fetchall()
        file.close()
        return found

    def test_same_captions_with_and_without(self):
        for words in ([], ["--beams", "3", "--n-best", "2"], ["--prompt", "a"], ["--seed", "5"], ["--max-tokens", "4", "-t", "1"]):
            plain = self.rows(*words, hits=0, cache=False)
            first = self.rows(*words, hits=0 if not words else len(NAMES))
            again = self.rows(*words, hits=len(NAMES))
            self.assertEqual(without_times(first), without_times(plain))
            self.assertEqual(without_times(again), without_times(plain))
            self.assertTrue(all(r["timings"]["encode_ms"] == 0 and r["timings"]["read_ms"] == 0 for r in again))

    def test_default_model(self):
        photos = ROOT / "assets/photos"
        n = len(list(photos.glob("*.jpg")))
        self.rows(hits=0, of=n, folder=photos, model=None)
        for words in ([], ["--prompt", "a photo of"], ["--beams", "1"]):
            plain = self.rows(*words, hits=0, cache=False, folder=photos, model=None)
            self.assertEqual(without_times(self.rows(*words, hits=n, of=n, folder=photos, model=None)), without_times(plain))

    def test_a_page_has_its_pictures(self):
        pages = [run("-f", "html", *cache, self.folder, check=OK)[1] for cache in ([], *[["--feature-cache", self.cache]] * 2)]
        self.assertEqual(pages[0], pages[1])
        self.assertEqual(pages[0], pages[2])
        self.assertEqual(pages[0].count("<img"), len(NAMES))

    def test_content_counts_not_names(self):
        self.rows(hits=0)
        shutil.copytree(self.folder, self.work / "moved")
        self.rows(hits=len(NAMES), folder=self.work / "moved")
        with open(self.work / "moved" / "wide.jpg", "ab") as file:
            file.write(b"!")
        self.rows(hits=len(NAMES) - 1, folder=self.work / "moved")

    def test_another_model_or_computation_is_looked_at_anew(self):
        self.rows(hits=0)
        copy = self.work / "model"
        shutil.copytree(MODEL, copy)
        self.rows(hits=len(NAMES), model=copy)
        config = copy / "config.json"
        config.write_text(config.read_text() + " ")
        self.rows(hits=0, model=copy)
        self.rows("--isa", "ref", hits=0)
        self.rows("--lenient", hits=0)
        self.rows("--dtype", "bf16", hits=0)
        self.rows(hits=len(NAMES))

    def test_eval_counts_hits_too(self):
        data = self.work / "data.jsonl"
        data.write_text("".join(f'{{"image": "{n}", "captions": ["a b"]}}\n' for n in NAMES))
        words = ["eval", "--photos", PHOTOS, "--feature-cache", self.cache, data]
        first, again = run(*words, check=OK), run(*words, check=OK)
        self.assertIn(f"{len(NAMES)} of {len(NAMES)} images were in the cache", again[2])
        self.assertEqual(without_times(rows_of(first[1])), without_times(rows_of(again[1])))

    def test_other_files_are_refused_and_left_alone(self):
        foreign = self.work / "foreign"
        with sqlite3.connect(foreign) as file:
            file.execute("CREATE TABLE mine (words)")
        file.close()
        others = {"text": b"no cache at all\n" * 100, "short": b"x", "foreign": foreign.read_bytes(),
                  "cut": b"SQLite format 3\0" + bytes(84)}
        for name, content in others.items():
            path = self.work / name
            path.write_bytes(content)
            status, out, err = run("--feature-cache", path, self.folder)
            self.assertEqual((status, out), (OUTPUT, ""), (name, err))
            self.assertIn(str(path), err)
            self.assertEqual(err.count("\n"), 1, err)
            self.assertEqual(path.read_bytes(), content, name)
        for path in (self.folder, "/dev/null", self.work / "none" / "cache"):
            status, out, err = run("--feature-cache", path, self.folder)
            self.assertEqual((status, out), (OUTPUT, ""), err)
        self.assertEqual(run("--feature-cache-size", "5", self.folder)[0], USAGE)

    def test_empty_file_becomes_a_cache(self):
        self.cache.touch()
        self.rows(hits=0)
        self.rows(hits=len(NAMES))

    def test_damaged_values_are_made_anew(self):
        plain = self.rows(hits=0)
        values = [v[0] for v in self.values()]
        self.assertEqual(len(values), len(NAMES))
        changed = bytearray(values[1])
        changed[-3] ^= 1
        bad = [b"", bytes(changed), values[2][:-4], values[3][:10], b"\0" * len(values[4]), values[5]]
        with sqlite3.connect(self.cache) as file:
            for i, value in enumerate(bad):
                file.execute("UPDATE features SET value = ? WHERE rowid = (SELECT rowid FROM features ORDER BY rowid LIMIT 1 OFFSET ?)",
                             (value, i))
        file.close()
        self.assertEqual(without_times(self.rows(hits=1)), without_times(plain))
        self.assertEqual(without_times(self.rows(hits=len(NAMES))), without_times(plain))

    def test_damaged_files_lose_no_caption(self):
        plain = without_times(self.rows(hits=0))
        whole = self.cache.read_bytes()
        dice = random.Random(7)
        for _ in range(12):
            damaged = bytearray(whole)
            for _ in range(dice.randrange(1, 40)):
                damaged[dice.randrange(100, len(damaged))] = dice.randrange(256)
            if dice.random() < 0.3:
                del damaged[dice.randrange(16384, len(damaged)):]
            self.cache.write_bytes(damaged)
            for _ in range(3):  # damage that only reading meets is removed at the end of the first run
                out, err = run("-f", "jsonl", "--details", "--any-picture", "--feature-cache", self.cache, self.folder, check=OK)[1:]
                self.assertEqual(without_times(rows_of(out)), plain)
            self.assertIn(f"{len(NAMES)} of {len(NAMES)} images were in the cache", err)

    def test_a_cut_file_is_made_anew(self):
        plain = without_times(self.rows(hits=0))
        whole = self.cache.read_bytes()
        for n in (len(whole) // 2, 20000, 600, 200):
            self.cache.write_bytes(whole[:n])
            self.assertEqual(without_times(self.rows(hits=0)), plain)
            self.assertEqual(without_times(self.rows(hits=len(NAMES))), plain)

    def test_size_is_bounded(self):
        folder = self.work / "many"
        folder.mkdir()
        for i in range(60):
            (folder / f"{i:02}.png").write_bytes(picture(i))
        self.rows(hits=0, of=60, folder=folder)
        everything = self.cache.stat().st_size
        value = len(self.values()[0][0])
        self.cache.unlink()
        # the model's features are small: enough of them to pass the smallest bound
        n = max(60, (3 << 20) // (value + 4096))
        for i in range(60, n):
            (folder / f"{i:04}.png").write_bytes(picture(i, 24))
        self.rows("--feature-cache-size", "1", hits=0, of=n, folder=folder)
        kept = len(self.values())
        self.assertLessEqual(self.cache.stat().st_size, (1 << 20) + 65536)
        self.assertTrue(0 < kept < n, (kept, n, everything))
        last = sorted(folder.iterdir())[-min(5, kept):]
        _, _, err = run("--any-picture", "--feature-cache", self.cache, *last, check=OK)
        self.assertIn(f"{len(last)} of {len(last)} images were in the cache", err)  # the oldest went

    def test_full_disk_loses_no_caption(self):
        """A file size limit stands in for a full disk: both fail a write in the middle."""
        plain = without_times(self.rows(hits=0, cache=False))
        script = ("import resource, os, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
                  "resource.setrlimit(resource.RLIMIT_FSIZE, (120000, 120000)); os.execv(sys.argv[1], sys.argv[1:])")
        words = [sys.executable, "-c", script, program.LOOKSAY, "-f", "jsonl", "--details", "--any-picture", "--model", str(MODEL),
                 "--feature-cache", str(self.cache), str(self.folder)]
        done = subprocess.run(words, capture_output=True, timeout=120)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(without_times(rows_of(done.stdout.decode())), plain)
        self.assertIn(b"features.sqlite: ", done.stderr)
        out = run("-f", "jsonl", "--details", "--any-picture", "--feature-cache", self.cache, self.folder, check=OK)[1]
        self.assertEqual(without_times(rows_of(out)), plain)

    def test_several_processes(self):
        folder = self.work / "many"
        folder.mkdir()
        for i in range(24):
            (folder / f"{i:02}.png").write_bytes(picture(i))
        plain = without_times(self.rows(hits=0, folder=folder, cache=False))
        words = [program.LOOKSAY, "-f", "jsonl", "--details", "--any-picture", "--feature-cache", str(self.cache), "--model", str(MODEL),
                 "-t", "1", str(folder)]
        running = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
        for process in running:
            out, err = process.communicate(timeout=300)
            self.assertEqual(process.returncode, OK, err)
            self.assertEqual(without_times(rows_of(out.decode())), plain)
            self.assertIn(b"images were in the cache", err)
            self.assertEqual(err.count(b"\n"), 1, err)
        self.rows(hits=24, of=24, folder=folder)

    def test_killed_writers_leave_a_cache(self):
        folder = self.work / "many"
        folder.mkdir()
        for i in range(200):
            (folder / f"{i:03}.png").write_bytes(picture(i, 24))
        words = [program.LOOKSAY, "-f", "jsonl", "--any-picture", "--feature-cache", str(self.cache), "--model", str(MODEL), "-t", "1", str(folder)]
        dice = random.Random(3)
        for _ in range(8):
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(dice.uniform(0, 0.3))
            process.send_signal(signal.SIGKILL)
            process.wait()
        plain = without_times(self.rows(hits=0, folder=folder, cache=False))
        out = run("-f", "jsonl", "--details", "--any-picture", "--feature-cache", self.cache, folder, check=OK)[1]
        self.assertEqual(without_times(rows_of(out)), plain)
        self.rows(hits=200, of=200, folder=folder)


class Copies(TestCase):
    def test_same_bytes_are_captioned_once(self):
        folder = self.photos("wide.jpg", "tall.png")
        for i in range(5):
            shutil.copy(folder / "wide.jpg", folder / f"copy {i}.jpg")
        (folder / "bad.jpg").write_bytes(b"no image")
        shutil.copy(folder / "bad.jpg", folder / "worse.jpg")
        status, out, err = run("-f", "jsonl", "--details", folder)
        rows = rows_of(out)
        self.assertEqual(status, SOME_FAILED)
        self.assertIn("5 of 7 images are copies of others", err)
        self.assertEqual([r["status"] for r in rows].count("error"), 2)
        same = [r for r in rows if "copy" in r["image"] or "wide" in r["image"]]
        self.assertEqual(len(same), 6)
        for row in same[1:]:
            self.assertEqual({**row, "image": "", "ms": 0}, {**same[0], "image": "", "ms": 0})
        for row in rows:  # each row still has its own name
            self.assertEqual(os.path.dirname(row["image"]), str(folder))
        self.assertEqual(len({r["image"] for r in rows}), len(rows))

    def test_without_copies_nothing_is_said(self):
        self.assertEqual(run(self.photos("wide.jpg", "tall.png"), check=OK)[2], "")


if __name__ == "__main__":
    program.main()
