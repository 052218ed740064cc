"""The program as its users meet it: arguments, streams, exit statuses, files, bad inputs. What its tests share.

Most of them run against a small random model of tests/parity, where what is said means nothing but how it is said does. Standard
library only.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/parity/models/vit-gpt2-bin"
PHOTOS = ROOT / "tests/parity/photos"
LOOKSAY = None
# A build without libjpeg, whose JPEGs differ from what torch saw, and without fast kernels: seconds for a photo.
PORTABLE = "--portable" in sys.argv
SANITIZED = "ASAN_OPTIONS" in os.environ or "TSAN_OPTIONS" in os.environ  # as the presets for such builds set them

OK, SOME_FAILED, USAGE, BAD_MODEL, OUTPUT, INTERRUPTED = 0, 1, 2, 3, 4, 130


def run(*words, model=MODEL, stdin=b"", env=None, check=None, cwd=None):
    """Runs the program; returns (exit status, stdout, stderr) with texts decoded leniently."""
    command = [LOOKSAY, *words]
    if model:
        command += ["--model", model]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOOKSAY_")}
    environment.update(env or {})
    done = subprocess.run([os.fsencode(w) for w in command], input=stdin, capture_output=True, timeout=600,
                          env=environment, cwd=cwd)
    out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    if check is not None and done.returncode != check:
        raise AssertionError(f"exit status {done.returncode}, not {check}\nstdout: {out}\nstderr: {err}")
    return done.returncode, out, err


def run_bytes(*words, stdin=b"", cwd=None):
    """Standard output as it is, of a run that succeeds without a model."""
    done = subprocess.run([os.fsencode(w) for w in (LOOKSAY, *words)], input=stdin, capture_output=True, timeout=120, cwd=cwd)
    if done.returncode != OK:
        raise AssertionError(f"exit status {done.returncode}\nstderr: {done.stderr}")
    return done.stdout


def rows_of(text):
    return [json.loads(line) for line in text.splitlines()]


class TestCase(unittest.TestCase):
    def setUp(self):
        self.work = Path(tempfile.mkdtemp(prefix="looksay-cli-"))
        self.addCleanup(shutil.rmtree, self.work, ignore_errors=True)

    def photos(self, *names):
        folder = self.work / "photos"
        folder.mkdir(exist_ok=True)
        for name in names:
            shutil.copy(PHOTOS / name, folder / name)
        return folder


def main():
    """Runs the tests of the script: LOOKSAY [--portable] [TestCase.test_name...]"""
    global LOOKSAY
    LOOKSAY = os.path.abspath(sys.argv.pop(1))
    sys.argv = [word for word in sys.argv if word != "--portable"]
    unittest.main(verbosity=1)
