#!/usr/bin/env python3
"""Captions in XMP, beside photos and inside them, read back with exiftool.

    run_xmp.py LOOKSAY [--portable] [TestCase.test_name...]

Standard library and exiftool only.
"""
import json
import os
import random
import shutil
import stat
import subprocess
import unittest

import program
from program import OK, PHOTOS, PORTABLE, ROOT, SOME_FAILED, USAGE, TestCase, run

EXIFTOOL = shutil.which("exiftool")

# As darktable writes it, and a person's words in two languages.
EDITED = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:darktable="http://darktable.sf.net/" xmp:Rating="4" darktable:raw_params="17">
   <dc:subject><rdf:Bag><rdf:li>holiday</rdf:li><rdf:li>Ærø &amp; sea</rdf:li></rdf:Bag></dc:subject>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">us &lt;3 by the sea</rdf:li>
    <rdf:li xml:lang="de">wir am Meer</rdf:li></rdf:Alt></dc:description>
   <darktable:history><rdf:Seq><rdf:li darktable:operation="exposure" darktable:enabled="1"/></rdf:Seq></darktable:history>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
WORDS = "us <3 by the sea"


def read(path, *tags):
    """What exiftool finds: a dictionary with names like XMP-dc:Description."""
    done = subprocess.run([EXIFTOOL, "-j", "-G1", "-struct", "-charset", "filename=utf8", *tags, os.fspath(path)],
                          capture_output=True, timeout=60, check=True)
    return json.loads(done.stdout)[0]


def texts(path):
    found = read(path)
    return found.get("XMP-dc:Description"), found.get("XMP-iptcCore:AltTextAccessibility")


def bare(photo):
    """The photo without its XMP packet; of a JPEG and a PNG nothing else may have changed."""
    data = photo.read_bytes()
    at = data.index(b"http://ns.adobe.com/xap/1.0/\0" if photo.suffix == ".jpg" else b"iTXtXML:com.adobe.xmp\0") - 4
    if photo.suffix == ".jpg":
        return data[:at] + data[at + 2 + int.from_bytes(data[at + 2:at + 4], "big"):]
    return data[:at] + data[at + 12 + int.from_bytes(data[at:at + 4], "big"):]


class Missing(TestCase):
    def test_a_build_without_xmp_says_so(self):
        folder = self.photos("wide.jpg")
        if not PORTABLE:
            self.skipTest("this build has XMP")
        for kind in ("xmp", "embed"):
            status, out, err = run("-f", kind, folder)
            self.assertEqual((status, out), (USAGE, ""))
            self.assertIn("without XMP", err)


