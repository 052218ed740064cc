"""The photos of the parity tests: drawn, not taken; structured, with noise, in the formats and shapes that trip decoders."""
import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def scene(width, height, seed):
    """A landscape of gradients, shapes and film grain, RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    sky, ground = rng.uniform(60, 255, 3), rng.uniform(0, 160, 3)
    horizon = height * rng.uniform(0.35, 0.7) + 0.06 * height * np.sin(x / width * rng.uniform(4, 14))
    pixels = np.where((y < horizon)[..., None], sky * (1 - 0.5 * (y / height))[..., None],
                      ground + 90 * (x / width)[..., None])
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(7):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.04, 0.2, 2) * (width, height)
        colour = tuple(int(v) for v in rng.uniform(0, 255, 3))
        if rng.random() < 0.5:
            draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=colour)
        else:
            draw.polygon([(cx - rx, cy + ry), (cx + rx, cy + ry * 0.6), (cx, cy - ry)], fill=colour)
    image = image.filter(ImageFilter.GaussianBlur(max(width, height) / 400))
    grain = rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def write(folder):
    folder.mkdir(exist_ok=True)
    scene(160, 90, 1).save(folder / "wide.jpg", quality=88)
    scene(61, 97, 2).save(folder / "tall.png")
    scene(80, 64, 3).convert("L").save(folder / "grey.png")
    scene(75, 101, 4).convert("L").save(folder / "grey.jpg", quality=80)
    alpha = scene(70, 50, 5).convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize((70, 50)))
    alpha.save(folder / "alpha.png")
    scene(90, 90, 6).quantize(48).save(folder / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter; the upright photo is 80 x 120
    scene(120, 80, 7).save(folder / "turned.jpg", quality=85, exif=exif)
    scene(640, 427, 8).save(folder / "large.jpg", quality=72)
    scene(13, 9, 9).save(folder / "tiny.png")
