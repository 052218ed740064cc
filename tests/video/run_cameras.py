#!/usr/bin/env python3
"""Cameras: RTSP.

    run_cameras.py LOOKSAY [TestCase.test_name...]

Standard library, ffmpeg and ffprobe.
"""
import socket

import clips
from clips import OK, SOME_FAILED, TestCase, rows_of, run
from rtsp import RtspServer


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


if __name__ == "__main__":
    clips.main()
