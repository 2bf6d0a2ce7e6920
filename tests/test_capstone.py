"""The budgets of the capstone hold, and shortcuts get part of the points."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.checking.client.fixtures import FIXTURES
from autograder.checking.given import HOME_SEED
from autograder.checking.judge import judge
from autograder.checking.student import LocalTransport
from autograder.checking.tasks import tasks_of
from autograder.checking.verdict import TaskVerdict
from autograder.checking.worked import Worked
from autograder.course import Course
from autograder.data.generated.supply import BudgetSpent, TextSupply
from autograder.tasks import capstone
from autograder.tasks.capstone import NUMBERS, PERPLEXITIES, TOKENS, V, numbers_kept

ASSIGNMENT = Course.at(Path(__file__).resolve().parent.parent).assignment("11-capstone")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def judged(task_id: str, **names: Any) -> TaskVerdict:
    """The verdict on the worked answers with other things in the place of some of them."""
    task = tasks_of(ASSIGNMENT)[task_id]
    return judge(task, LocalTransport({**Worked(ASSIGNMENT).namespace(task), **names}), 100.0, HOME_SEED)


def passed(verdict: TaskVerdict, beginning: str) -> int:
    """How many of the thresholds were reached."""
    return sum(case.passed for case in verdict.cases if case.name.startswith(beginning))


def worked(name: str) -> Any:
    return Worked(ASSIGNMENT).namespace(tasks_of(ASSIGNMENT)["write_on"])[name]


class Pairs(nn.Module):
    """Which word follows which, counted: 141 × 141 numbers."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(vocab_size, vocab_size))

    def read(self, ids: Tensor) -> Tensor:
        return self.scores[ids]

    def forward(self, ids: Tensor) -> Tensor:
        return self.scores[ids]


