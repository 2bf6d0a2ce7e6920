"""What do the layers of an encoder hold? Linear probes, layer by layer, each beside a control task.

    python -m autograder.reference.recipes.probes --folder build/probes

Three questions are put to the vector of one word in its sentence: which word stood before it, was it written with a
capital, and what is the article about. A probe that finds an answer may have learned it by itself. So each question has
a control (Hewitt and Liang 2019, §2): every word of the vocabulary is given a label at random, as often each as in the
question, and the probe is asked for it; only memory helps. What a layer holds beyond memory is the difference.
"""

import argparse
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from autograder.data import Document, load
from autograder.data.batches import pad
from autograder.reference.pretrained import FOLDER
from autograder.reference.recipes.family import PARTS
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.recipes.senses import WIDTH, contestants, layers_of
from autograder.reference.training import evaluating
from autograder.reference.wordpiece import WordPiece

QUESTIONS = ("word before", "capital", "topic")
BEFORE = 20
"""How many of the most frequent words are told apart where they stand before another."""

COUNTS = {"train": 6_000, "validation": 1_500, "test": 3_000}
"""Words that a probe learns from, is chosen by and is tested on; each part from its own articles."""

SENTENCES = 3
"""Of each article, at most."""

STRENGTHS = (0.01, 1.0)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Asked:
    """A word in its sentence, and the right answers.

    Attributes:
        words: of the sentence, in lower case. place: of the word.
        answers: for each of ``QUESTIONS``; −1 where it is not asked.
    """

    words: list[str]
    place: int
    answers: tuple[int, ...]


def find_words(documents: Sequence[Document], topics: Sequence[str], frequent: Sequence[str]) -> list[Asked]:
    """All words but the first of every sentence of 6 to 40 words, of as many sentences of an article as there may be.

    Args:
        topics: the labels, in order. frequent: the words that are told apart where they stand before.
    """
    found = []
    number_of = {word: number for number, word in enumerate(frequent)}
    for document in documents:
        topic = topics.index(document.label) if document.label in topics else -1
        sentences = [re.findall(r"[^\W_]+|[^\w\s]", text) for text in re.split(r"(?<=[.!?])\s+", document.text)]
        for words in [words for words in sentences if 6 <= len(words) <= 40][:SENTENCES]:
            small = [word.lower() for word in words]
            for place in range(1, len(words)):
                if words[place][0].isalpha():
                    before = number_of.get(small[place - 1], -1)
                    found.append(Asked(small, place, (before, int(words[place][0].isupper()), topic)))
    return found


