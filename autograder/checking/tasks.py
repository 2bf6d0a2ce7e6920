"""What an author writes: tasks, their cases, their known wrong answers and other right ones.

@task("padding_mask")
def padding_mask(student, given):
    lengths = given.lengths(4, 7)
    yield case("lengths", student.padding_mask(lengths, 7), reference.padding_mask(lengths, 7), axes="B 1 1 T")

padding_mask.hints("Compare positions with lengths.", "torch.arange(T) gives the positions.")

@padding_mask.misconception("The mask is inverted: True is where looking is allowed.")
def inverted(lengths, T): ...
"""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor, nn

from autograder.checking.client.workbench import gradients
from autograder.checking.compare import Naming
from autograder.checking.given import Given
from autograder.checking.student import Answer, Student
from autograder.course import Assignment

M = TypeVar("M", bound=nn.Module)

ORDINARY_SECONDS = 10.0
"""How long a call of the student's code may take where nothing is trained."""


class Evidence(dict[str, Any]):
    """What the cases saw: the value that each got, by the case's name; a failed case has None.

    Args:
        values: by the case's name.
        measured: the number that a case made of its value, by the case's name, for those that made one.
    """

    def __init__(self, values: Mapping[str, Any], measured: Mapping[str, float] | None = None) -> None:
        super().__init__(values)
        self.measured = dict(measured or {})


class TaskError(Exception):
    """A mistake in a task, which is ours and never the student's."""


@dataclass(frozen=True)
class Ranked:
    """A number that a leaderboard shows: what a case of a task has measured. A module of tasks lists its own as BOARD.

    Attributes:
        smaller_is_better: as of a perplexity.
        digits: behind the point.
    """

    task: str
    case: str
    smaller_is_better: bool
    digits: int


@dataclass(frozen=True)
class Case:
    """One comparison inside a task; see :func:`case`."""

    name: str
    got: Answer
    expected: Any
    weight: float
    naming: Naming
    tolerance: float | None
    measure: Callable[[Any], float] | None
    at_least: float | None
    at_most: float | None
    measures: str
    telling: bool


def case(
    name: str,
    got: Answer,
    expected: Any = None,
    *,
    weight: float = 1.0,
    parts: Sequence[str] = (),
    axes: str | Sequence[str] = (),
    tolerance: float | None = None,
    measure: Callable[[Any], float] | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    measures: str = "it",
    subject: str = "the result",
    telling: bool = True,
) -> Case:
    """Compare an answer with what it should be.

    Args:
        name: what is tried, a few words that the student reads.
        got: the student's answer.
        expected: what it should be. With ``measure``, something of the same type, shape and dtype, or None.
        weight: of this case within its task; 0 observes only, for the probe of a misconception.
        parts: names of the elements of a returned tuple.
        axes: names of the axes, ``"B T D"``, one such for each part.
        tolerance: absolute; by default derived from the expected numbers.
        measure: a number made of the answer, which must then lie between ``at_least`` and ``at_most``.
        measures: what that number is, for the sentence that says that it does not.
        subject: what the answer is, where it is not what the student's function returned.
        telling: whether a misconception may be recognized by this case alone; not where many mistakes look alike.
    """
    if not isinstance(got, Answer):
        raise TaskError(f"case {name!r}: give the answer itself, not something made of it")
    naming = Naming(tuple(parts), (axes,) if isinstance(axes, str) else tuple(axes), subject)
    return Case(name, got, expected, weight, naming, tolerance, measure, at_least, at_most, measures, telling)


def expected_gradient(
    function: Callable[..., Any],
    *args: Any,
    upstream: Tensor,
    output: int | None = None,
    through: Sequence[int] = (),
) -> Any:
    """What ``answer.gradient(…)`` with the same arguments should be, by a reference."""
    copies = tuple(a.clone() if isinstance(a, Tensor) else a for a in args)
    return gradients(function, copies, {}, upstream, output, through)


def filled(module: M, weights: dict[str, Tensor]) -> M:
    """A reference module with given weights, ready to be compared with."""
    module.load_state_dict(weights)
    return module.eval()


@dataclass(frozen=True)
class Variant:
    """Another answer to a task, as the text of its solution cell: a known mistake, or another right way.

    Attributes:
        sentence: what a good teacher would say about the mistake; empty for a right answer.
        probe: recognizes the mistake in what the cases saw, where outputs alone do not tell; None: by output.
    """

    name: str
    sentence: str
    replacement: str | None = None
    patches: tuple[tuple[str, str], ...] = ()
    probe: Callable[[Evidence], bool] | None = None

    def cell(self, solution: str) -> str:
        """The solution cell with this answer in place of the worked one.

        Raises:
            TaskError: if what a patch replaces does not stand in the solution exactly once.
        """
        if self.replacement is not None:
            return self.replacement
        for old, new in self.patches:
            if solution.count(old) != 1:
                raise TaskError(f"{self.name}: {old!r} stands {solution.count(old)} times in the solution, not once")
            solution = solution.replace(old, new)
        return solution


