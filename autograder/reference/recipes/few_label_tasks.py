"""Tasks for which the texts themselves have the labels, or that are made from rules, so that labels are not scarce.

Names and exchanged words in the Bible, senses and agreement in a small grammar, and on the family's text the four kinds
of task to which one encoder is to be fitted (Devlin et al. 2019, figure 4): a text, a pair, each word, a span.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import regex

from autograder.data import load
from autograder.data.generated import entailment, entities, grammar, lexicon, questions, verses
from autograder.data.generated.verses import IGNORED
from autograder.reference.recipes.family import CONTEXT, PARTS, TOKENIZER, Recipe, Sizes
from autograder.reference.wordpiece import WordPiece, basic_tokens

POOL, VALIDATION, TEST = 4_000, 500, 1_000
"""Examples to draw from, to choose by and to report."""

LONGEST = 100
"""Words in an example; longer ones are left out."""

TOPIC_WORDS = 48
"""So much of an article is read to tell its topic."""

GRAMMAR_SENTENCES = {"train": 60_000, "validation": 2_000, "test": 2_000}
GRAMMAR_SIZES = Sizes(5 + len(lexicon.VOCABULARY) + 2, num_layers=2, lstm_size=111, lstm_in_bert_size=96)
"""Two layers are enough for 332 words; the LSTMs then have as many parameters at a width of 111."""


Kind: TypeAlias = Literal["words", "text", "pair", "span"]


FAMILY, EXCHANGED = ("elmo", "bert", "gpt"), ("elmo_without_lstms", "bert_with_lstms")


class Example(NamedTuple):
    """Words, and what is asked about them.

    Attributes:
        words: a text, the first of a pair, or the context of a question.
        labels: a label for each word, −100 where nothing is asked; one for a text or a pair; or the first and the last
            word of the span that is asked for.
        second: the other text of a pair, or the question.
    """

    words: list[str]
    labels: list[int]
    second: Sequence[str] = ()


@dataclass(frozen=True)
class Task:
    """What is to be judged.

    Attributes:
        kind: what is labeled: each of the words, a text, a pair of texts, or a span.
        num_labels: number of different labels; for a span 2, its first and its last word.
        parts: the examples of "train", "validation" and "test"; each from its own part of the text.
        label_counts: of how many labeled examples one learns, in turn.
        score: of predictions and labels, each (N,).
        cue: what a judge by the words around would look at.
    """

    name: str
    kind: Kind
    num_labels: int
    parts: dict[str, list[Example]]
    label_counts: tuple[int, ...]
    score: Callable[[np.ndarray, np.ndarray], float]
    cue: str


WAYS = ("fine-tuned", "frozen", "from scratch")


@dataclass(frozen=True)
class Corpus:
    """A text to learn the language from, cut into words for the counters and into tokens for the models.

    Attributes:
        words: of the training part.
        ways: in which each model competes.
        lengths: how many times the usual number of steps there may be; the best on validation is taken.
        is_familys: whether the models are those that come with the course, and not pretrained anew.
    """

    recipe: Recipe
    words: list[list[str]]
    tasks: list[Task]
    ways: Mapping[str, Sequence[str]]
    lengths: Sequence[int] = (1, 3)
    is_familys: bool = False


def accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share that is right."""
    return float((predicted == labels).mean())


def exact_spans(predicted: np.ndarray, labels: np.ndarray) -> float:
    """The share of spans of which both ends are right."""
    return float((predicted == labels).reshape(-1, 2).all(axis=1).mean())


