"""Cross-entropy training of the whole network behind the trunk, on captions and labelled pictures together.

    python tune.py DATA_DIR OUT_DIR [--epochs 2]

The end of the stem learns too, at a lower rate. A labelled picture's caption is "a LABEL": from these the model learns to name
what no caption of Flickr8k speaks of. Beside that the decoder practises to read concept tokens alone, without any picture.
Reads ema.pt and what train.py reads; writes tune-state.pt (to resume, one a quarter of
an epoch), tuned.pt (averaged weights) and tuned-val.jsonl."""
import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from data import Labelled, Maps, Photos, with_article
from evaluate import evaluate, share_named
from model import END, N_CONCEPT_TOKENS, Config, Net, load_stem
from train import PHOTOS_A_STEP, SMOOTHING, Average, Captions, make_optimiser, pad, save, set_rates, step_loss

LABELLED_A_STEP, PRACTISED_A_STEP, LABELLED_LOSS = 10, 80, 0.3
LEAST_SURE = 0.4  # practice: what the likely classes have together
PEAK_RATE, STEM_RATE, STEM_DECAY, WARM_UP = 3e-4, 5e-5, 0.01, 100
EMA_DECAY = 0.998


def label_loss(net, memory, names):
    ids, real, target = pad([[END] + name + [END] for name in names])
    return F.cross_entropy(net(ids, memory, 1, real), target, label_smoothing=SMOOTHING)


class Labels:
    """Cross-entropy of "a LABEL" for labelled pictures."""

    def __init__(self, pictures, tokenizer):
        self.ids = {row: tokenizer.encode(pictures.caption(row)).ids for row in pictures.train}

    def loss(self, net, memory, rows):
        return label_loss(net, memory, [self.ids[row] for row in rows])


class Practice:
    """Cross-entropy of "a NAME" where the memory is a class token and concept tokens, of which NAME is the likeliest."""

    def __init__(self, pictures, tokenizer):
        self.ids = [tokenizer.encode(with_article(name)).ids for name in pictures.concepts()]

    def loss(self, net, n):
        classes = torch.randint(len(self.ids), (n, N_CONCEPT_TOKENS))
        probabilities = torch.rand(n, N_CONCEPT_TOKENS)
        probabilities = (probabilities / probabilities.sum(1, keepdim=True)).sort(descending=True)[0]
        probabilities *= torch.empty(n, 1).uniform_(LEAST_SURE, 1)
        memory = net.encode(probabilities, classes, torch.empty(n, 0, net.config.width))
        return label_loss(net, memory, [self.ids[c] for c in classes[:, 0].tolist()])


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--seed", type=int, default=2)
    given = options.parse_args()
    torch.manual_seed(given.seed)
    out = given.out_dir
    photos, pictures, maps = Photos(given.data_dir), Labelled(given.data_dir), Maps(out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    captions, labels, practice = Captions(photos, tokenizer), Labels(pictures, tokenizer), Practice(pictures, tokenizer)
    net = Net(Config(vocab=tokenizer.get_vocab_size()), load_stem())
    net.load_state_dict(torch.load(out / "ema.pt"))
    optimiser, average = make_optimiser(net, PEAK_RATE), Average(net)
    stem = {"params": list(net.stem_end.parameters()), "weight_decay": STEM_DECAY, "peak": STEM_RATE}
    optimiser.add_param_group(stem)
    step = 0
    if (out / "tune-state.pt").exists():
        state = torch.load(out / "tune-state.pt")
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["opt"])
        average.weights, step = state["ema"], state["step"]
    epoch_steps = len(photos.train) // PHOTOS_A_STEP
    steps = given.epochs * epoch_steps

    began, seen, named = time.time(), [], []
    while step < steps:
        net.train()
        order = photos.train[:]
        random.Random(step // epoch_steps + 1000 * given.seed).shuffle(order)
        at = step % epoch_steps * PHOTOS_A_STEP
        rows = order[at : at + PHOTOS_A_STEP]
        dice = random.Random(step + 1_000_000 * given.seed)
        mirror = [dice.random() < 0.5 for _ in rows]
        set_rates(optimiser, step, steps, WARM_UP)
        words, loss = step_loss(net, captions, maps, rows, mirror)
        rows = dice.sample(pictures.train, LABELLED_A_STEP)
        label_losses = labels.loss(net, net.memory(maps.labelled(rows)), rows), practice.loss(net, PRACTISED_A_STEP)
        optimiser.zero_grad()
        (loss + LABELLED_LOSS * sum(label_losses)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        average.update(net, min(EMA_DECAY, step / (step + 10)))
        seen.append(words.item())
        named.append([loss.item() for loss in label_losses])
        if step % 25 == 0:
            print(f"step {step} of {steps} captions {np.mean(seen):.3f} labels and practice "
                  f"{np.mean(named, 0).round(3)} {time.time() - began:.0f} s", flush=True)
            seen, named = [], []
        if step % (epoch_steps // 4) == 0:
            state = {"net": net.state_dict(), "opt": optimiser.state_dict(), "ema": average.weights, "step": step}
            save(state, out / "tune-state.pt")

    save(average.state_of(net), out / "tuned.pt")
    net.load_state_dict(average.state_of(net))
    print("validation", evaluate(net, tokenizer, maps, photos, photos.val, out / "tuned-val.jsonl"),
          "named", share_named(net, tokenizer, maps, pictures, pictures.aside), flush=True)


if __name__ == "__main__":
    main()
