"""From files to datasets: one function for each, which knows the form of its source and nothing of where it lies."""

import csv
import json
import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from autograder.data.cards import Card
from autograder.data.datasets import (
    Dataset,
    Document,
    FileDataset,
    ImageDataset,
    PairDataset,
    SimilarityDataset,
    TextDataset,
    VectorDataset,
)
from autograder.data.sources import SOURCES

BASIC_ENGLISH, LOUIS_SEGOND = "3", "l"
"""The two public-domain versions among those in the database."""

FIRST_BOOK_OF_THE_NEW_TESTAMENT = 40

Reader = Callable[[str, Card, str, Path], Dataset]


def by_id(document: Document) -> str:
    """What a document belongs to if it stands alone."""
    return document.id


def by_text(document: Document) -> str:
    """What a document belongs to if another may have the same words: the words."""
    return " ".join(re.findall(r"\w+", document.text.lower()))


def by_president_and_year(document: Document) -> str:
    """What an address belongs to: some were given in several parts, or spoken in short and sent in full."""
    return document.id.rpartition("-")[0]


def wikipedia(name: str, card: Card, source: str, folder: Path) -> TextDataset:
    """One document for each article, with its topic as label where it has one."""
    articles = json.loads((folder / "data/summaries_en-us.json").read_bytes())
    documents = [
        Document(title, article["extract"], title, article["topic"].replace("Uncategorized", ""))
        for title, article in articles.items()
    ]
    return TextDataset(name, card, source, documents, by_text)


def state_of_the_union(name: str, card: Card, source: str, folder: Path) -> TextDataset:
    """One document for each address, the oldest first, with the name of the president as label."""
    documents = []
    for path in sorted((folder / "data/speeches").glob("*.txt"), key=lambda path: path.name):
        year, president, _ = path.stem.split("-")
        president = _spaced(president)
        documents.append(Document(path.stem, path.read_text(encoding="utf-8"), f"{president}, {year}", president))
    return TextDataset(name, card, source, documents, by_president_and_year)


def king_james(name: str, card: Card, source: str, folder: Path) -> TextDataset:
    """One document for each chapter, a verse to a line."""
    rows = _query(
        folder / "bibles/bible_kjv.sqlite",
        "SELECT book_id, common_name, chapter_number, text FROM verses JOIN books ON books.id = book_id "
        "ORDER BY book_id, chapter_number, verse_number",
    )
    return TextDataset(name, card, source, _chapters(rows), by_id)


def basic_english(name: str, card: Card, source: str, folder: Path) -> TextDataset:
    """One document for each chapter, a verse to a line."""
    rows = _query(
        folder / "data/bible.db",
        "SELECT bNumber, bName, cNumber, vText FROM bible JOIN bibleRef USING (bbName, bNumber) WHERE bbName = ? "
        "ORDER BY bNumber, cNumber, vNumber",
        BASIC_ENGLISH,
    )
    return TextDataset(name, card, source, _chapters(rows), by_id)


def french_pairs(name: str, card: Card, source: str, folder: Path) -> PairDataset:
    """One pair for each verse, which belongs to its chapter."""
    rows = _query(
        folder / "data/bible.db",
        "SELECT bName, cNumber, english.vText, french.vText FROM bible AS english "
        "JOIN bible AS french USING (bNumber, cNumber, vNumber) JOIN bibleRef USING (bNumber) "
        "WHERE english.bbName = ?1 AND french.bbName = ?2 AND bibleRef.bbName = ?1 ORDER BY bNumber, cNumber, vNumber",
        BASIC_ENGLISH,
        LOUIS_SEGOND,
    )
    pairs = [(english, french) for _, _, english, french in rows]
    return PairDataset(name, card, source, pairs, [_chapter_id(book, chapter) for book, chapter, _, _ in rows])


