"""Photos: as pixels for the engines that leave reading them to Python, and as many different files as a run wants."""
from pathlib import Path

import numpy as np


class Pixels:
    """Photo file -> [1, 3, h, w] as the model wants it, read with Pillow as transformers does."""

    def __init__(self, model):
        if Path(model).suffix == ".gguf":
            self.processor = None
        else:
            from transformers import AutoImageProcessor

            self.processor = AutoImageProcessor.from_pretrained(model, backend="pil")

    def __call__(self, photo):
        from PIL import Image

        picture = Image.open(photo).convert("RGB")
        if self.processor:
            return self.processor(picture, return_tensors="np")["pixel_values"].astype(np.float32)
        squashed = np.asarray(picture.resize((256, 256), Image.BICUBIC), np.float32)
        return np.ascontiguousarray((squashed.transpose(2, 0, 1)[None] - 127) / 128)
