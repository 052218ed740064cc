#!/usr/bin/env python3
"""looksay video where its module is missing, and what it refuses.

    run_usage.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import shutil

import clips
from clips import USAGE, TestCase, run


class Missing(TestCase):
    def test_a_program_without_its_module_says_so(self):
        alone = self.work / "looksay"
        shutil.copy(clips.LOOKSAY, alone)
        out, err = run("video", "clip.mp4", program=alone, check=USAGE)
        self.assertEqual(out, "")
        self.assertEqual(err.count("\n"), 1)
        for word in ("looksay-video.so", "FFmpeg", "libavformat-dev"):
            self.assertIn(word, err)

    def test_a_file_that_is_no_module(self):
        shutil.copy(clips.LOOKSAY, self.work / "looksay")
        (self.work / "looksay-video.so").write_bytes(b"nothing")
        _, err = run("video", "clip.mp4", program=self.work / "looksay", check=USAGE)
        self.assertIn("looksay-video.so", err)

    def test_usage(self):
        for words, said in (([], "one clip"), (["a", "b"], "one clip"), (["a", "-o", "x.txt"], ".srt, .vtt, .jsonl"),
                            (["a", "-f", "ass"], "srt|vtt|jsonl|clip"), (["a", "--joint", "99"], "--joint"),
                            (["a", "--scene", "2"], "--scene"), (["a", "--every", "-1"], "--every")):
            out, err = run("video", *words, check=USAGE)
            self.assertIn(said, err)
            self.assertEqual(out, "")
        self.assertIn("--joint", run("video", "--help", model=None)[0])


if __name__ == "__main__":
    clips.main()
