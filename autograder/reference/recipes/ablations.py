"""What each part of the Transformer buys: small ones that lack a part learn to write numerals in digits.

    python -m autograder.reference.recipes.ablations --folder build/ablations

Every model gets as many steps and the same choice of learning rates, made on a seed of its own by the loss on numbers
that are neither learned nor tested. ``ablations.csv`` in the folder has a row for each evaluation; trainings that are
in it are not run again. Its copy beside this file is what the book draws. About an hour on one thread.
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from autograder.data.batches import pad
from autograder.data.generated.numerals import WORDS, numerals
from autograder.reference.attention import causal_mask
from autograder.reference.decoding import greedy_decode
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import TrainingConfig, step_seed, train
from autograder.reference.transformer import DecoderLayer, Transformer, TransformerConfig, label_smoothing_loss
from autograder.reference.transformer_layer import EncoderLayer

VOCABULARY = ("<pad>", "<start>", "<end>", *"0123456789", *WORDS)
BELOW, HELD_OUT = 1_000_000, 500
LEARNED = 20_000
D_MODEL, LAYERS, HEADS = 64, 2, 4
DEEP = 6
"""Layers of the encoder and of the decoder, where depth is the question."""

BATCH, STEPS, EVERY, WARMUP = 64, 600, 100, 100
RATES = (1e-3, 3e-3, 1e-2)
SEEDS, CHOICE_SEED = (0, 1, 2), 100
COLUMNS = ("part", "seed", "rate", "role", "step", "loss", "exact", "seconds", "parameters")


class BareEncoderLayer(EncoderLayer):
    """An encoder's layer without residual paths."""

    def forward(self, x: Tensor, mask: Tensor | None = None, rotation: Any = None) -> Tensor:
        x = self.attention(self.attention_norm(x), mask=mask, rotation=rotation)
        return self.feed_forward(self.feed_forward_norm(x))


class BareDecoderLayer(DecoderLayer):
    """A decoder's layer without residual paths."""

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        x = self.self_attention(self.self_attention_norm(x), mask=causal_mask(x.size(1)))
        x = self.cross_attention(self.cross_attention_norm(x), memory, memory_mask)
        return self.feed_forward(self.feed_forward_norm(x))


class Nothing(nn.Module):
    """A branch that adds nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def whole(num_heads: int = HEADS, norm_first: bool = True, layers: int = LAYERS) -> Transformer:
    """All parts in their places."""
    config = TransformerConfig(len(VOCABULARY), D_MODEL, layers, num_heads, 2 * D_MODEL, 0.0, norm_first, max_length=32)
    return Transformer(config)


def without_positions() -> Transformer:
    """Nothing is added to the embeddings."""
    model = whole()
    model.positions.zero_()
    return model


def without_residuals() -> Transformer:
    """What a branch computes takes the place of what came in."""
    model = whole()
    for layers, bare in ((model.encoder_layers, BareEncoderLayer), (model.decoder_layers, BareDecoderLayer)):
        for number, layer in enumerate(layers):
            layers[number] = bare(D_MODEL, HEADS, 2 * D_MODEL)
            layers[number].load_state_dict(layer.state_dict())
    return model


def without_feed_forward() -> Transformer:
    """Attention alone."""
    model = whole()
    for layer in (*model.encoder_layers, *model.decoder_layers):
        layer.feed_forward = Nothing()
    return model


def without_norms() -> Transformer:
    """No vector is brought to one size."""
    model = whole()
    for parent in (model, *model.encoder_layers, *model.decoder_layers):
        for name in [name for name, _ in parent.named_children() if name.endswith("norm")]:
            setattr(parent, name, nn.Identity())
    return model


class Part(NamedTuple):
    """A model that lacks a part, and how many steps its learning rate climbs."""

    make: Callable[[], Transformer]
    warmup: int = WARMUP


PARTS = {
    "whole": Part(whole),
    "no positions": Part(without_positions),
    "no residual paths": Part(without_residuals),
    "no feed-forward": Part(without_feed_forward),
    "no norms": Part(without_norms),
    "one head": Part(lambda: whole(num_heads=1)),
    "no warm-up": Part(whole, warmup=0),
    "post-norm": Part(lambda: whole(norm_first=False)),
    "post-norm, no warm-up": Part(lambda: whole(norm_first=False), warmup=0),
    "deep": Part(lambda: whole(layers=DEEP)),
    "deep, no warm-up": Part(lambda: whole(layers=DEEP), warmup=0),
    "deep, post-norm": Part(lambda: whole(norm_first=False, layers=DEEP)),
    "deep, post-norm, no warm-up": Part(lambda: whole(norm_first=False, layers=DEEP), warmup=0),
}


@lru_cache(maxsize=1)
def numbers() -> dict[str, list[int]]:
    """Numbers that are learned, chosen by and tested on; none is in two parts."""
    drawn = random.Random(0).sample(range(BELOW), LEARNED + 2 * HELD_OUT)
    return {
        "train": drawn[:LEARNED],
        "choice": drawn[LEARNED : LEARNED + HELD_OUT],
        "test": drawn[LEARNED + HELD_OUT :],
    }


def encoded(some: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Words (B, S) and digits between start and end (B, T), as token ids."""
    ids = {token: number for number, token in enumerate(VOCABULARY)}
    words = [[ids[word] for word in numerals(number)] for number in some]
    digits = [[1, *(ids[digit] for digit in str(number)), 2] for number in some]
    return pad(words, 0)[0], pad(digits, 0)[0]


