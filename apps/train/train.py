"""Cross-entropy training of the network: captions in several languages, translation, gaps and labels.

    python train.py DATA_DIR OUT_DIR [--epochs 12] [--start MODEL.gguf]

Reads tokenizer.json and the cached maps from OUT_DIR; writes state.pt (to resume, every SAVE_EVERY steps), ema.pt (the averaged
weights that scst.py goes on with), val.jsonl and runs.jsonl. AdamW, warm-up then cosine; the end of the stem learns at a lower rate.
--start begins with what a model of another vocabulary has learnt, not from nothing. --teacher gives captions of the training photos that
another model made, so that this one keeps what that one has learnt (sequence-level distillation, Kim and Rush 2016); of several captions
of a photo, the one nearest to what people said. --keep leaves captions as they are while translations and gaps go on: the target is
what another model would say next. --pixels trains on pictures themselves, the whole stem too: for a GPU, with more --photos a step."""
import argparse
import functools
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from cider import cider_of, spoken
from data import Labelled, Maps, Multi30k, Photos
from evaluate import evaluate
from languages import LANGUAGES
from lessons import Keeper, Lessons, Writer, make_dice
from model import Config, load_stem
from pixels import Pixels, read_pictures
from polyglot import Polyglot, deepened
from start import start_from

PHOTOS_A_STEP = 8  # that the sizes of other lessons are made for
PEAK_RATE, WARM_UP, WEIGHT_DECAY = 6e-4, 100, 0.1
STEM_RATE, STEM_DECAY = 4e-5, 0.01
EMA_DECAY, EMA_EVERY = 0.999, 4
SAVE_EVERY, TELL_EVERY = 200, 25


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


def make_optimiser(net, peak_rate=PEAK_RATE, stem_rate=STEM_RATE):
    """AdamW. Rates are set before each step, as shares of "peak"."""
    stem = [p for part in (net.trunk, net.stem_end) for p in part.parameters() if p.requires_grad]
    matrices, others = [], []
    for name, p in net.named_parameters():
        if not p.requires_grad or name.startswith(("trunk", "stem_end")):
            continue
        decays = p.dim() > 1 and "tokens" not in name and "positions" not in name
        (matrices if decays else others).append(p)
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY, "peak": peak_rate},
              {"params": others, "weight_decay": 0.0, "peak": peak_rate},
              {"params": stem, "weight_decay": STEM_DECAY, "peak": stem_rate}]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98), fused=True)


def set_rates(optimiser, step, share):
    """A linear warm-up, then half a cosine down to a hundredth; `share` of the run is done."""
    rate = min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * share) + 0.01)
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * rate


def save(state, path):
    """So that a run that is cut off leaves a whole file."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.rename(path)


def add_common(options):
    """What train.py and scst.py are both told."""
    options.add_argument("--device", default="cpu", help="torch's name of what to train on, such as cuda")
    options.add_argument("--minutes", type=float, default=math.inf, help="the most it may take: rates fall with the clock, too")
    options.add_argument("--pixels", action="store_true", help="train on pictures, the trunk too, not on cached maps")


def share_done(step, steps, began, minutes):
    """How much of a run of so many steps, or minutes, is done; 1 at its end."""
    return max(step / steps, (time.time() - began) / 60 / minutes)


def move(net, device):
    """The network, and every tensor that is made from now on."""
    net.to(device)
    torch.set_default_device(device)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it makes a plan for every length of texts, in a tenth of a second


def reduced(device):
    """In a GPU's products and convolutions, bf16."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=torch.device(device).type != "cpu")


def pictures_of(given, net, photos, pictures):
    """What gives the trunk's maps: cached ones, or the trunk itself."""
    if not given.pixels:
        return Maps(given.out_dir)
    return Pixels(net.trunk, *(read_pictures([of.path(row) for row in range(len(of.names))]) for of in (photos, pictures)))


def log_run(out, **figures):
    """One line a finished run."""
    with open(out / "runs.jsonl", "a", encoding="utf-8") as lines:
        lines.write(json.dumps(figures) + "\n")


class Run:
    """A training run that can be cut off and gone on with; `best` is the script's to keep."""

    def __init__(self, net, optimiser, path):
        self.net, self.optimiser, self.path = net, optimiser, path
        self.average, self.step, self.best = Average(net), 0, 0.0
        if path.exists():
            state = torch.load(path, map_location=torch.get_default_device())
            net.load_state_dict(state["net"])
            optimiser.load_state_dict(state["opt"])
            self.average.weights, self.step, self.best = state["ema"], state["step"], state["best"]

    def save(self):
        save({"net": self.net.state_dict(), "opt": self.optimiser.state_dict(), "ema": self.average.weights, "step": self.step,
              "best": self.best}, self.path)

    def apply(self, loss, learning, keep, keep_every=1):
        """One step down the gradient of `loss`."""
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        self.optimiser.step()
        self.step += 1
        if self.step % keep_every == 0:
            self.average.update(self.net, min(keep, (1 + self.step) / (10 + self.step)) ** keep_every)


@functools.lru_cache(1)
def shuffled(photos, seed):
    order = photos.train[:]
    random.Random(seed).shuffle(order)
    return order


