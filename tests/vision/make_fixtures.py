#!/usr/bin/env python3
"""Makes tests/vision/fixtures: images in every format and mode, and what Pillow and transformers make of them.

    pip install pillow numpy transformers
    pip download --no-deps scikit-image && unzip scikit_image-*.whl 'skimage/data/*'
    python3 tests/vision/make_fixtures.py skimage/data

Photos (scikit-image's data folder says where each is from): chelsea.png, a cat, by Stefan van der Walt, CC0; astronaut.png,
Eileen Collins, NASA, public domain; coffee.png, by Rachel Michetti, CC0; rocket.jpg, by SpaceX, CC0.

fixtures/expected.json holds, for the files beside it:
  decode      size, FNV-1a hash and mean of the pixels of Pillow's exif_transpose + convert("RGB")
  resize      hash of Image.resize
  preprocess  hash and some values of the PIL image processors of transformers, as [height, width, 3] float32
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent / "fixtures"


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def upright(path):
    return ImageOps.exif_transpose(Image.open(path)).convert("RGB")


class Fixtures:
    def __init__(self):
        self.decode = []

    def add(self, image, name, reference=None, **options):
        image.save(HERE / name, **options)
        self.expect(name, reference)

    def expect(self, name, reference=None):
        pixels = np.array(reference or upright(HERE / name))
        self.decode.append({
            "file": name, "width": pixels.shape[1], "height": pixels.shape[0], "fnv": fnv(pixels.tobytes()),
            "mean": [round(float(m), 3) for m in pixels.reshape(-1, 3).mean(axis=0)],
        })


def jpegs(f, cat, woman, coffee, rocket):
    f.add(cat.resize((320, 213)), "photo_420.jpg", quality=85, subsampling=2)
    f.add(woman.resize((200, 200)), "photo_444.jpg", quality=85, subsampling=0)
    f.add(rocket.resize((240, 160)), "photo_progressive.jpg", quality=80, progressive=True)
    f.add(coffee.resize((161, 107)), "photo_422_odd.jpg", quality=80, subsampling=1)
    f.add(cat.convert("L").resize((120, 80)), "grey.jpg", quality=80)
    f.add(coffee.resize((120, 80)).convert("CMYK"), "cmyk.jpg", quality=85)
    f.add(woman.resize((40, 40)), "small.jpg", quality=60)
    f.add(woman.resize((40, 40)), "small_progressive.jpg", quality=60, progressive=True)
    f.add(cat.resize((1, 37)), "one_wide.jpg")
    f.add(cat.resize((64, 48)), "wrong_extension.png", format="JPEG")
    for orientation in range(1, 9):
        turned = cat.resize((48, 32))
        # what must be stored so that the orientation's turn gives this picture
        back = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
                4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
                7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}[orientation]
        stored = turned.transpose(back) if back is not None else turned
        exif = Image.Exif()
        exif[0x0112] = orientation
        f.add(stored, f"orientation_{orientation}.jpg", quality=90, subsampling=0, exif=exif)
        if orientation == 6:
            f.add(stored, "orientation_6.png", exif=exif)
            f.add(stored, "orientation_6.webp", exif=exif, quality=80)


def pngs(f, cat, faded):
    small = cat.resize((96, 64))
    for mode in ("1", "L", "P", "RGB"):
        f.add(small.convert(mode), f"mode_{mode}.png")
    f.add(faded, "mode_RGBA.png")
    f.add(faded.convert("LA"), "mode_LA.png")
    for bits in (1, 2, 4):
        f.add(small.quantize(1 << bits), f"palette_{bits}bit.png", bits=bits)
    f.add(small.quantize(64), "palette_trns.png", transparency=3)
    f.add(small, "colour_trns.png", transparency=(1, 2, 3))
    f.add(Image.fromarray(np.array(small.convert("L")).astype(np.uint16) * 5), "grey_16bit.png")
    f.add(cat.resize((24, 16)), "small.png")


def write_png(name, rows, width, height, depth, colour, interlace):
    """A PNG of what Pillow cannot write: 16-bit colour, and Adam7 interlacing."""
    import struct
    import zlib

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    raw = b"".join(b"\0" + row for row in rows)
    (HERE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) +
                              chunk(b"IEND", b""))


def hand_made_pngs(f, cat):
    deep = np.array(cat.resize((40, 27))).astype(np.uint32) * 257 + 90
    deep = np.minimum(deep, 65535).astype(">u2")
    write_png("colour_16bit.png", [row.tobytes() for row in deep], 40, 27, 16, 2, 0)
    f.expect("colour_16bit.png")
    with_alpha = np.concatenate([deep, np.full((27, 40, 1), 30000, ">u2")], axis=2)
    write_png("alpha_16bit.png", [row.tobytes() for row in with_alpha], 40, 27, 16, 6, 0)
    f.expect("alpha_16bit.png")
    pixels = np.array(cat.resize((37, 29)))
    rows = []
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        rows += [row.tobytes() for row in pixels[y0::dy, x0::dx]]
    write_png("interlaced.png", rows, 37, 29, 8, 2, 1)
    f.expect("interlaced.png")


def others(f, cat, woman, faded):
    small = cat.resize((96, 64))
    f.add(cat.resize((200, 133)), "lossy.webp", quality=70)
    f.add(cat.resize((64, 43)), "lossless.webp", lossless=True)
    f.add(faded.resize((64, 43)), "alpha.webp", quality=70)
    f.add(woman.resize((24, 24)), "small.webp", quality=50)
    f.add(small.resize((48, 32)), "animated.webp", save_all=True, append_images=[woman.resize((48, 32))], quality=60)

    for mode in ("1", "L", "P", "RGB"):
        f.add(small.convert(mode).resize((60, 40)), f"mode_{mode}.bmp")
    f.add(faded.resize((30, 20)), "mode_RGBA.bmp")
    for mode in ("1", "L", "P"):
        f.add(small.convert(mode), f"mode_{mode}.gif")
    f.add(small.quantize(32), "transparent.gif", transparency=5)
    f.add(small.quantize(32), "interlaced.gif", interlace=1)
    f.add(small.quantize(32), "animated.gif", save_all=True, append_images=[woman.resize((96, 64)).quantize(32)])
    f.add(cat.resize((20, 14)).quantize(8), "small.gif")
    partial = bytearray((HERE / "small.gif").read_bytes())
    partial[6:10] = bytes([30, 0, 20, 0])  # a canvas of 30 x 20, so that the frame of 20 x 14 leaves some of it bare
    (HERE / "partial.gif").write_bytes(partial)
    f.expect("partial.gif")

    tiny = cat.resize((30, 20))
    f.add(tiny, "colour.ppm")
    f.add(tiny.convert("L"), "grey.pgm")
    f.add(tiny.convert("1"), "bitmap.pbm")
    f.add(Image.fromarray(np.array(tiny.convert("L")).astype(np.uint16) * 3), "grey_16bit.pgm")
    samples = np.array(tiny.resize((5, 4)).convert("RGB")) // 17
    (HERE / "text_15.ppm").write_text("P3\n# levels 0 to 15\n5 4\n15\n" + " ".join(map(str, samples.flatten())) + "\n")
    f.expect("text_15.ppm")
    (HERE / "text.pbm").write_text("P1\n4 2\n0 1 1 0\n1001\n")
    f.expect("text.pbm")
    high = (np.array(tiny).astype(np.uint32) * 150).astype(">u2")
    (HERE / "colour_16bit.ppm").write_bytes(b"P6 30 20 40000\n" + high.tobytes())
    f.expect("colour_16bit.ppm")

    for mode in ("L", "P", "RGB"):
        f.add(tiny.convert(mode), f"mode_{mode}.tga")
    f.add(faded.resize((30, 20)), "mode_RGBA_rle.tga", compression="tga_rle")
    f.add(tiny, "small.tga")


def resizes():
    sources = ("small.png", "mode_RGB.png", "photo_444.png", "portrait.png")
    sizes = ((224, 224), (64, 64), (33, 100), (1, 1), (96, 64), (96, 17), (17, 64), (200, 31), (31, 200), (250, 219), (7, 5))
    expected = []
    for source in sources:
        image = upright(HERE / source)
        for width, height in sizes:
            for resample in range(6):
                pixels = np.array(image.resize((width, height), resample))
                expected.append({"file": source, "width": width, "height": height, "filter": resample,
                                 "fnv": fnv(pixels.tobytes())})
    return expected


def preprocessings():
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    classes = {"ViT": ViTImageProcessorPil, "DeiT": DeiTImageProcessorPil, "Blip": BlipImageProcessorPil,
               "Bit": BitImageProcessorPil, "CLIP": CLIPImageProcessorPil}
    cases = [(name, {}) for name in classes] + [
        ("ViT", {"size": 48, "resample": 3}),
        ("ViT", {"size": {"height": 20, "width": 21}, "resample": 0}),
        ("ViT", {"do_rescale": False, "size": 24}),
        ("ViT", {"do_normalize": False, "rescale_factor": 0.0078125, "size": 24}),
        ("ViT", {"size": {"shortest_edge": 30}, "do_center_crop": True, "crop_size": 28}),
        ("DeiT", {"do_resize": False, "crop_size": 77}),
        ("Blip", {"size": [30, 40], "image_mean": [0.1, 0.2, 0.3], "image_std": [0.9, 0.8, 0.7]}),
        ("Blip", {"size": 32, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], "resample": 5}),
        ("CLIP", {"size": 50, "crop_size": 64}),
        ("CLIP", {"size": 31, "crop_size": {"height": 64, "width": 11}, "resample": 1}),
        ("CLIP", {"size": 31, "default_to_square": True, "do_center_crop": False}),
        ("Bit", {"size": {"shortest_edge": 70}, "crop_size": {"height": 56, "width": 98}, "resample": 4}),
        ("Bit", {"size": {"shortest_edge": 256, "longest_edge": 300}}),
        ("Bit", {"size": {"shortest_edge": 33, "longest_edge": 40}, "crop_size": 50}),
        ("Bit", {"size": {"shortest_edge": 60, "longest_edge": 64}, "crop_size": 51, "do_normalize": None, "image_std": None}),
    ]
    expected = []
    for name, config in cases:
        for source in ("mode_RGB.png", "portrait.png"):
            pixels = classes[name](**config)(upright(HERE / source), return_tensors="np")["pixel_values"][0]
            pixels = np.ascontiguousarray(np.asarray(pixels).transpose(1, 2, 0).astype(np.float32))
            flat = pixels.flatten()
            picks = random.Random(7).sample(range(flat.size), 24)
            expected.append({"file": source, "config": {"image_processor_type": name + "ImageProcessor", **config},
                             "width": pixels.shape[1], "height": pixels.shape[0], "fnv": fnv(pixels.tobytes()),
                             "samples": [[i, float(flat[i])] for i in picks]})
    return expected


def main():
    photos = Path(sys.argv[1])
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    cat, woman, coffee = (Image.open(photos / f"{n}.png").convert("RGB") for n in ("chelsea", "astronaut", "coffee"))
    rocket = Image.open(photos / "rocket.jpg").convert("RGB")
    for photo in (cat, woman, coffee, rocket):
        photo.info.clear()  # no colour profiles in the fixtures
    faded = cat.resize((96, 64)).convert("RGBA")
    faded.putalpha(woman.resize((96, 64)).convert("L"))

    f = Fixtures()
    jpegs(f, cat, woman, coffee, rocket)
    pngs(f, cat, faded)
    hand_made_pngs(f, cat)
    others(f, cat, woman, faded)
    f.add(woman.resize((101, 99)), "photo_444.png")
    f.add(woman.crop((100, 0, 340, 400)).resize((60, 100)), "portrait.png")
    expected = {"decode": f.decode, "resize": resizes(), "preprocess": preprocessings()}
    (HERE / "expected.json").write_text(json.dumps(expected, separators=(",", ":")).replace('},{"file"', '},\n{"file"') + "\n")


if __name__ == "__main__":
    main()
