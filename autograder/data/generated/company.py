"""Texts in which it is known how much company two words share: an almanac of countries and things, and drawn ones.

Every sentence has one noun, the words that keep it company, and small words between them in no order. What may stand
beside a noun is decided by its senses, and each sense is a bag of themes: *paris* stands with the words of France and
with those of capitals, *bat* now with the words of animals and now with those of sport. So how alike two nouns are is
not a matter of opinion: it is the share of company that they have in common. No two nouns ever stand in the same
sentence, so that whoever finds *paris* beside *france* has found it by their company, as Harris (1954) meant it, and
by nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

Senses = Mapping[tuple[str, ...], float]
"""The senses of a noun: the themes of each, as likely as each other (one may stand twice), and the sense's share."""

FILLERS = ("the", "of", "and", "a", "in", "to", "is", "was", "that", "it", "for", "with")
"""Small words, which stand with everything. The first is the most frequent, the n-th has a share in proportion 1/n."""

SENTENCE_LENGTH = 10
"""Words in a sentence."""

FILLER_SHARE = 0.45
"""Of the words beside the noun."""


class Sentences(NamedTuple):
    """Sentences and the truth about them.

    Attributes:
        ids: (N, SENTENCE_LENGTH), word numbers.
        nouns: (N,), the word number of the noun of each sentence.
        senses: (N,), which of the noun's senses it has there, 0 for the first.
        places: (N,), where in the sentence the noun stands.
    """

    ids: Tensor
    nouns: Tensor
    senses: Tensor
    places: Tensor


