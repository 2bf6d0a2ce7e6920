"""One small trainer for all recipes: AdamW, warm-up and cosine, clipping, evaluation, checkpoints that resume exactly.

What a step does is a function of the seed and of the step's number alone: the caller's loss draws its batch from the
number, and everything random inside the step (dropout, masking) starts from a seed made of both. So a run that was
killed and resumed makes the same weights, bit for bit, as one that was not (on as many threads), and nothing about the
random generators has to be saved.
"""

import csv
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

LossOfStep = Callable[[int], Tensor]
"""The loss of the batch with a given number; called in the order 0, 1, 2, …"""

Evaluation = Callable[[], dict[str, float]]
"""What is measured on held-out data; the entry "loss" decides when to stop early and which weights are the best."""

COLUMNS = ("step", "tokens", "seconds", "learning_rate", "loss", "gradient_norm")


@dataclass(frozen=True)
class TrainingConfig:
    """How to train.

    Attributes:
        steps: how many batches; the learning rate has fallen to its last value then.
        learning_rate: the highest one, after the warm-up.
        faster: (beginning of a name, factor): parameters whose names begin so learn at so many times the rate, as a
            new head on a pretrained model should.
        warmup_steps: in so many steps the rate climbs to it in a straight line.
        final_rate: the last rate, as a share of the highest.
        weight_decay: for matrices only: biases and the gains of norms are not pulled towards 0.
        betas: of AdamW.
        clip_norm: gradients with a larger global norm are scaled down to it.
        evaluate_every: evaluate after so many steps; 0 for after the last alone.
        patience: stop after so many evaluations in a row that are no better than the best; None for never.
        checkpoint_every: keep a checkpoint after so many steps, if there is a folder for it.
        bfloat16: compute as :func:`in_bfloat16` does.
        seed: what every step's randomness comes from.
    """

    steps: int
    learning_rate: float
    faster: tuple[tuple[str, float], ...] = ()
    warmup_steps: int = 100
    final_rate: float = 0.1
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    evaluate_every: int = 0
    patience: int | None = None
    checkpoint_every: int = 500
    bfloat16: bool = False
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate of a step: up in a straight line, then down half a cosine (Loshchilov and Hutter 2017).

        Args:
            step: 0 ≤ step < ``steps``.
        """
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        through = (step - self.warmup_steps) / max(1, self.steps - 1 - self.warmup_steps)
        return self.learning_rate * (self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * through)) / 2)


@dataclass
class History:
    """What became of a training.

    Attributes:
        rows: one for each evaluation, as in the log: the columns of ``COLUMNS``, then what was measured.
        best_loss: the least held-out loss; infinite if nothing was evaluated.
        best_step: how many steps had been taken then.
        stopped_early: whether patience ran out before the last step.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best_loss: float = math.inf
    best_step: int = 0
    evaluations_since_best: int = 0
    stopped_early: bool = False


