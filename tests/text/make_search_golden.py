#!/usr/bin/env python3
"""Writes search.json: what transformers' `generate` says for models whose logits are a function of the place and the last two tokens.

usage: make_search_golden.py > fixtures/search.json

The function is integer arithmetic that test_search.c does too, so no weights need to be stored:
    logit(v) = scale * (mix(seed + 31337 n + 131 a + 7919 b + 104729 v) >> 16) / 65536
after n tokens, a and b the last two (a = 0 before them); the logits of end tokens are raised by `end_bonus`, which decides how long captions get."""
import json
import random
import sys

import numpy as np
import torch
from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

VOCAB, START, PAD = 23, 1, 0
N_CASES = 240


def mix(h):
    """The finaliser of MurmurHash3 on uint32."""
    h = h.astype(np.uint32)
    with np.errstate(over="ignore"):
        h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def logits_after(case, history):
    a, b = history[-2] if len(history) > 1 else 0, history[-1]
    v = np.arange(VOCAB, dtype=np.uint64)
    h = mix((case["seed"] + 31337 * len(history) + 131 * a + 7919 * b + 104729 * v) & 0xFFFFFFFF)
    logits = (np.float32(case["scale"]) * ((h >> 16).astype(np.float32) / np.float32(65536))).astype(np.float32)
    logits[case["end_tokens"]] += np.float32(case["end_bonus"])
    return torch.from_numpy(logits)


class Table(PreTrainedModel, GenerationMixin):
    config_class = PretrainedConfig
    main_input_name = "input_ids"

    def __init__(self, case):
        super().__init__(PretrainedConfig(vocab_size=VOCAB, is_encoder_decoder=False))
        self.case = case
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, **_):
        rows = input_ids.tolist()
        logits = torch.stack([logits_after(self.case, row) for row in rows])
        return CausalLMOutput(logits=logits[:, None])

    def prepare_inputs_for_generation(self, input_ids, **_):
        return {"input_ids": input_ids}


def make_case(dice):
    ends = dice.choice([[2], [2], [2, 5], [2, 5, 9]])
    beams = dice.choice([1, 1, 2, 3, 3, 4, 5])
    longest = dice.choice([1, 2, 5, 8, 12, 20])
    case = {
        "seed": dice.randrange(1 << 31), "scale": dice.choice([1.0, 3.0, 6.0]), "end_bonus": dice.choice([-2.0, 0.0, 1.0, 2.0]),
        "end_tokens": ends, "prompt": [dice.randrange(10, VOCAB) for _ in range(dice.choice([0, 0, 0, 1, 3]))],
        "beams": beams, "max_tokens": longest,
        "n_best": dice.randint(1, beams), "length_penalty": dice.choice([1.0, 1.0, 0.0, -1.0, 0.5, 2.0]),
        "early_stopping": dice.choice([0, 0, 1, 2]), "min_tokens": dice.choice([0, 0, 0, 3, 6]),
        "no_repeat_ngram": dice.choice([0, 0, 0, 1, 2, 3]), "repetition_penalty": dice.choice([1.0, 1.0, 1.0, 1.3, 0.8]),
        "banned": dice.choice([[], [], [[7]], [[7], [8, 11]], [[3, 4], [12], [13, 14, 15]]]),
        "suppressed": dice.choice([[], [], [6], [16, 17]]),
        "forced_first": dice.choice([-1, -1, -1, 18]), "forced_last": dice.choice([-1, -1, -1, 2]),
    }
    case["min_tokens"] = min(case["min_tokens"], longest)
    case["max_length"] = len(case["prompt"]) + dice.choice([2, 5, 9, 14]) if dice.random() < 0.25 else 0  # in place of max_tokens
    case["min_length"] = dice.choice([2, 4, 7, 12]) if case["min_tokens"] == 0 and dice.random() < 0.3 else 0
    case["begin_suppressed"] = dice.sample(range(VOCAB), dice.randint(1, 8)) if dice.random() < 0.25 else []
    if case["prompt"]:
        case["forced_first"] = -1  # transformers forces it after a lone start token only
    return case


def golden(case):
    ids = torch.tensor([[START] + case["prompt"]])
    settings = GenerationConfig(
        num_beams=case["beams"], max_new_tokens=None if case["max_length"] else case["max_tokens"],
        max_length=case["max_length"] or None, min_length=case["min_length"] or None,
        begin_suppress_tokens=case["begin_suppressed"] or None, num_return_sequences=case["n_best"], do_sample=False,
        eos_token_id=case["end_tokens"], pad_token_id=PAD, bos_token_id=START, use_cache=False,
        no_repeat_ngram_size=case["no_repeat_ngram"] or None, bad_words_ids=case["banned"] or None,
        suppress_tokens=case["suppressed"] or None,
        repetition_penalty=case["repetition_penalty"] if case["repetition_penalty"] != 1.0 else None,
        min_new_tokens=case["min_tokens"] or None, forced_eos_token_id=case["forced_last"] if case["forced_last"] >= 0 else None,
        forced_bos_token_id=case["forced_first"] if case["forced_first"] >= 0 else None,
        length_penalty=case["length_penalty"] if case["beams"] > 1 else None,
        early_stopping={0: False, 1: True, 2: "never"}[case["early_stopping"]] if case["beams"] > 1 else None,
        return_dict_in_generate=True, output_scores=True,
    )
    said = Table(case).generate(input_ids=ids, generation_config=settings)
    hypotheses = []
    for i, row in enumerate(said.sequences.tolist()):
        tokens, history, logprobs = [], row[: ids.shape[1]], []
        for token in row[ids.shape[1] :]:
            logprobs.append(round(torch.log_softmax(logits_after(case, history), -1)[token].item(), 5))
            tokens.append(token)
            history.append(token)
            if token in case["end_tokens"]:
                break
        score = said.sequences_scores[i].item() if case["beams"] > 1 else None
        hypotheses.append({"tokens": tokens, "logprobs": logprobs, "score": None if score is None else round(score, 5)})
    return hypotheses


def main():
    dice = random.Random(11)
    lines = []
    while len(lines) < N_CASES:
        case = make_case(dice)
        hypotheses = golden(case)
        if any(h["score"] is not None and not np.isfinite(h["score"]) or h["score"] == -1e9 for h in hypotheses):
            continue
        lines.append(json.dumps({**case, "hypotheses": hypotheses}, separators=(",", ":")))
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
