"""Word vectors by counting: who stands near whom, how much more often than chance would have it, in few dimensions.

Positive pointwise mutual information and its singular value decomposition (Levy and Goldberg 2014; Levy, Goldberg and
Dagan 2015), the rivals of trained vectors. Proven against counts by hand and exact decompositions by
``tests/test_reference_counting.py``. Axes: V words in the vocabulary, D width of a vector.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, an apostrophe within a word being part of it; numbers and signs left out."""
    return re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*", text.lower())


def count_words(documents: Iterable[Iterable[str]], min_count: int) -> dict[str, int]:
    """How often each word occurs, of those that occur at least so often, the most frequent first, ties in order."""
    counts = Counter(word for document in documents for word in document)
    frequent = [word for word, count in counts.items() if count >= min_count]
    return {word: counts[word] for word in sorted(frequent, key=lambda word: (-counts[word], word))}


def number_words(documents: Iterable[Iterable[str]], vocabulary: Iterable[str]) -> list[Tensor]:
    """Each document as word numbers; a word outside the vocabulary is left out, so that its neighbors close up."""
    ids = {word: number for number, word in enumerate(vocabulary)}
    return [torch.tensor([ids[word] for word in document if word in ids], dtype=torch.long) for document in documents]


def cooccurrences(documents: Sequence[Tensor], vocab_size: int, weights: Sequence[float]) -> Tensor:
    """How often two words stand near each other in the same document, before or behind alike.

    Args:
        documents: word numbers, see :func:`number_words`.
        vocab_size: V.
        weights: what a pair counts at distance 1, 2, … up to the width of the window: all 1, or 1/distance as in
            GloVe, or falling in a straight line, which is what word2vec's random windows come to on average.

    Returns:
        sparse (V, V), symmetric.
    """
    ids = torch.cat([*documents])
    owners = torch.arange(len(documents)).repeat_interleave(torch.tensor([len(document) for document in documents]))
    keys, values = [], []
    for distance, weight in enumerate(weights, start=1):
        together = owners[:-distance] == owners[distance:]
        pairs, counts = (ids[:-distance] * vocab_size + ids[distance:])[together].unique(return_counts=True)
        keys.append(pairs)
        values.append(counts * weight)
    key = torch.cat(keys)
    one_sided = torch.stack([key // vocab_size, key % vocab_size])  # (2, ?), the earlier word and the later one
    both = torch.cat([one_sided, one_sided.flip(0)], dim=1)
    value = torch.cat(values).float()
    size = (vocab_size, vocab_size)
    return torch.sparse_coo_tensor(both, torch.cat([value, value]), size, check_invariants=False).coalesce()


def positive_pmi(counts: Tensor, smoothing: float = 0.75, shift: float = 1.0) -> Tensor:
    """max(0, log p(w, c) / (p(w) p_α(c)) − log k), where p_α(c) ∝ #(c)^α (Levy, Goldberg and Dagan 2015, §2 and §3).

    Args:
        counts: sparse (V, V), as :func:`cooccurrences` gives them, words by contexts.
        smoothing: α. Below 1 rare contexts count as less rare than they are, and surprise less.
        shift: k, the number of negative samples of the skip-gram model that this would equal (Levy and Goldberg 2014).

    Returns:
        sparse (V, V), only what is above 0.
    """
    counts = counts.coalesce()
    (words, contexts), together = counts.indices(), counts.values().double()
    of_word = torch.zeros(counts.size(0), dtype=torch.float64).index_add_(0, words, together)
    of_context = torch.zeros(counts.size(1), dtype=torch.float64).index_add_(0, contexts, together) ** smoothing
    # log of p(w, c) / (p(w) p_α(c)): the total of all counts cancels
    expected = of_word[words] * of_context[contexts] / of_context.sum()
    information = (together / expected).log() - torch.tensor(shift, dtype=torch.float64).log()
    positive = information > 0
    return torch.sparse_coo_tensor(
        counts.indices()[:, positive],
        information[positive].float(),
        counts.shape,
        is_coalesced=True,
        check_invariants=False,
    )


def truncated_svd(
    matrix: Tensor, rank: int, generator: torch.Generator, rounds: int = 4, spare: int = 20
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular values of a sparse matrix and their vectors, nearly (Halko, Martinsson and Tropp 2011, §4).

    A few random directions are multiplied with the matrix again and again, which turns them towards those in which it
    is largest; what remains is a small exact decomposition.

    Args:
        matrix: sparse (V, C).
        rank: how many singular values, D.
        generator: draws the first directions.
        rounds: multiplications with the matrix and its transpose; each makes the result more exact.
        spare: directions more than asked for, to be thrown away, which makes it more exact, too.

    Returns:
        U (V, D), the singular values (D,), the largest first, and V (C, D), so that the matrix is nearly U S Vᵀ.
    """
    directions = min(rank + spare, *matrix.shape)
    basis = torch.randn(matrix.size(1), directions, generator=generator, dtype=matrix.dtype)  # (C, D + spare)
    for _ in range(rounds):
        # LAPACK lays its result out by columns; a sparse product is three times faster with rows.
        basis = torch.linalg.qr(matrix @ basis).Q.contiguous()  # (V, D + spare)
        basis = torch.linalg.qr(matrix.t() @ basis).Q.contiguous()  # (C, D + spare)
    U, S, Vh = torch.linalg.svd(matrix @ basis, full_matrices=False)
    return U[:, :rank], S[:rank], basis @ Vh[:rank].T


def count_vectors(U: Tensor, S: Tensor, power: float = 0.5) -> Tensor:
    """Word vectors U Sᵖ: p = 1 keeps the matrix's own distances, p = 0.5 or 0 is better (Levy et al. 2015, §3.3)."""
    return U * S**power
