"""Counts, mutual information and decompositions against plain loops and numpy."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.reference.counting import (
    cooccurrences,
    count_vectors,
    count_words,
    number_words,
    positive_pmi,
    split_words,
    truncated_svd,
)

seeds = st.integers(0, 2**31)
property_test = settings(max_examples=40, deadline=None)


def random_documents(seed, V, most=6):
    """Documents of different lengths, shorter than a window and empty ones among them."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, 12, (most,), generator=generator).tolist()
    return [torch.randint(V, (length,), generator=generator) for length in [*lengths, 5]]


def plain_cooccurrences(documents, V, weights):
    counts = np.zeros((V, V))
    for document in documents:
        words = document.tolist()
        for t, word in enumerate(words):
            for s, other in enumerate(words):
                if 0 < abs(s - t) <= len(weights):
                    counts[word, other] += weights[abs(s - t) - 1]
    return counts


@property_test
@given(seed=seeds, V=st.integers(2, 9), weights=st.sampled_from([[1], [1, 1, 1], [1, 1 / 2, 1 / 3, 1 / 4], [0.8, 0.4]]))
def test_cooccurrences_are_what_a_plain_loop_counts(seed, V, weights):
    documents = random_documents(seed, V)
    counts = cooccurrences(documents, V, weights)
    assert counts.is_coalesced()
    assert np.abs(counts.to_dense().numpy() - plain_cooccurrences(documents, V, weights)).max() < 1e-5


@property_test
@given(seed=seeds, V=st.integers(2, 9), smoothing=st.sampled_from([0.75, 1.0]), shift=st.sampled_from([1.0, 5.0]))
def test_positive_pmi_is_the_published_formula(seed, V, smoothing, shift):
    counts = cooccurrences(random_documents(seed, V), V, [1, 1])
    X = counts.to_dense().double().numpy()
    expected = np.zeros((V, V))
    for w in range(V):
        for c in range(V):
            if X[w, c] > 0:
                p_joint, p_word = X[w, c] / X.sum(), X[w].sum() / X.sum()
                p_context = X[:, c].sum() ** smoothing / (X.sum(axis=0) ** smoothing).sum()
                expected[w, c] = max(0.0, math.log(p_joint / (p_word * p_context)) - math.log(shift))
    information = positive_pmi(counts, smoothing, shift)
    assert (information.values() > 0).all()
    assert np.abs(information.to_dense().numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(("V", "C", "rank", "seed"), [(40, 31, 5, 0), (25, 33, 9, 1), (12, 12, 12, 2)])
def test_the_decomposition_agrees_with_numpy(V, C, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(V, C, generator=generator, dtype=torch.float64)
    matrix[torch.rand(V, C, generator=generator) < 0.5] = 0
    U, S, right = truncated_svd(matrix.to_sparse(), rank, generator, rounds=40)
    their_U, their_S, their_right = np.linalg.svd(matrix.numpy(), full_matrices=False)
    assert np.abs(S.numpy() - their_S[:rank]).max() < 1e-8
    best = (their_U[:, :rank] * their_S[:rank]) @ their_right[:rank]
    assert np.abs(((U * S) @ right.T).numpy() - best).max() < 1e-8
    assert torch.allclose(U.T @ U, torch.eye(rank, dtype=torch.float64), atol=1e-10)


def test_a_few_rounds_come_near_the_best_approximation_of_a_slowly_falling_spectrum():
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(400, 400, generator=generator)).Q for _ in range(2))
    spectrum = 1 / torch.arange(1, 401).float().sqrt()
    matrix = (left * spectrum) @ right
    U, S, V = truncated_svd(matrix.to_sparse(), 50, generator)
    assert ((S - spectrum[:50]) / spectrum[:50]).abs().max() < 0.03
    error = torch.linalg.norm(matrix - (U * S) @ V.T)
    assert error < 1.01 * spectrum[50:].norm()


def test_vectors_weigh_the_directions_by_a_power_of_their_singular_values():
    U, S = torch.eye(3)[:, :2], torch.tensor([4.0, 9.0])
    assert count_vectors(U, S, 0.5).tolist() == [[2, 0], [0, 3], [0, 0]]
    assert count_vectors(U, S, 0).tolist() == U.tolist()


def test_words_that_occur_in_the_same_company_get_like_vectors():
    documents = [f"the {animal} {verb} in the garden".split() for animal in ("cat", "dog") for verb in ("sat", "ran")]
    documents += [
        f"a {number} of {thing} was counted".split() for number in ("sum", "mass") for thing in ("tin", "ore")
    ]
    vocabulary = count_words(documents, 1)
    counts = cooccurrences(number_words(documents, vocabulary), len(vocabulary), [1, 1])
    U, S, _ = truncated_svd(positive_pmi(counts), 6, torch.Generator().manual_seed(0))
    vectors = torch.nn.functional.normalize(count_vectors(U, S), dim=1)
    cat, dog, tin = (vectors[list(vocabulary).index(word)] for word in ("cat", "dog", "tin"))
    assert cat @ dog > 0.9 > 0.3 > cat @ tin


def test_words_are_counted_the_most_frequent_first():
    documents = [["b", "a", "c"], ["c", "b", "d"]]
    assert list(count_words(documents, 2).items()) == [("b", 2), ("c", 2)]
    assert count_words(iter(documents), 1) == Counter("baccbd")
    assert list(count_words(documents, 1)) == ["b", "c", "a", "d"]


def test_words_outside_the_vocabulary_are_left_out():
    assert [ids.tolist() for ids in number_words([["a", "x", "b"], ["x"]], ["b", "a"])] == [[1, 0], []]


def test_words_are_split_without_numbers_and_signs():
    assert split_words("Don't count 12 Œuvres_or l’eau – A1!") == ["don't", "count", "œuvres", "or", "l’eau", "a"]
