#!/usr/bin/env python3
"""looksay explain as its users meet it: numbers, files, mistakes.

    run_explain.py LOOKSAY [TestCase.test_name...]

Runs against small random models of tests/parity. Standard library only.
"""
import base64
import html.parser
import json
import math
import os
import re
import shutil
import struct
import sys
import zlib

import program
from program import OK, OUTPUT, PHOTOS, ROOT, SOME_FAILED, USAGE, TestCase, run

MODELS = ROOT / "tests/parity/models"
FAMILIES = ["vit-gpt2-bin", "vit-bert-bin", "blip-full", "vit-trocr", "vit-trocr-oblong", "dinov2-roberta-sharded",
            "dinov2-swiglu-gpt2", "deit-bert-untied"]


class Numbers(TestCase):
    def check(self, d):
        rows, columns = d["grid"]
        self.assertTrue(d["words"])
        self.assertTrue(d["tokens"])
        n_layers = {len(t["layers"]) for t in d["tokens"]}
        self.assertEqual(len(n_layers), 1)
        for token in d["tokens"]:
            for layer in token["layers"]:
                self.assertEqual(len(layer), rows * columns)
                self.assertTrue(all(weight >= 0 for weight in layer))
                self.assertLess(sum(layer), 1 + 1e-4)
        at = 0
        for word in d["words"]:
            self.assertEqual(len(word["map"]), rows * columns)
            self.assertTrue(all(weight >= 0 for weight in word["map"]))
            self.assertAlmostEqual(sum(word["map"]), 1, delta=1e-4)
            at = d["caption"].index(word["word"], at) + len(word["word"])
            own = d["tokens"][word["first_token"]:word["first_token"] + word["n_tokens"]]
            self.assertEqual(len(own), word["n_tokens"])
            self.assertIn(word["word"], "".join(t["text"] for t in own))
            self.assertAlmostEqual(word["logprob"], sum(t["logprob"] for t in own), delta=1e-3)
        self.assertEqual("".join(t["text"] for t in d["tokens"]).strip(), d["caption"])

    def test_every_family(self):
        for family in FAMILIES:
            with self.subTest(family):
                _, out, err = run("explain", PHOTOS / "wide.jpg", model=MODELS / family, check=OK)
                self.check(json.loads(out))
                self.assertEqual(err, "")

    def test_the_caption_is_the_one_that_caption_says(self):
        for words in ([], ["--beams", "4"], ["--seed", "3", "--max-tokens", "9"], ["--prompt", "a photo"]):
            photo = PHOTOS / "tall.png"
            said = json.loads(run("caption", "-f", "jsonl", "--details", *words, photo, check=OK)[1])
            shown = json.loads(run("explain", *words, photo, check=OK)[1])
            self.assertEqual(shown["caption"], said["caption"])
            self.assertEqual([t["id"] for t in shown["tokens"]], said["tokens"])
            self.assertEqual(shown["size"], said["size"])

    def test_the_box_is_what_the_model_sees(self):
        """vit-gpt2 squashes the picture; deit crops its middle."""
        squashed = json.loads(run("explain", PHOTOS / "wide.jpg", check=OK)[1])
        self.assertEqual(squashed["grid_box"], [0, 0, *squashed["size"]])
        cropped = json.loads(run("explain", PHOTOS / "wide.jpg", model=MODELS / "deit-bert-untied", check=OK)[1])
        x, y, width, height = cropped["grid_box"]
        self.assertAlmostEqual(x + width / 2, cropped["size"][0] / 2, delta=cropped["size"][0] / 30)
        self.assertAlmostEqual(y + height / 2, cropped["size"][1] / 2, delta=cropped["size"][1] / 30)
        self.assertLess(width * height, cropped["size"][0] * cropped["size"][1])

    def test_a_file_and_a_stream(self):
        out = self.work / "words.json"
        run("explain", PHOTOS / "wide.jpg", "-o", out, check=OK)
        written, streamed = json.loads(out.read_text()), json.loads(run("explain", PHOTOS / "wide.jpg", check=OK)[1])
        self.assertEqual(written.pop("timings")["steps"], streamed.pop("timings")["steps"])
        self.assertEqual(written, streamed)
        piped = json.loads(run("explain", "-", stdin=(PHOTOS / "wide.jpg").read_bytes(), check=OK)[1])
        self.assertEqual(piped["words"], json.loads(out.read_text())["words"])
        self.assertEqual(piped["image"], "-")


