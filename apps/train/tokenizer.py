"""Learns the vocabulary: byte-level BPE of 4,096 tokens from the training captions, written as tokenizer.json.

    python tokenizer.py DATA_DIR OUT_DIR

The training captions count twice; captions of other photos (Multi30k, where present) widen the words it spells well."""
import argparse
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from data import Photos, extra_captions, normalise

VOCAB = 4096


def learn(data_dir):
    photos = Photos(data_dir)
    lines = [normalise(caption) for i in photos.train for caption in photos.captions[i]] * 2
    lines += [normalise(caption) for caption in extra_captions(data_dir)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
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