def tag_f1(predicted: np.ndarray, labels: np.ndarray) -> float:
    """As :func:`f1`, over all labels but 0, which says that there is nothing."""
    right = float(((predicted == labels) & (labels > 0)).sum())
    return 2 * right / max(1.0, float((predicted > 0).sum() + (labels > 0).sum()))


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
        Task("names", "words", 2, _some(named), counts, f1, "neighbors"),
        Task("swapped", "text", 2, _some(ordered), counts, accuracy, "order"),
    ]
    ways = dict.fromkeys(FAMILY, WAYS) | dict.fromkeys(EXCHANGED, WAYS[:1])
    return Corpus(recipe, [[word.lower() for word in line] for line in lines["train"]], tasks, ways)


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
        Task("sense", "words", len(lexicon.DOMAINS), senses, counts, accuracy, "sentence"),
        Task("agreement", "text", 2, agreeing, counts, accuracy, "order"),
    ]
    return Corpus(recipe, sentences["train"], tasks, dict.fromkeys(FAMILY, WAYS))


def topic_task(words: int, label_counts: tuple[int, ...], most: int = TEST) -> Task:
    """The topic of an article of wikipedia, one of 11.

    Args:
        words: so many from its beginning are read.
        most: articles to report on.
    """
    split = load("wikipedia", allow_stand_in=False).split()
    labeled = {part: [d for d in getattr(split, part) if d.label] for part in PARTS}
    topics = sorted({d.label for d in labeled["train"]})
    parts = _some(
        {
            part: [Example(basic_tokens(d.text)[:words], [topics.index(d.label)]) for d in found]
            for part, found in labeled.items()
        }
    )
    return Task("topics", "text", len(topics), parts | {"test": parts["test"][:most]}, label_counts, accuracy, "bag")


def entailment_examples(count: int, generator: np.random.Generator) -> list[Example]:
    """Pairs of sentences from rules, the premise first."""
    return [
        Example(basic_tokens(pair.premise), [pair.label], basic_tokens(pair.hypothesis))
        for pair in entailment.entailment(count, generator)
    ]


def fits(example: Example, tokenizer: WordPiece) -> bool:
    """Whether the family's models can read an example with its three marks."""
    return sum(len(tokenizer.encode(word)) for word in [*example.words, *example.second]) + 3 <= CONTEXT


def english(folder: Path) -> Corpus:
    """The family's text: topics of its articles, and pairs, entities and questions that are made from rules.

    Where names or years of training and test differ, those of the choice of settings are the training's.
    """
    recipe = Recipe.prepare(folder)
    split = load("wikipedia", allow_stand_in=False).split()
    of_kind: dict[str, dict[str, list[Example]]] = {name: {} for name in ("pairs", "entities", "questions")}
    for number, (part, count) in enumerate(zip(PARTS, (POOL, VALIDATION, TEST), strict=True)):
        generator = np.random.default_rng([3, number])
        of_kind["pairs"][part] = entailment_examples(count, generator)
        of_kind["entities"][part] = [
            Example([token.lower() for token in tagged.tokens], [entities.TAGS.index(tag) for tag in tagged.tags])
            for tagged in entities.entities(count, "test" if part == "test" else "train", generator)
        ]
        asked = (
            Example([t.lower() for t in q.tokens], [q.first, q.last], basic_tokens(q.question))
            for q in questions.questions(count, generator)
        )
        of_kind["questions"][part] = [example for example in asked if fits(example, recipe.tokenizer)]
    counts = (20, 50, 200, 1000)
    tasks = [
        topic_task(TOPIC_WORDS, counts),
        Task("pairs", "pair", len(entailment.LABELS), of_kind["pairs"], counts, accuracy, "bag"),
        Task("entities", "words", len(entities.TAGS), of_kind["entities"], counts, tag_f1, "neighbors"),
        Task("questions", "span", 2, of_kind["questions"], counts, exact_spans, "span"),
    ]
    sentences = [basic_tokens(d.text) for d in split.train]
    ways = {"bert": WAYS, "elmo": WAYS[1:2], "minilm": WAYS[1:2]}
    return Corpus(recipe, sentences, tasks, ways, lengths=(1,), is_familys=True)


CORPORA: dict[str, Callable[[Path], Corpus]] = {
    "basic_english": basic_english,
    "grammar": small_grammar,
    "english": english,
}


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
