#!/usr/bin/env python3
"""Try looksay on random models that nobody has seen: random family, shapes, options, files and search flags.

    explore.py LOOKSAY [-n N] [--seed S] [--keep DIR] [--family blip|ved] [--photos DIR]

Model number i of seed S is always the same one. Those that differ are kept in DIR (default: a folder under the system's
temporary directory) with their golden.json, to be run again with run_parity.py. Needs what make_fixtures.py needs.
"""
import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
import torch

torch.set_num_threads(1)
import oracle
import run_parity
import zoo
from fixtures import CLIP, HALF, IMAGENET

HERE = Path(__file__).resolve().parent
# By transformers: a prompt longer than what the model's own files allow; positions of an oblong grid where it takes them for a square's.
REFUSED = ["max_length", "is invalid for input of size"]
ENDS = {"gpt2": 316, "roberta": 2, "unigram": 2, "spm": 2, "bert_txt": 102, "bert_json": 102}


def heads(rng, top=48):
    """(width, heads): head sizes that are not always multiples of 4."""
    n = rng.choice([1, 2, 3, 4, 5, 6, 8])
    return n * rng.choice([d for d in (2, 4, 5, 6, 7, 8, 10, 12, 16, 20) if 8 <= n * d <= top]), n


def vit_like(rng, kind):
    width, n_heads = heads(rng)
    patch = rng.choice([4, 5, 7, 8, 14, 16])
    side = patch * rng.randint(2, 5)
    config = {"hidden_size": width, "num_attention_heads": n_heads, "num_hidden_layers": rng.randint(1, 3),
              "patch_size": patch, "image_size": side, "qkv_bias": rng.random() < 0.8,
              "hidden_act": rng.choice(["gelu", "gelu", "gelu_new", "relu", "gelu_pytorch_tanh", "quick_gelu", "silu"]),
              "layer_norm_eps": rng.choice([1e-12, 1e-6, 1e-5, 1e-3])}
    height, across = side, side
    if kind == "dinov2":
        config |= {"mlp_ratio": rng.choice([1, 2, 3, 4]), "use_swiglu_ffn": rng.random() < 0.4}
    else:
        config["intermediate_size"] = rng.choice([20, 33, 48, 64, 96])
        if kind != "blip" and rng.random() < 0.25:
            height, across = patch * rng.randint(2, 4), patch * rng.randint(2, 4)
            config["image_size"] = [height, across]
    if height == across and rng.random() < (0.5 if kind == "dinov2" else 0.2):  # another size than the table's
        height, across = patch * rng.randint(2, 6), patch * rng.randint(2, 6)
        if rng.random() < 0.3:  # and not a whole number of patches
            height, across = height + rng.randint(1, patch - 1), across + rng.randint(1, patch - 1)
    return config, height, across


def processor(rng, kind, height, across):
    """A preprocessor_config.json that ends at height x across, or that follows the photo's aspect."""
    p = {"do_normalize": rng.random() < 0.9, "do_rescale": True, "do_resize": True, "resample": rng.choice([0, 1, 2, 3, 4, 5]),
         "image_processor_type": {"vit": "ViTImageProcessor", "deit": "DeiTImageProcessor", "dinov2": "BitImageProcessor",
                                  "blip": "BlipImageProcessor"}[kind],
         "size": {"height": height, "width": across}}
    p |= rng.choice([{"image_mean": HALF, "image_std": HALF}, IMAGENET, CLIP])
    if rng.random() < 0.5:
        p["rescale_factor"] = 0.00392156862745098
    if kind == "deit" or kind == "dinov2":
        p["do_center_crop"] = rng.random() < 0.6
        p["crop_size"] = {"height": height, "width": across}
        if p["do_center_crop"]:
            grown = max(height, across) + rng.randint(0, 9)
            p["size"] = {"shortest_edge": grown} if kind == "dinov2" else {"height": grown, "width": grown + rng.randint(0, 5)}
    if kind == "vit" and height == across and rng.random() < 0.3:
        p["size"] = height
    if rng.random() < (0.3 if kind == "dinov2" else 0.1):
        p["do_center_crop"] = False
        p["size"] = {"shortest_edge": min(height, across)}
        if rng.random() < 0.3:
            p["size"]["longest_edge"] = max(height, across) + rng.randint(1, 20)
    return p


