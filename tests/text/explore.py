#!/usr/bin/env python3
"""Give the tokenizers texts and ids that nobody has seen, and compare with what Hugging Face makes of them.

    explore.py TEXT_TOKENIZER [-n N] [--seed S] [NAME...]

TEXT_TOKENIZER is the built test, build/tests/text_tokenizer; NAME one of its fixtures, by default every kind. Texts mix Unicode of
all blocks, bytes that are no UTF-8, special tokens and caption lines; ids are random, those outside the vocabulary included. The
same seed gives the same texts. Needs what make_fixtures.py needs.
"""
import argparse
import random
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import make_fixtures as fixtures
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.tokenization_utils_tokenizers import TokenizersBackend

ROOT = fixtures.HERE.parent.parent
KINDS = ["gpt2", "roberta", "bert-uncased", "bert-cased", "xlm-roberta-spm", "xlm-roberta", "spm-bpe", "spm-bpe-bare", "spm-unigram",
         "llama", "unigram-steps", "wordpiece-steps", "bpe-suffix", "bpe-regex"]
UNCLAIMED = ["spm-bpe", "spm-bpe-bare", "spm-unigram"]  # of no tokenizer class: transformers 5.24 builds these as SentencePiece does
MARKS = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c))]
SPACES = [chr(c) for c in range(0x3001) if chr(c).isspace()]
ODD = ["\u200d", "\ufe0f", "\u00ad", "\u200b", "\u2581", "\u0120", "\u0130", "\u1e9e", "\ufb01", "\ufdfa", "\ufffd", "\x00", "\x7f", "\x85",
       "'s", "'re", "##", "</w>", "@@", "<0x41>", "<", ">", "[", "]", "\u0e33", "\u1100", "\u1161", "\u11a8", "\uac00", "\U0001f1e8"]
BLOCKS = [(0x20, 0x7F), (0x80, 0x250), (0x250, 0x600), (0x600, 0xE00), (0xE00, 0x1200), (0x1200, 0x2000), (0x2000, 0x3000),
          (0x3000, 0x3400), (0x4E00, 0x9FFF), (0xA000, 0xD800), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x1F000, 0x1FB00),
          (0x20000, 0x110000)]


def piece(rng, tokens):
    """A few characters of one kind."""
    kind = rng.randrange(8)
    if kind == 0:
        low, high = rng.choice(BLOCKS)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 6)))
    if kind == 1:
        return "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4)))
    if kind == 2:
        return rng.choice(SPACES) * rng.randint(1, 3)
    if kind == 3:
        return rng.choice(ODD)
    if kind == 4:  # a token of the vocabulary, whole, cut, or in another case
        token = rng.choice(tokens)
        return rng.choice([token, token[:rng.randint(0, len(token))], token.upper(), token.title(), f" {token} "])
    if kind == 5:
        line = rng.choice(fixtures.LINES)
        start = rng.randrange(len(line))
        return line[start:start + rng.randint(1, 20)]
    if kind == 6:
        return rng.choice("aeiou 19.,-_'!?") * rng.choice([1, 2, 3, 30])
    return rng.choice(["", "x", "1", " ", "\n", "\t"])


def random_text(rng, tokens):
    """Bytes, mostly UTF-8."""
    data = bytearray("".join(piece(rng, tokens) for _ in range(rng.randint(1, 12))).encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice([0, 0, 0, 1, 3])):  # a bit flipped, a byte lost or put in
        if data:
            at = rng.randrange(len(data))
            data[at:at + rng.randint(0, 1)] = bytes(rng.randrange(256) for _ in range(rng.randint(0, 2)))
    return bytes(data)


def oracle(name):
    """encode(text, add_special) -> ids; decode(ids, skip_special) -> text; all tokens."""
    path = fixtures.OUT / name
    if path.is_dir():
        t = (TokenizersBackend if name in UNCLAIMED else AutoTokenizer).from_pretrained(path)
        return (lambda text, special: t(text, add_special_tokens=special)["input_ids"],
                lambda ids, skip: t.decode(ids, skip_special_tokens=skip), sorted(t.get_vocab()))
    t = Tokenizer.from_file(f"{path}.json")
    return (lambda text, special: t.encode(text, add_special_tokens=special).ids,
            lambda ids, skip: t.decode(ids, skip_special_tokens=skip), sorted(t.get_vocab()))


def explore(program, name, n, seed):
    """Returns how many texts and ids agree and how many differ, and prints the first of those."""
    rng = random.Random(f"{seed}/{name}")
    encode, decode, tokens = oracle(name)
    shown = lambda ids: "".join("|" + decode(ids, skip).replace("\0", "").encode().hex() for skip in (True, False))
    asked, wanted = [], []
    for i in range(n):
        if i % 4:
            data = random_text(rng, tokens)
            text = data.decode("utf-8", "replace")
            whole, plain = encode(text, True), encode(text, False)
            asked.append("t " + data.hex())
            wanted.append(f"{' '.join(map(str, whole))}|{' '.join(map(str, plain))}{shown(whole)}")
        else:
            ids = [rng.randrange(len(tokens) + 3) for _ in range(rng.randint(1, 20))]
            asked.append("i " + " ".join(map(str, ids)))
            wanted.append(shown(ids))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(line + "\n" for line in asked))
        file.flush()
        done = subprocess.run([program, name, file.name], cwd=ROOT, capture_output=True, text=True, check=True)
    found = done.stdout.splitlines()
    differing = [i for i in range(n) if found[i] != wanted[i]] if len(found) == n else list(range(n))
    for i in differing[:3]:
        print(f"{name}: {asked[i][:400]}\n  expected {wanted[i][:400]}\n  found    {found[i][:400]}")
    return n - len(differing), len(differing)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("-n", type=int, default=2000, help="texts and ids for each")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    totals = [0, 0]
    for name in options.names or KINDS:
        counts = explore(options.program.resolve(), name, options.n, options.seed)
        totals = [a + b for a, b in zip(totals, counts)]
        print(f"{name}: {counts[0]} agreed, {counts[1]} disagreed", flush=True)
    print(f"{totals[0]} agreed, {totals[1]} disagreed")
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
