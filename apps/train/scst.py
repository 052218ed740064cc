"""Self-critical sequence training (Rennie et al. 2017) of the cross-entropy model on CIDEr-D.

    python scst.py DATA_DIR OUT_DIR [--steps 2000]

Each photo gets SAMPLES random captions; the baseline of one is the mean reward of the others (leave-one-out), which needs no
greedy pass:  loss = -mean over tokens of (r_k - mean_{j != k} r_j) log p(token).
The policy is p = softmax(logits / TEMPERATURE), when sampling and in the loss: its samples are closer to what beam search says.
Reads ema.pt and what train.py reads; writes scst.pt: the averaged weights that did best on a fixed quarter of `val`;
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
from data import Features, Photos, normalise
from evaluate import evaluate, words_of
from model import END, Config, Net
from train import pad

PHOTOS_A_STEP, SAMPLES, LONGEST, TEMPERATURE = 20, 5, 20, 0.6
RATE, WARM_UP, LAST_RATE = 4e-5, 50, 0.05
EMA_DECAY = 0.99
CHECK_EVERY = 200


def step_loss(net, tokenizer, cider, features, rows, mirror):
    """(loss, mean reward) of new samples for these photos."""
    seen = torch.from_numpy(features.batch(rows, mirror))
    net.eval()
    with torch.no_grad():
        sampled = net.sample(net.memory(seen), SAMPLES, LONGEST, TEMPERATURE)
    reward = torch.zeros(len(rows), SAMPLES)
    for n, ids in enumerate(sampled):
        words = words_of(tokenizer, [token for token in ids if token != END]).split()
        reward[n // SAMPLES, n % SAMPLES] = cider.score(rows[n // SAMPLES], words, ids[-1] == END)
    others = (reward.sum(1, keepdim=True) - reward) / (SAMPLES - 1)
    ids, real, target = pad([[END] + ids for ids in sampled])
    net.train()
    logits = net(ids, net.memory(seen), SAMPLES, real)
    advantage = (reward - others).view(-1)[real // ids.shape[1]]
    loss = (F.cross_entropy(logits / TEMPERATURE, target, reduction="none") * advantage).mean()
    return loss, reward.mean().item()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--steps", type=int, default=2000)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    torch.manual_seed(given.seed)
    out = given.out_dir
    photos, features = Photos(given.data_dir), Features(out)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    cider = CiderD({row: [normalise(c).split() for c in photos.captions[row]] for row in photos.train})
    watched = photos.val[250:500]
    net = Net(Config(vocab=tokenizer.get_vocab_size()))
    net.load_state_dict(torch.load(out / "ema.pt"))
    optimiser = torch.optim.Adam(
        [p for name, p in net.named_parameters() if not name.startswith("word_")], lr=RATE, betas=(0.9, 0.99)
    )
    ema = {name: p.detach().clone() for name, p in net.named_parameters()}
    step, best = 0, 0.0
    if (out / "scst-state.pt").exists():
        state = torch.load(out / "scst-state.pt")
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["opt"])
        ema, step, best = state["ema"], state["step"], state["best"]

    began, rewards = time.time(), []
    while step < given.steps:
        dice = random.Random(step + 1_000_000 * given.seed)
        rows = dice.sample(photos.train, PHOTOS_A_STEP)
        mirror = [dice.random() < 0.5 for _ in rows]
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * (1 - (1 - LAST_RATE) * step / given.steps)
        loss, reward = step_loss(net, tokenizer, cider, features, rows, mirror)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        rewards.append(reward)
        keep = min(EMA_DECAY, step / (step + 10))
        with torch.no_grad():
            for name, p in net.named_parameters():
                ema[name].lerp_(p, 1 - keep)
        if step % 25 == 0:
            print(f"step {step} reward {np.mean(rewards[-25:]):.3f} {time.time() - began:.0f} s", flush=True)
        if step % CHECK_EVERY == 0 or step == given.steps:
            raw = {name: p.detach().clone() for name, p in net.named_parameters()}
            net.load_state_dict(ema)
            scores = evaluate(net, tokenizer, features, photos, watched, out / "scst-watched.jsonl")
            print("watched", step, scores, flush=True)
            net.load_state_dict(raw)
            if scores["cider"] > best:
                best = scores["cider"]
                torch.save(ema, out / "scst.pt")
            state = {"net": raw, "opt": optimiser.state_dict(), "ema": ema, "step": step, "best": best}
            torch.save(state, out / "scst-state.part")
            (out / "scst-state.part").rename(out / "scst-state.pt")

    net.load_state_dict(torch.load(out / "scst.pt"))
    print("validation", evaluate(net, tokenizer, features, photos, photos.val, out / "scst-val.jsonl"), flush=True)


if __name__ == "__main__":
    main()
