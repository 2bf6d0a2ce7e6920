"""The n-gram models against nltk's, against counts by hand and against what must hold of any distribution."""

import math
import random
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.lm import KneserNeyInterpolated, Laplace, Lidstone, NgramCounter, Vocabulary
from nltk.util import ngrams as nltk_ngrams

from autograder.reference.counting import count_words
from autograder.reference.ngrams import (
    END,
    START,
    UNKNOWN,
    NgramCounts,
    add_k,
    count_ngrams,
    interpolated,
    interpolation_weights,
    kneser_ney,
    perplexity,
    split_sentences,
)

WORDS = ["a", "b", "c", "d", "e"]
seeds = st.integers(0, 2**31)
orders = st.integers(1, 4)
property_test = settings(max_examples=25, deadline=None)


def random_sentences(seed, most=12):
    """Sentences, an empty one among them at times, in which some words are rare."""
    generator = random.Random(seed)
    return [
        generator.choices(WORDS, weights=[8, 4, 2, 1, 0.3], k=generator.randint(0, 7))
        for _ in range(generator.randint(2, most))
    ]


def random_contexts(seed, n, number=6):
    """Beginnings of sentences, seen and unseen, shorter and longer than a context, with unknown words."""
    generator = random.Random(seed)
    return [generator.choices([*WORDS, "never"], k=generator.randint(0, n + 1)) for _ in range(number)]


def every_ngram(sentences, n):
    return [ngram for m in range(1, n + 1) for ngram in count_ngrams(sentences, m).elements()]


def nltk_context(context, n):
    known = [word if word in WORDS else UNKNOWN for word in context]
    return tuple(([START] * (n - 1) + known)[len(known) :])


def nltk_vocabulary():
    return Vocabulary([*WORDS, END], unk_cutoff=1, unk_label=UNKNOWN)


def models(counts, n):
    return [
        add_k(counts, n, 0.3),
        add_k(counts, n, 0.0),
        interpolated(counts, [0.7, 0.2, 0.5, 0.9][:n]),
        kneser_ney(counts, n),
        kneser_ney(counts, n, 0.4),
    ]


@property_test
@given(seed=seeds, n=st.integers(1, 5))
def test_counting_agrees_with_nltk(seed, n):
    sentences = random_sentences(seed)
    theirs = Counter()
    for sentence in sentences:
        theirs.update(nltk_ngrams([START] * (n - 1) + sentence + [END], n))
    assert count_ngrams(sentences, n) == theirs


@property_test
@given(seed=seeds, n=orders)
def test_the_numbered_ngrams_are_those_that_are_counted_plainly(seed, n):
    sentences = random_sentences(seed)
    counts = NgramCounts(sentences, n, WORDS)
    marks = {len(counts.vocabulary): START}
    names = {**dict(enumerate(counts.vocabulary)), **marks}
    windows = counts.windows(sentences)
    for m, (order, (ngram, _)) in enumerate(zip(counts.orders, counts.look_up(windows), strict=True), start=1):
        plain = {
            tuple(names[word] for word in window[-m:].tolist()): int(order.counts[number])
            for window, number in zip(windows, ngram, strict=True)
        }
        assert plain == count_ngrams(sentences, m)


@property_test
@given(seed=seeds, n=orders, k=st.sampled_from([0.01, 0.3, 1.0, 2.5]))
def test_add_k_agrees_with_nltk(seed, n, k):
    sentences = random_sentences(seed)
    counter = NgramCounter([every_ngram(sentences, n)])
    theirs = (
        Laplace(n, vocabulary=nltk_vocabulary(), counter=counter)
        if k == 1
        else Lidstone(k, n, vocabulary=nltk_vocabulary(), counter=counter)
    )
    ours = add_k(NgramCounts(sentences, n, WORDS), n, k)
    for context in random_contexts(seed, n):
        for word in [*WORDS, END]:
            expected = theirs.unmasked_score(word, nltk_context(context, n))
            assert ours.log_prob(word, context) == pytest.approx(math.log(expected), abs=1e-12)


