"""The measures of word vectors against scipy, gensim and plain loops."""

import math

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from autograder.reference.similarity import (
    analogy_accuracy,
    analogy_scores,
    nearest_words,
    similarity_correlation,
    spearman,
)

seeds = st.integers(0, 2**31)
property_test = settings(max_examples=30, deadline=None)


def vectors(seed, V=30, D=7):
    """Names and vectors of V words, and the same as gensim keeps them."""
    matrix = torch.randn(V, D, generator=torch.Generator().manual_seed(seed))
    words = [f"word{number}" for number in range(V)]
    theirs = KeyedVectors(D)
    theirs.add_vectors(words, matrix.numpy())
    return words, matrix, theirs


@property_test
@given(seed=seeds, N=st.integers(3, 40), different=st.integers(2, 50))
def test_spearman_agrees_with_scipy_with_ties_and_without(seed, N, different):
    generator = np.random.default_rng(seed)
    first, second = generator.integers(different, size=N), generator.normal(size=N).round(1)
    if len(set(first)) > 1 and len(set(second)) > 1:
        expected = spearmanr(first, second).statistic
        assert spearman(torch.tensor(first), torch.tensor(second)) == pytest.approx(expected, abs=1e-12)


def test_spearman_of_a_constant_is_not_a_number():
    assert math.isnan(spearman(torch.ones(4), torch.arange(4)))


@property_test
@given(seed=seeds, k=st.integers(1, 29))
def test_nearest_words_agree_with_gensim(seed, k):
    words, matrix, theirs = vectors(seed)
    before = matrix.clone()
    ids, cosines = nearest_words(matrix[3], matrix, k, exclude=[3])
    expected = theirs.most_similar("word3", topn=k)
    assert [words[number] for number in ids] == [word for word, _ in expected]
    assert cosines.tolist() == pytest.approx([cosine for _, cosine in expected], abs=1e-5)
    assert torch.equal(matrix, before)


def test_nothing_is_nearer_than_the_word_itself():
    _, matrix, _ = vectors(0)
    ids, cosines = nearest_words(5 * matrix[8], matrix, 1)
    assert ids.item() == 8
    assert cosines.item() == pytest.approx(1)


@property_test
@given(seed=seeds)
def test_similarity_correlation_agrees_with_gensim_and_leaves_out_what_is_unknown(seed, tmp_path_factory):
    words, matrix, theirs = vectors(seed)
    generator = np.random.default_rng(seed)
    pairs = [
        (f"Word{first}", f"word{(first + offset) % 40}", round(float(generator.uniform(0, 10)), 1))
        for first, offset in zip(generator.integers(40, size=60), generator.integers(1, 40, size=60), strict=True)
    ]
    file = tmp_path_factory.mktemp("pairs") / "pairs.tsv"
    file.write_text("".join(f"{first}\t{second}\t{judgment}\n" for first, second, judgment in pairs))
    _, expected, unknown = theirs.evaluate_word_pairs(str(file), case_insensitive=True)
    result = similarity_correlation(words, matrix, pairs)
    assert result.score == pytest.approx(expected.statistic, abs=1e-6)
    assert result.covered / result.total == pytest.approx(1 - unknown / 100)
    assert result.total == 60


@property_test
@given(seed=seeds)
def test_analogies_agree_with_gensim(seed):
    words, matrix, theirs = vectors(seed)
    a, b, c = torch.randperm(30, generator=torch.Generator().manual_seed(seed))[:3].tolist()
    scores = analogy_scores(torch.tensor([a]), torch.tensor([b]), torch.tensor([c]), matrix)[0]
    scores[[a, b, c]] = -math.inf
    expected = theirs.most_similar(positive=[words[b], words[c]], negative=[words[a]], topn=5)
    best = scores.topk(5)
    assert [words[number] for number in best.indices] == [word for word, _ in expected]
    assert best.values.tolist() == pytest.approx([score for _, score in expected], abs=1e-5)


def test_excluding_the_inputs_decides_an_analogy():
    """The offset is small beside the words themselves, so that the nearest word to b − a + c is c, or b."""
    words = ["man", "king", "woman", "queen", "apple"]
    matrix = torch.tensor([[9.0, 0.0, 1.0], [9.0, 3.0, 1.0], [9.0, 0.0, -1.0], [9.0, 2.0, -3.0], [0.0, 0.0, 9.0]])
    questions = [("Man", "King", "Woman", "Queen"), ("man", "king", "unknown", "queen")]
    excluded = analogy_accuracy(words, matrix, questions)
    assert (excluded.score, excluded.covered, excluded.total) == (1.0, 1, 2)
    assert analogy_accuracy(words, matrix, questions, exclude_inputs=False).score == 0.0


def test_analogies_are_counted_over_all_batches():
    words, matrix, _ = vectors(1)
    generator = torch.Generator().manual_seed(2)
    questions = [tuple(words[number] for number in torch.randperm(30, generator=generator)[:4]) for _ in range(50)]
    right = sum(analogy_accuracy(words, matrix, [question]).score for question in questions)
    assert analogy_accuracy(words, matrix, questions, batch_size=7).score == pytest.approx(right / 50)


def test_nothing_to_measure_on_is_refused():
    with pytest.raises(ValueError, match="with more words"):
        similarity_correlation(["a"], torch.ones(1, 2), [("a", "b", 1.0)])
    with pytest.raises(ValueError, match="with more words"):
        analogy_accuracy(["a"], torch.ones(1, 2), [("a", "b", "c", "d")])
