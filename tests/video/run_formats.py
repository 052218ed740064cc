#!/usr/bin/env python3
"""Subtitles and rows, and what others read of them.

    run_formats.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import json
import os
import re
import signal
import subprocess
import time

import clips
from clips import INTERRUPTED, MODEL, OUTPUT, TestCase, ffmpeg, rows_of, run


class Formats(TestCase):
    def packets(self, path):
        shown = subprocess.run(["ffprobe", "-v", "error", "-show_packets", "-of", "json", path], capture_output=True, check=True)
        return [(float(p["pts_time"]), float(p["pts_time"]) + float(p["duration_time"]))
                for p in json.loads(shown.stdout)["packets"]]

    def test_what_others_read(self):
        """ffprobe finds the cues of the JSON rows; ffmpeg finds their words. The shipped model: its captions are words."""
        clip = self.cut("cuts.mp4", [("astronaut", 37), ("coffee", 53), ("china", 90)])
        rows = rows_of(clip, model=None)
        self.assertEqual(len(rows), 3)
        for format in ("srt", "vtt"):
            with self.subTest(format):
                out = self.work / f"cuts.{format}"
                run("video", clip, "-o", out, model=None)
                found = self.packets(out)
                self.assertEqual(len(found), len(rows))
                for (start, end), row in zip(found, rows):
                    self.assertAlmostEqual(start, row["start"], delta=0.00051)
                    self.assertAlmostEqual(end, row["end"], delta=0.00102)
                words = ffmpeg("-i", out, "-f", "srt", "-").decode()
                blocks = [" ".join(b.splitlines()[2:]) for b in re.sub(r"</?[a-z][^>]*>", "", words).strip().split("\n\n")]
                self.assertEqual(blocks, [" ".join(r["caption"].split()) for r in rows])
                self.assertEqual(run("video", "-f", format, clip, model=None)[0], out.read_text(encoding="utf-8"))
                self.assertFalse(out.with_name(out.name + ".part").exists())

    def test_srt_is_the_default(self):
        clip = self.cut("one.mp4", [("astronaut", 30)])
        self.assertTrue(run("video", clip)[0].startswith("1\n00:00:00,000 --> 00:00:01,000\n"))

    def test_rows(self):
        clip = self.cut('a "b".mp4', [("astronaut", 30)])
        row = rows_of(clip)[0]
        self.assertEqual(row["image"], str(clip))
        self.assertEqual(set(row), {"image", "start", "end", "frame", "begins", "seen", "caption", "score", "model", "status", "ms"})

    def test_standard_input(self):
        clip = self.cut("a.mkv", [("astronaut", 40), ("coffee", 40)])
        piped, named = rows_of("-", stdin=clip.read_bytes()), rows_of(clip)
        self.assertEqual([(r["start"], r["caption"]) for r in piped], [(r["start"], r["caption"]) for r in named])
        self.assertEqual(piped[0]["image"], "-")
        fragments = self.work / "fragments.mp4"
        ffmpeg("-i", clip, "-c", "copy", "-movflags", "frag_keyframe+empty_moov", fragments)
        self.assertEqual(len(rows_of("-", stdin=fragments.read_bytes())), 2)

    def test_a_full_disk(self):
        clip = self.cut("one.mp4", [("astronaut", 30)])
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        run("video", clip, "-f", "srt", "-o", "/dev/full", check=OUTPUT, cwd=self.work)

    def test_interrupted_is_complete(self):
        """A camera is ended with Ctrl-C: what was seen until then is written."""
        clip, pipe, out = self.cut("a.mkv", [("astronaut", 60), ("coffee", 60)]), self.work / "pipe", self.work / "a.vtt"
        os.mkfifo(pipe)
        with subprocess.Popen([clips.LOOKSAY, "video", pipe, "-o", out, "--model", MODEL], stderr=subprocess.PIPE) as running:
            with open(pipe, "wb") as to:
                to.write(clip.read_bytes())
                to.flush()
                for _ in range(300):
                    time.sleep(0.1)
                    part = out.with_name("a.vtt.part")
                    if part.exists() and "-->" in part.read_text(encoding="utf-8"):
                        break
                running.send_signal(signal.SIGINT)
                self.assertEqual(running.wait(timeout=60), INTERRUPTED)
        self.assertEqual(len(self.packets(out)), 2)


if __name__ == "__main__":
    clips.main()