def rows_of_step(photos, step, seed, n=PHOTOS_A_STEP):
    """The n photos of a step: every epoch in another order."""
    a_epoch = len(photos.train) // n
    at = step % a_epoch * n
    return shuffled(photos, step // a_epoch + 1000 * seed)[at : at + n]


def taught_captions(given, photos):
    """{language: {photo: caption}} of training photos from "CODE=CAPTIONS.jsonl", what `looksay --lang CODE -f jsonl`, with --n-best or without,
    says of files with their names."""
    row_of, taught = {photos.names[row]: row for row in photos.train}, {}
    for code, path in (teacher.split("=", 1) for teacher in given):
        cider = cider_of(photos, code)
        with open(path, encoding="utf-8") as lines:
            offered = {row_of[Path(line["image"]).name]: line.get("alternatives", [line]) for line in map(json.loads, lines)}
        taught[code] = {row: max((other["caption"] for other in others), key=lambda text, at=row: cider.score(at, spoken(text), True))
                        for row, others in offered.items() if row in cider.references}
    return taught


def load_keeper(path, net):
    """A model with the same stem as `net`, which rests."""
    kept = Polyglot(net.config, load_stem()).eval().requires_grad_(False)
    kept.load_state_dict(deepened(torch.load(path, map_location="cpu")))
    stems = ([*other.trunk.state_dict().values(), *other.stem_end.state_dict().values()] for other in (kept, net))
    if any(not torch.equal(theirs, ours) for theirs, ours in zip(*stems)):
        raise SystemExit(f"{path}: its stem is not the one that training starts with")
    return Keeper(kept.to(net.cls.device))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("data_dir")
    options.add_argument("out_dir", type=Path)
    options.add_argument("--epochs", type=float, default=12)
    options.add_argument("--start", metavar="MODEL.gguf", help="or what train.py, scst.py or average.py wrote")
    options.add_argument("--teacher", metavar="CODE=CAPTIONS.jsonl", action="append", default=[])
    options.add_argument("--languages", type=lambda codes: codes.split(","), default=LANGUAGES, help="en,de for two")
    options.add_argument("--sentences", type=int, default=64, help="translations without a photo in a step")
    options.add_argument("--paraphrases", type=int, default=0,
                         help="English sentences said in other words in a step: captions gain, translations into English lose")
    options.add_argument("--drill", type=int, default=0, help="steps of translation alone after each whole one")
    options.add_argument("--rate", type=float, default=PEAK_RATE, help="the highest learning rate behind the stem")
    options.add_argument("--stem-rate", type=float, default=STEM_RATE, help="that of the stem")
    options.add_argument("--photos", type=int, default=PHOTOS_A_STEP, help="in a step; other lessons grow with it")
    options.add_argument("--dropout", type=float, default=0.1)
    options.add_argument("--rest-stem", action="store_true", help="leave the stem as it is")
    options.add_argument("--keep", metavar="WEIGHTS.pt", help="learn captions from what this model would say; implies --rest-stem")
    add_common(options)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    torch.manual_seed(given.seed)
    out, photos, pictures = given.out_dir, Photos(given.data_dir), Labelled(given.data_dir)
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    taught = taught_captions(given.teacher, photos)
    lessons = Lessons(photos, Multi30k(given.data_dir, photos), pictures, Writer(tokenizer, given.languages), taught,
                      given.sentences, max(1, given.photos // PHOTOS_A_STEP), given.paraphrases)
    net = Polyglot(Config(vocab=tokenizer.get_vocab_size(), dropout=given.dropout), load_stem())
    net.concepts.name(tokenizer, pictures.concepts())
    if given.start and given.start.endswith(".pt"):
        net.load_state_dict(deepened(torch.load(given.start, map_location="cpu")))
    elif given.start:
        start_from(net, tokenizer, pictures.concepts(), given.start)
    net.stem_end.requires_grad_(not (given.rest_stem or given.keep))
    net.trunk.requires_grad_(given.pixels and not (given.rest_stem or given.keep))
    move(net, given.device)
    maps = pictures_of(given, net, photos, pictures)
    keeper = load_keeper(given.keep, net) if given.keep else None
    run = Run(net, make_optimiser(net, given.rate, given.stem_rate), out / "state.pt")
    steps, began, seen = int(given.epochs * (len(photos.train) // given.photos)), time.time(), {}
    while (share := share_done(run.step, steps, began, given.minutes)) < 1:
        net.train()
        torch.manual_seed(1_000_000 * given.seed + run.step)
        set_rates(run.optimiser, run.step, share)
        rows = rows_of_step(photos, run.step, given.seed, given.photos)
        dice = make_dice(given.seed, run.step)
        drill = run.step % (1 + given.drill) > 0
        with reduced(given.device):
            losses = lessons.drill(net, dice) if drill else lessons.losses(net, maps, rows, dice, keeper)
        run.apply(lessons.total(losses), net.parameters(), EMA_DECAY, EMA_EVERY)
        for name, loss in losses.items():
            seen.setdefault(name, []).append(loss.detach())
        if run.step % TELL_EVERY == 0:
            means = ", ".join(f"{name} {torch.stack(values).mean().item():.3f}" for name, values in seen.items())
            print(f"step {run.step} of {steps}: {means}; {time.time() - began:.0f} s", flush=True)
            seen = {}
        if run.step % SAVE_EVERY == 0:
            run.save()

    save(run.average.state_of(net), out / "ema.pt")
    net.load_state_dict(run.average.state_of(net))
    scores = evaluate(net, lessons.writer, maps, photos, pictures, photos.val, out / "val.jsonl")
    print("validation", scores, flush=True)
    log_run(out, run="train", steps=run.step, epochs=given.epochs, start=given.start, teacher=given.teacher, keep=given.keep, drill=given.drill,
            sentences=given.sentences, paraphrases=given.paraphrases, rate=given.rate, stem_rate=given.stem_rate, photos=given.photos, pixels=given.pixels,
            seed=given.seed, **scores)


if __name__ == "__main__":
    main()
