"""GPT-1's two stages with few labels: fine-tuned with and without the auxiliary loss, against its rivals.

    python -m autograder.reference.recipes.two_stages topics pairs --folder build/two_stages

Two tasks, the topic of the beginning of an article and whether one sentence follows from another, are cast as one line
of text each. GPT and BERT read the same line and are judged by the vector at its last token, so that they differ in
what they may look at and in what they learned before. The networks get as many steps and the same choice of learning
rates, tf-idf with a logistic regression the same choice of strengths, all on validation examples. ``two_stages.csv`` in
the folder has a row for each training; those that are in it are not run again. Its copy beside this file is what the
book draws. About ten minutes for each task on one thread.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data import load
from autograder.data.batches import LengthBatches
from autograder.data.generated import entailment
from autograder.reference.attention import padding_mask
from autograder.reference.bert import BertForPreTraining
from autograder.reference.gpt import GPT
from autograder.reference.gpt_tasks import (
    GPTForTask,
    SpecialTokens,
    TaskBatch,
    add_special_tokens,
    fine_tune_loss,
    format_classification,
    format_entailment,
    task_batch,
)
from autograder.reference.pretrained import figures, load_bert, load_gpt, load_tokenizer
from autograder.reference.recipes.counting_rivals import STRENGTHS, Bag, regress
from autograder.reference.recipes.family import KINDS, PARTS, Sizes
from autograder.reference.recipes.few_label_tasks import (
    POOL,
    VALIDATION,
    Example,
    Task,
    accuracy,
    drawn,
    entailment_examples,
    topic_task,
)
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import TrainingConfig, evaluating, train
from autograder.reference.wordpiece import WordPiece, basic_tokens

RATES = (3e-4, 1e-3, 3e-3)
"""The highest of each training; the new head learns ten times as fast."""

STEPS = {50: 40, 200: 80, 1000: 200}
BATCH = 16
DROPOUT = 0.1
"""In front of the head; the models themselves have none, as in their pretraining."""

TOPIC_WORDS, TEST = 32, 500
"""So much of an article is read, and so many examples are judged."""

SEEDS = (0, 1, 2)
"""Each draws other labels, and other weights where there are new ones."""

CHOICE_SEED, CHOICE_COUNT = 100, 200
AUXILIARY_WEIGHT = 0.5
COLUMNS = ("task", "learner", "labels", "seed", "setting", "steps", "part", "right", "seconds")


@dataclass(frozen=True)
class Learner:
    """Attributes:
    model: which of the family; None for tf-idf.
    pretrained: whether it begins with what it learned from plain text.
    auxiliary_weight: λ of the language model's loss.
    """

    model: str | None
    pretrained: bool = True
    auxiliary_weight: float = 0.0


LEARNERS = {
    "tf-idf": Learner(None),
    "GPT": Learner("gpt"),
    "GPT, from scratch": Learner("gpt", pretrained=False),
    "BERT": Learner("bert"),
    "GPT, auxiliary loss": Learner("gpt", auxiliary_weight=AUXILIARY_WEIGHT),
}


def topics() -> Task:
    """The topic of an article from its first words, in 11 classes; the articles of test are the family's."""
    return topic_task(TOPIC_WORDS, (50, 200, 1000), TEST)


def pairs() -> Task:
    """Does the second sentence follow from the first, contradict it, or neither? From ``generated/entailment.py``."""
    parts = {
        part: entailment_examples(count, np.random.default_rng([3, number]))
        for number, (part, count) in enumerate(zip(PARTS, (POOL, VALIDATION, TEST), strict=True))
    }
    return Task("pairs", "pair", len(entailment.LABELS), parts, (200, 1000), accuracy, "bag")


TASKS: dict[str, Callable[[], Task]] = {"topics": topics, "pairs": pairs}


class BertForTask(nn.Module):
    """BERT on the very sequences that GPT reads, judged by one linear layer at the same token."""

    def __init__(self, model: BertForPreTraining, num_classes: int) -> None:
        super().__init__()
        self.model = model
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(model.bert.embeddings.word_embedding.weight.size(1), num_classes)
        nn.init.normal_(self.head.weight, std=0.05)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: TaskBatch) -> Tensor:
        """Class logits (B, classes) of examples of one sequence each."""
        ids, lengths = batch.ids.squeeze(1), batch.lengths.squeeze(1)  # (B, T), (B,)
        hidden = self.model.bert(ids, mask=padding_mask(lengths, ids.size(1)))  # (B, T, D)
        return self.head(self.dropout(hidden[torch.arange(len(ids)), lengths - 1]))