def exact(model: Transformer, source: Tensor, target: Tensor) -> float:
    """The share of numbers that are written without a mistake."""
    written = greedy_decode(model, source, target.size(1) - 1)
    missing = target.size(1) - 1 - written.size(1)
    return (nn.functional.pad(written, (0, missing)) == target[:, 1:]).all(dim=1).float().mean().item()


def run(part: str, rate: float, seed: int, held_out: str, steps: int = STEPS) -> list[dict[str, float]]:
    """Train one model; gives its evaluations, with "step", "loss" and "exact" in each."""
    torch.manual_seed(seed)
    model = PARTS[part].make()
    source, target = encoded(numbers()["train"])
    held_source, held_target = encoded(numbers()[held_out])

    def loss_of_step(step: int) -> Tensor:
        rows = torch.randint(LEARNED, (BATCH,), generator=torch.Generator().manual_seed(step_seed(seed, step)))
        return label_smoothing_loss(model(source[rows], target[rows, :-1]), target[rows, 1:], 0.1, ignore_index=0)

    def evaluate() -> dict[str, float]:
        loss = label_smoothing_loss(model(held_source, held_target[:, :-1]), held_target[:, 1:], 0.0, ignore_index=0)
        return {"loss": loss.item(), "exact": exact(model, held_source, held_target)}

    config = TrainingConfig(steps, rate, warmup_steps=PARTS[part].warmup, evaluate_every=min(EVERY, steps), seed=seed)
    rows = train(model, loss_of_step, config, evaluate, show=False).rows
    return [{"step": row["step"], "loss": row["held_out_loss"], "exact": row["held_out_exact"]} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/ablations"), help="where the log is kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    log = RunLog(chosen.folder / "ablations.csv", COLUMNS, key_size=4)

    def measured(part: str, rate: float, seed: int, role: str) -> dict[str, float]:
        """The last evaluation of a training."""
        key = (part, seed, rate, role)
        rows = log.rows_of(*key)
        if not rows:
            began = time.perf_counter()
            found = run(part, rate, seed, role)
            seconds = round(time.perf_counter() - began, 1)
            size = sum(parameter.numel() for parameter in PARTS[part].make().parameters())
            rows = log.add(
                key, [(int(r["step"]), round(r["loss"], 4), round(r["exact"], 4), seconds, size) for r in found]
            )
        bar.update()
        return {name: float(rows[-1][name]) for name in ("loss", "exact")}

    def chosen_loss(part: str, rate: float) -> float:
        loss = measured(part, rate, CHOICE_SEED, "choice")["loss"]
        return loss if math.isfinite(loss) else math.inf

    with tqdm(total=len(PARTS) * (len(RATES) + len(SEEDS)), unit="training", dynamic_ncols=True) as bar:
        for part in PARTS:
            best = min(RATES, key=lambda rate, part=part: chosen_loss(part, rate))  # type: ignore[misc]
            found = [measured(part, best, seed, "test")["exact"] for seed in SEEDS]
            tqdm.write(f"{part:24} rate {best:g}" + "".join(f"{share:8.1%}" for share in found))


if __name__ == "__main__":
    main()
