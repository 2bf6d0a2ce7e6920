"""N-gram language models: add-k, interpolation of all orders, and Kneser–Ney.

The definitions are those of Chen and Goodman (1999) and of Jurafsky and Martin (chapter 3); proven equal to nltk's and
to counts by hand by ``tests/test_reference_ngrams.py``. An n-gram of order m is a word and the m − 1 words before it,
its context. Axes: N places in a text, n words up to such a place, V words in the vocabulary.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
Sentences = Sequence[Sequence[str]]


def split_sentences(text: str) -> list[list[str]]:
    """Words, numbers and signs in lower case; a sentence ends after a full stop, a question or exclamation mark."""
    sentences: list[list[str]] = [[]]
    for token in re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+(?:[.,]\d+)*|[^\w\s]|_", text.lower()):
        sentences[-1].append(token)
        if token in ".?!":
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def count_ngrams(sentences: Sentences, n: int) -> Counter[tuple[str, ...]]:
    """How often every n-gram occurs, each sentence with n − 1 start marks before it and one end mark behind."""
    counts: Counter[tuple[str, ...]] = Counter()
    for sentence in sentences:
        padded = [START] * (n - 1) + [*sentence, END]
        counts.update(zip(*(padded[place:] for place in range(n)), strict=False))
    return counts


def perplexity(log_probs: Tensor) -> float:
    """The exponential of the mean negative log-probability: among how many words a model hesitates, as it were.

    Args:
        log_probs: (N,), natural logarithms of the probabilities of the words that came.
    """
    return (-log_probs.mean()).exp().item()


@dataclass(frozen=True)
class Order:
    """The different n-grams of one order, numbered, and their different contexts, numbered too.

    Attributes:
        ngrams, contexts: the sorted keys; a sequence of words has the key (number of the sequence without its first
            word) · (V + 1) + first word, and its place among the keys is its number.
        context_of: for each n-gram the number of its context.
        counts: for each n-gram how often it occurs, in double precision.
    """

    ngrams: Tensor
    contexts: Tensor
    context_of: Tensor
    counts: Tensor


class NgramCounts:
    """A text's n-grams of the orders 1 … n, counted once for all models that are made of them.

    Args:
        sentences: of the training text; a word outside the vocabulary counts as ``<unk>``.
        n: the highest order.
        vocabulary: different words, such as ``counting.count_words`` finds; ``</s>`` and ``<unk>`` are added where
            they are missing. ``<s>`` is no word: it is looked back at and never predicted.

    Raises:
        ValueError: if n is below 1, or a text has no sentence.
    """

    def __init__(self, sentences: Sentences, n: int, vocabulary: Collection[str]) -> None:
        if n < 1:
            raise ValueError(f"n is {n}; it must be at least 1.")
        self.n = n
        self.vocabulary = [*vocabulary, *(mark for mark in (END, UNKNOWN) if mark not in vocabulary)]
        self.word_ids = {word: number for number, word in enumerate(self.vocabulary)}
        self.base = len(self.vocabulary) + 1  # with the start mark, whose number is V
        windows = self.windows(sentences)  # (N, n)
        self.orders: list[Order] = []
        ngram = context = torch.zeros(len(windows), dtype=torch.long)  # (N,)
        contexts = torch.zeros(1, dtype=torch.long)  # order 1 has one context, the empty one
        for m in range(1, n + 1):
            ngrams, ngram, counts = (ngram * self.base + windows[:, -m]).unique(return_inverse=True, return_counts=True)
            if m > 1:
                contexts, context = (context * self.base + windows[:, -m]).unique(return_inverse=True)
            context_of = torch.empty_like(ngrams)
            context_of[ngram] = context
            self.orders.append(Order(ngrams, contexts, context_of, counts.double()))

    def windows(self, sentences: Sentences) -> Tensor:
        """For every word and end mark its number, and before it the numbers of the n − 1 words before: (N, n)."""
        if not sentences:
            raise ValueError("There is no sentence: give at least one.")
        start, unknown = len(self.vocabulary), self.word_ids[UNKNOWN]
        marks, end = [start] * (self.n - 1), self.word_ids[END]
        ids: list[int] = []
        for sentence in sentences:
            ids += [*marks, *(self.word_ids.get(word, unknown) for word in sentence), end]
        windows = torch.tensor(ids).unfold(0, self.n, 1)  # some end in a start mark: they span two sentences
        return windows[windows[:, -1] != start]

    def look_up(self, windows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For the orders 1 … n the number of each window's last n-gram and of its context, −1 for what was not seen."""
        ngram = context = torch.zeros(len(windows), dtype=torch.long)  # (N,)
        for m, order in enumerate(self.orders, start=1):
            ngram = _find(order.ngrams, ngram, windows[:, -m], self.base)
            if m > 1:
                context = _find(order.contexts, context, windows[:, -m], self.base)
            yield ngram, context

    def unseen_share(self, sentences: Sentences) -> list[float]:
        """Which part of another text's n-grams does not occur in this one, for the orders 1 … n."""
        return [(ngram < 0).double().mean().item() for ngram, _ in self.look_up(self.windows(sentences))]


