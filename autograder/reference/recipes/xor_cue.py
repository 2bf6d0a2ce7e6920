"""What gluing two one-sided contexts cannot see, and what it takes to see it: the XOR cue, read in six ways.

    python -m autograder.reference.recipes.xor_cue

About three minutes on one thread. It writes ``xor_cue.json`` beside this file, which the chapter on ELMo reads: for
each way of reading the share of right senses on fresh sentences, over three seeds, at the learning rate that was the
better one of two on a seed of its own. A linear readout of two states that never met gets 75 % at the most (see
``autograder.data.generated.xor_cue``). Trained by cross-entropy it gets half, since a score that adds up what the two
sides say has its least loss, by convexity, where it says nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from autograder.data.generated.xor_cue import VOCABULARY_SIZE, XorCue, xor_cue
from autograder.reference.training import TrainingConfig, evaluating, step_seed, train
from autograder.reference.transformer_layer import EncoderLayer

LOG = Path(__file__).with_suffix(".json")
WIDTH, LENGTH, BATCH, STEPS = 64, 11, 128, 500
RATES = (1e-3, 3e-3)
SEEDS, CHOICE_SEED = (0, 1, 2), 100


class OneSided(nn.Module):
    """LSTMs from either end that never see each other, as in ELMo; at each word both states are glued."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.forward_lstm = nn.LSTM(WIDTH, WIDTH // 2, num_layers, batch_first=True)
        self.backward_lstm = nn.LSTM(WIDTH, WIDTH // 2, num_layers, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        from_left, _ = self.forward_lstm(x)
        from_right, _ = self.backward_lstm(x.flip(1))
        return torch.cat([from_left, from_right.flip(1)], dim=-1)


class Coupled(nn.Module):
    """Two layers of LSTMs in both directions: the upper two read what both of the lower wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH // 2, 2, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        return self.lstm(x)[0]


class SelfAttention(nn.Module):
    """Layers of a Transformer's encoder, with a learned vector for each position."""

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.layers = nn.ModuleList(EncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, True) for _ in range(num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.positions
        for layer in self.layers:
            x = layer(x, None)
        return x


def linear() -> nn.Module:
    """A readout that can only add up what the numbers say one by one."""
    return nn.Linear(WIDTH, 2)


def mlp() -> nn.Module:
    """A readout with a hidden layer, in which the two sides meet."""
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))


WAYS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "one-sided, one layer": (lambda: OneSided(1), linear),
    "one-sided, two layers": (lambda: OneSided(2), linear),
    "one-sided, two layers, MLP": (lambda: OneSided(2), mlp),
    "coupled, two layers": (Coupled, linear),
    "self-attention, one layer": (lambda: SelfAttention(1), linear),
    "self-attention, two layers": (lambda: SelfAttention(2), linear),
}
"""How a sentence is read, and how the sense is told from the vector of the ambiguous word."""


class Reader(nn.Module):
    """Tells the sense of the word in the middle."""

    def __init__(self, way: str) -> None:
        super().__init__()
        make_encoder, make_readout = WAYS[way]
        self.embedding = nn.Embedding(VOCABULARY_SIZE, WIDTH)
        self.encoder, self.readout = make_encoder(), make_readout()

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) to logits (B, 2)."""
        return self.readout(self.encoder(self.embedding(ids))[:, ids.size(1) // 2])


def batch(seed: int, step: int, size: int = BATCH) -> XorCue:
    """The sentences of a step; no two steps share any."""
    return xor_cue(size, torch.Generator().manual_seed(step_seed(seed, step)), LENGTH)


def run(way: str, rate: float, seed: int, steps: int = STEPS) -> float:
    """Train one reader; returns the share of right senses on 4,096 fresh sentences."""
    torch.manual_seed(seed)
    model = Reader(way)

    def loss_of_step(step: int) -> Tensor:
        drawn = batch(seed, step)
        return F.cross_entropy(model(drawn.ids), drawn.senses)

    train(model, loss_of_step, TrainingConfig(steps, rate, warmup_steps=steps // 10, seed=seed), show=False)
    fresh = batch(seed, 1_000_000, 4_096)
    with evaluating(model):
        return (model(fresh.ids).argmax(dim=1) == fresh.senses).float().mean().item()


def main() -> None:
    """Choose a rate for each way of reading on one seed, then train with three others."""
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    for way in tqdm(WAYS, unit="way", dynamic_ncols=True):
        chosen = max(RATES, key=lambda rate: run(way, rate, CHOICE_SEED))
        right = [round(run(way, chosen, seed), 4) for seed in SEEDS]
        parameters = sum(p.numel() for p in Reader(way).parameters())
        found.append({"way": way, "rate": chosen, "seeds": list(SEEDS), "right": right, "parameters": parameters})
        tqdm.write(f"{way:30}{chosen:8}" + "".join(f"{share:8.3f}" for share in right))
    log = {"steps": STEPS, "batch": BATCH, "length": LENGTH, "ways": found}
    LOG.write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
