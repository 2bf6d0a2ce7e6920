"""Associative recall: how much an LSTM and a Transformer of about equal size keep of what they have read.

    python -m autograder.reference.recipes.recall --folder build/recall

Every model gets as many steps and the same choice of learning rates, made on a seed of its own.
``recall.csv`` in the folder has a row for each training; those that are in it are not run again. Its copy beside this
file is what the book draws. About ten minutes on one thread.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data.generated import recall
from autograder.data.generated.recall import Recall
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import TrainingConfig, evaluating, step_seed, train
from autograder.reference.transformer_layer import EncoderLayer

WIDTH, HIDDEN, HEADS, LAYERS = 64, 128, 4, 2
LONGEST = 64
BATCH = 64
RATES = (1e-3, 3e-3, 1e-2)
SEEDS, CHOICE_SEED = (0, 1, 2), 100
NUM_CELLS, NUM_VALUES = 32, 16
STEPS = 1_500
COLUMNS = ("model", "seed", "rate", "steps", "part", "accuracy", "seconds", "parameters")


class LstmReader(nn.Module):
    """One LSTM that reads from left to right; the answer is told from its last state."""

    def __init__(self, vocab_size: int, num_answers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.lstm = nn.LSTM(WIDTH, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, num_answers)
        for name, bias in self.lstm.named_parameters():
            if "bias_ih" in name:  # at the start the forget gates stand open
                nn.init.ones_(bias[HIDDEN : 2 * HIDDEN])

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → logits (B, answers)."""
        outputs, _ = self.lstm(self.embedding(ids))
        return self.head(outputs[:, -1])


class TransformerReader(nn.Module):
    """Two layers of an encoder with a learned vector for each position; the answer is told at the last."""

    def __init__(self, vocab_size: int, num_answers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(LONGEST, WIDTH))
        self.layers = nn.ModuleList(EncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, True) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, num_answers)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → logits (B, answers)."""
        x = self.embedding(ids) + self.positions[: ids.size(1)]
        for layer in self.layers:
            x = layer(x, None)
        return self.head(self.norm(x[:, -1]))


MODELS: dict[str, Callable[[int, int], nn.Module]] = {"LSTM": LstmReader, "Transformer": TransformerReader}


def made(name: str) -> nn.Module:
    """A model for words that join a key and a value, and for the keys alone that ask."""
    return MODELS[name](NUM_CELLS * (1 + NUM_VALUES), NUM_VALUES)


def run(name: str, rate: float, seed: int, steps: int, batches: int = 16) -> float:
    """Train a model; returns the share of right answers on fresh sequences."""
    torch.manual_seed(seed)
    model = made(name)

    def batch(step: int) -> Recall:
        generator = torch.Generator().manual_seed(step_seed(seed, step))
        return recall.associative(BATCH, generator, NUM_CELLS, NUM_VALUES)

    def loss_of_step(step: int) -> Tensor:
        ids, answers = batch(step)
        return F.cross_entropy(model(ids), answers)

    train(model, loss_of_step, TrainingConfig(steps, rate, warmup_steps=steps // 10, seed=seed), show=False)
    with evaluating(model):
        fresh = [batch(10_000_000 + number) for number in range(batches)]
        right = sum((model(ids).argmax(dim=1) == answers).sum().item() for ids, answers in fresh)
    return right / (batches * BATCH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/recall"), help="where the log is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log = RunLog(chosen.folder / "recall.csv", COLUMNS, key_size=5)

    def measured(name: str, rate: float, seed: int, part: str) -> float:
        key = (name, seed, rate, STEPS, part)
        rows = log.rows_of(*key)
        if not rows:
            began = time.perf_counter()
            accuracy = round(run(name, rate, seed, STEPS), 4)
            size = sum(parameter.numel() for parameter in made(name).parameters())
            rows = log.add(key, [(accuracy, round(time.perf_counter() - began, 1), size)])
            bar.update()
        return float(rows[-1]["accuracy"])

    with tqdm(total=len(MODELS) * (len(RATES) + len(SEEDS)), unit="training", dynamic_ncols=True) as bar:
        for name in MODELS:
            best = max(RATES, key=lambda rate: measured(name, rate, CHOICE_SEED, "choice"))
            found = [measured(name, best, seed, "test") for seed in SEEDS]
            tqdm.write(f"{name:12} rate {best:g}" + "".join(f"{accuracy:7.3f}" for accuracy in found))


if __name__ == "__main__":
    main()
