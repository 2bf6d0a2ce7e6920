"""The language of tasks: what a check says, in which order, and that it is the same here and across a wire."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autograder.checking.given import HOME_SEED, Given
from autograder.checking.judge import judge
from autograder.checking.student import Answer, LocalTransport, ProcessTransport, Student
from autograder.checking.tasks import Case, Task, TaskError, case, expected_gradient, filled, task
from autograder.checking.verdict import TaskVerdict
from autograder.grading.sandbox import Sandbox, SandboxError


def double(x: Tensor) -> Tensor:
    return 2 * x


@task("double", seconds=0.5)
def doubling(student: Student, given: Given) -> Iterator[Case]:
    """Twice a tensor."""
    x = given.normal(2, 3)
    yield case("a matrix", student.double(x), double(x), weight=2, axes="B T")
    y = given.normal(4)
    yield case("a vector", student.double(y), double(y), axes="T")


@doubling.misconception("You square it; to double is to multiply by two.")
def squares(x):  # type: ignore[no-untyped-def]
    return x * x


@doubling.misconception("You add two; to double is to multiply by two.")
def adds_two(x):  # type: ignore[no-untyped-def]
    return x + 2


def verdict_on(answer: Callable[..., Any] | None, the_task: Task = doubling, name: str = "double") -> TaskVerdict:
    names = {} if answer is None else {name: answer}
    return judge(the_task, LocalTransport(names), 10, HOME_SEED, reveal=True)


def test_a_right_answer_gets_all_points_and_no_words() -> None:
    verdict = verdict_on(double)
    assert (verdict.score, verdict.status, verdict.message) == (10, "passed", "")


def unanswered(x: Tensor) -> Tensor:
    raise NotImplementedError


def raises(x: Tensor) -> Tensor:
    raise KeyError("no such word")


def in_place(x: Tensor) -> Tensor:
    x *= 2
    return x.clone()


@pytest.mark.parametrize(
    ("answer", "says", "status"),
    [
        (None, "`double` is not defined yet", "missing"),
        (unanswered, "still raises NotImplementedError", "missing"),
        (raises, "raised KeyError: 'no such word'", "error"),
        (lambda x: None, "is None; it must be a tensor. Is a `return` missing?", "failed"),
        (lambda x: (2 * x, x), "is a tuple of 2; it must be a tensor", "failed"),
        (lambda x: (2 * x).numpy(), "is a numpy array; it must be a tensor", "failed"),
        (lambda x: (2 * x).reshape(-1, 1), "has shape (6, 1); it must be (B, T) = (2, 3)", "failed"),
        (lambda x: (2 * x).double(), "has dtype float64; it must be float32", "failed"),
        (lambda x: 2 * x / 0 * 0, "is NaN in 6 of 6 places, first at [b=0, t=0]", "failed"),
        (lambda x: 2 * x / 0, "is infinite in 6 of 6 places", "failed"),
        (lambda x: 2 * x + 0.01, "numbers of the result are off, by 0.01 at the most", "failed"),
        (squares, "You square it", "failed"),
        (lambda x: object(), "is an object of type object; it must be a tensor", "failed"),
        (lambda x: [[[[[[[[[[[[[]]]]]]]]]]]]], "it must be a tensor", "failed"),
    ],
)
def test_each_fault_has_its_own_sentence(answer: Callable | None, says: str, status: str) -> None:
    verdict = verdict_on(answer)
    assert says in verdict.message
    assert verdict.score == 0
    assert verdict.status == status


def test_an_input_changed_in_place_is_named_and_costs_one_case() -> None:
    verdict = verdict_on(in_place)
    assert "changed its input `x` in place" in verdict.message
    assert [c.passed for c in verdict.cases] == [False, True]


def test_points_are_given_case_by_case_with_their_weights() -> None:
    verdict = verdict_on(lambda x: 2 * x if x.ndim == 2 else x)
    assert (verdict.score, verdict.status) == (6.67, "partial")
    assert [c.passed for c in verdict.cases] == [True, False]


def test_a_loop_without_end_is_stopped_once() -> None:
    def forever(x: Tensor) -> Tensor:
        while True:
            try:
                x = x + 1
            except Exception:
                continue

    verdict = verdict_on(forever)
    assert verdict.status == "timeout"
    assert "did not finish within 0.5 seconds" in verdict.message
    assert verdict.seconds < 2


def test_a_misconception_is_named_only_where_it_is_what_the_student_did() -> None:
    verdict = verdict_on(lambda x: x * x if x.ndim == 2 else 2 * x)
    assert all(c.misconception is None for c in verdict.cases)


def test_a_mistake_that_is_alike_by_accident_is_not_named() -> None:
    @task("adding_up", asks="add_up")
    def adding_up(student: Student, given: Given) -> Iterator[Case]:
        for first in (1.0, 3.0, 5.0):
            x = torch.tensor([first, first + 1])
            yield case(f"from {first:g}", student.add_up(x), x.sum())

    @adding_up.misconception("The largest is taken.")
    def largest(x):  # type: ignore[no-untyped-def]
        return x.max()

    for answer, named in ((lambda x: x.max(), True), (lambda x: torch.tensor(2.0), False)):
        verdict = verdict_on(answer, adding_up, "add_up")
        assert verdict.score == 0
        assert ("The largest is taken." in verdict.message) == named


def test_two_different_mistakes_are_both_named() -> None:
    verdict = verdict_on(lambda x: x * x if x.ndim == 2 else x + 2)
    assert [c.misconception for c in verdict.cases] == ["squares", "adds_two"]


def test_expected_values_are_shown_at_home_and_never_in_grading() -> None:
    at_home = judge(doubling, LocalTransport({"double": lambda x: 3 * x}), 10, HOME_SEED, reveal=True)
    in_grading = judge(doubling, LocalTransport({"double": lambda x: 3 * x}), 10, HOME_SEED)
    assert "expected" in at_home.cases[0].detail
    assert all(not c.detail for c in in_grading.cases)


def test_a_new_seed_gives_new_inputs() -> None:
    seen: dict[bytes, Tensor] = {}
    for seed in (b"one", b"two", b"one"):
        kept: list[Tensor] = []
        judge(doubling, LocalTransport({"double": lambda x, kept=kept: kept.append(x.clone()) or 2 * x}), 10, seed)
        if seed in seen:
            assert torch.equal(seen[seed], kept[0])
        seen[seed] = kept[0]
    assert not torch.equal(seen[b"one"], seen[b"two"])


def test_a_bug_in_a_task_is_ours_and_costs_nothing() -> None:
    @task("broken")
    def broken(student: Student, given: Given) -> Iterator[Case]:
        yield case("x", student.double(given.normal(2)), given.no_such_thing)  # type: ignore[attr-defined]

    verdict = verdict_on(double, broken)
    assert verdict.status == "grader-error"
    assert verdict.score is None
    assert "our fault" in verdict.message


def test_a_case_takes_the_answer_itself() -> None:
    with pytest.raises(TaskError, match="give the answer itself"):
        case("x", 3, 3)  # type: ignore[arg-type]


class Scale(nn.Module):
    """A module as a stub gives it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


