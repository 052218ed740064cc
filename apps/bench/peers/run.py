#!/usr/bin/env python3
"""Looksay against transformers, ONNX Runtime and OpenVINO: the same models, photos, cores and tokens, in turns.

    run.py LOOKSAY [--models blip-base,vit-gpt2,default] [--tasks greedy,beams,cold,folder] [--rounds 5] [--work build/peers]

Models with random weights and everything that engines want made of them is made once, in the work folder. Each model and task is
one run of all engines; its figures replace those of earlier runs in WORK/peers.json, from which WORK/peers.md and WORK/peers.svg
are written. `./dev peers` makes the environment and calls this. Nothing else should run meanwhile."""
import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import contest
import figures
from chart import chart

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODELS = "blip-base", "vit-gpt2", "default"
TASKS = "greedy", "beams", "cold", "folder"
PRECISIONS = {
    "looksay": ["f32", "bf16", "int8"],
    "transformers": ["f32", "bf16", "int8"],
    "torch": ["f32", "int8"],
    "onnxruntime": ["f32", "int8-dynamic", "int8-static"],
    "openvino": ["f32", "bf16", "int8"],
}
PACKAGES = {"transformers": ["torch", "transformers"], "torch": ["torch"], "onnxruntime": ["onnxruntime"], "openvino": ["openvino"]}
FLAGS = "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8"
BEAMS = 3


