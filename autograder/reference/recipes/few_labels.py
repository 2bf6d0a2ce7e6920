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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from autograder.data.batches import LengthBatches, pad
from autograder.reference.attention import padding_mask
from autograder.reference.bert import BertForPreTraining
from autograder.reference.bert_heads import label_loss
from autograder.reference.elmo import ELMo, ScalarMix
from autograder.reference.gpt import GPT
from autograder.reference.recipes.counting_rivals import STRENGTHS, Rival, labels_of, regress, rivals_for
from autograder.reference.recipes.family import KINDS, TRAINING, Recipe
from autograder.reference.recipes.few_label_tasks import CORPORA, Corpus, Example, Task, drawn
from autograder.reference.training import TrainingConfig, evaluating, train
from autograder.reference.wordpiece import WordPiece

PRETRAINING = {
    "basic_english": replace(TRAINING, steps=2_000),
    "grammar": replace(TRAINING, steps=500, evaluate_every=250),
}
PRETRAINING_SEEDS = (0, 1)
LABEL_SEEDS = (0, 1, 2, 3)
"""Each draws other labels and starts from other weights: a pretrained model of one seed or the other, in turn."""

CHOICE_SEED, CHOICE_COUNT = 100, 200
RATES = (3e-4, 1e-3, 3e-3)
LENGTHS = (1, 3)
"""Settings to choose from, on validation: the highest rate, and how many times the usual number of steps."""

STEPS = {20: 60, 50: 100, 200: 200, 1000: 400}
BATCH = 16

