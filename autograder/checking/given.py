"""Random inputs for checks: the same from the same seed, new from another."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")

HOME_SEED = b"words in context: the seed that everybody has at home"


class Given:
    """Draws a task's inputs, one after another.

    Args:
        seed: the home seed, or the course's secret one in grading.
        task: id of the task, so that no two tasks draw the same.
    """

    def __init__(self, seed: bytes, task: str) -> None:
        digest = hashlib.sha256(seed + b"\0" + task.encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 numbers of a shape."""
        return torch.randn(shape, generator=self._generator)

    def uniform(self, *shape: int) -> Tensor:
        """Float32 numbers between 0 and 1."""
        return torch.rand(shape, generator=self._generator)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Whole numbers, low ≤ n < high, int64."""
        return torch.randint(low, high, shape, generator=self._generator)

    def permutation(self, n: int) -> Tensor:
        """An order of 0 … n−1 that is not its own inverse (n ≥ 3), so that inverting it cannot go unseen."""
        while True:
            order = torch.randperm(n, generator=self._generator)
            if not torch.equal(order[order], torch.arange(n)):
                return order

    def lengths(self, B: int, T: int) -> Tensor:
        """B lengths between 1 and T, at least one of them 1 and one T (B ≥ 3)."""
        lengths = torch.cat([torch.tensor([1, T]), self.integers(2, T, B - 2)])
        return lengths[torch.randperm(B, generator=self._generator)]

    def mask(self, *shape: int) -> Tensor:
        """A boolean mask in which every row allows something and forbids something."""
        mask = self.uniform(*shape) < 0.6
        columns = shape[-1]
        allowed = self.integers(0, columns, *shape[:-1])
        forbidden = (allowed + self.integers(1, columns, *shape[:-1])) % columns
        mask.scatter_(-1, allowed.unsqueeze(-1), True)
        return mask.scatter_(-1, forbidden.unsqueeze(-1), False)

    def choice(self, options: Sequence[T]) -> T:
        """One of several."""
        return options[int(self.integers(0, len(options)))]

    def weights(self, module: nn.Module) -> dict[str, Tensor]:
        """Numbers for every parameter of a module, by name; about as large as a trained module's."""
        return {name: 0.5 * self.normal(*p.shape) for name, p in module.state_dict().items()}

    def seed(self) -> int:
        """A seed for something made on the student's side."""
        return int(self.integers(0, 2**31 - 1))
