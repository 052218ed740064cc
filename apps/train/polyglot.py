"""The model of four languages: Net, and a bidirectional reader of source sentences beside the picture.

What is written starts END <|language|>; a source is <|language|> words END. The decoder cross-attends to the picture's tokens, to
what the reader makes of a source, or to both, one after the other, through the same keys and values. A picture and a language give a
caption, a source and a language a translation, with a picture or without. A source with gaps and <|fill|> give what is missing."""
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from model import END, Net

READER_LAYERS = 5


def padded(sequences):
    """Lists of ids -> ids [n, longest], END behind their ends, and which of them are real."""
    ids = np.full((len(sequences), max(map(len, sequences))), END)
    seen = np.zeros(ids.shape, bool)
    for i, sequence in enumerate(sequences):
        ids[i, : len(sequence)] = sequence
        seen[i, : len(sequence)] = True
    return ids, seen


class ReaderLayer(nn.Module):
    """Pre-norm, tanh GELU as in the decoder; every token sees every other one."""

    def __init__(self, c):
        super().__init__()
        d = c.width
        self.heads = c.heads
        self.ln_self, self.ln_mlp = nn.LayerNorm(d), nn.LayerNorm(d)
        self.self_qkv, self.self_out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, c.decoder_mlp), nn.Linear(c.decoder_mlp, d)
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x, pack, unpack, seen):
        qkv = unpack(self.self_qkv(self.ln_self(x)))
        n, time, d3 = qkv.shape
        q, k, v = qkv.view(n, time, 3, self.heads, d3 // 3 // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.drop(self.self_out(pack(F.scaled_dot_product_attention(q, k, v, seen).transpose(1, 2))))
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.ln_mlp(x)), approximate="tanh")))


class Polyglot(Net):
    def __init__(self, config, stem):
        super().__init__(config, stem)
        self.reader_positions = nn.Embedding(config.positions, config.width)
        nn.init.normal_(self.reader_positions.weight, std=0.02)
        self.reader = nn.ModuleList(ReaderLayer(config) for _ in range(READER_LAYERS))
        self.reader_norm = nn.LayerNorm(config.width)

    def read(self, sources):
        """Lists of ids -> (memory [n, longest, width], seen [n, longest]: which of its tokens are real)."""
        ids, seen = padded(sources)
        n, time = ids.shape
        ids, seen, real = torch.tensor(ids), torch.tensor(seen), torch.tensor(np.flatnonzero(seen))

        def pack(t):
            return t.reshape(n * time, -1).index_select(0, real)

        def unpack(rows):
            return rows.new_zeros(n * time, rows.shape[1]).index_copy(0, real, rows).view(n, time, -1)

        x = self.drop(self.tokens(ids.view(-1)[real]) + self.reader_positions(real % time))
        for layer in self.reader:
            x = layer(x, pack, unpack, seen[:, None, None])
        return unpack(self.reader_norm(x)), seen


def deepened(state):
    """The state of a model with fewer layers in its reader: more are laid on top, copies of the last one that add nothing at first."""
    last = max(int(name.split(".")[1]) for name in state if name.startswith("reader."))
    grown = dict(state)
    for name, value in state.items():
        if name.startswith(f"reader.{last}."):
            part = name.split(".", 2)[2]
            silent = part.startswith(("self_out", "fc2"))
            for layer in range(last + 1, READER_LAYERS):
                grown[f"reader.{layer}.{part}"] = torch.zeros_like(value) if silent else value.clone()
    return grown


def join(image, source):
    """Image tokens [n, tokens, width] or None and what read() returned or None -> one memory, and which of it is real."""
    if source is None:
        return image, None
    memory, seen = source
    if image is None:
        return memory, seen
    return torch.cat([image, memory], 1), torch.cat([seen.new_ones(image.shape[:2]), seen], 1)
