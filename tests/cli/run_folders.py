#!/usr/bin/env python3
"""Folders and lists as people have them: deep, odd names, many files, several machines.

    run_folders.py LOOKSAY [TestCase.test_name...]

Standard library only.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import program
from program import OK, PHOTOS, SOME_FAILED, USAGE, TestCase, rows_of, run


def dry(*words, cwd=None, stdin=b""):
    """What --dry-run names, as bytes."""
    out = program.run_bytes("--dry-run", "-0", *words, cwd=cwd, stdin=stdin)
    return [path for path in out.split(b"\0") if path]


class Walk(TestCase):
    def tree(self, *names):
        folder = self.work / "tree"
        for name in names:
            path = os.path.join(os.fsencode(folder), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb"):
                pass
        return folder

    def names(self, folder, *words):
        return [os.fsdecode(p[len(os.fsencode(folder)) + 1:]) for p in dry("-r", folder, *words)]

    def test_dry_run_opens_no_model_and_writes_nothing(self):
        folder = self.photos("wide.jpg", "tall.png")
        status, out, err = run("--dry-run", "-f", "txt", folder, model=self.work / "none")
        self.assertEqual((status, out, err), (OK, f"{folder}/tall.png\n{folder}/wide.jpg\n", ""))
        (folder / "tall.txt").write_text("mine\n")
        self.assertEqual(dry("-f", "txt", folder), [os.fsencode(folder / "wide.jpg")])
        self.assertEqual(len(dry("-f", "txt", "--existing", "append", folder)), 2)
        run("--dry-run", "-f", "csv", "-o", self.work / "out.csv", folder, check=OK)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["photos"])

    def test_include_and_exclude(self):
        folder = self.tree("a.jpg", "a_thumb.jpg", "b.png", "2024/a.jpg", "2024/raw/c.jpg", "2025/a.jpg", "trash/x.jpg")
        self.assertEqual(self.names(folder, "--include", "*.png"), ["b.png"])
        self.assertEqual(self.names(folder, "--include", "a*", "--include", "c.*", "--exclude", "*_thumb.*"),
                         ["2024/a.jpg", "2024/raw/c.jpg", "2025/a.jpg", "a.jpg"])
        self.assertEqual(self.names(folder, "--exclude", "trash", "--exclude", "2024/raw"),
                         ["2024/a.jpg", "2025/a.jpg", "a.jpg", "a_thumb.jpg", "b.png"])
        self.assertEqual(self.names(folder, "--include", "2024/*"), ["2024/a.jpg", "2024/raw/c.jpg"])
        self.assertEqual(self.names(folder, "--include", "a,b"), [])  # a comma is part of a name
        listed = dry("--files-from", "-", "--exclude", "*/skip/*", stdin=b"x/skip/a.jpg\0x/b.jpg\0")
        self.assertEqual(listed, [b"x/b.jpg"])

    def test_links(self):
        folder = self.tree("real/a.jpg")
        os.symlink("real/a.jpg", folder / "link.jpg")
        os.symlink(".", folder / "here.jpg")
        os.symlink("..", folder / "real" / "up")
        os.symlink("loop.jpg", folder / "loop.jpg")
        self.assertEqual(self.names(folder), ["link.jpg", "loop.jpg", "real/a.jpg"])
        os.symlink(folder, self.work / "named")
        self.assertEqual(len(dry("-r", self.work / "named")), 3)

    def test_names_with_any_byte(self):
        names = [b"line\nfeed.jpg", b"caf\xe9.jpg", b" lead.jpg", b"-r.jpg", b"tab\t.jpg", "größe.JPG".encode(), b"%41.jpg",
                 b"quote\".jpg", b"dir\n\xff/in.jpg"]
        folder = self.tree(*names)
        root = os.fsencode(folder) + b"/"
        self.assertEqual(sorted(dry("-r", folder)), sorted(root + n for n in names))
        for name in names:
            shutil.copy(PHOTOS / "tiny.png", root + name)
        found = dry("-r", folder)
        rows = rows_of(run("-f", "jsonl", "-0", "--files-from", "-", stdin=b"\0".join(found), check=OK)[1])
        self.assertEqual([r["image"] for r in rows], [p.decode("utf-8", "replace") for p in found])
        run("-r", "-f", "txt", folder, check=OK)
        for name in names:
            self.assertTrue(os.path.getsize(root + name[:name.rindex(b".")] + b".txt") > 1, name)

    def test_shards(self):
        names = [f"{i % 7}/{i}.jpg" for i in range(500)]
        folder = self.tree(*names)
        parts = [self.names(folder, "--shard", f"{i}/5") for i in range(1, 6)]
        self.assertEqual(sorted(sum(parts, [])), sorted(names))
        for part in parts:
            self.assertTrue(60 < len(part) < 140, len(part))
        moved = self.work / "moved"
        os.rename(folder, moved)
        os.unlink(moved / "0" / "0.jpg")
        again = [self.names(moved, "--shard", f"{i}/5") for i in range(1, 6)]
        self.assertEqual(again, [[n for n in part if n != "0/0.jpg"] for part in parts])
        slashes = [p.replace(b"//", b"/") for p in dry("-r", f"{moved}//", "--shard", "2/5")]
        self.assertEqual(slashes, [os.fsencode(moved / n) for n in again[1]])
        relative = [os.fsdecode(p) for p in dry("-r", ".", "--shard", "3/5", cwd=moved)]
        self.assertEqual(relative, ["./" + n for n in again[2]])
        # the hash is part of the contract: machines with other versions share the work
        listed = b"".join(b"%d.jpg\0" % i for i in range(20))
        first = [int(p[:-4]) for p in dry("--files-from", "-", "--shard", "1/3", stdin=listed)]
        self.assertEqual(first, [0, 1, 5, 6, 9, 12, 16])
        for wrong in ("0/3", "4/3", "1", "1/0", "1/3x", "-1/3", "a/b", "1/-3", ""):
            status, _, err = run("--dry-run", "--shard", wrong, folder)
            self.assertEqual(status, USAGE, wrong)
            self.assertIn("--shard", err)

    def test_standard_input_is_one_thing(self):
        status, _, err = run("--files-from", "-", "-")
        self.assertEqual(status, USAGE)
        self.assertIn("standard input", err)

    def test_a_hundred_thousand_paths_in_two_seconds(self):
        memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else self.work  # making the files is what takes long
        many = Path(tempfile.mkdtemp(prefix="looksay-cli-", dir=memory))
        self.addCleanup(shutil.rmtree, many, ignore_errors=True)
        for i in range(100):
            folder = many / f"{i:02}"
            folder.mkdir()
            fd = os.open(folder, os.O_RDONLY)
            for k in range(1000):
                os.close(os.open(f"{k:04}.jpg", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
            os.close(fd)
        seconds = []
        for _ in range(3):
            began = time.monotonic()
            paths = dry("-r", many, "--shard", "2/4", "--exclude", "*.tmp")
            seconds.append(time.monotonic() - began)
        print(f"100,000 paths walked and sharded in {min(seconds):.2f} s", file=sys.stderr)
        self.assertTrue(24000 < len(paths) < 26000, len(paths))
        self.assertLess(min(seconds), 2.0)

    def test_ten_thousand_photos(self):
        """Every one gets its row, in order, and memory does not grow with them. Copies of a few, so that it does not take an hour."""
        originals = [(PHOTOS / name).read_bytes() for name in ("tiny.png", "wide.jpg", "tall.png", "palette.png")]
        folder = self.work / "many"
        for i in range(10000):
            path = folder / f"{i % 50:02}" / f"{i:05}.{'jpg' if i % 4 == 1 else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(originals[i % 4])
        out = self.work / "out.jsonl"
        peak = []
        for words in (["--include", "00*", folder], [folder]):
            command = [program.LOOKSAY, "-r", "-f", "jsonl", "--model", program.MODEL, "-o", out, *words]
            small = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"}  # or what a sanitizer keeps of freed memory grows
            with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=small) as process:
                _, process.returncode, usage = os.wait4(process.pid, 0)
            self.assertEqual(process.returncode, OK)
            peak.append(usage.ru_maxrss)
        rows = rows_of(out.read_text())
        self.assertEqual([r["image"] for r in rows], sorted(map(str, folder.rglob("*.*"))))
        self.assertEqual({r["status"] for r in rows}, {"ok"})
        said = {}
        for row in rows:
            said.setdefault(int(row["image"][-9:-4]) % 4, set()).add(row["caption"])
        self.assertEqual([len(texts) for texts in said.values()], [1, 1, 1, 1])
        print(f"{len(rows)} photos in {peak[1] // 1024} MiB at most, the first hundred of them in {peak[0] // 1024}", file=sys.stderr)
        self.assertLess(peak[1], peak[0] + 16 * 1024)  # paths, 100 bytes each, and what malloc keeps

    def test_unreadable_folder_is_one_failed_row(self):
        folder = self.photos("wide.jpg")
        if os.geteuid() == 0:
            self.skipTest("root reads every folder")
        (folder / "closed").mkdir(mode=0)
        status, out, _ = run("-r", "-f", "jsonl", folder)
        self.assertEqual(status, SOME_FAILED)
        self.assertEqual([r["status"] for r in rows_of(out)], ["error", "ok"])


class Batch(TestCase):
    def test_rows_do_not_depend_on_the_batch(self):
        folder = self.photos("wide.jpg", "tall.png", "grey.jpg", "tiny.png", "turned.jpg")
        shutil.copy(folder / "wide.jpg", folder / "a copy.jpg")
        (folder / "damaged.jpg").write_bytes(b"no photo")
        (folder / "shy.jpg").symlink_to("nowhere.jpg")
        listed = "".join(f"{p}\n" for p in sorted(folder.iterdir())) * 2 + f"{folder}/none.jpg\n"
        expected = None
        for batch in (1, 2, 3, 8, 256):
            for threads in (1, 2, 3):
                words = ("--beams", "2", "-f", "jsonl", "--details", "--batch", str(batch), "-t", str(threads))
                status, out, err = run(*words, "--files-from", "-", stdin=listed.encode())
                self.assertEqual(status, SOME_FAILED)
                rows = rows_of(out)
                for row in rows:
                    row.pop("ms", None)
                    row.pop("timings", None)
                self.assertEqual(len(rows), 17)
                expected = expected or (rows, err)
                self.assertEqual((rows, err), expected, (batch, threads))
        self.assertEqual([r["status"] for r in expected[0]].count("error"), 5)
        self.assertIn("copies", expected[1])

    def test_a_photo_that_is_named_twice_gets_its_caption_once(self):
        folder = self.photos("wide.jpg", "tall.png")
        words = [folder / name for name in ("wide.jpg", "tall.png", "wide.jpg", "wide.jpg")]
        _, _, err = run("-f", "txt", *words, check=OK)
        self.assertIn("2 of 4 images have a caption already", err)

    def test_a_list_that_is_being_written_is_not_waited_for(self):
        command = [program.LOOKSAY, "--model", program.MODEL, "-f", "jsonl", "--files-from", "-"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            for name in ("wide.jpg", "tall.png"):
                process.stdin.write(os.fsencode(PHOTOS / name) + b"\n")
                process.stdin.flush()
                self.assertIn(os.fsencode(name), process.stdout.readline())
            process.stdin.close()
            self.assertEqual(process.wait(timeout=60), OK)


if __name__ == "__main__":
    program.main()
