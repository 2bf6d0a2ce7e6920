"""A word whose sense is the exclusive or of one cue on its left and one on its right.

The question is what can be told from a left context and a right context that never met before a linear readout. Let
the score for sense 1 be f(left) + g(right). With cue bits a and b each as likely as the other, no f and g and no
threshold put more than three of the four cases (a, b) on the right side: if 01 and 10 score above the threshold, then
f(0) + g(1) + f(1) + g(0) is above twice the threshold, so that 00 and 11 cannot both score below it. So 75 % is the
most that an additive score gets. It is the classic of Minsky and Papert (1969), asked of the two directions of a
bidirectional language model (Peters et al. 2018).
"""

from typing import NamedTuple

import torch
from torch import Tensor

NUM_DISTRACTORS = 8
"""Words 0 … 7 mean nothing."""

CUES = (8, 9)
"""The words for bit 0 and bit 1, the same on both sides."""

AMBIGUOUS = 10
"""The word in the middle."""

VOCABULARY_SIZE = 11


class XorCue(NamedTuple):
    """Sentences and the truth about them.

    Attributes:
        ids: (B, T), the ambiguous word at T // 2.
        senses: (B,), 0 or 1.
        bits: (B, 2), what the cue on the left says and what the one on the right says.
    """

    ids: Tensor
    senses: Tensor
    bits: Tensor


def xor_cue(batch: int, generator: torch.Generator, length: int = 11) -> XorCue:
    """Sentences of ``length`` words: distractors, the ambiguous word in the middle, and one cue on either side of it.

    Each cue stands at a random place of its side and says 0 or 1, each as likely as the other, whatever the other cue
    says. So either side alone tells nothing about the sense.

    Args:
        batch: number of sentences, B.
        generator: what they are made from.
        length: words in a sentence, T; odd, at least 3.

    Raises:
        ValueError: if ``length`` is even or below 3.
    """
    if length < 3 or length % 2 == 0:
        raise ValueError(f"A length of {length} has no middle with a word on either side: choose an odd one from 3 on.")
    side = length // 2
    ids = torch.randint(NUM_DISTRACTORS, (batch, length), generator=generator)
    bits = torch.randint(2, (batch, 2), generator=generator)
    places = torch.randint(side, (batch, 2), generator=generator) + torch.tensor([0, side + 1])
    ids.scatter_(1, places, torch.tensor(CUES)[bits])
    ids[:, side] = AMBIGUOUS
    return XorCue(ids, bits[:, 0] ^ bits[:, 1], bits)