def step_seed(seed: int, step: int) -> int:
    """A seed for one step of a run; steps and runs share none."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:8], "little") >> 1


def adamw(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with weight decay on matrices only (Radford et al. 2018, §4.1).

    Every group of parameters has an entry "factor": how many times the rate it learns at.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for beginning, factor in config.faster if name.startswith(beginning)), 1.0)
            decay = config.weight_decay if parameter.dim() >= 2 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": part, "factor": factor, "weight_decay": decay} for (factor, decay), part in groups.items()],
        lr=config.learning_rate,
        betas=config.betas,
        fused=True,
    )


def train(
    model: nn.Module,
    loss_of_step: LossOfStep,
    config: TrainingConfig,
    evaluate: Evaluation | None = None,
    tokens_per_step: int = 0,
    folder: Path | None = None,
    name: str = "training",
    show: bool = True,
) -> History:
    """Train a model in place; with an evaluation, it ends with the weights that were best in it.

    Args:
        model: in the mode and on the device that it is to be trained in.
        loss_of_step: see :data:`LossOfStep`.
        evaluate: see :data:`Evaluation`; called without gradients and with ``model.eval()``.
        tokens_per_step: for the log alone.
        folder: where the checkpoint ``NAME.pt`` and the log ``NAME.csv`` are kept. A checkpoint that is there is
            resumed if it is one of the same training.
        name: of the training, in the file names and on the progress bar.
        show: whether there is a progress bar.

    Raises:
        ValueError: if the checkpoint in the folder belongs to another training.
        FloatingPointError: if the loss is not finite.
    """
    keeper = _Keeper(folder, name, model, config) if folder else None
    optimizer, history, start, best = adamw(model, config), History(), 0, None
    spent = 0.0
    if keeper and keeper.path.exists():
        start, spent, history, best = keeper.resume(model, optimizer)
    began = time.perf_counter() - spent
    with tqdm(
        total=config.steps, initial=start, desc=name, unit="step", mininterval=0.5, dynamic_ncols=True, disable=not show
    ) as bar:
        for step in range(start, config.steps):
            if history.stopped_early:
                break
            loss, norm = _step(model, loss_of_step, optimizer, config, step)
            done = step + 1
            if evaluate and _is_due(done, config.evaluate_every, config.steps):
                row = dict.fromkeys(COLUMNS, 0.0) | {
                    "step": done,
                    "tokens": done * tokens_per_step,
                    "seconds": round(time.perf_counter() - began, 2),
                    "learning_rate": config.rate(step),
                    "loss": loss.item(),
                    "gradient_norm": norm.item(),
                }
                measured = _evaluated(model, evaluate)
                history.rows.append(row | {f"held_out_{key}": value for key, value in measured.items()})
                best = _judge(history, measured["loss"], done, model, best, config)
                bar.set_postfix(loss=f"{loss.item():.3f}", held_out=f"{measured['loss']:.3f}", refresh=False)
            if keeper and (_is_due(done, config.checkpoint_every, config.steps) or history.stopped_early):
                keeper.keep(model, optimizer, done, time.perf_counter() - began, history, best)
            bar.update()
    if best is not None:
        model.load_state_dict(best)
    return history


def _step(
    model: nn.Module, loss_of_step: LossOfStep, optimizer: torch.optim.Optimizer, config: TrainingConfig, step: int
) -> tuple[Tensor, Tensor]:
    """Take one step; returns the loss before it and the norm of its gradient before clipping."""
    for group in optimizer.param_groups:
        group["lr"] = group["factor"] * config.rate(step)
    torch.manual_seed(step_seed(config.seed, step))
    device = next(model.parameters()).device.type
    with in_bfloat16(device, config.bfloat16):
        loss = loss_of_step(step)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
    if not torch.isfinite(norm):
        raise FloatingPointError(
            f"The gradient of step {step} is not finite (the loss is {loss.item():g}): "
            "lower the learning rate or lengthen the warm-up."
        )
    optimizer.step()
    return loss.detach(), norm


def in_bfloat16(device: str, wanted: bool = True) -> torch.autocast:
    """A context that computes in bfloat16 where torch's autocast thinks it safe; weights stay in float32.

    A processor that has no instructions for it stays in float32: there torch imitates bfloat16 slowly and has no LSTM
    in it. Losses differ in the third digit.

    Args:
        device: the kind of device, such as "cpu" or "cuda".
        wanted: if not, the context does nothing.
    """
    has = device != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return torch.autocast(device, torch.bfloat16, enabled=wanted and has)


def _is_due(done: int, every: int, steps: int) -> bool:
    return done == steps or (every > 0 and done % every == 0)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without gradients and without dropout; the model is in the mode that it was in before, afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _evaluated(model: nn.Module, evaluate: Evaluation) -> dict[str, float]:
    with evaluating(model), torch.random.fork_rng():
        return evaluate()


def _judge(
    history: History,
    loss: float,
    done: int,
    model: nn.Module,
    best: dict[str, Tensor] | None,
    config: TrainingConfig,
) -> dict[str, Tensor]:
    """Note whether these weights are the best so far; returns the best ones."""
    if loss < history.best_loss or best is None:
        history.best_loss, history.best_step, history.evaluations_since_best = loss, done, 0
        return {key: value.detach().clone() for key, value in model.state_dict().items()}
    history.evaluations_since_best += 1
    history.stopped_early = config.patience is not None and history.evaluations_since_best >= config.patience
    return best


class _Keeper:
    """Keeps a training in two files: its state, from which it can be resumed, and a log that a person can read."""

    def __init__(self, folder: Path, name: str, model: nn.Module, config: TrainingConfig) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.log = folder / f"{name}.pt", folder / f"{name}.csv"
        shapes = [[key, list(value.shape)] for key, value in model.state_dict().items()]
        self._same = json.dumps([asdict(config), shapes])

    def keep(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        done: int,
        seconds: float,
        history: History,
        best: dict[str, Tensor] | None,
    ) -> None:
        state = {
            "training": self._same,
            "done": done,
            "seconds": seconds,
            "history": asdict(history),
            "model": model.state_dict(),
            "best": best,
            "optimizer": optimizer.state_dict(),
        }
        partial = self.path.with_name(self.path.name + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)
        self._write_log(history)

    def resume(
        self, model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> tuple[int, float, History, dict[str, Tensor] | None]:
        """Go back to what was kept; returns the steps that were done, the seconds, the history and the best weights.

        Raises:
            ValueError: if it is another training's.
        """
        state: dict[str, Any] = torch.load(self.path, weights_only=True, map_location=next(model.parameters()).device)
        if state["training"] != self._same:
            raise ValueError(
                f"{self.path.name} is the checkpoint of a training with other settings: remove it to begin anew, or "
                "choose another folder."
            )
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        history = History(**state["history"])
        self._write_log(history)
        return state["done"], state["seconds"], history, state["best"]

    def _write_log(self, history: History) -> None:
        if not history.rows:
            return
        partial = self.log.with_name(self.log.name + ".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(history.rows[0]))
            writer.writeheader()
            writer.writerows(history.rows)
        os.replace(partial, self.log)
