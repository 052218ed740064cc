#!/usr/bin/env python3
"""Runs that are killed, interrupted or out of disk go on: nothing lost, nothing done twice, no torn file.

    run_resume.py LOOKSAY [--portable] [TestCase.test_name...]

LOOKSAY_TEST_KILLS (default 20) says how many SIGKILLs each batch gets, LOOKSAY_TEST_PHOTOS (default 60) how many photos it has.
By hand, LOOKSAY_TEST_KILLS=200 LOOKSAY_TEST_PHOTOS=500. Standard library only.
"""
import csv
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest
import zlib
from pathlib import Path

import program
from program import INTERRUPTED, MODEL, OK, OUTPUT, PHOTOS, PORTABLE, SOME_FAILED, USAGE, TestCase, rows_of, run

N_KILLS = int(os.environ.get("LOOKSAY_TEST_KILLS", "6" if PORTABLE else "20"))
N_PHOTOS = int(os.environ.get("LOOKSAY_TEST_PHOTOS", "15" if PORTABLE else "60"))
SAMPLES = sorted((program.ROOT / "assets/photos").glob("*.jpg"))


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def picture(seed, side=48):
    """A PNG of a few coloured boxes, with the grain of a photo."""
    dice = random.Random(seed)
    ground = bytes(dice.choices(range(256), k=3)) * side
    pixels = [bytearray(ground) for _ in range(side)]
    for _ in range(5):
        x, y, w, h = (dice.randrange(side) for _ in range(4))
        colour = bytes(dice.choices(range(256), k=3))
        for row in pixels[y:y + h]:
            n = len(row[3 * x:3 * (x + w)]) // 3
            row[3 * x:3 * (x + n)] = colour * n
    pixels = [bytes(min(255, value + dice.randrange(12)) for value in row) for row in pixels]
    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(b"".join(b"\0" + row for row in pixels))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def part_of(path):
    """Where a new sidecar is until it is whole, see sidecar.c; the hash is FNV-1a."""
    value = 0xcbf29ce484222325
    for byte in os.fsencode(path.name):
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return path.with_name(f".looksay-{value:016x}.part")


class Batch(TestCase):
    def batch(self, n, where="photos", bad=True):
        """n generated photos in two folders, two of them no photos at all."""
        folder = self.work / where
        for i in range(n):
            name = folder / ("a" if i % 2 else "b") / (f"{i:04}.png" if i % 10 else f"{i:04} odd\n.png")
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_bytes(b"no photo" if bad and i in (7, 70) else picture(i))
        return folder

    def library(self, where, originals, n=N_PHOTOS):
        """n photos, copies of the originals with a number behind the picture, two of them no photos at all."""
        folder = self.work / where
        for i in range(n):
            original = originals[i % len(originals)]
            name = folder / f"{i % 3}" / f"{i:05}{original.suffix}"
            name.parent.mkdir(parents=True, exist_ok=True)
            if i in (7, n - 2):
                name.write_bytes(b"no photo")
            else:
                name.write_bytes(original.read_bytes() + b"%08d" % i)
        return folder

    def command(self, *words, model=MODEL):
        return [os.fsencode(w) for w in (program.LOOKSAY, *words, *(["--model", model] if model else []))]

    def run_killed(self, growing, seconds, restart, check, *words, model):
        """Kills the command again and again, at random moments, until N_KILLS have hit, then lets it end. Half of the kills come
        in the first seconds, half in those after the file `growing` has grown. check() looks at each end; restart() makes room
        for the next."""
        dice = random.Random(N_KILLS)
        hits = n_ends = 0
        while hits < N_KILLS:
            before = growing.stat().st_size if growing.exists() else 0
            process = subprocess.Popen(self.command(*words, model=model), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if dice.random() < 0.5:
                time.sleep(dice.uniform(0, seconds))
            else:
                while process.poll() is None and not (growing.exists() and growing.stat().st_size > before):
                    time.sleep(0.001)
                time.sleep(dice.uniform(0, seconds))
            process.send_signal(signal.SIGKILL)
            said = process.communicate()[1]
            self.assertIn(process.returncode, (-signal.SIGKILL, OK, SOME_FAILED), said)
            hits += process.returncode == -signal.SIGKILL
            if process.returncode != -signal.SIGKILL:
                check()
                restart()
                n_ends += 1
        done = subprocess.run(self.command(*words, model=model), capture_output=True, timeout=600)
        self.assertEqual(done.returncode, SOME_FAILED, done.stderr)
        check()
        before = re.search(rb"\d+ images were done before", done.stderr)
        print(f"{self.id()}: {hits} kills, {n_ends + 1} batches ended; {before.group().decode() if before else 'none before'}",
              file=sys.stderr)

    def tree(self, folder):
        return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*"))
                if p.is_file() and p.suffix not in (".journal", ".png", ".jpg")}