@property_test
@given(seed=seeds, n=st.integers(2, 4), discount=st.sampled_from([0.1, 0.5, 0.75, 1.0]))
def test_kneser_ney_agrees_with_nltk_above_the_single_words(seed, n, discount):
    """Nltk gives single words their bare continuation counts; the papers discount them, too, in favor of all words."""
    sentences = random_sentences(seed)
    theirs = KneserNeyInterpolated(
        n, discount, vocabulary=nltk_vocabulary(), counter=NgramCounter([every_ngram(sentences, n)])
    )
    V, types = len(WORDS) + 2, len(count_ngrams(sentences, 1))

    def single_words(word):
        continuations, total = theirs.estimator._continuation_counts(word)
        return max(continuations - discount, 0) / total + discount * types / total / V

    theirs.estimator.unigram_score = single_words
    ours = kneser_ney(NgramCounts(sentences, n, WORDS), n, discount)
    for context in random_contexts(seed, n):
        for word in [*WORDS, END]:
            expected = theirs.unmasked_score(word, nltk_context(context, n))
            assert math.exp(ours.log_prob(word, context)) == pytest.approx(expected, abs=1e-12)


def plain_kneser_ney(sentences, n, discount):
    """Interpolated Kneser–Ney after the papers, with dictionaries and recursion, in fractions."""
    V = len(WORDS) + 2
    followers = {m: defaultdict(Counter) for m in range(1, n + 1)}
    for m in range(1, n + 1):
        if m == n:
            for ngram, count in count_ngrams(sentences, n).items():
                followers[m][ngram[:-1]][ngram[-1]] = count
        else:
            for ngram in count_ngrams(sentences, m + 1):
                followers[m][ngram[1:-1]][ngram[-1]] += 1
    discounts = {}
    for m in followers:
        counts = [count for counter in followers[m].values() for count in counter.values()]
        once, twice = counts.count(1), counts.count(2)
        own = Fraction(once, once + 2 * twice) if once and twice else Fraction(3, 4)
        discounts[m] = own if discount is None else Fraction(discount)

    def probability(word, context):
        m = len(context) + 1
        shorter = probability(word, context[1:]) if context else Fraction(1, V)
        counter = followers[m].get(context)
        if not counter:
            return shorter
        total, d = sum(counter.values()), discounts[m]
        return max(counter[word] - d, Fraction(0)) / total + d * len(counter) / total * shorter

    return probability


@property_test
@given(seed=seeds, n=orders, discount=st.sampled_from([None, 0.0, 0.25, 0.75]))
def test_kneser_ney_is_what_a_plain_recursion_counts_by_hand(seed, n, discount):
    sentences = random_sentences(seed)
    by_hand = plain_kneser_ney(sentences, n, discount)
    ours = kneser_ney(NgramCounts(sentences, n, WORDS), n, discount)
    for context in random_contexts(seed, n):
        distribution = ours.distribution(context)
        for number, word in enumerate([*WORDS, END, UNKNOWN]):
            assert distribution[number].item() == pytest.approx(
                float(by_hand(word, nltk_context(context, n))), abs=1e-12
            )


def test_a_word_that_fits_in_one_place_alone_gets_little_after_an_unseen_context():
    """Jurafsky and Martin's example: "Francisco" is frequent, but stands after "San" only."""
    sentences = [["san", "francisco"]] * 8 + [[word, "glasses"] for word in ("my", "new", "old", "two")]
    counts = NgramCounts(sentences, 2, count_words(sentences, 1))
    smoothed = kneser_ney(counts, 2, 0.75)
    assert smoothed.log_prob("glasses", ["francisco"]) > smoothed.log_prob("francisco", ["francisco"])
    mixed = interpolated(counts, [1.0, 0.5])
    assert mixed.log_prob("glasses", ["francisco"]) < mixed.log_prob("francisco", ["francisco"])


