#!/usr/bin/env python3
"""looksay video on clips that ffmpeg makes of the shipped photos: times to the frame, formats, damage.

    run_video.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe. Most of it runs against a small random model of tests/parity.
"""
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOS = ROOT / "assets/photos"
MODEL = ROOT / "tests/parity/models/vit-gpt2-bin"
LOOKSAY = None
OK, SOME_FAILED, USAGE, OUTPUT, INTERRUPTED = 0, 1, 2, 4, 130
EVERY = 2.0


def run(*words, model=MODEL, stdin=b"", check=OK, cwd=None, program=None):
    """Runs the program; returns its texts (stdout, stderr)."""
    command = [program or LOOKSAY, *words] + (["--model", model] if model else [])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKSAY_")}
    done = subprocess.run([os.fsencode(w) for w in command], input=stdin, capture_output=True, timeout=300, cwd=cwd,
                          env=environment)
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    allowed = check if isinstance(check, tuple) else (check,)
    sanitized = "Sanitizer" in err or "runtime error" in err  # they end a program as failed clips do
    if done.returncode not in allowed or sanitized:
        raise AssertionError(f"{command}: exit status {done.returncode}, not {allowed}\nstdout: {out}\nstderr: {err}")
    return out, err


def rows_of(*words, **options):
    return [json.loads(line) for line in run("video", "-f", "jsonl", *words, **options)[0].splitlines()]


def ffmpeg(*words):
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, words)], capture_output=True, timeout=300)
    if done.returncode != 0:
        raise AssertionError(f"ffmpeg: {done.stderr.decode()}")
    return done.stdout


class TestCase(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="looksay-video-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def cut(self, name, shots, rate="30", size="320x180", options=("-pix_fmt", "yuv420p")):
        """A clip of stills: shots are (photo, number of frames)."""
        out, inputs, graph = self.work / name, [], ""
        width, height = size.split("x")
        for i, (photo, n_frames) in enumerate(shots):
            inputs += ["-framerate", rate, "-i", PHOTOS / f"{photo}.jpg"]
            graph += f"[{i}]scale={width}:{height},setsar=1,loop=loop={n_frames - 1}:size=1[s{i}];"
        graph += "".join(f"[s{i}]" for i in range(len(shots))) + f"concat=n={len(shots)}"
        ffmpeg(*inputs, "-filter_complex", graph, *options, out)
        return out

    def pan(self, name, seconds, rate=30):
        out = self.work / name
        ffmpeg("-framerate", rate, "-loop", "1", "-t", seconds, "-i", PHOTOS / "china.jpg", "-vf",
               f"scale=1280:-2,crop=320:240:x='(iw-320)*t/{seconds}':y=100", "-pix_fmt", "yuv420p", out)
        return out

    def assert_cues(self, rows, starts, end, rate):
        """Cues begin at those frames, one after the other, and the last ends where the clip does."""
        self.assertEqual([r["frame"] for r in rows], starts)
        for row, frame, stop in zip(rows, starts, starts[1:] + [end]):
            self.assertAlmostEqual(row["start"], frame / rate, delta=1.01e-6)
            self.assertAlmostEqual(row["end"], stop / rate, delta=1.01e-6)


class Missing(TestCase):
    def test_a_program_without_its_module_says_so(self):
        alone = self.work / "looksay"
        shutil.copy(LOOKSAY, alone)
        out, err = run("video", "clip.mp4", program=alone, check=USAGE)
        self.assertEqual(out, "")
        self.assertEqual(err.count("\n"), 1)
        for word in ("looksay-video.so", "FFmpeg", "libavformat-dev"):
            self.assertIn(word, err)

    def test_a_file_that_is_no_module(self):
        shutil.copy(LOOKSAY, self.work / "looksay")
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
        with subprocess.Popen([LOOKSAY, "video", pipe, "-o", out, "--model", MODEL], stderr=subprocess.PIPE) as running:
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
        done = subprocess.run([LOOKSAY, "video", clip, "-o", self.work / "b.mp4", "--model", MODEL], capture_output=True, text=True,
                              timeout=300, preexec_fn=limit)
        self.assertEqual(done.returncode, OUTPUT, done.stderr)
        self.assertIn("File too large", done.stderr)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["a.mp4"])

    def test_interrupted_is_none(self):
        clip = self.cut("a.mp4", [("china", 900)], size="1280x720")
        part = self.work / "b.mp4.part"
        with subprocess.Popen([LOOKSAY, "video", clip, "-o", self.work / "b.mp4", "--model", MODEL], stderr=subprocess.DEVNULL) as running:
            while running.poll() is None and not (part.exists() and part.stat().st_size > 0):
                time.sleep(0.02)
            running.send_signal(signal.SIGINT)
            self.assertEqual(running.wait(timeout=60), INTERRUPTED)
        self.assertEqual(sorted(p.name for p in self.work.iterdir()), ["a.mp4"])


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
        row = rows_of(wide)[0]
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


