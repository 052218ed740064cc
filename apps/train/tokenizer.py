"""Learns the vocabulary: byte-level BPE of 8,192 tokens from the training captions in four languages, written as tokenizer.json.

    python tokenizer.py DATA_DIR OUT_DIR

The tokens that name languages and tasks come on top. Languages of which there are fewer captions count more often."""
import argparse
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from data import Multi30k, Photos
from languages import MASK, SPECIALS, clean

VOCAB = 8192
TIMES = {"en": 1, "de": 1, "fr": 4, "cs": 4}


def sentences(data_dir):
    """(language, caption) of all that is trained on."""
    photos = Photos(data_dir)
    for i in photos.train:
        yield from ((code, caption) for code, captions in photos.said(i).items() for caption in captions)
    for row in Multi30k(data_dir, photos).train:
        yield from row["pair"].items()
        yield from ((code, caption) for code in ("en", "de") for caption in row[code])


def learn(data_dir):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIALS),
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    lines = (clean(text, code) for code, text in sentences(data_dir) for _ in range(TIMES[code]))
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken(s, lstrip=s == MASK, normalized=False, special=True) for s in SPECIALS])
    return tokenizer


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    given = options.parse_args()
    given.out_dir.mkdir(parents=True, exist_ok=True)
    path = given.out_dir / "tokenizer.json"
    if not path.exists():
        learn(given.data_dir).save(str(path))


if __name__ == "__main__":
    main()