Body = Callable[[Student, Given], Iterator[Case]]


@dataclass
class Task:
    """One graded question: what is tried, and what is known about wrong and right answers to it.

    Attributes:
        asks: the name of the notebook that variants replace.
        seconds: how long one call of the student's code may take.
        survivors: mutants of the solution that are not wrong: the changed line, and the reason.
        needs: other names of the notebook that the task calls, beside those that the answer uses.
    """

    id: str
    asks: str
    body: Body
    seconds: float
    misconceptions: list[Variant] = field(default_factory=list)
    alternatives: list[Variant] = field(default_factory=list)
    hint_texts: tuple[str, ...] = ()
    survivors: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    @property
    def trains(self) -> bool:
        """Whether this is a training task: one whose calls may take long."""
        return self.seconds > ORDINARY_SECONDS

    @property
    def description(self) -> str:
        return inspect.getdoc(self.body) or ""

    def cases(self, student: Student, given: Given) -> list[Case]:
        return list(self.body(student, given))

    def hints(self, *texts: str) -> None:
        """What ``hint()`` says, from a nudge to nearly the answer."""
        self.hint_texts = texts

    def misconception(self, sentence: str, probe: Callable[[Evidence], bool] | None = None) -> Callable[[Any], Any]:
        """Add a wrong answer, written as a function or class that stands in for the one asked for."""
        return self._replacement(self.misconceptions, sentence, probe)

    def misconception_patch(
        self, name: str, sentence: str, *patches: tuple[str, str], probe: Callable[[Evidence], bool] | None = None
    ) -> None:
        """Add a wrong answer, written as replacements of text in the solution cell."""
        self.misconceptions.append(Variant(name, sentence, patches=patches, probe=probe))

    def alternative(self, make: Any) -> Any:
        """Add another right answer, written as a function or class."""
        return self._replacement(self.alternatives, "", None)(make)

    def alternative_patch(self, name: str, *patches: tuple[str, str]) -> None:
        """Add another right answer, written as replacements of text in the solution cell."""
        self.alternatives.append(Variant(name, "", patches=patches))

    def equivalent(self, line: str, reason: str) -> None:
        """Say why a mutant of the solution that survives is not wrong; ``line`` is the changed line."""
        self.survivors[line] = reason

    def _replacement(
        self, variants: list[Variant], sentence: str, probe: Callable[[Evidence], bool] | None
    ) -> Callable[[Any], Any]:
        def add(make: Any) -> Any:
            variants.append(Variant(make.__name__, sentence, _renamed_source(make, self.asks), probe=probe))
            return make

        return add


def _renamed_source(make: Any, name: str) -> str:
    """The source of a function or class under another name, without its decorators."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(make)))
    definition = tree.body[0]
    assert isinstance(definition, (ast.FunctionDef, ast.ClassDef))
    own_name = definition.name
    definition.decorator_list = []
    for node in ast.walk(definition):
        if isinstance(node, ast.Name) and node.id == own_name:
            node.id = name
    definition.name = name
    return ast.unparse(tree)


_tasks: dict[str, dict[str, Task]] = {}


def task(
    id: str, *, asks: str | None = None, seconds: float = ORDINARY_SECONDS, needs: tuple[str, ...] = ()
) -> Callable[[Body], Task]:
    """Define a task.

    Args:
        id: its nbgrader ``grade_id``.
        asks: the function or class that the student writes, if it is not called like the task.
        seconds: how long one call of the student's code may take.
        needs: what else of the notebook the task calls: a model that an earlier task asked for, say.
    """

    def define(body: Body) -> Task:
        defined = Task(id, asks or id, body, seconds, needs=needs)
        _tasks.setdefault(body.__module__, {})[id] = defined
        return defined

    return define


def tasks_of(assignment: Assignment) -> dict[str, Task]:
    """The tasks of an assignment by id.

    Raises:
        TaskError: if the assignment has no module of tasks.
    """
    return tasks_in(assignment.module_name)


def tasks_in(module_name: str) -> dict[str, Task]:
    """The tasks that a module defines, by id.

    Raises:
        TaskError: if there is no such module.
    """
    try:
        importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise TaskError(f"There are no tasks: {module_name} does not exist.") from error
    return _tasks.get(module_name, {})
