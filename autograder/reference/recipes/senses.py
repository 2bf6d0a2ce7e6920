"""Does a vector in context tell two senses of a word apart? Pseudo-words, layer by layer, for ELMo, BERT and GPT.

    python -m autograder.reference.recipes.senses --folder build/family

Two words are merged into one (*music* and *river*), whose first vector is the mean of theirs and so the same in both
senses. Three kinds of pairs ask for three kinds of knowledge: words with little in common, words that stand in like
places, and a noun with a verb, which grammar tells apart. A linear judge for each pair and layer learns from articles
that the models were trained on, which layer and how strong a judge is chosen on the validation part, and the test is on
articles that nobody has seen. All vectors are brought to one width. Beside the models stand what must be beaten: the
same models untrained, the mean of the words around, and the word before and the word behind, side by side.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from tqdm.auto import tqdm

from autograder.data import load
from autograder.data.batches import pad
from autograder.data.generated.pseudo_words import CLASSES, FAR, NEAR, merged, pseudo_words
from autograder.reference.attention import padding_mask
from autograder.reference.bert import Bert, BertForPreTraining
from autograder.reference.counting import split_words
from autograder.reference.elmo import ELMo
from autograder.reference.gpt import GPT
from autograder.reference.pretrained import FOLDER, figures, load_bert, load_elmo, load_gpt, load_minilm, load_tokenizer
from autograder.reference.recipes import vectors
from autograder.reference.recipes.family import CONTEXT, KINDS, PARTS, Sizes
from autograder.reference.training import evaluating
from autograder.reference.wordpiece import WordPiece, basic_tokens

PAIRS = FAR + NEAR + CLASSES
KIND_OF = {pair: kind for kind, pairs in (("far", FAR), ("near", NEAR), ("class", CLASSES)) for pair in pairs}
WIDTH = 128
"""All vectors are brought to so many numbers, by their principal components."""

AROUND = 5
STRENGTHS = (0.1, 1.0, 10.0, 100.0)
COLUMNS = ("model", "layer", "pair", "kind", "strength", "validation", "test", "questions")


class Use(NamedTuple):
    """A pseudo-word in its context.

    Attributes:
        words: a piece of an article. place: of the pseudo-word among them.
        pair, sense: which pseudo-word, and which of its words stood there.
    """

    words: list[str]
    place: int
    pair: int
    sense: int


def find_uses(documents: Sequence[Sequence[str]], seed: int = 0) -> list[Use]:
    """Every use of a pseudo-word, as many of one sense as of the other, with at most half a context on either side."""
    reach = CONTEXT // 2
    merging = pseudo_words(documents, PAIRS, np.random.default_rng(seed), shares=(1.0, 0.0))
    uses = []
    for document, position, pair, sense in merging.train:
        start = max(0, position - reach)
        uses.append(Use(merging.documents[document][start : position + reach], position - start, pair, sense))
    return uses


def course_uses() -> dict[str, list[Use]]:
    """Uses in wikipedia's articles; the parts are those of the family's training."""
    split = load("wikipedia", allow_stand_in=False).split()
    return {part: find_uses([basic_tokens(d.text) for d in getattr(split, part)]) for part in PARTS}


@dataclass(frozen=True)
class Reader:
    """A model that reads pseudo-words: they have numbers behind its vocabulary.

    Attributes:
        model: one of the three, or a published encoder.
        tokenizer: its own; what is behind its vocabulary are the pairs in order.
    """

    model: nn.Module
    tokenizer: WordPiece

    @staticmethod
    def of(model: nn.Module, tokenizer: WordPiece) -> "Reader":
        """Give a model a vector for each pseudo-word: the mean of its two words' (of their pieces', if need be)."""
        parent, name = _embedding_of(model)
        old: Tensor = getattr(parent, name).weight.detach()
        new = [torch.stack([old[tokenizer.encode(word)].mean(dim=0) for word in pair]).mean(dim=0) for pair in PAIRS]
        setattr(parent, name, nn.Embedding.from_pretrained(torch.cat([old, torch.stack(new)])))
        return Reader(model, tokenizer)

    def encode(self, use: Use) -> tuple[list[int], int]:
        """Token ids, at most ``CONTEXT`` of them, and the place of the pseudo-word."""
        numbers = {merged(pair): len(self.tokenizer.vocabulary) + i for i, pair in enumerate(PAIRS)}
        pieces = [[numbers[word]] if word in numbers else self.tokenizer.encode(word) for word in use.words]
        place = sum(map(len, pieces[: use.place]))
        start = max(0, place - CONTEXT // 2)
        ids = [i for word in pieces for i in word]
        return ids[start : start + CONTEXT], place - start

    def vectors(self, uses: Sequence[Use], name: str) -> list[np.ndarray]:
        """What each layer makes of the pseudo-words: L + 1 arrays (number of uses, D)."""
        found: list[list[Tensor]] = []
        encoded = [self.encode(use) for use in uses]
        order = sorted(range(len(uses)), key=lambda number: len(encoded[number][0]))
        with evaluating(self.model):
            for start in tqdm(range(0, len(order), 32), desc=name, unit="batch", leave=False, dynamic_ncols=True):
                chosen = order[start : start + 32]
                ids, lengths = pad([encoded[number][0] for number in chosen], 0)
                places = torch.tensor([encoded[number][1] for number in chosen])
                layers = layers_of(self.model, ids, lengths)
                found.append([layer[torch.arange(len(chosen)), places] for layer in layers])
        back = np.argsort(order)
        return [torch.cat(parts).numpy()[back] for parts in zip(*found, strict=True)]


def _embedding_of(model: nn.Module) -> tuple[nn.Module, str]:
    """Where a model keeps the vectors of its tokens."""
    if isinstance(model, ELMo):
        return model, "token_encoder"
    if isinstance(model, GPT):
        return model, "token_embedding"
    bert = model.bert if isinstance(model, BertForPreTraining) else model
    assert isinstance(bert, Bert)
    return bert.embeddings, "word_embedding"


def layers_of(model: nn.Module, ids: Tensor, lengths: Tensor) -> list[Tensor]:
    """What each layer of a model makes of the tokens (B, T): L + 1 tensors (B, T, D)."""
    if isinstance(model, ELMo):
        return model.hidden_states(ids, lengths)
    if isinstance(model, GPT):
        return model.hidden_states(ids)
    bert = model.bert if isinstance(model, BertForPreTraining) else model
    assert isinstance(bert, Bert)
    return bert.hidden_states(ids, mask=padding_mask(lengths, ids.size(1)))


def mean_around(uses: Sequence[Use], vectors: dict[str, np.ndarray]) -> np.ndarray:
    """The mean of the vectors of the words around, each side at most ``AROUND`` words, without the pseudo-word."""
    nothing = np.zeros_like(next(iter(vectors.values())))
    rows = []
    for use in uses:
        near = use.words[max(0, use.place - AROUND) : use.place] + use.words[use.place + 1 : use.place + 1 + AROUND]
        rows.append(np.mean([vectors.get(word, nothing) for word in near] or [nothing], axis=0))
    return np.stack(rows)


def side_by_side(uses: Sequence[Use], vectors: dict[str, np.ndarray]) -> np.ndarray:
    """The vectors of the word before and of the word behind, joined; zeros where there is none."""
    nothing = np.zeros_like(next(iter(vectors.values())))
    rows = []
    for use in uses:
        before, behind = use.words[: use.place][-1:], use.words[use.place + 1 :][:1]
        rows.append(np.concatenate([vectors.get(word[0], nothing) if word else nothing for word in (before, behind)]))
    return np.stack(rows)


def mixed(layers: Sequence[np.ndarray], scale: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of all layers, each on the scale that it has on other rows."""
    return np.mean([layer / other.std() for layer, other in zip(layers, scale, strict=True)], axis=0)