def plain_interpolation(sentences, weights):
    counters = [count_ngrams(sentences, m) for m in range(1, len(weights) + 1)]
    totals = [Counter() for _ in weights]
    for counter, total in zip(counters, totals, strict=True):
        for ngram, count in counter.items():
            total[ngram[:-1]] += count

    def probability(word, context):
        m = len(context)
        shorter = probability(word, context[1:]) if context else 1 / (len(WORDS) + 2)
        total = totals[m][context]
        return weights[m] * counters[m][(*context, word)] / total + (1 - weights[m]) * shorter if total else shorter

    return probability


@property_test
@given(seed=seeds, n=orders)
def test_interpolation_is_what_a_plain_recursion_counts_by_hand(seed, n):
    sentences = random_sentences(seed)
    weights = [random.Random(seed + m).random() for m in range(n)]
    by_hand = plain_interpolation(sentences, weights)
    ours = interpolated(NgramCounts(sentences, 4, WORDS), weights)
    for context in random_contexts(seed, n):
        distribution = ours.distribution(context)
        for number, word in enumerate([*WORDS, END, UNKNOWN]):
            assert distribution[number].item() == pytest.approx(by_hand(word, nltk_context(context, n)), abs=1e-12)


@property_test
@given(seed=seeds, n=orders, higher=st.integers(0, 2))
def test_every_model_is_a_distribution_after_every_context(seed, n, higher):
    counts = NgramCounts(random_sentences(seed), n + higher, WORDS)
    for model in models(counts, n):
        for context in random_contexts(seed, n):
            distribution = model.distribution(context)
            assert (distribution >= 0).all()
            assert distribution.sum().item() == pytest.approx(1, abs=1e-12)


@property_test
@given(seed=seeds, n=orders)
def test_a_text_is_scored_word_by_word_with_its_end_marks(seed, n):
    held_out = [[*sentence, "never"] for sentence in random_sentences(seed + 1)]
    counts = NgramCounts(random_sentences(seed), n, WORDS)
    for model in models(counts, n):
        one_by_one = [
            model.log_prob(word, sentence[:place])
            for sentence in held_out
            for place, word in enumerate([*sentence, END])
        ]
        log_probs = model.log_probs(held_out)
        assert log_probs.tolist() == pytest.approx(one_by_one, abs=1e-12)
        assert model.perplexity(held_out) == perplexity(log_probs)


def test_perplexity_agrees_with_nltk():
    sentences, held_out = random_sentences(1), random_sentences(2)
    theirs = Lidstone(0.5, 2, vocabulary=nltk_vocabulary(), counter=NgramCounter([every_ngram(sentences, 2)]))
    ours = add_k(NgramCounts(sentences, 2, WORDS), 2, 0.5).perplexity(held_out)
    log_scores = [
        math.log2(theirs.unmasked_score(word, (before,)))
        for sentence in held_out
        for before, word in nltk_ngrams([START, *sentence, END], 2)
    ]
    assert ours == pytest.approx(2 ** -(sum(log_scores) / len(log_scores)), rel=1e-12)


def test_perplexity_of_equally_likely_words_is_their_number():
    assert perplexity(torch.full((7,), 1 / 20).log()) == pytest.approx(20, rel=1e-6)


def test_without_smoothing_an_unseen_ngram_makes_the_perplexity_infinite():
    counts = NgramCounts([["a", "b"], ["a", "c"]], 2, WORDS)
    assert add_k(counts, 2, 0).perplexity([["a", "d"]]) == math.inf
    assert add_k(counts, 2, 0).perplexity([["a", "b"]]) == pytest.approx(2 ** (1 / 3))


def test_an_unseen_context_without_smoothing_says_nothing():
    assert add_k(NgramCounts([["a", "b"]], 2, WORDS), 2, 0).distribution(["e"]).tolist() == pytest.approx([1 / 7] * 7)


