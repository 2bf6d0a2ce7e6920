"""What :func:`autograder.data.load` gives: texts, pairs of sentences, word vectors, judgments, files, images.

A dataset is split by a hash of the seed and of what each example belongs to: a chapter, an address, an article. So the
split is the same with every version of Python, one more example moves no other, and no document is in two parts.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from autograder.data.cards import Card
from autograder.data.checks import DataError

Numbers = np.ndarray[Any, np.dtype[Any]]
Part = TypeVar("Part")

HELD_OUT = 0.1
"""The share of the documents that is for validation, and the share that is for the test."""


class Document(NamedTuple):
    """A text that belongs together.

    Attributes:
        id: its name in the dataset, which no other has.
        text: an article; an address; a chapter with one verse to a line; a review.
        title: for people.
        label: what it can be classified as; empty if that is not known.
    """

    id: str
    text: str
    title: str = ""
    label: str = ""


class Split(NamedTuple, Generic[Part]):
    """What to learn from, what to choose by, and what to report on in the end."""

    train: Part
    validation: Part
    test: Part


class Images(NamedTuple):
    """Images (N, height, width) from 0 to 1 as float32, and what they show (N,) as int64."""

    images: Numbers
    labels: Numbers


def split_indices(keys: Iterable[str], seed: int, held_out: float = HELD_OUT) -> Split[list[int]]:
    """Share out examples; those of one key stay together, and what the others are makes no difference.

    A smaller share held out moves examples to training only, never between validation and test.

    Args:
        keys: of all examples, what they belong to.
        seed: which of the many ways to split.
        held_out: the expected share of validation, and that of the test.

    Raises:
        ValueError: if ``held_out`` leaves nothing for training.
    """
    if not 0 <= held_out < 0.5:
        raise ValueError(f"held_out is the share of validation and that of the test, from 0 to below 0.5: {held_out}")
    split: Split[list[int]] = Split([], [], [])
    places: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        if key not in places:
            drawn = int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") / 2**64
            places[key] = split.test if drawn < held_out else split.validation if drawn >= 1 - held_out else split.train
        places[key].append(index)
    return split


@dataclass(frozen=True, repr=False, eq=False)
class Dataset:
    """What all datasets have.

    Attributes:
        name: as :func:`autograder.data.load` takes it.
        card: what it is, whose it is and what one may do with it.
        source: "package", "download" or "stand-in".
    """

    name: str
    card: Card
    source: str

    def __repr__(self) -> str:
        size = ", ".join(f"{count:,} {unit}" for unit, count in self.size().items())
        return f"<{self.name} ({self.source}): {size}>"

    def size(self) -> dict[str, int]:
        """What it holds, counted: from the unit to how many there are."""
        raise NotImplementedError

    def sample(self) -> str:
        """A little of it, to look at."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False, eq=False)
class TextDataset(Dataset):
    """Documents, in the order of their source.

    Attributes:
        documents: all of them.
        key: what a document belongs to; documents of the same key are never in two parts of a split.
    """

    documents: list[Document]
    key: Callable[[Document], str]

    def split(self, seed: int = 0, held_out: float = HELD_OUT) -> Split[list[Document]]:
        """Whole documents in three parts, each in order; see :func:`split_indices`."""
        parts = split_indices(map(self.key, self.documents), seed, held_out)
        return Split(*([self.documents[index] for index in part] for part in parts))

    def size(self) -> dict[str, int]:
        texts = [document.text for document in self.documents]
        words, num_bytes = (sum(map(len, map(measure, texts))) for measure in (str.split, str.encode))
        return {"documents": len(texts), "words": words, "bytes": num_bytes}

    def sample(self) -> str:
        document = self.documents[0]
        lines = document.text.splitlines()[:3]
        return "\n".join([document.title, *(_short(line) for line in lines)])


@dataclass(frozen=True, repr=False, eq=False)
class PairDataset(Dataset):
    """Sentences in two languages.

    Attributes:
        pairs: (English, French), in the order of their source.
        keys: what each pair belongs to; pairs of the same key are never in two parts of a split.
    """

    pairs: list[tuple[str, str]]
    keys: list[str]

    def split(self, seed: int = 0, held_out: float = HELD_OUT) -> Split[list[tuple[str, str]]]:
        """The pairs of whole documents in three parts, each in order; see :func:`split_indices`."""
        parts = split_indices(self.keys, seed, held_out)
        return Split(*([self.pairs[index] for index in part] for part in parts))

    def size(self) -> dict[str, int]:
        words = [sum(len(pair[side].split()) for pair in self.pairs) for side in (0, 1)]
        return {"pairs": len(self.pairs), "English words": words[0], "French words": words[1]}

    def sample(self) -> str:
        return "\n".join(f"{english}\n{french}" for english, french in self.pairs[:2])


