"""One stage or two: ELMo, BERT and GPT, pretrained and not, and their counting rivals, taught with few labels.

    python -m autograder.reference.recipes.few_labels basic_english --folder build/few_labels

Everybody gets the same text, the same labels and the same choice of settings: learning rates and numbers of steps for
the networks, strengths for the regressions, chosen on validation examples with labels that are not drawn again. Each
result is a row of ``TEXT.csv`` in the folder; a run that is stopped goes on where it was.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from autograder.data.batches import LengthBatches, pad
from autograder.reference.attention import padding_mask
from autograder.reference.bert import Bert, BertForPreTraining
from autograder.reference.bert_heads import best_span, label_loss
from autograder.reference.elmo import ELMo, ScalarMix
from autograder.reference.gpt import GPT
from autograder.reference.pretrained import FOLDER, load_minilm
from autograder.reference.recipes.counting_rivals import (
    LONGEST_SPAN,
    STRENGTHS,
    Rival,
    Spans,
    labels_of,
    regress,
    rivals_for,
)
from autograder.reference.recipes.family import KINDS, TRAINING
from autograder.reference.recipes.few_label_tasks import CORPORA, Corpus, Example, Kind, Task, drawn
from autograder.reference.training import TrainingConfig, evaluating, train
from autograder.reference.wordpiece import WordPiece

PRETRAINING = {
    "basic_english": replace(TRAINING, steps=2_000),
    "grammar": replace(TRAINING, steps=500, evaluate_every=250),
}
PRETRAINING_SEEDS = (0, 1)
LABEL_SEEDS = (0, 1, 2)
"""Each draws other labels and starts from other weights: a pretrained model of one seed or the other, in turn."""

CHOICE_SEED, CHOICE_COUNT = 100, 200
RATES = (3e-4, 1e-3, 3e-3, 1e-2)
PUBLISHED, PUBLISHED_RATES = "minilm", (3e-5, 1e-4, 3e-4)
"""Settings to choose from, on validation: the highest rate, and lower ones for a large model that is fine-tuned."""

STEPS = {20: 60, 50: 100, 200: 200, 1000: 400}
BATCH = 16

LOG = Path(__file__).with_name("few_labels_english.csv")
"""What came of the family's text."""

COLUMNS = ("task", "learner", "way", "labels", "seed", "rate", "steps", "part", "score", "seconds")
Row = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Examples as a model reads them: a mark, the words, [SEP], and, if there is one, the second text and [SEP].

    Attributes:
        ids: (B, T). lengths: (B,).
        words: (B, W, T), the share of each token in a word, so that a word's vector is the mean of its pieces'.
        second: (B, T), the share of each token in the second text; 0 if there is none.
        labels: (B, W) with −100 where nothing is asked, (B,) for whole examples, or (B, 2) for spans.
    """

    ids: Tensor
    lengths: Tensor
    words: Tensor
    second: Tensor
    labels: Tensor

    @staticmethod
    def of(examples: Sequence[Example], tokenizer: WordPiece, kind: Kind, mark: str = "[SEP]") -> "Batch":
        """Encode examples; ``mark`` stands in front of them, as the model is used to."""
        end = tokenizer.ids["[SEP]"]
        pieces = [[tokenizer.encode(word) for word in example.words] for example in examples]
        seconds = [[i for word in example.second for i in tokenizer.encode(word)] for example in examples]
        rows = [
            [tokenizer.ids[mark], *(i for word in words for i in word), end, *([*second, end] if second else [])]
            for words, second in zip(pieces, seconds, strict=True)
        ]
        ids, lengths = pad(rows, end)
        shares = torch.zeros(len(examples), max(map(len, pieces)), ids.size(1))  # (B, W, T)
        of_second = torch.zeros(len(examples), ids.size(1))
        for b, (words, second) in enumerate(zip(pieces, seconds, strict=True)):
            start = 1
            for w, word in enumerate(words):
                shares[b, w, start : start + len(word)] = 1 / max(1, len(word))
                start += len(word)
            of_second[b, start + 1 : start + 1 + len(second)] = 1 / max(1, len(second))
        if kind == "words":
            labels = pad([[label + 100 for label in example.labels] for example in examples], 0)[0] - 100
        else:
            labels = torch.tensor([example.labels for example in examples]).squeeze(1)
        return Batch(ids, lengths, shares, of_second, labels)

    def rows(self, rows: list[int]) -> "Batch":
        """Some of the examples."""
        parts = (self.ids, self.lengths, self.words, self.second, self.labels)
        return Batch(*(part[rows] for part in parts))

    @property
    def segments(self) -> Tensor:
        """(B, T), 1 from the second text on, for a model that was trained with pairs."""
        begun = (self.second > 0).long().cummax(dim=1).values
        return begun * (torch.arange(self.ids.size(1)) < self.lengths.unsqueeze(1))


def all_layers(model: nn.Module, batch: Batch) -> list[Tensor]:
    """What each layer of a model makes of the tokens, (B, T, D) or (B, T, 2D)."""
    mask = padding_mask(batch.lengths, batch.ids.size(1))
    if isinstance(model, ELMo):
        return model.hidden_states(batch.ids, batch.lengths)
    if isinstance(model, GPT):
        return model.hidden_states(batch.ids)
    if isinstance(model, BertForPreTraining):
        return model.bert.hidden_states(batch.ids, mask=mask)
    assert isinstance(model, Bert)  # a published one, which was trained with pairs
    return model.hidden_states(batch.ids, batch.segments, mask)


VECTORS: dict[Kind, int] = {"words": 1, "text": 2, "pair": 4, "span": 3}
"""How many vectors of the model's width a judge looks at."""