def judge(model: str, layer: str, parts: dict[str, np.ndarray], uses: dict[str, list[Use]]) -> Iterator[dict[str, Any]]:
    """Teach a linear judge for each pair; yields a row of ``COLUMNS`` for each pair and strength."""
    width = min(WIDTH, parts["train"].shape[1])
    components = PCA(width, random_state=0).fit(parts["train"])
    spread = float(components.explained_variance_.sum()) ** 0.5  # what a judge's strength means hangs on the scale
    x = {part: components.transform(rows) / spread for part, rows in parts.items()}
    pairs = {part: np.array([use.pair for use in uses[part]]) for part in PARTS}
    senses = {part: np.array([use.sense for use in uses[part]]) for part in PARTS}
    for pair, words in enumerate(PAIRS):
        here = {part: pairs[part] == pair for part in PARTS}
        for strength in STRENGTHS:
            regression = LogisticRegression(C=strength, max_iter=1_000)
            regression.fit(x["train"][here["train"]], senses["train"][here["train"]])
            right = {
                part: float(regression.score(x[part][here[part]], senses[part][here[part]]))
                for part in ("validation", "test")
            }
            row = (model, layer, "/".join(words), KIND_OF[words], strength)
            yield dict(
                zip(COLUMNS, (*row, *(round(v, 4) for v in right.values()), int(here["test"].sum())), strict=True)
            )


