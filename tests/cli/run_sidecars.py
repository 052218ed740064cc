#!/usr/bin/env python3
"""Captions beside photos and inside them, where names, folders and other people's files are in the way.

    run_sidecars.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library only.
"""
import os
import shutil
import stat
import subprocess
import zlib

import program
from program import MODEL, OK, OUTPUT, PHOTOS, PORTABLE, ROOT, SOME_FAILED, TestCase, run

WORDS = "us by the sea"


def tiff(text):
    """EXIF of one ImageDescription."""
    value = text.encode() + b"\0"
    entry = (0x010e).to_bytes(2, "big") + (2).to_bytes(2, "big") + len(value).to_bytes(4, "big") + (26).to_bytes(4, "big")
    return b"MM\0\x2a" + (8).to_bytes(4, "big") + (1).to_bytes(2, "big") + entry + bytes(4) + value


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png_with(photo, *chunks):
    data = photo.read_bytes()
    return data[:33] + b"".join(chunks) + data[33:]


def webp_with_exif(photo, exif):
    """As VP8X, which alone may have EXIF."""
    data = photo.read_bytes()
    assert data[12:16] == b"VP8 "
    size = [int.from_bytes(data[i:i + 2], "little") & 0x3fff for i in (26, 28)]
    head = b"VP8X" + (10).to_bytes(4, "little") + b"\x08\0\0\0" + b"".join((n - 1).to_bytes(3, "little") for n in size)
    body = b"WEBP" + head + data[12:] + b"EXIF" + len(exif).to_bytes(4, "little") + exif + bytes(len(exif) % 2)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def names(folder):
    return sorted(os.listdir(folder))


class Refused(TestCase):
    """One photo's trouble is not the others'."""

    def test_the_longest_names(self):
        folder = self.photos("wide.jpg")
        shutil.copy(folder / "wide.jpg", folder / f"{'b' * 247}.jpg")
        shutil.copy(folder / "wide.jpg", folder / "z1.jpg")
        run("-f", "txt", folder, check=OK)
        said = (folder / "wide.txt").read_text()
        for name in ("b" * 247, "z1"):
            self.assertEqual((folder / f"{name}.txt").read_text(), said)
        self.assertEqual(len(names(folder)), 6)
        if not PORTABLE:
            run("-f", "embed", folder, check=OK)
        words = ["-f", "txt", "--ext", "caption-of-ten", "--existing", "overwrite", "--journal", self.work / "journal", folder]
        for said in ("1 of 3 images failed", "3 images were done before"):
            _, _, err = run(*words, check=SOME_FAILED)
            self.assertEqual(sorted(p.name for p in folder.glob("*.caption-of-ten")), ["wide.caption-of-ten", "z1.caption-of-ten"])
            self.assertIn(said, err)
        self.assertEqual(list(folder.glob(".*")), [])

    def test_a_folder_that_is_closed(self):
        folder = self.photos("wide.jpg")
        for name in ("a", "b", "c"):
            (folder / name).mkdir()
            shutil.copy(folder / "wide.jpg", folder / name)
        os.chmod(folder / "b", 0o555)
        bound = ["setpriv", "--bounding-set", "-dac_override"] if os.geteuid() == 0 else []
        for kind in ("txt",) if PORTABLE else ("txt", "xmp", "embed"):
            before = (folder / "c" / "wide.jpg").read_bytes()
            done = subprocess.run([*bound, program.LOOKSAY, "-r", "-f", kind, "--model", str(MODEL), str(folder)],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, SOME_FAILED, done.stderr)
            self.assertRegex(done.stderr, r"b/wide\S+: cannot be written: Permission denied")
            self.assertEqual(names(folder / "b"), ["wide.jpg"])
            self.assertTrue(kind == "embed" or len(names(folder / "c")) > 1, names(folder / "c"))
            self.assertEqual((folder / "c" / "wide.jpg").read_bytes() != before, kind == "embed")

    def test_two_photos_of_one_name(self):
        folder = self.photos("wide.jpg")
        shutil.copy(PHOTOS / "tall.png", folder / "wide.png")
        captions = []
        for end in ("jpg", "png"):
            run("-f", "txt", folder / f"wide.{end}", check=OK)
            captions.append((folder / "wide.txt").read_text())
            (folder / "wide.txt").unlink()
        self.assertNotEqual(*captions)
        status, _, err = run("-f", "txt", folder)
        self.assertEqual((status, (folder / "wide.txt").read_text()), (SOME_FAILED, captions[0]))
        self.assertIn("wide.txt: holds the caption of another photo already", err)
        self.assertIn("wide.png is not written", err)
        (folder / "wide.txt").unlink()
        run("-f", "txt", folder / "wide.jpg", folder / "wide.jpg", check=OK)
        run("-f", "txt", "--existing", "overwrite", folder, check=OK)
        self.assertEqual((folder / "wide.txt").read_text(), captions[1])