@task("scale", asks="Scale")
def scaling(student: Student, given: Given) -> Iterator[Case]:
    """A module with one weight for each feature."""
    model = Scale(3)
    weights = given.weights(model)
    filled(model, weights)
    theirs = student.Scale(3).load(weights)
    x, upstream = given.normal(2, 3), given.normal(2, 3)
    yield case("forward", theirs(x), model(x), axes="B D")
    yield case("gradients", theirs.gradient(x, upstream=upstream), expected_gradient(model, x, upstream=upstream))


class Detached(Scale):
    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight).detach()


class Renamed(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(size))


class HalfGradient(Scale):
    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.detach() + 0 * self.weight


def test_a_module_is_loaded_by_the_stubs_names_and_its_gradients_count() -> None:
    assert verdict_on(Scale, scaling, "Scale").score == 10
    detached = verdict_on(Detached, scaling, "Scale")
    assert detached.score == 5
    assert "No gradient flows" in detached.message
    assert "gradient of `weight`" in verdict_on(HalfGradient, scaling, "Scale").message
    renamed = verdict_on(Renamed, scaling, "Scale")
    assert renamed.score == 0
    assert "`weight` is missing; `gain` is not in the stub" in renamed.message


def test_an_answer_that_failed_stays_failed_whatever_is_done_with_it() -> None:
    student = Student(LocalTransport({}))
    answer = student.nothing(1)
    for later in (answer(2), answer["x"], answer.load({}), answer.call("step"), student.other(answer)):
        assert later.failure
        assert later.failure.kind == "missing"
    there = Student(LocalTransport({"three": lambda: 3})).three()
    assert there[0].failure
    assert there(1).failure


# A training task: what was trained stays on the student's side as a handle; predictions travel.