def timeless(path):
    return [{k: v for k, v in row.items() if k != "ms"} for row in rows_of(path.read_text())]


class Kill(Batch):
    def kill_rows(self, folder, name, seconds, model, *more):
        whole, killed = self.work / f"whole-{name}", self.work / f"killed-{name}"
        words = ["-r", "-f", name.split(".")[1], *more, folder]
        run(*words, "-o", whole, model=model, check=SOME_FAILED)
        files = [killed, self.work / f"killed-{name}.journal", self.work / f"killed-{name}.part"]

        def check():
            self.assertTrue(files[0].exists() and not files[2].exists())
            if name.endswith("jsonl"):
                self.assertEqual(timeless(killed), timeless(whole))
            else:
                self.assertEqual(killed.read_bytes(), whole.read_bytes())

        def restart():
            for file in files:
                file.unlink(missing_ok=True)

        self.run_killed(files[2], seconds, restart, check, *words, "--resume", "-o", killed, model=model)
        return timeless(killed) if name.endswith("jsonl") else None

    @unittest.skipIf(PORTABLE, "this build has no XMP")
    def test_photos_that_captions_go_into(self):
        folders = [self.library(where, SAMPLES) for where in ("whole", "killed")]
        bare = {p.relative_to(folders[1]): p.read_bytes() for p in folders[1].rglob("*.jpg")}
        words = ["-r", "-f", "embed", "--existing", "append", "--max-tokens", "4"]
        run(*words, folders[0], model=None, check=SOME_FAILED)

        def photos(folder):
            return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p != journal}

        def restart():
            journal.unlink()
            for name, data in bare.items():
                (folders[1] / name).write_bytes(data)

        def check():
            self.assertEqual(photos(folders[1]), whole)

        journal = folders[1] / ".looksay.journal"
        whole = photos(folders[0])
        self.assertNotEqual(whole, bare)
        self.run_killed(journal, 0.2, restart, check, *words, "--resume", folders[1], model=None)

    def kill_sidecars(self, folders, seconds, model, *more):
        marks = [p.relative_to(folders[0]).with_suffix(".txt") for p in sorted(folders[0].rglob("*.*"))[3:30:9]]

        def restart(folder=folders[1]):
            for old in (*folder.rglob("*.txt"), *folder.glob(".looksay.journal")):
                old.unlink()
            for name in marks:
                (folder / name).write_text("a person's words")

        def check():
            self.assertEqual(self.tree(folders[1]), whole)

        words = ["-r", "-f", "txt", "--existing", "append", *more]
        for folder in folders:
            restart(folder)
        run(*words, folders[0], model=model, check=SOME_FAILED)
        whole = self.tree(folders[0])
        journal = folders[1] / ".looksay.journal"
        self.run_killed(journal, seconds, restart, check, *words, "--resume", folders[1], model=model)
        return whole

    def test_rows_of_the_default_model(self):
        rows = self.kill_rows(self.library("photos", SAMPLES), "out.jsonl", 0.4, None, "--max-tokens", "4")
        self.assertEqual(len(rows), N_PHOTOS)
        self.assertEqual([r["status"] for r in rows].count("error"), 2)

    def test_sidecars_of_the_default_model(self):
        whole = self.kill_sidecars([self.library(where, SAMPLES) for where in ("whole", "killed")], 0.2, None, "--max-tokens", "4")
        self.assertEqual(len(whole), N_PHOTOS - 2)

    def test_rows_of_a_fast_model(self):
        """A few milliseconds a photo: kills hit writes and renames more often than arithmetic."""
        originals = sorted(self.batch(20, "originals", bad=False).rglob("*.png"))
        self.kill_rows(self.library("photos", originals, 50 * N_PHOTOS), "out.csv", 0.3, MODEL, "--max-tokens", "2", "-t", "1")

    def test_sidecars_of_a_fast_model(self):
        self.kill_sidecars([self.batch(N_PHOTOS, where) for where in ("whole", "killed")], 0.02, MODEL, "--max-tokens", "2")


    @unittest.skipIf(PORTABLE, "its first photos alone would take a minute")
    def test_shards_of_ten_thousand_links(self):
        """Many names of a few photos, in two shards, each killed on its way: every name has one row, in order, with its photo's caption."""
        originals, folder, photo_of = self.work / "originals", self.work / "photos", {}
        originals.mkdir()
        for photo in SAMPLES:
            shutil.copy(photo, originals)
        for i in range(10000):
            name = folder / f"{i % 90:02}" / (f"{i:05}.jpg" if i % 9 else f"{i:05} \n.jpg")
            if i < 90:
                name.parent.mkdir(parents=True)
            photo = originals / SAMPLES[i % len(SAMPLES)].name
            name.symlink_to(photo) if i % 5 == 0 else name.hardlink_to(photo)
            photo_of[str(name)] = photo.name
        captions = {}
        for row in rows_of(run("-f", "jsonl", originals, model=None, check=OK)[1]):
            captions[Path(row["image"]).name] = row["caption"]
        named = []
        for shard in ("1/2", "2/2"):
            out = self.work / f"{shard[0]}.jsonl"
            part, journal = Path(f"{out}.part"), Path(f"{out}.journal")
            words = self.command("-r", "-f", "jsonl", "-t", "1", "--shard", shard, "--resume", "-o", out, folder, model=None)
            killed = subprocess.Popen(words, stderr=subprocess.DEVNULL)
            while killed.poll() is None and not (size_of(part) > 150000 and size_of(journal) > 1000):  # a fifth, and some of it journaled
                time.sleep(0.001)
            killed.kill()
            self.assertEqual(killed.wait(), -signal.SIGKILL)
            done = subprocess.run(words, capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, OK, done.stderr)
            before, = re.findall(r"(\d+) images were done before", done.stderr)
            rows = rows_of(out.read_text())
            self.assertTrue(4500 < len(rows) < 5500 and 0 < int(before) < len(rows), (before, len(rows)))
            print(f"shard {shard}: {before} of {len(rows)} rows were journaled when it was killed", file=sys.stderr)
            self.assertEqual([row["image"] for row in rows], sorted(row["image"] for row in rows))
            self.assertEqual([row["caption"] for row in rows], [captions[photo_of[row["image"]]] for row in rows])
            named += [row["image"] for row in rows]
        self.assertEqual(sorted(named), sorted(photo_of))


