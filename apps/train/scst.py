"""Self-critical sequence training (Rennie et al. 2017) of the trained model on CIDEr-D, in the languages with five captions a photo.

    python scst.py DATA_DIR OUT_DIR [--steps 600]

Each photo gets SAMPLES random captions; the baseline of one is the mean reward of the others (leave-one-out), which needs no
greedy pass:  loss = -mean over tokens of (r_k - mean_{j != k} r_j) log p(token).
The policy is p = softmax(logits / TEMPERATURE), when sampling and in the loss: its samples are closer to what beam search says.
Cross-entropy goes on beside it on captions in other languages and on all but captions, or the model would forget the rest. The stem
rests.
Reads ema.pt and what train.py reads; writes scst.pt: the averaged weights that did best on a fixed quarter of `val`;
scst-state.pt to resume; scst-val.*.jsonl and a line of runs.jsonl."""
import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from cider import cider_of, spoken
from data import Labelled, Multi30k, Photos
from evaluate import evaluate, score, words_of
from languages import LANGUAGES
from lessons import Lessons, Writer, make_dice, pad
from model import END, Config, load_stem
from polyglot import Polyglot
from train import Run, add_common, log_run, move, pictures_of, reduced, save, share_done

PHOTOS_A_STEP, SAMPLES, LONGEST, TEMPERATURE = 20, 5, 24, 0.6
RATE, WARM_UP, LAST_RATE = 4e-5, 20, 0.05
EMA_DECAY = 0.99
CHECK_EVERY, TELL_EVERY = 200, 25
REHEARSE_EVERY, REHEARSAL, SENTENCES = 3, 0.45, 128
ENGLISH = 0.75  # of the steps; the others share the rest


class Rewards:
    """CIDEr-D in each of the languages that have enough captions of photos, by `workers` processes."""

    def __init__(self, photos, writer, workers=0):
        self.writer = writer
        self.cider = {code: cider_of(photos, code) for code in ("en", "de") if code in writer.languages}
        self.rows = {code: list(cider.references) for code, cider in self.cider.items()}

        self.pool = multiprocessing.get_context("fork").Pool(workers, lend, [self]) if workers else None

    def choose(self, dice, n=PHOTOS_A_STEP):
        """(language, n photos) of a step."""
        others = [code for code in self.rows if code != "en"]
        code = dice.choice(others) if others and dice.random() >= ENGLISH else "en"
        return code, dice.sample(self.rows[code], n)

    def of(self, code, row, ids):
        return self.cider[code].score(row, spoken(words_of(self.writer.tokenizer, ids)), ids[-1] == END)

    def of_all(self, jobs):
        """jobs: (code, row, ids)."""
        return self.pool.map(borrowed_reward, jobs) if self.pool else [self.of(*job) for job in jobs]


lent = None  # the Rewards of a worker's process


def lend(rewards):
    global lent
    lent, rewards.pool = rewards, None


def borrowed_reward(job):
    return lent.of(*job)