@task("train", seconds=15.0)
def training(student: Student, given: Given) -> Iterator[Case]:
    """Fit a line within 60 steps; held-out error and the budget are checked."""
    slope = given.normal(1)
    inputs = given.normal(256, 1)
    batches = student.fixture("TrainingBatches", inputs, inputs * slope, batch_size=16, steps=60, seed=given.seed())
    model = student.train(batches)
    held_out = given.normal(64, 1)
    predictions = model(held_out)

    def error(value: Tensor) -> float:
        return float((value - held_out * slope).abs().mean())

    yield case("held-out error", predictions, torch.zeros(64, 1), measure=error, at_most=0.05, weight=2)
    yield case("first parameter", model.call("get_parameter", "weight"), weight=0, measure=lambda value: 0.0, at_most=1)
    yield case("one step for each batch", batches.call("__len__"), 60)


@training.misconception(
    "The model never changes: zero_grad after backward and before the step throws the gradients away.",
    probe=lambda seen: seen["first parameter"] is not None and float(seen["first parameter"]) == 0.0,
)
def forgets_the_gradients(batches):  # type: ignore[no-untyped-def]
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for x, y in batches:
        ((model(x) - y) ** 2).mean().backward()
        optimizer.zero_grad()
        optimizer.step()
    return model


def train(batches: Any) -> nn.Module:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for x, y in batches:
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
    return model


def train_twice(batches: Any) -> nn.Module:
    train(batches)
    return train(batches)


def test_a_training_task_measures_what_was_trained_within_a_budget() -> None:
    assert verdict_on(train, training, "train").score == 10
    wrong = verdict_on(forgets_the_gradients, training, "train")
    assert "throws the gradients away" in wrong.message
    assert wrong.score < 10
    assert "budget of 60 steps is spent" in verdict_on(train_twice, training, "train").message


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


def across_the_wire(sandbox: Sandbox, source: str, the_task: Task, seconds: float | None = None) -> TaskVerdict:
    with sandbox.open() as session:
        session.connection.send({"run": source})
        session.connection.receive_reply(20, lambda _: None)
        return judge(the_task, ProcessTransport(session.connection), 10, HOME_SEED, reveal=True, seconds=seconds)


SOURCES = {
    "right": "def double(x):\n    return 2 * x",
    "missing": "",
    "unanswered": "def double(x):\n    raise NotImplementedError",
    "raises": "def double(x):\n    raise KeyError('no such word')",
    "none": "def double(x):\n    pass",
    "shape": "def double(x):\n    return (2 * x).reshape(-1, 1)",
    "in place": "def double(x):\n    x *= 2\n    return x",
    "misconception": "def double(x):\n    return x * x",
    "object": "def double(x):\n    return object()",
    "nan": "def double(x):\n    return 2 * x * float('nan')",
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_verdict_is_the_same_here_and_across_the_wire(kind: str, sandbox: Sandbox) -> None:
    names: dict[str, Any] = {}
    exec(SOURCES[kind], names)
    here = judge(doubling, LocalTransport(names), 10, HOME_SEED, reveal=True)
    there = across_the_wire(sandbox, SOURCES[kind], doubling)
    assert [(c.passed, c.misconception, c.detail) for c in here.cases] == [
        (c.passed, c.misconception, c.detail) for c in there.cases
    ]
    assert (here.score, here.status) == (there.score, there.status)
    assert here.message.split(" (line")[0] == there.message.split(" (line")[0]


def test_fixtures_handles_and_training_work_across_the_wire(sandbox: Sandbox) -> None:
    import inspect

    source = "import torch\nfrom torch import nn\nfrom typing import Any\n" + inspect.getsource(train)
    assert across_the_wire(sandbox, source, training).score == 10
    scale = "import torch\nfrom torch import nn, Tensor\n" + inspect.getsource(Scale)
    assert across_the_wire(sandbox, scale, scaling).score == 10


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("def double(x):\n    import os\n    os._exit(0)", "error"),
        ("import signal\ndef double(x):\n    signal.setitimer(signal.ITIMER_REAL, 0)\n    while True: pass", "timeout"),
        ("import ctypes\ndef double(x):\n    ctypes.string_at(0)", "error"),
        ("def double(x):\n    raise SystemExit", "error"),
        ("def double(x):\n    raise KeyboardInterrupt", "error"),
        ("class L(list):\n    __len__ = lambda s: 1/0\ndef double(x):\n    return L([1])", "failed"),
        ("class E(Exception):\n    __str__ = lambda s: 1/0\ndef double(x):\n    raise E", "error"),
    ],
)
def test_a_process_that_dies_hangs_or_lies_gets_nothing(sandbox: Sandbox, source: str, status: str) -> None:
    verdict = across_the_wire(sandbox, source, doubling)
    assert verdict.score == 0
    assert verdict.status == status
    assert verdict.status != "grader-error"