def text_decoder(rng, kind, n_encoder):
    width, n_heads = heads(rng)
    layers = rng.randint(1, 3)
    act = rng.choice(["gelu", "gelu", "gelu_new", "relu"])
    tie = rng.random() < 0.7
    if kind == "gpt2":
        return {"n_embd": width, "n_head": n_heads, "n_layer": layers, "n_positions": rng.choice([40, 64]),
                "n_inner": rng.choice([None, 30, 64]), "activation_function": rng.choice(["gelu_new", "gelu_new", act]),
                "layer_norm_epsilon": rng.choice([1e-5, 1e-6]), "tie_word_embeddings": tie,
                "scale_attn_by_inverse_layer_idx": rng.random() < 0.2, "scale_attn_weights": rng.random() < 0.85}
    if kind == "trocr":
        width += width % 2
        while width % n_heads:
            width += 2
        return {"d_model": width, "decoder_attention_heads": n_heads, "decoder_layers": layers,
                "decoder_ffn_dim": rng.choice([24, 50, 64]), "max_position_embeddings": rng.choice([40, 64]),
                "activation_function": act, "scale_embedding": rng.random() < 0.5,
                "use_learned_position_embeddings": rng.random() < 0.6, "layernorm_embedding": rng.random() < 0.5,
                "tie_word_embeddings": tie, "cross_attention_hidden_size": n_encoder if rng.random() < 0.4 else None}
    return {"hidden_size": width, "num_attention_heads": n_heads, "num_hidden_layers": layers, "hidden_act": act,
            "intermediate_size": rng.choice([24, 50, 64]), "max_position_embeddings": rng.choice([40, 64]),
            "layer_norm_eps": rng.choice([1e-12, 1e-5]), "tie_word_embeddings": tie,
            "type_vocab_size": rng.choice([1, 2]), "pad_token_id": 1 if kind == "roberta" else 0}


def random_settings(rng, n_vocab=55):
    """Keys of generation_config.json, each now and then."""
    some = lambda p, make: make() if rng.random() < p else None
    word = lambda: rng.randrange(4, n_vocab)
    keys = {
        "num_beams": some(0.5, lambda: rng.randint(1, 4)),
        "length_penalty": some(0.3, lambda: rng.choice([-1.0, 0.0, 0.5, 2.0])),
        "early_stopping": some(0.4, lambda: rng.choice([True, False, "never"])),
        "no_repeat_ngram_size": some(0.25, lambda: rng.randint(1, 3)),
        "min_length": some(0.3, lambda: rng.randint(1, 18)),
        "min_new_tokens": some(0.15, lambda: rng.randint(1, 12)),
        "max_length": some(0.4, lambda: rng.randint(5, 25)),
        "max_new_tokens": some(0.15, lambda: rng.randint(5, 25)),
        "forced_bos_token_id": some(0.15, word),
        "forced_eos_token_id": some(0.15, word),
        "bad_words_ids": some(0.3, lambda: [[word() for _ in range(rng.choice([1, 1, 1, 2, 3]))]
                                            for _ in range(rng.randint(1, 40))]),
        "suppress_tokens": some(0.2, lambda: [word() for _ in range(rng.randint(1, 40))]),
        "begin_suppress_tokens": some(0.2, lambda: [word() for _ in range(rng.randint(1, 40))]),
        "repetition_penalty": some(0.2, lambda: rng.choice([0.7, 1.1, 1.6])),
    }
    for forced in (keys["forced_bos_token_id"], keys["forced_eos_token_id"]):  # transformers refuses what is both
        for list_of in ("suppress_tokens", "begin_suppress_tokens"):
            keys[list_of] = keys[list_of] and [t for t in keys[list_of] if t != forced]
    return {k: v for k, v in keys.items() if v is not None}


def random_spec(rng, family):
    spec = {"seed": rng.randrange(1 << 30), "pull": rng.choice([0, 2, 4]), "words": rng.choice([0.25, 0.5, 1.0]),
            "gain": rng.choice([1.2, 1.8]), "sparse": rng.random() < 0.25, "extra_rows": rng.choice([0, 0, 3]),
            "generation_config": rng.choice([None, {}, random_settings(rng), random_settings(rng)])}
    if rng.random() < 0.35:
        spec["store"] = {"format": "bin", "strided": rng.random() < 0.3, "parameters": rng.random() < 0.3,
                         "dtype": rng.choice(["f32", "f32", "f16", "bf16"])}
    else:
        spec["store"] = {"dtype": rng.choice(["f32", "f32", "f16", "bf16"])}
        if rng.random() < 0.3:
            spec["store"]["shard_size"] = rng.choice(["20KB", "50KB"])
    if family == "blip":
        vision, height, across = vit_like(rng, "blip")
        vision = {k: v for k, v in vision.items() if k != "qkv_bias"}
        text = text_decoder(rng, "bert", 0)
        text = {k: v for k, v in text.items() if k != "type_vocab_size"} | {"bos_token_id": 105}
        text["tie_word_embeddings"] = True
        if rng.random() < 0.2:
            text["sep_token_id"] = rng.choice([3, 50])
        spec |= {"kind": "blip", "vision": vision, "text": text, "tokenizer": rng.choice(["bert_txt", "bert_json"]),
                 "processor": processor(rng, "blip", height, across), "extra_rows": 2}
        return spec
    encoder, decoder = rng.choice(["vit", "deit", "dinov2"]), rng.choice(["gpt2", "bert", "roberta", "trocr"])
    config, height, across = vit_like(rng, encoder)
    if encoder == "dinov2":
        config["layerscale_value"] = 0.5
    words = {"gpt2": ["gpt2"], "bert": ["bert_txt", "bert_json"], "roberta": ["roberta"],
             "trocr": ["roberta", "unigram", "spm"]}[decoder]
    tokenizer = rng.choice(words)
    end = ENDS[tokenizer]
    start = {"gpt2": 316, "bert": 101}.get(decoder, rng.choice([0, 2]))
    ids = {"decoder_start_token_id": start, "eos_token_id": end, "bos_token_id": start,
           "pad_token_id": {"gpt2": 316, "bert": 0}.get(decoder, 1)}
    text = text_decoder(rng, decoder, config["hidden_size"])
    spec |= {"kind": "ved", "encoder": (encoder, config), "decoder": (decoder, text), "tokenizer": tokenizer, "end": end,
             "config": ids, "processor": processor(rng, encoder, height, across)}
    return spec


