"""A beginning for training: what a model of another vocabulary, and perhaps of English alone, has learnt.

Layers are taken over as they are; of a model without languages, positions one later, since a task token comes first. Positions of
patches are interpolated where there were fewer or more of them. A token gets the embedding it had, or the mean of those it was spelt
with. Without a reader of source texts, the decoder's self-attention and MLPs make one."""
import math

import torch
import torch.nn.functional as F

from export import ELSEWHERE, EMBEDDINGS, gguf_name
from gguf_file import read_gguf
from golden import bare_stem, tokenizer_of
from languages import SPECIALS
from model import END, LONGEST_NAME, N_CONCEPT_TOKENS, PIECE_WEIGHT, SIDE, StemEnd, Trunk, load_stem

READER_PARTS = ("ln_self", "ln_mlp", "self_qkv", "self_out", "fc1", "fc2")
UNKNOWN_SPREAD = 0.3
WORD_START = "\u0120"  # how byte-level BPE writes a space


def embeddings_of(tokenizer, theirs, known, tasks):
    """Embeddings [vocab, width] of tokenizer's tokens from `known` [their vocab, width]. Tokens that begin a task start as the start
    token did; what they can't spell is near the middle of all."""
    new = known.mean(0) + torch.randn(tokenizer.get_vocab_size(), known.shape[1]) * known.std() * UNKNOWN_SPREAD
    for name in tasks:
        new[tokenizer.token_to_id(name)] = known[END]
    for token, i in tokenizer.get_vocab().items():
        same = theirs.token_to_id(token)
        if same is not None:
            new[i] = known[same]
        elif token.startswith(WORD_START) and token[1:].isascii() and token == token.lower():
            new[i] = known[theirs.encode(token[1:]).ids].mean(0)
    return new


def turn_of(theirs, names, known, embeddings):
    """The matrix by which concept embeddings were made from word embeddings, by least squares."""
    first = len(theirs.encode("a").ids)
    spelt = []
    for name in names:
        ids = theirs.encode(f"a {name}").ids[first:][:LONGEST_NAME]
        weight = PIECE_WEIGHT ** torch.arange(len(ids))
        spelt.append((known[ids] * weight[:, None]).sum(0) / weight.sum())
    return torch.linalg.lstsq(torch.stack(spelt), embeddings).solution.T


def patch_positions(known):
    """Positions of this model's tokens of a picture from `known`, whose patches were a square too."""
    first = 1 + N_CONCEPT_TOKENS
    side = math.isqrt(len(known) - first)
    square = known[first:].T.reshape(1, -1, side, side)
    resized = F.interpolate(square, (SIDE, SIDE), mode="bicubic", align_corners=False)
    return torch.cat([known[:first], resized.flatten(2)[0].T])


@torch.no_grad()
def start_from(net, tokenizer, names, path):
    strings, tensors = read_gguf(path)
    theirs = tokenizer_of(strings)
    known = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    tokens = known["text.tokens"]
    state = net.state_dict()
    for name, value in state.items():
        source = None if name.startswith(ELSEWHERE) else known.get(gguf_name(name))
        if name.startswith("reader.") and name.split(".")[2] in READER_PARTS and source is None:
            source = known[gguf_name(name.replace("reader.", "blocks."))]
        if source is None or name == "tokens.weight":
            continue
        if name == "vpos":
            source = patch_positions(source)
        if source.shape == value.shape:
            value.copy_(source)
        elif name == "positions.weight":
            value[1 : len(source) + 1] = source
            state["reader_positions.weight"][: len(source)] = source
        else:
            raise ValueError(f"{path}: {gguf_name(name)} has another shape: {tuple(source.shape)}, not {tuple(value.shape)}")
    state["tokens.weight"].copy_(embeddings_of(tokenizer, theirs, tokens, SPECIALS[1:]))
    state["concepts.turn.weight"].copy_(turn_of(theirs, names, tokens, known[EMBEDDINGS]))
    stem = bare_stem(tensors, load_stem())
    net.trunk, net.stem_end = Trunk(stem), StemEnd(stem)
