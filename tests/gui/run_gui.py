#!/usr/bin/python3
"""looksay-gui as its users meet it: started on an X server without a screen, driven by keys and clicks, judged by the files that it
writes, by what a screen reader hears and by the pixels of its window.

    run_gui.py LOOKSAY_GUI LOOKSAY ARTEFACTS [TestCase.test_name...]

Pictures of the window are kept in the folder ARTEFACTS. Needs python3-gi, Xvfb, xdotool, dbus-daemon and at-spi2-core.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from desk import ROOT, STATE_SENSITIVE, Desk, Gui, wait_for

SHIPPED = ROOT / "assets/photos"
PARITY = ROOT / "tests/parity/photos"
SMALL = ROOT / "tests/parity/models/vit-gpt2-bin"  # random and quick: what it says means nothing
PROGRAM, LOOKSAY, ARTEFACTS, DESK = None, None, None, None


class TestCase(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="looksay-gui-test-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def gui(self, *arguments, **options):
        gui = Gui(DESK, PROGRAM, *arguments, **options)
        self.addCleanup(self.end, gui)
        return gui

    def end(self, gui):
        if gui.process.poll() is None:  # the test has failed
            self.keep(self.id().split(".")[-1])
            print(gui.output(), file=sys.stderr)
        gui.kill()

    def copy(self, *photos):
        """Copies of photos in a folder of our own, to write beside."""
        for photo in photos:
            shutil.copy(photo, self.work)
        return self.work

    def keep(self, name):
        DESK.picture().save(ARTEFACTS / f"{name}.png")

    def captions(self, *arguments):
        """What the command line says."""
        done = subprocess.run([LOOKSAY, "--format", "jsonl", *map(str, arguments)], capture_output=True, text=True, timeout=600)
        return {row["image"]: row["caption"] for row in map(json.loads, done.stdout.splitlines())}


class Captions(TestCase):
    def test_a_folder_is_captioned_as_the_command_line_does(self):
        expected = self.captions(SHIPPED)
        gui = self.gui(SHIPPED)
        gui.wait_for_text("status", f"^{len(expected)} of {len(expected)} captioned$")
        for path, caption in expected.items():
            gui.wait_for_text("group(ing)?|panel", f"^{re.escape(Path(path).name)}: {re.escape(caption)}$")
        self.keep("captions")
        self.assertEqual(gui.quit(), 0)

    def test_a_word_shows_where_the_model_looked(self):
        gui = self.gui(SHIPPED / "astronaut.jpg")
        gui.wait_for_text("status", "^1 of 1 captioned$")
        words = wait_for("words", gui.words)
        caption = gui.find("text( box)?", "^Caption$").text
        self.assertEqual([word.name for word in words], caption.split())
        picture = gui.find("image", re.escape(caption))
        wait_for("the photo", lambda: len(set(gui.picture_of(picture).pixels)) > 1000)
        time.sleep(0.3)
        plain = gui.picture_of(picture)
        glows = []
        for word in words[:3]:
            before = gui.picture_of(picture)
            gui.click(word)
            wait_for("another picture", lambda: gui.picture_of(picture).share_that_differs(before) > 0.002)
            time.sleep(0.3)
            glows.append(gui.picture_of(picture))
            self.assertGreater(glows[-1].share_that_differs(plain), 0.2)
            self.assertLess(glows[-1].brightness(), 0.8 * plain.brightness())  # where it did not look is dark
        self.keep("word")
        self.assertGreater(glows[0].share_that_differs(glows[1]), 0.002)
        gui.click(words[2])
        wait_for("the picture as it was", lambda: gui.picture_of(picture).share_that_differs(plain) < 0.001)
        self.assertEqual(gui.quit(), 0)

    def test_files_that_are_no_pictures_are_rows_that_say_so(self):
        folder = self.copy(PARITY / "wide.jpg")
        (folder / "bad.jpg").write_bytes(b"no picture")
        (folder / "cut.png").write_bytes((PARITY / "tall.png").read_bytes()[:200])
        gui = self.gui(folder, folder / "missing.jpg", model=SMALL)
        gui.wait_for_text("status", "^1 of 4 captioned · 3 failed$")
        for name in ("bad.jpg", "cut.png", "missing.jpg"):
            row = gui.find("group(ing)?|panel", f"^{name}: ")
            self.assertIn(str(folder / name), row.name)
        self.keep("failed")
        self.assertEqual(gui.quit(), 0)

    def test_a_model_that_cannot_be_opened_is_the_windows_message(self):
        (self.work / "bad.gguf").write_bytes(b"GGUF but not really")
        gui = self.gui(PARITY / "wide.jpg", model=self.work / "bad.gguf")
        gui.wait_for_text("alert|label", "bad.gguf")
        self.keep("bad-model")
        self.assertEqual(gui.quit(), 0)

    def test_quits_at_once_while_captioning(self):
        gui = self.gui(SHIPPED)
        self.assertEqual(gui.quit(), 0)


class Editing(TestCase):
    def open(self, photo=PARITY / "wide.jpg", **options):
        folder = self.copy(photo)
        gui = self.gui(folder / photo.name, model=SMALL, **options)
        gui.wait_for_text("status", "^1 of 1 captioned$")
        return gui, folder / photo.name

    def write(self, gui, text):
        gui.key("F2")
        gui.key("ctrl+a")
        gui.type(text)
        wait_for("the text", lambda: gui.root.find("text( box)?", "^Caption$").text == text)

    def test_an_edited_caption_is_saved_beside_the_photo(self):
        gui, photo = self.open()
        self.write(gui, "a dog & a man")
        gui.key("ctrl+s")
        target = photo.with_suffix(".txt")
        wait_for("the text file", target.exists)
        self.assertEqual(target.read_text(), "a dog & a man\n")
        gui.wait_for_text("label", "^wide.jpg · edited · saved$")
        self.assertEqual(gui.quit(), 0)

    def test_a_persons_words_are_kept_unless_others_are_typed(self):
        gui, photo = self.open()
        target = photo.with_suffix(".txt")
        target.write_text("mine\n")
        gui.key("ctrl+s")
        gui.wait_for_text("alert|label", "It has a caption already")
        self.assertEqual(target.read_text(), "mine\n")
        self.write(gui, "yours")
        gui.key("ctrl+s")
        wait_for("the new text", lambda: target.read_text() == "yours\n")
        self.assertEqual(gui.quit(), 0)

    def test_xmp_beside_and_inside_the_photo(self):
        for format, target in (("xmp", "wide.jpg.xmp"), ("embed", "wide.jpg")):
            config = self.work / f"config-{format}"
            (config / "looksay").mkdir(parents=True)
            (config / "looksay/window.ini").write_text(f"[window]\nformat={format}\n")
            gui, photo = self.open(config=config)
            before = photo.read_bytes()
            self.write(gui, "two birds")
            gui.key("ctrl+s")
            gui.wait_for_text("label", "^wide.jpg · edited · saved$")
            data = (photo.parent / target).read_bytes()
            self.assertIn(b">two birds</rdf:li>", data)
            self.assertEqual(photo.read_bytes() != before, format == "embed")
            self.assertEqual(gui.quit(), 0)

    def test_edits_are_not_lost_by_closing(self):
        gui, photo = self.open()
        self.write(gui, "never saved")
        gui.key("ctrl+q")
        gui.wait_for_text("label", "One edited caption is not saved")
        self.keep("unsaved")
        gui.focus_dialog(".")
        gui.key("Escape")
        wait_for("the question to go", lambda: not gui.root.find("label", "One edited caption"))
        gui.focus()
        gui.key("ctrl+r")
        wait_for("the model's words", lambda: gui.root.find("text( box)?", "^Caption$").text != "never saved")
        self.assertEqual(gui.quit(), 0)
        self.assertFalse(photo.with_suffix(".txt").exists())

    def test_export(self):
        folder = self.copy(PARITY / "wide.jpg", PARITY / "tall.png")
        (folder / "bad.jpg").write_bytes(b"no picture")
        gui = self.gui(folder, model=SMALL)
        gui.wait_for_text("status", "^2 of 3 captioned · 1 failed$")
        for name in ("all.jsonl", "all.csv", "all.html"):
            gui.key("ctrl+e")
            gui.answer_with_file("Export Captions", folder / name)
            wait_for(name, (folder / name).exists)
            gui.focus()
        rows = [json.loads(line) for line in (folder / "all.jsonl").read_text().splitlines()]
        self.assertEqual([(Path(row["image"]).name, row["status"]) for row in rows],
                         [("bad.jpg", "error"), ("tall.png", "ok"), ("wide.jpg", "ok")])
        expected = self.captions("--model", SMALL, folder / "wide.jpg", folder / "tall.png")
        self.assertEqual({row["image"]: row["caption"] for row in rows[1:]}, expected)
        self.assertEqual((folder / "all.csv").read_text().count("\n"), 4)
        page = (folder / "all.html").read_text()
        self.assertEqual(page.count("<figure"), 3)
        self.assertEqual(page.count("data:image/jpeg;base64,"), 2)
        self.assertEqual(gui.quit(), 0)


def main():
    global PROGRAM, LOOKSAY, ARTEFACTS, DESK
    if len(sys.argv) < 4:
        print(__doc__, file=sys.stderr)
        return 2
    PROGRAM, LOOKSAY, ARTEFACTS = (os.path.abspath(word) for word in sys.argv[1:4])
    ARTEFACTS = Path(ARTEFACTS)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    DESK = Desk()
    return 0 if unittest.main(argv=[sys.argv[0], *sys.argv[4:]], exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
