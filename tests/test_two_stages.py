"""The recipe of chapter 9's two stages: who reads what, and that the log is what the recipe gives."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autograder.reference.gpt_tasks import SpecialTokens, task_batch
from autograder.reference.pretrained import load_gpt, load_tokenizer
from autograder.reference.recipes import two_stages
from autograder.reference.recipes.counting_rivals import STRENGTHS
from autograder.reference.recipes.few_label_tasks import Task, drawn
from autograder.reference.training import evaluating


@pytest.fixture(scope="module")
def topics() -> Task:
    return two_stages.topics()


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with Path(two_stages.__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_log_is_that_of_the_recipe_that_is_here(rows: list[dict[str, str]]) -> None:
    assert tuple(rows[0]) == two_stages.COLUMNS
    for task in {row["task"] for row in rows}:
        assert task in two_stages.TASKS
        for name, learner in two_stages.LEARNERS.items():
            mine = [row for row in rows if (row["task"], row["learner"]) == (task, name)]
            chosen = {float(row["setting"]): float(row["right"]) for row in mine if row["part"] == "validation"}
            assert set(chosen) == set(two_stages.RATES if learner.model else STRENGTHS)
            tested = [row for row in mine if row["part"] == "test"]
            assert {float(row["setting"]) for row in tested} == {max(chosen, key=lambda setting: chosen[setting])}
            for row in tested:
                assert int(row["steps"]) == (two_stages.STEPS[int(row["labels"])] if learner.model else 0)
            for count in {row["labels"] for row in tested}:
                assert [int(row["seed"]) for row in tested if row["labels"] == count] == list(two_stages.SEEDS)


def test_a_training_that_is_done_again_gives_what_the_log_says(topics: Task, rows: list[dict[str, str]]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name in ("GPT", "GPT, from scratch"):
            row = next(r for r in rows if (r["learner"], r["labels"], r["part"]) == (name, "50", "test"))
            again = two_stages.run(name, topics, float(row["setting"]), int(row["seed"]), 50, "test")
            # Other processors round differently, and training amplifies it.
            assert again == pytest.approx(float(row["right"]), abs=0.06)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [name for name, learner in two_stages.LEARNERS.items() if learner.model])
def test_everybody_learns_from_a_few_steps_on_pairs(name: str) -> None:
    task = two_stages.pairs()
    short = replace(task, parts={**task.parts, "test": task.parts["test"][:32]})
    assert 0 <= two_stages.run(name, short, 1e-3, 0, 50, "test", steps=2) <= 1


def test_both_tasks_have_parts_that_share_nothing_and_all_labels(topics: Task) -> None:
    for task in (topics, two_stages.pairs()):
        texts = {part: {(*e.words, *e.second) for e in examples} for part, examples in task.parts.items()}
        if task is topics:
            assert not texts["train"] & texts["test"]
        assert {e.labels[0] for e in drawn(task, 200, 0)} == set(range(task.num_labels))
        assert len(task.parts["test"]) == two_stages.TEST


def test_the_pretrained_ones_begin_with_what_they_know_and_the_other_does_not() -> None:
    known = load_gpt().token_embedding.weight
    torch.manual_seed(0)
    for name, expected in (("GPT", True), ("GPT, auxiliary loss", True), ("GPT, from scratch", False)):
        model, special = two_stages.made(two_stages.LEARNERS[name], 3)
        assert torch.equal(model.model.token_embedding.weight[: special.start], known) == expected  # type: ignore


def test_what_is_padded_does_not_change_a_judgment() -> None:
    torch.manual_seed(0)
    for name in ("GPT", "BERT"):
        model, special = two_stages.made(two_stages.LEARNERS[name], 3)
        lines = two_stages.as_text(two_stages.pairs().parts["test"][:6], load_tokenizer(), special)
        with evaluating(model):
            together = model(task_batch(lines))
            alone = torch.cat([model(task_batch([line])) for line in lines])
        assert torch.allclose(together, alone, atol=1e-4), name


def test_a_pair_is_one_line_and_so_is_a_text() -> None:
    tokenizer, special = load_tokenizer(), SpecialTokens(90_000, 90_001, 90_002)
    pair, text = two_stages.pairs().parts["test"][0], two_stages.pairs().parts["test"][0]._replace(second=())
    first, second = (tokenizer.encode(" ".join(words)) for words in (pair.words, pair.second))
    found = two_stages.as_text([pair, text], tokenizer, special)
    assert found == [[[90_000, *first, 90_001, *second, 90_002]], [[90_000, *first, 90_002]]]