def random_requests(rng, photos):
    """As the model's own files have it; greedy, beams and a prompt; and two that combine whatever comes."""
    photos = rng.sample(photos, min(4, len(photos)))
    prompt = rng.choice(["a dog", "A picture of", "two", "the man is"])
    plain = [{"max_tokens": 20}, {"max_tokens": 20, "beams": rng.choice([2, 3, 4])}]
    more = [{"prompt": prompt, "max_tokens": rng.randint(2, 20), "beams": rng.choice([1, 3])}]
    for _ in range(2):
        args = {"max_tokens": rng.randint(6, 20), "beams": rng.choice([1, 1, 2, 4])}
        for chance in [{"no_repeat_ngram": rng.randint(1, 3)}, {"repetition_penalty": rng.choice([0.8, 1.2, 2.0])},
                       {"min_tokens": rng.randint(1, args["max_tokens"])}, {"prompt": prompt},
                       {"length_penalty": rng.choice([-1.0, 0.0, 0.5, 3.0])}]:
            if rng.random() < 0.4:
                args |= chance
        if args["beams"] == 1:
            args.pop("length_penalty", None)  # which would do nothing, and is refused
        if args["beams"] > 1 and rng.random() < 0.5:
            args["n_best"] = rng.randint(2, args["beams"])
        more.append(args)
    return ([(p, {}) for p in photos[:2]] + [(photos[0], {"prompt": prompt})] + [(p, args) for args in plain for p in photos] +
            [(p, args) for args in more for p in photos[:2]])


def try_model(looksay, folder, spec, requests, photos):
    """Returns (cases, failures, cases too close to judge or refused by transformers)."""
    zoo.build(spec, folder)
    judge = oracle.Oracle(folder)
    cases, n_close = [], 0
    for photo, args in requests:
        try:
            cases.append(judge.case(photo, args, photos))
        except oracle.Undecided:
            n_close += 1
        except (ValueError, RuntimeError) as refusal:
            if not any(known in str(refusal) for known in REFUSED):
                raise
            n_close += 1
    (folder / "golden.json").write_text(json.dumps({"cases": cases}, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / "spec.json").write_text(json.dumps(spec, indent=1))
    n_cases, n_failures = run_parity.check_model(looksay, folder, photos, 2e-3) if cases else (0, 0)
    return n_cases, n_failures, n_close


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looksay", type=Path)
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="number of the first model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", choices=["blip", "ved"])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--photos", type=Path, default=HERE / "photos")
    options = parser.parse_args()
    keep = options.keep or Path(tempfile.mkdtemp(prefix="looksay-explore-"))
    photos = sorted(p.name for p in options.photos.iterdir())
    totals, differing = [0, 0, 0], []
    for i in range(options.first, options.first + options.n):
        rng = random.Random(f"{options.seed}/{i}")
        spec = random_spec(rng, options.family or rng.choice(["blip", "ved", "ved"]))
        folder = keep / f"{options.seed}-{i}"
        print(f"== {folder.name}: {spec.get('encoder', ('blip',))[0]} {spec.get('decoder', ('',))[0]} {spec['tokenizer']} "
              f"{spec['store']}", flush=True)
        counts = try_model(options.looksay, folder, spec, random_requests(rng, photos), options.photos)
        totals = [a + b for a, b in zip(totals, counts)]
        if counts[1]:
            differing.append(folder.name)
        else:
            shutil.rmtree(folder)
    print(f"{totals[0] - totals[1]} agreed, {totals[1]} disagreed ({options.n} models; {totals[2]} cases too close to judge, or refused by transformers)")
    if differing:
        print(f"differing: {' '.join(differing)} in {keep}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
