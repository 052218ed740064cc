"""Self-critical sequence training (Rennie et al. 2017) of the tuned model on CIDEr-D.

    python scst.py DATA_DIR OUT_DIR [--steps 600]

Each photo gets SAMPLES random captions; the baseline of one is the mean reward of the others (leave-one-out), which needs no
greedy pass:  loss = -mean over tokens of (r_k - mean_{j != k} r_j) log p(token).
The policy is p = softmax(logits / TEMPERATURE), when sampling and in the loss: its samples are closer to what beam search says.
Cross-entropy on some labelled pictures goes on beside it, or the model would forget them. The stem rests.
Reads tuned.pt and what tune.py reads; writes scst.pt: the averaged weights that did best on a fixed quarter of `val`;
scst-state.pt to resume; scst-val.jsonl."""
import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import nn

from cider import CiderD
from data import Labelled, Maps, Photos, normalise
from evaluate import evaluate, share_named, words_of
from model import END, Config, Net, load_stem
from train import Average, pad, save
from tune import Labels, Practice

PHOTOS_A_STEP, SAMPLES, LONGEST, TEMPERATURE = 20, 5, 20, 0.6
RATE, WARM_UP, LAST_RATE = 4e-5, 50, 0.05
EMA_DECAY = 0.99
CHECK_EVERY = 200
LABELLED_A_STEP, PRACTISED_A_STEP, LABELLED_LOSS = 8, 40, 0.05


def step_loss(net, tokenizer, cider, features, rows):
    """(loss, mean reward) of new samples for these photos, whose features the stem has made."""
    net.eval()
    with torch.no_grad():
        sampled = net.sample(net.image_tokens(features), SAMPLES, LONGEST, TEMPERATURE)
    reward = torch.zeros(len(rows), SAMPLES)
    for n, ids in enumerate(sampled):
        words = words_of(tokenizer, [token for token in ids if token != END]).split()
        reward[n // SAMPLES, n % SAMPLES] = cider.score(rows[n // SAMPLES], words, ids[-1] == END)
    others = (reward.sum(1, keepdim=True) - reward) / (SAMPLES - 1)
    ids, real, target = pad([[END] + ids for ids in sampled])
    net.train()
    logits = net(ids, net.image_tokens(features), SAMPLES, real)
    advantage = (reward - others).view(-1)[real // ids.shape[1]]
    loss = (F.cross_entropy(logits / TEMPERATURE, target, reduction="none") * advantage).mean()
    return loss, reward.mean().item()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    torch.manual_seed(given.seed)
    out = given.out_dir
    photos, pictures, maps = Photos(given.data_dir), Labelled(given.data_dir), Maps(out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    labels, practice = Labels(pictures, tokenizer), Practice(pictures, tokenizer)
    cider = CiderD({row: [normalise(c).split() for c in photos.captions[row]] for row in photos.train})
    watched = photos.val[250:500]
    net = Net(Config(vocab=tokenizer.get_vocab_size()), load_stem())
    net.load_state_dict(torch.load(out / "tuned.pt"))
    net.stem_end.requires_grad_(False)
    learning = [p for name, p in net.named_parameters() if p.requires_grad and not name.startswith("word_")]
    optimiser, average = torch.optim.Adam(learning, lr=RATE, betas=(0.9, 0.99)), Average(net)
    step, best = 0, 0.0
    if (out / "scst-state.pt").exists():
        state = torch.load(out / "scst-state.pt")
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["opt"])
        average.weights, step, best = state["ema"], state["step"], state["best"]

    began, rewards = time.time(), []
    while step < given.steps:
        dice = random.Random(step + 1_000_000 * given.seed)
        rows = dice.sample(photos.train, PHOTOS_A_STEP)
        mirror = [dice.random() < 0.5 for _ in rows]
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (1 - (1 - LAST_RATE) * step / given.steps)
        named = dice.sample(pictures.train, LABELLED_A_STEP)
        with torch.no_grad():
            features, label_features = net.stem_end(maps.photos(rows, mirror)), net.stem_end(maps.labelled(named))
        loss, reward = step_loss(net, tokenizer, cider, features, rows)
        named_loss = labels.loss(net, net.image_tokens(label_features), named) + practice.loss(net, PRACTISED_A_STEP)
        loss = loss + LABELLED_LOSS * named_loss
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimiser.step()
        step += 1
        rewards.append(reward)
        average.update(net, min(EMA_DECAY, step / (step + 10)))
        if step % 25 == 0:
            print(f"step {step} reward {np.mean(rewards[-25:]):.3f} {time.time() - began:.0f} s", flush=True)
        if step % CHECK_EVERY == 0 or step == given.steps:
            raw = {name: value.clone() for name, value in net.state_dict().items()}
            net.load_state_dict(average.state_of(net))
            scores = evaluate(net, tokenizer, maps, photos, watched, out / "scst-watched.jsonl")
            named = share_named(net, tokenizer, maps, pictures, pictures.aside[::5])
            print("watched", step, scores, "named", named, flush=True)
            if scores["cider"] > best:
                best = scores["cider"]
                save(net.state_dict(), out / "scst.pt")
            net.load_state_dict(raw)
            state = {"net": raw, "opt": optimiser.state_dict(), "ema": average.weights, "step": step, "best": best}
            save(state, out / "scst-state.pt")

    net.load_state_dict(torch.load(out / "scst.pt"))
    print("validation", evaluate(net, tokenizer, maps, photos, photos.val, out / "scst-val.jsonl"),
          "named", share_named(net, tokenizer, maps, pictures, pictures.aside), flush=True)


if __name__ == "__main__":
    main()
