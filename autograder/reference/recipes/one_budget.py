"""How much hangs on the seed? ELMo, BERT and GPT at a small part of their budget, three times each.

    python -m autograder.reference.recipes.one_budget --folder build/one_budget

The three that come with the course were trained once each. Here each is trained three times, on a twenty-fourth of the
tokens, and asked for the same hidden words as in ``recipes/cloze.py``: half an hour on one thread. The folder keeps
what is being trained, and ``one_budget.csv`` beside this file has a row for every way to ask each model; a run that is
stopped goes on where it was.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from autograder.reference.pretrained import FOLDER
from autograder.reference.recipes.cloze import compare
from autograder.reference.recipes.family import KINDS, TRAINING, Recipe
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import train

LOG = Path(__file__).with_suffix(".csv")
COLUMNS = ("model", "seed", "steps", "way", "nats", "right", "seconds")
MODELS = ("bert", "gpt", "elmo")
SEEDS = (0, 1, 2)
STEPS, FIRST_STEPS = 500, 10
"""Of a training, and of the same training broken off at once, which a test repeats."""

Row = tuple[str, float, float, float]


def run(name: str, seed: int, recipe: Recipe, steps: int, folder: Path | None = None) -> list[Row]:
    """Train one of the three and ask it.

    Args:
        folder: where checkpoints are kept; nowhere if not given.

    Returns:
        for each way to ask it: the way, nats a hidden word, the share of right answers, and the seconds of it all.
    """
    began = time.perf_counter()
    model, loss_of_step = recipe.begin(name, seed)
    rate = KINDS[name].learning_rate
    training = replace(TRAINING, steps=steps, learning_rate=rate, evaluate_every=0, checkpoint_every=50, seed=seed)
    train(model, loss_of_step, training, folder=folder, name=f"{name}-{seed}-{steps}")
    found = compare({name: model}, recipe)
    seconds = round(time.perf_counter() - began, 1)
    return [(way, score["nats"], score["right"], seconds) for way, score in found.items() if way != "single words"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("build/one_budget"), help="where checkpoints are kept")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    recipe = Recipe.prepare(FOLDER)
    log = RunLog(chosen.log, COLUMNS, key_size=3)
    with tqdm(total=2 * len(MODELS) * len(SEEDS), unit="run", dynamic_ncols=True) as bar:
        for seed in SEEDS:
            for name in MODELS:
                for steps in (FIRST_STEPS, STEPS):
                    if not log.rows_of(name, seed, steps):
                        log.add((name, seed, steps), run(name, seed, recipe, steps, chosen.folder))
                    bar.update()


if __name__ == "__main__":
    main()