@dataclass(frozen=True)
class Language:
    """Nouns and the company they keep.

    Attributes:
        themes: the words of each theme, as many in each, no word in two of them.
        nouns: the senses of each noun; all nouns are as frequent as each other.

    Raises:
        ValueError: if the themes differ in size, or a word has two roles.
    """

    themes: Mapping[str, Sequence[str]]
    nouns: Mapping[str, Senses]

    def __post_init__(self) -> None:
        if len({len(words) for words in self.themes.values()}) != 1:
            raise ValueError("The themes differ in size: give each of them as many words.")
        if len(set(self.words)) < len(self.words):
            raise ValueError("A word has two roles: let it be one noun, or a word of one theme, or a filler.")

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All words, V of them: the nouns, the words of the themes, the fillers. A word's place is its number."""
        return (*self.nouns, *(word for words in self.themes.values() for word in words), *FILLERS)

    @cached_property
    def number(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def company(self, noun: str) -> dict[str, float]:
        """With which share each theme provides the company of a noun, over all of its senses."""
        shares = dict.fromkeys(self.themes, 0.0)
        for themes, share in self.nouns[noun].items():
            for theme in themes:
                shares[theme] += share / len(themes)
        return shares

    def similarity(self, first: str, second: str) -> float:
        """The share of company that two nouns have in common, from 0 (none) to 1 (all of it)."""
        one, other = self.company(first), self.company(second)
        return sum(min(one[theme], other[theme]) for theme in self.themes)

    def sentences(self, count: int, generator: torch.Generator) -> Sentences:
        """Sentences in which each noun is as likely as any other.

        Args:
            count: number of sentences, N.
            generator: what they are made from.
        """
        senses = [
            (noun, sense, themes, share)
            for noun, named in enumerate(self.nouns.values())
            for sense, (themes, share) in enumerate(named.items())
        ]
        names, size, beside = list(self.themes), len(next(iter(self.themes.values()))), SENTENCE_LENGTH - 1

        def draw(weights: Tensor, *shape: int) -> Tensor:
            """Numbers in proportion to weights; with a row of weights for each sentence, (N, …) of them."""
            return torch.multinomial(weights.float(), shape[-1], replacement=True, generator=generator).view(*shape)

        chosen = draw(torch.tensor([share for *_, share in senses]), count)  # (N,)
        bags = torch.zeros(len(senses), len(names))
        for row, (_, _, of_sense, _) in zip(bags, senses, strict=True):
            for name in of_sense:
                row[names.index(name)] += 1
        theme = draw(bags[chosen], count, beside)  # (N, L − 1)
        member = torch.randint(size, (count, beside), generator=generator)
        companions = len(self.nouns) + theme * size + member
        first = len(self.words) - len(FILLERS)
        fillers = first + draw(1 / torch.arange(1, len(FILLERS) + 1), count * beside).view(count, beside)
        is_filler = torch.rand(count, beside, generator=generator) < FILLER_SHARE
        nouns = torch.tensor([noun for noun, *_ in senses])[chosen]
        places = torch.randint(SENTENCE_LENGTH, (count,), generator=generator)
        ids = torch.cat([torch.where(is_filler, fillers, companions), nouns[:, None]], dim=1)  # (N, L), the noun last
        order = torch.arange(SENTENCE_LENGTH).expand(count, -1).clone()
        order = order.scatter(1, places[:, None], beside) - (order > places[:, None]).long()
        return Sentences(ids.gather(1, order), nouns, torch.tensor([s for _, s, *_ in senses])[chosen], places)


_COUNTRIES = {
    "austria": ("vienna", "danube", "austrian", "waltz strudel alps yodel"),
    "egypt": ("cairo", "nile", "egyptian", "pyramid papyrus desert camel"),
    "england": ("london", "thames", "english", "tea cricket fog scone"),
    "france": ("paris", "seine", "french", "cheese beret vineyard truffle"),
    "iraq": ("baghdad", "tigris", "iraqi", "ziggurat palm caliph cuneiform"),
    "italy": ("rome", "tiber", "italian", "pasta fresco vespa volcano"),
    "poland": ("warsaw", "vistula", "polish", "amber dumpling bison mazurka"),
    "portugal": ("lisbon", "tagus", "portuguese", "cork sardine fado caravel"),
}
"""The capital of each country, the river that flows through it, its language, and what else one thinks of there."""

KINDS = ("country", "capital", "river", "language")
"""Of the words that belong to a country."""

_THEMES = {
    "country": "border treaty parliament flag",
    "capital": "mayor square tram museum",
    "river": "water bridge flood shore",
    "language": "speak verb grammar poem",
    "animals": "burrow fur wild nocturnal",
    "sport": "team player stadium score",
    "music": "melody concert choir rehearse",
    "money": "pay debt interest price",
    "computers": "click software install cable",
}

_THINGS = {
    "animals": "fox owl badger squirrel",
    "sport": "racket helmet whistle trophy",
    "music": "violin trumpet flute cello",
    "money": "loan tax salary invoice",
    "computers": "keyboard printer laptop modem",
}

AMBIGUOUS: dict[str, Senses] = {
    "bat": {("animals",): 0.5, ("sport",): 0.5},
    "note": {("music",): 0.5, ("money",): 0.5},
    "key": {("music",): 0.5, ("computers",): 0.5},
    "bank": {("money",): 0.7, ("river",): 0.3},
    "mouse": {("computers",): 0.9, ("animals",): 0.1},
}
"""The nouns of the almanac that have two senses."""

COUNTRIES = {country: (country, *others[:3]) for country, others in _COUNTRIES.items()}
"""For each country the words of the four kinds."""

_NOUNS: dict[str, Senses] = {
    word: {(country, kind): 1.0}
    for country, words in COUNTRIES.items()
    for kind, word in zip(KINDS, words, strict=True)
}
_NOUNS |= {word: {(theme,): 1.0} for theme, words in _THINGS.items() for word in words.split()}

ALMANAC = Language(
    themes={theme: words.split() for theme, words in _THEMES.items()}
    | {country: others[3].split() for country, others in _COUNTRIES.items()},
    nouns=_NOUNS | AMBIGUOUS,
)
"""Eight countries, each with its capital, its river and its language; things of five themes; five ambiguous words."""


def drawn(generator: torch.Generator, num_themes: int = 10, theme_size: int = 5, num_nouns: int = 40) -> Language:
    """A language whose words mean nothing to anybody, with the company of its nouns drawn.

    The company of each noun comes from four tickets with themes on them, drawn out of two themes of its own, so that
    the nouns are alike in every degree.

    Args:
        generator: what it is made from.
        num_themes, theme_size, num_nouns: how many there are.
    """
    themes = {f"t{t}": tuple(f"t{t}.{w}" for w in range(theme_size)) for t in range(num_themes)}
    nouns: dict[str, Senses] = {}
    for noun in range(num_nouns):
        own = torch.randperm(num_themes, generator=generator)[:2]
        tickets = own[torch.randint(2, (4,), generator=generator)].tolist()
        nouns[f"n{noun}"] = {tuple(f"t{t}" for t in sorted(tickets)): 1.0}
    return Language(themes, nouns)
