"""Stand-ins, made by rules, for data that are not here.

They have the form of the real data and are much smaller. Code can be tried with them; no result means anything.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from autograder.data.cards import CARDS, Card
from autograder.data.datasets import (
    Dataset,
    Document,
    ImageDataset,
    PairDataset,
    SimilarityDataset,
    TextDataset,
    VectorDataset,
)
from autograder.data.generated import lexicon
from autograder.data.generated.dice import Dice
from autograder.data.generated.grammar import sentences
from autograder.data.generated.word_lists import listed
from autograder.data.readers import by_id, by_president_and_year, by_text
from autograder.data.stand_in_models import minilm, smollm2

STAND_IN = "stand-in"
WIDTH = 50

FRENCH_NOUNS = {
    "house": "la maison", "garden": "le jardin", "river": "la rivière", "king": "le roi", "city": "la ville",
    "book": "le livre", "door": "la porte", "wall": "le mur", "sea": "la mer", "son": "le fils",
}  # fmt: skip
FRENCH_ADJECTIVES = {
    "red": ("rouge", "rouge"), "green": ("vert", "verte"), "white": ("blanc", "blanche"), "black": ("noir", "noire"),
    "round": ("rond", "ronde"), "strong": ("fort", "forte"),
}  # fmt: skip
"""For a masculine and for a feminine noun."""
FRENCH_VERBS = {"sees": "voit", "loves": "aime", "keeps": "garde", "knows": "connaît", "takes": "prend"}

PRAISE = listed("wonderful moving clever funny brilliant fresh")
BLAME = listed("dull clumsy tedious empty silly stale")

GLYPHS = (
    "111101101101111", "010110010010111", "111001111100111", "111001111001111", "101101111001001",
    "111100111001111", "111100111101111", "111001001010010", "111101111101111", "111101111001111",
)  # fmt: skip
"""The digits, five rows of three pixels each."""


def stand_in(name: str) -> Dataset:
    """The stand-in of a dataset, the same every time."""
    card = Card(
        title=f"A stand-in for: {CARDS[name].title}",
        origin="made by rules by this project",
        license="MIT",
        size={},
        note="For trying code; no result with it means anything.",
    )
    dataset = MAKERS[name](name, card, np.random.default_rng(list(name.encode())))
    return replace(dataset, card=replace(card, size=dataset.size()))


def _articles(name: str, card: Card, generator: np.random.Generator) -> TextDataset:
    texts = _texts(700, 6, generator)
    documents = [
        Document(f"{label} {number}", " ".join(text), f"{label} {number}", label)
        for number, (label, text) in enumerate(texts, 1)
    ]
    return TextDataset(name, card, STAND_IN, documents, by_id)


def _addresses(name: str, card: Card, generator: np.random.Generator) -> TextDataset:
    documents = [
        Document(f"{year}-Nobody-1", "\n\n".join(text), f"Nobody, {year}", "Nobody")
        for year, (_, text) in enumerate(_texts(60, 80, generator), 1790)
    ]
    return TextDataset(name, card, STAND_IN, documents, by_president_and_year)


def _chapters(name: str, card: Card, generator: np.random.Generator) -> TextDataset:
    documents = [
        Document(f"Chapter {number}", "\n".join(text), f"Chapter {number}")
        for number, (_, text) in enumerate(_texts(120, 25, generator), 1)
    ]
    return TextDataset(name, card, STAND_IN, documents, by_id)


def _reviews(name: str, card: Card, generator: np.random.Generator) -> TextDataset:
    dice = Dice(generator)
    documents = []
    for number in range(1, 601):
        label, words = dice.choice((("positive", PRAISE), ("negative", BLAME)))
        first, second = dice.several(words, 2)
        documents.append(Document(f"review-{number}", f"A {first} film. Its end is {second}.", "", label))
    return TextDataset(name, card, STAND_IN, documents, by_text)


def _texts(count: int, length: int, generator: np.random.Generator) -> list[tuple[str, list[str]]]:
    """So many texts of so many sentences about one topic each, with the topic."""
    by_topic: dict[str, list[str]] = {topic: [] for topic in lexicon.DOMAINS}
    texts: list[tuple[str, list[str]]] = []
    while len(texts) < count:
        for sentence in sentences(count * length // 4, generator):
            topic = sentence.clauses[0].domain
            by_topic[topic].append(_written(sentence.words))
            if len(by_topic[topic]) == length:
                texts.append((topic, by_topic[topic]))
                by_topic[topic] = []
    return texts[:count]


def _written(words: list[str]) -> str:
    text = " ".join(words).replace(" ,", ",").replace(" .", ".")
    return text[0].upper() + text[1:]


def _translations(name: str, card: Card, generator: np.random.Generator) -> PairDataset:
    dice = Dice(generator)
    pairs = []
    for _ in range(2000):
        (subject, sujet), (thing, objet) = _noun_phrase(dice), _noun_phrase(dice)
        verb, verbe = dice.choice(list(FRENCH_VERBS.items()))
        pairs.append((_written([subject, verb, thing, "."]), _written([sujet, verbe, objet, "."])))
    return PairDataset(name, card, STAND_IN, pairs, [f"Chapter {english} {french}" for english, french in pairs])


def _noun_phrase(dice: Dice) -> tuple[str, str]:
    noun, french = dice.choice(list(FRENCH_NOUNS.items()))
    adjective, forms = dice.choice(list(FRENCH_ADJECTIVES.items()))
    return f"the {adjective} {noun}", f"{french} {forms[french.startswith('la ')]}"


def _vectors(name: str, card: Card, generator: np.random.Generator) -> VectorDataset:
    """Words of one topic are near each other, and every plural lies in the same direction from its singular."""
    words = [*lexicon.PUNCTUATION, "the", *(word for word in lexicon.VOCABULARY if word != "the")]
    vectors = dict(zip(words, generator.normal(size=(len(words), WIDTH)), strict=True))
    to_plural = 3 * generator.normal(size=WIDTH)
    for domain in lexicon.DOMAINS.values():
        center = 2 * generator.normal(size=WIDTH)
        for singular, plural in (*domain.people, *domain.things):
            vectors[singular] = center + vectors[singular]
            vectors[plural] = vectors[singular] + to_plural + 0.1 * vectors[plural]
    return VectorDataset(name, card, STAND_IN, words, np.stack([vectors[word] for word in words]).astype(np.float32))


def _judgments(name: str, card: Card, generator: np.random.Generator) -> SimilarityDataset:
    dice = Dice(generator)
    nouns = [(topic, noun) for topic, words in lexicon.DOMAINS.items() for noun in (*words.people, *words.things)]
    pairs = []
    for _ in range(200):
        (topic, first), (other_topic, second) = dice.several(nouns, 2)
        pairs.append((first.singular, second.singular, (8.0 if topic == other_topic else 1.0) + dice.below(20) / 10))
    forms = [noun for _, noun in nouns]
    analogies = [("gram8-plural", *first, *second) for first in forms for second in forms if first != second]
    return SimilarityDataset(name, card, STAND_IN, {"wordsim353": pairs[:100], "simlex999": pairs[100:]}, analogies)


def _small_digits(name: str, card: Card, generator: np.random.Generator) -> ImageDataset:
    return _digits(name, card, generator, 8, 1)


def _large_digits(name: str, card: Card, generator: np.random.Generator) -> ImageDataset:
    return _digits(name, card, generator, 28, 4)


def _digits(name: str, card: Card, generator: np.random.Generator, side: int, scale: int) -> ImageDataset:
    """Printed digits somewhere in a noisy image."""
    labels = np.arange(600) % 10
    images = generator.uniform(0, 0.2, size=(len(labels), side, side))
    for image, label in zip(images, labels, strict=True):
        glyph = np.kron(np.array(list(GLYPHS[label]), float).reshape(5, 3), np.ones((scale, scale)))
        top, left = (int(generator.integers(side - size + 1)) for size in glyph.shape)
        image[top : top + glyph.shape[0], left : left + glyph.shape[1]] += 0.8 * glyph
    return ImageDataset(name, card, STAND_IN, images.astype(np.float32), labels.astype(np.int64))


MAKERS: dict[str, Callable[[str, Card, np.random.Generator], Dataset]] = {
    "wikipedia": _articles,
    "state_of_the_union": _addresses,
    "king_james": _chapters,
    "basic_english": _chapters,
    "french_pairs": _translations,
    "glove": _vectors,
    "minilm": minilm,
    "smollm2": smollm2,
    "similarity": _judgments,
    "digits": _small_digits,
    "mnist": _large_digits,
    "movie_reviews": _reviews,
}
