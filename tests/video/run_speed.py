#!/usr/bin/env python3
"""Frames looked at in a second.

    run_speed.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import re

import clips
from clips import TestCase, ffmpeg, run


class Speed(TestCase):
    def test_faster_than_it_plays(self):
        """The default model, cuts and gate: at least 25 frames a second are looked at. The clip moves all the time."""
        cuts = self.cut("cuts.mp4", [("astronaut", 75), ("coffee", 75), ("china", 75), ("rocket", 75)], size="640x360")
        moving = self.work / "moving.mp4"
        ffmpeg("-i", cuts, "-vf", "crop=480:270:x='160*mod(t,2.5)/2.5':y=40,scale=640:360", "-pix_fmt", "yuv420p", moving)
        for clip in (cuts, moving):
            err = run("video", "-v", clip, model=None)[1]
            frames, rate = re.search(r"(\d+) looked at.* ([\d.]+) frames/s", err).groups()
            print(f"{clip.name}: {err.splitlines()[-1]}")
            self.assertEqual(int(frames), 300)
            self.assertGreaterEqual(float(rate), 25.0)


if __name__ == "__main__":
    clips.main()
