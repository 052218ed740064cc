#!/usr/bin/env python3
"""The pictures that captions are made of, one or several at a time.

    run_pictures.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import json

import clips
from clips import OK, SOME_FAILED, TestCase, ffmpeg, rows_of, run


class Pictures(TestCase):
    def score_of_still(self, png):
        row = json.loads(run("caption", "-f", "jsonl", png)[0])
        return row["caption"], row["score"]

    def test_a_frame_is_captioned_as_the_photo_it_is(self):
        """Frames that ffmpeg decodes, in a lossless codec, and turned as players turn them."""
        plain = self.cut("plain.mov", [("astronaut", 3)], options=("-pix_fmt", "rgb24", "-c:v", "png"))
        still, captions = self.work / "still.png", set()
        for degrees in (0, 90, 180, 270):
            with self.subTest(degrees):
                clip = self.work / f"turned{degrees}.mov"
                ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v", f"rotate={degrees}", clip)
                ffmpeg("-i", clip, "-frames:v", "1", still)
                row = rows_of(clip)[0]
                caption, score = self.score_of_still(still)
                self.assertEqual(row["caption"], caption)
                self.assertAlmostEqual(row["score"], score, delta=1e-6)
                captions.add(round(score, 5))
        self.assertEqual(len(captions), 4)

    def test_pixels_that_are_not_square(self):
        plain = self.cut("plain.mov", [("astronaut", 3)], options=("-pix_fmt", "rgb24", "-c:v", "png"))
        wide, still = self.work / "wide.mov", self.work / "still.png"
        ffmpeg("-i", plain, "-vf", "setsar=2", "-pix_fmt", "rgb24", "-c:v", "png", wide)
        ffmpeg("-i", plain, "-frames:v", "1", "-vf", "scale=iw*2:ih:flags=bicubic+accurate_rnd+full_chroma_int", still)
        said_by_container = self.work / "wide.mkv"
        ffmpeg("-i", plain, "-c", "copy", "-aspect", "32:9", said_by_container)  # of 16:9
        for clip in (wide, said_by_container):
            row = rows_of(clip)[0]
            caption, score = self.score_of_still(still)
            self.assertEqual(row["caption"], caption)
            self.assertAlmostEqual(row["score"], score, delta=1e-3)

    def test_many_kinds_of_pixels(self):
        for pixels, codec in (("yuv420p", "ffv1"), ("yuv444p10le", "ffv1"), ("gray", "ffv1"), ("bgra", "ffv1"), ("pal8", "png"),
                              ("rgb48be", "png"), ("yuvj420p", "mjpeg"), ("gbrp", "ffv1"), ("gray16le", "ffv1")):
            with self.subTest(pixels):
                clip = self.cut("a.mkv" if codec != "png" else "a.mov", [("coffee", 8), ("rocket", 8)], rate="8", size="322x181"
                                if pixels not in ("yuv420p", "yuvj420p") else "322x182", options=("-pix_fmt", pixels, "-c:v", codec))
                self.assertEqual([r["frame"] for r in rows_of(clip)], [0, 8])

    def test_a_size_that_changes(self):
        a = self.cut("a.ts", [("coffee", 30)], size="320x180")
        b = self.cut("b.ts", [("rocket", 30)], size="640x480")
        both = self.work / "both.ts"
        both.write_bytes(a.read_bytes() + b.read_bytes())
        rows = rows_of(both, check=(OK, SOME_FAILED))
        self.assertEqual(len(rows), 2)
        self.assertIn(rows[1]["frame"], (29, 30))  # the seam costs ffmpeg a frame too

    def test_wide_pictures(self):
        clip = self.cut("wide.mov", [("china", 2)], size="12000x64", options=("-pix_fmt", "rgb24", "-c:v", "png"))
        self.assertEqual(len(rows_of(clip)), 1)


class Joint(TestCase):
    def test_a_freeze_needs_one_frame(self):
        clip = self.cut("freeze.mp4", [("coffee", 150)])
        alone, joint = rows_of(clip), rows_of(clip, "--joint", "4")
        for row in alone + joint:
            row.pop("ms")
        self.assertEqual(alone, joint)

    def test_frames_are_spread_over_the_shot(self):
        clip = self.pan("pan.mp4", 6)
        for n in (2, 3, 5, 16):
            rows = rows_of(clip, "--joint", str(n), "--every", "3")
            self.assert_cues(rows, [0, 90], 180, 30)
            for row in rows:
                seen = row["seen"]
                self.assertEqual(len(seen), n)
                self.assertEqual(seen[0], row["start"])
                self.assertGreater(seen[-1], row["end"] - 1)
                gaps = [b - a for a, b in zip(seen, seen[1:])]
                self.assertGreater(min(gaps), 0)
                self.assertLess(max(gaps), 6 / (n - 1) + 0.2)

    def test_words_attend_to_all_frames(self):
        clip = self.pan("pan.mp4", 2)
        scores = [rows_of(clip, "--joint", str(n))[0]["score"] for n in (1, 2, 4)]
        self.assertEqual(len({round(s, 4) for s in scores}), 3, scores)

    def test_no_frame_of_another_shot(self):
        clip = self.cut("cuts.mp4", [("astronaut", 37), ("coffee", 53), ("china", 30)])
        rows = rows_of(clip, "--joint", "4")
        self.assert_cues(rows, [0, 37, 90], 120, 30)
        self.assertEqual([(r["caption"], r["seen"]) for r in rows], [(r["caption"], r["seen"]) for r in rows_of(clip)])


if __name__ == "__main__":
    clips.main()