def at_best_strength(rows: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """For each model, kind of pair and layer: the rows of all pairs at the strength that is best on validation."""
    cells: dict[tuple[str, str, str], dict[float, list[dict[str, Any]]]] = {}
    for row in rows:
        of_layer = cells.setdefault((row["model"], row["kind"], row["layer"]), {})
        of_layer.setdefault(row["strength"], []).append(row)
    return {
        cell: max(of_layer.values(), key=lambda found: np.mean([row["validation"] for row in found]))
        for cell, of_layer in cells.items()
    }


def by_layer(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each model, kind of pair and layer: the mean over pairs at the strength that is best on validation.

    ``error`` is the standard error of the mean over the pairs on the test part.
    """
    found = []
    for (model, kind, layer), of_pairs in at_best_strength(rows).items():
        validation = float(np.mean([row["validation"] for row in of_pairs]))
        mean, error = _mean_and_error([row["test"] for row in of_pairs])
        line = {"model": model, "kind": kind, "layer": layer, "validation": validation}
        found.append({**line, "test": mean, "error": error})
    return found


def difference(
    rows: Sequence[dict[str, Any]], kind: str, one: tuple[str, str], other: tuple[str, str]
) -> tuple[float, float]:
    """By how much one (model, layer) is better than another, pair by pair: the mean and its standard error."""
    cells = at_best_strength(rows)
    scores = [{row["pair"]: row["test"] for row in cells[model, kind, layer]} for model, layer in (one, other)]
    return _mean_and_error([scores[0][pair] - scores[1][pair] for pair in scores[0]])


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    error = float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    return float(np.mean(values)), error


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each model and kind of pair the line of :func:`by_layer` that is best on validation."""
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for line in by_layer(rows):
        key = line["model"], line["kind"]
        if key not in best or line["validation"] > best[key]["validation"]:
            best[key] = line
    return list(best.values())


def read_rows(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """What :func:`main` wrote."""
    with (folder / "senses.csv").open(newline="", encoding="utf-8") as file:
        numbers = {"strength": float, "validation": float, "test": float, "questions": int}
        return [{key: numbers.get(key, str)(value) for key, value in row.items()} for row in csv.DictReader(file)]


def contestants(folder: Path) -> Iterator[tuple[str, Reader]]:
    """The three, trained and not, and the published encoder."""
    tokenizer = load_tokenizer(folder)
    for kind, load_it in (("elmo", load_elmo), ("bert", load_bert), ("gpt", load_gpt)):
        torch.manual_seed(0)
        untrained = KINDS[kind].make(Sizes(**figures(kind, folder)["sizes"]))
        yield f"{kind}, untrained", Reader.of(untrained, tokenizer)
        yield kind, Reader.of(load_it(folder), tokenizer)
    yield "minilm", Reader.of(*load_minilm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/family"), help="where the three models are")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    uses = course_uses()
    print({part: len(of_it) for part, of_it in uses.items()}, "uses of pseudo-words", flush=True)
    rows: list[dict[str, Any]] = []
    words, static = vectors.run([split_words(d.text) for d in load("wikipedia").split().train])
    known = dict(zip(words, static.numpy(), strict=True))
    for name, control in (("words around", mean_around), ("neighbors", side_by_side)):
        rows += judge(name, "0", {part: control(uses[part], known) for part in PARTS}, uses)
    for name, reader in contestants(chosen.folder):
        layers = {part: reader.vectors(uses[part], name) for part in PARTS}
        for number in range(len(layers["train"])):
            rows += judge(name, str(number), {part: layers[part][number] for part in PARTS}, uses)
        rows += judge(name, "mix", {part: mixed(layers[part], layers["train"]) for part in PARTS}, uses)
    with (chosen.folder / "senses.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for line in summary(rows):
        print("{model:18}{kind:6}layer {layer}{test:8.3f} ±{error:.3f}".format(**line))


if __name__ == "__main__":
    main()
