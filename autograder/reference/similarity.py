"""What word vectors know: correlation with human judgments, neighbors, analogies.

Proven against scipy, gensim and plain loops by ``tests/test_reference_similarity.py``. Axes: V words, D width.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def nearest_words(vector: Tensor, matrix: Tensor, k: int, exclude: Collection[int] = ()) -> tuple[Tensor, Tensor]:
    """The rows that point most nearly in a vector's direction.

    Args:
        vector: (D,). matrix: (V, D).
        k: how many.
        exclude: rows that do not count, such as that of the word itself.

    Returns:
        numbers of the rows (k,), the nearest first, and their cosines (k,).
    """
    cosines = F.normalize(matrix, dim=1) @ F.normalize(vector, dim=0)  # (V,)
    cosines[list(exclude)] = -torch.inf
    best = cosines.topk(k)
    return best.indices, best.values


def spearman(first: Tensor, second: Tensor) -> float:
    """Spearman's ρ: the correlation of the ranks, values that are equal sharing the mean of their ranks.

    Args:
        first, second: (N,), N ≥ 2.

    Returns:
        from −1 to 1; NaN if all values of one are equal.
    """
    ranks = torch.stack([_ranks(first), _ranks(second)])
    return torch.corrcoef(ranks)[0, 1].item()


def _ranks(values: Tensor) -> Tensor:
    """The rank (N,) of each value; equal ones share the mean of the ranks that they take up."""
    _, place, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts - 1) / 2)[place]


@dataclass(frozen=True)
class Result:
    """A score and what it was measured on.

    Attributes:
        score: a correlation or an accuracy.
        covered: how many pairs or questions were in the vocabulary; the others are left out.
        total: how many there were.
    """

    score: float
    covered: int
    total: int


def similarity_correlation(words: Sequence[str], matrix: Tensor, pairs: Iterable[tuple[str, str, float]]) -> Result:
    """Spearman's ρ between the cosines of pairs of words and what people said of their likeness.

    Args:
        words: V of them, in lower case.
        matrix: (V, D), their vectors.
        pairs: two words, in upper or lower case, and a judgment.

    Raises:
        ValueError: if fewer than two pairs are in the vocabulary.
    """
    ids = {word: number for number, word in enumerate(words)}
    pairs = [(first.lower(), second.lower(), judgment) for first, second, judgment in pairs]
    known = [(ids[first], ids[second], judgment) for first, second, judgment in pairs if {first, second} <= ids.keys()]
    if len(known) < 2:
        raise ValueError("Fewer than two of the pairs are in the vocabulary: measure on others, or with more words.")
    first_ids, second_ids, judgments = (torch.tensor(column) for column in zip(*known, strict=True))
    cosines = F.cosine_similarity(matrix[first_ids], matrix[second_ids])
    return Result(spearman(cosines, judgments), len(known), len(pairs))


def analogy_scores(a: Tensor, b: Tensor, c: Tensor, matrix: Tensor) -> Tensor:
    """How well each word completes "a is to b as c is to …": the cosine with b − a + c (3CosAdd, Mikolov et al. 2013c).

    Args:
        a, b, c: (Q,) numbers of words, for Q questions. matrix: (V, D).

    Returns:
        (Q, V); the three words of the question take part, and often win: see :func:`analogy_accuracy`.
    """
    unit = F.normalize(matrix, dim=1)
    return F.normalize(unit[b] - unit[a] + unit[c], dim=1) @ unit.T


def analogy_accuracy(
    words: Sequence[str],
    matrix: Tensor,
    questions: Iterable[tuple[str, str, str, str]],
    exclude_inputs: bool = True,
    batch_size: int = 500,
) -> Result:
    """The share of questions whose best completion is the one that was wanted.

    Args:
        words: V of them, in lower case.
        matrix: (V, D), their vectors.
        questions: words a, b, c, d in upper or lower case: a is to b as c is to d.
        exclude_inputs: a, b and c may not be the answer. The published figures are so; without it they fall to little.
        batch_size: questions at a time, which bounds the memory.

    Raises:
        ValueError: if no question is in the vocabulary.
    """
    ids = {word: number for number, word in enumerate(words)}
    lowered = [[word.lower() for word in question] for question in questions]
    known = [[ids[word] for word in question] for question in lowered if ids.keys() >= set(question)]
    if not known:
        raise ValueError("None of the questions is in the vocabulary: ask others, or with more words.")
    right = 0
    for batch in torch.tensor(known).split(batch_size):
        a, b, c, wanted = batch.T
        scores = analogy_scores(a, b, c, matrix)  # (Q, V)
        if exclude_inputs:
            scores.scatter_(1, batch[:, :3], -torch.inf)
        right += int((scores.argmax(dim=1) == wanted).sum())
    return Result(right / len(known), len(known), len(lowered))