class Neighbours(TestCase):
    def test_files_called_part(self):
        folder = self.photos("wide.jpg")
        target = self.work / "target"
        target.write_text("precious\n")
        (folder / "wide.txt.part").write_text("precious\n")
        os.symlink(target, folder / "wide.jpg.xmp.part")
        os.symlink(target, folder / "wide.jpg.part")
        for kind in ("txt",) if PORTABLE else ("txt", "xmp", "embed"):
            run("-f", kind, folder, check=OK)
        self.assertEqual((target.read_text(), (folder / "wide.txt.part").read_text()), ("precious\n",) * 2)
        self.assertTrue((folder / "wide.jpg.part").is_symlink())
        self.assertEqual([n for n in names(folder) if n.startswith(".")], [])

    def test_attributes_of_the_photo(self):
        if PORTABLE:
            self.skipTest("this build has no XMP")
        photo = self.photos("wide.jpg") / "wide.jpg"
        try:
            os.setxattr(photo, "user.xdg.tags", b"holiday,sea")
        except OSError:
            self.skipTest("no extended attributes here")
        os.chmod(photo, 0o440)
        before = photo.read_bytes()
        run("-f", "embed", photo, check=OK)
        self.assertNotEqual(photo.read_bytes(), before)
        self.assertEqual(os.getxattr(photo, "user.xdg.tags"), b"holiday,sea")
        self.assertEqual(stat.S_IMODE(photo.stat().st_mode), 0o440)


class Words(TestCase):
    """What a photo says of itself."""

    def setUp(self):
        super().setUp()
        if PORTABLE:
            self.skipTest("this build has no XMP")
        exif = tiff(WORDS)
        webp = ROOT / "tests/vision/fixtures/lossy.webp"
        jpeg = (PHOTOS / "wide.jpg").read_bytes()
        segment = b"Exif\0\0" + exif
        self.files = {"jpeg.jpg": jpeg[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + jpeg[2:],
                      "png.png": png_with(PHOTOS / "tall.png", chunk(b"eXIf", exif)),
                      "webp.webp": webp_with_exif(webp, exif), "named.webp": webp_with_exif(webp, segment)}
        self.folder = self.work / "photos"
        self.folder.mkdir()

    def write(self):
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)

    def test_exif_counts(self):
        self.write()
        for kind in ("xmp", "embed"):
            run("-f", kind, self.folder, check=OK)
            for name in self.files:
                holder = self.folder / (f"{name}.xmp" if kind == "xmp" else name)
                self.assertIn(f'x-default">{WORDS}<'.encode(), holder.read_bytes(), holder)
        run("-f", "xmp", "--existing", "overwrite", self.folder, check=OK)
        self.assertNotIn(WORDS, (self.folder / "png.png.xmp").read_text())

    def test_the_packet_comes_first(self):
        self.write()
        run("-f", "embed", self.folder, check=OK)
        for name in self.files:
            photo = self.folder / name
            photo.write_bytes(photo.read_bytes().replace(f">{WORDS}<".encode(), b">in the packet<"))
        for name in ("jpeg.jpg", "webp.webp"):  # those without a checksum over it
            run("-f", "xmp", self.folder / name, check=OK)
            self.assertIn(">in the packet<", (self.folder / f"{name}.xmp").read_text())

    def test_damaged_exif_costs_its_words_only(self):
        broken = {"cut": tiff(WORDS)[:20], "far": tiff(WORDS).replace((26).to_bytes(4, "big"), b"\x7f\xff\xff\xff"), "noise": b"no EXIF"}
        self.files = {f"{name}.png": png_with(PHOTOS / "tall.png", chunk(b"eXIf", exif)) for name, exif in broken.items()}
        self.files |= {f"{name}.webp": webp_with_exif(ROOT / "tests/vision/fixtures/lossy.webp", exif) for name, exif in broken.items()}
        self.write()
        for kind in ("xmp", "embed"):
            run("-f", kind, self.folder, check=OK)
        for name in self.files:
            self.assertIn("x-default", (self.folder / f"{name}.xmp").read_text())

    def test_compressed_xmp(self):
        packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x/>")
        self.files = {"packed.png": png_with(PHOTOS / "tall.png", chunk(b"iTXt", packed))}
        self.write()
        status, _, err = run("-f", "embed", self.folder)
        self.assertEqual((status, (self.folder / "packed.png").read_bytes()), (SOME_FAILED, self.files["packed.png"]))
        self.assertIn("packed.png: has compressed XMP", err)
        self.assertNotIn("JPEG", err)
        run("-f", "xmp", self.folder, check=OK)