def _find(keys: Tensor, shorter: Tensor, first: Tensor, base: int) -> Tensor:
    """The number of a sequence of words, from that of the same without its first word; −1 if it was not seen."""
    wanted = shorter * base + first
    number = torch.searchsorted(keys, wanted).clamp_(max=len(keys) - 1)
    return number.where((shorter >= 0) & (keys[number] == wanted), -1)


class NgramModel:
    """An n-gram language model: p(w | h) = seen(h w) + left(h) · p(w | h′), where h′ is h without its first word.

    All models here have this form (Chen and Goodman 1999, §2.8): what the counts after a context say, and a share of
    the probability that is left to the next shorter context. Below the empty context every word is equally likely.
    After a context that was never seen all is left to the shorter one.

    Args:
        counts: of the training text.
        levels: for the orders 1 … n the two parts: ``seen``, one entry per n-gram, and ``left``, one per context.
    """

    def __init__(self, counts: NgramCounts, levels: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.counts, self.n = counts, len(levels)
        # Number −1 stands for what was not seen: the last entry serves it.
        self.levels = [(F.pad(seen, (0, 1), value=0.0), F.pad(left, (0, 1), value=1.0)) for seen, left in levels]

    def probabilities(self, windows: Tensor) -> Tensor:
        """The probability (N,) of each window's last word after the words before it; windows: (N, n)."""
        p = torch.full((len(windows),), 1 / len(self.counts.vocabulary), dtype=torch.float64)
        for (seen, left), (ngram, context) in zip(self.levels, self.counts.look_up(windows), strict=False):
            p = seen[ngram] + left[context] * p
        return p

    def log_probs(self, sentences: Sentences) -> Tensor:
        """The natural logarithm of the probability of every word and of every end mark, in order: (N,)."""
        return self.probabilities(self.counts.windows(sentences)).log()

    def distribution(self, context: Sequence[str]) -> Tensor:
        """The probability (V,) of every word of the vocabulary after a sentence's beginning."""
        before = self.counts.windows([context])[-1:, :-1]  # (1, n − 1), what stands before the end mark
        words = torch.arange(len(self.counts.vocabulary)).unsqueeze(1)  # (V, 1)
        return self.probabilities(torch.cat([before.expand(len(words), -1), words], dim=1))

    def log_prob(self, word: str, context: Sequence[str]) -> float:
        """The natural logarithm of the probability of one word after a sentence's beginning."""
        window = self.counts.windows([[*context, word]])[len(context)]  # (n,)
        return self.probabilities(window.unsqueeze(0)).log().item()

    def perplexity(self, sentences: Sentences) -> float:
        """Of a text, its end marks included and its start marks not; infinite if a word got no probability."""
        return perplexity(self.log_probs(sentences))

    def sample(self, generator: torch.Generator, max_words: int = 50) -> list[str]:
        """A sentence, word by word, until the end mark comes (which is left out) or there are ``max_words``."""
        sentence: list[str] = []
        while len(sentence) < max_words:
            number = torch.multinomial(self.distribution(sentence), 1, generator=generator).item()
            word = self.counts.vocabulary[int(number)]
            if word == END:
                break
            sentence.append(word)
        return sentence


def add_k(counts: NgramCounts, n: int, k: float) -> NgramModel:
    """p(w | h) = (c(h w) + k) / (c(h) + kV) (Lidstone; with k = 1 Laplace; Jurafsky and Martin, §3.6).

    With k = 0 it is the relative frequency, and a context that was never seen, where that would be 0/0, says nothing:
    every word is equally likely there, as with any k > 0.

    Args:
        counts: of the training text, up to order n or higher.
        n: the order.
        k: 0 or more.
    """
    order = _orders(counts, n)[-1]
    V = len(counts.vocabulary)
    totals = _per_context(order, order.counts) + k * V
    shorter = [(torch.zeros(len(o.ngrams)), torch.ones(len(o.contexts))) for o in counts.orders[: n - 1]]
    return NgramModel(counts, [*shorter, (order.counts / totals[order.context_of], k * V / totals)])


def interpolated(counts: NgramCounts, weights: Sequence[float]) -> NgramModel:
    """p(w | h) = λₘ c(h w)/c(h) + (1 − λₘ) p(w | h′) (Jelinek and Mercer 1980; Chen and Goodman 1999, §2.3).

    Args:
        counts: of the training text.
        weights: λ₁ … λₙ, each from 0 to 1, one for every order; see :func:`interpolation_weights`.

    Raises:
        ValueError: if a weight is not from 0 to 1.
    """
    if not all(0 <= weight <= 1 for weight in weights):
        raise ValueError("Give weights from 0 to 1.")
    levels = []
    for order, weight in zip(_orders(counts, len(weights)), weights, strict=True):
        totals = _per_context(order, order.counts)
        levels.append((weight * order.counts / totals[order.context_of], torch.full_like(totals, 1 - weight)))
    return NgramModel(counts, levels)


def interpolation_weights(counts: NgramCounts, n: int, held_out: Sentences, iterations: int = 20) -> list[float]:
    """The weights λ₁ … λₙ that make a held-out text likeliest, by expectation–maximization (Jelinek and Mercer 1980).

    Every word of the text was made, the model says, by trying the orders from n downwards and stopping at order m
    with probability λₘ. A round asks for each word how likely each stop was, and makes the weights the mean answers.

    Args:
        counts: of the training text.
        n: the order.
        held_out: a text that was not counted: on the counted one the longest contexts would take all.
        iterations: rounds of the two steps.
    """
    windows = counts.windows(held_out)
    relative = [order.counts / _per_context(order, order.counts)[order.context_of] for order in _orders(counts, n)]
    estimates, known = [], []
    for frequency, (ngram, context) in zip(relative, counts.look_up(windows), strict=False):
        estimates.append(F.pad(frequency, (0, 1))[ngram])  # (N,), 0 for an n-gram that was not seen
        known.append(context >= 0)
    weights = [0.5] * n
    for _ in range(iterations):
        p = [torch.full((len(windows),), 1 / len(counts.vocabulary), dtype=torch.float64)]
        for weight, estimate, possible in zip(weights, estimates, known, strict=True):
            p.append((weight * estimate + (1 - weight) * p[-1]).where(possible, p[-1]))
        reached = torch.ones_like(p[0])  # the probability that the longer orders were passed by, given the word
        for m in reversed(range(n)):
            stopped = reached * weights[m] * estimates[m] / p[m + 1] * known[m]
            weights[m] = (stopped.sum() / (reached * known[m]).sum()).item() if known[m].any() else 0.0
            reached = reached - stopped
    return weights


def kneser_ney(counts: NgramCounts, n: int, discount: float | None = None) -> NgramModel:
    """p(w | h) = max(c(h w) − d, 0)/c(h) + d · t(h)/c(h) · p(w | h′), t(h) different words having followed h.

    At the highest order c counts occurrences. Below it c(h w) counts the different words that came before h w: a
    shorter context is asked only where the longer one knew little, so what counts is in how many places a word fits,
    not how often it came in one of them (Kneser and Ney 1995; Chen and Goodman 1999, §2.7 and §4.1.6, interpolated).

    Args:
        counts: of the training text, up to order n or higher.
        n: the order.
        discount: d for all orders; without it, each order's own, n₁/(n₁ + 2 n₂), n₁ and n₂ being how many of its
            n-grams have the count 1 and 2 (Ney, Essen and Kneser 1994), or 0.75 where there are none of either.

    Raises:
        ValueError: if the discount is not from 0 to 1.
    """
    if discount is not None and not 0 <= discount <= 1:
        raise ValueError(f"The discount is {discount}; it must be from 0 to 1.")
    orders = _orders(counts, n)
    levels = []
    for m, order in enumerate(orders, start=1):
        if m == n:
            c = order.counts
        else:  # a longer n-gram's key holds the number of this one: what it is without its first word
            c = torch.bincount(orders[m].ngrams // counts.base, minlength=len(order.ngrams)).double()
        once, twice = (c == 1).sum().item(), (c == 2).sum().item()
        d = discount if discount is not None else once / (once + 2 * twice) if once and twice else 0.75
        totals, types = _per_context(order, c), _per_context(order, torch.ones_like(c))
        levels.append(((c - d).clamp(min=0) / totals[order.context_of], d * types / totals))
    return NgramModel(counts, levels)


def _orders(counts: NgramCounts, n: int) -> list[Order]:
    if not 1 <= n <= counts.n:
        raise ValueError(f"The order is {n}; these counts have the orders 1 to {counts.n}.")
    return counts.orders[:n]


def _per_context(order: Order, values: Tensor) -> Tensor:
    """The sums of what belongs to the n-grams of each context."""
    return torch.bincount(order.context_of, weights=values, minlength=len(order.contexts))
