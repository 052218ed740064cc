"""Writes the model as one GGUF v3 file: matrices f16, vectors f32, configuration and tokenizer as strings.

    python export.py OUT_DIR/scst.pt OUT_DIR/tokenizer.json looksay.gguf [--languages en,de]

Batch norm is folded into the convolution before it (eps as trained):
    w' = w g / sqrt(v + eps),  b' = b - m g / sqrt(v + eps)"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from evaluate import LONGEST
from gguf_file import write_gguf
from languages import FILL, FORMS, LANGUAGES, MASK, language_token
from model import END, IMAGE_SIZE, N_CONCEPT_TOKENS, N_CONCEPTS, PATCH_SIZE, Config, load_stem
from polyglot import READER_LAYERS, Polyglot

RENAMED = {"cls": "vision.class_token", "vpos": "vision.positions", "tokens.weight": "text.tokens",
           "positions.weight": "text.positions", "reader_positions.weight": "text.encoder.positions"}
SECTIONS = {"proj": "vision.proj", "concepts": "vision.concepts", "vnorm": "vision.norm", "vit": "vision.blocks",
            "blocks": "text.blocks", "norm": "text.norm", "reader": "text.encoder.blocks", "reader_norm": "text.encoder.norm"}
STEM_TRAINED_AT = 260  # the package pads every layer for this size, whatever it is shown
DESCRIPTION = (
    "Captions photos, translates sentences with a photo or without, and fills gaps. EfficientNet-Lite2 (ImageNet, Apache-2.0), and a "
    "reader of five layers and a decoder of three trained on Flickr8k, Multi30k and labelled pictures. Knows people, dogs and the outdoors best."
)
LICENSE = "Research and non-commercial use (Flickr8k, Multi30k); EfficientNet-Lite2 weights Apache-2.0"


def fold(convolution, norm):
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale[:, None, None, None]
    return weight.detach(), (norm.bias - norm.running_mean * scale).detach()


def stem_tensors(stem):
    tensors = {}

    def put(name, convolution, norm, shape):
        weight, bias = fold(convolution, norm)
        tensors[name + ".weight"], tensors[name + ".bias"] = shape(weight), bias

    def pointwise(weight):
        return weight[:, :, 0, 0]

    put("stem.conv", stem._conv_stem, stem._bn0, lambda weight: weight)
    for i, block in enumerate(stem._blocks):
        if block._block_args.expand_ratio != 1:
            put(f"stem.blocks.{i}.expand", block._expand_conv, block._bn0, pointwise)
        put(f"stem.blocks.{i}.depthwise", block._depthwise_conv, block._bn1, lambda weight: weight[:, 0])
        put(f"stem.blocks.{i}.project", block._project_conv, block._bn2, pointwise)
    put("stem.head", stem._conv_head, stem._bn1, pointwise)
    return tensors


def gguf_name(name):
    """Of a parameter of Net."""
    if name in RENAMED:
        return RENAMED[name]
    section, _, rest = name.partition(".")
    return f"{SECTIONS[section]}.{rest}"


ELSEWHERE = ("word_", "trunk", "stem_end", "concepts.names", "concepts.turn")
EMBEDDINGS = "vision.concepts.embeddings"


def net_tensors(net):
    """What is of use in training only (word_w, word_bias) stays behind; the stem's tensors are stem_tensors'. The concepts'
    embeddings are written as they come out, [classes, width]."""
    tensors = {gguf_name(name): v for name, v in net.state_dict().items() if not name.startswith(ELSEWHERE)}
    return {**tensors, EMBEDDINGS: net.concepts.embeddings(net.tokens.weight)}


def stem_stages(stem):
    """Blocks with equal widths that follow each other are the repeats of one stage."""
    stages = []
    for block in stem._blocks:
        args = block._block_args
        stride = args.stride if isinstance(args.stride, int) else args.stride[0]
        if stages and args.input_filters == args.output_filters == stages[-1]["out"]:
            stages[-1]["repeats"] += 1
            continue
        stages.append({"repeats": 1, "kernel": args.kernel_size, "stride": stride, "expand": args.expand_ratio,
                       "in": args.input_filters, "out": args.output_filters})
    return stages


def descriptions(config, stem, languages):
    """Model, preprocessor and generation."""
    vision = {
        "stem": {"type": "efficientnet-lite", "input_size": IMAGE_SIZE, "padding_size": STEM_TRAINED_AT,
                 "stem_channels": stem._conv_stem.out_channels, "head_channels": stem._conv_head.out_channels,
                 "stages": stem_stages(stem)},
        "hidden_size": config.width, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE, "num_hidden_layers": config.vit_layers,
        "num_attention_heads": config.heads, "intermediate_size": config.vit_mlp, "layer_norm_eps": 1e-6,
        "hidden_act": "gelu", "num_concepts": N_CONCEPTS, "num_concept_tokens": N_CONCEPT_TOKENS,
    }
    text = {
        "vocab_size": config.vocab, "n_positions": config.positions, "n_embd": config.width,
        "n_layer": config.decoder_layers, "n_head": config.heads, "n_inner": config.decoder_mlp,
        "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new",
        "encoder": {"n_layer": READER_LAYERS, "n_positions": config.positions},
    }
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    preprocessor = {"do_convert_rgb": True, "do_resize": True, "size": size, "resample": 3, "do_center_crop": False,
                    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
                    "image_mean": [127 / 255] * 3, "image_std": [128 / 255] * 3}
    generation = {"decoder_start_token_id": END, "bos_token_id": END, "eos_token_id": END, "pad_token_id": END,
                  "num_beams": 3, "max_new_tokens": LONGEST, "length_penalty": 1.0}
    model = {"model_type": "looksay", "vision": vision, "text": text,
             "languages": [{"code": code, "token": language_token(code), "form": FORMS[code]} for code in languages],
             "fill": {"token": FILL, "mask": MASK}}
    return model, preprocessor, generation


def stored(tensor):
    """Matrices as f16, vectors as f32."""
    array = tensor.detach().float().numpy()
    if array.ndim < 2:
        return array
    half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError("a weight is too large for f16")
    return half


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("weights")
    options.add_argument("tokenizer")
    options.add_argument("gguf")
    options.add_argument("--languages", type=lambda codes: codes.split(","), default=LANGUAGES, help="as for train.py")
    given = options.parse_args()
    tokenizer = Tokenizer.from_file(given.tokenizer)
    config = Config(vocab=tokenizer.get_vocab_size())
    stem = load_stem()
    net = Polyglot(config, stem)
    net.load_state_dict(torch.load(given.weights, map_location="cpu"))
    tensors = {name: stored(t) for name, t in {**stem_tensors(stem), **net_tensors(net)}.items()}
    model, preprocessor, generation = (json.dumps(part) for part in descriptions(config, stem, given.languages))
    strings = {
        "general.architecture": "looksay", "general.name": "looksay-flickr8k", "general.license": LICENSE,
        "general.description": DESCRIPTION, "looksay.config": model, "looksay.preprocessor": preprocessor,
        "looksay.generation": generation, "looksay.tokenizer": tokenizer.to_str(),
    }
    write_gguf(given.gguf, strings, tensors)
    print(f"{given.gguf}: {len(tensors)} tensors, {Path(given.gguf).stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