class Hostile(TestCase):
    def fails(self, path, *said, stdin=b"", words=()):
        out, err = run("video", *words, path, stdin=stdin, check=SOME_FAILED)
        self.assertEqual(out, "")
        self.assertEqual(err.count("\n"), 1, err)
        for part in said:
            self.assertIn(part, err)

    def test_no_clip(self):
        (self.work / "empty.mp4").write_bytes(b"")
        self.fails(self.work / "empty.mp4", "empty.mp4", "empty")
        self.fails("-", "standard input", "empty")
        (self.work / "text.mp4").write_text("no clip\n" * 100)
        self.fails(self.work / "text.mp4", "damaged, or no clip")
        self.fails(self.work / "absent.mp4", "absent.mp4", "No such file")
        self.fails(self.work, "cannot be read")
        out = self.work / "out.srt"
        run("video", self.work / "empty.mp4", "-o", out, check=SOME_FAILED)
        self.assertEqual(sorted(p.name for p in self.work.glob("out*")), [])

    def test_sound_alone(self):
        sound = self.work / "a.wav"
        ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
        self.fails(sound, "no video")
        cover = self.work / "a.mp3"
        ffmpeg("-i", sound, "-i", PHOTOS / "coffee.jpg", "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic",
               "-c:a", "flac", "-f", "flac", cover)
        self.fails(cover, "no video")

    def test_a_list_of_other_files_is_refused(self):
        secret = self.cut("secret.mkv", [("astronaut", 10)])
        sound = self.cut("secret.ts", [("astronaut", 10)])
        lists = {"a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{sound}\n#EXT-X-ENDLIST\n",
                 "b.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
                 "c.ffconcat": f"ffconcat version 1.0\nfile {secret.name}\n",
                 "d.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
                          'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" '
                          f'bandwidth="1"><BaseURL>file://{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>',
                 "e.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
                          "a=rtpmap:96 H264/90000\n"}
        for name, text in lists.items():
            with self.subTest(name):
                (self.work / name).write_text(text)
                began = time.monotonic()
                self.fails(self.work / name, name)
                self.assertLess(time.monotonic() - began, 20)

    def test_names_that_read_as_something_else(self):
        clip = self.cut("a.mkv", [("astronaut", 10)])
        for name in ("concat:a.mkv", "http:__x.mkv", "frame%03d.mkv", "tab\tquote'.mkv", "dev:video0.mkv"):
            with self.subTest(name):
                shutil.copy(clip, self.work / name)
                self.assertEqual(len(rows_of(name, cwd=self.work)), 1)

    def test_pictures_too_large(self):
        huge = self.work / "huge.y4m"
        huge.write_bytes(b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(100000))
        self.fails(huge, "huge.y4m")

    def test_cut_off(self):
        clip = self.cut("a.mkv", [("astronaut", 40), ("coffee", 40), ("china", 40)])
        half = self.work / "half.mkv"
        half.write_bytes(clip.read_bytes()[:clip.stat().st_size * 2 // 3])
        rows = rows_of(half, check=(OK, SOME_FAILED))
        self.assertGreaterEqual(len(rows), 1)
        self.assertEqual(rows[0]["frame"], 0)
        clip = self.cut("a.mp4", [("astronaut", 40)])  # its index is at the end
        half = self.work / "half.mp4"
        half.write_bytes(clip.read_bytes()[:-100])
        run("video", half, check=(OK, SOME_FAILED))

    def test_damage_is_reported_and_passed_over(self):
        clip = self.cut("a.ts", [("astronaut", 60), ("coffee", 60)], options=("-pix_fmt", "yuv420p", "-g", "15"))
        data = bytearray(clip.read_bytes())
        n = len(data) // 3
        data[n:n + 3000] = random.Random(1).randbytes(3000)
        clip.write_bytes(data)
        out, err = run("video", "-f", "jsonl", clip, check=SOME_FAILED)
        self.assertIn("damaged packets or frames", err)
        self.assertGreaterEqual(len(out.splitlines()), 2)

    def test_no_damage_ends_the_program(self):
        for name, codec in (("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mjpeg"), ("a.webm", "libvpx"), ("a.gif", "gif")):
            clip = self.cut(name, [("astronaut", 6), ("coffee", 6)], rate="6", size="96x64",
                            options=("-c:v", codec) + (() if codec == "gif" else ("-pix_fmt", "yuv420p" if codec != "mjpeg"
                                                                                 else "yuvj420p")))
            whole, broken = clip.read_bytes(), self.work / f"broken-{name}"
            for seed in range(8):
                chance = random.Random(seed)
                data = bytearray(whole)
                for _ in range(1 + seed * 4):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                if seed % 3 == 0:
                    del data[chance.randrange(len(data)):]
                broken.write_bytes(data)
                with self.subTest(name=name, seed=seed):
                    run("video", "--joint", str(1 + seed % 3), broken, check=(OK, SOME_FAILED))


class RtspServer(threading.Thread):
    """One camera for one client: MPEG-TS in RTP packets, interleaved with the answers (RFC 2326, 10.12; RFC 2250)."""

    def __init__(self, stream, seconds=0.0):
        """seconds: how long sending the stream takes, at least."""
        super().__init__(daemon=True)
        self.stream, self.seconds, self.socket = stream, seconds, socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self.socket.getsockname()[1]}/camera"

    def run(self):
        with self.socket:
            client, _ = self.socket.accept()
        with client, client.makefile("rb") as lines:
            while True:
                request = lines.readline().decode()
                headers = {}
                while (line := lines.readline().decode().strip()):
                    name, value = line.split(":", 1)
                    headers[name.lower()] = value.strip()
                verb = request.split(" ")[0]
                extra, body = "", b""
                if verb == "DESCRIBE":
                    body = (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
                            b"m=video 0 RTP/AVP 33\r\na=control:track\r\n")
                    extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif verb == "SETUP":
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
                client.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n{extra}\r\n".encode() + body)
                if verb == "PLAY":
                    break
            self.send(client)

    def send(self, client):
        """The stream, until the client has seen enough."""
        size = 7 * 188
        try:
            for i in range(0, len(self.stream), size):
                packet = struct.pack(">BBHII", 0x80, 33, i // size & 0xffff, 0, 1) + self.stream[i:i + size]
                client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                time.sleep(self.seconds * size / len(self.stream))
        except ConnectionError:
            pass


class Cameras(TestCase):
    def test_rtsp(self):
        clip = self.cut("a.ts", [("astronaut", 60), ("coffee", 60), ("china", 60)])
        server = RtspServer(clip.read_bytes())
        server.start()
        rows = rows_of(server.url, check=(OK, SOME_FAILED))  # a camera that goes away is no end
        self.assertEqual(len(rows), 3)
        self.assertEqual([r["caption"] for r in rows], [r["caption"] for r in rows_of(clip)])
        self.assertAlmostEqual(rows[1]["start"] - rows[0]["start"], 2, delta=0.02)

    def test_nobody_there(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"rtsp://127.0.0.1:{taken.getsockname()[1]}/camera"
        _, err = run("video", url, check=SOME_FAILED)
        self.assertIn("cannot be read", err)
        _, err = run("video", "/dev/video99", check=SOME_FAILED)
        self.assertIn("/dev/video99", err)


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


def main():
    global LOOKSAY
    LOOKSAY = str(Path(sys.argv[1]).resolve())
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])


if __name__ == "__main__":
    main()