WAYS = ("fine-tuned", "frozen", "from scratch")
COLUMNS = ("task", "learner", "way", "labels", "seed", "rate", "steps", "part", "score", "seconds")
Row = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Examples as a model reads them, between two [SEP].

    Attributes:
        ids: (B, T). lengths: (B,).
        words: (B, W, T), the share of each token in a word, so that a word's vector is the mean of its pieces'.
        labels: (B, W) with −100 where nothing is asked, or (B,) for whole examples.
    """

    ids: Tensor
    lengths: Tensor
    words: Tensor
    labels: Tensor

    @staticmethod
    def of(examples: Sequence[Example], tokenizer: WordPiece, of_words: bool) -> "Batch":
        """Encode examples."""
        end = tokenizer.ids["[SEP]"]
        pieces = [[tokenizer.encode(word) for word in example.words] for example in examples]
        ids, lengths = pad([[end, *(i for word in words for i in word), end] for words in pieces], end)
        shares = torch.zeros(len(examples), max(map(len, pieces)), ids.size(1))  # (B, W, T)
        for b, words in enumerate(pieces):
            start = 1
            for w, word in enumerate(words):
                shares[b, w, start : start + len(word)] = 1 / max(1, len(word))
                start += len(word)
        if of_words:
            labels = pad([[label + 100 for label in example.labels] for example in examples], 0)[0] - 100
        else:
            labels = torch.tensor([example.labels[0] for example in examples])
        return Batch(ids, lengths, shares, labels)


def all_layers(model: nn.Module, ids: Tensor, lengths: Tensor) -> list[Tensor]:
    """What each layer of one of the three makes of the tokens, (B, T, D) or (B, T, 2D)."""
    if isinstance(model, ELMo):
        return model.hidden_states(ids, lengths)
    if isinstance(model, BertForPreTraining):
        return model.bert.hidden_states(ids, mask=padding_mask(lengths, ids.size(1)))
    assert isinstance(model, GPT)
    return model.hidden_states(ids)


class Judge(nn.Module):
    """A mix of a model's layers and one linear map: for each word, or for the mean and the maximum over all tokens."""

    def __init__(self, model: nn.Module, task: Task, frozen: bool) -> None:
        super().__init__()
        self.model, self.of_words, self.frozen = model, task.of_words, frozen
        token = torch.zeros(1, 1, dtype=torch.long)
        with evaluating(model):
            layers = all_layers(model, token, torch.ones(1, dtype=torch.long))
        self.mix = ScalarMix(len(layers))
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(layers[0].size(-1) * (1 if task.of_words else 2), task.num_labels)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if frozen:
            model.requires_grad_(False)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, W, labels) or (B, labels)."""
        if self.frozen:
            with evaluating(self.model):
                layers = all_layers(self.model, batch.ids, batch.lengths)
        else:
            layers = all_layers(self.model, batch.ids, batch.lengths)
        x = self.mix(layers)  # (B, T, D)
        if self.of_words:
            return self.head(self.dropout(batch.words @ x))
        outside = (torch.arange(x.size(1)) >= batch.lengths.unsqueeze(1)).unsqueeze(-1)  # (B, T, 1)
        mean = x.masked_fill(outside, 0.0).sum(dim=1) / batch.lengths.unsqueeze(1)
        most = x.masked_fill(outside, -torch.inf).amax(dim=1)
        return self.head(self.dropout(torch.cat([mean, most], dim=-1)))


def learn(
    model: nn.Module,
    task: Task,
    way: str,
    examples: Sequence[Example],
    tokenizer: WordPiece,
    setting: "Setting",
    seed: int,
) -> Judge:
    """Teach a model a task; returns the judge."""
    torch.manual_seed(seed)
    judge = Judge(model, task, frozen=way == "frozen")
    batches = LengthBatches([len(example.words) for example in examples], BATCH, granularity=8, seed=seed)

    def loss_of_step(step: int) -> Tensor:
        batch = Batch.of([examples[place] for place in batches.batch(step)], tokenizer, task.of_words)
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
            batch = Batch.of(examples[start : start + 64], tokenizer, judge.of_words)
            best = judge(batch).argmax(dim=-1)
            found.append(best[batch.labels >= 0])
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


def networks(task: Task, recipe: Recipe, folder: Path) -> list[Learner]:
    """ELMo, BERT and GPT in all ways."""
    sizes = replace(recipe.sizes, dropout=0.1)

    def predictor(kind: str, way: str) -> Callable[..., np.ndarray]:
        def predict(examples: Sequence[Example], setting: Setting, seed: int, others: Sequence[Example]) -> np.ndarray:
            torch.manual_seed(seed)
            model = KINDS[kind].make(sizes)
            if way != "from scratch":
                pretrained = PRETRAINING_SEEDS[seed % len(PRETRAINING_SEEDS)]
                model.load_state_dict(load_file(folder / f"seed-{pretrained}" / f"{kind}.safetensors"))
            judge = learn(model, task, way, examples, recipe.tokenizer, setting, seed)
            return judged(judge, others, recipe.tokenizer)

        return predict

    settings = [Setting(rate, length) for rate in RATES for length in LENGTHS]
    return [Learner(kind, way, settings, predictor(kind, way)) for kind in KINDS for way in WAYS]


def counters(task: Task, words: Sequence[Sequence[str]]) -> list[Learner]:
    """The counting rivals; what they count they count once."""

    def predictor(rival: Rival) -> Callable[..., np.ndarray]:
        def predict(examples: Sequence[Example], setting: Setting, seed: int, others: Sequence[Example]) -> np.ndarray:
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


def table(rows: Sequence[Row]) -> str:
    """Mean and standard deviation over the seeds, a line for each learner and way."""
    lines = []
    for task in dict.fromkeys(row["task"] for row in rows):
        tested = [row for row in rows if row["task"] == task and row["part"] == "test"]
        counts = sorted({row["labels"] for row in tested})
        lines.append(f"{task:33}" + "".join(f"{count:>15}" for count in counts))
        for learner, way in dict.fromkeys((row["learner"], row["way"]) for row in tested):
            cells = []
            for count in counts:
                scores = [
                    row["score"]
                    for row in tested
                    if (row["learner"], row["way"], row["labels"]) == (learner, way, count)
                ]
                cells.append(f"{np.mean(scores):9.3f} ±{np.std(scores, ddof=1) if len(scores) > 1 else 0:.3f}")
            lines.append(f"{learner + ', ' + way:33}" + "".join(f"{cell:>15}" for cell in cells))
    return "\n".join(lines)


def pretrain(corpus: Corpus, training: TrainingConfig, folder: Path) -> None:
    """All three with all seeds; those that are there already are left alone."""
    for seed in PRETRAINING_SEEDS:
        for kind in KINDS:
            place = folder / f"seed-{seed}"
            if not (place / f"{kind}.safetensors").exists():
                rate = KINDS[kind].learning_rate
                corpus.recipe.pretrain(kind, place, replace(training, learning_rate=rate, seed=seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", choices=list(CORPORA))
    parser.add_argument("--folder", type=Path, default=Path("build/few_labels"), help="where everything is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    folder = chosen.folder / chosen.text
    corpus = CORPORA[chosen.text](folder)
    pretrain(corpus, PRETRAINING[chosen.text], folder)
    results = Results(chosen.folder / f"{chosen.text}.csv")
    for task in corpus.tasks:
        compete(task, counters(task, corpus.words) + networks(task, corpus.recipe, folder), results)
    print(table(results.rows))


if __name__ == "__main__":
    main()