def made(learner: Learner, num_classes: int) -> tuple[GPTForTask | BertForTask, SpecialTokens]:
    """A model with three new tokens and a head, both of them random."""
    assert learner.model
    model = KINDS[learner.model].make(Sizes(**figures(learner.model)["sizes"]))
    if learner.pretrained:
        model.load_state_dict((load_gpt if learner.model == "gpt" else load_bert)().state_dict())
    if isinstance(model, GPT):
        special = add_special_tokens(model)
        return GPTForTask(model, num_classes, DROPOUT), special
    old = model.bert.embeddings.word_embedding.weight.detach()
    V, D = old.shape
    model.bert.embeddings.word_embedding = nn.Embedding.from_pretrained(
        torch.cat([old, 0.05 * torch.randn(3, D)]), freeze=False
    )
    return BertForTask(model, num_classes), SpecialTokens(V, V + 1, V + 2)


def as_text(examples: Sequence[Example], tokenizer: WordPiece, special: SpecialTokens) -> list[list[list[int]]]:
    """The examples as lines of text, in the ways of GPT-1's figure 1."""

    def encoded(words: Sequence[str]) -> list[int]:
        return tokenizer.encode(" ".join(words))

    return [
        format_entailment(encoded(e.words), encoded(e.second), special)
        if e.second
        else format_classification(encoded(e.words), special)
        for e in examples
    ]


def run(name: str, task: Task, rate: float, seed: int, count: int, part: str, steps: int | None = None) -> float:
    """Teach a task; returns the share of right answers on a part."""
    torch.manual_seed(seed)
    learner, tokenizer = LEARNERS[name], load_tokenizer()
    taught, asked = drawn(task, count, seed), task.parts[part]
    labels = torch.tensor([e.labels[0] for e in taught])
    model, special = made(learner, task.num_labels)
    lines, asked_lines = as_text(taught, tokenizer, special), as_text(asked, tokenizer, special)
    batches = LengthBatches([len(line[0]) for line in lines], BATCH, granularity=8, seed=seed)
    steps = STEPS[count] if steps is None else steps

    def loss_of_step(step: int) -> Tensor:
        places = batches.batch(step)
        batch = task_batch([lines[place] for place in places])
        if not learner.auxiliary_weight:
            return F.cross_entropy(model(batch), labels[places])
        assert isinstance(model, GPTForTask)
        logits, following = model.with_language_model(batch)
        return fine_tune_loss(logits, labels[places], following, batch.ids, learner.auxiliary_weight, batch.lengths)

    model.train()
    settings = TrainingConfig(steps, rate, (("head", 10.0),), warmup_steps=steps // 10, weight_decay=0.05, seed=seed)
    train(model, loss_of_step, settings, show=False)
    with evaluating(model):
        said = [model(task_batch(asked_lines[start : start + 64])).argmax(dim=1) for start in range(0, len(asked), 64)]
    return accuracy(torch.cat(said).numpy(), np.array([e.labels[0] for e in asked]))


def count_words(task: Task, strength: float, seed: int, count: int, part: str, rival: Bag) -> float:
    """The same for tf-idf and a logistic regression."""
    taught, asked = drawn(task, count, seed), task.parts[part]
    judge = regress(rival(taught), np.array([e.labels[0] for e in taught]), strength)
    return accuracy(judge.predict(rival(asked)), np.array([e.labels[0] for e in asked]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="+", choices=list(TASKS))
    parser.add_argument("--folder", type=Path, default=Path("build/two_stages"), help="where the log is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log = RunLog(chosen.folder / "two_stages.csv", COLUMNS, key_size=7)
    tasks = [TASKS[name]() for name in chosen.tasks]
    articles = [basic_tokens(d.text) for d in load("wikipedia", allow_stand_in=False).split().train]
    rivals = {task.name: Bag(task, articles) for task in tasks}

    def measured(name: str, task: Task, setting: float, seed: int, count: int, part: str) -> float:
        steps = STEPS[count] if LEARNERS[name].model else 0
        key = (task.name, name, count, seed, setting, steps, part)
        rows = log.rows_of(*key)
        if not rows:
            began = time.perf_counter()
            if steps:
                right = run(name, task, setting, seed, count, part)
            else:
                right = count_words(task, setting, seed, count, part, rivals[task.name])
            rows = log.add(key, [(round(right, 4), round(time.perf_counter() - began, 1))])
        bar.update()
        return float(rows[-1]["right"])

    settings = {name: RATES if learner.model else STRENGTHS for name, learner in LEARNERS.items()}
    total = sum(len(settings[name]) + len(SEEDS) * len(task.label_counts) for name in LEARNERS for task in tasks)
    with tqdm(total=total, unit="training", dynamic_ncols=True) as bar:
        for task in tasks:
            for name in LEARNERS:
                best = max(
                    settings[name], key=lambda s: measured(name, task, s, CHOICE_SEED, CHOICE_COUNT, "validation")
                )
                for count in task.label_counts:
                    found = [measured(name, task, best, seed, count, "test") for seed in SEEDS]
                    tqdm.write(f"{task.name:7} {name:20} {best:g} {count:5}" + "".join(f"{r:7.3f}" for r in found))


if __name__ == "__main__":
    main()
