"""GloVe: vectors whose products are the logarithms of how often words stand together (Pennington et al. 2014).

Proven equal to the paper's objective, computed with numpy, by ``tests/test_reference_glove.py``, which also measures
the published vectors. The counts come from ``counting.cooccurrences``. Axes: V words, D width, N cells of the matrix
of counts that are not 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def harmonic_weights(window: int) -> list[float]:
    """What a pair of words counts at distance 1, 2, …: 1/distance (§4.2)."""
    return [1 / distance for distance in range(1, window + 1)]


def glove_weight(counts: Tensor, x_max: float = 100.0, power: float = 0.75) -> Tensor:
    """f(x) = (x/x_max)^α below x_max, 1 from there on (§3.1, eq. 9): rare pairs count less, frequent ones not more."""
    return (counts / x_max).clamp(max=1.0) ** power


def glove_loss(predicted: Tensor, counts: Tensor, x_max: float = 100.0, power: float = 0.75) -> Tensor:
    """J = Σ f(X) (w·w̃ + b + b̃ − log X)², over pairs of words that were seen together (§3.1, eq. 8).

    Args:
        predicted: (N,), the w·w̃ + b + b̃ of each pair.
        counts: (N,), X, each above 0.
        x_max, power: of :func:`glove_weight`.

    Returns:
        the sum, a scalar.
    """
    return (glove_weight(counts, x_max, power) * (predicted - counts.log()) ** 2).sum()


class GloVe(nn.Module):
    """Two vectors and two biases for every word, one as the word looked at, one as a word near it.

    Args:
        vocab_size: number of words, V.
        embedding_size: width of a vector, D.
    """

    def __init__(self, vocab_size: int, embedding_size: int) -> None:
        super().__init__()
        half = 0.5 / embedding_size
        self.word = nn.Parameter(torch.empty(vocab_size, embedding_size).uniform_(-half, half))
        self.context = nn.Parameter(torch.empty(vocab_size, embedding_size).uniform_(-half, half))
        self.word_bias = nn.Parameter(torch.zeros(vocab_size))
        self.context_bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, words: Tensor, contexts: Tensor) -> Tensor:
        """w·w̃ + b + b̃, which is to be log X, for N pairs of word numbers: (N,), (N,) → (N,)."""
        products = (F.embedding(words, self.word) * F.embedding(contexts, self.context)).sum(dim=1)
        return products + self.word_bias[words] + self.context_bias[contexts]

    @torch.no_grad()
    def vectors(self) -> Tensor:
        """The sum of both vectors of each word, (V, D), which serves a little better than either (§4.2)."""
        return self.word + self.context


@dataclass(frozen=True)
class GloveTraining:
    """How to train: AdaGrad on the cells in random order (§4.2), many at a time.

    Attributes:
        epochs: how often every cell comes.
        batch_size: cells at a time.
        learning_rate: of AdaGrad.
        x_max, power: of :func:`glove_weight`; the paper's x_max is meant for billions of words.
        seed: of the order.
    """

    epochs: int = 15
    batch_size: int = 16_384
    learning_rate: float = 0.05
    x_max: float = 100.0
    power: float = 0.75
    seed: int = 0


def train_glove(model: GloVe, counts: Tensor, training: GloveTraining) -> Iterator[float]:
    """Train in place.

    Args:
        model: starts from the weights that it has.
        counts: sparse (V, V), coalesced, as :func:`~autograder.reference.counting.cooccurrences` gives them.
        training: how.

    Yields:
        after every epoch, the mean over the cells of their part of the loss when they came.
    """
    generator = torch.Generator().manual_seed(training.seed)
    (words, contexts), X = counts.indices(), counts.values()
    optimizer = torch.optim.Adagrad(model.parameters(), training.learning_rate, initial_accumulator_value=1.0)
    for _ in range(training.epochs):
        total = 0.0
        for batch in torch.randperm(len(X), generator=generator).split(training.batch_size):
            loss = glove_loss(model(words[batch], contexts[batch]), X[batch], training.x_max, training.power)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield total / len(X)