def parse():
    def some_of(names):
        def read(text):
            chosen = text.split(",")
            for name in chosen:
                if name not in names:
                    raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(names)}")
            return chosen

        return read

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looksay", type=Path, help="the program")
    parser.add_argument("--models", type=some_of(MODELS), default=MODELS, help="default: %(default)s")
    parser.add_argument("--engines", type=some_of(PRECISIONS), default=list(PRECISIONS), help="default: all")
    parser.add_argument("--tasks", type=some_of(TASKS), default=TASKS, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="photos for each engine; default: %(default)s")
    parser.add_argument("--photos", type=int, default=56, help="photos in the folder of the folder task; default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all this process may use")
    parser.add_argument("--work", type=Path, default=ROOT / "build/peers", help="default: build/peers")
    parser.add_argument("--prepare", action="store_true", help="make models and graphs, measure nothing")
    return parser.parse_args()


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise contest.Failed(f"{shlex.join(map(str, words))} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def cpu():
    """(name, flags) of /proc/cpuinfo; the flags that decide about speed are part of the name."""
    fields = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields[key.strip()] = value.strip()
    flags = fields.get("flags", "").split()
    name = fields.get("model name", "unknown CPU").replace("(R)", "")
    return f"{name} ({', '.join(flag for flag in FLAGS if flag in flags)})", flags


class Model:
    """Where a model and what was made of it lie."""

    def __init__(self, name, options):
        self.name, self.program, self.threads = name, options.looksay.resolve(), options.threads
        self.graphs = options.work / "graphs" / name
        self.source = ROOT / "assets/model/looksay.gguf" if name == "default" else options.work / "models" / name

    def make(self, photos, peers):
        """`peers`: whether graphs are wanted too."""
        if not self.source.exists():
            say(f"{self.name}: making {self.source}")
            call(sys.executable, HERE / "models.py", self.name, self.source)
        made = self.graphs / "model.json"
        if peers and (not made.exists() or made.stat().st_mtime < self.source.stat().st_mtime):
            say(f"{self.name}: making graphs and their int8 forms in {self.graphs}")
            call(sys.executable, HERE / "graphs.py", self.source, self.graphs, *photos)
        self.graphs.mkdir(parents=True, exist_ok=True)
        info = call(self.program, "info", "--model", self.source, "--format", "json")
        self.holds_int8 = json.loads(info)["dtype"] == "int8"
        for precision in () if self.holds_int8 else ("bf16", "int8"):
            packed = self.packed(precision)
            if not packed.exists() or packed.stat().st_mtime < self.program.stat().st_mtime:
                call(self.program, "quantize", self.source, "--to", precision, "-o", packed)

    def packed(self, precision):
        return self.graphs / f"looksay-{precision}.gguf"

    def command(self, engine, precision, beams, photos=("--files-from", "-")):
        if engine == "looksay":
            model = self.source if precision == "f32" or self.holds_int8 else self.packed(precision)
            return [*contest.looksay_command(self.program, model, precision, self.threads, beams), *photos]
        return contest.peer_command(engine, precision, self.source, self.graphs, self.threads, beams)

    def contestants(self, engines):
        """({contestant: (engine, precision)}, {contestant: why it cannot run})."""
        runs, skipped = {}, {}
        flags = cpu()[1]
        for engine in engines:
            if engine == ("transformers" if self.name == "default" else "torch"):
                continue
            for precision in PRECISIONS[engine]:
                contestant = f"{engine} {precision}"
                if engine == figures.OURS and self.holds_int8 and precision != "int8":
                    skipped[contestant] = "the model file holds int8, which the peers were given as f32"
                elif engine == "openvino" and precision == "bf16" and "avx512_bf16" not in flags and "amx_bf16" not in flags:
                    skipped[contestant] = "OpenVINO has no bf16 for a CPU without bf16 instructions"
                else:
                    runs[contestant] = engine, precision
        return runs, skipped


def measure(model, task, runs, photos, options, scratch):
    """{contestant: {figure: [numbers]}}."""

    rounds = options.rounds

    def commands(beams):
        return {name: model.command(*run, beams) for name, run in runs.items()}

    if task in ("greedy", "beams"):
        copies = contest.differing_copies(photos, rounds + 1, scratch)
        times = contest.take_turns(commands(1 if task == "greedy" else BEAMS), copies, rounds, say)
        rows = {name: {f"{task}_ms": row["caption_ms"]} for name, row in times.items()}
        if task == "greedy":
            for name, row in times.items():
                rows[name]["encode_ms"] = row["encode_ms"]
        return rows
    if task == "cold":
        rows = {name: {"cold_ms": [], "cold_mib": []} for name in runs}
        for turn in range(rounds + 1):
            for name, command in commands(1).items():
                ms, mib = contest.cold_start(name, command, photos[0])
                if turn > 0:
                    rows[name]["cold_ms"].append(round(ms, 1))
                    rows[name]["cold_mib"].append(round(mib, 1))
            say(f"cold start, round {turn}")
        return rows
    contest.differing_copies(photos, options.photos, scratch)
    rows = {name: {"photos_per_s": []} for name in runs}
    for turn in range(rounds):
        for name, (engine, precision) in runs.items():
            rate = contest.folder_rate if engine == "looksay" else contest.loop_rate
            command = model.command(engine, precision, 1, [scratch])
            rows[name]["photos_per_s"].append(round(rate(name, command, scratch), 3))
        say(f"folder, round {turn + 1}")
    return rows


def main():
    options = parse()
    photos = sorted((ROOT / "assets/photos").glob("*.jpg"))
    models = [Model(name, options) for name in options.models]
    options.work.mkdir(parents=True, exist_ok=True)
    path = options.work / "peers.json"
    results = json.loads(path.read_text()) if path.exists() else {"versions": {}, "models": {}}
    for model in models:
        model.make(photos, peers=list(options.engines) != [figures.OURS])
    if options.prepare:
        return
    for model in models:
        runs, skipped = model.contestants(options.engines)
        for task in options.tasks:
            if task == "folder" and model.name != "default":
                continue
            say(f"{model.name}, {task}")
            with tempfile.TemporaryDirectory(prefix="looksay-peers-") as scratch:
                rows = measure(model, task, runs, photos, options, Path(scratch))
            now = datetime.date.today().isoformat()
            figures.merge(results, model.name, task, rows, skipped, now)
            packages = {name for engine, _ in runs.values() for name in PACKAGES.get(engine, [])}
            results["versions"].update({name: metadata.version(name) for name in sorted(packages)})
            results.update(date=now, machine=cpu()[0], threads=options.threads, command="./dev peers")
            path.write_text(json.dumps(results, indent=1) + "\n")
            (options.work / "peers.md").write_text(figures.report(results), encoding="utf-8")
            (options.work / "peers.svg").write_text(chart(results), encoding="utf-8")
            say(f"written: {path}, peers.md, peers.svg")


if __name__ == "__main__":
    try:
        main()
    except contest.Failed as error:
        sys.exit(f"run.py: {error}")