def draw(words: Sequence[Asked], question: int, count: int, seed: int) -> list[Asked]:
    """So many of those that are asked a question; each answer of "capital" and "word before" equally often."""
    rng = np.random.default_rng(seed)
    by_answer: dict[int, list[Asked]] = {}
    for word in words:
        by_answer.setdefault(word.answers[question], []).append(word)
    by_answer.pop(-1, None)
    if QUESTIONS[question] == "topic":
        by_answer = {0: [word for of_it in by_answer.values() for word in of_it]}
    chosen = []
    for _, of_it in sorted(by_answer.items()):
        chosen += [of_it[i] for i in rng.permutation(len(of_it))[: count // len(by_answer)]]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def control_labels(words: Sequence[Asked], answers: np.ndarray, seed: int) -> np.ndarray:
    """A random label for every word of the vocabulary, always the same for the same word, drawn from the answers."""
    rng = np.random.default_rng(seed)
    types = sorted({word.words[word.place] for word in words})
    label = dict(zip(types, rng.choice(answers, size=len(types)), strict=True))
    return np.array([label[word.words[word.place]] for word in words])


def vectors(model: torch.nn.Module, tokenizer: WordPiece, words: Sequence[Asked]) -> list[np.ndarray]:
    """What each layer makes of the words, at their first pieces: L + 1 arrays (number of words, D)."""
    encoded = []
    for word in words:
        pieces = [tokenizer.encode(other) for other in word.words]
        encoded.append(([i for piece in pieces for i in piece], sum(map(len, pieces[: word.place]))))
    order = sorted(range(len(words)), key=lambda number: len(encoded[number][0]))
    found = []
    with evaluating(model):
        for start in range(0, len(order), 64):
            chosen = order[start : start + 64]
            ids, lengths = pad([encoded[number][0] for number in chosen], 0)
            places = torch.tensor([encoded[number][1] for number in chosen])
            rows = torch.arange(len(chosen))
            found.append([layer[rows, places] for layer in layers_of(model, ids, lengths)])
    back = np.argsort(order)
    return [torch.cat(parts).numpy()[back] for parts in zip(*found, strict=True)]


def probe(x: dict[str, np.ndarray], y: dict[str, np.ndarray]) -> float:
    """The share of the test that a linear probe gets right, as strong as is best on validation."""
    components = PCA(min(WIDTH, x["train"].shape[1]), random_state=0).fit(x["train"])
    spread = float(components.explained_variance_.sum()) ** 0.5
    x = {part: components.transform(rows) / spread for part, rows in x.items()}
    regressions = [
        LogisticRegression(C=len(x["train"]) * strength, max_iter=300).fit(x["train"], y["train"])
        for strength in STRENGTHS
    ]
    best = max(regressions, key=lambda regression: regression.score(x["validation"], y["validation"]))
    return float(best.score(x["test"], y["test"]))


def course_words() -> dict[str, list[Asked]]:
    """The words of wikipedia's articles; the parts are those of the family's training."""
    split = load("wikipedia", allow_stand_in=False).split()
    topics = sorted({d.label for d in split.train if d.label})
    counts = Counter(word for d in split.train for word in re.findall(r"[^\W_]+", d.text.lower()))
    frequent = [word for word, _ in counts.most_common(BEFORE)]
    return {part: find_words(getattr(split, part), topics, frequent) for part in PARTS}


def ask(
    model: torch.nn.Module, tokenizer: WordPiece, words: dict[str, list[Asked]], question: int, seed: int
) -> list[tuple[int, float, float]]:
    """Probe all layers; for each its number, and what is right of the question and of its control."""
    chosen = {part: draw(words[part], question, COUNTS[part], seed) for part in PARTS}
    layers = {part: vectors(model, tokenizer, chosen[part]) for part in PARTS}
    answers = {part: np.array([word.answers[question] for word in chosen[part]]) for part in PARTS}
    random = control_labels([word for part in PARTS for word in chosen[part]], answers["train"], seed)
    ends = np.cumsum([len(chosen[part]) for part in PARTS])[:-1]
    control = dict(zip(PARTS, np.split(random, ends), strict=True))
    found = []
    for layer in range(len(layers["train"])):
        x = {part: layers[part][layer] for part in PARTS}
        found.append((layer, round(probe(x, answers), 4), round(probe(x, control), 4)))
    return found


def read_rows(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """What :func:`main` wrote."""
    with (folder / "probes.csv").open(newline="", encoding="utf-8") as file:
        numbers = {"seed": int, "layer": int, "right": float, "control": float}
        return [{key: numbers.get(key, str)(value) for key, value in row.items()} for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/probes"), help="where the log is kept")
    parser.add_argument("--models", type=Path, default=FOLDER, help="where the family is")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    words = course_words()
    log = RunLog(chosen.folder / "probes.csv", ("model", "question", "seed", "layer", "right", "control"), 3)
    readers = [(name, reader) for name, reader in contestants(chosen.models) if "gpt" not in name]
    runs = [(*who, question, seed) for who in readers for question in range(len(QUESTIONS)) for seed in SEEDS]
    for name, reader, question, seed in tqdm(runs, unit="run", dynamic_ncols=True):
        key = (name, QUESTIONS[question], seed)
        for row in log.rows_of(*key) or log.add(key, ask(reader.model, reader.tokenizer, words, question, seed)):
            tqdm.write("{model:18}{question:14}seed {seed}  layer {layer}  {right}  control {control}".format(**row))


if __name__ == "__main__":
    main()
