#!/usr/bin/env python3
"""Writes cider.jsonl: captions, references, and in the last line what pycocoevalcap 1.2 (PTB tokenizer, needs Java) scores them.

    make_cider.py > cider.jsonl"""
import contextlib
import json
import sys

ROWS = [
    ("a dog runs through the grass", ["A brown dog runs through tall grass .", "The dog is running in the grass.",
                                      "A dog's running across a field"]),
    ("two children are playing with a ball", ["Two kids play with a red ball!", "Children playing ball in the yard .",
                                              "Two children don't stop playing with the ball, laughing"]),
    ("a man in a t-shirt is standing on a street", ["A man wearing a T-shirt stands on the street ; he's alone.",
                                                    "a man, in black, waits at a cross-walk", "Man on a street"]),
    ("a woman is is standing is standing", ["A woman sits at a table with 3 cups", "The woman's cup is on the table",
                                            "a seated woman drinks coffee"]),
    ("", ["A boat on a lake .", "A small boat floats on the water", "boat"]),
    ("a white boat floats on the water", ["A white boat floats on the calm water .", "A boat on the lake",
                                          "The boat isn't moving - it floats on water"]),
    ("skier", ["A skier jumps over snow", "Someone skis down a hill .", "The skier jumps"]),
    ("A Dog Runs Through The Grass .", ["Dogs run", "A dog runs through the grass", "two dogs' toys lie in the grass"]),
]


def main():
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    with contextlib.redirect_stdout(sys.stderr):
        tokenizer = PTBTokenizer()
        theirs = tokenizer.tokenize({i: [{"caption": c} for c in references] for i, (_, references) in enumerate(ROWS)})
        ours = tokenizer.tokenize({i: [{"caption": caption}] for i, (caption, _) in enumerate(ROWS)})
        score, each = Cider().compute_score(theirs, ours)
    print(ours, theirs, file=sys.stderr)
    for caption, references in ROWS:
        print(json.dumps({"caption": caption, "references": references}))
    print(json.dumps({"cider": round(float(score), 6)}))


main()
