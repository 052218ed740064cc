#!/usr/bin/env python3
"""Captions written into a copy of the clip.

    run_copies.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import resource
import signal
import subprocess
import time

import clips
from clips import INTERRUPTED, MODEL, OUTPUT, SOME_FAILED, USAGE, TestCase, ffmpeg, rows_of, run


class Copies(TestCase):
    """Captions written into a copy: the same pictures, times and sound, and words at the bottom."""

    def with_sound(self, name, *options):
        silent = self.cut("silent.mkv", [("astronaut", 37), ("coffee", 53)], options=("-pix_fmt", "yuv420p", "-crf", "12"))
        out = self.work / name
        ffmpeg("-i", silent, "-f", "lavfi", "-i", "sine=duration=3", "-map", "0", "-map", "1", "-c:v", "copy", *options, out)
        return out

    def times(self, path):
        shown = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=best_effort_timestamp_time",
                                "-of", "csv=p=0", path], capture_output=True, text=True, check=True)
        return [float(line.strip(",")) for line in shown.stdout.split()]

    def sound(self, path):
        return ffmpeg("-i", path, "-map", "0:a", "-c", "copy", "-f", "framemd5", "-").decode().splitlines()[-20:]

    def count_heard(self, path):
        """Packets of the first sound."""
        listed = ffmpeg("-i", path, "-map", "0:a:0", "-c", "copy", "-f", "framemd5", "-").decode()
        return sum(line.startswith("0,") for line in listed.splitlines())

    def frames(self, path, width, height):
        """Grey pictures."""
        data = ffmpeg("-i", path, "-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-")
        return [data[i:i + width * height] for i in range(0, len(data), width * height)]

    def copy(self, clip, name, model=None):
        out = self.work / name
        run("video", clip, "-o", out, model=model)
        self.assertFalse(out.with_name(name + ".part").exists())
        return out

    def test_pictures_times_and_sound(self):
        clip = self.with_sound("a.mp4", "-c:a", "aac")
        rows = rows_of(clip, model=None)
        cut = rows[1]["frame"]
        width, height = 320, 180
        before = self.frames(clip, width, height)
        for name in ("b.mp4", "b.mov", "b.mkv"):
            with self.subTest(name):
                out = self.copy(clip, name)
                shift = self.times(out)[0]  # of a container that has no times below zero, where the sound may begin
                self.assertLess(shift, 0.05)
                for old, new in zip(self.times(clip), self.times(out), strict=True):
                    self.assertAlmostEqual(new - shift, old, delta=0.0011 if name == "b.mkv" else 1e-5)
                md5 = [line.split(",")[-1] for line in self.sound(clip)]
                self.assertEqual([line.split(",")[-1] for line in self.sound(out)], md5)
                after = self.frames(out, width, height)
                self.assertEqual(len(after), 90)
                top = width * height * 6 // 10
                words = []
                for old, new in zip(before, after):
                    difference = sum(abs(a - b) for a, b in zip(old[:top], new[:top])) / top
                    self.assertLess(difference, 3.0)
                    words.append({i for i, value in enumerate(new[top:]) if value > 160})  # the band is darker than that
                self.assertGreater(len(words[0]), 100)
                for first, frames in ((0, range(cut)), (cut, range(cut, 90))):
                    for frame in frames:
                        self.assertLess(len(words[first] ^ words[frame]), 0.35 * len(words[first]), frame)
                self.assertGreater(len(words[0] ^ words[cut]), 0.7 * len(words[0]))

    def test_clips_that_were_joined(self):
        """Stamps that run back, and sound that comes up on the way."""
        parts = [self.with_sound(f"{i}.ts", "-c:a", "mp2", "-map", "1", *(["-map", "1"] if i else [])) for i in range(2)]
        clip = self.work / "joined.ts"
        clip.write_bytes(b"".join(parts[i].read_bytes() for i in (0, 1, 0)))
        out = self.copy(clip, "b.mp4", model=MODEL)
        self.assertEqual(len(self.times(out)), 270)
        self.assertEqual(self.count_heard(out), self.count_heard(clip))

    def test_vp9(self):
        clip = self.with_sound("a.mkv", "-c:a", "libopus")
        out = self.copy(clip, "b.webm", model=MODEL)
        self.assertEqual(len(self.times(out)), 90)
        self.assertEqual(len(self.sound(out)), len(self.sound(clip)))

    def test_variable_frame_rate(self):
        clip = self.work / "variable.mp4"
        ffmpeg("-i", self.cut("even.mp4", [("astronaut", 25), ("coffee", 25)]), "-vf",
               "setpts='if(lt(N,30),N/30,1+(N-30)/10)/TB'", "-vsync", "vfr", "-video_track_timescale", "90000", clip)
        out = self.copy(clip, "b.mp4", model=MODEL)
        for old, new in zip(self.times(clip), self.times(out), strict=True):
            self.assertAlmostEqual(new, old, delta=1e-5)

    def test_upright_and_square(self):
        """A clip that is shown turned and stretched is coded as it is shown, with its words at the bottom."""
        clip = self.work / "a.mov"
        ffmpeg("-i", self.cut("b.mov", [("coffee", 12)], size="200x101", options=("-pix_fmt", "rgb24", "-c:v", "png")),
               "-vf", "setsar=2", "-c:v", "png", clip)
        turned = self.work / "turned.mov"
        ffmpeg("-i", clip, "-c", "copy", "-metadata:s:v", "rotate=90", turned)
        out = self.copy(turned, "c.mp4", model=None)
        shown = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=width,height,sample_aspect_ratio:side_data=rotation",
                                "-of", "csv=p=0", out], capture_output=True, text=True, check=True)
        self.assertEqual(shown.stdout.strip().split(",")[:2], ["100", "400"])
        picture = self.frames(out, 100, 400)[0]
        self.assertGreater(sum(value > 160 for value in picture[100 * 350:]), 20)
        self.assertLess(sum(picture[100 * 380:]) / len(picture[100 * 380:]), 100)

    def test_what_cannot_be(self):
        clip = self.with_sound("a.mp4", "-c:a", "aac")
        listed = sorted(self.work.iterdir())
        for words, status, said in (([clip, "-o", self.work / "b.webm"], OUTPUT, "name the copy .mkv"),
                                    ([clip, "-o", clip], USAGE, "another name"), ([clip, "-f", "clip"], USAGE, "--output"),
                                    ([clip, "-f", "clip", "-o", self.work / "b.srt"], USAGE, ".mkv"),
                                    (["-", "-o", self.work / "b.mp4"], USAGE, "read twice"),
                                    (["rtsp://127.0.0.1:9/a", "-o", self.work / "b.mp4"], USAGE, "read twice"),
                                    ([self.work / "none.mp4", "-o", self.work / "b.mp4"], SOME_FAILED, "none.mp4")):
            with self.subTest(said):
                _, err = run("video", *words, check=status)
                self.assertIn(said, err)
                self.assertEqual(err.count("\n"), 1)
        self.assertEqual(sorted(self.work.iterdir()), listed)

    def test_a_full_disk(self):
        """As far as a process can tell: no file may become longer than 20 kB."""
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        clip = self.cut("a.mp4", [("china", 60)], size="640x360")
        done = subprocess.run([clips.LOOKSAY, "video", clip, "-o", self.work / "b.mp4", "--model", MODEL], capture_output=True, text=True,
                              timeout=300, preexec_fn=limit)
        self.assertEqual(done.returncode, OUTPUT, done.stderr)
        self.assertIn("File too large", done.stderr)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["a.mp4"])

    def test_interrupted_is_none(self):
        clip = self.cut("a.mp4", [("china", 900)], size="1280x720")
        part = self.work / "b.mp4.part"
        with subprocess.Popen([clips.LOOKSAY, "video", clip, "-o", self.work / "b.mp4", "--model", MODEL], stderr=subprocess.DEVNULL) as running:
            while running.poll() is None and not (part.exists() and part.stat().st_size > 0):
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            self.assertEqual(running.wait(timeout=60), INTERRUPTED)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["a.mp4"])


if __name__ == "__main__":
    clips.main()
