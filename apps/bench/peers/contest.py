"""Engines as processes that caption photos in turns. Nothing here needs a package, so that what a peer costs is its own."""
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOKENS = 20
PAUSE = 0.05  # seconds: an engine's threads spin for a moment after their work, which is not to cost the next engine
HERE = Path(__file__).resolve().parent


class Failed(Exception):
    pass


def differing_copies(photos, n, folder):
    """n files, each unlike the others in its JPEG comment only: looksay captions equal files once."""
    copies = []
    for i in range(n):
        photo, comment = photos[i % len(photos)], f"{i}".encode()
        data = photo.read_bytes()
        if data[:2] != b"\xff\xd8":
            raise Failed(f"{photo} is no JPEG file; name photos that are")
        copies.append(folder / f"{i:04d}-{photo.name}")
        copies[-1].write_bytes(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:])
    return copies


def looksay_command(program, model, dtype, threads, beams):
    """Wants `--files-from -` or a folder behind it."""
    return [program, "caption", "--model", model, "--dtype", dtype, "--threads", threads, "--beams", beams, "--format", "jsonl",
            "--details", "--any-picture", "--min-tokens", TOKENS, "--max-tokens", TOKENS]


def peer_command(engine, precision, model, folder, threads, beams):
    return [sys.executable, HERE / "peer.py", engine, precision, model, folder, "--threads", threads, "--beams", beams]


class Contestant:
    """An open engine. `command`: of a program that reads paths of photos and answers each with a JSON row."""

    def __init__(self, name, command):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)

    def caption(self, photo):
        """The row, with `wall_ms` from the path to the row."""
        began = time.perf_counter()
        try:
            self.process.stdin.write(f"{photo}\n")
            self.process.stdin.flush()
            row = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            raise Failed(f"{self.name} gave no caption of {photo}:\n{self.errors.read()[-2000:]}") from None
        row["wall_ms"] = (time.perf_counter() - began) * 1e3
        if row.get("status", "ok") != "ok" or len(row["tokens"]) != TOKENS:
            raise Failed(f"{self.name}: {photo} should have a caption of {TOKENS} tokens: {row}")
        return row

    def close(self):
        """The most memory it held, in MiB."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()
        if self.process.returncode is not None:  # of a process that failed nothing is asked
            return 0.0
        _, self.process.returncode, usage = os.wait4(self.process.pid, 0)
        return usage.ru_maxrss / 1024


def cold_start(name, command, photo):
    """(milliseconds from the start of the process to its first caption, peak memory in MiB)."""
    began = time.perf_counter()
    contestant = Contestant(name, command)
    contestant.caption(photo)
    ms = (time.perf_counter() - began) * 1e3
    return ms, contestant.close()


def require_equal(tokens, names):
    """tokens {name: ids} of one photo; those of `names` must be the same."""
    for name in names[1:]:
        if tokens[name] != tokens[names[0]]:
            raise Failed(f"{names[0]} and {name} disagree, so that their times do not compare:\n"
                         f"{names[0]}: {tokens[names[0]]}\n{name}: {tokens[name]}")


def take_turns(commands, photos, rounds, say):
    """commands {name: words} -> {name: {"caption_ms": [...], "encode_ms": [...]}}. Each round gives one photo to all in turn, in an
    order that moves on by one a round; the first round warms up and is thrown away. In f32 all must write the same tokens."""
    contestants, times = {}, {name: {"caption_ms": [], "encode_ms": []} for name in commands}
    try:
        for name, command in commands.items():
            contestants[name] = Contestant(name, command)
        for turn in range(rounds + 1):
            names = list(contestants)
            rows = {}
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                time.sleep(PAUSE)
                rows[name] = contestants[name].caption(photos[turn])
            require_equal({name: row["tokens"] for name, row in rows.items()}, [name for name in names if name.endswith(" f32")])
            if turn == 0:
                continue
            for name, row in rows.items():
                times[name]["caption_ms"].append(round(row["wall_ms"], 3))
                times[name]["encode_ms"].append(round(row.get("timings", row)["encode_ms"], 3))
            say(f"round {turn}, ms: " + ", ".join(f"{name} {rows[name]['wall_ms']:.0f}" for name in names))
    finally:
        for contestant in contestants.values():
            contestant.close()
    return times


def folder_rate(name, command, folder):
    """Photos a second of a program whose command names the folder, from its start to its end."""
    photos = sorted(folder.iterdir())
    began = time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0 or len(done.stdout.splitlines()) != len(photos):
        raise Failed(f"{name} did not caption {folder}:\n{done.stderr[-2000:]}")
    return len(photos) / seconds


def loop_rate(name, command, folder):
    """Photos a second of an open engine that is given one after another, its start and first photo not counted."""
    first, *photos = sorted(folder.iterdir())
    contestant = Contestant(name, command)
    try:
        contestant.caption(first)
        began = time.perf_counter()
        for photo in photos:
            contestant.caption(photo)
        return len(photos) / (time.perf_counter() - began)
    finally:
        contestant.close()
