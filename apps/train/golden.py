"""What torch says, from the very weights that a GGUF file holds: the golden file of `looksay verify`.

    python golden.py assets/model/looksay.gguf assets/golden/looksay.json assets/photos/*.jpg

Captions in each language, translations with a picture and without, and fillings: the greedy one, whose probability must be the one that
`looksay verify` finds among the likeliest. Log-probabilities come from one pass over the finished text."""
import argparse
import json
import math
import os

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from export import ELSEWHERE, EMBEDDINGS, gguf_name
from gguf_file import read_gguf
from languages import (
    CLOSING,
    FILL,
    MASK,
    SPECIALS,
    clean,
    clean_with_gaps,
    language_token,
)
from model import END, Config, load_stem, photo_pixels
from polyglot import Polyglot, join

SENTENCES = {
    "en": ["A brown dog runs on the beach.", "two young men , are near a tree!", "a girl looks at the water"],
    "de": ["Ein Mann fährt auf einem Fahrrad.", "Zwei junge Männer stehen bei einem  Baum"],
    "fr": ["Une fille regarde l'eau."],
    "cs": ["Hnědý pes běží po pláži."],
}
GAPS = ["A [MASK] dog runs on the [MASK].", "a man rides a [MASK]"]
TRANSLATION_TOKENS, FILL_BEAMS, TOKENS_A_GAP = 16, 12, 8


def bare_stem(tensors, stem):
    """`stem` with the folded weights of the file: batch norm is left to add the bias."""

    def load(name, convolution, norm):
        weight, bias = torch.from_numpy(tensors[name + ".weight"]), torch.from_numpy(tensors[name + ".bias"])
        convolution.weight = nn.Parameter(weight.view(convolution.weight.shape))
        norm.weight, norm.bias = nn.Parameter(torch.ones_like(bias)), nn.Parameter(bias)
        norm.running_mean, norm.running_var = torch.zeros_like(bias), torch.full_like(bias, 1 - norm.eps)

    load("stem.conv", stem._conv_stem, stem._bn0)
    for i, block in enumerate(stem._blocks):
        if block._block_args.expand_ratio != 1:
            load(f"stem.blocks.{i}.expand", block._expand_conv, block._bn0)
        load(f"stem.blocks.{i}.depthwise", block._depthwise_conv, block._bn1)
        load(f"stem.blocks.{i}.project", block._project_conv, block._bn2)
    load("stem.head", stem._conv_head, stem._bn1)
    return stem


def bare_polyglot(strings, tensors, stem):
    """A Polyglot with the weights of a file, and the model's configuration."""
    config = json.loads(strings["looksay.config"])
    text, vision = config["text"], config["vision"]
    net = Polyglot(Config(vocab=text["vocab_size"], width=text["n_embd"], heads=text["n_head"], positions=text["n_positions"],
                          decoder_layers=text["n_layer"], decoder_mlp=text["n_inner"],
                          vit_layers=vision["num_hidden_layers"], vit_mlp=vision["intermediate_size"]), stem).eval()
    net.load_state_dict({
        name: value if name.startswith(ELSEWHERE) else torch.from_numpy(tensors[gguf_name(name)])
        for name, value in net.state_dict().items()
    })
    embeddings = torch.from_numpy(tensors[EMBEDDINGS])
    net.concepts.embeddings = lambda words: embeddings
    return net


def tokenizer_of(strings):
    """The tokenizer of a file, without what looksay notes in it."""
    settings = json.loads(strings["looksay.tokenizer"])
    if "looksay.tokens" in strings:
        settings["model"]["vocab"] = {token: i for i, token in enumerate(strings["looksay.tokens"].split("\n")[:-1])}
    if "looksay.merges" in strings:
        settings["model"]["merges"] = strings["looksay.merges"].split("\n")[:-1]
    return Tokenizer.from_str(json.dumps({key: value for key, value in settings.items() if not key.startswith("looksay_")}))


def languages_of(strings):
    return [language["code"] for language in json.loads(strings["looksay.config"])["languages"]]