class Rows(TestCase):
    """Results in a file, which is FILE.part until it is whole."""

    def test_a_link_is_not_followed_by_the_part(self):
        target, out = self.work / "target", self.work / "out.jsonl"
        target.write_text("precious\n")
        os.symlink(target, self.work / "out.jsonl.part")
        for words in ([], ["--resume"]):
            status, _, err = run("-f", "jsonl", "-o", out, *words, PHOTOS / "wide.jpg")
            self.assertEqual((status, target.read_text()), (OUTPUT, "precious\n"))
            self.assertIn("out.jsonl.part: cannot be written: it is a link", err)

    def test_a_file_that_is_a_link(self):
        real, out = self.work / "other" / "real.csv", self.work / "out.csv"
        real.parent.mkdir()
        real.write_text("old")
        os.symlink("other/real.csv", out)
        for words in ([], ["--resume", "--journal", self.work / "journal"], ["--resume", "--journal", self.work / "journal"]):
            run("-f", "csv", "-o", out, *words, PHOTOS / "wide.jpg", check=OK)
            self.assertTrue(out.is_symlink())
            self.assertIn("wide.jpg", real.read_text())
            self.assertEqual(names(real.parent), ["real.csv"])
        os.symlink("nowhere/at/all", self.work / "lost")
        status, _, err = run("-f", "csv", "-o", self.work / "lost", PHOTOS / "wide.jpg")
        self.assertEqual(status, OUTPUT)
        self.assertIn("lost: cannot be written: it is a link to nothing", err)

    def test_a_private_file_stays_private(self):
        out = self.work / "secret.jsonl"
        for mode in (0o600, 0o640, 0o444):
            out.unlink(missing_ok=True)
            out.touch()
            os.chmod(out, mode)
            resume = ["--resume", "--journal", self.work / f"journal{mode}"]
            for words in (resume, resume, []):  # begins, finds all done, begins again
                run("-f", "jsonl", "-o", out, *words, PHOTOS / "wide.jpg", check=OK)
                self.assertEqual(stat.S_IMODE(out.stat().st_mode), mode)

    def test_one_writer(self):
        listing, out = self.work / "list", self.work / "out.csv"
        os.mkfifo(listing)
        words = [program.LOOKSAY, "-f", "csv", "-o", str(out), "--model", str(MODEL), "--files-from", str(listing)]
        first = subprocess.Popen(words, stderr=subprocess.PIPE)
        with open(listing, "w") as feed:
            while not (self.work / "out.csv.part").exists() or (self.work / "out.csv.part").stat().st_size == 0:
                self.assertIsNone(first.poll())
            status, _, err = run("-f", "csv", "-o", out, PHOTOS / "tall.png")
            self.assertEqual(status, OUTPUT)
            self.assertIn("out.csv.part: cannot be written: another run is at work on it", err)
            feed.write(f"{PHOTOS}/wide.jpg\n")
        first.communicate(timeout=60)
        self.assertEqual(first.returncode, OK)
        self.assertIn("wide.jpg", out.read_text())


if __name__ == "__main__":
    program.main()
