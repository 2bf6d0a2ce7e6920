"""Things that a task hands to the student's code and that cannot travel as values.

A task names a fixture and sends what it is filled with; it is made on the student's side. The code here is public:
a student may read it, and no answer is in it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

FIXTURES: dict[str, Callable[..., Any]] = {}


def fixture(make: Callable[..., Any]) -> Callable[..., Any]:
    """Register something that ``student.fixture(name, …)`` can make."""
    FIXTURES[make.__name__] = make
    return make


@fixture
def generator(seed: int) -> torch.Generator:
    """A source of random numbers that both sides can make alike."""
    return torch.Generator().manual_seed(seed)


@fixture
class PublicAttention:
    """Single-head attention with given weights, for tasks that receive an attention to examine.

    Args:
        weights: ``query``, ``key`` and ``value``, each (D, D), and, if positions count, ``positions`` (T, D), which
            are added to query and key before they are projected.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from (B, T, D) to (B, T, D); returns output (B, T, D) and weights (B, T, T)."""
        positions = self.weights.get("positions", torch.zeros(()))
        q = (query + positions) @ self.weights["query"]
        k = (key + positions) @ self.weights["key"]
        weights = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1)
        return weights @ (value @ self.weights["value"]), weights


@fixture
class LogBilinear(nn.Module):
    """A small language model for tasks that receive a model to train: the log-bilinear one of Mnih and Hinton (2007).

    The vector of the next word is predicted as the sum of the words before, each turned by a matrix of its place; the
    logit of a word is the dot product of its own vector with that, plus a bias.

    Args:
        vocab_size: number of words, V.
        context_size: number of words that are looked back at, C.
        embedding_size: width of a word's vector, E.
    """

    def __init__(self, vocab_size: int, context_size: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.places = nn.Parameter(torch.zeros(context_size, embedding_size, embedding_size))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, contexts: Tensor) -> Tensor:
        """Predict the next word: (B, C), the nearest word last, to logits (B, V)."""
        predicted = torch.einsum("bce,ced->bd", self.embedding(contexts), self.places)
        return predicted @ self.embedding.weight.T + self.bias


class BudgetSpent(Exception):
    """A training loop asked for more steps than its budget has."""


@fixture
class TrainingBatches:
    """Batches of training data within a budget of steps; iterating again goes on where it stopped.

    Args:
        tensors: any number of tensors with the same first axis, the examples.
        batch_size: examples in a batch.
        steps: how many batches there are in all.
        seed: of the order in which examples come.

    Attributes:
        steps_taken: batches handed out so far.
        tokens_taken: numbers handed out so far in the first tensor, its tokens.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, steps: int, seed: int) -> None:
        self._tensors = tensors
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self.steps = steps
        self.steps_taken = 0
        self.tokens_taken = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if self.steps_taken >= self.steps:
            raise BudgetSpent(f"the budget of {self.steps} steps is spent: go over `batches` once")
        while self.steps_taken < self.steps:
            chosen = torch.randint(len(self._tensors[0]), (self._batch_size,), generator=self._generator)
            batch = tuple(tensor[chosen] for tensor in self._tensors)
            self.steps_taken += 1
            self.tokens_taken += batch[0].numel()
            yield batch
