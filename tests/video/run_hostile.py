#!/usr/bin/env python3
"""Clips that are none, that are damaged, or that name other files.

    run_hostile.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import random
import shutil
import time

import clips
from clips import OK, PHOTOS, SOME_FAILED, TestCase, ffmpeg, rows_of, run


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
        clip = self.cut("index_first.mp4", [("astronaut", 60), ("coffee", 60)], options=("-pix_fmt", "yuv420p", "-movflags", "+faststart"))
        half = self.work / "half_index_first.mp4"
        half.write_bytes(clip.read_bytes()[:clip.stat().st_size * 6 // 10])
        out, err = run("video", "-f", "jsonl", half, check=SOME_FAILED)
        self.assertIn("of 4.0; is the file whole?", err)
        self.assertGreaterEqual(len(out.splitlines()), 1)
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


if __name__ == "__main__":
    clips.main()
