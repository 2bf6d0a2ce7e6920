"""The beginning of BERT's training: what differs between the two starts, and that the log is that of this recipe."""

import csv

import pytest

from autograder.reference.pretrained import FOLDER
from autograder.reference.recipes import masked_start
from autograder.reference.recipes.family import CONTEXT, PARTS, Recipe
from autograder.reference.recipes.masked_start import GAPS, LOG, SEEDS, STEPS, run, starts


@pytest.fixture(scope="module")
def few() -> Recipe:
    recipe = Recipe.prepare(FOLDER)
    return Recipe(recipe.tokenizer, {part: recipe.tokens[part][: 60 * CONTEXT] for part in PARTS}, recipe.sizes)


def test_the_two_starts_differ_in_what_the_chapter_says_and_in_nothing_else() -> None:
    (ours, our_masking, our_rate), (papers, masking, rate) = starts().values()
    differing = {name for name in vars(ours) if getattr(ours, name) != getattr(papers, name)}
    assert differing == {"norm_first", "positions", "initial_std"}
    assert (our_masking, masking, our_rate, rate) == (0.3, 0.15, 0.004, 0.001)


def test_the_recipe_trains_answers_and_is_the_same_twice(few: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked_start, "EVERY", 4)
    rows = run("ours", 0, few, steps=8)
    assert [step for step, _, _ in rows] == [4, 8]
    assert rows[1][1] < rows[0][1] < 8.5
    assert all(len(said.split("|")) == len(GAPS) for _, _, said in rows)
    assert rows == run("ours", 0, few, steps=8)


def test_the_log_has_every_run_to_its_end() -> None:
    with LOG.open(newline="", encoding="utf-8") as file:
        ended = {(row["start"], int(row["seed"])) for row in csv.DictReader(file) if int(row["step"]) == STEPS}
    assert ended == {(start, seed) for start in starts() for seed in SEEDS}
