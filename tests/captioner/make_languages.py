"""Makes the tiny model of four languages that the tests of translation, filling and languages use, and what torch makes of it.

    python make_languages.py OUT_DIR PHOTO...     (packages of apps/train/requirements.txt; a minute)

The stem is a random EfficientNet-Lite of five blocks for 64 px photos, the decoder has two layers of width 32. It learns the sentences
below by heart: to translate them, to fill gaps in them, and to say the n-th of the n-th photo."""
import json
import os
import random
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite_pytorch.utils import BlockDecoder, efficientnet_lite
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "apps/train"))
import export  # noqa: E402
import golden  # noqa: E402
import model  # noqa: E402
import polyglot  # noqa: E402
from gguf_file import write_gguf  # noqa: E402
from languages import FILL, LANGUAGES, MASK, SPECIALS, clean, language_token  # noqa: E402
from lessons import pad  # noqa: E402

SIZE, HEAD, CONCEPTS, VOCAB = 64, 32, 10, 420
LINES = {
    "en": ["a brown dog runs on the beach", "two young men are near a tree", "a man rides a bike", "a girl looks at the water"],
    "de": ["Ein brauner Hund läuft am Strand", "Zwei junge Männer stehen bei einem Baum", "Ein Mann fährt auf einem Fahrrad",
           "Ein Mädchen blickt auf das Wasser"],
    "fr": ["Un chien brun court sur la plage", "Deux jeunes hommes sont près d'un arbre", "Un homme roule à vélo",
           "Une fille regarde l'eau"],
    "cs": ["Hnědý pes běží po pláži", "Dva mladí muži stojí u stromu", "Muž jede na kole", "Dívka se dívá na vodu"],
}
STEPS, RATE = 800, 3e-3


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=["<|endoftext|>"], show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([clean(line, code) for code, lines in LINES.items() for line in lines] * 2, trainer)
    tokenizer.add_special_tokens([AddedToken(s, lstrip=s == MASK, normalized=False, special=True) for s in SPECIALS])
    return tokenizer


def make_stem():
    """Widths of 8 and 16: the multiplier turns 320 into 8, 640 into 16 and the head's 1280 into 32."""
    _, sizes = efficientnet_lite(width_coefficient=0.025, depth_coefficient=1.0, image_size=SIZE, num_classes=CONCEPTS)
    blocks = BlockDecoder.decode(["r1_k3_s11_e1_i320_o640", "r2_k3_s22_e2_i640_o320", "r1_k5_s22_e2_i320_o640",
                                  "r1_k3_s22_e2_i640_o320", "r1_k3_s22_e2_i320_o640"])
    stem = EfficientNet(blocks, sizes._replace(fix_head_stem=False)).eval()
    for module in stem.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
            torch.nn.init.normal_(module.bias, std=0.5)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return stem


