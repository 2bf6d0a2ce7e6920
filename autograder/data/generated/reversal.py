"""Words of random letters, to be written backwards.

None of the letters can be guessed from the others, so whoever writes the word has to find each of them: the task that
shows what a search through the source is good for. It is kind to a reader without one, since what was read last is
written first, the order that Sutskever et al. (2014, §3.3) made for themselves.
"""

import torch
from torch import Tensor

NUM_LETTERS = 26


def random_letters(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Letters as whole numbers 0 … 25, each as likely as any other: (batch, length). The answer is ``flip(1)``."""
    return torch.randint(NUM_LETTERS, (batch, length), generator=generator)
