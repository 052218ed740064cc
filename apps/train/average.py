"""A mean of the weights of models that began alike: often better than each of them (model soups, Wortsman et al. 2022).

    python average.py OUT.pt IN.pt IN.pt [IN.pt...] [--shares 0.6,0.4] [--first-reader]"""
import argparse

import torch

from polyglot import deepened


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("out")
    options.add_argument("parts", nargs="+", metavar="IN.pt", help="what train.py or scst.py wrote")
    options.add_argument("--shares", type=lambda text: [float(share) for share in text.split(",")],
                         help="one a part, 1 in all; default: equal")
    options.add_argument("--first-reader", action="store_true", help="take the reader of source texts from the first part, as it is")
    given = options.parse_args()
    shares = given.shares or [1 / len(given.parts)] * len(given.parts)
    if len(shares) != len(given.parts) or abs(sum(shares) - 1) > 1e-6:
        options.error("--shares takes a number for each part, 1 in all")
    states = [deepened(torch.load(path, map_location="cpu")) for path in given.parts]
    mean = dict(states[0])
    for name, value in mean.items():
        if value.is_floating_point() and not (given.first_reader and name.startswith("reader")):
            mean[name] = sum(share * state[name].double() for share, state in zip(shares, states)).to(value.dtype)
    torch.save(mean, given.out)


if __name__ == "__main__":
    main()
