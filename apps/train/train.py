"""Cross-entropy training of everything behind the stem, on captions.

    python train.py DATA_DIR OUT_DIR [--epochs 8]

Reads tokenizer.json and the cached maps from OUT_DIR; writes state.pt (to resume, one an epoch), ema.pt (the averaged
weights that tune.py goes on with) and val.jsonl. AdamW, warm-up then cosine, label smoothing 0.1, half of the photos seen in
a mirror (where a caption that says left or right does not count), and a side loss in which each image token names the words
it stands for."""
import argparse
import math
import random
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from data import CAPTIONS_PER_PHOTO, Labelled, Maps, Photos, normalise
from evaluate import evaluate
from model import END, N_REGION_WORDS, Config, Net, load_stem

PHOTOS_A_STEP, LONGEST = 12, 24
PEAK_RATE, WARM_UP, WEIGHT_DECAY, SMOOTHING = 8e-4, 300, 0.1, 0.1
REGION_LOSS = 0.3 / 20
EMA_DECAY, EMA_EVERY = 0.999, 4
N_COMMONEST = 20  # words too common to say anything about a place in the photo


def pad(sequences):
    """Lists that start with END -> inputs [n, time], and the numbers and targets of the real tokens in [n * time]."""
    time_steps = max(map(len, sequences)) - 1
    ids = torch.full((len(sequences), time_steps + 1), END)
    real = torch.zeros(len(sequences), time_steps, dtype=torch.bool)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        real[i, : len(sequence) - 1] = True
    real = real.view(-1).nonzero()[:, 0]
    return ids[:, :-1].contiguous(), real, ids[:, 1:].reshape(-1)[real]


class Captions:
    """Token ids of the training captions, whether they name a side, and which common words a photo's captions use."""

    def __init__(self, photos, tokenizer):
        self.ids, self.sided, used = {}, {}, Counter()
        for row in photos.train:
            self.ids[row] = [tokenizer.encode(normalise(c)).ids[:LONGEST] for c in photos.captions[row]]
            self.sided[row] = [bool(re.search(r"\b(left|right)\b", c.lower())) for c in photos.captions[row]]
            used.update(token for caption in self.ids[row] for token in set(caption))
        common = [token for token, _ in used.most_common(N_COMMONEST + N_REGION_WORDS)][N_COMMONEST:]
        self.region_index = {token: i for i, token in enumerate(common)}

    def region_targets(self, rows):
        targets = torch.zeros(len(rows), N_REGION_WORDS)
        for i, row in enumerate(rows):
            for caption in self.ids[row]:
                targets[i, [self.region_index[token] for token in caption if token in self.region_index]] = 1
        return targets


def step_loss(net, captions, maps, rows, mirror):
    memory = net.memory(maps.photos(rows, mirror))
    sequences = [[END] + ids + [END] for row in rows for ids in captions.ids[row]]
    weight = [0.0 if m and sided else 1.0 for row, m in zip(rows, mirror) for sided in captions.sided[row]]
    ids, real, target = pad(sequences)
    logits = net(ids, memory, CAPTIONS_PER_PHOTO, real)
    weight = torch.tensor(weight)[real // ids.shape[1]]
    loss = F.cross_entropy(logits, target, reduction="none", label_smoothing=SMOOTHING)
    loss = (loss * weight).sum() / weight.sum()
    regions = F.binary_cross_entropy_with_logits(
        net.region_words(memory), captions.region_targets(rows), reduction="none"
    )
    return loss, loss + REGION_LOSS * regions.sum(1).mean()


class Average:
    """The exponential moving average of the weights that are trained."""

    def __init__(self, net):
        self.weights = {name: p.detach().clone() for name, p in net.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, net, keep):
        for name, p in net.named_parameters():
            if name in self.weights:
                self.weights[name].lerp_(p, 1 - keep)

    def state_of(self, net):
        """net's state with the averaged weights in their places."""
        return {**net.state_dict(), **self.weights}


def make_optimiser(net, peak_rate):
    """AdamW on all but the stem. Rates are set before each step, as shares of "peak"."""
    matrices, others = [], []
    for name, p in net.named_parameters():
        if name.startswith("stem_end"):
            continue
        decays = p.dim() > 1 and "tokens" not in name and "positions" not in name
        (matrices if decays else others).append(p)
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY, "peak": peak_rate},
              {"params": others, "weight_decay": 0.0, "peak": peak_rate}]
    return torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98), fused=True)


def set_rates(optimiser, step, steps, warm_up):
    """A linear warm-up, then half a cosine down to a hundredth."""
    rate = min(1, (step + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * step / steps) + 0.01)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * rate


def save(state, path):
    """So that a run that is cut off leaves a whole file."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.rename(path)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    torch.manual_seed(given.seed)
    out = given.out_dir
    photos, maps = Photos(given.data_dir), Maps(out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    captions = Captions(photos, tokenizer)
    net = Net(Config(vocab=tokenizer.get_vocab_size()), load_stem())
    net.concepts.name(tokenizer, Labelled(given.data_dir).concepts())
    net.stem_end.requires_grad_(False)
    optimiser, average = make_optimiser(net, PEAK_RATE), Average(net)
    step = first = 0
    if (out / "state.pt").exists():
        state = torch.load(out / "state.pt")
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["opt"])
        average.weights, step, first = state["ema"], state["step"], state["epoch"] + 1
    steps = len(photos.train) // PHOTOS_A_STEP

    for epoch in range(first, given.epochs):
        net.train()
        dice = random.Random(epoch + 1000 * given.seed)
        order = photos.train[:]
        dice.shuffle(order)
        seen, began = 0.0, time.time()
        for n in range(steps):
            rows = order[n * PHOTOS_A_STEP : (n + 1) * PHOTOS_A_STEP]
            mirror = [dice.random() < 0.5 for _ in rows]
            set_rates(optimiser, step, given.epochs * steps, WARM_UP)
            words, loss = step_loss(net, captions, maps, rows, mirror)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            step += 1
            seen += words.item()
            if step % EMA_EVERY == 0:
                average.update(net, min(EMA_DECAY, (1 + step) / (10 + step)) ** EMA_EVERY)
            if n % 50 == 49:
                print(f"epoch {epoch} step {n + 1} of {steps} loss {seen / (n + 1):.3f} {time.time() - began:.0f} s", flush=True)
        state = {"net": net.state_dict(), "opt": optimiser.state_dict(), "ema": average.weights, "step": step, "epoch": epoch}
        save(state, out / "state.pt")

    save(average.state_of(net), out / "ema.pt")
    net.load_state_dict(average.state_of(net))
    print("validation", evaluate(net, tokenizer, maps, photos, photos.val, out / "val.jsonl"), flush=True)


if __name__ == "__main__":
    main()
