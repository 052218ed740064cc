"""Four languages: the form in which text is learnt, and the tokens that name languages and tasks.

English is lower case and words only, as its captions are. The others keep case and inner marks, begin with a capital and have no
closing mark. text/sentence.h says the same in C."""
import re

from data import normalise

FORMS = {"en": "words", "de": "plain", "fr": "plain", "cs": "plain"}
LANGUAGES = tuple(FORMS)
MASK, FILL = "[MASK]", "<|fill|>"
QUOTES, CLOSING = "\"'„“”«»", ".!?…"


def language_token(code):
    return f"<|{code}|>"


SPECIALS = [MASK, *map(language_token, LANGUAGES), FILL]


def plain(text):
    text = " ".join(text.split()).strip(QUOTES + " ")
    text = re.sub(r" ([.,!?;:…])", r"\1", text).rstrip(CLOSING + QUOTES + " ")
    return text[:1].upper() + text[1:]


def clean(text, language):
    return normalise(text) if FORMS[language] == "words" else plain(text)


def clean_with_gaps(text, language):
    """The same of a text with gaps, each written MASK."""
    parts = [clean(part, language) for part in text.split(MASK)]
    return f" {MASK} ".join(parts).strip() if FORMS[language] == "words" else text
