"""Sentences out of an honest gradient, 120 tokens of the manual, against the obvious loop over all tokens and places.

The loop takes the first layer word by word and place by place, and each prefix of the second by itself, by least
squares. In the quick race the vocabulary is cut to a few words, as the loop is slow.
"""

from collections.abc import Iterator

import loops
from races import SEED, Duel, Row, main

from privlab import data, models
from privlab.attacks import span_check
from privlab.sharing import federated

GOAL = 1.0  # CPU seconds


def duel(batch: int, length: int, dim: int, words: int) -> Duel:
    """Both ways of reading one gradient; raises where one of them does not find all sentences."""
    text = data.load("manual", words=words, length=length + 1)
    text = text[(text.tokens > 0).all(1).nonzero()[:, 0]].sample(batch, SEED)
    model = models.transformer(words=len(text.vocabulary), length=length, dim=dim, seed=SEED)
    tokens = text.tokens[:, :-1]
    sent = federated.gradient(model, tokens, text.tokens[:, 1:], loss=models.next_word)

    def ours() -> list[list[int]]:
        found = span_check.reconstruct(model, sent, words=len(text.vocabulary), length=length)
        return [each.tolist() for each in found.sentences]

    def loop() -> list[list[int]]:
        return loops.spans(model, sent, words=len(text.vocabulary), length=length)

    for way in (ours, loop):
        if sorted(way()) != tokens.unique(dim=0).tolist():
            raise RuntimeError(f"{way.__name__} does not find all sentences")
    return Duel(f"words-{batch}x{length}", ours, loop)


def rows(quick: bool) -> Iterator[Row]:
    """The race of this script."""
    made = duel(2, 4, 32, 40) if quick else duel(10, 12, 128, 10_000)
    ours, loop = made.seconds(1)
    texts = [f"{each:.2f} s" for each in (ours, loop)]
    yield Row(made.name, *texts, loop / ours, f"at most {GOAL:g} s", ours <= GOAL, {"ours": ours, "loop": loop})


if __name__ == "__main__":
    main(__doc__, rows)