class Oracle:
    def __init__(self, net, tokenizer, generation, languages):
        self.net, self.tokenizer, self.generation, self.languages = net, tokenizer, generation, languages

    def token(self, text):
        return self.tokenizer.token_to_id(text)

    def image(self, photo):
        return self.net.memory(self.net.trunk(photo_pixels(photo)[None]))

    def source(self, clean_text, language):
        return self.net.read([[self.token(language_token(language))] + self.tokenizer.encode(clean_text).ids + [END]])

    def logprobs(self, memory, start, ids):
        inputs = torch.tensor([start + ids[:-1]])
        logits = F.log_softmax(self.net(inputs, memory, 1, torch.arange(inputs.shape[1])), -1)
        rows = torch.arange(len(ids)) + len(start) - 1
        return [round(p, 6) for p in logits[rows, torch.tensor(ids)].tolist()]

    def said(self, memory, start, beams, longest):
        (ids,) = self.net.beam(memory, beams, longest, start)
        return {"tokens": ids, "logprobs": self.logprobs(memory, start, ids)}, self.tokenizer.decode(ids).strip()

    def caption(self, photo, language, beams):
        said, text = self.said(self.image(photo), [END, self.token(language_token(language))], beams,
                               self.generation["max_new_tokens"])
        return {"args": {"language": language, "beams": beams}, **said, "caption": text}

    def translation(self, photo, text, source, target, beams):
        memory, _ = join(self.image(photo) if photo else None, self.source(clean(text, source), source))
        said, words = self.said(memory, [END, self.token(language_token(target))], beams, TRANSLATION_TOKENS)
        closing = text[-1] if text[-1] in CLOSING and words[-1:] not in CLOSING else ""
        words = (words[:1].upper() if text[0].isupper() and len(words[:1].upper().encode()) == len(words[:1].encode())
                 else words[:1]) + words[1:] + closing
        return {"translate": {"text": text, "from": source, "to": target},
                "args": {"beams": beams, "max_tokens": TRANSLATION_TOKENS}, **said, "caption": words}

    def filling(self, photo, text):
        """The greedy words for the gaps, none empty."""
        memory, _ = join(self.image(photo) if photo else None, self.source(clean_with_gaps(text, "en"), "en"))
        start, gap = [END, self.token(FILL)], self.token(MASK)
        special = [self.token(token) for token in SPECIALS] + [END]
        answers, ids, logprob = [[]], [], 0.0
        while not ids or ids[-1] != END:
            logits = self.net(torch.tensor([start + ids]), memory, 1, torch.arange(len(start + ids)))[-1].clone()
            ending = END if len(answers) == text.count(MASK) else gap
            ends = logits[ending].item() if answers[-1] else -math.inf
            room = min(TOKENS_A_GAP, (self.net.config.positions - 2) // text.count(MASK) - 1)
            logits[special if len(answers[-1]) < room else slice(None)] = -math.inf
            logits[ending] = ends
            logits = F.log_softmax(logits, -1)
            ids.append(logits.argmax().item())
            logprob += logits[ids[-1]].item()
            if ids[-1] == gap:
                answers.append([])
            elif ids[-1] != END:
                answers[-1].append(ids[-1])
        filled = text
        for answer in answers:
            filled = filled.replace(MASK, self.tokenizer.decode(answer).strip(), 1)
        return {"fill": text, "args": {"beams": FILL_BEAMS},
                "filling": {"text": filled, "probability": math.exp(logprob)}}


@torch.inference_mode()
def golden_cases(oracle, photos, relative):
    cases = []
    for n, photo in enumerate(photos):
        image = {"image": relative(photo)}
        cases += [{**image, **oracle.caption(photo, code, beams)} for code in oracle.languages for beams in (1, 3)]
        cases.append({**image, **oracle.translation(photo, SENTENCES["en"][n % 3], "en", "de", 3)})
        cases += [{**image, **oracle.filling(photo, text)} for text in GAPS]
    for source in oracle.languages:
        for text in SENTENCES[source]:
            cases += [oracle.translation(None, text, source, target, beams)
                      for target in oracle.languages if target != source for beams in (1, 5)]
    return cases + [oracle.filling(None, text) for text in GAPS]


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("gguf")
    options.add_argument("golden")
    options.add_argument("photos", nargs="+")
    given = options.parse_args()
    strings, tensors = read_gguf(given.gguf)
    oracle = Oracle(bare_polyglot(strings, tensors, bare_stem(tensors, load_stem())), tokenizer_of(strings),
                    json.loads(strings["looksay.generation"]), languages_of(strings))
    cases = golden_cases(oracle, given.photos, lambda photo: os.path.relpath(photo, os.path.dirname(given.golden)))
    with open(given.golden, "w", encoding="utf-8") as out:
        out.write('{"cases": [\n' + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
