"""How a small BERT begins to learn: as the paper's large one was begun, and as ours is.

    python -m autograder.reference.recipes.masked_start

Both read the family's text for a thousand batches and are asked for the same gaps, three seeds each: half an hour on
one thread. It writes ``masked_start.csv`` beside this file, with the losses, and what they put into a gap, at
intervals; a run that is stopped goes on.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from autograder.data.batches import ShuffledChunks
from autograder.reference.bert import BertConfig, BertForPreTraining
from autograder.reference.pretrained import FOLDER
from autograder.reference.recipes.family import (
    BATCH,
    CONTEXT,
    KINDS,
    TRAINING,
    Recipe,
    Sizes,
    bert_config,
    bert_loss,
)
from autograder.reference.recipes.run_log import RunLog
from autograder.reference.training import evaluating, step_seed, train

LOG = Path(__file__).with_suffix(".csv")
COLUMNS = ("start", "seed", "step", "loss", "answers")
SEEDS = (0, 1, 2)
STEPS, EVERY = 1_000, 100
GAPS = (
    "the president of the [MASK] states spoke to congress .",
    "it is one of the [MASK] cities in the world .",
)
MASKING = 0.15
"""What both are asked for on held-out text, whatever they were trained with."""


def starts() -> dict[str, tuple[BertConfig, float, float]]:
    """From a name to the configuration, the share of tokens that are asked for and the highest learning rate."""
    ours = bert_config(Sizes())
    papers = replace(ours, norm_first=False, positions="learned", initial_std=0.02)
    return {"ours": (ours, Sizes().masking, KINDS["bert"].learning_rate), "the paper's": (papers, 0.15, 1e-3)}


def answers(model: BertForPreTraining, recipe: Recipe) -> str:
    """The likeliest piece for each of ``GAPS``, with its probability."""
    numbers = recipe.tokenizer.ids
    names = {number: piece for piece, number in numbers.items()}
    found = []
    for text in GAPS:
        left, right = (recipe.tokenizer.encode(side) for side in text.split("[MASK]"))
        ids = [numbers["[SEP]"], *left, numbers["[MASK]"], *right, numbers["[SEP]"]]
        with evaluating(model):
            best = model.masked_lm_logits(model.bert(torch.tensor([ids]))[0, len(left) + 1]).softmax(dim=-1).max(dim=-1)
        found.append(f"{names[int(best.indices)]} {best.values.item():.2f}")
    return "|".join(found)


def run(start: str, seed: int, recipe: Recipe, steps: int = STEPS) -> list[tuple[int, float, str]]:
    """Train once; returns steps, losses on held-out text in nats a gap, and the answers."""
    config, masking, rate = starts()[start]
    torch.manual_seed(seed)
    model = BertForPreTraining(config)
    asking = replace(recipe, sizes=replace(recipe.sizes, masking=masking))
    judging = replace(recipe, sizes=replace(recipe.sizes, masking=MASKING))
    chunks = ShuffledChunks(recipe.tokens["train"], BATCH, CONTEXT, seed)
    rows: list[tuple[int, float, str]] = []
    every = min(EVERY, steps)

    def evaluate() -> dict[str, float]:
        loss = judging.held_out("bert", model, "validation")
        rows.append((every * (len(rows) + 1), round(loss, 4), answers(model, recipe)))
        return {"loss": loss}

    training = replace(TRAINING, steps=steps, learning_rate=rate, evaluate_every=every, seed=seed)
    train(
        model,
        lambda step: bert_loss(model, chunks.batch(step)[0], step_seed(seed, step), asking),
        training,
        evaluate,
        show=False,
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    recipe = Recipe.prepare(FOLDER)
    log = RunLog(chosen.log, COLUMNS, key_size=2)
    with tqdm(total=len(starts()) * len(SEEDS), unit="run") as bar:
        for seed in SEEDS:
            for start in starts():
                if not log.rows_of(start, seed):
                    log.add((start, seed), run(start, seed, recipe))
                bar.update()


if __name__ == "__main__":
    main()
