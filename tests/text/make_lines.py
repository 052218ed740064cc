#!/usr/bin/env python3
"""Writes lines.txt: 2,000 caption-like lines in English, German, French and Czech, put together from templates.

usage: make_lines.py > lines.txt
"""
import random

ENGLISH = {
    "who": ["a man", "a woman", "two dogs", "the little girl", "three children", "a brown-and-white dog", "an old couple",
            "someone", "a group of people", "a boy in a red T-shirt", "a cyclist", "the team's goalkeeper"],
    "does": ["is riding a bike", "runs", "are playing", "sits on a bench", "jumps over a fence", "looks at the camera",
             "doesn't see the ball", "is about to throw a frisbee", "walk along", "catches a wave"],
    "where": ["in the park", "on a snowy mountain", "near the water's edge", "at 5th Avenue", "beside a parked car",
              "through tall grass", "in front of a café", "under a bridge", "on the beach at sunset"],
}
GERMAN = {
    "who": ["Ein Mann", "Eine Frau", "Zwei Hunde", "Das kleine Mädchen", "Drei Kinder", "Ein älteres Paar", "Ein Radfahrer",
            "Mehrere Fußgänger", "Ein Junge in grünem Pullover"],
    "does": ["fährt Fahrrad", "läuft", "spielen", "sitzt auf einer Bank", "springt über einen Zaun", "schaut in die Kamera",
             "wirft einen Ball", "überquert die Straße", "genießt das Wetter"],
    "where": ["im Park", "auf einem verschneiten Berg", "am Flussufer", "vor einem Café", "neben einem geparkten Auto",
              "unter einer Brücke", "am Strand", "in der Nähe der Universität"],
}
FRENCH = {
    "who": ["Un homme", "Une femme", "Deux chiens", "La petite fille", "Trois enfants", "Un couple âgé", "L'équipe",
            "Quelqu'un", "Un garçon en pull bleu"],
    "does": ["fait du vélo", "court", "jouent", "est assise sur un banc", "saute par-dessus une clôture",
             "regarde l'appareil photo", "lance un ballon", "s'élance", "traverse la rue"],
    "where": ["dans le parc", "sur une montagne enneigée", "au bord de l'eau", "devant un café", "près d'une voiture garée",
              "sous un pont", "à la plage", "où il fait très chaud"],
}
CZECH = {
    "who": ["Muž", "Žena", "Dva psi", "Malá holčička", "Tři děti", "Starší pár", "Cyklista", "Skupina lidí",
            "Chlapec v zeleném tričku"],
    "does": ["jede na kole", "běží", "si hrají", "sedí na lavičce", "přeskakuje plot", "se dívá do fotoaparátu",
             "hází míč", "přechází ulici", "čte si noviny"],
    "where": ["v parku", "na zasněžené hoře", "u řeky", "před kavárnou", "vedle zaparkovaného auta", "pod mostem",
              "na pláži", "poblíž náměstí"],
}
ENDS = [".", " .", "", "!", " !", "?", "...", "…", ";", " , probably.", " (photo 12)", " - 2019", ' "STOP"', " #7", " 50 %",
        " @ 3:45pm", " / 1,000.50 €"]


def line(rng):
    words = rng.choice([ENGLISH, ENGLISH, ENGLISH, GERMAN, FRENCH, CZECH])
    text = " ".join(rng.choice(words[part]) for part in ("who", "does", "where"))
    if rng.random() < 0.2:
        more = rng.choice([ENGLISH, GERMAN, FRENCH, CZECH])
        text += rng.choice([", ", " and ", "; ", " - ", " & "]) + rng.choice(more["who"]) + " " + rng.choice(more["does"])
    if rng.random() < 0.1:
        text = rng.choice([str.upper, str.lower, str.title])(text)
    if rng.random() < 0.05:
        text = text.replace(" ", "  ", 1)
    if rng.random() < 0.05:
        text = " " + text
    return text + rng.choice(ENDS) + (" " if rng.random() < 0.05 else "")


def main():
    rng = random.Random(2024)
    for _ in range(2000):
        print(line(rng))


if __name__ == "__main__":
    main()
