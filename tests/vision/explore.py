#!/usr/bin/env python3
"""Decode and resize a folder of photos here and in Pillow, and compare every pixel.

    explore.py VISION_PILLOW DIR [-n N] [--seed S]

VISION_PILLOW is the built test, build/tests/vision_pillow; DIR holds the photos, of which N are drawn. Each is resized to a random size
by a random filter; every third is turned, cut or stored anew (progressive, other subsampling, grey, CMYK, PNG, WebP) before. Needs
Pillow.
"""
import argparse
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps


def stored_anew(rng, path, folder):
    """The photo in another guise, as a file of `folder`."""
    image = Image.open(path).convert(rng.choice(["RGB", "RGB", "L"]))
    image = image.crop((0, 0, rng.randint(1, image.width), rng.randint(1, image.height)))
    kind = rng.choice(["jpg", "jpg", "cmyk", "png", "webp"])
    out = folder / f"{path.stem}.{'jpg' if kind == 'cmyk' else kind}"
    if kind in ("jpg", "cmyk"):
        exif = Image.Exif()
        exif[0x0112] = rng.randint(1, 8)
        image = image.convert("CMYK") if kind == "cmyk" else image
        image.save(out, quality=rng.randint(20, 100), subsampling=rng.choice([0, 1, 2]), progressive=rng.random() < 0.5,
                   restart_marker_blocks=rng.choice([0, 0, 3]), exif=exif)
    elif kind == "png":
        image.convert(rng.choice(["RGB", "L", "P", "RGBA", "1"])).save(out)
    else:
        image.convert("RGB").save(out, quality=rng.randint(20, 100), lossless=rng.random() < 0.3)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    every = sorted(p for p in options.photos.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    n_agreed = n_disagreed = 0
    with tempfile.TemporaryDirectory() as name:
        folder, asked = Path(name), []
        for i, path in enumerate(rng.sample(every, min(options.n, len(every)))):
            path = stored_anew(rng, path, folder) if i % 3 == 2 else path.resolve()
            asked.append((rng.choice([224, 256, 384, rng.randint(1, 700)]), rng.choice([224, 256, 384, rng.randint(1, 700)]),
                          rng.randrange(6), path))
        (folder / "list").write_text("".join(f"{w} {h} {f} {path}\n" for w, h, f, path in asked))
        done = subprocess.Popen([options.program.resolve(), folder / "list"], stdout=subprocess.PIPE)
        for width, height, filter_, path in asked:
            with Image.open(path) as image:
                wanted = ImageOps.exif_transpose(image).convert("RGB")
            resized = wanted.resize((width, height), filter_)
            size = done.stdout.readline().decode().split()
            if size != [str(wanted.width), str(wanted.height)]:
                print(f"{path.name}: {size}, not {wanted.size}")
                done.kill()
                n_disagreed += 1
                break
            decodes = done.stdout.read(wanted.width * wanted.height * 3) == wanted.tobytes()
            resizes = done.stdout.read(width * height * 3) == resized.tobytes()
            n_agreed += decodes and resizes
            n_disagreed += not (decodes and resizes)
            if not (decodes and resizes):
                with Image.open(path) as image:
                    print(f"{path.name} ({image.format} {image.mode} {image.size}): {'resizing to' if decodes else 'decoding, then'} "
                          f"{width} x {height} by filter {filter_} differs")
        done.wait()
    print(f"{n_agreed} agreed, {n_disagreed} disagreed")
    return 1 if n_disagreed or not n_agreed or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
