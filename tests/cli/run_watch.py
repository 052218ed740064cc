#!/usr/bin/env python3
"""--watch: every photo that comes into a folder is captioned once, when it is complete.

    run_watch.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import json
import os
import queue
import shutil
import signal
import subprocess
import threading
import time

import program
from program import INTERRUPTED, MODEL, OK, PHOTOS, PORTABLE, USAGE, TestCase, rows_of, run

WAIT = 30


class Watched:
    """A running program, its rows as they come."""

    def __init__(self, *words):
        command = [os.fsencode(w) for w in (program.LOOKSAY, "--watch", *words, "--max-tokens", "2", "-t", "1", "--model", MODEL)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.rows, self.said, self.watching = queue.Queue(), [], threading.Event()
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.read_rows, self.read_messages)]
        for thread in self.threads:
            thread.start()

    def read_rows(self):
        for line in self.process.stdout:
            self.rows.put(json.loads(line))

    def read_messages(self):
        for line in self.process.stderr:
            self.said.append(line.decode("utf-8", "replace"))
            if "watching" in self.said[-1]:
                self.watching.set()

    def wait(self):
        assert self.watching.wait(WAIT), self.said
        return self

    def next(self):
        return self.rows.get(timeout=WAIT)

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.finish()

    def finish(self):
        status = self.process.wait(WAIT)
        for thread in self.threads:
            thread.join(WAIT)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.finish()
        self.process.stdout.close()
        self.process.stderr.close()


class Watch(TestCase):
    def watch(self, *words):
        return Watched("-f", "jsonl", *words, self.work / "photos")

    def names(self, rows):
        return [row["image"][len(str(self.work / "photos")) + 1:] for row in rows]

    def silent(self, run_):
        """Nothing more is said about what came before: a last photo comes next."""
        shutil.copy(PHOTOS / "tiny.png", self.work / "photos" / "zz-last.png")
        self.assertEqual(self.names([run_.next()]), ["zz-last.png"])

    def test_what_is_there_and_then_what_comes(self):
        folder = self.photos("wide.jpg", "tall.png")
        (folder / "deep").mkdir()
        with self.watch("--exclude", "*_thumb.*") as w:
            w.wait()
            self.assertEqual(self.names([w.next(), w.next()]), ["tall.png", "wide.jpg"])
            shutil.copy(PHOTOS / "grey.jpg", folder / "new.jpg")
            row = w.next()
            self.assertEqual((row["status"], self.names([row])), ("ok", ["new.jpg"]))
            shutil.copy(PHOTOS / "grey.jpg", self.work / "other.jpg")
            (self.work / "other.jpg").rename(folder / "moved.jpg")
            self.assertEqual(self.names([w.next()]), ["moved.jpg"])
            for quiet in ("notes.txt", ".hidden.jpg", "a_thumb.jpg", "deep/not recursive.jpg"):
                shutil.copy(PHOTOS / "grey.jpg", folder / quiet)
            shutil.copy(PHOTOS / "grey.jpg", folder / "photo.jpg.tmp")
            (folder / "photo.jpg.tmp").rename(folder / "photo.jpg")
            os.symlink(PHOTOS / "wide.jpg", folder / "symbolic.jpg")
            os.link(folder / "photo.jpg", folder / "hard.jpg")
            os.symlink("nowhere.jpg", folder / "broken.jpg")
            self.assertEqual(sorted(self.names([w.next() for _ in range(3)])), ["hard.jpg", "photo.jpg", "symbolic.jpg"])
            shutil.copy(PHOTOS / "tall.png", folder / "new.jpg")  # again, with other contents
            self.assertEqual(self.names([w.next()]), ["new.jpg"])
            self.silent(w)
            self.assertEqual(w.end(), INTERRUPTED)
            self.assertTrue(w.rows.empty())

    def test_a_photo_counts_when_it_is_closed(self):
        folder = self.photos()
        data = (PHOTOS / "large.jpg").read_bytes()
        with open(folder / "early.jpg", "wb") as early:
            early.write(data[:1000])
            early.flush()
            with self.watch() as w:
                w.wait()
                with open(folder / "late.jpg", "wb") as late:
                    for at in range(0, len(data), len(data) // 5 + 1):
                        late.write(data[at:at + len(data) // 5 + 1])
                        late.flush()
                        time.sleep(0.1)
                row = w.next()
                self.assertEqual((row["status"], self.names([row])), ("ok", ["late.jpg"]))
                early.write(data[1000:])
                early.close()
                row = w.next()
                self.assertEqual((row["status"], self.names([row])), ("ok", ["early.jpg"]))
                self.silent(w)

    def test_folders_that_come(self):
        folder = self.photos("wide.jpg")
        ready = self.work / "ready" / "deep"
        ready.mkdir(parents=True)
        for name in ("1.jpg", "2.jpg"):
            shutil.copy(PHOTOS / "grey.jpg", ready / name)
        with self.watch("-r") as w:
            w.wait()
            w.next()
            (self.work / "ready").rename(folder / "came")
            self.assertEqual(self.names([w.next(), w.next()]), ["came/deep/1.jpg", "came/deep/2.jpg"])
            for i in range(30):  # folders and photos faster than they can be watched
                (folder / f"made{i}" / "deep").mkdir(parents=True)
                shutil.copy(PHOTOS / "tiny.png", folder / f"made{i}" / "deep" / "x.png")
            rows = [w.next() for _ in range(30)]
            self.assertEqual(sorted(self.names(rows)), sorted(f"made{i}/deep/x.png" for i in range(30)))
            self.assertEqual({row["status"] for row in rows}, {"ok"})
            (folder / "made0").rename(folder / "renamed")  # the same photo at a new place is news, once
            self.assertEqual(self.names([w.next()]), ["renamed/deep/x.png"])
            shutil.copy(PHOTOS / "wide.jpg", folder / "renamed" / "deep" / "y.jpg")
            self.assertEqual(self.names([w.next()]), ["renamed/deep/y.jpg"])
            (folder / "made1").rename(self.work / "gone")
            shutil.copy(PHOTOS / "wide.jpg", self.work / "gone" / "z.jpg")
            self.silent(w)
            shutil.rmtree(folder)
            self.assertEqual(w.finish(), OK)
            self.assertIn("no folder is left", "".join(w.said))

    def test_more_than_the_system_keeps(self):
        """The queue overflows while the program is stopped: it then reads the folders again."""
        folder = self.photos("wide.jpg")
        with open("/proc/sys/fs/inotify/max_queued_events") as limit:
            n = int(limit.read()) // 2 + 100
        if n > 50000:
            self.skipTest("this system keeps too many events to fill its queue")
        with self.watch() as w:
            w.wait()
            w.next()
            os.kill(w.process.pid, signal.SIGSTOP)
            shutil.copy(PHOTOS / "grey.jpg", folder / "first.jpg")
            for i in range(n):
                (folder / f"{i % 100}.txt").write_bytes(b"")
            shutil.copy(PHOTOS / "grey.jpg", folder / "lost.jpg")
            os.kill(w.process.pid, signal.SIGCONT)
            self.assertEqual(self.names([w.next(), w.next()]), ["first.jpg", "lost.jpg"])
            self.silent(w)

    def test_our_own_writes_are_no_news(self):
        folder = self.photos("wide.jpg")
        for kind in ["txt"] if PORTABLE else ["txt", "xmp", "embed"]:
            with Watched("-f", kind, "--existing", "append", folder) as w:
                w.wait()
                shutil.copy(PHOTOS / "tall.png", folder / f"{kind}.png")
                made = folder / {"txt": "txt.txt", "xmp": "xmp.png.xmp", "embed": "embed.png"}[kind]
                bare = (PHOTOS / "tall.png").read_bytes()
                deadline = time.monotonic() + WAIT
                while time.monotonic() < deadline and (not made.exists() or made.read_bytes() == bare[:made.stat().st_size]):
                    time.sleep(0.02)
                size = made.stat().st_size
                time.sleep(0.5)
                self.assertEqual(made.stat().st_size, size, kind)
                self.assertEqual(w.end(), INTERRUPTED)

    def test_output_and_resume(self):
        folder = self.photos("wide.jpg")
        target = self.work / "out.jsonl"
        for i, number in enumerate((signal.SIGTERM, signal.SIGKILL, signal.SIGINT)):
            words = ["-f", "jsonl", "--resume", "-o", target, folder]
            with Watched(*words) as w:
                w.wait()
                shutil.copy(PHOTOS / "grey.jpg", folder / f"{i}.jpg")
                part = self.work / "out.jsonl.part"
                deadline = time.monotonic() + WAIT
                while time.monotonic() < deadline and f"/{i}.jpg" not in part.read_text():
                    time.sleep(0.02)
                self.assertEqual(w.end(number), -signal.SIGKILL if number == signal.SIGKILL else INTERRUPTED)
        run("-f", "jsonl", "--resume", "-o", target, folder, "--max-tokens", "2", check=OK)
        self.assertEqual(sorted(self.names(rows_of(target.read_text()))), ["0.jpg", "1.jpg", "2.jpg", "wide.jpg"])

    def test_what_makes_no_sense(self):
        folder = self.photos("wide.jpg")
        for words, said in [([folder / "wide.jpg"], "without a folder"), (["--dry-run", folder], "--dry-run")]:
            status, _, err = run("--watch", *words)
            self.assertEqual(status, USAGE)
            self.assertIn(said, err)


if __name__ == "__main__":
    program.main()
