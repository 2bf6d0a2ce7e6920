"""Two tasks whose truth is in the text itself: which words were names, and were words of this verse exchanged?

*Names* hides the capitals and asks for them back, as in restoring the case of a text (Lita et al. 2003). *Swapped* is
the judgment of word order: the exchange keeps every word, so that only the order can tell.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

IGNORED = -100
"""The label of a word that nobody is asked about."""

ALWAYS_CAPITAL = {"i", "o"}
"""Words that have a capital wherever they stand, and are no names."""

CERTAIN = 0.95
"""A word that may have its capital from its place is a name if at least this share of its other uses have one too."""


class NamedVerse(NamedTuple):
    """A verse without its capitals.

    Attributes:
        tokens: in lower case.
        labels: 1 for a name, 0 for none, :data:`IGNORED` where the text does not tell.
    """

    tokens: list[str]
    labels: list[int]


class OrderedVerse(NamedTuple):
    """A verse, intact or not.

    Attributes:
        verse: its number.
        tokens: in lower case.
        swapped: 1 if two pairs of neighbors were exchanged, 0 if it is intact.
    """

    verse: int
    tokens: list[str]
    swapped: int


def names(verses: Sequence[Sequence[str]]) -> list[NamedVerse]:
    """Which words of every verse were names: people, places, peoples, *God*, all that has a capital for its own sake.

    A word behind another word is a name if it has a capital. A word at the beginning of a verse or behind a
    punctuation mark may have its capital from its place: there a sentence or a speech may begin. It is no name if it
    has none; if it has one, the uses of the same word behind other words decide, in all the verses given: it is a name
    if nearly all of them have a capital, none if hardly any has, and ignored otherwise or if there are none.

    Args:
        verses: their tokens with capitals, punctuation marks as tokens of their own.
    """
    uses: Counter[str] = Counter()
    capitals: Counter[str] = Counter()
    for verse in verses:
        for word, before in _with_neighbor(verse):
            if _is_word(word) and before is not None and _is_word(before):
                uses[word.lower()] += 1
                capitals[word.lower()] += word[0].isupper()

    def label(word: str, before: str | None) -> int:
        lower = word.lower()
        if not word[0].isupper() or lower in ALWAYS_CAPITAL:
            return 0
        if before is not None and _is_word(before):
            return 1
        if not uses[lower]:
            return IGNORED
        share = capitals[lower] / uses[lower]
        return 1 if share >= CERTAIN else 0 if share <= 1 - CERTAIN else IGNORED

    return [
        NamedVerse([word.lower() for word in verse], [label(word, before) for word, before in _with_neighbor(verse)])
        for verse in verses
    ]


def swapped(verses: Sequence[Sequence[str]], generator: np.random.Generator) -> list[OrderedVerse]:
    """Exchange two pairs of neighboring words in a half of the verses, chosen at random.

    Verses in which that is not possible are left out of both halves: it takes two pairs, apart from each other, of two
    different words with no punctuation mark between them. All words are in lower case, since a capital in the wrong
    place would give an exchange away.

    Args:
        verses: their tokens, punctuation marks as tokens of their own.
        generator: what is chosen with.
    """
    lowered = [[word.lower() for word in verse] for verse in verses]
    places = {number: _exchangeable(tokens) for number, tokens in enumerate(lowered)}
    usable = [number for number, pairs in places.items() if pairs and pairs[-1] - pairs[0] > 1]
    chosen = {usable[place] for place in generator.permutation(len(usable))[: len(usable) // 2].tolist()}
    result = []
    for number in usable:
        tokens = lowered[number]
        if number in chosen:
            tokens = _exchanged(tokens, places[number], generator)
        result.append(OrderedVerse(number, tokens, int(number in chosen)))
    return result


def _exchangeable(tokens: Sequence[str]) -> list[int]:
    """Where two different words stand side by side."""
    return [
        place
        for place, (word, after) in enumerate(pairwise(tokens))
        if word != after and _is_word(word) and _is_word(after)
    ]


def _exchanged(tokens: list[str], places: list[int], generator: np.random.Generator) -> list[str]:
    """Exchange at two places that are not side by side, each such two as likely as any other."""
    while True:
        first, second = sorted(places[place] for place in generator.integers(len(places), size=2).tolist())
        if second - first > 1:
            break
    result = list(tokens)
    for place in (first, second):
        result[place], result[place + 1] = result[place + 1], result[place]
    return result


def _with_neighbor(verse: Sequence[str]) -> Iterable[tuple[str, str | None]]:
    """Every word with the one before it."""
    return zip(verse, [None, *verse[:-1]], strict=True)


def _is_word(token: str) -> bool:
    return token[0].isalpha()