class Resume(Batch):
    def csv(self, *words, target=None, check=OK):
        target = target or self.work / "out.csv"
        err = run("-r", "-f", "csv", "-o", target, "--resume", *words, check=check)[2]
        return target.read_bytes() if target.exists() else None, err

    def test_any_cut_of_output_and_journal_heals(self):
        """Whatever prefix of either file a crash leaves, the end is the same."""
        folder = self.batch(8)
        whole, _ = self.csv(folder, check=SOME_FAILED)
        out, part = self.work / "out.csv", self.work / "out.csv.part"
        journal = self.work / "out.csv.journal"
        lines = journal.read_bytes()
        self.assertEqual(lines.count(b"\0"), 9)
        dice = random.Random(3)
        for _ in range(40):
            out.unlink()
            n = dice.randrange(len(lines) + 1)
            journal.write_bytes(lines[:n])
            done = lines[:n].count(b"\0") - 1
            # rows are on the disk before their entry: the part holds at least those of the journal, and perhaps more
            least = int(lines.split(b"\0")[done].split()[2]) if done > 0 else 0
            part.write_bytes(whole[:dice.randrange(least, len(whole) + 1)])
            self.assertEqual(self.csv(folder, check=SOME_FAILED)[0], whole)
            self.assertEqual(journal.read_bytes(), lines)
            self.assertFalse(part.exists())
        for _ in range(20):  # a failing disk: any byte of the journal, any end of the part
            out.unlink()
            bad = bytearray(lines)
            bad[dice.randrange(lines.index(b"\0") + 1, len(lines))] ^= 1 << dice.randrange(8)
            journal.write_bytes(bad)
            part.write_bytes(whole[:dice.randrange(len(whole))])
            self.assertEqual(self.csv(folder, check=SOME_FAILED)[0], whole)

    def test_a_finished_run_does_only_what_is_new(self):
        folder = self.batch(6, bad=False)
        first, _ = self.csv(folder)
        again, err = self.csv(folder)
        self.assertEqual(again, first)
        self.assertIn("6 images were done before", err)
        shutil.copy(PHOTOS / "wide.jpg", folder / "zebra.jpg")
        more, err = self.csv(folder)
        self.assertTrue(more.startswith(first))
        self.assertIn(b"zebra.jpg", more[len(first):])
        self.assertEqual(len(list(csv.reader(io.StringIO(more.decode(), newline="")))), 8)

    def test_a_path_named_twice_is_done_twice(self):
        photo = PHOTOS / "wide.jpg"
        once, _ = self.csv(photo, photo, photo)
        self.assertEqual(self.csv(photo, photo, photo)[0], once)
        self.assertEqual(once.count(b"\r\n"), 4)

    def test_what_does_not_belong_together_is_refused(self):
        folder = self.batch(3)
        self.csv(folder)
        before = (self.work / "out.csv").read_bytes()
        _, err = self.csv(folder, "--beams", "2", check=OUTPUT)
        self.assertIn("other options", err)
        self.assertIn("--beams=2", err)
        self.assertEqual((self.work / "out.csv").read_bytes(), before)
        (self.work / "out.csv").write_bytes(before.replace(b"ok", b"OK"))
        _, err = self.csv(folder, check=OUTPUT)
        self.assertIn("has changed", err)
        self.assertIn(b"OK", (self.work / "out.csv").read_bytes())
        for content in (b"my diary\n" * 50, b"my diary", b"\0\n", (PHOTOS / "wide.jpg").read_bytes()):
            foreign = self.work / "foreign"
            foreign.write_bytes(content)
            _, err = self.csv(folder, "--journal", foreign, check=OUTPUT)
            self.assertIn("no journal", err)
            self.assertEqual(foreign.read_bytes(), content)
        for words, said in [(["--resume", folder], "--output"), (["--resume", "-o", "-", folder], "--output"),
                            (["--journal", self.work / "j", "-f", "csv", folder], "--output"),
                            (["--resume", "-o", "/dev/null", folder], "regular file"),
                            (["--resume", "-f", "txt", next(folder.rglob("*.png"))], "--journal"),
                            (["--resume", "--dry-run", folder], "--dry-run")]:
            status, out, err = run(*words, model=self.work / "none")  # said before a model is looked for
            self.assertEqual((status, out, err.count("\n")), (USAGE, "", 1), err)
            self.assertIn(said, err)

    def test_one_run_at_a_time(self):
        folder = self.batch(4)
        listing = self.work / "list"
        os.mkfifo(listing)
        words = ["-f", "csv", "--resume", "-o", self.work / "out.csv"]
        process = subprocess.Popen(self.command(*words, "--files-from", listing), stderr=subprocess.PIPE)
        with open(listing, "w") as feed:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not (self.work / "out.csv.part").exists():
                time.sleep(0.02)
            status, _, err = run(*words, folder)
            self.assertEqual(status, OUTPUT)
            self.assertIn("another run", err)
            feed.write(f"{next(folder.rglob('*.png'))}\n".replace("\n.png", ".png"))
        process.communicate(timeout=60)

    def test_shards_share_a_folder(self):
        folder = self.batch(30, bad=False)
        for i in (1, 2, 3):
            run("-r", "-f", "txt", "--resume", "--shard", f"{i}/3", folder, check=OK)
        self.assertEqual(len(self.tree(folder)), 30)
        self.assertEqual(sorted(p.name for p in folder.glob(".looksay*")), [f".looksay-{i}-3.journal" for i in (1, 2, 3)])

    def test_interrupt_drains_and_the_same_command_goes_on(self):
        folder = self.batch(60, bad=False)
        whole, _ = self.csv(folder, target=self.work / "whole.csv")
        out, part = self.work / "out.csv", self.work / "out.csv.part"
        for number in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen(self.command("-r", "-f", "csv", "--resume", "-o", out, folder), stderr=subprocess.PIPE)
            deadline = time.monotonic() + 60
            size = part.stat().st_size if part.exists() else 0
            while time.monotonic() < deadline and not (part.exists() and part.stat().st_size > size + 100):
                time.sleep(0.002)
            process.send_signal(number)
            err = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, INTERRUPTED, err)
            self.assertIn("goes on from here", err)
            self.assertFalse(out.exists())
            rows = part.read_bytes()
            self.assertTrue(rows.endswith(b"\r\n") and whole.startswith(rows))
            entries = (self.work / "out.csv.journal").read_bytes().count(b"\0") - 1
            self.assertEqual(entries, len(list(csv.reader(io.StringIO(rows.decode(), newline="")))) - 1)
        self.assertEqual(self.csv(folder)[0], whole)

    def test_a_sidecar_is_finished_once_and_then_its_owner_s(self):
        """Killed between the journal's entry and the rename: the next run renames. What a person writes later stays."""
        folder = self.batch(4, bad=False)
        words = ["-r", "-f", "txt", "--existing", "append", "--resume", folder]
        run(*words, check=OK)
        last = folder / "b" / "0002.txt"
        text = last.read_text()
        part = part_of(last)
        last.rename(part)
        _, _, err = run(*words, check=OK)
        self.assertIn("4 images were done before", err)
        self.assertEqual(last.read_text(), text)
        last.write_text("my words\n")
        part.write_text(text[:3])  # torn: of a run before the entry
        run(*words, check=OK)
        self.assertEqual(last.read_text(), "my words\n")

    def test_progress_is_for_terminals(self):
        folder = self.batch(60, bad=False)
        words = ["-r", "-f", "csv", "--max-tokens", "2", "-o", self.work / "out.csv", folder]
        self.assertNotIn("photos/s", run(*words, check=OK)[2])
        for more, shown in ([], True), (["-q"], False):
            try:
                ours, theirs = os.openpty()
            except OSError:
                self.skipTest("no terminals here")
            with subprocess.Popen(self.command(*words, *more), stderr=theirs) as process:
                os.close(theirs)
                said = b""
                while True:
                    try:
                        said += os.read(ours, 4096)
                    except OSError:  # the other end is closed
                        break
            os.close(ours)
            self.assertEqual(process.returncode, OK)
            pattern = rb"\d+ of 60, \d+\.\d photos/s, 0:\d\d left"
            self.assertEqual(bool(re.search(pattern, said)), shown, said)
            self.assertTrue(not shown or said.rstrip().endswith(b"\x1b[K"), said)