@property_test
@given(seed=seeds, n=orders)
def test_expectation_maximization_never_makes_the_held_out_text_less_likely(seed, n):
    counts, held_out = NgramCounts(random_sentences(seed), n, WORDS), random_sentences(seed + 1)
    log_likelihoods = [
        interpolated(counts, interpolation_weights(counts, n, held_out, rounds)).log_probs(held_out).sum().item()
        for rounds in (0, 1, 2, 5, 10)
    ]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(log_likelihoods))


def test_expectation_maximization_finds_the_best_weights_of_a_grid():
    counts, held_out = NgramCounts(random_sentences(4, most=60), 2, WORDS), random_sentences(5, most=60)
    found = interpolation_weights(counts, 2, held_out, iterations=400)
    grid = [(i / 20, j / 20) for i in range(1, 20) for j in range(1, 20)]
    best = min(interpolated(counts, weights).perplexity(held_out) for weights in grid)
    reached = interpolated(counts, found).perplexity(held_out)
    assert reached <= best + 1e-9
    assert best - reached < 0.01


def test_samples_follow_the_distribution_and_the_generator():
    sentences = random_sentences(3, most=40)
    counts = NgramCounts(sentences, 3, WORDS)
    model = kneser_ney(counts, 3)
    generator = torch.Generator().manual_seed(0)
    first = Counter((model.sample(generator, max_words=1) or [END])[0] for _ in range(3000))
    shares = torch.tensor([first[word] / 3000 for word in counts.vocabulary])
    assert (shares - model.distribution([])).abs().sum() / 2 < 0.03

    again = [model.sample(torch.Generator().manual_seed(7)) for _ in range(2)]
    assert again[0] == again[1]
    assert all(len(model.sample(generator, max_words=4)) <= 4 for _ in range(20))


def test_a_model_that_knows_one_sentence_writes_it():
    sentence = ["the", "word", "is", "not", "the", "thing"]
    model = add_k(NgramCounts([sentence], 3, count_words([sentence], 1)), 3, 0)
    assert model.sample(torch.Generator().manual_seed(0)) == sentence


def test_words_outside_the_vocabulary_are_one_word():
    counts = NgramCounts([["a", "x"], ["a", "y"], ["a", "b"]], 2, ["a", "b"])
    assert counts.vocabulary == ["a", "b", END, UNKNOWN]
    model = add_k(counts, 2, 0)
    assert model.log_prob("z", ["a"]) == pytest.approx(math.log(2 / 3))
    assert model.distribution(["a", "z"]).tolist() == model.distribution(["a", "x"]).tolist() == [0, 0, 1, 0]


@property_test
@given(seed=seeds, n=st.integers(1, 5))
def test_the_share_of_unseen_ngrams_is_counted_by_place(seed, n):
    sentences, held_out = random_sentences(seed), random_sentences(seed + 1)
    shares = NgramCounts(sentences, n, WORDS).unseen_share(held_out)
    for m, share in enumerate(shares, start=1):
        seen, met = count_ngrams(sentences, m), list(count_ngrams(held_out, m).elements())
        assert share == pytest.approx(sum(ngram not in seen for ngram in met) / len(met))


def test_sentences_are_split_at_their_marks():
    text = "Ships don't sink, 3.5 of them.\nWhy? 1,000 œuvres!"
    assert split_sentences(text) == [
        ["ships", "don't", "sink", ",", "3.5", "of", "them", "."],
        ["why", "?"],
        ["1,000", "œuvres", "!"],
    ]
    assert split_sentences(" ") == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: NgramCounts([], 2, WORDS),
        lambda: NgramCounts([["a"]], 0, WORDS),
        lambda: add_k(NgramCounts([["a"]], 2, WORDS), 3, 1),
        lambda: kneser_ney(NgramCounts([["a"]], 2, WORDS), 0),
        lambda: kneser_ney(NgramCounts([["a"]], 2, WORDS), 2, 1.5),
        lambda: interpolated(NgramCounts([["a"]], 2, WORDS), [0.5, 1.5]),
        lambda: add_k(NgramCounts([["a"]], 1, WORDS), 1, 1).log_probs([]),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=r".+"):
        wrong()
