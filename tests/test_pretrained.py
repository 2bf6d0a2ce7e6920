"""The family that comes with the course: that its files load, fit together, and reach what stands beside them."""

import csv
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autograder.reference.pretrained import FOLDER, figures, load_bert, load_elmo, load_gpt, load_tokenizer
from autograder.reference.recipes.family import CONTEXT, PARTS, Recipe, Sizes
from autograder.reference.training import TrainingConfig

LOADERS: dict[str, Callable[[], Any]] = {"elmo": load_elmo, "bert": load_bert, "gpt": load_gpt}


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return Recipe.prepare(FOLDER)


def test_no_checkpoint_is_larger_than_ten_megabytes() -> None:
    assert all(path.stat().st_size <= 10_000_000 for path in FOLDER.iterdir())


def test_all_three_had_one_budget() -> None:
    about = [figures(name) for name in LOADERS]
    assert len({a["tokens_read"] for a in about}) == 1
    sizes = [a["parameters_outside_embeddings"] for a in about]
    assert max(sizes) <= 1.05 * min(sizes)


@pytest.mark.parametrize("name", list(LOADERS))
def test_a_model_reaches_what_stands_beside_it(recipe: Recipe, name: str) -> None:
    """On the test part, of which a few batches will do; weights in 16 bits are not quite those that were trained."""
    few = Recipe(recipe.tokenizer, {part: recipe.tokens[part][: 60 * CONTEXT] for part in PARTS}, recipe.sizes)
    assert few.held_out(name, LOADERS[name](), "test") == pytest.approx(figures(name)["test_loss"], abs=0.35)
    with (FOLDER / f"{name}.csv").open(newline="") as file:
        losses = [float(row["held_out_loss"]) for row in csv.DictReader(file)]
    assert min(losses) == pytest.approx(figures(name)["validation_loss"], abs=1e-4)


@pytest.mark.parametrize("name", list(LOADERS))
def test_the_recipe_that_made_a_model_is_the_one_that_is_here(recipe: Recipe, name: str, tmp_path: Path) -> None:
    """Its first steps, taken again, come down from chance; the kept model is far below them."""
    assert Sizes(**figures(name)["sizes"]) == recipe.sizes
    training = TrainingConfig(**{**figures(name)["training"], "steps": 12, "warmup_steps": 4, "evaluate_every": 6})
    few = Recipe(recipe.tokenizer, {part: recipe.tokens[part][: 60 * CONTEXT] for part in PARTS}, recipe.sizes)
    about = few.pretrain(name, tmp_path, training)
    chance = math.log(recipe.sizes.vocab_size)
    assert figures(name)["validation_loss"] + 1 < about["validation_loss"] < chance


def test_elmo_embeds_a_sentence_in_fifty_milliseconds() -> None:
    elmo, tokenizer = load_elmo(), load_tokenizer()
    ids = torch.tensor([tokenizer.encode("the old bank by the river had been closed for years .")])
    seconds = []
    with torch.no_grad():
        for _ in range(10):
            started = time.perf_counter()
            elmo.hidden_states(ids)
            seconds.append(time.perf_counter() - started)
    assert sorted(seconds)[5] < 0.05


def test_what_each_knows_of_a_hidden_word_is_kept() -> None:
    kept = json.loads((FOLDER / "cloze.json").read_text(encoding="utf-8"))
    assert kept["bert"]["nats"] < kept["gpt"]["nats"] < kept["single words"]["nats"]
