"""What tests of generated data share: seeded generators, how far off a share may be by chance, and counting rivals."""

import math
from collections import Counter

import numpy as np
import torch


def numbers(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def torchs(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def margin(count: int) -> float:
    """A mean of so many independent numbers between 0 and 1 is further off once in a million times (Hoeffding)."""
    return math.sqrt(math.log(2 / 1e-6) / (2 * count))


def assert_share(hits, expected: float) -> None:
    hits = [float(hit) for hit in hits]
    assert abs(sum(hits) / len(hits) - expected) <= margin(len(hits)), (sum(hits) / len(hits), expected, len(hits))


def naive_bayes(train, test):
    """What the features guess, each weighed by how much more often it came with one label than with another."""
    labels = sorted({label for _, label in train})
    prior = Counter(label for _, label in train)
    counts = {label: Counter() for label in labels}
    for features, label in train:
        counts[label].update(set(features))
    guesses = []
    for features, _ in test:
        scores = {
            label: math.log(prior[label])
            + sum(math.log((counts[label][feature] + 0.1) / (prior[label] + 0.2)) for feature in set(features))
            for label in labels
        }
        guesses.append(max(labels, key=scores.__getitem__))
    return guesses
