"""Learning rates for the reversal of chapter *Attention*, and a training much longer than its own.

Run ``python -m autograder.reference.recipes.reversal``: about 9 minutes on one thread. It writes ``reversal.json``
beside this file, which the chapter reads.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from autograder.reference.encoder_decoder import reversal_accuracy, train_reversal

LOG = Path(__file__).with_suffix(".json")
RATES = [0.005, 0.01, 0.02, 0.04, 0.08]
STEPS, LONG_STEPS = 400, 8000
LENGTHS = [4, 6, 8, 10, 12, 16, 20, 24]


@dataclass
class Run:
    """One training and what came of it, at each of ``LENGTHS``: the share of letters, and of whole words, right."""

    attend: bool
    seed: int
    steps: int
    learning_rate: float
    seconds: float
    letters: list[float]
    words: list[float]


def run(attend: bool, seed: int, steps: int, learning_rate: float) -> Run:
    """Train once and measure at every length."""
    started = time.perf_counter()
    model = train_reversal(attend, seed, steps, learning_rate)
    seconds = round(time.perf_counter() - started, 1)
    letters, words = zip(*(reversal_accuracy(model, length) for length in LENGTHS), strict=True)
    result = Run(
        attend, seed, steps, learning_rate, seconds, [round(x, 4) for x in letters], [round(x, 4) for x in words]
    )
    print(result, flush=True)
    return result


def best_rate(runs: list[Run]) -> float:
    """The learning rate with the most letters right, over the lengths seen in training and all seeds."""
    seen = sum(length <= 12 for length in LENGTHS)
    return max(RATES, key=lambda rate: sum(sum(r.letters[:seen]) for r in runs if r.learning_rate == rate))


def main() -> None:
    """Try every learning rate on two seeds that the chapter does not use, then train long at the best of each model."""
    torch.set_num_threads(1)
    tried = {
        attend: [run(attend, seed, STEPS, rate) for rate in RATES for seed in (100, 101)] for attend in (False, True)
    }
    best = {attend: best_rate(runs) for attend, runs in tried.items()}
    long = [run(attend, seed, LONG_STEPS, best[attend]) for attend in best for seed in (0, 1, 2)]
    log = {
        "torch": torch.__version__.split("+")[0],
        "lengths": LENGTHS,
        "rates": [asdict(r) for r in tried[False] + tried[True]],
        "best": {"without": best[False], "with": best[True]},
        "long": [asdict(r) for r in long],
    }
    LOG.write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
