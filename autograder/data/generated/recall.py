"""Recall: something was shown long ago, and is asked for now. Three tasks, since each alone would mislead.

``fixed``: the first word is to be recalled. A model that numbers its positions has only to look at position 0.
``marked``: the word behind a mark is to be recalled, and the mark may stand anywhere. A memory with gates has only to
shut the gate behind it; how long it stays shut hardly matters (Hochreiter and Schmidhuber 1997, §5).
``associative``: many values are shown, each with a key, then one of the keys. The reader cannot know which will be
asked for and has to keep them all: what counts is room and addressing more than distance (Graves et al. 2014, §4.3).
"""

from typing import NamedTuple

import torch
from torch import Tensor

NUM_SYMBOLS = 8
"""Of ``fixed`` and ``marked``: words 0 … 7 are what is recalled and what stands between, all alike."""

ASK, MARK = NUM_SYMBOLS, NUM_SYMBOLS + 1
"""The word at the end, which asks, and the word before the one to be recalled."""

VOCABULARY_SIZE = NUM_SYMBOLS + 2


class Recall(NamedTuple):
    """Sequences and their answers.

    Attributes:
        ids: (B, T); the answer is asked for at the last position.
        answers: (B,).
    """

    ids: Tensor
    answers: Tensor


def fixed(batch: int, distance: int, generator: torch.Generator) -> Recall:
    """The word to be recalled comes first, then ``distance`` others, then the question: T = distance + 2."""
    ids = torch.randint(NUM_SYMBOLS, (batch, distance + 2), generator=generator)
    ids[:, -1] = ASK
    return Recall(ids, ids[:, 0].clone())


def marked(batch: int, distance: int, longest_prefix: int, generator: torch.Generator) -> Recall:
    """The word to be recalled stands behind a mark; ``distance`` other words lie between it and the question.

    Before the mark are 0 to ``longest_prefix`` words, the same number in all sequences of a batch, so that none needs
    padding: T = prefix + distance + 3.
    """
    prefix = int(torch.randint(longest_prefix + 1, (), generator=generator))
    ids = torch.randint(NUM_SYMBOLS, (batch, prefix + distance + 3), generator=generator)
    ids[:, prefix] = MARK
    ids[:, -1] = ASK
    return Recall(ids, ids[:, prefix + 1].clone())


def associative(
    batch: int, generator: torch.Generator, num_cells: int = 32, num_values: int = 16, joined: bool = True
) -> Recall:
    """Every key once, in random order, each with a value of its own, then one of the keys: what was its value?

    The keys are the words 0 … ``num_cells`` − 1. Each value is as likely as any other, whatever the rest of them are,
    and so is each key to be asked for.

    Args:
        batch: number of sequences, B.
        generator: what they are made from.
        num_cells: number of keys.
        num_values: number of different values; the answers are 0 … ``num_values`` − 1.
        joined: key and value in one word, number ``num_cells`` · (1 + value) + key, so that T = ``num_cells`` + 1;
            otherwise the value is a word behind its key, number ``num_cells`` + value, so that T = 2 ``num_cells`` + 1.
            Then it takes two steps to find it, to the key and to what follows, which is learned far more slowly.
    """
    keys = torch.rand(batch, num_cells, generator=generator).argsort(dim=1)  # (B, N)
    values = torch.randint(num_values, (batch, num_cells), generator=generator)  # (B, N), by place
    asked = torch.randint(num_cells, (batch, 1), generator=generator)  # a place
    apart = torch.stack([keys, num_cells + values], dim=2).flatten(1)  # (B, 2N)
    cells = num_cells * (1 + values) + keys if joined else apart
    return Recall(torch.cat([cells, keys.gather(1, asked)], dim=1), values.gather(1, asked).squeeze(1))
