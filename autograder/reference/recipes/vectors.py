"""Word vectors of the course's three million words, in about half a minute on one thread.

python -m autograder.reference.recipes.vectors skip-gram
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data import Texts, load
from autograder.reference.counting import count_words, number_words, split_words
from autograder.reference.similarity import nearest_words, similarity_correlation
from autograder.reference.word_vectors import CONFIGS, train_word_vectors

TEXTS: tuple[Texts, ...] = ("wikipedia", "state_of_the_union")
MIN_COUNT = 5
KEPT = 6_000
"""So many words are kept: 1.2 MB."""


def course_words() -> list[list[str]]:
    """The words of all documents, in lower case."""
    return [split_words(document.text) for name in TEXTS for document in load(name, allow_stand_in=False).documents]


def run(documents: Sequence[Sequence[str]], model: str = "skip-gram", seed: int = 0) -> tuple[list[str], Tensor]:
    """Train on documents as words, with progress; returns the words, the most frequent first, and their vectors (V, D).

    Args:
        documents: words in lower case.
        model: "skip-gram" or "bag of words".
        seed: of all that is drawn.
    """
    vocabulary = count_words(documents, MIN_COUNT)
    counts = torch.tensor(list(vocabulary.values()))
    steps = train_word_vectors(number_words(documents, vocabulary), counts, CONFIGS[model], seed, model)
    *_, (_, vectors, _) = _shown(steps, model)
    return list(vocabulary), vectors


def save(words: Sequence[str], vectors: Tensor, folder: Path) -> None:
    """Keep the most frequent words and their vectors, brought to length 1 so that products are cosines."""
    folder.mkdir(parents=True, exist_ok=True)
    unit = F.normalize(vectors[:KEPT], dim=1).half()
    save_file({"vectors": unit.contiguous()}, folder / "word_vectors.safetensors")
    (folder / "word_vectors.json").write_text(json.dumps(list(words[:KEPT])) + "\n", encoding="utf-8")


def _shown(steps: Iterable[tuple[float, Tensor, Tensor]], model: str) -> Iterator[tuple[float, Tensor, Tensor]]:
    with tqdm(total=1.0, desc=model, bar_format="{l_bar}{bar}| {elapsed}<{remaining}", dynamic_ncols=True) as bar:
        for step in steps:
            bar.update(step[0] - bar.n)
            yield step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", choices=list(CONFIGS))
    parser.add_argument("--folder", type=Path, default=Path("build/vectors"), help="where the vectors are kept")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    words, vectors = run(course_words(), chosen.model, chosen.seed)
    save(words, vectors, chosen.folder)
    judged = load("similarity", allow_stand_in=False)
    for name in ("wordsim353", "simlex999"):
        result = similarity_correlation(words, vectors, judged.pairs(name))
        print(f"{name}: {result.score:.3f} ({result.covered} of {result.total} pairs)")
    for word in ("king", "river", "bank", "france"):
        number = words.index(word)
        near, _ = nearest_words(vectors[number], vectors, 5, exclude=[number])
        print(f"{word}: {', '.join(words[i] for i in near.tolist())}")


if __name__ == "__main__":
    main()