@torch.no_grad()
def spread(stem, pixels):
    """Batch norms after another take the statistics of these photos: random weights would make all photos alike."""
    def measure(norm, arguments):
        norm.running_mean, norm.running_var = arguments[0].mean((0, 2, 3)), arguments[0].var((0, 2, 3))

    hooks = [m.register_forward_pre_hook(measure) for m in stem.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    stem.extract_features(pixels)
    for hook in hooks:
        hook.remove()


class Lessons:
    """One batch a step: every photo in every language, every line into another, every line with one word or two missing, half of
    those with its photo."""

    def __init__(self, tokenizer, photos):
        self.tokenizer, self.photos, self.dice = tokenizer, photos, random.Random(6)
        self.named = {code: tokenizer.token_to_id(language_token(code)) for code in LINES}

    def source(self, text, code):
        return [self.named[code]] + self.tokenizer.encode(text).ids + [model.END]

    def written(self, start, text):
        return [model.END, start] + self.tokenizer.encode(text).ids + [model.END]

    def with_gaps(self, line, code):
        words = line.split()
        at = sorted(self.dice.sample(range(len(words)), self.dice.choice((1, 2))))
        end = max(at[-1] + 1, self.dice.randint(3, len(words)) if len(words) > 3 else 0)  # not whole lines alone
        missing = [words[i] for i in at]
        for i in at:
            words[i] = MASK
        return self.source(" ".join(words[:end]), code), self.written(self.tokenizer.token_to_id(FILL), MASK.join(missing))

    def loss(self, net):
        sources, texts, seen = [], [], []
        for n, line in enumerate(LINES["en"]):
            for code in LINES:
                other = self.dice.choice([c for c in LINES if c != code])
                sources.append(self.source(LINES[code][n], code))
                texts.append(self.written(self.named[other], LINES[other][n]))
                seen.append(None)
                for photo in (n, None):
                    source, text = self.with_gaps(LINES[code][n], code)
                    sources.append(source)
                    texts.append(text)
                    seen.append(photo if photo is None or photo < len(self.photos) else None)
        said = [self.written(self.named[code], LINES[code][n]) for n in range(len(self.photos)) for code in LINES]
        image = net.image_tokens(self.photos)
        memory, real = net.read(sources)
        pictures = torch.stack([image[n] if n is not None else torch.zeros_like(image[0]) for n in seen])
        looked = torch.tensor([n is not None for n in seen])[:, None].expand(-1, image.shape[1])
        return (self.entropy(net, said, image, len(LINES)) +
                self.entropy(net, texts, torch.cat([pictures, memory], 1), 1, torch.cat([looked, real], 1)))

    @staticmethod
    def entropy(net, texts, memory, group, seen=None):
        ids, real, target = pad(texts)
        told = real % ids.shape[1] > 0
        return F.cross_entropy(net(ids, memory, group, real, seen)[told], target[told])


def main():
    folder, photos = Path(sys.argv[1]), sys.argv[2:]
    torch.manual_seed(6)
    model.IMAGE_SIZE = export.IMAGE_SIZE = export.STEM_TRAINED_AT = SIZE
    model.FEATURE_CHANNELS, model.N_PATCHES, model.TRUNK_BLOCKS = HEAD, (SIZE // 32) ** 2, 3
    model.N_CONCEPTS = export.N_CONCEPTS = CONCEPTS
    polyglot.READER_LAYERS = export.READER_LAYERS = 2
    tokenizer, stem = make_tokenizer(), make_stem()
    config = model.Config(vocab=tokenizer.get_vocab_size(), width=32, heads=4, positions=24, decoder_layers=2, decoder_mlp=48,
                          vit_mlp=32)
    net = polyglot.Polyglot(config, stem).eval()
    net.concepts.name(tokenizer, ["dog", "tree", "water", "bike", "girl", "man", "beach", "two", "pes", "chien"])
    stem.requires_grad_(False)
    pixels = torch.stack([model.photo_pixels(photo) for photo in photos])
    spread(stem, pixels)
    lessons = Lessons(tokenizer, net.stem_end(net.trunk(pixels)))
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=RATE)
    for step in range(STEPS):
        loss = lessons.loss(net)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
    print(f"loss {loss.item():.3f}")
    with torch.inference_mode():
        write(folder, photos, net, stem, tokenizer, config)


def write(folder, photos, net, stem, tokenizer, config):
    tensors = {name: export.stored(t) for name, t in {**export.stem_tensors(stem), **export.net_tensors(net)}.items()}
    described, preprocessor, generation = export.descriptions(config, stem, LANGUAGES)
    generation["max_new_tokens"] = 10
    strings = {"general.architecture": "looksay", "general.name": "languages", "looksay.config": json.dumps(described),
               "looksay.preprocessor": json.dumps(preprocessor), "looksay.generation": json.dumps(generation),
               "looksay.tokenizer": tokenizer.to_str()}
    write_gguf(folder / "languages.gguf", strings, tensors)
    strings, tensors = golden.read_gguf(folder / "languages.gguf")
    stem = golden.bare_stem(tensors, stem)
    oracle = golden.Oracle(golden.bare_polyglot(strings, tensors, stem), tokenizer, generation, LANGUAGES)
    cases = golden.golden_cases(oracle, photos, lambda photo: os.path.relpath(photo, folder))
    with open(folder / "languages.json", "w", encoding="utf-8") as out:
        out.write('{"cases": [\n' + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n")


if __name__ == "__main__":
    main()
