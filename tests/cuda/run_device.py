#!/usr/bin/env python3
"""The program's --device: on a machine without a GPU, with the emulated one, or on a GPU.

usage: run_device.py LOOKSAY none|emulated|gpu     exit 77: there is no GPU to use (gpu), or there is one (none)
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from on_gpu import why_not

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PHOTO = str(ROOT / "assets/photos/coffee.jpg")
PHOTOS = sorted(str(path) for path in (ROOT / "assets/photos").glob("*.jpg"))
BELOW_F32 = 1e-1  # such models attend in bf16 on a device, in f32 on a CPU
TINY = str(ROOT / "tests/parity/models/vit-gpt2-bin")
ASPECT = str(ROOT / "tests/parity/models/dinov2-gpt2-aspect")


class Failure(Exception):
    pass


def run(looksay, *arguments, status=0, **environment):
    done = subprocess.run([looksay, *arguments], capture_output=True, text=True,
                          env={**os.environ, "LOOKSAY_MODEL": TINY, **environment})
    if status is not None and done.returncode != status:
        raise Failure(f"{' '.join(arguments)}: exit {done.returncode}, not {status}: {done.stderr}")
    return done


def expect(what, holds):
    if not holds:
        raise Failure(what)


def gpu_line(looksay, **environment):
    report = run(looksay, "doctor", "--format", "json", status=None, **environment)  # other checks may fail
    return next(check for check in json.loads(report.stdout) if check["check"] == "GPU")


def refused(looksay, cause, **environment):
    """--device cuda is an error with cause and remedy, auto takes the CPU and says why, doctor says why, too."""
    asked = run(looksay, "--device", "cuda", PHOTO, status=3, **environment)
    expect(f"the cause is missing: {asked.stderr}", cause in asked.stderr and "--device cpu" in asked.stderr)
    expect("an error came with a caption", asked.stdout == "")
    twin = run(looksay, PHOTO, status=3, LOOKSAY_DEVICE="cuda", **environment)
    expect("the environment twin says something else", twin.stderr == asked.stderr)
    cpu = run(looksay, PHOTO, **environment)
    auto = run(looksay, "--device", "auto", PHOTO, **environment)
    expect("auto says another caption", auto.stdout == cpu.stdout)
    expect(f"auto does not say what it took: {auto.stderr}", "takes cpu" in auto.stderr and cause in auto.stderr)
    expect("nothing was asked, and something was said", cpu.stderr == "")
    expect("quiet is not quiet", run(looksay, "-q", "--device", "auto", PHOTO, **environment).stderr == "")
    line = gpu_line(looksay, **environment)
    expect(f"doctor: {line}", line["ok"] and cause in line["found"])


def rows(looksay, device, *options, model=TINY):
    done = run(looksay, "caption", "--model", model, "--device", device, "--format", "jsonl", "--details", *options, PHOTO)
    return json.loads(done.stdout)


def same(looksay, *options, model=TINY, tolerance=2e-3):
    """Tokens equal, log-probabilities close to the CPU's."""
    cpu, cuda = (rows(looksay, device, *options, model=model) for device in ("cpu", "cuda"))
    expect(f"{options}: {cuda['caption']} is not {cpu['caption']}", cuda["tokens"] == cpu["tokens"])
    worst = max(abs(a - b) for a, b in zip(cpu["logprobs"], cuda["logprobs"]))
    expect(f"{options}: log-probabilities differ by {worst}", worst <= tolerance)


def explained(looksay, folder):
    """explain reads what a device kept: the maps are those of the CPU."""
    reports = []
    for device in ("cpu", "cuda"):
        out = f"{folder}/{device}.json"
        run(looksay, "explain", "--device", device, PHOTO, "-o", out)
        reports.append(json.loads(Path(out).read_text()))
    for a, b in zip(reports[0]["words"], reports[1]["words"]):
        worst = max(abs(x - y) for x, y in zip(a["map"], b["map"]))
        expect(f"the map of {a['word']} differs by {worst}", a["word"] == b["word"] and worst < 1e-3)
    expect("as many words", len(reports[0]["words"]) == len(reports[1]["words"]))


def batches(looksay, folder):
    """Photos that are encoded together, good ones and others, those whose features are kept too."""
    photos = sorted(str(path) for of in ("assets/photos", "tests/parity/photos") for path in (ROOT / of).iterdir())
    for model, options in ((TINY, []), (TINY, ["--batch", "1"]), (TINY, ["--batch", "3"]), (TINY, ["--batch", "64", "--beams", "3"]), (ASPECT, [])):
        many = ["caption", "--model", model, *options, *photos]  # one is no photo
        cpu, cuda = (run(looksay, *many, "--device", device, status=1) for device in ("cpu", "cuda"))
        expect(f"a batch says something else: {options}", cuda.stdout == cpu.stdout and cuda.stderr == cpu.stderr)
    kept = ["--device", "cuda", "--feature-cache", f"{folder}/some"]
    run(looksay, *photos[2::3], *kept)
    some = run(looksay, *photos, *kept, status=1)
    expect("a batch of which some features are kept says something else", some.stdout == run(looksay, *photos, status=1).stdout)


def least_memory(attempt, too_little, enough, step):
    """What attempt(bytes of memory) gives with the least that suffices but for `step`: there a batch is a single photo."""
    least = None
    while enough - too_little > step:
        memory = (too_little + enough) // 2
        done = attempt(memory)
        if done.returncode == 0:
            least, enough = done, memory
        else:
            expect(f"too little memory, and another error: {done.stderr}", done.returncode in (1, 3) and "out of memory" in done.stderr)
            too_little = memory
    expect("no memory was enough", least is not None)
    return least


