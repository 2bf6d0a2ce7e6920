"""Tasks for which the texts themselves have the labels: names and exchanged words, senses and agreement."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import regex

from autograder.data import load
from autograder.data.generated import grammar, lexicon, verses
from autograder.data.generated.verses import IGNORED
from autograder.reference.recipes.family import PARTS, TOKENIZER, Recipe, Sizes
from autograder.reference.wordpiece import WordPiece

POOL, VALIDATION, TEST = 4_000, 500, 1_000
"""Examples to draw from, to choose by and to report."""

LONGEST = 100
"""Words in an example; longer ones are left out."""

GRAMMAR_SENTENCES = {"train": 60_000, "validation": 2_000, "test": 2_000}
GRAMMAR_SIZES = Sizes(vocab_size=5 + len(lexicon.VOCABULARY) + 2, num_layers=2, lstm_size=111)
"""Two layers are enough for 332 words; the LSTMs then have as many parameters at a width of 111."""


class Example(NamedTuple):
    """Words, and what is asked about them: a label for each word, −100 where nothing is asked, or one for all."""

    words: list[str]
    labels: list[int]


@dataclass(frozen=True)
class Task:
    """What is to be judged.

    Attributes:
        of_words: whether each word has its label.
        num_labels: number of different labels.
        parts: the examples of "train", "validation" and "test"; each from its own part of the text.
        label_counts: of how many labeled examples one learns, in turn.
        score: of predictions and labels, each (N,).
        cue: what a judge by the words around would look at.
    """

    name: str
    of_words: bool
    num_labels: int
    parts: dict[str, list[Example]]
    label_counts: tuple[int, ...]
    score: Callable[[np.ndarray, np.ndarray], float]
    cue: str


@dataclass(frozen=True)
class Corpus:
    """A text to learn the language from, cut into words for the counters and into tokens for the models."""

    recipe: Recipe
    words: list[list[str]]
    tasks: list[Task]


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share that is right."""
    return float((predicted == labels).mean())


def f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The harmonic mean of precision and recall of label 1; 0 if nothing is found."""
    right = float(((predicted == 1) & (labels == 1)).sum())
    return 2 * right / max(1.0, float((predicted == 1).sum() + (labels == 1).sum()))


def split_verse(line: str) -> list[str]:
    """Words and punctuation marks, with their capitals; the tokenizer cuts at the same places."""
    return regex.findall(r"[^\W_]+|[^\w\s]|_", line)


def basic_english(folder: Path) -> Corpus:
    """The Bible in Basic English: which words were names, and were words of this verse exchanged?"""
    recipe = Recipe.prepare(folder, ("basic_english",))
    split = load("basic_english", allow_stand_in=False).split()
    lines = {
        part: [words for d in getattr(split, part) for line in d.text.split("\n") if (words := split_verse(line))]
        for part in PARTS
    }
    named, ordered = {}, {}
    for number, part in enumerate(PARTS):
        generator = np.random.default_rng(number)
        named[part] = [Example(*verse) for verse in verses.names(lines[part]) if 1 in verse.labels or 0 in verse.labels]
        ordered[part] = [Example(verse.tokens, [verse.swapped]) for verse in verses.swapped(lines[part], generator)]
    counts = (50, 200, 1000)
    tasks = [
        Task("names", True, 2, _some(named), counts, f1, "neighbors"),
        Task("swapped", False, 2, _some(ordered), counts, accuracy, "order"),
    ]
    return Corpus(recipe, [[word.lower() for word in line] for line in lines["train"]], tasks)


def small_grammar(folder: Path) -> Corpus:
    """Sentences of a grammar with 332 words: the sense of a noun, and the number of a verb."""
    folder.mkdir(parents=True, exist_ok=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    WordPiece([*special, *lexicon.VOCABULARY, *lexicon.PUNCTUATION], special).save(folder / TOKENIZER)
    sentences = {
        part: [sentence.words for sentence in grammar.sentences(count, np.random.default_rng(number))]
        for number, (part, count) in enumerate(GRAMMAR_SENTENCES.items())
    }
    texts = {part: [" ".join(words) for words in lists] for part, lists in sentences.items()}
    recipe = Recipe.of(texts, folder, GRAMMAR_SIZES)
    senses, agreeing = {}, {}
    for number, (part, count) in enumerate(zip(PARTS, (POOL, VALIDATION, TEST), strict=True)):
        generator = np.random.default_rng([1, number])
        senses[part] = [
            Example(e.words, [e.label if place == e.position else IGNORED for place in range(len(e.words))])
            for e in grammar.senses(count, generator)
        ]
        pairs = grammar.agreement(count, generator)
        agreeing[part] = [Example(words, [label]) for words, label in grammar.judgments(pairs, generator)]
    counts = (20, 50, 200, 1000)
    tasks = [
        Task("sense", True, len(lexicon.DOMAINS), senses, counts, accuracy, "sentence"),
        Task("agreement", False, 2, agreeing, counts, accuracy, "order"),
    ]
    return Corpus(recipe, sentences["train"], tasks)


CORPORA: dict[str, Callable[[Path], Corpus]] = {"basic_english": basic_english, "grammar": small_grammar}


def drawn(task: Task, count: int, seed: int) -> list[Example]:
    """So many labeled examples of those that there are; a larger draw with the same seed holds the smaller."""
    pool = task.parts["train"]
    return [pool[place] for place in np.random.default_rng(seed).permutation(len(pool))[:count].tolist()]


def _some(parts: dict[str, list[Example]]) -> dict[str, list[Example]]:
    """Of all examples as many as are needed, chosen at random."""
    chosen = {}
    for number, (part, most) in enumerate(zip(PARTS, (POOL, VALIDATION, TEST), strict=True)):
        fitting = [example for example in parts[part] if len(example.words) <= LONGEST]
        order = np.random.default_rng([2, number]).permutation(len(fitting))[:most].tolist()
        chosen[part] = [fitting[place] for place in order]
    return chosen
