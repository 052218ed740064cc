#!/usr/bin/env python3
"""Writes text/unicode_tables.h: the character classes of Hugging Face `tokenizers`, read off its own functions.

Its parts follow different versions of Unicode (its regular expressions, its BERT normalizer and its normalisation forms do
not agree with each other), so no one library has these classes. Every code point is asked; takes a few minutes.

usage: make_unicode_tables.py OUTPUT       needs the Python package `tokenizers`
"""
import sys

import tokenizers
from tokenizers import normalizers, pre_tokenizers

POINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def ranges(points):
    found = []
    for point in points:
        if found and found[-1][1] == point - 1:
            found[-1][1] = point
        else:
            found.append([point, point])
    return found


def holds(test):
    return ranges([c for c in POINTS if test(chr(c))])


def classes():
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    words = pre_tokenizers.Whitespace()
    punctuation = pre_tokenizers.Punctuation()
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    clean = normalizers.BertNormalizer(**{**off, "clean_text": True})
    accents = normalizers.BertNormalizer(**{**off, "strip_accents": True})
    strip = normalizers.StripAccents()
    nfd = normalizers.NFD()
    yield "LETTERS", "the letters of the byte-level splitter", holds(
        lambda c: len(byte_level.pre_tokenize_str("a" + c)) == 1)
    yield "NUMBERS", "its numbers", holds(lambda c: len(byte_level.pre_tokenize_str("1" + c)) == 1)
    yield "DIGITS", "the numbers of the Digits splitter", holds(
        lambda c: len(digits.pre_tokenize_str("a" + c + "b")) == 3)
    yield "WORDS", "what \\w matches", holds(lambda c: len(words.pre_tokenize_str("a" + c + "b")) == 1)
    yield "PUNCTUATION", "punctuation for BERT", holds(
        lambda c: len(punctuation.pre_tokenize_str("a" + c + "b")) == 3)
    yield "CONTROLS", "what BERT's cleaning removes", holds(lambda c: clean.normalize_str("a" + c + "b") == "ab")
    yield "NONSPACING", "what BERT takes for accents", holds(lambda c: accents.normalize_str("ab" + c + "b") == "abb")
    yield "MARKS", "what StripAccents takes for accents", holds(lambda c: strip.normalize_str("a" + c + "b") == "ab")
    # A combining character changes places with U+0301 (class 230) or with U+0334 (class 1), or it has class 1 or 230.
    yield "COMBINING", "characters that normalisation forms reorder", holds(
        lambda c: nfd.normalize_str(c) == c and (nfd.normalize_str("a\u0301" + c) != "\u0061\u0301" + c
                                                 or nfd.normalize_str("a" + c + "\u0334") != "a" + c + "\u0334"
                                                 or c == "\u0334"))
    for form in ("NFD", "NFKD"):
        normal = getattr(normalizers, form)()
        yield form + "_CHANGES", f"characters that {form} changes", holds(lambda c: normal.normalize_str(c) != c)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    with open(sys.argv[1], "w", encoding="utf-8") as out:
        print(f"/* Character classes as Hugging Face tokenizers {tokenizers.__version__} has them: first and last code point"
              " of each range.\n * Written by tests/text/make_unicode_tables.py. */", file=out)
        print("#ifndef LKS_UNICODE_TABLES_H\n#define LKS_UNICODE_TABLES_H\n\n#include <stdint.h>\n\n"
              "typedef struct char_range {\n    uint32_t first, last;\n} char_range;", file=out)
        for name, what, found in classes():
            print(name, len(found), file=sys.stderr, flush=True)
            print(f"\n/* {what} */\n/* clang-format off */\nstatic const char_range {name}[] = {{", file=out)
            line = "   "
            for first, last in found:
                item = f" {{0x{first:X}, 0x{last:X}}},"
                if len(line) + len(item) > 120:
                    print(line, file=out)
                    line = "   "
                line += item
            print(line + "\n};\n/* clang-format on */", file=out)
        print("\n#endif", file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
