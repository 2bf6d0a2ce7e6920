"""Quick random choices for the generators of sentences."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar("Option")

BLOCK = 4096


class Dice:
    """Chooses with numbers that are drawn many at a time: asking numpy for one at a time is ten times as slow.

    Args:
        generator: where the numbers come from; it has moved on by whole blocks afterwards.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self._numbers = _uniform(generator)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return next(self._numbers) < probability

    def below(self, limit: int) -> int:
        """A whole number from 0 to ``limit`` − 1, each as likely as any other."""
        return int(next(self._numbers) * limit)

    def choice(self, options: Sequence[Option]) -> Option:
        """One of the options, each as likely as any other."""
        return options[int(next(self._numbers) * len(options))]

    def several(self, options: Sequence[Option], count: int) -> list[Option]:
        """So many different ones of the options, in random order.

        Raises:
            ValueError: if there are fewer options.
        """
        if count > len(options):
            raise ValueError(f"{count} different ones of {len(options)} options were asked for: ask for fewer.")
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]


def _uniform(generator: np.random.Generator) -> Iterator[float]:
    while True:
        yield from generator.random(BLOCK).tolist()
