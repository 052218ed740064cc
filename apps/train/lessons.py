"""What the model practises in one step: captions in several languages, translation, gaps and labels.

A lesson is a list of texts for the decoder, each starting END <|task|>, and a memory that they attend to; its loss is the mean
cross-entropy over the tokens after the task."""
import random
import re
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F

from data import MIRRORED
from languages import FILL, LANGUAGES, MASK, clean, language_token
from model import END, N_CONCEPT_TOKENS, N_REGION_WORDS
from polyglot import join, padded

SMOOTHING, REGION_LOSS = 0.1, 0.3 / 20
ENGLISH_A_PHOTO, FOREIGN_A_PHOTO, TAUGHT = 3, 4, 2
LONGEST = 44  # tokens of a text; longer ones are left out
FROM_ENGLISH, INTO_GERMAN, INTO_ENGLISH = 0.6, 10, 4  # of the translations; from English and from others, as often as into another language
N_COMMONEST = 20  # words too common to say anything about a place in the photo
N_FUNCTION_WORDS = 60  # of a language: too common to be worth a gap
ENGLISH_LABELS = 0.5
ALIKE = 32  # sentences without a photo that a CPU practises side by side
LEAST_SURE = 0.4  # practice: what the likely classes have together
SIDED = re.compile(r"\b(left|right|links|rechts|linken?|rechten?|gauche|droite|vlevo|vpravo|lev\w+|prav\w+)\b", re.IGNORECASE)


def pad(sequences):
    """Lists that start with END -> inputs [n, time], and the numbers and targets of the real tokens in [n * time]."""
    ids, seen = padded(sequences)
    real = np.flatnonzero(seen[:, 1:])
    return tuple(torch.tensor(part) for part in (ids[:, :-1], real, ids[:, 1:].reshape(-1)[real]))


class Keeper:
    """A model whose captions are to be kept: what it would say next is the target (distillation, Hinton et al. 2015). The end of its
    stem is that of the model that learns, and rests."""

    def __init__(self, net):
        self.net = net

    @torch.no_grad()
    def speak(self, features):
        """Of the photos with these features: (ids, group, real) -> probabilities [real tokens, vocab]."""
        memory = self.net.image_tokens(features)

        @torch.no_grad()
        def probabilities(ids, group, real):
            return self.net(ids, memory, group, real).softmax(-1)

        return probabilities