class Remembered:
    """What the layers of a model that does not learn make of a text, computed once."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.requires_grad_(False)
        self._states: dict[tuple[int, ...], Tensor] = {}

    def layers(self, batch: Batch) -> list[Tensor]:
        """As :func:`all_layers`, but 0 behind the end of a text."""
        texts = [tuple(ids[:length]) for ids, length in zip(batch.ids.tolist(), batch.lengths.tolist(), strict=True)]
        new = [row for row, text in enumerate(texts) if text not in self._states]
        if new:
            with evaluating(self.model):
                states = torch.stack(all_layers(self.model, batch.rows(new)), dim=2)  # (B, T, layers, D)
            for row, of_row in zip(new, states, strict=True):
                self._states[texts[row]] = of_row[: len(texts[row])].clone()
        found = pad_sequence([self._states[text] for text in texts], batch_first=True)
        return list(nn.functional.pad(found, (0, 0, 0, 0, 0, batch.ids.size(1) - found.size(1))).unbind(dim=2))


def mark_of(model: nn.Module) -> str:
    """What stands in front of all that a model reads."""
    return "[CLS]" if isinstance(model, Bert) else "[SEP]"


class Judge(nn.Module):
    """A mix of a model's layers and one linear map.

    It looks at each word; at the mean and the maximum over all tokens of a text; at the means u, v of a pair's two
    texts, as (u, v, |u − v|, u · v); or at each word x of a context and the mean q of the question, as (x, q, x · q).
    """

    def __init__(self, model: nn.Module, task: Task, remembered: "Remembered | None" = None) -> None:
        super().__init__()
        self.model, self.kind, self.remembered = model, task.kind, remembered
        one = torch.zeros(1, 1, dtype=torch.long)
        with evaluating(model):
            layers = all_layers(model, Batch(one, one[0] + 1, one.unsqueeze(0), one, one))
        self.mix = ScalarMix(len(layers))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(layers[0].size(-1) * VECTORS[task.kind], task.num_labels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, W, labels), (B, labels), or for spans (B, 2, W)."""
        layers = self.remembered.layers(batch) if self.remembered else all_layers(self.model, batch)
        x = self.mix(layers)  # (B, T, D)
        words = batch.words @ x  # (B, W, D)
        if self.kind == "words":
            return self.head(self.dropout(words))
        is_word = batch.words.sum(dim=2) > 0  # (B, W)
        second = (batch.second.unsqueeze(1) @ x).squeeze(1)  # (B, D)
        if self.kind == "pair":
            first = words.sum(dim=1) / is_word.sum(dim=1, keepdim=True)
            both = torch.cat([first, second, (first - second).abs(), first * second], dim=1)
            return self.head(self.dropout(both))
        if self.kind == "span":
            question = second.unsqueeze(1).expand_as(words)
            scores = self.head(self.dropout(torch.cat([words, question, words * question], dim=2)))  # (B, W, 2)
            return scores.mT.masked_fill(~is_word.unsqueeze(1), -torch.inf)
        outside = (torch.arange(x.size(1)) >= batch.lengths.unsqueeze(1)).unsqueeze(-1)  # (B, T, 1)
        mean = x.masked_fill(outside, 0.0).sum(dim=1) / batch.lengths.unsqueeze(1)
        most = x.masked_fill(outside, -torch.inf).amax(dim=1)
        return self.head(self.dropout(torch.cat([mean, most], dim=-1)))