def _query(path: Path, query: str, *values: str) -> list[Any]:
    import sqlite3

    connection = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def _chapters(rows: Iterable[tuple[int, str, int, str]]) -> list[Document]:
    """Documents from rows of the number and the name of a book, the number of a chapter, and a verse."""
    documents = []
    for (number, book, chapter), verses in groupby(rows, key=lambda row: row[:3]):
        name = _chapter_id(book, chapter)
        testament = "New Testament" if number >= FIRST_BOOK_OF_THE_NEW_TESTAMENT else "Old Testament"
        documents.append(Document(name, "\n".join(verse for *_, verse in verses), name, testament))
    return documents


def _chapter_id(book: str, chapter: int) -> str:
    """The same in every version, so that all hold the same chapters out."""
    return f"{_spaced(book).replace(' Of ', ' of ')} {chapter}"


def _spaced(name: str) -> str:
    """*SongOfSolomon* in three words, *McKinley* in one."""
    return re.sub(r"(?<=[a-z\d])(?<!\bMc)(?=[A-Z])", " ", name)


def movie_reviews(name: str, card: Card, source: str, folder: Path) -> TextDataset:
    """One document for each review, labelled positive or negative."""
    csv.field_size_limit(2**31 - 1)
    with (folder / "data/combined_movie_reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        documents = [
            Document(f"{site}-{number}", text.replace("<br />", "\n"), "", ("negative", "positive")[int(label)])
            for number, (text, label, site) in enumerate(rows, 1)
        ]
    return TextDataset(name, card, source, documents, by_text)


def glove(name: str, card: Card, source: str, folder: Path) -> VectorDataset:
    """The vectors stay in their file until they are used."""
    from autograder.data.parquet import distinct_words

    vectors = np.load(folder / "data/glove_6B_50d_emb.npy", mmap_mode="c")
    return VectorDataset(name, card, source, distinct_words(folder / "data/glove_6B_index.parquet"), vectors)


def similarity(name: str, card: Card, source: str, folder: Path) -> SimilarityDataset:
    """Judgments in lines of two words and a number, analogies in lines of four words under the name of a section."""
    place = folder / "test/test_data"
    judgments = {
        file.partition(".")[0]: [
            (first, second, float(score))
            for first, second, score in (line.split() for line in _lines(place / file) if not line.startswith("#"))
        ]
        for file in ("wordsim353.tsv", "simlex999.txt")
    }
    analogies: list[tuple[str, str, str, str, str]] = []
    for line in _lines(place / "questions-words.txt"):
        if line.startswith(":"):
            section = line[1:].strip()
        else:
            a, b, c, d = line.split()
            analogies.append((section, a, b, c, d))
    return SimilarityDataset(name, card, source, judgments, analogies)


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def files(name: str, card: Card, source: str, folder: Path) -> FileDataset:
    """The files as they are."""
    paths = [folder / file for file in SOURCES[name].files]
    return FileDataset(name, card, source, {path.name: path for path in paths})


def digits(name: str, card: Card, source: str, folder: Path) -> ImageDataset:
    """8 × 8 pixels of 17 shades."""
    return _images(name, card, source, folder / "datasets/data/digits.csv.gz", 8, 16)


def mnist(name: str, card: Card, source: str, folder: Path) -> ImageDataset:
    """28 × 28 pixels of 256 shades, sorted by digit."""
    return _images(name, card, source, folder / "data/data/mnist_5k.csv.gz", 28, 255)


def _images(name: str, card: Card, source: str, path: Path, side: int, brightest: int) -> ImageDataset:
    rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)  # (N, side · side + 1), the label last
    images = (rows[:, :-1] / np.float32(brightest)).reshape(-1, side, side)
    return ImageDataset(name, card, source, images, rows[:, -1].astype(np.int64))


READERS: dict[str, Reader] = {
    "wikipedia": wikipedia,
    "state_of_the_union": state_of_the_union,
    "king_james": king_james,
    "basic_english": basic_english,
    "french_pairs": french_pairs,
    "glove": glove,
    "minilm": files,
    "smollm2": files,
    "similarity": similarity,
    "digits": digits,
    "mnist": mnist,
    "movie_reviews": movie_reviews,
}