@dataclass(frozen=True, repr=False, eq=False)
class VectorDataset(Dataset):
    """Word vectors.

    Attributes:
        words: the most frequent first.
        vectors: (V, D) float32, one row for each word. They are read when they are used; what is written to them is
            not written to the file.
    """

    words: list[str]
    vectors: Numbers

    def size(self) -> dict[str, int]:
        return {"words": len(self.words), "numbers a word": self.vectors.shape[1]}

    def sample(self) -> str:
        rows = zip(self.words[:3], self.vectors[:3, :5], strict=True)
        return "\n".join(f"{word}: {' '.join(f'{number:+.3f}' for number in row)} …" for word, row in rows)


@dataclass(frozen=True, repr=False, eq=False)
class SimilarityDataset(Dataset):
    """What people say about words.

    Attributes:
        judgments: from the name of a collection to pairs of words and how alike people found them.
        analogies: (section, a, b, c, d): a is to b as c is to d.
    """

    judgments: Mapping[str, list[tuple[str, str, float]]]
    analogies: list[tuple[str, str, str, str, str]]

    def pairs(self, collection: str) -> list[tuple[str, str, float]]:
        """Pairs of words with a judgment from 0 to 10.

        Args:
            collection: "wordsim353" (how related are they?) or "simlex999" (how alike are they?).

        Raises:
            DataError: if there is no such collection.
        """
        if collection not in self.judgments:
            raise DataError(f"There are no pairs {collection!r}: choose one of {', '.join(self.judgments)}.")
        return self.judgments[collection]

    def size(self) -> dict[str, int]:
        pairs = {f"{name} pairs": len(pairs) for name, pairs in self.judgments.items()}
        return pairs | {"analogies": len(self.analogies)}

    def sample(self) -> str:
        lines = [
            f"{name}: {first}, {second}, {score:g}" for name, ((first, second, score), *_) in self.judgments.items()
        ]
        section, a, b, c, d = self.analogies[0]
        return "\n".join([*lines, f"{section}: {a} is to {b} as {c} is to {d}"])


@dataclass(frozen=True, repr=False, eq=False)
class FileDataset(Dataset):
    """A pretrained model, as files.

    Attributes:
        files: from the name of a file to where it is.
    """

    files: Mapping[str, Path]

    def file(self, name: str) -> Path:
        """Where a file is.

        Raises:
            DataError: if there is no such file.
        """
        if name not in self.files:
            raise DataError(f"{self.name} has no file {name!r}: choose one of {', '.join(self.files)}.")
        return self.files[name]

    def size(self) -> dict[str, int]:
        return {"files": len(self.files), "bytes": sum(path.stat().st_size for path in self.files.values())}

    def sample(self) -> str:
        return "\n".join(f"{name}: {path.stat().st_size:,} bytes" for name, path in self.files.items())


@dataclass(frozen=True, repr=False, eq=False)
class ImageDataset(Dataset):
    """Images and what they show.

    Attributes:
        images: (N, height, width) float32, from 0 (black) to 1 (white).
        labels: (N,) int64.
    """

    images: Numbers
    labels: Numbers

    def split(self, seed: int = 0, held_out: float = HELD_OUT) -> Split[Images]:
        """Three parts, each in order, the same image never in two; see :func:`split_indices`."""
        keys = (hashlib.sha256(image.tobytes()).hexdigest() for image in self.images)
        return Split(*(Images(self.images[part], self.labels[part]) for part in split_indices(keys, seed, held_out)))

    def size(self) -> dict[str, int]:
        count, height, width = self.images.shape
        return {"images": count, "pixels high": height, "pixels wide": width}

    def sample(self) -> str:
        shades = np.array(list(" .:-=+*#%@"))
        rows = shades[(self.images[0] * 9).round().astype(int)]
        return "\n".join([*("".join(row).rstrip() for row in rows), f"shows {self.labels[0]}"])


def _short(line: str, most: int = 300) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"
