"""Greedy and beam search to exactly n tokens, for engines that have only graphs. With the end token banned for all of them, as
`min_new_tokens = max_new_tokens` does in transformers (after normalising), no caption ends early and every engine does equal work."""
import numpy as np


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def search(step, caches, start, end, beams, n):
    """The best n tokens after those of `start`. step(ids [beams, 1], position, caches) -> logits [beams, vocabulary], caches."""
    ids, prefix = np.array([start]), len(start) - 1
    score = np.zeros((1, 1), np.float32)
    for time in range(prefix):
        _, caches = step(ids[:, time : time + 1], time, caches)
    for time in range(prefix, prefix + n):
        logits, caches = step(ids[:, -1:], time, caches)
        if beams == 1:
            logits[:, end] = -np.inf
            ids = np.concatenate([ids, logits.argmax(-1, keepdims=True)], 1)
            continue
        logp = log_softmax(logits)
        logp[:, end] = -np.inf
        total = (score + logp).ravel()
        best = np.argpartition(total, -beams)[-beams:]
        best = best[np.argsort(-total[best], kind="stable")]
        parent, word = np.divmod(best, logits.shape[1])
        score = total[best, None]
        ids = np.concatenate([ids[parent], word[:, None]], 1)
        caches = [cache[parent] for cache in caches]
    return ids[0, prefix + 1 :].tolist()
