"""The seeds of chapter 11: that the recipe trains what the family's does, and that the log is that of this recipe."""

import csv

import pytest
import torch

from autograder.reference.pretrained import FOLDER
from autograder.reference.recipes import one_budget
from autograder.reference.recipes.family import BATCH, CONTEXT, PARTS, Recipe
from autograder.reference.recipes.one_budget import COLUMNS, FIRST_STEPS, LOG, MODELS, SEEDS, STEPS, main, run
from autograder.reference.recipes.verdict import paired, verdict

WAYS = {"bert": {"bert"}, "gpt": {"gpt"}, "elmo": {"elmo", "elmo, before", "elmo, behind"}}


@pytest.fixture(scope="module")
def whole() -> Recipe:
    return Recipe.prepare(FOLDER)


@pytest.fixture(scope="module")
def few(whole: Recipe) -> Recipe:
    tokens = {part: whole.tokens[part][: 4 * BATCH * CONTEXT] for part in PARTS}
    return Recipe(whole.tokenizer, tokens, whole.sizes)


@pytest.mark.parametrize("name", MODELS)
def test_a_training_answers_in_all_its_ways_and_is_the_same_twice(name: str, few: Recipe) -> None:
    torch.set_num_threads(1)
    rows = run(name, 0, few, 2)
    assert {way for way, *_ in rows} == WAYS[name]
    assert all(5 < nats < 12 and 0 <= right <= 1 for _, nats, right, _ in rows)
    assert [row[:3] for row in rows] == [row[:3] for row in run(name, 0, few, 2)]
    assert rows[0][1] != run(name, 1, few, 2)[0][1]


def test_what_is_in_the_log_is_not_run_again(tmp_path, few: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_budget.Recipe, "prepare", lambda folder: few)
    asked = []

    def noted(name, seed, recipe, steps, folder):
        asked.append((name, seed, steps))
        return [(way, 5.0, 0.1, 1.0) for way in sorted(WAYS[name])]

    monkeypatch.setattr(one_budget, "run", noted)
    arguments = ["--folder", str(tmp_path), "--log", str(tmp_path / "log.csv")]
    main(arguments)
    assert len(asked) == len(set(asked)) == 2 * len(MODELS) * len(SEEDS)
    main(arguments)
    assert len(asked) == 2 * len(MODELS) * len(SEEDS)


@pytest.mark.skipif(not LOG.exists(), reason="the log is still to be made")
def test_the_log_has_every_training_and_says_what_is_measured_again(whole: Recipe) -> None:
    with LOG.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    trained = {(row["model"], int(row["seed"]), int(row["steps"])) for row in rows}
    assert trained == {(name, seed, steps) for name in MODELS for seed in SEEDS for steps in (FIRST_STEPS, STEPS)}
    logged = next(row for row in rows if (row["model"], row["seed"], row["steps"]) == ("bert", "0", str(FIRST_STEPS)))
    torch.set_num_threads(1)
    assert run("bert", 0, whole, FIRST_STEPS)[0][1] == pytest.approx(float(logged["nats"]), abs=0.05)


def test_a_verdict_counts_the_conditions_under_which_an_effect_is_larger_than_twice_its_error() -> None:
    assert verdict([(1.0, 0.4), (0.1, 0.0)]) == "shows"
    assert verdict([(1.0, 0.4), (0.1, 0.1)]) == "partly"
    assert verdict([(1.0, 0.5), (-3.0, 0.1)]) == "not at this size"
    with pytest.raises(ValueError, match="no condition"):
        verdict([])


def test_pairs_are_compared_seed_by_seed() -> None:
    mean, error = paired([3.0, 5.0, 7.0], [1.0, 2.0, 6.0])
    assert (mean, error) == pytest.approx((2.0, 1 / 3**0.5))
    with pytest.raises(ValueError, match="same seeds"):
        paired([1.0], [2.0])
