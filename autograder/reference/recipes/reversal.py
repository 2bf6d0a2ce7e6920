"""Learning rates for the reversal of chapter *Attention*, and ten times its training.

Run ``python -m autograder.reference.recipes.reversal``: about 10 minutes on one thread. It writes ``reversal.json``
beside this file, which the chapter reads.
"""

import json
import time
from pathlib import Path

import torch

from autograder.reference.encoder_decoder import reversal_accuracy, train_reversal

LOG = Path(__file__).with_suffix(".json")
RATES = [0.005, 0.01, 0.02, 0.04, 0.08]
STEPS, LONG_STEPS = 800, 8000
LENGTHS = [4, 6, 8, 10, 12, 16, 20, 24]


def run(attend: bool, seed: int, steps: int, learning_rate: float) -> dict[str, object]:
    """Train once and measure at every length."""
    started = time.perf_counter()
    model = train_reversal(attend, seed, steps, learning_rate)
    seconds = time.perf_counter() - started
    letters, words = zip(*(reversal_accuracy(model, length) for length in LENGTHS), strict=True)
    result = {
        "attend": attend,
        "seed": seed,
        "steps": steps,
        "learning_rate": learning_rate,
        "seconds": round(seconds, 1),
        "letters": [round(x, 4) for x in letters],
        "words": [round(x, 4) for x in words],
    }
    print(result, flush=True)
    return result


def main() -> None:
    """Try every learning rate on two seeds that the chapter does not use, then train long at the best of each model."""
    torch.set_num_threads(1)
    rates = [run(attend, seed, STEPS, rate) for attend in (False, True) for rate in RATES for seed in (100, 101)]
    best = {}
    for attend in (False, True):
        scores = {
            rate: sum(sum(r["letters"][:5]) for r in rates if r["attend"] == attend and r["learning_rate"] == rate)
            for rate in RATES
        }  # type: ignore[index]
        best[attend] = max(scores, key=scores.__getitem__)
    long = [run(attend, seed, LONG_STEPS, best[attend]) for attend in (False, True) for seed in (0, 1, 2)]
    log = {
        "torch": torch.__version__.split("+")[0],
        "lengths": LENGTHS,
        "rates": rates,
        "best": {"without": best[False], "with": best[True]},
        "long": long,
    }
    LOG.write_text(json.dumps(log, indent=1) + "\n")


if __name__ == "__main__":
    main()