def test_the_students_process_holds_nothing_of_ours_but_its_half(sandbox: Sandbox) -> None:
    source = """
import importlib
def double(x):
    for name in ("reference", "reference.attention", "tasks", "tasks.attention", "grading", "checking.judge", "course"):
        try:
            importlib.import_module("autograder." + name)
        except ModuleNotFoundError:
            continue
        raise ValueError(name + " can be imported")
    return 2 * x
"""
    assert across_the_wire(sandbox, source, doubling).score == 10


def test_a_killed_process_says_so(sandbox: Sandbox) -> None:
    with Sandbox() as own:
        own._process.kill()
        own._process.wait()
        with pytest.raises(SandboxError):
            own.open()


def test_answers_hold_nothing_but_plain_values() -> None:
    class Liar(torch.Tensor):
        def __eq__(self, other: object) -> bool:  # type: ignore[override]
            return True

    answer = Student(LocalTransport({"lie": lambda: torch.ones(2).as_subclass(Liar)})).lie()
    assert type(answer.value) is Tensor
    assert isinstance(answer, Answer)
    assert isinstance(Student(LocalTransport({"a": lambda: np.ones(2)})).a().value, np.ndarray)


@task("halves", asks="Halves")
def halving(student: Student, given: Given) -> Iterator[Case]:
    """Half of a tensor, by a module."""
    x, one = given.normal(2, 3), given.normal(1)
    theirs = student.Halves()
    yield case("a matrix", theirs(x), x / 2, weight=2, axes="B T")
    yield case("one number", theirs(one), one / 2, axes="T", telling=False)
    upstream = given.normal(2, 3)
    yield case("gradients", theirs.gradient(x, upstream=upstream), {"gradient of argument 1": upstream / 2})


@halving.misconception("You take the sum; to halve is to divide by two.")
class Sums(nn.Module):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return x.sum() / 2


@halving.misconception("You multiply the axes.")
class Multiplies(nn.Module):
    def forward(self, x):  # type: ignore[no-untyped-def]
        return x @ x.reshape(1, 1, -1)


def module(forward: Callable[..., Any] | None) -> type[nn.Module]:
    return type("Halves", (nn.Module,), {} if forward is None else {"forward": forward})


def said_of(forward: Callable[..., Any] | None) -> TaskVerdict:
    return judge(halving, LocalTransport({"Halves": module(forward)}), 10, HOME_SEED)


def test_a_case_in_which_many_mistakes_look_alike_names_none() -> None:
    first_of_all = said_of(lambda self, x: (x / 2)[:1] if x.ndim > 1 else x.sum() / 2)
    assert [c.misconception for c in first_of_all.cases] == [None, None, None]
    assert said_of(lambda self, x: x.sum() / 2).cases[1].misconception == "Sums"


def test_two_exceptions_of_one_type_are_not_the_same_mistake() -> None:
    verdict = said_of(lambda self, x: x @ torch.ones(17, 5))
    assert {c.misconception for c in verdict.cases} == {None}
    assert "raised RuntimeError" in verdict.message


def test_an_input_changed_by_a_module_is_called_by_its_name() -> None:
    def forward(self: nn.Module, sentence: Tensor) -> Tensor:
        made = sentence / 2
        sentence += 1
        return made

    assert "It changed its input `sentence` in place" in said_of(forward).message


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda self, x: None, r"it returned None \(is a `return` missing\?\) where a tensor was needed"),
        (lambda self, x: (x / 2, x), "it returned a tuple where a tensor was needed"),
        (lambda self, x: (x / 2)[:, :1], r"its result has shape \(2, 1\), not \(2, 3\)"),
        (lambda self, x: (x / 2).detach(), "No gradient flows"),
    ],
)
def test_gradients_of_something_else_are_said_to_be_so(forward: Callable[..., Any], says: str) -> None:
    assert re.search(says, said_of(forward).cases[2].message)


def test_a_module_without_forward_is_asked_for_its_spelling() -> None:
    verdict = judge(
        halving, LocalTransport({"Halves": type("Halves", (nn.Module,), {"foward": lambda s, x: x})}), 10, HOME_SEED
    )
    assert "has no method `forward`. Is its name misspelt" in verdict.message