def step_loss(net, rewards, memory, rows, code):
    """(loss, mean reward) of new samples for these photos."""
    start = (END, rewards.writer.named[code])
    net.eval()
    with reduced(memory.device):  # one of its own: the weights that it rounds have no gradient
        sampled = net.sample(memory.detach(), SAMPLES, LONGEST, TEMPERATURE, start)
    reward = torch.tensor(rewards.of_all([(code, rows[i // SAMPLES], ids) for i, ids in enumerate(sampled)])).view(-1, SAMPLES)
    others = (reward.sum(1, keepdim=True) - reward) / (SAMPLES - 1)
    ids, real, target = pad([[*start, *ids] for ids in sampled])
    net.train()
    advantage = (reward - others).view(-1)[real // ids.shape[1]] * (real % ids.shape[1] > 0)
    with reduced(memory.device):
        logits = net(ids, memory, SAMPLES, real)
        loss = (F.cross_entropy(logits / TEMPERATURE, target, reduction="none") * advantage).mean()
    return loss, reward.mean().item()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--steps", type=int, default=600)
    options.add_argument("--rate", type=float, default=RATE, help="the highest learning rate")
    options.add_argument("--photos", type=int, default=PHOTOS_A_STEP, help="in a step; what is rehearsed grows with it")
    options.add_argument("--workers", type=int, default=0, help="processes that compute rewards")
    options.add_argument("--languages", type=lambda codes: codes.split(","), default=LANGUAGES, help="as for train.py")
    add_common(options)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    out, photos, pictures = given.out_dir, Photos(given.data_dir), Labelled(given.data_dir)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    writer = Writer(tokenizer, given.languages)
    lessons = Lessons(photos, Multi30k(given.data_dir, photos), pictures, writer, sentences=SENTENCES,
                      size=max(1, given.photos // PHOTOS_A_STEP))
    rewards = Rewards(photos, writer, given.workers)
    watched = photos.val[250:500]
    net = Polyglot(Config(vocab=tokenizer.get_vocab_size(), dropout=0.0), load_stem())
    net.load_state_dict(torch.load(out / "ema.pt", map_location="cpu"))
    move(net, given.device)
    maps = pictures_of(given, net, photos, pictures)
    net.stem_end.requires_grad_(False)
    learning = [p for name, p in net.named_parameters() if p.requires_grad and not name.startswith("word_")]
    run = Run(net, torch.optim.Adam(learning, lr=given.rate, betas=(0.9, 0.99)), out / "scst-state.pt")
    began, seen = time.time(), {code: [] for code in rewards.rows}
    share = share_done(run.step, given.steps, began, given.minutes)
    while share < 1:
        torch.manual_seed(1_000_000 * given.seed + run.step)
        dice = make_dice(given.seed, run.step)
        code, rows = rewards.choose(dice, given.photos)
        for group in run.optimiser.param_groups:
            group["lr"] = given.rate * min(1, (run.step + 1) / WARM_UP) * (1 - (1 - LAST_RATE) * share)
        views = maps.random_views(rows, dice)
        with reduced(given.device):
            memory = net.memory(maps.photos(rows, views))
        loss, reward = step_loss(net, rewards, memory, rows, code)
        if run.step % REHEARSE_EVERY == 0:
            with reduced(given.device):
                others = {**lessons.unrewarded(net, memory, rows, views, dice, rewards.rows),
                          **lessons.rehearsals(net, maps, memory, rows, dice)}
            loss = loss + REHEARSAL * lessons.total(others)
        run.apply(loss, learning, EMA_DECAY)
        seen[code].append(reward)
        if run.step % TELL_EVERY == 0:
            means = ", ".join(f"{code} {np.mean(values):.3f}" for code, values in seen.items() if values)
            print(f"step {run.step} rewards {means}; {time.time() - began:.0f} s", flush=True)
            seen = {code: [] for code in seen}
        share = share_done(run.step, given.steps, began, given.minutes)
        if run.step % CHECK_EVERY == 0 or share >= 1:
            raw = {name: value.clone() for name, value in net.state_dict().items()}
            net.load_state_dict(run.average.state_of(net))
            scores = {code: score(net, writer, maps, photos, watched, out / "scst-watched.jsonl", code) for code in rewards.rows}
            print("watched", run.step, scores, flush=True)
            mean = np.mean([s["cider"] for s in scores.values()])
            if mean > run.best:
                run.best = mean
                save(net.state_dict(), out / "scst.pt")
            net.load_state_dict(raw)
            run.save()

    net.load_state_dict(torch.load(out / "scst.pt", map_location=given.device))
    scores = evaluate(net, writer, maps, photos, pictures, photos.val, out / "scst-val.jsonl")
    print("validation", scores, flush=True)
    log_run(out, run="scst", steps=run.step, rate=given.rate, photos=given.photos, pixels=given.pixels, seed=given.seed, **scores)


if __name__ == "__main__":
    main()
