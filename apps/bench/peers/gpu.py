#!/usr/bin/env python3
"""Looksay on a GPU beside torch and transformers on the same GPU, in one run.

    gpu.py LOOKSAY [--models build/peers/models] [--format text|json]

Attention, linear layers and whole blocks of a ViT-base for 64 photos beside torch's own kernels; captions of exactly 20 tokens, encoder
and single photos of models of the sizes of BLIP-base and ViT-GPT2 beside transformers' `generate`. Models are made with random weights
where DIR does not hold them. Torch gets pixels that are on the GPU already, looksay pictures in memory. Figures are the best of a few runs for
kernels, medians for models. What fails is said, and the rest goes on. Wants torch with CUDA and transformers in the Python it is run
by; nothing else should run meanwhile."""
import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections import namedtuple
from importlib import metadata
from pathlib import Path

from contest import TOKENS
from figures import OURS, markdown_row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODELS = "blip-base", "vit-gpt2"
DTYPES = "bf16", "f16"  # of torch; looksay computes in bf16
WIDTH, HEADS, D_HEAD, D_MLP = 768, 12, 64, 3072
SHAPES = {"qkv": (WIDTH, 3 * WIDTH), "proj": (WIDTH, WIDTH), "fc1": (WIDTH, D_MLP), "fc2": (D_MLP, WIDTH)}  # d_in, d_out
LENGTHS = 577, 257, 197  # tokens, as `looksay bench` measures them
FLOPS_OF_TOKEN = 2 * WIDTH * (3 * WIDTH + WIDTH + 2 * D_MLP)

# How much is done: photos together, side of the largest matrices, runs of a kernel, runs of a model.
Amount = namedtuple("Amount", "photos side kernel_runs model_runs")
# `value` None: it failed, and `why` says how. `share`: of the peak that the same engine reaches, in percent, or None.
Row = namedtuple("Row", "what engine value share why", defaults=(None, None))
SMALLER_IS_BETTER = "ms"


class Results:
    """Rows as they come."""

    def __init__(self):
        self.rows = []

    def add(self, what, engine, value, share=None):
        self.rows.append(Row(what, engine, value, share))
        say(f"{what}: {engine} {value:.4g}" + (f", {share:.0f} % of its peak" if share else ""))

    @contextlib.contextmanager
    def guard(self, what, engine):
        """What fails inside is a row, and no more."""
        try:
            yield
        except Exception as failure:  # whatever it is, the rest is worth measuring
            why = (str(failure).strip() or type(failure).__name__).splitlines()[0][:200]
            self.rows.append(Row(what, engine, None, None, why))
            say(f"{what}: {engine} failed: {why}")
            traceback.print_exc(limit=-2)


def say(text):
    print(text, file=sys.stderr, flush=True)


