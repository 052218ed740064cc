"""Cross-entropy training of the whole network behind the trunk, on captions and labelled pictures together.

    python tune.py DATA_DIR OUT_DIR [--epochs 2]

The end of the stem learns too, at a lower rate. A labelled picture's caption is "a LABEL": from these the model learns to name
what no caption of Flickr8k speaks of. Reads ema.pt and what train.py reads; writes tune-state.pt (to resume, one a quarter of
an epoch), tuned.pt (averaged weights) and tuned-val.jsonl."""
import argparse
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from data import Labelled, Maps, Photos
from evaluate import evaluate, share_named
from model import END, Config, Net, load_stem
from train import PHOTOS_A_STEP, SMOOTHING, Average, Captions, make_optimiser, pad, save, set_rates, step_loss

LABELLED_A_STEP, LABELLED_LOSS = 10, 0.3
PEAK_RATE, STEM_RATE, STEM_DECAY, WARM_UP = 3e-4, 5e-5, 0.01, 100
EMA_DECAY = 0.998


class Labels:
    """Cross-entropy of "a LABEL"."""

    def __init__(self, pictures, maps, tokenizer):
        self.pictures, self.maps = pictures, maps
        self.ids = {row: tokenizer.encode(pictures.caption(row)).ids for row in pictures.train}

    def loss(self, net, rows, memory=None):
        memory = net.memory(self.maps.labelled(rows)) if memory is None else memory
        ids, real, target = pad([[END] + self.ids[row] + [END] for row in rows])
        return F.cross_entropy(net(ids, memory, 1, real), target, label_smoothing=SMOOTHING)


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
    captions, labels = Captions(photos, tokenizer), Labels(pictures, maps, tokenizer)
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
        label_loss = labels.loss(net, dice.sample(pictures.train, LABELLED_A_STEP))
        optimiser.zero_grad()
        (loss + LABELLED_LOSS * label_loss).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        average.update(net, min(EMA_DECAY, step / (step + 10)))
        seen.append(words.item())
        named.append(label_loss.item())
        if step % 25 == 0:
            print(f"step {step} of {steps} captions {sum(seen) / len(seen):.3f} labels {sum(named) / len(named):.3f} "
                  f"{time.time() - began:.0f} s", flush=True)
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
