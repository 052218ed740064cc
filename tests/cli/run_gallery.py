#!/usr/bin/env python3
"""The page that --format html writes, read by an HTML parser.

    run_gallery.py LOOKSAY [TestCase.test_name...]

Standard library only.
"""
import base64
import hashlib
import html.parser
import os
import shutil

import program
from program import OK, PHOTOS, SOME_FAILED, TestCase, rows_of, run

ALLOWED = {"html": {"lang"}, "head": set(), "meta": {"charset", "name", "content", "http-equiv"}, "title": set(), "style": set(),
           "script": set(), "body": set(), "form": {"hidden"}, "p": set(), "label": set(), "input": {"type", "autofocus"},
           "output": set(), "main": set(), "figure": {"class"}, "img": {"width", "height", "alt", "src"}, "figcaption": set(),
           "small": {"title"}, "meter": {"value"}, "bdi": set()}
VOID = {"meta", "input", "img"}


class Page(html.parser.HTMLParser):
    """Figures of a page, and whether all its tags are known and closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.figures, self.policy, self.scripts, self.ended = [], [], "", [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        for name, _ in attrs:
            assert name in ALLOWED[tag], (tag, name)
        attrs = dict(attrs)
        if tag == "figure":
            self.figures.append({"failed": attrs.get("class") == "failed", "text": "", "name": "", "images": [], "meters": []})
        elif tag == "img":
            self.figures[-1]["images"].append(attrs)
        elif tag == "meter":
            self.figures[-1]["meters"].append(float(attrs["value"]))
        elif tag == "meta" and attrs.get("http-equiv"):
            self.policy = attrs["content"]
        elif tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())
        self.ended |= tag == "html"

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts[-1] += data
        elif "bdi" in self.open:
            self.figures[-1]["name"] += data
        elif "figcaption" in self.open:
            self.figures[-1]["text"] += data


class Gallery(TestCase):
    def page(self, text):
        page = Page(text)
        self.assertEqual(page.open, [])
        self.assertTrue(page.ended)
        self.assertEqual(len(page.scripts), 1)
        digest = base64.b64encode(hashlib.sha256(page.scripts[0].encode()).digest()).decode()
        self.assertEqual(page.policy,
                         f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'")
        return page

    def test_a_page_says_what_the_rows_say(self):
        folder = self.photos("wide.jpg", "tall.png", "large.jpg")
        (folder / "bad.jpg").write_bytes(b"no image")
        rows = rows_of(run("-f", "jsonl", "--details", folder, check=SOME_FAILED)[1])
        target = self.work / "page.html"
        status, out, _ = run("-f", "html", "-o", target, folder)
        self.assertEqual((status, out), (SOME_FAILED, ""))
        text = target.read_text()
        for outside in ("http:", "https:", "//", "url(", "@import"):
            self.assertNotIn(outside, text.replace("base64,//", "").split("<main>")[0], outside)
        figures = self.page(text).figures
        self.assertEqual([f["name"] for f in figures], [r["image"] for r in rows])
        self.assertEqual([f["failed"] for f in figures], [r["status"] == "error" for r in rows])
        for figure, row in zip(figures, rows):
            if figure["failed"]:
                self.assertIn("bad.jpg", figure["text"])
                continue
            caption = "".join(" " if c < " " else c for c in row["caption"])
            self.assertTrue(figure["text"].startswith(caption), (figure["text"], caption))
            self.assertEqual(figure["images"][0]["alt"], caption)
            mean = sum(2.718281828459045 ** p for p in row["logprobs"]) / len(row["logprobs"])
            self.assertAlmostEqual(figure["meters"][0], mean, delta=0.00051)

    def test_thumbnails_are_pictures(self):
        folder = self.photos("large.jpg")
        figure = self.page(run("-f", "html", folder, check=OK)[1]).figures[0]
        image = figure["images"][0]
        size = run("-f", "jsonl", "--details", folder, check=OK)[1]
        width, height = rows_of(size)[0]["size"]
        self.assertEqual(max(int(image["width"]), int(image["height"])), min(288, max(width, height)))
        self.assertAlmostEqual(int(image["width"]) / int(image["height"]), width / height, delta=0.02)
        kind, data = image["src"].split(",", 1)
        self.assertEqual(kind, "data:image/jpeg;base64")
        row = rows_of(run("-f", "jsonl", "--details", "-", stdin=base64.b64decode(data, validate=True), check=OK)[1])[0]
        self.assertEqual(row["size"], [int(image["width"]), int(image["height"])])

    def test_names_are_no_markup(self):
        names = [b'"><script>alert(1)<.jpg', b"' onerror='alert(1).jpg", b"<!--.jpg", b"&lt;b&gt;&amp;.jpg", b"caf\xe9\xff.jpg",
                 b"line\nfeed\r.jpg", b"<img src=x onerror=alert(1)>.jpg", b"javascript:alert(1).jpg",
                 "\u202egpj.exe.jpg".encode(), b"]]>.jpg", "größe 猫.jpg".encode(), b"\x01\x1b[31m.jpg"]
        folder = os.fsencode(self.work / "odd")
        os.mkdir(folder)
        for i, name in enumerate(names):
            if i % 2:
                shutil.copy(PHOTOS / "tiny.png", folder + b"/" + name)
            else:
                with open(folder + b"/" + name, "wb") as file:
                    file.write(b"<script>no image</script>")
        page = self.page(run("-f", "html", folder, check=SOME_FAILED)[1])
        wanted = ["".join(" " if c < " " else c for c in (folder + b"/" + n).decode("utf-8", "replace")) for n in sorted(names)]
        self.assertEqual([f["name"] for f in page.figures], wanted)

    def test_alternatives(self):
        figure = self.page(run("-f", "html", "--beams", "3", "--n-best", "3", PHOTOS / "wide.jpg", check=OK)[1]).figures[0]
        self.assertEqual(len(figure["meters"]), 3)

    def test_an_empty_folder_is_an_empty_page(self):
        (self.work / "empty").mkdir()
        self.assertEqual(self.page(run("-f", "html", self.work / "empty", check=OK)[1]).figures, [])

    def test_resumed_pages_have_one_head_and_one_end(self):
        folder = self.photos("wide.jpg", "tall.png")
        target = self.work / "page.html"
        words = ["-f", "html", "--resume", "-o", target, folder]
        run(*words, check=OK)
        first = target.read_bytes()
        run(*words, check=OK)
        self.assertEqual(target.read_bytes(), first)
        shutil.copy(PHOTOS / "grey.jpg", folder / "zebra.jpg")
        run(*words, check=OK)
        whole = self.work / "whole.html"
        run("-f", "html", "-o", whole, folder, check=OK)
        rows = [{**f, "images": [dict(i) for i in f["images"]]} for f in self.page(target.read_text()).figures]
        self.assertEqual(rows, [f for name in ("tall.png", "wide.jpg", "zebra.jpg")
                                for f in self.page(whole.read_text()).figures if f["name"].endswith(name)])
        self.assertEqual(len(rows), 3)
        (self.work / "page.html.journal").unlink()
        # a page that was cut anywhere is continued
        run(*words, check=OK)
        journal = (self.work / "page.html.journal").read_bytes()
        data = target.read_bytes()
        target.unlink()
        (self.work / "page.html.part").write_bytes(data[:len(data) * 2 // 3])
        (self.work / "page.html.journal").write_bytes(journal)
        run(*words, check=OK)
        self.assertEqual(target.read_bytes(), data)


if __name__ == "__main__":
    program.main()
