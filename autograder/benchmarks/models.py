"""The reference models against the libraries that the field uses, race by race, on one thread each."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import torch

from autograder.benchmarks import bert, gpt, tokenizers, word_vectors
from autograder.data import load
from autograder.reference.counting import split_words

ROUNDS = 15
SEEDS = (0, 1, 2)
"""Training word vectors takes a minute or so, and each seed is one round."""

ARTICLES = 1000
"""Of wikipedia, for the tokenizers: about 90,000 words."""

LIBRARIES = ("torch", "transformers", "gensim", "tokenizers")


def bert_races(rounds: int) -> Iterator[dict[str, Any]]:
    """BERT against transformers' with its fused attention."""
    return bert.races(rounds)


def gpt_races(rounds: int) -> Iterator[dict[str, Any]]:
    """GPT against transformers' GPT-2, and the modern decoder against its Llama: training and writing."""
    return gpt.races(rounds)


def word_vector_races(rounds: int) -> Iterator[dict[str, Any]]:
    """Skip-gram and bag of words against gensim's, on wikipedia and the addresses on the state of the union."""
    texts = [
        split_words(document.text)
        for name in ("wikipedia", "state_of_the_union")
        for document in load(name, allow_stand_in=False).documents
    ]
    judged = load("similarity", allow_stand_in=False)
    pairs = {name: judged.pairs(name) for name in ("wordsim353", "simlex999")}
    for model in word_vectors.CONFIGS:
        yield word_vectors.race(texts, pairs, SEEDS, model)


def tokenizer_races(rounds: int) -> Iterator[dict[str, Any]]:
    """Byte-pair encoding, byte-level and WordPiece against the library ``tokenizers``."""
    articles = load("wikipedia", allow_stand_in=False).documents[:ARTICLES]
    return tokenizers.races([article.text for article in articles], rounds)


KINDS: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "bert": bert_races,
    "gpt": gpt_races,
    "word-vectors": word_vector_races,
    "tokenizers": tokenizer_races,
}


def races(kinds: Sequence[str] = tuple(KINDS), rounds: int = ROUNDS) -> Iterator[dict[str, Any]]:
    """Run the races, one after the other.

    Args:
        kinds: which of ``KINDS``.
        rounds: pairs of times in each race; word vectors have one for each of ``SEEDS``.

    Yields:
        for each race what was raced, and what
        :func:`~autograder.benchmarks.interleaved.interleaved` measured.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for kind in kinds:
            for race in KINDS[kind](rounds):
                yield {"kind": kind, **race}
    finally:
        torch.set_num_threads(threads)


def versions() -> dict[str, str]:
    """The versions of the libraries that take part."""
    return {name: version(name) for name in LIBRARIES}