def halved(attempt, cpu, *limits):
    """A batch that memory does not hold is halved until it does, which is told."""
    least = least_memory(attempt, *limits)
    expect("smaller batches say something else", least.stdout == cpu.stdout)
    expect(f"no batch was halved: {least.stderr}", "memory does not hold" in least.stderr)


def halved_emulated(looksay):
    halved(lambda memory: run(looksay, "--device", "cuda", *PHOTOS, status=None, LOOKSAY_EMULATED_MEMORY=str(memory)),
           run(looksay, *PHOTOS), 30_000_000, 60_000_000, 20_000)


def halved_on_gpu(looksay):
    """Another process holds the rest of the memory."""
    photos = 8 * PHOTOS
    model = {"LOOKSAY_MODEL": str(ROOT / "assets/model/looksay.gguf")}

    def attempt(memory):
        with subprocess.Popen([sys.executable, HERE / "hold_memory.py", str(memory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            expect("the memory could not be held", other.stdout.readline().startswith(b"held"))
            return run(looksay, "--device", "cuda", "--batch", "64", *photos, status=None, **model)

    halved(attempt, run(looksay, "--device", "cuda", "--batch", "1", *photos, **model), 0, 8 << 30, 16 << 20)


def numbers(value):
    """All numbers of a report, those that are no measurement too."""
    if isinstance(value, dict):
        value = list(value.values())
    return [n for part in value for n in numbers(part)] if isinstance(value, list) else [value] if isinstance(value, float) else []


def measured(looksay):
    report = json.loads(run(looksay, "bench", "--device", "cuda", "--repeat", "1", "--max-tokens", "3", "--format", "json", PHOTO).stdout)
    machine, model = report["machine"], report["models"][0]
    expect(f"{machine}: something was not measured", all(n > 0 for n in numbers(machine)) and len(machine["layers"]) == 3)
    expect(f"{model}: something was not measured", all(n > 0 for name, n in model.items() if isinstance(n, float) and name != "maps_ms"))
    expect(f"{model}: no batch was measured", min(numbers(model["batch"])) > 0 and model["tokens"] == 3)


def used(looksay):
    line = gpu_line(looksay, LOOKSAY_DEVICE="cuda")
    expect(f"doctor: {line}", line["ok"] and "used by --device cuda" in line["found"])
    auto = run(looksay, "--device", "auto", PHOTO)
    expect(f"auto does not say what it took: {auto.stderr}", "takes cuda" in auto.stderr)
    same(looksay)
    same(looksay, "--beams", "4")
    same(looksay, "--beams", "3", "--ban", "the")
    for dtype in ("int8", "int4", "bf16"):
        same(looksay, "--dtype", dtype, tolerance=BELOW_F32)
    measured(looksay)
    with tempfile.TemporaryDirectory() as folder:
        explained(looksay, folder)
        many = [PHOTO, str(ROOT / "assets/photos/rocket.jpg"), PHOTO]
        cpu = run(looksay, *many)
        cuda = run(looksay, "--device", "cuda", *many)
        expect("captions after another differ", cuda.stdout == cpu.stdout)
        batches(looksay, folder)
        cache = f"{folder}/features"
        for _ in range(2):
            again = run(looksay, "--device", "cuda", "--feature-cache", cache, *many)
            expect("features kept of a picture say something else", again.stdout == cpu.stdout)


def emulated(looksay):
    used(looksay)
    same(looksay, model=str(ROOT / "assets/model/looksay.gguf"), tolerance=BELOW_F32)
    refused(looksay, "no NVIDIA GPU", LOOKSAY_EMULATED_GPU="none")
    refused(looksay, "no NVIDIA driver", LOOKSAY_EMULATED_GPU="no-driver")
    refused(looksay, "7.5 is needed", LOOKSAY_EMULATED_GPU="6.1")
    old = run(looksay, "--device", "cuda", "--dtype", "bf16", PHOTO, status=3, LOOKSAY_EMULATED_GPU="7.5")
    expect(f"bf16 on an old GPU: {old.stderr}", "8.0" in old.stderr)
    run(looksay, "--device", "cuda", "--dtype", "int8", PHOTO, LOOKSAY_EMULATED_GPU="7.5")
    full = run(looksay, "--device", "cuda", PHOTO, status=3, LOOKSAY_EMULATED_MEMORY="100000")
    expect(f"a full GPU: {full.stderr}", "out of memory" in full.stderr)
    halved_emulated(looksay)
    apart, together = (run(looksay, "--device", "cuda", "--dtype", "bf16", "--batch", n, *PHOTOS) for n in ("1", "5"))
    expect("bf16: a batch says something else than its photos alone", together.stdout == apart.stdout)
    for dtype in ("f32", "bf16"):
        plain = run(looksay, "--device", "cuda", "--dtype", dtype, PHOTO, LOOKSAY_EMULATED_EPILOGUES="none")
        expect(f"{dtype} without epilogues", plain.stdout == run(looksay, "--dtype", dtype, PHOTO).stdout)


def main():
    looksay, kind = sys.argv[1:3]
    reason = why_not(looksay)
    if (reason and kind == "gpu") or (not reason and kind == "none"):
        print(f"skipped: {reason or 'this machine has a GPU'}")
        return 77
    try:
        if kind == "none":
            refused(looksay, reason.removeprefix("not used: ").split(";")[0])
        elif kind == "gpu":
            used(looksay)
            run(looksay, "bench", "--device", "cuda", "--repeat", "1")
            halved_on_gpu(looksay)
            same(looksay, model=str(ROOT / "assets/model/looksay.gguf"), tolerance=BELOW_F32)
        else:
            emulated(looksay)
    except Failure as failure:
        print(failure)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
