"""From text to numbered words."""

import re
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

PADDING, UNKNOWN = 0, 1
_WORD = re.compile(r"[a-z0-9']+")


def split_words(text: str) -> list[str]:
    """Lower-case words of letters, digits and apostrophes; line breaks written as HTML are left out."""
    return _WORD.findall(text.lower().replace("<br />", " "))


def vocabulary(texts: Sequence[Sequence[str]], size: int) -> tuple[str, ...]:
    """The `size` entries of a vocabulary: two special ones, then words by falling frequency (ties by alphabet)."""
    counts = Counter(word for words in texts for word in words)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return ("<pad>", "<unk>", *ordered[: size - 2])


def encode(texts: Sequence[Sequence[str]], words: Sequence[str], length: int) -> Tensor:
    """int64 `(N, length)`: the last `length` words of each text, padded on the left with 0.

    Left padding and keeping the end are the defaults of Keras, which "Curious" used.
    """
    number = {word: index for index, word in enumerate(words)}
    tokens = torch.full((len(texts), length), PADDING)
    for row, text in zip(tokens, texts, strict=True):
        known = [number.get(word, UNKNOWN) for word in text[-length:]]
        if known:
            row[-len(known) :] = torch.tensor(known)
    return tokens


def passages(texts: Sequence[str], labels: Sequence[int], length: int) -> tuple[list[list[str]], list[int]]:
    """Long texts cut into passages of at most `length` words; each keeps its text's label."""
    parts, kept = [], []
    for text, label in zip(texts, labels, strict=True):
        words = split_words(text)
        for start in range(0, len(words), length):
            parts.append(words[start : start + length])
            kept.append(label)
    return parts, kept
