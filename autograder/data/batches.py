"""Batches: by length with dynamic padding, consecutive pieces of a long text, and random windows of it.

A source of batches is a pure function: ``source.batch(step)`` depends on the source's seed and on the step's number
alone, never on what was asked before. So nothing has to be saved to resume a training: a run that was killed after
step 700 asks for batch 700 and sees what it would have seen. A source that goes through its data epoch by epoch has
``len(source)`` batches in each, in a new order every time.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def pad(sequences: Sequence[Sequence[int] | Tensor], value: int) -> tuple[Tensor, Tensor]:
    """Fill sequences up to the length of the longest.

    Args:
        sequences: B of them, each of at least one number.
        value: what to fill with.

    Returns:
        ids (B, T), T being the longest length, and lengths (B,).

    Raises:
        ValueError: if there is no sequence, or an empty one.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.long)
    if not len(lengths) or not lengths.min():
        raise ValueError("pad needs at least one sequence and no empty one: leave empty sequences out.")
    ids = torch.full((len(lengths), int(lengths.max())), value, dtype=torch.long)  # (B, T)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = torch.as_tensor(sequence)
    return ids, lengths


class LengthBatches:
    """Which examples make up a batch, so that sequences of like length come together and little is padding.

    The examples are sorted by length, those of like length in random order, and cut into batches, which come in random
    order. Every example comes exactly once an epoch; every epoch has the same number of batches.

    Args:
        lengths: of all examples.
        batch_size: at most so many examples in a batch.
        max_tokens: at most so many tokens in a batch, the padding included.
        granularity: lengths up to the same multiple of this are alike: 1 saves the most padding, a large number mixes
            the examples best.
        seed: what the order is made from, 0 or more.

    Raises:
        ValueError: if neither limit is given, or one sequence alone is over ``max_tokens``.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int | None = None,
        max_tokens: int | None = None,
        granularity: int = 1,
        seed: int = 0,
    ) -> None:
        if batch_size is None and max_tokens is None:
            raise ValueError("Give a batch_size, or max_tokens, or both.")
        if max_tokens is not None and max(lengths, default=0) > max_tokens:
            raise ValueError(
                f"A sequence has {max(lengths)} tokens: raise max_tokens ({max_tokens}) or cut it shorter."
            )
        self.seed = seed
        self._classes = -(-np.asarray(lengths, dtype=np.int64) // granularity) * granularity
        self._cuts = _cuts(np.sort(self._classes), batch_size or len(lengths), max_tokens)
        self._epoch: int | None = None
        self._batches: list[list[int]] = []

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._cuts) + 1

    def batch(self, step: int) -> list[int]:
        """The numbers of the examples in a batch."""
        epoch, number = divmod(step, len(self))
        if epoch != self._epoch:
            self._epoch, self._batches = epoch, self._shuffled(epoch)
        return self._batches[number]

    def _shuffled(self, epoch: int) -> list[list[int]]:
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self._classes))
        order = order[np.argsort(self._classes[order], kind="stable")]
        batches = np.split(order, self._cuts)
        return [batches[number].tolist() for number in generator.permutation(len(batches))]


def _cuts(ascending: np.ndarray, batch_size: int, max_tokens: int | None) -> list[int]:
    """Where to cut examples that are sorted by length, so that each batch is as large as the limits allow."""
    cuts, start = [], 0
    for place, longest in enumerate(ascending.tolist()):
        rows = place - start
        if rows and (rows == batch_size or (max_tokens is not None and (rows + 1) * longest > max_tokens)):
            cuts.append(place)
            start = place
    return cuts


class CarriedChunks:
    """A long text for truncated backpropagation through time: every row of a batch goes on where it ended before.

    The text is cut into ``batch_size`` strips of equal length, which are read side by side, so that a model can carry
    its state from batch to batch. The last batch of an epoch may be shorter; fewer than ``batch_size`` tokens at the
    end of the text are left out.

    Args:
        ids: the text, (N,).
        batch_size: number of strips, B.
        length: positions in a batch, T.

    Raises:
        ValueError: if the text is too short for a single position in every strip.
    """

    def __init__(self, ids: Tensor, batch_size: int, length: int) -> None:
        strip = (len(ids) - 1) // batch_size
        if strip < 1:
            raise ValueError(f"{len(ids)} tokens are too few for {batch_size} strips: lower batch_size.")
        self.length = length
        self._inputs = ids[: batch_size * strip].view(batch_size, strip)
        self._targets = ids[1 : batch_size * strip + 1].view(batch_size, strip)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self._inputs.size(1) // self.length)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs (B, T) and targets (B, T), the targets one token ahead."""
        start = step % len(self) * self.length
        return self._inputs[:, start : start + self.length], self._targets[:, start : start + self.length]

    def is_start(self, step: int) -> bool:
        """Whether the text begins anew with this batch, so that no state may be carried into it."""
        return step % len(self) == 0


class ShuffledChunks:
    """A long text cut into pieces of equal length that come in random order, each once an epoch.

    Fewer than ``length`` tokens at the end of the text are left out; the last batch of an epoch may have fewer rows.

    Args:
        ids: the text, (N,).
        batch_size: pieces in a batch, B.
        length: positions in a piece, T.
        seed: what the order is made from, 0 or more.

    Raises:
        ValueError: if the text is too short for one piece.
    """

    def __init__(self, ids: Tensor, batch_size: int, length: int, seed: int = 0) -> None:
        pieces = (len(ids) - 1) // length
        if pieces < 1:
            raise ValueError(f"{len(ids)} tokens are too few for a piece of {length} and its targets: lower length.")
        self.batch_size, self.seed = batch_size, seed
        self._inputs = ids[: pieces * length].view(pieces, length)
        self._targets = ids[1 : pieces * length + 1].view(pieces, length)
        self._epoch: int | None = None
        self._order = torch.empty(0, dtype=torch.long)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self._inputs) // self.batch_size)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs (B, T) and targets (B, T), the targets one token ahead."""
        epoch, number = divmod(step, len(self))
        if epoch != self._epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._epoch, self._order = epoch, torch.from_numpy(generator.permutation(len(self._inputs)))
        rows = self._order[number * self.batch_size : (number + 1) * self.batch_size]
        return self._inputs[rows], self._targets[rows]


class RandomWindows:
    """Pieces of a long text that begin anywhere, each place as likely as any other.

    Args:
        ids: the text, (N,).
        batch_size: pieces in a batch, B.
        length: positions in a piece, T.
        seed: what the places are made from, 0 or more.

    Raises:
        ValueError: if the text is too short for one piece.
    """

    def __init__(self, ids: Tensor, batch_size: int, length: int, seed: int = 0) -> None:
        if len(ids) <= length:
            raise ValueError(f"{len(ids)} tokens are too few for a piece of {length} and its targets: lower length.")
        self.ids, self.batch_size, self.length, self.seed = ids, batch_size, length, seed

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs (B, T) and targets (B, T), the targets one token ahead."""
        starts = np.random.default_rng([self.seed, step]).integers(len(self.ids) - self.length, size=self.batch_size)
        places = torch.from_numpy(starts).unsqueeze(1) + torch.arange(self.length)  # (B, T)
        return self.ids[places], self.ids[places + 1]