def call(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
        raise RuntimeError(f"{Path(words[0]).name} {words[1]}: {said[-1]}")
    return done.stdout


# ---- looksay ----


def add_kernels(results, machine):
    """Of what `looksay bench` says of the machine. Attention and linear layers as they are in blocks, from bf16 to bf16, as torch's are."""
    peak = machine["bf16_gflops"]
    results.add("product of large matrices, TFLOP/s", f"{OURS} bf16", peak * 1e-3)
    for layer in machine["layers"]:
        block = layer.get("bf16_block")  # none where the GPU's memory is too small
        if not block:
            continue
        for what, rate in ("attention of", "attention_gflops"), ("linear layers on", "linear_gflops"), ("block of", "gflops"):
            results.add(f"{what} {layer['tokens']} tokens, TFLOP/s", f"{OURS} bf16", block[rate] * 1e-3, 100 * block[rate] / peak)


def add_model(results, name, model):
    """Of what `looksay bench` says of a model."""
    batch = model["batch"]
    engine = f"{OURS} {model['dtype']}"
    results.add(f"{name}, {batch['photos']} photos together, captions/s", engine, batch["photos_per_s"])
    results.add(f"{name}, {batch['photos']} photos together, encoded/s", engine, batch["encode_photos_per_s"])
    results.add(f"{name}, one photo, caption ms", engine, model["greedy_ms"])
    results.add(f"{name}, one photo, encoder ms", engine, model["encode_ms"])


def prepare_model(program, name, folder):
    """(directory of the model, looksay's bf16 file of it), made where they are missing."""
    source, packed = folder / name, folder / f"{name}-bf16.gguf"
    if not source.exists():
        say(f"making {source}")
        call(sys.executable, HERE / "models.py", name, source)
    if not packed.exists():
        call(program, "quantize", source, "--to", "bf16", "-o", packed)
    return source, packed


def measure_looksay(results, program, name, packed, runs, kernels):
    report = json.loads(call(program, "bench", "--device", "cuda", "--model", packed, "--repeat", runs, "--max-tokens", TOKENS,
                             "--beams", 1, "--format", "json"))
    if kernels:
        add_kernels(results, report["machine"])
    add_model(results, name, report["models"][0])


# ---- torch ----


class Torch:
    def __init__(self, device):
        import torch

        self.torch, self.device = torch, device
        self.dtypes = {"bf16": torch.bfloat16, "f16": torch.float16}
        torch.manual_seed(0)

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def random(self, dtype, *shape):
        return self.torch.randn(shape, device=self.device, dtype=self.dtypes[dtype])

    def times(self, run, n, together=1):
        """Seconds of n runs, after some that are not timed; `together` are queued before they are waited for."""
        samples = []
        for i in range(-2, n):
            began = time.perf_counter()
            for _ in range(together):
                run()
            self.wait()
            if i >= 0:
                samples.append((time.perf_counter() - began) / together)
        return samples

    def best(self, run, n):
        once = min(self.times(run, 1))
        return min(self.times(run, n, max(1, min(50, int(5e-3 / once)))))


def measure_product(results, t, amount):
    """{dtype: peak in floating-point operations per second}."""
    peaks = {}
    for dtype in DTYPES:
        with results.guard("product of large matrices, TFLOP/s", f"torch {dtype}"):
            a, b = (t.random(dtype, amount.side, amount.side) for _ in range(2))
            peaks[dtype] = 2 * amount.side**3 / t.best(lambda a=a, b=b: a @ b, amount.kernel_runs)
            results.add("product of large matrices, TFLOP/s", f"torch {dtype}", peaks[dtype] * 1e-12)
    return peaks


def measure_attention(results, t, amount, peaks):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cuDNN": SDPBackend.CUDNN_ATTENTION}
    attend = t.torch.nn.functional.scaled_dot_product_attention
    for n in LENGTHS:
        flops = 4 * amount.photos * n * n * WIDTH
        for dtype in DTYPES:
            q, k, v = t.random(dtype, amount.photos, n, 3, HEADS, D_HEAD).permute(2, 0, 3, 1, 4)  # as a fused layer leaves them
            for name, backend in backends.items():
                with results.guard(f"attention of {n} tokens, TFLOP/s", f"torch {name} {dtype}"), sdpa_kernel(backend):
                    rate = flops / t.best(lambda q=q, k=k, v=v: attend(q, k, v), amount.kernel_runs)
                    results.add(f"attention of {n} tokens, TFLOP/s", f"torch {name} {dtype}", rate * 1e-12, 100 * rate / peaks[dtype])


def block_weights(t, dtype):
    """{layer: (weight, bias)}"""
    return {name: (t.random(dtype, d_out, d_in) * 0.03, t.random(dtype, d_out)) for name, (d_in, d_out) in SHAPES.items()}


def measure_linear(results, t, amount, peaks):
    """The four layers of a block, the first with GELU behind it that has it, the others with their residual."""
    functional = t.torch.nn.functional
    for dtype in DTYPES:
        weights = block_weights(t, dtype)
        for n in LENGTHS:
            with results.guard(f"linear layers on {n} tokens, TFLOP/s", f"torch {dtype}"):
                rows = amount.photos * n
                x, hidden = t.random(dtype, rows, WIDTH), t.random(dtype, rows, D_MLP)
                layers = (lambda x=x: functional.linear(x, *weights["qkv"]),
                          lambda x=x: x + functional.linear(x, *weights["proj"]),
                          lambda x=x: functional.gelu(functional.linear(x, *weights["fc1"])),
                          lambda x=x, hidden=hidden: x + functional.linear(hidden, *weights["fc2"]))
                rate = rows * FLOPS_OF_TOKEN / sum(t.best(layer, amount.kernel_runs) for layer in layers)
                results.add(f"linear layers on {n} tokens, TFLOP/s", f"torch {dtype}", rate * 1e-12, 100 * rate / peaks[dtype])


def measure_block(results, t, amount, peaks):
    """A whole block as an encoder has it, with flash attention."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    functional = t.torch.nn.functional
    for dtype in DTYPES:
        weights = block_weights(t, dtype)
        norm = t.random(dtype, WIDTH), t.random(dtype, WIDTH)

        def block(x, n):
            qkv = functional.linear(functional.layer_norm(x, (WIDTH,), *norm), *weights["qkv"])
            q, k, v = qkv.view(amount.photos, n, 3, HEADS, D_HEAD).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            x = x + functional.linear(mixed, *weights["proj"])
            hidden = functional.gelu(functional.linear(functional.layer_norm(x, (WIDTH,), *norm), *weights["fc1"]))
            return x + functional.linear(hidden, *weights["fc2"])

        for n in LENGTHS:
            with results.guard(f"block of {n} tokens, TFLOP/s", f"torch {dtype}"), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
                x = t.random(dtype, amount.photos, n, WIDTH)
                flops = amount.photos * n * (FLOPS_OF_TOKEN + 4 * n * WIDTH)
                rate = flops / t.best(lambda x=x, n=n: block(x, n), amount.kernel_runs)
                results.add(f"block of {n} tokens, TFLOP/s", f"torch {dtype}", rate * 1e-12, 100 * rate / peaks[dtype])


def measure_transformers(results, t, amount, name, source):
    from transformers import AutoConfig, BlipForConditionalGeneration, VisionEncoderDecoderModel

    config = AutoConfig.from_pretrained(source)
    blip = config.model_type == "blip"
    kind = BlipForConditionalGeneration if blip else VisionEncoderDecoderModel
    side = (config.vision_config if blip else config.encoder).image_size
    for dtype in DTYPES:
        engine = f"transformers {dtype}"
        with results.guard(name, engine), t.torch.inference_mode():
            model = kind.from_pretrained(source, dtype=t.dtypes[dtype]).to(t.device).eval()
            encoder = model.vision_model if blip else model.encoder

            def caption(pixels, model=model):
                ids = model.generate(pixel_values=pixels, max_new_tokens=TOKENS, min_new_tokens=TOKENS, num_beams=1, do_sample=False)
                if ids.shape[1] < TOKENS:
                    raise RuntimeError(f"a caption has {ids.shape[1]} tokens, not {TOKENS}")

            def seconds(run, n):
                pixels = t.random(dtype, n, 3, side, side)
                return statistics.median(t.times(lambda: run(pixels), amount.model_runs))

            together = f"{name}, {amount.photos} photos together"
            results.add(f"{together}, captions/s", engine, amount.photos / seconds(caption, amount.photos))
            results.add(f"{together}, encoded/s", engine, amount.photos / seconds(lambda p, e=encoder: e(pixel_values=p), amount.photos))
            results.add(f"{name}, one photo, caption ms", engine, seconds(caption, 1) * 1e3)
            results.add(f"{name}, one photo, encoder ms", engine, seconds(lambda p, e=encoder: e(pixel_values=p), 1) * 1e3)


# ---- reports ----


def table(rows):
    """Every row, those of a kind together, and how looksay compares: above 1 it is better."""
    lines = [markdown_row(["", "engine", "measured", "of its peak", "looksay is better by"]), "|---" * 5 + "|"]
    for what in dict.fromkeys(row.what for row in rows):
        group = [row for row in rows if row.what == what]
        ours = next((row.value for row in group if row.engine.startswith(OURS) and row.value), None)
        for row in sorted(group, key=lambda row: not row.engine.startswith(OURS)):
            if row.value is None:
                lines.append(markdown_row([what, row.engine, f"failed: {row.why}", "", ""]))
                continue
            times = None
            if ours and not row.engine.startswith(OURS):
                times = row.value / ours if what.endswith(SMALLER_IS_BETTER) else ours / row.value
            lines.append(markdown_row([what, row.engine, f"{row.value:.4g}", f"{row.share:.0f} %" if row.share else "",
                                       f"{times:.2f}" if times else ""]))
    return "\n".join(lines)


def describe(t):
    name = t.torch.cuda.get_device_name() if t.device == "cuda" else "CPU"
    return {"gpu": name, **{package: metadata.version(package) for package in ("torch", "transformers")}}


def measure(program, folder, device, amount):
    """(what was used, rows). `device`: of torch."""
    results, about = Results(), {}
    folder.mkdir(parents=True, exist_ok=True)
    with results.guard("torch", "torch"):
        t = Torch(device)
        about = describe(t)
        say(json.dumps(about))
        peaks = measure_product(results, t, amount)
        measure_attention(results, t, amount, peaks)
        measure_linear(results, t, amount, peaks)
        measure_block(results, t, amount, peaks)
    for name in MODELS:
        with results.guard(name, "models"):
            source, packed = prepare_model(program, name, folder)
            with results.guard(name, OURS):
                measure_looksay(results, program, name, packed, amount.model_runs, kernels=name == MODELS[0])
            with results.guard(name, "transformers"):
                measure_transformers(results, t, amount, name, source)
    return about, results.rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looksay", type=Path, help="the program, with its module beside it")
    parser.add_argument("--models", type=Path, default=ROOT / "build/peers/models", metavar="DIR", help="default: build/peers/models")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="default: %(default)s")
    given = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    about, rows = measure(given.looksay.resolve(), given.models, "cuda", Amount(photos=64, side=8192, kernel_runs=10, model_runs=3))
    if given.format == "json":
        print(json.dumps({**about, "rows": [row._asdict() for row in rows]}, indent=1))
    else:
        print(", ".join(f"{key} {value}" for key, value in about.items()) + "\n\n" + table(rows))


if __name__ == "__main__":
    main()
