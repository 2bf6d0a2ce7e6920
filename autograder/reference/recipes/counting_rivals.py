"""What counting makes of the same text and the same labels: no experiment with a network should leave this out.

A rival turns examples into rows of numbers; a logistic regression learns from them.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from autograder.reference.bert_heads import best_span
from autograder.reference.counting import (
    cooccurrences,
    count_vectors,
    count_words,
    number_words,
    positive_pmi,
    truncated_svd,
)
from autograder.reference.ngrams import NgramCounts, kneser_ney
from autograder.reference.recipes.few_label_tasks import Example, Task

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Of the regression's freedom, C; the best on the validation part is taken."""

NEAR = 5
"""How far a judge of senses looks to both sides."""

LONGEST_SPAN = 4
"""Words in an answer."""

Rows: TypeAlias = np.ndarray | csr_matrix
Rival = Callable[[Sequence[Example]], Rows]


def asked(examples: Sequence[Example]) -> list[tuple[list[str], int]]:
    """The words of an example and the place that is asked about, for each label of a word."""
    return [(e.words, place) for e in examples for place, label in enumerate(e.labels) if label >= 0]


def labels_of(examples: Sequence[Example]) -> np.ndarray:
    """All labels, example by example; those of words in the order of :func:`asked`."""
    return np.array([label for example in examples for label in example.labels if label >= 0])


class Words:
    """The words themselves: those at the place and beside it, each side apart, or a bag of those around."""

    def __init__(self, task: Task, words: Sequence[Sequence[str]]) -> None:
        self.ordered = task.cue == "neighbors"
        places = (-1, 0, 1) if self.ordered else (0,)
        known = count_words(words, min_count=1)
        self.columns = {
            (place, word): number for number, (place, word) in enumerate((p, w) for p in places for w in known)
        }

    def __call__(self, examples: Sequence[Example]) -> Rows:
        rows, columns = [], []
        judged = asked(examples)
        for row, (words, place) in enumerate(judged):
            reach = 1 if self.ordered else NEAR
            for there in range(max(0, place - reach), min(len(words), place + reach + 1)):
                column = self.columns.get((there - place if self.ordered else 0, words[there]))
                if column is not None:
                    rows.append(row)
                    columns.append(column)
        return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(judged), len(self.columns)))


class CountedVectors:
    """Vectors of words by counting what stands beside them (PPMI, then SVD), of the same places as :class:`Words`."""

    def __init__(self, task: Task, words: Sequence[Sequence[str]], size: int = 100) -> None:
        self.ordered = task.cue == "neighbors"
        vocabulary = count_words(words, min_count=2)
        counts = cooccurrences(number_words(words, vocabulary), len(vocabulary), [1.0, 1.0])
        U, S, _ = truncated_svd(positive_pmi(counts), size, torch.Generator().manual_seed(0))
        vectors = count_vectors(U, S)
        vectors = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-9) * size**0.5
        self.vectors = dict(zip(vocabulary, vectors.float().numpy(), strict=True))
        self.nothing = np.zeros(vectors.size(1), dtype=np.float32)

    def __call__(self, examples: Sequence[Example]) -> Rows:
        return np.stack([self._row(words, place) for words, place in asked(examples)])

    def _row(self, words: list[str], place: int) -> np.ndarray:
        around = [self.vectors.get(word, self.nothing) for word in words]
        if self.ordered:
            edges = [self.nothing, *around, self.nothing]
            return np.concatenate(edges[place : place + 3])
        near = around[max(0, place - NEAR) : place + NEAR + 1]
        return np.concatenate([np.mean(near, axis=0), np.mean(around, axis=0)])


class Bigrams:
    """How likely each word is behind the one before it (Kneser–Ney): the mean, the three least, how many are rare."""

    def __init__(self, task: Task, words: Sequence[Sequence[str]]) -> None:
        counts = NgramCounts([list(sentence) for sentence in words], 2, list(count_words(words, min_count=2)))
        self.pairs, self.single = kneser_ney(counts, 2), kneser_ney(counts, 1)

    def __call__(self, examples: Sequence[Example]) -> Rows:
        rows = []
        for example in examples:
            after = self.pairs.log_probs([example.words])
            gained = after - self.single.log_probs([example.words])  # the pointwise mutual information
            features = [after.mean(), gained.mean(), *_least(after), *_least(gained), (gained < -1).sum() / 3.0]
            rows.append([float(feature) for feature in features])
        return np.array(rows)


