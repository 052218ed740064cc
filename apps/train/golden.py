"""What the torch model says about photos, from the very weights that a GGUF file holds: the golden file of `looksay verify`.

    python golden.py assets/model/looksay.gguf assets/golden/looksay.json assets/photos/*.jpg

Each photo is captioned with the model's own settings, greedily, and with five beams and few tokens. Log-probabilities
come from one pass over the finished caption."""
import argparse
import json
import os

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from export import ELSEWHERE, EMBEDDINGS, gguf_name
from gguf_file import read_gguf
from model import END, Config, Net, load_stem, photo_pixels, trunk

SETTINGS = [{}, {"beams": 1}, {"beams": 5, "max_tokens": 8}]


def bare_stem(tensors, stem):
    """`stem` with the folded weights of the file: batch norm is left to add the bias."""

    def load(name, convolution, norm):
        weight, bias = torch.from_numpy(tensors[name + ".weight"]), torch.from_numpy(tensors[name + ".bias"])
        convolution.weight = nn.Parameter(weight.view(convolution.weight.shape))
        norm.weight, norm.bias = nn.Parameter(torch.ones_like(bias)), nn.Parameter(bias)
        norm.running_mean, norm.running_var, norm.eps = torch.zeros_like(bias), torch.ones_like(bias), 0.0

    load("stem.conv", stem._conv_stem, stem._bn0)
    for i, block in enumerate(stem._blocks):
        if block._block_args.expand_ratio != 1:
            load(f"stem.blocks.{i}.expand", block._expand_conv, block._bn0)
        load(f"stem.blocks.{i}.depthwise", block._depthwise_conv, block._bn1)
        load(f"stem.blocks.{i}.project", block._project_conv, block._bn2)
    load("stem.head", stem._conv_head, stem._bn1)
    return stem


def bare_net(tensors, stem):
    vocab, width = tensors["text.tokens"].shape
    net = Net(Config(vocab=vocab, width=width), stem).eval()
    state = {
        name: value if name.startswith(ELSEWHERE) else torch.from_numpy(tensors[gguf_name(name)])
        for name, value in net.state_dict().items()
    }
    net.load_state_dict(state)
    embeddings = torch.from_numpy(tensors[EMBEDDINGS])
    net.concepts.embeddings = lambda words: embeddings
    return net


def logprobs(net, memory, ids):
    inputs = torch.tensor([[END] + ids[:-1]])
    logits = F.log_softmax(net(inputs, memory, 1, torch.arange(len(ids))), -1)
    return logits[torch.arange(len(ids)), torch.tensor(ids)].tolist()


@torch.inference_mode()
def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("gguf")
    options.add_argument("golden")
    options.add_argument("photos", nargs="+")
    given = options.parse_args()
    strings, tensors = read_gguf(given.gguf)
    tokenizer = Tokenizer.from_str(strings["looksay.tokenizer"])
    own = json.loads(strings["looksay.generation"])
    stem = bare_stem(tensors, load_stem())
    net = bare_net(tensors, stem)
    cases = []
    for photo in given.photos:
        memory = net.memory(trunk(stem, photo_pixels(photo)[None]))
        for args in SETTINGS:
            longest = args.get("max_tokens", own["max_new_tokens"])
            (ids,) = net.beam(memory, args.get("beams", own["num_beams"]), longest)
            cases.append({
                "image": os.path.relpath(photo, os.path.dirname(given.golden)), "args": args, "tokens": ids,
                "logprobs": [round(p, 6) for p in logprobs(net, memory, ids)], "caption": tokenizer.decode(ids).strip(),
            })
    with open(given.golden, "w", encoding="utf-8") as out:
        out.write('{"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