def learn(
    model: nn.Module | Remembered,
    task: Task,
    examples: Sequence[Example],
    tokenizer: WordPiece,
    setting: "Setting",
    seed: int,
) -> Judge:
    """Teach a model a task, or a judge alone what to make of a model that is remembered; returns the judge."""
    torch.manual_seed(seed)
    judge = Judge(model.model, task, model) if isinstance(model, Remembered) else Judge(model, task)
    lengths = [len(example.words) + len(example.second) for example in examples]
    batches = LengthBatches(lengths, BATCH, granularity=8, seed=seed)

    def loss_of_step(step: int) -> Tensor:
        batch = Batch.of([examples[place] for place in batches.batch(step)], tokenizer, task.kind, mark_of(judge.model))
        return label_loss(judge(batch), batch.labels)

    steps = setting.length * STEPS[len(examples)]
    settings = TrainingConfig(
        steps, setting.rate, (("head", 10.0), ("mix", 10.0)), warmup_steps=steps // 10, weight_decay=0.05, seed=seed
    )
    train(judge, loss_of_step, settings, show=False)
    return judge


def judged(judge: Judge, examples: Sequence[Example], tokenizer: WordPiece) -> np.ndarray:
    """The labels that a judge gives, in the order of ``labels_of``."""
    found = []
    with evaluating(judge):
        for start in range(0, len(examples), 64):
            batch = Batch.of(examples[start : start + 64], tokenizer, judge.kind, mark_of(judge.model))
            logits = judge(batch)
            if judge.kind == "span":
                ends = best_span(logits[:, 0], logits[:, 1], LONGEST_SPAN)
                found.append(torch.stack(ends, dim=1).flatten())
            else:
                found.append(logits.argmax(dim=-1)[batch.labels >= 0])
    return torch.cat(found).numpy()


@dataclass(frozen=True)
class Setting:
    """What is chosen on validation: the rate (a regression's strength), and how many times the usual steps."""

    rate: float
    length: int = 1


@dataclass(frozen=True)
class Learner:
    """Somebody who can be taught a task.

    Attributes:
        name: of the model or of the rival. way: what of it learns.
        settings: to choose from.
        predict: from labeled examples, a setting, a seed and examples to judge to their labels.
    """

    name: str
    way: str
    settings: Sequence[Setting]
    predict: Callable[[Sequence[Example], Setting, int, Sequence[Example]], np.ndarray]


