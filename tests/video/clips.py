"""looksay video on clips that ffmpeg makes of the shipped photos: what its tests share.

Most of them run against a small random model of tests/parity.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PHOTOS = ROOT / "assets/photos"
MODEL = ROOT / "tests/parity/models/vit-gpt2-bin"
LOOKSAY = None
OK, SOME_FAILED, USAGE, OUTPUT, INTERRUPTED = 0, 1, 2, 4, 130


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


def main():
    """Runs the tests of the script: LOOKSAY [TestCase.test_name...]"""
    global LOOKSAY
    LOOKSAY = str(Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=1)