def entropy(net, texts, memory, group=1, seen=None, weight=None, kept=None):
    """Mean cross-entropy of what follows the task token, with the text or with probabilities that kept() makes; `weight`, one a text,
    or None."""
    ids, real, target = pad(texts)
    logits = net(ids, memory, group, real, seen)
    each = (real % ids.shape[1] > 0).float()
    if weight is not None:
        each = each * torch.tensor(weight)[real // ids.shape[1]]
    if kept:
        loss = F.cross_entropy(logits, kept(ids, group, real), reduction="none")
    else:
        loss = F.cross_entropy(logits, target, reduction="none", label_smoothing=SMOOTHING)
    return (loss * each).sum() / each.sum()


class Writer:
    """Sentences of these languages, English first, to lists of ids."""

    def __init__(self, tokenizer, languages=LANGUAGES):
        self.tokenizer, self.languages = tokenizer, tuple(languages)
        self.named = {code: tokenizer.token_to_id(language_token(code)) for code in languages}
        self.fill = tokenizer.token_to_id(FILL)
        self.known = {}  # texts come again and again

    def ids(self, text, language):
        if (text, language) not in self.known:
            self.known[text, language] = self.tokenizer.encode(clean(text, language)).ids
        return self.known[text, language]

    def text(self, task, ids):
        return [END, task, *ids, END]

    def source(self, ids, language):
        return [self.named[language], *ids, END]

    def translation(self, pair, source, target):
        """(source, text to write) of a sentence in several languages, {code: text}."""
        return (self.source(self.ids(pair[source], source)[:LONGEST], source),
                self.text(self.named[target], self.ids(pair[target], target)[:LONGEST]))


def direction(languages, dice):
    """(source, target): mostly from English into German, or from another language into English."""
    source = "en" if dice.random() < FROM_ENGLISH else dice.choice(languages[1:])
    targets = [code for code in languages if code != source]
    favoured = ("de", INTO_GERMAN) if source == "en" else ("en", INTO_ENGLISH)
    return source, dice.choices(targets, [favoured[1] if code == favoured[0] else 1 for code in targets])[0]


class Gaps:
    """Sentences with one or two content words missing."""

    def __init__(self, writer, sentences):
        """sentences: (language, text) pairs, which tell the common words of a language."""
        self.writer, counts = writer, {code: Counter() for code in writer.languages}
        for code, text in sentences:
            counts[code].update(clean(text, code).lower().split())
        self.common = {code: {word for word, _ in c.most_common(N_FUNCTION_WORDS)} for code, c in counts.items()}

    def content(self, words, language):
        return [i for i, word in enumerate(words) if word.isalpha() and word.lower() not in self.common[language]]

    def make(self, text, language, dice):
        """(source, text to write), or None for a sentence without content words."""
        words = clean(text, language).split()
        content = self.content(words, language)
        if not content:
            return None
        at = sorted(dice.sample(content, min(len(content), dice.choice((1, 1, 2)))))
        missing = MASK.join(words[i] for i in at)
        source = " ".join(MASK if i in at else word for i, word in enumerate(words))
        encode = self.writer.tokenizer.encode
        return (self.writer.source(encode(source).ids[:LONGEST], language),
                self.writer.text(self.writer.fill, encode(missing).ids[:LONGEST]))


class PhotoLessons:
    """Of training photos: what people say of them in each language, that with gaps, and its translation in sight of the photo."""

    def __init__(self, photos, multi30k, writer, gaps, taught):
        self.writer, self.gaps = writer, gaps
        self.said = {row: self.sentences(photos, row) for row in photos.train}
        self.taught = {row: {code: self.sentence(code, texts[row]) for code, texts in taught.items() if row in texts}
                       for row in photos.train}
        self.pair_of = multi30k.pair_of
        used = Counter(token for said in self.said.values() for _, _, ids in said["en"] for token in set(ids))
        common = [token for token, _ in used.most_common(N_COMMONEST + N_REGION_WORDS)][N_COMMONEST:]
        self.region_index = {token: i for i, token in enumerate(common)}

    def sentences(self, photos, row):
        """{language: [(language, text, ids)]}, without empty lists."""
        texts = photos.said(row)
        said = {code: [self.sentence(code, text) for text in texts.get(code, [])] for code in self.writer.languages}
        said = {code: [s for s in lines if 0 < len(s[2]) <= LONGEST] for code, lines in said.items()}
        return {code: lines for code, lines in said.items() if lines}

    def sentence(self, code, text):
        return code, text, self.writer.ids(text, code)

    def chosen(self, row, dice):
        """Captions of one photo, as many of any photo: English ones, of which TAUGHT are a teacher's where there is one; one of each
        other language, and more of those that a teacher speaks, or of any."""
        said, taught = self.said[row], dict(self.taught[row])
        english = [taught.pop("en")] * TAUGHT if "en" in taught else []
        english += dice.choices(said["en"], k=ENGLISH_A_PHOTO - len(english))
        others = [lines for code, lines in said.items() if code != "en"]
        foreign = [dice.choice(lines) for lines in others]
        more = list(taught.values()) or [s for lines in others for s in lines] or said["en"]
        return english + foreign + dice.choices(more, k=FOREIGN_A_PHOTO - len(foreign))

    def captions(self, net, memory, rows, views, dice, kept=None):
        chosen = [(i, sentence) for i, row in enumerate(rows) for sentence in self.chosen(row, dice)]
        return self.say(net, memory, chosen, views, ENGLISH_A_PHOTO + FOREIGN_A_PHOTO, kept)

    def captions_in(self, net, memory, rows, views, dice, codes):
        """One in each of these languages, where there is one."""
        chosen = [(i, dice.choice(self.said[row][code])) for i, row in enumerate(rows) for code in codes if code in self.said[row]]
        return self.say(net, memory.index_select(0, torch.tensor([i for i, _ in chosen])), chosen, views) if chosen else memory.sum() * 0

    def say(self, net, memory, chosen, views, group=1, kept=None):
        """chosen: (number of a photo, sentence); `group` sentences share a row of the memory."""
        texts = [self.writer.text(self.writer.named[code], ids) for _, (code, _, ids) in chosen]
        weight = [0.0 if views[i] & MIRRORED and SIDED.search(text) else 1.0 for i, (_, text, _) in chosen]
        return entropy(net, texts, memory, group, weight=weight, kept=kept)

    def regions(self, net, memory, rows):
        targets = np.zeros((len(rows), N_REGION_WORDS), np.float32)
        for i, row in enumerate(rows):
            for _, _, ids in self.said[row]["en"]:
                targets[i, [self.region_index[token] for token in ids if token in self.region_index]] = 1
        loss = F.binary_cross_entropy_with_logits(net.region_words(memory), torch.tensor(targets), reduction="none")
        return REGION_LOSS * loss.sum(1).mean()

    def fillings(self, net, memory, rows, n, dice):
        made = [(i, self.gaps.make(dice.choice(self.said[rows[i]]["en"])[1], "en", dice)) for i in (k % len(rows) for k in range(n))]
        return self.beside(net, memory, [(i, lesson) for i, lesson in made if lesson])

    def translations(self, net, memory, rows, dice):
        pairs = [(i, self.pair_of[row]) for i, row in enumerate(rows) if row in self.pair_of]
        return self.beside(net, memory, [(i, self.writer.translation(pair, *direction(self.writer.languages, dice)))
                                         for i, pair in pairs])

    @staticmethod
    def beside(net, memory, picked):
        """picked: (number of a photo, (source, text)); the memory of a text is the photo's and the source's."""
        if not picked:
            return memory.sum() * 0
        at, lessons = zip(*picked)
        joined, seen = join(memory.index_select(0, torch.tensor(at)), net.read([source for source, _ in lessons]))
        return entropy(net, [text for _, text in lessons], joined, seen=seen)


class TextLessons:
    """Of sentences without a photo: their translation, others with gaps, and what another person said of the same photo."""

    def __init__(self, multi30k, writer, gaps):
        self.rows, self.writer, self.gaps = multi30k.train, writer, gaps

    def translations(self, net, n, dice):
        return self.alone(net, [self.writer.translation(row["pair"], *direction(self.writer.languages, dice))
                                for row in dice.sample(self.rows, n)])

    def paraphrases(self, net, n, dice):
        """Five times as many English captions as there are of photos that can be seen."""
        pairs = [dice.sample(row["en"], 2) for row in dice.sample(self.rows, n)]
        ids = [[self.writer.ids(text, "en")[:LONGEST] for text in pair] for pair in pairs]
        return self.alone(net, [(self.writer.source(one, "en"), self.writer.text(self.writer.named["en"], other)) for one, other in ids])

    def fillings(self, net, n, dice):
        made = [self.gaps.make(dice.choice(row["en"]), "en", dice) for row in dice.sample(self.rows, n)]
        return self.alone(net, [lesson for lesson in made if lesson])

    @staticmethod
    def alone(net, lessons):
        """Sentences that are about as long go together: padding costs a CPU time, and a GPU less than a second pass."""
        lessons = sorted(lessons, key=lambda lesson: len(lesson[0]))
        together = len(lessons) if net.tokens.weight.is_cuda else ALIKE
        loss = written = 0
        for at in range(0, len(lessons), together):
            sources, texts = zip(*lessons[at : at + together])
            memory, seen = net.read(sources)
            n = sum(len(text) - 2 for text in texts)
            loss, written = loss + n * entropy(net, texts, memory, seen=seen), written + n
        return loss / written


class LabelLessons:
    """"a LABEL" of labelled pictures; and of concept tokens alone, without any picture, the likeliest one's name."""

    def __init__(self, pictures, writer):
        self.pictures, self.writer, self.concepts = pictures, writer, pictures.concepts()

    def text(self, noun, dice):
        """In English, or as often in one of the other languages."""
        code = "en" if dice.random() < ENGLISH_LABELS else dice.choice(self.writer.languages[1:])
        return self.writer.text(self.writer.named[code], self.writer.ids(self.pictures.caption(noun, code), code))

    def labels(self, net, memory, rows, dice):
        return entropy(net, [self.text(self.pictures.nouns[row], dice) for row in rows], memory)

    def practice(self, net, n, dice):
        classes = torch.randint(len(self.concepts), (n, N_CONCEPT_TOKENS), device="cpu")
        probabilities = torch.rand(n, N_CONCEPT_TOKENS)
        probabilities = (probabilities / probabilities.sum(1, keepdim=True)).sort(descending=True)[0]
        probabilities *= torch.empty(n, 1).uniform_(LEAST_SURE, 1)
        memory = net.encode(probabilities, classes.to(probabilities.device), torch.empty(n, 0, net.config.width))
        return entropy(net, [self.text(self.concepts[c], dice) for c in classes[:, 0].tolist()], memory)


class Lessons:
    """All of them, in the sizes of one step."""

    PHOTO_GAPS, GAPS, LABELLED, PRACTISED = 40, 8, 8, 16
    WEIGHTS = {"captions": 1.0, "kept captions": 3.0, "regions": 1.0, "fillings": 2.0, "translations beside": 0.2,
               "translations": 1.0, "paraphrases": 0.5, "text fillings": 0.2, "labels": 0.3, "practice": 0.15}

    def __init__(self, photos, multi30k, pictures, writer, taught=None, sentences=64, size=1, paraphrased=0):
        """taught: {language: {photo: what a teacher says of it}}; sentences: translations without a photo; size: times as much of
        the other rehearsals; paraphrased: sentences that are said in other words."""
        spoken = [("en", text) for row in photos.train for text in photos.captions[row]]
        gaps = Gaps(writer, spoken)
        self.writer, self.gaps, self.pictures, self.sentences, self.size = writer, gaps, pictures, sentences, size
        self.paraphrased = paraphrased
        self.photo = PhotoLessons(photos, multi30k, writer, gaps, taught or {})
        self.text = TextLessons(multi30k, writer, gaps)
        self.label = LabelLessons(pictures, writer)

    def losses(self, net, maps, rows, dice, keeper=None):
        """{name: loss} of a step with these photos; keeper: of captions, or None to learn what people say."""
        views = maps.random_views(rows, dice)
        features = net.stem_end(maps.photos(rows, views))
        memory = net.image_tokens(features)
        kept = keeper and keeper.speak(features)
        return {
            "kept captions" if keeper else "captions": self.photo.captions(net, memory, rows, views, dice, kept),
            "regions": self.photo.regions(net, memory, rows),
            **self.rehearsals(net, maps, memory, rows, dice),
        }

    def drill(self, net, dice):
        """{name: loss} of a step of translations alone."""
        return {"translations": self.text.translations(net, self.sentences, dice)}

    def unrewarded(self, net, memory, rows, views, dice, rewarded):
        """{name: loss} of captions in languages that have no reward."""
        codes = [code for code in self.writer.languages if code not in rewarded]
        return {"captions": self.photo.captions_in(net, memory, rows, views, dice, codes)}

    def rehearsals(self, net, maps, memory, rows, dice):
        """All but captions; `memory` of the photos `rows`."""
        labelled = dice.sample(self.pictures.train, self.LABELLED * self.size)
        said_again = {"paraphrases": self.text.paraphrases(net, self.paraphrased, dice)} if self.paraphrased else {}
        return {
            **said_again,
            "fillings": self.photo.fillings(net, memory, rows, self.PHOTO_GAPS * self.size, dice),
            "translations beside": self.photo.translations(net, memory, rows, dice),
            "translations": self.text.translations(net, self.sentences, dice),
            "text fillings": self.text.fillings(net, self.GAPS * self.size, dice),
            "labels": self.label.labels(net, net.memory(maps.labelled(labelled)), labelled, dice),
            "practice": self.label.practice(net, self.PRACTISED * self.size, dice),
        }

    def total(self, losses):
        return sum(self.WEIGHTS[name] * loss for name, loss in losses.items())


def make_dice(seed, step):
    return random.Random(step + 1_000_000 * seed)