def networks(task: Task, corpus: Corpus, folder: Path) -> list[Learner]:
    """The models of a corpus, in the ways in which they compete there."""
    sizes = replace(corpus.recipe.sizes, dropout=0.1)

    def model_of(name: str, way: str, seed: int) -> tuple[nn.Module, WordPiece]:
        if name == PUBLISHED:
            return load_minilm()
        model = KINDS[name].make(sizes)
        if way != "from scratch":
            pretrained = PRETRAINING_SEEDS[seed % len(PRETRAINING_SEEDS)]
            place = FOLDER if corpus.is_familys else folder / f"seed-{pretrained}"
            model.load_state_dict(load_file(place / f"{name}.safetensors"))
        return model, corpus.recipe.tokenizer

    def predictor(name: str, way: str) -> Callable[..., np.ndarray]:
        @lru_cache(maxsize=len(PRETRAINING_SEEDS))
        def remembered(seed: int) -> tuple[Remembered, WordPiece]:
            model, tokenizer = model_of(name, way, seed)
            return Remembered(model), tokenizer

        def predict(examples: Sequence[Example], setting: Setting, seed: int, others: Sequence[Example]) -> np.ndarray:
            torch.manual_seed(seed)
            one_of = seed % (1 if corpus.is_familys else len(PRETRAINING_SEEDS))
            taught: nn.Module | Remembered
            taught, tokenizer = remembered(one_of) if way == "frozen" else model_of(name, way, seed)
            return judged(learn(taught, task, examples, tokenizer, setting, seed), others, tokenizer)

        return predict

    found = []
    for name, ways in corpus.ways.items():
        for way in ways:
            rates = PUBLISHED_RATES if (name, way) == (PUBLISHED, "fine-tuned") else RATES
            settings = [Setting(rate, length) for rate in rates for length in corpus.lengths]
            found.append(Learner(name, way, settings, predictor(name, way)))
    return found


def counters(task: Task, words: Sequence[Sequence[str]]) -> list[Learner]:
    """The counting rivals; what they count they count once."""

    def predictor(rival: Rival) -> Callable[..., np.ndarray]:
        def predict(examples: Sequence[Example], setting: Setting, seed: int, others: Sequence[Example]) -> np.ndarray:
            if isinstance(rival, Spans):
                return rival.predict(examples, setting.rate, others)
            return regress(rival(examples), labels_of(examples), setting.rate).predict(rival(others))

        return predict

    settings = [Setting(strength) for strength in STRENGTHS]
    return [
        Learner(name, "counting", settings, predictor(make(task, words))) for name, make in rivals_for(task).items()
    ]


class Results:
    """Rows in a file, each computed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                numbers = {"labels": int, "seed": int, "rate": float, "steps": int, "score": float, "seconds": float}
                self.rows = [
                    {key: numbers.get(key, str)(value) for key, value in row.items()} for row in csv.DictReader(file)
                ]
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, COLUMNS).writeheader()

    def score(self, task: Task, learner: Learner, setting: Setting, count: int, seed: int, part: str) -> float:
        """How well a learner does; from the file if it is there."""
        steps = setting.length * STEPS[count] if learner.way != "counting" else 0
        key = [task.name, learner.name, learner.way, count, seed, setting.rate, steps, part]
        for row in self.rows:
            if [row[column] for column in COLUMNS[:8]] == key:
                return row["score"]
        began = time.perf_counter()
        predicted = learner.predict(drawn(task, count, seed), setting, seed, task.parts[part])
        score = round(task.score(predicted, labels_of(task.parts[part])), 4)
        row = dict(zip(COLUMNS, [*key, score, round(time.perf_counter() - began, 2)], strict=True))
        self.rows.append(row)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        return score


def compete(task: Task, learners: Iterable[Learner], results: Results) -> None:
    """Choose each learner's setting on validation, then test it on all numbers of labels and all seeds."""
    learners = list(learners)
    total = sum(len(learner.settings) + len(task.label_counts) * len(LABEL_SEEDS) for learner in learners)
    with tqdm(total=total, desc=task.name, unit="run", dynamic_ncols=True) as bar:
        for learner in learners:
            scores = []
            for setting in learner.settings:
                scores.append(results.score(task, learner, setting, CHOICE_COUNT, CHOICE_SEED, "validation"))
                bar.update()
            best = learner.settings[int(np.argmax(scores))]
            for count in task.label_counts:
                for seed in LABEL_SEEDS:
                    results.score(task, learner, best, count, seed, "test")
                    bar.update()


Curve = dict[int, list[float]]
"""For each number of labels a score of each seed."""