def count_pairs(model: Any, supply: TextSupply) -> None:
    """Make a table of pairs of a text."""
    ids = supply.draw(supply.left // supply.length)
    words = ids[:, 1:].flatten().bincount(minlength=V).float() + 0.1
    counts = (5 * words / words.sum()).repeat(V, 1)
    counts.index_put_((ids[:, :-1].flatten(), ids[:, 1:].flatten()), torch.tensor(1.0), accumulate=True)
    with torch.no_grad():
        model.scores.copy_((counts / counts.sum(dim=1, keepdim=True)).log())


def test_counting_pairs_reaches_one_perplexity_and_not_the_next() -> None:
    verdict = judged("pretrain", LanguageModel=Pairs, pretrain=count_pairs)
    assert passed(verdict, "perplexity") == 1
    assert 0 < verdict.score < 50  # type: ignore[operator]


def test_half_of_the_text_is_not_enough_for_all_points() -> None:
    def half(model: Any, supply: TextSupply) -> None:
        worked("pretrain")(model, TextSupply(supply.draw(TOKENS // 22), TOKENS // 2))

    verdict = judged("pretrain", pretrain=half)
    assert 0 < passed(verdict, "perplexity") < len(PERPLEXITIES)


def test_without_pretraining_eight_labels_are_worth_little() -> None:
    verdict = judged("fine_tune", pretrain=lambda model, supply: None)
    assert passed(verdict, "accuracy") <= 1
    assert judged("pretrain", pretrain=lambda model, supply: None).score < 15  # type: ignore[operator]


def test_counting_words_gets_part_of_the_points() -> None:
    def counts_words(model: Any, ids: Tensor, topics: Tensor) -> Callable[[Tensor], Tensor]:
        counts = torch.full((8, V), 0.3)
        for row, topic in zip(ids, topics.tolist(), strict=True):
            counts[topic] += row[1:].bincount(minlength=V)
        scores = (counts / counts.sum(dim=1, keepdim=True)).log()
        return lambda reports: F.one_hot(reports[:, 1:], V).sum(dim=1).float() @ scores.T

    assert passed(judged("fine_tune", fine_tune=counts_words), "accuracy") in (1, 2)


class Large(nn.Module):
    """A good model that keeps too much."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.inner = worked("LanguageModel")(vocab_size)
        self.register_buffer("more", torch.randn(80, 100))

    def read(self, ids: Tensor) -> Tensor:
        return self.inner.read(ids)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids)  # type: ignore[no-any-return]


@pytest.mark.parametrize("task", ["language_model", "pretrain", "fine_tune"])
def test_too_many_numbers_are_found_in_buffers_too_and_the_sentence_says_by_how_many(task: str) -> None:
    verdict = judged(task, LanguageModel=Large)
    assert f"{17_632 + 8_000 - NUMBERS:,} over the budget" in next(c for c in verdict.cases if not c.passed).message
    assert passed(verdict, "perplexity") + passed(verdict, "accuracy") == 0


class LooksAhead(Large):
    """A model that sees the word that it is to predict."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        del self.more

    def forward(self, ids: Tensor) -> Tensor:
        return self.inner(ids) + 9 * F.one_hot(ids.roll(-1, dims=1), V)  # type: ignore[no-any-return]


def test_who_looks_ahead_gets_nothing_for_the_perplexity() -> None:
    assert passed(judged("pretrain", LanguageModel=LooksAhead), "perplexity") == 0


class Elsewhere(nn.Module):
    """Keeps its numbers where they are not counted."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.zeros(1))
        self.__dict__["scores"] = torch.zeros(vocab_size, vocab_size)

    def read(self, ids: Tensor) -> Tensor:
        return self.forward(ids)

    def forward(self, ids: Tensor) -> Tensor:
        return self.__dict__["scores"][ids] + self.one


def test_what_is_not_counted_is_lost() -> None:
    assert passed(judged("pretrain", LanguageModel=Elsewhere, pretrain=count_pairs), "perplexity") == 0


def test_more_text_than_the_budget_is_refused_with_a_sentence_that_says_how_much_more() -> None:
    def greedy(model: Any, supply: TextSupply) -> None:
        while True:
            supply.draw(70)

    verdict = judged("pretrain", pretrain=greedy)
    assert verdict.score == 0
    left = TOKENS % (70 * 11)
    assert f"70 texts cost 770 tokens, and {left} are left: {770 - left} too many" in verdict.message


def test_a_supply_has_nothing_behind_what_the_budget_buys() -> None:
    texts = torch.arange(60).view(12, 5)
    supply = FIXTURES["text_supply"](texts, 33)
    assert supply.draw(4).tolist() == texts[:4].tolist()
    with pytest.raises(BudgetSpent, match="3 texts cost 15 tokens, and 13 are left: 2 too many"):
        supply.draw(3)
    assert supply.draw(2).tolist() == texts[4:6].tolist()
    assert supply.report() == (3, [4, 2])
    assert not any(isinstance(value, Tensor) and value.numel() > 33 for value in vars(supply).values())
    with pytest.raises(ValueError, match="at least one"):
        supply.draw(0)


def test_what_is_shared_counts_once_and_what_is_equal_by_accident_twice() -> None:
    model = nn.ModuleList([nn.Embedding(5, 3), nn.Linear(3, 5, bias=False), nn.LayerNorm(3), nn.LayerNorm(3)])
    assert numbers_kept(model.state_dict()) == 15 + 15 + 12
    model[1].weight = model[0].weight
    assert numbers_kept(model.state_dict()) == 15 + 12
    assert math.isnan(numbers_kept([1, 2]))


def test_the_check_gives_the_words_other_numbers_each_time() -> None:
    one, other = capstone.exam(1), capstone.exam(2)
    assert not torch.equal(one.topic_of, other.topic_of)
    for here in (one, other):
        topics = here.topic_of[here.secret]
        assert ((topics == here.topics[:, None]) | (topics == -1)).all()
        assert (here.secret[:, 0] == V - 1).all()
        assert sorted(here.labels.tolist()) == list(range(8))
        assert here.prompts.shape == (capstone.PROMPTS, capstone.PROMPT)
        assert here.train.numel() == TOKENS