@unittest.skipUnless(EXIFTOOL, "exiftool is not installed (libimage-exiftool-perl)")
class Xmp(TestCase):
    def setUp(self):
        super().setUp()
        if PORTABLE:
            self.skipTest("this build has no XMP")

    def caption(self, photo):
        """On one line, as XMP gets it."""
        return "".join(" " if c < " " else c for c in run(photo, check=OK)[1].rstrip("\n"))

    def test_beside(self):
        folder = self.photos("wide.jpg", "tall.png")
        said = self.caption(folder / "wide.jpg")
        run("-f", "xmp", folder, check=OK)
        self.assertEqual(sorted(p.name for p in folder.iterdir()), ["tall.png", "tall.png.xmp", "wide.jpg", "wide.jpg.xmp"])
        self.assertEqual(texts(folder / "wide.jpg.xmp"), (said, said))
        run("-f", "xmp", "--ext", "xmp", folder / "wide.jpg", check=OK)
        self.assertEqual((folder / "wide.xmp").read_bytes(), (folder / "wide.jpg.xmp").read_bytes())
        self.assertIn("2 of 2 images have a caption already", run("-f", "xmp", folder, check=OK)[2])
        raw = (folder / "wide.xmp").read_text()
        self.assertIn('<rdf:li xml:lang="x-default">', raw)

    def test_merged_with_what_is_there(self):
        folder = self.photos("wide.jpg")
        photo, beside = folder / "wide.jpg", folder / "wide.jpg.xmp"
        said = self.caption(photo)
        for existing, description in [("skip", WORDS), ("overwrite", said), ("append", f"{WORDS}\n{said}"),
                                      ("prepend", f"{said}\n{WORDS}")]:
            beside.write_text(EDITED)
            before = read(beside)
            run("-f", "xmp", "--existing", existing, photo, check=OK)
            after = read(beside)
            self.assertEqual(after.pop("XMP-dc:Description"), description)
            self.assertEqual(after.pop("XMP-dc:Description-de"), "wir am Meer")
            self.assertEqual(after.pop("XMP-iptcCore:AltTextAccessibility"), said)
            ours = [key for key in before if key.startswith("XMP-") and key not in ("XMP-x:XMPToolkit", "XMP-dc:Description",
                                                                                    "XMP-dc:Description-de")]
            self.assertGreaterEqual(len(ours), 4, before)
            self.assertEqual({key: after.get(key) for key in ours}, {key: before[key] for key in ours})
        whole = beside.read_bytes()
        self.assertIn("1 of 1 images have a caption already", run("-f", "xmp", folder, check=OK)[2])
        self.assertEqual(beside.read_bytes(), whole)

    def test_what_is_no_xmp_stays_as_it_is(self):
        laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 12))
        bombs = {"text": b"no XMP\n", "cut": EDITED.encode()[:700], "binary": bytes(range(256)) * 9,
                 "laughs": f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>{EDITED[39:].replace("sea", "&l11;")}'.encode(),
                 "file": ('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/hostname">]>' + EDITED[39:].replace("sea", "&f;")).encode()}
        for name, content in bombs.items():
            photo = self.work / f"{name}.jpg"
            shutil.copy(PHOTOS / "wide.jpg", photo)
            beside = self.work / f"{name}.jpg.xmp"
            beside.write_bytes(content)
            status, out, err = run("-f", "xmp", "--existing", "append", photo)
            self.assertEqual((status, out), (SOME_FAILED, ""), name)
            self.assertIn(str(beside), err)
            self.assertEqual(beside.read_bytes(), content)
            self.assertEqual(list(self.work.glob("*.part")), [])

    def test_inside(self):
        folder = self.photos("wide.jpg", "turned.jpg", "tall.png", "palette.png")
        photos = sorted(folder.iterdir())
        os.chmod(photos[-1], 0o640)
        before = {p: (self.caption(p), read(p, "-validate", "-all"), p.read_bytes()) for p in photos}
        run("-f", "embed", folder, check=OK)
        self.assertEqual(sorted(folder.iterdir()), photos)
        self.assertEqual(stat.S_IMODE(photos[-1].stat().st_mode), 0o640)
        for photo, (said, found, data) in before.items():
            self.assertEqual(texts(photo), (said, said))
            self.assertEqual(self.caption(photo), said)
            self.assertEqual(bare(photo), data)
            after = read(photo, "-validate", "-all")
            for key in ("IFD0:Orientation", "ExifTool:Validate", "ExifTool:Warning"):
                self.assertEqual((key, after.get(key)), (key, found.get(key)))
        again = {p: p.read_bytes() for p in photos}
        self.assertIn("4 of 4 images have a caption already", run("-f", "embed", folder, check=OK)[2])
        run("-f", "embed", "--existing", "overwrite", folder, check=OK)
        self.assertEqual({p: p.read_bytes() for p in photos}, again)

    def test_words_in_a_photo_are_kept(self):
        """Also those that an old program has written as EXIF or IPTC."""
        photo = self.photos("wide.jpg") / "wide.jpg"
        said = self.caption(photo)
        for tags in (["-XMP-dc:Description=" + WORDS], ["-IFD0:ImageDescription=" + WORDS],
                     ["-IPTC:CodedCharacterSet=UTF8", "-IPTC:Caption-Abstract=" + WORDS]):
            shutil.copy(PHOTOS / "wide.jpg", photo)
            more = ["-XMP-dc:Subject=holiday", "-XMP-xmp:Rating=4", "-IFD0:Artist=somebody", "-GPSLatitude=54.9"]
            subprocess.run([EXIFTOOL, "-q", "-overwrite_original", *tags, *more, photo], check=True, timeout=60)
            before = read(photo)
            run("-f", "embed", photo, check=OK)
            self.assertEqual(texts(photo), (WORDS, said), tags)
            after = read(photo)
            for key in ("XMP-dc:Subject", "XMP-xmp:Rating", "IFD0:Artist", "GPS:GPSLatitude"):
                self.assertEqual((key, after.get(key)), (key, before[key]))
            run("-f", "embed", "--existing", "overwrite", photo, check=OK)
            self.assertEqual(texts(photo), (said, said))

    def test_inside_webp(self):
        for name in ("lossy.webp", "lossless.webp", "alpha.webp", "orientation_6.webp"):
            photo = self.work / name
            shutil.copy(ROOT / "tests/vision/fixtures" / name, photo)
            said = self.caption(photo)
            run("-f", "embed", photo, check=OK)
            self.assertEqual(texts(photo), (said, said))
            self.assertEqual(self.caption(photo), said)
            once = photo.read_bytes()
            run("-f", "embed", "--existing", "overwrite", photo, check=OK)
            self.assertEqual(photo.read_bytes(), once)

    def test_photos_that_take_none_are_left_alone(self):
        folder = self.photos("wide.jpg")
        boxes = folder / "boxes.ppm"
        boxes.write_bytes(b"P6 64 64 255\n" + bytes(range(256)) * 48)
        before = boxes.read_bytes()
        status, _, err = run("-f", "embed", folder)
        self.assertEqual(status, SOME_FAILED)
        self.assertIn("boxes.ppm: takes no XMP", err)
        self.assertIn("1 of 2 images failed", err)
        self.assertEqual(boxes.read_bytes(), before)
        self.assertEqual(len(list(folder.iterdir())), 2)
        self.assertIsNotNone(texts(folder / "wide.jpg")[0])
        self.assertEqual(run("-f", "embed", "-", stdin=(PHOTOS / "wide.jpg").read_bytes())[0], SOME_FAILED)
        for words in (["-f", "embed", "--ext", "xmp", folder], ["-f", "xmp", "-o", "out", folder]):
            self.assertEqual(run(*words)[0], USAGE)

    def test_a_packet_that_fills_its_segment(self):
        """64 KiB hold a JPEG's XMP; what does not fit is refused, not cut."""
        photo = self.photos("wide.jpg") / "wide.jpg"
        for n, status in ((60000, OK), (65000, SOME_FAILED)):
            shutil.copy(PHOTOS / "wide.jpg", photo)
            subprocess.run([EXIFTOOL, "-q", "-overwrite_original", "-z", f"-XMP-dc:Title={'x' * n}", photo], check=True, timeout=60)
            before = photo.read_bytes()
            got, _, err = run("-f", "embed", photo)
            self.assertEqual(got, status, err)
            self.assertEqual(photo.read_bytes() == before, status != OK)
            self.assertEqual(read(photo)["XMP-dc:Title"], "x" * n)

    def test_a_camera_s_own_words_are_nobody_s(self):
        photo = self.photos("wide.jpg") / "wide.jpg"
        subprocess.run([EXIFTOOL, "-q", "-overwrite_original", "-IFD0:ImageDescription=OLYMPUS DIGITAL CAMERA", photo],
                       check=True, timeout=60)
        run("-f", "embed", photo, check=OK)
        self.assertEqual(texts(photo), (self.caption(photo),) * 2)

    def test_links(self):
        folder = self.photos("wide.jpg")
        os.symlink("wide.jpg", folder / "link.jpg")
        run("-f", "embed", folder / "link.jpg", check=OK)
        self.assertTrue((folder / "link.jpg").is_symlink())
        self.assertIsNotNone(texts(folder / "wide.jpg")[0])

    def test_odd_names(self):
        odd = os.fsencode(self.work) + b"/caf\xe9 \n<&>.jpg"
        shutil.copy(PHOTOS / "wide.jpg", odd)
        run("-f", "embed", odd, check=OK)
        run("-f", "xmp", odd, check=OK)
        with open(odd, "rb") as photo, open(odd + b".xmp", "rb") as beside:
            self.assertIn(b"AltTextAccessibility", photo.read())
            self.assertIn(b"AltTextAccessibility", beside.read())

    def test_damaged_metadata_ends_no_run(self):
        """Flipped bytes in the segments before the picture: a caption or a message for each, and the picture as it was."""
        dice = random.Random(5)
        source = self.photos("turned.jpg") / "turned.jpg"
        subprocess.run([EXIFTOOL, "-q", "-overwrite_original", "-XMP-dc:Description=" + WORDS, "-GPSLatitude=54.9",
                        "-IPTC:Caption-Abstract=" + WORDS, source], check=True, timeout=60)
        data = source.read_bytes()
        head = data.index(b"\xff\xdb")
        folder = self.work / "damaged"
        folder.mkdir()
        for i in range(int(os.environ.get("LOOKSAY_TEST_DAMAGED", "60"))):
            bad = bytearray(data)
            for _ in range(dice.randrange(1, 6)):
                bad[dice.randrange(4, head)] = dice.randrange(256)
            (folder / f"{i:04}.jpg").write_bytes(bad)
        status, _, err = run("-q", "-f", "embed", "--existing", "append", folder)
        self.assertIn(status, (OK, SOME_FAILED), err)
        for photo in folder.iterdir():
            self.assertTrue(photo.read_bytes().endswith(data[head:]), photo)


if __name__ == "__main__":
    program.main()
