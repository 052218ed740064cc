#!/usr/bin/env python3
"""Looksay against transformers on the same model directory, photos and cores, in one run.

    compare_transformers.py LOOKSAY PHOTO... [--model DIR | --size blip-base|vit-gpt2] [--turns 5] [--threads N]

Without --model, a model of that size with random weights is made in a temporary folder: speed does not depend on what the weights
say. Both caption every photo greedily to exactly 20 tokens in f32, in turns; each figure is the median over all turns of the time
from image file to text with the model open. Needs torch, transformers, tokenizers and pillow.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOKENS = 20


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looksay", type=Path)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--size", choices=["blip-base", "vit-gpt2"], default="blip-base")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def make_bert_tokenizer(folder, n):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{i}" for i in range(n - 7)] + ["[DEC]", "[ENC]"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')


def make_gpt2_tokenizer(folder, n):
    from tokenizers import pre_tokenizers
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = alphabet + [f"<{i}>" for i in range(n - len(alphabet) - 1)] + ["<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')


def make_model(folder, size):
    import torch
    from transformers import (BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, GPT2Config,
                              VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig, ViTImageProcessor)
    torch.manual_seed(0)
    if size == "blip-base":
        config = BlipConfig(text_config={"vocab_size": 30524, "encoder_hidden_size": 768}, vision_config={"image_size": 384})
        model = BlipForConditionalGeneration(config)
        make_bert_tokenizer(folder, 30524)
        BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(folder)
    else:
        decoder = GPT2Config(add_cross_attention=True, is_decoder=True)
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(), decoder)
        config.decoder_start_token_id = config.eos_token_id = config.pad_token_id = 50256
        model = VisionEncoderDecoderModel(config)
        for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id", "bos_token_id"):
            setattr(model.generation_config, name, 50256)
        make_gpt2_tokenizer(folder, 50257)
        ViTImageProcessor().save_pretrained(folder)
    model.save_pretrained(folder)


class Transformers:
    def __init__(self, folder, threads):
        import torch
        from transformers import (AutoConfig, AutoTokenizer, BlipForConditionalGeneration, BlipImageProcessor,
                                  VisionEncoderDecoderModel, ViTImageProcessor)
        torch.set_num_threads(threads)
        self.torch = torch
        self.blip = AutoConfig.from_pretrained(folder).model_type == "blip"
        self.model = (BlipForConditionalGeneration if self.blip else VisionEncoderDecoderModel).from_pretrained(
            folder, dtype=torch.float32).eval()
        self.processor = (BlipImageProcessor if self.blip else ViTImageProcessor).from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def caption(self, photo):
        """Milliseconds, and the number of tokens."""
        from PIL import Image
        began = time.perf_counter()
        with self.torch.inference_mode():
            pixels = self.processor(Image.open(photo).convert("RGB"), return_tensors="pt").pixel_values
            ids = self.model.generate(pixel_values=pixels, max_new_tokens=TOKENS, min_new_tokens=TOKENS, num_beams=1,
                                      do_sample=False)
            self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return (time.perf_counter() - began) * 1e3


def looksay(program, folder, photos, threads):
    """Milliseconds of each photo; the first is captioned once more beforehand, which warms caches as transformers' first does."""
    words = [program, "caption", "--model", folder, "--threads", threads, "--format", "jsonl", "--details", "--beams", 1,
             "--max-tokens", TOKENS, "--min-tokens", TOKENS, photos[0], *photos]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()][1:]
    assert all(len(row["tokens"]) == TOKENS for row in rows)
    return [row["ms"] for row in rows]


def main():
    options = parse()
    with tempfile.TemporaryDirectory(prefix="looksay-compare-") as temporary:
        folder = options.model or Path(temporary)
        if not options.model:
            make_model(folder, options.size)
        peer = Transformers(folder, options.threads)
        peer.caption(options.photos[0])
        ours, theirs = [], []
        for turn in range(options.turns):
            theirs += [peer.caption(photo) for photo in options.photos]
            ours += looksay(options.looksay, folder, options.photos, options.threads)
            print(f"turn {turn + 1}: transformers {theirs[-1]:.0f} ms, looksay {ours[-1]:.0f} ms", file=sys.stderr)
    a, b = statistics.median(theirs), statistics.median(ours)
    name = options.model.name if options.model else options.size + " (random weights)"
    print(f"{name}, f32, {options.threads} threads, {TOKENS} tokens, greedy: transformers {a:.0f} ms, looksay {b:.0f} ms: "
          f"{a / b:.2f} x faster")


if __name__ == "__main__":
    main()
