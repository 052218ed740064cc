#!/usr/bin/env python3
"""Cuts, pans, freezes and rates: times to the frame.

    run_times.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import json

import clips
from clips import TestCase, ffmpeg, rows_of, run


class Times(TestCase):
    def test_cuts_to_the_frame(self):
        shots = [("astronaut", 37), ("coffee", 53), ("china", 30), ("rocket", 24)]
        starts, end = [0, 37, 90, 120], 144
        for rate, codec, name in (("30", "libx264", "a.mp4"), ("24", "mpeg4", "a.avi"), ("30000/1001", "libx264", "a.mov"),
                                  ("25", "mpeg2video", "a.mpg"), ("30", "libvpx", "a.webm"), ("30", "libx264", "a.ts")):
            with self.subTest(name=name, rate=rate):
                clip = self.cut(name, shots, rate, options=("-pix_fmt", "yuv420p", "-c:v", codec, "-b:v", "2M"))
                rows = rows_of(clip)
                if name == "a.webm":  # milliseconds
                    self.assertEqual([r["frame"] for r in rows], starts)
                    for row, frame in zip(rows, starts):
                        self.assertAlmostEqual(row["start"], frame / 30, delta=0.0006)
                else:
                    n, d = (rate.split("/") + ["1"])[:2]
                    tolerance = int(n) / int(d) if name not in ("a.ts", "a.mpg") else None
                    if tolerance:
                        self.assert_cues(rows, starts, end, tolerance)
                    else:  # ticks of 1/90000 s
                        self.assertEqual([r["frame"] for r in rows], starts)
                        for row, frame in zip(rows, starts):
                            self.assertAlmostEqual(row["start"], frame * int(d) / int(n), delta=2e-5)
                self.assertEqual({r["begins"] for r in rows}, {"cut"})
                self.assertTrue(all(r["status"] == "ok" and r["seen"] == [r["start"]] for r in rows))

    def test_a_freeze_is_one_cue_with_one_caption(self):
        clip = self.cut("freeze.mp4", [("coffee", 300)])
        out, err = run("video", "-v", "-f", "jsonl", clip)
        self.assert_cues([json.loads(out)], [0], 300, 30)
        self.assertIn("1 captions for 1 cues", err)

    def test_a_pan_is_captioned_every_few_seconds(self):
        clip = self.pan("pan.mp4", 7)
        self.assert_cues(rows_of(clip), [0, 60, 120, 180], 210, 30)
        self.assert_cues(rows_of(clip, "--every", "1.5"), [0, 45, 90, 135, 180], 210, 30)
        self.assert_cues(rows_of(clip, "--every", "0"), [0], 210, 30)
        self.assert_cues(rows_of(clip, "--gate", "1"), [0], 210, 30)
        self.assertEqual([r["begins"] for r in rows_of(clip)], ["cut"] + 3 * ["time"])

    def test_only_by_time_looks_at_few_frames(self):
        clip = self.cut("cuts.mp4", [("astronaut", 50), ("coffee", 100)])
        out, err = run("video", "-v", "-f", "jsonl", "--scene", "0", "--every", "1", clip)
        self.assert_cues([json.loads(line) for line in out.splitlines()], [0, 60], 150, 30)
        self.assertIn("150 frames, 5 looked at", err)

    def test_a_pan_that_ends_in_a_freeze(self):
        frozen = self.work / "frozen.mp4"
        ffmpeg("-i", self.pan("pan.mp4", 3), "-vf", "tpad=stop_mode=clone:stop_duration=5", frozen)
        self.assert_cues(rows_of(frozen), [0, 60, 120], 240, 30)

    def test_variable_frame_rate(self):
        """One second at 30 frames/s, then 10 a second: frame 45 is at 2.5 s."""
        clip = self.work / "variable.mkv"
        ffmpeg("-i", self.cut("even.mp4", [("astronaut", 45), ("coffee", 25)]), "-vf",
               "setpts='if(lt(N,30),N/30,1+(N-30)/10)/TB'", "-vsync", "vfr", clip)
        rows = rows_of(clip)
        self.assertEqual([r["frame"] for r in rows], [0, 45])
        self.assertEqual([r["start"] for r in rows], [0, 2.5])
        self.assertAlmostEqual(rows[-1]["end"], 5.0, delta=0.1)

    def test_a_clip_that_does_not_start_at_zero(self):
        clip = self.work / "late.ts"
        ffmpeg("-i", self.cut("cuts.mp4", [("astronaut", 40), ("coffee", 40)]), "-c", "copy", "-output_ts_offset", "5000", clip)
        rows = rows_of(clip)
        self.assertEqual([r["frame"] for r in rows], [0, 40])
        self.assertAlmostEqual(rows[0]["start"], 0, delta=2e-5)
        self.assertAlmostEqual(rows[1]["start"], 40 / 30, delta=2e-5)

    def test_a_flash_is_no_shot(self):
        clip = self.cut("flash.mp4", [("astronaut", 40), ("rocket", 1), ("astronaut", 40)])
        self.assert_cues(rows_of(clip), [0], 81, 30)
        clip = self.cut("short.mp4", [("astronaut", 40), ("rocket", 1), ("coffee", 40)])
        rows = rows_of(clip)
        self.assert_cues(rows, [0, 40], 81, 30)
        self.assertAlmostEqual(rows[1]["seen"][0], 41 / 30, delta=1.01e-6)

    def test_one_frame(self):
        self.assert_cues(rows_of(self.cut("one.mp4", [("astronaut", 1)])), [0], 1, 30)

    def test_slides(self):
        photos = [("astronaut", 1), ("coffee", 1), ("china", 1), ("rocket", 2)]
        rows = rows_of(self.cut("slides.mp4", photos, rate="2"))
        self.assertEqual([(r["frame"], r["start"]) for r in rows], [(0, 0), (1, 0.5), (2, 1), (3, 1.5)])


if __name__ == "__main__":
    clips.main()
