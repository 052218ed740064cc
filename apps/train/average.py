"""The mean of the weights of models that began alike: often better than each of them (model soups, Wortsman et al. 2022).

    python average.py OUT.pt IN.pt IN.pt [IN.pt...]"""
import argparse

import torch


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("out")
    options.add_argument("parts", nargs="+", metavar="IN.pt", help="what train.py or scst.py wrote")
    given = options.parse_args()
    states = [torch.load(path, map_location="cpu") for path in given.parts]
    mean = dict(states[0])
    for name, value in mean.items():
        if value.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
    torch.save(mean, given.out)


if __name__ == "__main__":
    main()