class Page(html.parser.HTMLParser):
    """What a browser would find: elements with their attributes, and the text of the body."""
    VOID = {"meta", "img", "link", "br", "hr", "input"}

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes nothing")

    def handle_data(self, data):
        if "body" in self.open:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def printable(text):
    return re.sub(r"[\x00-\x1f]", " ", text)


def jpeg_size(data):
    """Width and height of a baseline JPEG that is whole."""
    if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
        raise AssertionError("no JPEG")
    at = data.index(b"\xff\xc0")
    height, width = struct.unpack(">HH", data[at + 5:at + 9])
    return width, height


class Html(TestCase):
    def page(self, photo, *words, **options):
        out = self.work / "words.html"
        run("explain", photo, *words, "-o", out, check=OK, **options)
        page = Page(out.read_text(encoding="utf-8"))
        self.assertEqual(page.open, [])
        return page

    def test_a_button_and_a_map_for_each_word(self):
        for family in FAMILIES:
            with self.subTest(family):
                d = json.loads(run("explain", PHOTOS / "wide.jpg", model=MODELS / family, check=OK)[1])
                page = self.page(PHOTOS / "wide.jpg", model=MODELS / family)
                buttons, images = page.all("button"), page.all("img")
                self.assertEqual(len(buttons), len(d["words"]))
                self.assertEqual(len(images), 1 + len(d["words"]))
                self.assertEqual(images[0]["alt"], printable(d["caption"]))
                self.assertIn(printable(d["caption"]), page.text)
                sizes = [jpeg_size(base64.b64decode(i["src"].removeprefix("data:image/jpeg;base64,"), validate=True))
                         for i in images]
                self.assertEqual(sizes[0], (int(images[0]["width"]), int(images[0]["height"])))
                self.assertEqual(len(set(sizes[1:])), 1)
                for i in range(len(buttons)):
                    self.assertIn(f"w{i}", buttons[i]["class"].split())
                    self.assertIn(f"m{i}", images[i + 1]["class"].split())

    def test_needs_nothing_else_and_runs_nothing(self):
        page = self.page(PHOTOS / "wide.jpg")
        for tag, attributes in page.elements:
            self.assertNotIn(tag, ("script", "link", "iframe", "object"))
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on"), name)
                if name in ("src", "href"):
                    self.assertTrue(value.startswith("data:image/jpeg;base64,"))

    def test_hostile_names(self):
        names = ['"><script>alert(1)</script>&amp;.png', "a'b&lt;<b>\n\x01.png"]
        if sys.platform == "linux":
            names.append(os.fsdecode(b"bad-\xff-utf8.png"))
        plain = self.page(PHOTOS / "tall.png")
        for name in names:
            photo = self.work / name.replace("/", "_")
            shutil.copy(PHOTOS / "tall.png", photo)
            page = self.page(photo)
            self.assertEqual([tag for tag, _ in page.elements], [tag for tag, _ in plain.elements])
            self.assertIn(printable(os.fsencode(photo.name).decode("utf-8", "replace")), page.text)

    def test_hostile_prompt(self):
        page = self.page(PHOTOS / "tall.png", "--prompt", "<img src=x onerror=alert(1)>", "--max-tokens", "4")
        self.assertEqual(len(page.all("img")), 1 + len(page.all("button")))
        self.assertFalse([i for i in page.all("img") if "onerror" in i])


