"""One engine, one precision, one model, in a process of its own, so that no engine's threads or memory are another's.

    python peer.py ENGINE PRECISION MODEL FOLDER [--threads N] [--beams N]

Reads photo paths from standard input, one a line, and answers each with {"tokens": [...], "encode_ms": ...}, as
`looksay caption --files-from - --format jsonl --details` does. ENGINE is transformers, torch, onnxruntime or openvino, MODEL the
Hugging Face directory or the default model's file, FOLDER what graphs.py made of it. Captions have exactly 20 tokens. Engines are
imported late: what an engine does not need does not count for its cold start."""
import argparse
import json
import sys
import time
from pathlib import Path

TOKENS = 20


def milliseconds(began):
    return (time.perf_counter() - began) * 1e3


class Transformers:
    """The library as its documentation uses it; `generate` from pixels."""

    def __init__(self, given):
        import torch
        from transformers import AutoConfig, BlipForConditionalGeneration, VisionEncoderDecoderModel

        from photos import Pixels

        self.torch = torch
        torch.set_num_threads(given.threads)
        blip = AutoConfig.from_pretrained(given.model).model_type == "blip"
        kind = BlipForConditionalGeneration if blip else VisionEncoderDecoderModel
        self.dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
        self.model = kind.from_pretrained(given.model, dtype=self.dtype).eval()
        if given.precision == "int8":
            from models import conv1d_as_linear

            self.model = torch.ao.quantization.quantize_dynamic(conv1d_as_linear(self.model), {torch.nn.Linear}, dtype=torch.qint8)
        self.pixels = Pixels(given.model)
        encoder = self.model.vision_model if blip else self.model.encoder
        encoder.register_forward_pre_hook(self.encoder_begins)
        encoder.register_forward_hook(self.encoder_ends)

    def encoder_begins(self, *_):
        self.began = time.perf_counter()

    def encoder_ends(self, *_):
        self.encode_ms = milliseconds(self.began)

    def caption(self, photo, beams):
        with self.torch.inference_mode():
            pixels = self.torch.from_numpy(self.pixels(photo)).to(self.dtype)
            ids = self.model.generate(pixel_values=pixels, max_new_tokens=TOKENS, min_new_tokens=TOKENS, num_beams=beams,
                                      do_sample=False)
        return ids[0, -TOKENS:].tolist(), self.encode_ms


class Graphs:
    """Three graphs of graphs.py behind run(name, inputs) -> outputs, in the order of the graph."""

    def __init__(self, given):
        from photos import Pixels

        self.how = json.loads((given.folder / "model.json").read_text())
        self.pixels = Pixels(given.model)
        self.open(given)

    def caption(self, photo, beams):
        import numpy as np

        from search import search

        how, n = self.how, self.how["caches"]
        pixels = self.pixels(photo)
        began = time.perf_counter()
        (memory,) = self.run("encoder", {"pixels": pixels})
        image = {f"image_{i}": key for i, key in enumerate(self.run("image", {"memory": memory}))}
        encode_ms = milliseconds(began)  # with cross-attention's keys and values, as looksay counts it

        def step(ids, position, caches):
            past = {f"past_{i}": cache for i, cache in enumerate(caches)}
            logits, *grown = self.run("step", {"ids": ids, "position": np.array([position]), **past, **image})
            return logits, grown

        empty = [np.zeros((1, how["heads"], 0, how["d"]), np.float32)] * n
        return search(step, empty, how["start"], how["end"], beams, TOKENS), encode_ms


class OnnxRuntime(Graphs):
    def open(self, given):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = given.threads
        suffixes = {"f32": [""], "int8-dynamic": [".int8-dynamic"], "int8-static": [".int8-static", ".int8-dynamic"]}
        self.sessions = {}
        for name in ("encoder", "image", "step"):
            paths = [given.folder / f"{name}{suffix}.onnx" for suffix in suffixes[given.precision]]
            path = next(path for path in paths if path.exists())
            self.sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, name, inputs):
        return self.sessions[name].run(None, inputs)


class OpenVino(Graphs):
    def open(self, given):
        import openvino

        core = openvino.Core()
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": given.threads,
                    "INFERENCE_PRECISION_HINT": "bf16" if given.precision == "bf16" else "f32"}
        suffix = ".int8.xml" if given.precision == "int8" else ".onnx"
        self.requests = {name: core.compile_model(given.folder / f"{name}{suffix}", "CPU", settings).create_infer_request()
                         for name in ("encoder", "image", "step")}

    def run(self, name, inputs):
        """Outputs of `step` are its next inputs, so they are copied; those of the others stay where they are until the next photo."""
        request = self.requests[name]
        outputs = request.infer(inputs, share_inputs=True, share_outputs=name != "step")
        return [outputs[i] for i in range(len(outputs))]


class Torch(Graphs):
    """The modules that the graphs were made of: the recipe's own, for the default model, which transformers does not know."""

    def open(self, given):
        import torch

        from graphs import ImageKeys, load

        self.torch = torch
        torch.set_num_threads(given.threads)
        encoder, decoder, *_ = load(given.model)
        self.modules = {"encoder": encoder, "image": ImageKeys(decoder), "step": decoder}
        if given.precision == "int8":
            for name, module in self.modules.items():
                self.modules[name] = torch.ao.quantization.quantize_dynamic(module, {torch.nn.Linear}, dtype=torch.qint8)

    def run(self, name, inputs):
        with self.torch.inference_mode():
            outputs = self.modules[name](*(self.torch.from_numpy(array) for array in inputs.values()))
        return [output.numpy() for output in ([outputs] if self.torch.is_tensor(outputs) else outputs)]


ENGINES = {"transformers": Transformers, "torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("precision")
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--beams", type=int, default=1)
    given = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries print
    engine = ENGINES[given.engine](given)
    for line in sys.stdin:
        tokens, encode_ms = engine.caption(line.rstrip("\n"), given.beams)
        print(json.dumps({"tokens": tokens, "encode_ms": encode_ms}), file=answers, flush=True)


if __name__ == "__main__":
    main()