class Disk(Batch):
    """Disks that are full, and folders that are not ours."""

    def small_disk(self, n_bytes):
        place = self.work / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "looksay", place]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
            self.skipTest("no right to mount a small disk")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=True)
        return place

    def enlarge(self, place):
        subprocess.run(["mount", "-o", "remount,size=16m", place], check=True)

    def test_full_disk_under_rows(self):
        folder = self.batch(120, bad=False)
        place = self.small_disk(16384)
        words = ["-r", "-f", "csv", "--resume", "--max-tokens", "2", folder, "-o"]
        whole = self.work / "whole.csv"
        run(*words, whole, check=OK)
        _, _, err = run(*words, place / "out.csv", check=OUTPUT)
        self.assertIn("No space left", err)
        self.assertFalse((place / "out.csv").exists())
        self.assertTrue(whole.read_bytes().startswith((place / "out.csv.part").read_bytes()))
        self.enlarge(place)
        run(*words, place / "out.csv", check=OK)
        self.assertEqual((place / "out.csv").read_bytes(), whole.read_bytes())

    def test_full_disk_under_sidecars(self):
        place = self.small_disk(65536)
        photos = self.batch(40, bad=False)
        for photo in photos.rglob("*.png"):
            os.symlink(photo, place / photo.name)
        words = ["-f", "txt", "--resume", "--max-tokens", "2", place]
        _, _, err = run(*words, check=OUTPUT)
        self.assertIn("No space left", err)
        first = self.tree(place)
        self.assertTrue(0 < len(first) < 40)
        self.assertTrue(all(path.suffix == ".txt" and text.endswith(b"\n") for path, text in first.items()), first)
        self.enlarge(place)
        run(*words, check=OK)
        self.assertEqual(len(self.tree(place)), 40)
        for path, text in first.items():
            self.assertEqual((place / path).read_bytes(), text)

    def test_folder_that_cannot_be_written(self):
        folder = self.batch(4, bad=False)
        before = sorted(folder.rglob("*"))
        for closed in (folder, folder / "a", folder / "b"):
            os.chmod(closed, 0o555)
        # Root is asked for permission, too, without the right to override.
        bound = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
        for words, status in ((["-f", "txt"], SOME_FAILED), (["-f", "txt", "--resume"], OUTPUT),
                              (["-f", "csv", "-o", folder / "out.csv"], OUTPUT)):
            done = subprocess.run([*bound, *self.command("-r", *words, folder)], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn("Permission denied", done.stderr)
            self.assertIn(str(folder), done.stderr)
        for closed in (folder, folder / "a", folder / "b"):
            os.chmod(closed, 0o755)
        self.assertEqual(sorted(folder.rglob("*")), before)

    def test_ten_thousand_photos_done_before_cost_nothing(self):
        """The journal is looked up by name: 10,000 entries are no reason to wait."""
        folder = self.work / "many"
        folder.mkdir()
        for i in range(10000):
            (folder / f"{i:05}.jpg").touch()
        words = ["-q", "-f", "csv", "--resume", "-o", self.work / "out.csv", folder]
        run(*words, check=SOME_FAILED)
        rows = (self.work / "out.csv").read_bytes()
        self.assertEqual(rows.count(b"\r\n"), 10001)
        began = time.monotonic()
        run(*words, check=SOME_FAILED)
        seconds = time.monotonic() - began
        print(f"10,000 photos done before: {seconds:.2f} s", file=sys.stderr)
        self.assertLess(seconds, 5)
        self.assertEqual((self.work / "out.csv").read_bytes(), rows)


if __name__ == "__main__":
    program.main()