def read_rows(path: Path = LOG) -> list[Row]:
    """The rows of a log; without a path those that come with the course, of the family's text."""
    return Results(path).rows


def chosen(rows: Sequence[Row]) -> dict[tuple[str, str, str], Row]:
    """By task, learner and way the row of the setting that is best on validation; of equals the first."""
    best: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        who = row["task"], row["learner"], row["way"]
        if row["part"] == "validation" and (who not in best or row["score"] > best[who]["score"]):
            best[who] = row
    return best


def tested(rows: Sequence[Row]) -> dict[tuple[str, str, str], Curve]:
    """What was reached in the test, by task, learner and way, each at the setting that is best on validation.

    Rows of other settings, from a run with fewer to choose from, are left out.
    """
    best = {who: setting_of(row) for who, row in chosen(rows).items()}
    found: dict[tuple[str, str, str], Curve] = {}
    for row in rows:
        who = row["task"], row["learner"], row["way"]
        if row["part"] == "test" and setting_of(row) == best[who]:
            found.setdefault(who, {}).setdefault(row["labels"], []).append(row["score"])
    return found


def setting_of(row: Row) -> Setting:
    """What a row of the log was made with."""
    return Setting(row["rate"], row["steps"] // STEPS[row["labels"]])


def curves(rows: Sequence[Row]) -> dict[tuple[str, str, str], Curve]:
    """As :func:`tested`, but the way of counting that is best on validation alone, as ("counting", "counting")."""
    counters: dict[str, tuple[float, str]] = {}
    for (task, learner, way), row in chosen(rows).items():
        if way == "counting":
            counters[task] = max(counters.get(task, (-1.0, "")), (row["score"], learner))
    return {
        (task, "counting" if way == "counting" else learner, way): curve
        for (task, learner, way), curve in tested(rows).items()
        if way != "counting" or learner == counters[task][1]
    }


def table(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over the seeds, a line for each learner and way."""
    lines = []
    reached = tested(rows)
    for task in dict.fromkeys(task for task, _, _ in reached):
        of_task = {(learner, way): curve for (of, learner, way), curve in reached.items() if of == task}
        counts = sorted({count for curve in of_task.values() for count in curve})
        lines.append(f"{task:33}" + "".join(f"{count:>15}" for count in counts))
        for (learner, way), curve in of_task.items():
            cells = []
            for count in counts:
                scores = curve.get(count, [])
                cells.append(f"{np.mean(scores):9.3f} ±{np.std(scores, ddof=1) if len(scores) > 1 else 0:.3f}")
            lines.append(f"{learner + ', ' + way:33}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


def pretrain(corpus: Corpus, training: TrainingConfig, folder: Path) -> None:
    """All models of a corpus with all seeds; those that are there already are left alone."""
    for seed in PRETRAINING_SEEDS:
        for kind in corpus.ways:
            place = folder / f"seed-{seed}"
            if not (place / f"{kind}.safetensors").exists():
                rate = KINDS[kind].learning_rate
                corpus.recipe.pretrain(kind, place, replace(training, learning_rate=rate, seed=seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", choices=list(CORPORA))
    parser.add_argument("--tasks", nargs="+", help="some of the text's tasks; all if not given")
    parser.add_argument("--folder", type=Path, default=Path("build/few_labels"), help="where everything is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    folder = chosen.folder / chosen.text
    corpus = CORPORA[chosen.text](folder)
    tasks = {task.name: task for task in corpus.tasks}
    wanted = chosen.tasks or list(tasks)
    if unknown := set(wanted) - set(tasks):
        parser.error(f"there is no task {', '.join(sorted(unknown))}: choose from {', '.join(tasks)}")
    if not corpus.is_familys:
        pretrain(corpus, PRETRAINING[chosen.text], folder)
    results = Results(chosen.folder / f"{chosen.text}.csv")
    for task in map(tasks.__getitem__, wanted):
        compete(task, counters(task, corpus.words) + networks(task, corpus, folder), results)
    print(table(results.rows))


if __name__ == "__main__":
    main()
