"""CIDEr-D (Vedantam et al. 2015) as a reward: fast, over sequences of words.

For n = 1..4, g_n(s) = tf-idf of s's n-grams, document frequencies counted over the photos of the training split:
    CIDEr-D(c, S) = 10 / 4 sum_n mean_j  min(g_n(c), g_n(s_j)) . g_n(s_j) / (|g_n(c)| |g_n(s_j)|)  exp(-(l_c - l_j)^2 / (2 6^2))
The end of a caption is a word of its own, so that a caption that stops in the middle ("a man in a") loses n-grams."""
import math
import re
from collections import Counter

N, SIGMA = 4, 6.0
CAPTION_END = "</s>"


def spoken(text):
    """The words that are compared."""
    return re.findall(r"\w+(?:['-]\w+)*", text.lower())


def ngrams(words):
    return [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, N + 1)]


class CiderD:
    def __init__(self, references):
        """references: {photo: [list of words, ...]}; each photo is one document."""
        counted = {photo: [ngrams(words + [CAPTION_END]) for words in captions] for photo, captions in references.items()}
        self.documents = Counter()
        for captions in counted.values():
            self.documents.update({gram for grams in captions for order in grams for gram in order})
        self.log_photos = math.log(len(references))
        self.references = {photo: [self.weigh(grams) for grams in captions] for photo, captions in counted.items()}

    def weigh(self, grams):
        vectors = [
            {gram: count * (self.log_photos - math.log(max(1, self.documents[gram]))) for gram, count in order.items()}
            for order in grams
        ]
        norms = [math.sqrt(sum(w * w for w in vector.values())) for vector in vectors]
        return vectors, norms, sum(grams[0].values())

    def score(self, photo, words, ended):
        """Of the caption `words`; `ended` says that it was ended, not cut off."""
        vectors, norms, length = self.weigh(ngrams(words + [CAPTION_END] * ended))
        total = 0.0
        for other, other_norms, other_length in self.references[photo]:
            like = 0.0
            for n in range(N):
                if norms[n] and other_norms[n]:
                    theirs = other[n]
                    shared = sum(min(w, theirs[g]) * theirs[g] for g, w in vectors[n].items() if g in theirs)
                    like += shared / (norms[n] * other_norms[n])
            total += like / N * math.exp(-((length - other_length) ** 2) / (2 * SIGMA**2))
        return 10 * total / len(self.references[photo])


def cider_of(photos, code):
    """CIDEr-D against what people said of the training photos in a language."""
    said = {row: photos.said(row).get(code) for row in photos.train}
    return CiderD({row: [spoken(text) for text in texts] for row, texts in said.items() if texts})
