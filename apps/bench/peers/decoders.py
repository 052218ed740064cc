"""Decoders as graphs that export: one step for all beams, with keys and values as inputs and outputs.

    ids [beams, 1], position [1], 2 L past keys and values [beams, heads, time, d], 2 L of the image [1, heads, tokens, d]
    -> logits [beams, vocabulary], 2 L grown keys and values

The weights are those of the models; only the caches are laid out for an engine that has no Python. The beams of a photo stand
beside each other as queries of its keys, which are neither copied nor computed again."""
import torch
import torch.nn.functional as F
from torch import nn


def split_heads(x, heads):
    """[rows, time, heads d] -> [rows, heads, time, d]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend_self(q, k, v, past_k, past_v):
    """Each [beams, heads, time, d], q of one time; returns what was found [beams, 1, heads d] and the grown caches. In products
    and sums: OpenVINO 2026.4 fuses the usual form into a kernel that is wrong from 16 keys on."""
    k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    weight = ((q * k).sum(-1, keepdim=True) / q.shape[-1] ** 0.5).softmax(2)
    return (weight * v).sum(2).flatten(1).unsqueeze(1), k, v


def attend_image(q, k, v, heads):
    """q [beams, 1, heads d], k and v [1, heads, tokens, d]."""
    rows = split_heads(q.transpose(0, 1), heads)
    return F.scaled_dot_product_attention(rows, k, v).transpose(1, 2).flatten(2).transpose(0, 1)


class Decoder(nn.Module):
    def forward(self, ids, position, *caches):
        n = 2 * len(self.layers)
        past, image = caches[:n], caches[n:]
        x, grown = self.embed(ids, position), []
        for i, layer in enumerate(self.layers):
            x, k, v = self.layer(layer, x, past[2 * i : 2 * i + 2], image[2 * i : 2 * i + 2])
            grown += [k, v]
        return self.logits(x)[:, -1], *grown

    def image_keys(self, memory):
        """Image tokens [1, tokens, width] -> 2 L keys and values [1, heads, tokens, d]."""
        return tuple(split_heads(x, self.heads) for layer in self.layers for x in self.keys_of(layer, memory))


class BlipDecoder(Decoder):
    def __init__(self, model):
        super().__init__()
        bert = model.text_decoder.bert
        self.embeddings, self.layers, self.head = bert.embeddings, bert.encoder.layer, model.text_decoder.cls
        self.heads = model.config.text_config.num_attention_heads

    def embed(self, ids, position):
        e = self.embeddings
        return e.LayerNorm(e.word_embeddings(ids) + e.position_embeddings(position))

    def keys_of(self, layer, memory):
        return layer.crossattention.self.key(memory), layer.crossattention.self.value(memory)

    def layer(self, layer, x, past, image):
        own = layer.attention.self
        q, k, v = (split_heads(part(x), self.heads) for part in (own.query, own.key, own.value))
        found, k, v = attend_self(q, k, v, *past)
        x = layer.attention.output(found, x)
        x = layer.crossattention.output(attend_image(layer.crossattention.self.query(x), *image, self.heads), x)
        return layer.output(layer.intermediate(x), x), k, v

    def logits(self, x):
        return self.head(x)


class Gpt2Decoder(Decoder):
    def __init__(self, model):
        super().__init__()
        gpt = model.decoder.transformer
        self.words, self.positions, self.layers, self.norm = gpt.wte, gpt.wpe, gpt.h, gpt.ln_f
        self.head, self.heads = model.decoder.lm_head, model.config.decoder.n_head

    def embed(self, ids, position):
        return self.words(ids) + self.positions(position)

    def keys_of(self, layer, memory):
        return layer.crossattention.c_attn(memory).chunk(2, -1)

    def layer(self, layer, x, past, image):
        q, k, v = (split_heads(part, self.heads) for part in layer.attn.c_attn(layer.ln_1(x)).chunk(3, -1))
        found, k, v = attend_self(q, k, v, *past)
        x = x + layer.attn.c_proj(found)
        found = attend_image(layer.crossattention.q_attn(layer.ln_cross_attn(x)), *image, self.heads)
        x = x + layer.crossattention.c_proj(found)
        return x + layer.mlp(layer.ln_2(x)), k, v

    def logits(self, x):
        return self.head(self.norm(x))


class DefaultDecoder(Decoder):
    def __init__(self, model):
        super().__init__()
        self.net, self.layers, self.heads = model.net, model.net.blocks, model.net.config.heads

    def embed(self, ids, position):
        return self.net.tokens(ids) + self.net.positions(position)

    def keys_of(self, layer, memory):
        return layer.cross_kv(memory).chunk(2, -1)

    def layer(self, layer, x, past, image):
        q, k, v = (split_heads(part, self.heads) for part in layer.self_qkv(layer.ln_self(x)).chunk(3, -1))
        found, k, v = attend_self(q, k, v, *past)
        x = x + layer.self_out(found)
        x = x + layer.cross_out(attend_image(layer.cross_q(layer.ln_cross(x)), *image, self.heads))
        return x + layer.fc2(F.gelu(layer.fc1(layer.ln_mlp(x)), approximate="tanh")), k, v

    def logits(self, x):
        return self.net.logits(x)