def png_pixels(data):
    """(width, height, rows) of a PNG with 8-bit RGB and no interlacing; every filter is undone."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise AssertionError("no PNG")
    at, packed = 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        if struct.unpack(">I", data[at + 8 + n:at + 12 + n])[0] != zlib.crc32(kind + body):
            raise AssertionError(f"checksum of {kind}")
        if kind == b"IHDR":
            width, height, *rest = struct.unpack(">IIBBBBB", body)
            if rest != [8, 2, 0, 0, 0]:
                raise AssertionError(rest)
        packed += body if kind == b"IDAT" else b""
        at += 12 + n
    raw, stride, rows, before = zlib.decompress(packed), 3 * width, [], bytes(3 * width)
    for y in range(height):
        filter, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if filter else 0):
            a, b, c = row[i - 3] if i >= 3 else 0, before[i], before[i - 3] if i >= 3 else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            row[i] = row[i] + (0, a, b, (a + b) // 2, paeth)[filter] & 255
        rows.append(bytes(row))
        before = rows[-1]
    return width, height, rows


class Sheet(TestCase):
    def sheet(self, photo, *words, **options):
        out = self.work / "words.png"
        status, _, err = run("explain", photo, *words, "-o", out, **options)
        if status == USAGE and "draws no PNG" in err:
            self.skipTest(err)
        self.assertEqual((status, err), (OK, ""))
        return png_pixels(out.read_bytes())

    def test_a_cell_for_each_word(self):
        for photo, words in [("wide.jpg", []), ("tall.png", ["--max-tokens", "3"]), ("tiny.png", [])]:
            with self.subTest(photo):
                width, height, rows = self.sheet(PHOTOS / photo, *words)
                d = json.loads(run("explain", PHOTOS / photo, *words, check=OK)[1])
                scale = min(1, 320 / max(d["size"]))
                picture = [max(1, math.floor(side * scale + 0.5)) for side in d["size"]]
                n_cells, n_rows = len(d["words"]) + 1, (height - 16) // (picture[1] + 40)
                self.assertEqual(height, 16 + n_rows * (picture[1] + 40))
                columns = next(c for c in range(1, n_cells + 1) if -(-n_cells // c) <= n_rows)
                cell = (width - 16) / columns - 16
                self.assertGreaterEqual(cell, picture[0])
                self.assertGreater(len(set(b"".join(rows))), 8)

    def test_labels_are_there_and_differ(self):
        """Below each picture but the first there are letters, and not the same for all words."""
        width, height, rows = self.sheet(PHOTOS / "wide.jpg")
        d = json.loads(run("explain", PHOTOS / "wide.jpg", check=OK)[1])
        picture_height = math.floor(d["size"][1] * min(1, 320 / max(d["size"])) + 0.5)
        label = rows[16 + picture_height + 2:16 + picture_height + 38]
        letters = [any(row[3 * x] > 100 for row in label) for x in range(width)]
        self.assertTrue(any(letters))
        first = next(i for i in range(width) if letters[i])
        self.assertGreater(first, 16)


class Mistakes(TestCase):
    def test_mistakes_are_named(self):
        photo = PHOTOS / "wide.jpg"
        for words, status, said in [
            (["explain"], USAGE, "one image"),
            (["explain", photo, photo], USAGE, "one image"),
            (["explain", photo, "-o", self.work / "words.txt"], USAGE, "words.txt"),
            (["explain", photo, "-o", self.work / "words"], USAGE, "--format"),
            (["explain", photo, "-o", self.work / "a.b/words"], USAGE, "--format"),
            (["explain", photo, "--format", "csv"], USAGE, "--format takes"),
            (["explain", photo, "-o", self.work / "none/words.json"], OUTPUT, "none/words.json"),
            (["explain", self.work / "none.jpg"], SOME_FAILED, "none.jpg"),
        ]:
            got, out, err = run(*words)
            self.assertEqual((got, out), (status, ""), words)
            self.assertIn(said, err, words)
            self.assertEqual(err.count("\n"), 1, err)
        self.assertEqual(list(self.work.iterdir()), [])


if __name__ == "__main__":
    program.main()
