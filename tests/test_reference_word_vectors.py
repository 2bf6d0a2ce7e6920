"""Skip-gram and bag of words: the parts against gensim and plain loops, the fast steps against autograd."""

from dataclasses import replace

import pytest
import torch
from gensim.models import Word2Vec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from autograder.benchmarks.word_vectors import race
from autograder.reference.similarity import spearman
from autograder.reference.word_vectors import (
    STEPS,
    Stretches,
    WordVectorConfig,
    bag_of_words_step,
    cut_text,
    keep_probability,
    negative_sampling_distribution,
    negative_sampling_loss,
    skip_gram_pairs,
    skip_gram_step,
    train_word_vectors,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
seeds = st.integers(0, 2**31)
property_test = settings(max_examples=40, deadline=None)


def random_text(seed: int, V: int, T: int) -> tuple[Tensor, Tensor]:
    """Word numbers and, beside them, the numbers of their documents, some of which are one word long."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(V, (T,), generator=generator)
    return ids, (torch.rand(T, generator=generator) < 0.2).cumsum(0)


def all_pairs(text: Stretches) -> list[tuple[int, int, int]]:
    """Stretch, center's place in it, and context's place in it, of all pairs."""
    return [(stretch, center, context) for stretch, center, context in text.pairs.nonzero().tolist()]


@property_test
@given(seed=seeds, T=st.integers(1, 20), window=st.integers(1, 5))
def test_pairs_are_the_places_in_the_window(seed, T, window):
    ids = torch.arange(T) + seed % 7
    expected = {(t, s) for t in range(T) for s in range(T) if 0 < abs(s - t) <= window}
    found = [tuple(pair) for pair in (skip_gram_pairs(ids, window) - seed % 7).tolist()]
    assert len(found) == len(expected)
    assert set(found) == expected


@property_test
@given(seed=seeds, T=st.integers(1, 40), window=st.integers(1, 5), stretch=st.integers(1, 9))
def test_stretches_hold_every_pair_of_a_drawn_window_once_and_no_other(seed, T, window, stretch):
    _, owners = random_text(seed, 50, T)
    text = cut_text(torch.arange(T), owners, window, stretch, torch.Generator().manual_seed(seed))
    pairs = [
        (int(text.words[n, window + center]), int(text.words[n, context])) for n, center, context in all_pairs(text)
    ]
    assert len(pairs) == len(set(pairs))
    reach = {t: max((abs(s - u) for u, s in pairs if u == t), default=0) for t in range(T)}
    for t in range(T):
        same = [s for s in range(T) if s != t and owners[s] == owners[t]]
        assert {s for u, s in pairs if u == t} == {s for s in same if abs(s - t) <= reach[t]}
        assert reach[t] <= window
        assert reach[t] >= 1 or not any(abs(s - t) == 1 for s in same)


def test_windows_of_every_size_are_equally_likely():
    text = cut_text(torch.zeros(30_000).long(), torch.zeros(30_000).long(), 3, 16, torch.Generator().manual_seed(0))
    sizes = text.pairs.sum(dim=2).flatten()
    assert [(sizes == size).float().mean().item() for size in (2, 4, 6)] == pytest.approx([1 / 3] * 3, abs=0.02)


@property_test
@given(
    B=st.integers(1, 5),
    K=st.integers(1, 6),
    D=st.integers(1, 7),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=seeds,
)
def test_the_loss_is_that_of_telling_the_true_word_from_each_negative_one(B, K, D, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    center, context = torch.randn(2, B, D, generator=generator, dtype=dtype)
    negatives = torch.randn(B, K, D, generator=generator, dtype=dtype)
    for row, loss in enumerate(negative_sampling_loss(center, context, negatives)):
        logits = torch.stack([context[row] @ center[row], *(word @ center[row] for word in negatives[row])])
        labels = torch.zeros(K + 1, dtype=dtype)
        labels[0] = 1
        expected = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        assert loss.item() == pytest.approx(expected.item(), rel=TOLERANCE[dtype])


def test_the_loss_of_a_hopeless_pair_is_large_and_not_infinite():
    far = torch.full((1, 4), 50.0)
    loss = negative_sampling_loss(far, -far, far.unsqueeze(1))
    assert loss.item() == pytest.approx(20_000)


def total_loss(
    model: str, inputs: Tensor, outputs: Tensor, text: Stretches, negatives: Tensor, weight: float
) -> Tensor:
    """The loss of all pairs of some stretches, one after the other, each negative word counting ``weight``."""
    window = (text.pairs.size(2) - text.pairs.size(1)) // 2
    total = 0 * (inputs.sum() + outputs.sum())
    for n, center in (text.pairs.any(dim=2)).nonzero().tolist():
        word = text.words[n, window + center]
        around = text.words[n, text.pairs[n, center]]
        if model == "skip-gram":
            vectors, told = inputs[word].expand(len(around), -1), outputs[around]
        else:
            vectors, told = inputs[around].mean(dim=0, keepdim=True), outputs[word].unsqueeze(0)
        for vector, true in zip(vectors, told, strict=True):
            one = negative_sampling_loss(vector.unsqueeze(0), true.unsqueeze(0), outputs[:0].unsqueeze(0))
            total = total + one.sum()
            for negative in outputs[negatives[n]]:
                total = total - weight * F.logsigmoid(-negative @ vector)
    return total


@property_test
@given(
    model=st.sampled_from(list(STEPS)),
    V=st.integers(2, 9),
    D=st.integers(1, 6),
    T=st.integers(1, 25),
    window=st.integers(1, 4),
    stretch=st.integers(1, 6),
    S=st.integers(1, 4),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=seeds,
)
def test_a_step_goes_down_the_gradient_of_the_plain_loss(model, V, D, T, window, stretch, S, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    ids, owners = random_text(seed, V, T)
    text = cut_text(ids, owners, window, stretch, generator)
    inputs, outputs = (torch.randn(V, D, generator=generator, dtype=dtype).requires_grad_() for _ in range(2))
    negatives = torch.randint(V, (len(text.words), S), generator=generator)
    loss = total_loss(model, inputs, outputs, text, negatives, 5 / S)
    gradients = torch.autograd.grad(loss, [inputs, outputs])

    tables = [inputs.detach().clone(), outputs.detach().clone()]
    STEPS[model](*tables, text, negatives, weight=5 / S, rate=0.1)
    for table, before, gradient in zip(tables, (inputs, outputs), gradients, strict=True):
        change = (before.detach() - table) / 0.1
        assert (change - gradient).abs().max() <= TOLERANCE[dtype] * max(10, gradient.abs().max().item())


@pytest.mark.parametrize(("step", "pairs"), [(skip_gram_step, 6), (bag_of_words_step, 3)])
def test_shared_negatives_come_on_average_to_five_for_each_pair(step, pairs):
    """Three words stand together. At 0 every σ is ½, so each true word pulls by ½ and each negative one pushes by ½."""
    V, S, draws = 6, 8, 4000
    text = Stretches(torch.tensor([[0, 1, 2, 3, 0]]), torch.zeros(1, 3, 5, dtype=torch.bool))
    text.pairs[0, :, 1:4] = ~torch.eye(3, dtype=torch.bool)
    distribution = negative_sampling_distribution(torch.arange(1, V + 1))
    generator = torch.Generator().manual_seed(0)
    inputs = torch.zeros(V, V)
    for _ in range(draws):
        change = torch.zeros(V, V)
        negatives = torch.multinomial(distribution, S, replacement=True, generator=generator).view(1, S)
        step(change, torch.eye(V), text, negatives, 5 / S, 1.0)
        inputs += change / draws
    pull = torch.tensor([0, 1, 1, 1, 0, 0]) * pairs / 3
    assert torch.allclose(inputs.sum(dim=0), 0.5 * pull - 0.5 * 5 * pairs * distribution.float(), atol=0.1)


def test_kept_words_are_those_of_the_paper():
    counts = torch.tensor([1_000_000.0, 10_000.0, 100.0])
    f = counts / counts.sum()
    discarded = 1 - torch.sqrt(1e-4 / f)
    assert torch.allclose(keep_probability(counts, 1e-4), 1 - discarded.clamp(min=0))


def test_negative_sampling_agrees_with_gensims_table():
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(1, 5000, (50,), generator=generator).sort(descending=True).values
    theirs = Word2Vec(min_count=1, negative=5)
    theirs.build_vocab_from_freq({f"word{number}": count for number, count in enumerate(counts.tolist())})
    table = torch.from_numpy(theirs.cum_table).double() / theirs.cum_table[-1]
    assert torch.allclose(negative_sampling_distribution(counts).cumsum(0), table, atol=1e-6)


PLACES, KINDS = 12, 6


def text_of_kinds(seed: int, sentences: int = 1500) -> list[Tensor]:
    """Words of several kinds; in a sentence, half are of one kind and half are any: a kind keeps the same company."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(KINDS, (sentences, 1), generator=generator)
    of_kind = kinds * PLACES + torch.randint(PLACES, (sentences, 8), generator=generator)
    any_word = torch.randint(KINDS * PLACES, (sentences, 8), generator=generator)
    return list(of_kind.where(torch.rand(sentences, 8, generator=generator) < 0.5, any_word))


def kind_correlation(vectors: Tensor) -> float:
    """How well the cosines of all pairs of words tell whether they are of one kind."""
    unit = F.normalize(vectors, dim=1)
    first, second = torch.triu_indices(KINDS * PLACES, KINDS * PLACES, offset=1)
    return spearman((unit @ unit.T)[first, second], (first // PLACES == second // PLACES).double())


CONFIG = WordVectorConfig(embedding_size=20, window=4, epochs=4, threshold=1.0)


@pytest.mark.parametrize(("model", "rate"), [("skip-gram", 0.025), ("bag of words", 0.2)])
def test_vectors_of_a_small_text_are_as_good_as_gensims(model, rate):
    ours, theirs = [], []
    for seed in range(3):
        documents = text_of_kinds(seed)
        counts = torch.cat(documents).bincount().double()
        *_, (_, vectors, _) = train_word_vectors(documents, counts, replace(CONFIG, learning_rate=rate), seed, model)
        ours.append(kind_correlation(vectors))
        trained = Word2Vec(
            [[str(word) for word in document.tolist()] for document in documents],
            vector_size=20,
            window=4,
            negative=5,
            epochs=4,
            sample=0,
            min_count=1,
            sg=int(model == "skip-gram"),
            workers=1,
            seed=seed,
        ).wv
        theirs.append(kind_correlation(torch.from_numpy(trained[[str(word) for word in range(KINDS * PLACES)]])))
    assert min(ours) > 0.3
    assert sum(ours) / 3 >= sum(theirs) / 3 - 0.02


@pytest.mark.parametrize("model", list(STEPS))
def test_a_seed_makes_the_same_vectors_again_and_another_seed_others(model):
    documents = text_of_kinds(0, 200)
    counts = torch.cat(documents).bincount().double()
    first, again, other = ([*train_word_vectors(documents, counts, CONFIG, seed, model)][-1][1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_training_shows_how_far_it_has_come():
    documents = text_of_kinds(0, 500)
    steps = [progress for progress, _, _ in train_word_vectors(documents, torch.ones(72), CONFIG, 0)]
    assert steps[0] == 0
    assert steps[-1] == 1
    assert steps == sorted(steps)
    assert 50 <= len(steps) <= 200


def test_the_race_against_gensim_says_what_it_measured():
    documents = [[f"w{word}" for word in document.tolist()] for document in text_of_kinds(0, 60)]
    judged = {"first": [("w0", "w1", 9.0), ("w0", "w13", 1.0), ("W2", "w3", 8.0), ("w0", "unknown", 1.0)]}
    result = race(documents, judged, seeds=(0, 1), config=CONFIG, min_count=1)
    assert result["words"] == 60 * 8
    assert result["our_seconds"].keys() == result["their_seconds"].keys() == {"median", "min", "max"}
    assert 0 < result["ratio"]["lower_bound"] <= result["ratio"]["median"]
    first = result["similarity"]["first"]
    assert len(first["ours"]) == len(first["gensim"]) == 2
    assert first["covered"] == 3
