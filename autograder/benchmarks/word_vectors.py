"""Our word vectors against gensim's: the same text, epochs, width, window and negatives, one thread each."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from autograder.benchmarks.interleaved import lower_bound
from autograder.reference.counting import count_words, number_words
from autograder.reference.similarity import similarity_correlation
from autograder.reference.word_vectors import CONFIGS, WordVectorConfig, train_word_vectors

LONGEST = 10_000
"""Gensim silently drops what stands behind the 10,000th word of a document: longer ones are cut, for both alike."""

Trained = tuple[list[str], Tensor]


def race(
    documents: Iterable[Sequence[str]],
    judged: Mapping[str, Iterable[tuple[str, str, float]]],
    seeds: Sequence[int] = (0, 1, 2),
    model: str = "skip-gram",
    config: WordVectorConfig | None = None,
    gensim_rate: float = 0.1,
    min_count: int = 5,
) -> dict[str, Any]:
    """Train both from the same words, in turns, once per seed, and measure what the vectors know.

    What is timed is all from the words to the vectors: counting, numbering and training.

    Args:
        documents: as words.
        judged: sets of pairs of words with a judgment of their likeness, by name.
        seeds: one round each.
        model: ``"skip-gram"`` or ``"bag of words"``.
        config: of ours, by default the model's own.
        gensim_rate: gensim's learning rate at the start. Its own is 0.025; of that, 0.05, 0.1 and 0.2 the third is the
            best on the course's texts for both models, as ours were chosen.
        min_count: rarer words are left out.

    Returns:
        ``our_seconds`` and ``their_seconds`` with their median, min and max; ``ratio``, gensim's divided by ours
        within each round (above 1 ours is faster), with the ``lower_bound`` of its median besides; ``similarity``,
        for each set the correlations of ``ours`` and of ``gensim`` by seed, and how many pairs are ``covered``.
    """
    config = config or CONFIGS[model]
    texts = [list(words[start : start + LONGEST]) for words in documents for start in range(0, len(words), LONGEST)]
    pairs = {name: list(of_name) for name, of_name in judged.items()}
    seconds: dict[str, list[float]] = {"ours": [], "gensim": []}
    similarity: dict[str, dict[str, Any]] = {name: {"ours": [], "gensim": []} for name in pairs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number, seed in enumerate(seeds):
            contestants: dict[str, Callable[[], Trained]] = {
                "ours": partial(train_ours, texts, model, config, min_count, seed),
                "gensim": partial(train_gensim, texts, model, config, gensim_rate, min_count, seed),
            }
            for side in sorted(contestants, reverse=bool(number % 2)):
                started = time.perf_counter()
                words, vectors = contestants[side]()
                seconds[side].append(time.perf_counter() - started)
                for name, of_name in pairs.items():
                    result = similarity_correlation(words, vectors, of_name)
                    similarity[name][side].append(round(result.score, 4))
                    similarity[name]["covered"] = result.covered
    finally:
        torch.set_num_threads(threads)
    ratios = [theirs / ours for ours, theirs in zip(seconds["ours"], seconds["gensim"], strict=True)]
    return {
        "model": model,
        "words": sum(map(len, texts)),
        "our_seconds": spread(seconds["ours"]),
        "their_seconds": spread(seconds["gensim"]),
        "ratio": {**spread(ratios), "lower_bound": lower_bound(ratios)},
        "similarity": similarity,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median of some values and their ends."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def train_ours(
    texts: Sequence[Sequence[str]], model: str, config: WordVectorConfig, min_count: int, seed: int
) -> Trained:
    """Count, number and train with the reference; returns the words and their vectors."""
    vocabulary = count_words(texts, min_count)
    counts = torch.tensor(list(vocabulary.values()))
    *_, (_, vectors, _) = train_word_vectors(number_words(texts, vocabulary), counts, config, seed, model)
    return list(vocabulary), vectors


def train_gensim(
    texts: Sequence[Sequence[str]], model: str, config: WordVectorConfig, rate: float, min_count: int, seed: int
) -> Trained:
    """The same with gensim, by one worker; returns the words and their vectors."""
    from gensim.models import Word2Vec

    trained = Word2Vec(
        texts,
        vector_size=config.embedding_size,
        window=config.window,
        negative=config.negatives,
        epochs=config.epochs,
        sample=config.threshold,
        alpha=rate,
        min_alpha=config.final_rate,
        min_count=min_count,
        sg=int(model == "skip-gram"),
        workers=1,
        seed=seed,
    ).wv
    return trained.index_to_key, torch.from_numpy(trained.vectors)