def _least(values: torch.Tensor) -> list[torch.Tensor]:
    least = values.sort().values[:3]
    return [*least, *[least[-1]] * (3 - len(least))]


class Bag:
    """How often each word stands in a text, rare words counting more; of a pair, which words one has or both have."""

    def __init__(self, task: Task, words: Sequence[Sequence[str]]) -> None:
        self.of_pairs = task.kind == "pair"
        # The words of the examples belong to the task: the text to learn from need not have them.
        texts = [*words, *(text for e in task.parts["train"] for text in (e.words, e.second))]
        self.counter = TfidfVectorizer(analyzer=list, sublinear_tf=True, min_df=2).fit(texts)

    def __call__(self, examples: Sequence[Example]) -> Rows:
        if not self.of_pairs:
            return self.counter.transform([e.words for e in examples])
        sides = [
            [[w for w in e.words if w not in e.second] for e in examples],
            [[w for w in e.second if w not in e.words] for e in examples],
            [[w for w in e.second if w in e.words] for e in examples],
        ]
        return hstack([self.counter.transform(side) for side in sides]).tocsr()


class Spans:
    """Which word begins and which ends the answer, by itself, its neighbors, and what sentence and question share.

    Every word of a context is a row; what is known of it is combined with the question's first word.
    """

    def __init__(self, task: Task, words: Sequence[Sequence[str]]) -> None:
        self.hasher = FeatureHasher(2**16, input_type="string", alternate_sign=False)

    def __call__(self, examples: Sequence[Example]) -> Rows:
        return self.hasher.transform(self._features(e, place) for e in examples for place in range(len(e.words)))

    def _features(self, example: Example, place: int) -> list[str]:
        words = ["", "", *example.words, "", ""]
        begin = place - next((n for n, word in enumerate(reversed(example.words[:place])) if word == "."), place)
        rest = example.words[place:]
        end = place + (rest.index(".") if "." in rest else len(rest))
        shared = len(set(example.words[begin:end]) & set(example.second[1:]))
        near = [f"{step}:{words[place + 2 + step]}" for step in (-2, -1, 0, 1, 2)]
        known = [
            *near,
            f"shares {shared}",
            f"shares {shared}, {near[1]}",
            f"asked: {example.words[place] in example.second}",
        ]
        return [*known, *(f"{example.second[0]} {fact}" for fact in known)]

    def predict(self, taught: Sequence[Example], strength: float, others: Sequence[Example]) -> np.ndarray:
        """The first and the last word of the likeliest spans of at most ``LONGEST_SPAN`` words, (2N,)."""
        rows, found = self(others), []
        for end in (0, 1):
            right = [place == e.labels[end] for e in taught for place in range(len(e.words))]
            found.append(regress(self(taught), np.array(right), strength).decision_function(rows))
        sizes = np.cumsum([len(e.words) for e in others])[:-1]
        ends = zip(*(np.split(scores, sizes) for scores in found), strict=True)
        spans = [
            best_span(torch.from_numpy(first)[None], torch.from_numpy(last)[None], LONGEST_SPAN) for first, last in ends
        ]
        return np.array([int(place) for span in spans for place in span])


def rivals_for(task: Task) -> dict[str, Callable[[Task, Sequence[Sequence[str]]], Rival]]:
    """Who competes in a task."""
    if task.kind == "words":
        return {"words around": Words, "counted vectors": CountedVectors}
    return (
        {"words": Bag}
        if task.cue == "bag"
        else {"words around": Spans}
        if task.kind == "span"
        else {"bigrams": Bigrams}
    )


def regress(rows: Rows, labels: np.ndarray, strength: float) -> Pipeline:
    """Learn; dense rows are brought to one width first, counts of single words are left as they are."""
    scale = [] if isinstance(rows, csr_matrix) else [StandardScaler()]
    return make_pipeline(*scale, LogisticRegression(C=strength, max_iter=2_000)).fit(rows, labels)
