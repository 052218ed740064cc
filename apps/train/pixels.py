"""Pictures themselves in place of the maps that features.py caches: for a GPU, where the trunk is run in every step and may learn.

All pictures stay in the device's memory, 250 kB each. A view of a photo is one of data.py's, and a cropped one is another part of the
photo each time, in a little other light."""
import math
import os
import random
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F

from data import CROPPED, MIRRORED, VIEWS
from model import IMAGE_SIZE, photo_bytes, pixels_of

LEAST_AREA, LEAST_RATIO = 0.65, 0.85  # of what is cropped: shares of the photo, and of its width to height against the photo's
LIGHT = 0.1  # the most that contrast and brightness change


def read_pictures(paths):
    """Bytes [n, 3, 288, 288] on the default device."""
    pictures = torch.empty(len(paths), 3, IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8, device="cpu")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for row, picture in enumerate(pool.map(photo_bytes, paths)):
            pictures[row] = picture
    return pictures.to(torch.get_default_device())


def uniform(n, low, high):
    return torch.rand(n) * (high - low) + low


def random_part(dice):
    """Left, top, right and bottom, as shares of the photo."""
    side, ratio = math.sqrt(dice.uniform(LEAST_AREA, 1)), math.exp(dice.uniform(math.log(LEAST_RATIO), -math.log(LEAST_RATIO)) / 2)
    width, height = min(1, side * ratio), min(1, side / ratio)
    left, top = dice.uniform(0, 1 - width), dice.uniform(0, 1 - height)
    return left, top, left + width, top + height


def parts(n):
    """The affine maps [n, 2, 3] of random parts of pictures."""
    dice = random.Random(torch.randint(2**31, (), device="cpu").item())
    edges = [random_part(dice) for _ in range(n)]
    return torch.tensor([[[right - left, 0, left + right - 1], [0, bottom - top, top + bottom - 1]]
                         for left, top, right, bottom in edges])


class Pixels:
    """As Maps: photos() and labelled() give the trunk's maps of pictures."""

    def __init__(self, trunk, photos, pictures):
        """photos, pictures: bytes [rows, 3, 288, 288], all of them."""
        self.trunk, self.all_photos, self.all_pictures = trunk, photos, pictures

    def random_views(self, rows, dice):
        return [dice.randrange(len(VIEWS)) for _ in rows]

    def photos(self, rows, views=None):
        return self.trunk(self.view(self.all_photos[rows], views or [0] * len(rows)))

    def labelled(self, rows):
        views = torch.randint(len(VIEWS), (len(rows),), device="cpu").tolist() if self.trunk.conv.weight.requires_grad else [0] * len(rows)
        return self.trunk(self.view(self.all_pictures[rows], views))

    @staticmethod
    def view(pictures, views):
        """Bytes [n, 3, 288, 288] -> numbers as the stem wants them."""
        pixels = pixels_of(pictures)
        cropped = [i for i, view in enumerate(views) if view & CROPPED]
        if cropped:
            shape = (len(cropped), *pixels.shape[1:])
            seen = F.grid_sample(pixels[cropped], F.affine_grid(parts(len(cropped)), shape, align_corners=False), "bicubic",
                                 "reflection", align_corners=False)
            contrast, light = uniform(len(cropped), 1 - LIGHT, 1 + LIGHT), uniform(len(cropped), -LIGHT, LIGHT)
            pixels[cropped] = (seen * contrast.view(-1, 1, 1, 1) + light.view(-1, 1, 1, 1)).clamp(-1, 1)
        mirrored = [i for i, view in enumerate(views) if view & MIRRORED]
        if mirrored:
            pixels[mirrored] = pixels[mirrored].flip(3)
        return pixels
