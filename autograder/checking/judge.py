"""From a task and a student to a verdict.

A failed case is explained in this order: what failed outright (a missing name, an exception), then a wrong type,
shape, dtype, NaN, an input changed in place, then the known misconception whose answer this is, then the numbers.
"""

import importlib
import math
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from autograder.checking.client.wire import Handle
from autograder.checking.client.workbench import usual_settings
from autograder.checking.compare import Difference, difference, is_equal
from autograder.checking.given import HOME_SEED, Given
from autograder.checking.recorded import Replayed, needs_solution, replayed
from autograder.checking.student import Failure, LocalTransport, Student, Transport
from autograder.checking.tasks import Case, Evidence, Task, Variant
from autograder.checking.verdict import CaseVerdict, Status, TaskVerdict
from autograder.checking.worked import Worked, variant_namespace

MAX_SAID = 4
"""How many different things a verdict says; what is wrong beyond that is counted."""


@dataclass(frozen=True)
class Outcome:
    """What became of one case, before it is put into words."""

    case: Case
    failure: Failure | None
    difference: Difference | None
    changed: tuple[str, ...]
    measured: float | None = None

    @property
    def passed(self) -> bool:
        return not (self.failure or self.difference or self.changed)


def judge(
    task: Task,
    transport: Transport,
    points: float,
    seed: bytes,
    *,
    worked: Worked | None = None,
    reveal: bool = False,
    seconds: float | None = None,
) -> TaskVerdict:
    """Try a student's answer to a task.

    Args:
        transport: the way to the student's names.
        points: what the task is worth.
        seed: of the inputs.
        worked: the solution notebook, for misconceptions that are patches of it; without it those that were recorded
            are recognized, at home.
        reveal: show expected values (at home, never in grading).
        seconds: limit of one call, in place of the task's own.

    Returns:
        the verdict. A fault of ours gives ``grader-error``, never an exception and never a zero.
    """
    started = time.perf_counter()
    try:
        with usual_settings():  # at home the notebook's are ours
            cases = task.cases(Student(transport, seconds or task.seconds), Given(seed, task.id))
            outcomes = _look(cases)
            explained = _explain(task, outcomes, seed, worked)
        cases_seen = tuple(_put(o, explained.get(i), reveal) for i, o in enumerate(outcomes) if o.case.weight)
    except Exception as error:  # whatever goes wrong here is ours: the student's faults come as answers
        message = (
            "The check itself failed, which is our fault and costs you nothing; "
            f"a person will grade this task. ({type(error).__name__}: {error})"
        )
        trace = CaseVerdict("grader", False, 0.0, traceback.format_exc(limit=-4))
        spent = time.perf_counter() - started
        return TaskVerdict(task.id, None, points, "grader-error", message, spent, (trace,))
    share = sum(c.weight for c in cases_seen if c.passed) / sum(c.weight for c in cases_seen)
    score = points if all(c.passed for c in cases_seen) else round(points * share, 2)
    status = _status(outcomes, score, points)
    return TaskVerdict(task.id, score, points, status, _headline(cases_seen), time.perf_counter() - started, cases_seen)


def falls_short(task: Task, transport: Transport, seed: bytes, seconds: float) -> bool:
    """Whether an answer fails in some case; the first is enough."""
    with usual_settings():
        try:
            cases = task.body(Student(transport, seconds), Given(seed, task.id))
            return any(case.weight and not _look([case])[0].passed for case in cases)
        except Exception:  # as in judge: no verdict, so it is not right
            return True


def _look(cases: list[Case]) -> list[Outcome]:
    """What became of each case. An input changed in place counts once, where it is a case's only fault."""
    outcomes = []
    charged = False
    for case in cases:
        got = case.got
        found: Difference | None = None
        measured: float | None = None
        if not got.failure and case.measure is None:
            found = difference(got.value, case.expected, case.naming, case.tolerance)
        elif not got.failure:
            measured, found = _measured(case)
        changed = got.changed if not got.failure and not (charged and not found) else ()
        charged = charged or bool(changed and not found)
        outcomes.append(Outcome(case, got.failure, found, changed, measured))
    return outcomes


def _measured(case: Case) -> tuple[float | None, Difference | None]:
    """The number made of the answer, and whether it lies where it must."""
    if case.expected is not None:
        unlike = difference(case.got.value, case.expected, case.naming, allowed=float("inf"))
        if unlike:
            return None, unlike
    assert case.measure is not None
    reached, it = float(case.measure(case.got.value)), case.measures[:1].upper() + case.measures[1:]
    found: Difference | None = None
    if case.at_least is not None and not reached >= case.at_least:
        found = Difference("value", f"{it} reaches {_said(reached)}; at least {_said(case.at_least)} is needed.")
    elif case.at_most is not None and not reached <= case.at_most:
        found = Difference("value", f"{it} comes to {_said(reached)}; at most {_said(case.at_most)} is allowed.")
    return reached, found


def _said(number: float) -> str:
    """A number in a sentence; one that counts something is written out."""
    return f"{number:,.0f}" if 1e4 <= number < 1e15 and float(number).is_integer() else f"{number:.4g}"


def _explain(task: Task, outcomes: list[Outcome], seed: bytes, worked: Worked | None) -> dict[int, Variant]:
    """The misconception that explains each failed case, where one does."""
    failed = {i for i, o in enumerate(outcomes) if not o.passed}
    observed = {i for i in failed if outcomes[i].failure is None}
    if not any(outcomes[i].case.weight and _says_something(outcomes[i].failure) for i in failed):
        return {}
    evidence = Evidence(
        {o.case.name: None if o.failure else o.case.got.value for o in outcomes},
        {o.case.name: o.measured for o in outcomes if o.measured is not None},
    )
    explained: dict[int, Variant] = {}
    ranked: list[tuple[int, Variant, set[int]]] = []
    for variant in task.misconceptions:
        if variant.probe is not None:
            if observed and variant.probe(evidence):
                ranked.append((len(outcomes) + 1, variant, {i for i in failed if outcomes[i].case.weight}))
            continue
        alike = _alike(task, variant, outcomes, failed, seed, worked)
        if alike:
            ranked.append((len(alike), variant, alike))
    for _, variant, cases in sorted(ranked, key=lambda entry: -entry[0]):
        for i in cases:
            explained.setdefault(i, variant)
    return explained


def _alike(
    task: Task, variant: Variant, outcomes: list[Outcome], failed: set[int], seed: bytes, worked: Worked | None
) -> set[int]:
    """The failed cases in which the student's outcome is the misconception's.

    Empty if the misconception fails where the student does not, or if it fails otherwise in more cases than it is
    alike: then it is not what the student did.
    """
    theirs = misconception_outcomes(task, variant, seed, worked)
    if len(theirs) != len(outcomes) or any(not t.passed and i not in failed for i, t in enumerate(theirs)):
        return set()
    wrong = {i for i in failed if not theirs[i].passed}
    alike = {i for i in wrong if same_outcome(outcomes[i], theirs[i])}
    if 2 * len(alike) < sum(outcomes[i].case.measure is None for i in wrong):  # what is measured has no likeness
        return set()
    return alike if any(outcomes[i].case.telling for i in alike) else set()


def same_outcome(mine: Outcome, theirs: Outcome) -> bool:
    """Whether two answers to a case came to the same, right or wrong."""
    if mine.failure or theirs.failure:
        return bool(
            mine.failure
            and theirs.failure
            and _what_failed(mine.failure) == _what_failed(theirs.failure)
            and _says_something(mine.failure)
        )
    if bool(mine.changed) != bool(theirs.changed) or isinstance(mine.case.got.value, Handle):
        return False
    if mine.case.measure is not None:
        return False
    return is_equal(mine.case.got.value, theirs.case.got.value, mine.case.naming, mine.case.tolerance)


def _says_something(failure: Failure | None) -> bool:
    """Whether a mistake can be known by how it failed; where nothing came back, every one looks alike."""
    return failure is None or failure.kind not in ("missing", "unanswered", "timeout", "died", "memory")


def _what_failed(failure: Failure) -> tuple[str, str, str]:
    """Two exceptions are the same only if they say the same: an exception alone tells little about its cause."""
    return failure.kind, failure.type_name, failure.message


_outcomes: dict[tuple, list[Outcome]] = {}


def misconception_outcomes(task: Task, variant: Variant, seed: bytes, worked: Worked | None) -> list[Outcome]:
    """What a known wrong answer comes to on the inputs of a seed; kept, since it is the same for every student."""
    key = (task.id, id(task), variant.name, seed, worked is None)
    if key not in _outcomes:
        _outcomes[key] = variant_outcomes(task, variant, seed, worked)
    return _outcomes[key]


def variant_outcomes(task: Task, variant: Variant, seed: bytes, worked: Worked | None) -> list[Outcome]:
    """What another answer comes to on the inputs of a seed; empty if it cannot be made here."""
    transport: Transport | None
    if worked is None and needs_solution(task, variant):
        transport = replayed(task, variant) if seed == HOME_SEED else None
        if transport is None:
            return []
    else:
        module = importlib.import_module(task.body.__module__)
        transport = LocalTransport(variant_namespace(task, variant, worked, vars(module)))
    try:
        with warnings.catch_warnings(action="ignore"):  # of ours, which no student needs to read
            return _look(task.cases(Student(transport, task.seconds), Given(seed, task.id)))
    except Exception:
        if not isinstance(transport, Replayed):
            raise
        return []  # what was recorded is of another version of the task, and can be anything


def _put(outcome: Outcome, variant: Variant | None, reveal: bool) -> CaseVerdict:
    """A case in words."""
    case = outcome.case
    measured = outcome.measured if outcome.measured is not None and math.isfinite(outcome.measured) else None
    if outcome.passed:
        return CaseVerdict(case.name, True, case.weight, measured=measured)
    sentences: list[str] = []
    detail = ""
    if outcome.failure:
        sentences.append(say_failure(outcome.failure))
    elif outcome.difference and (outcome.difference.kind != "value" or not (variant or outcome.changed)):
        sentences.append(outcome.difference.message)
    if outcome.changed:
        names = ", ".join(f"`{name}`" for name in outcome.changed)
        sentences.append(f"It changed its input {names} in place; work on a copy.")
    if outcome.difference and reveal:
        detail = outcome.difference.detail
    name, sentence = (variant.name, variant.sentence) if variant else (None, "")
    message = " ".join(filter(None, [*sentences, sentence]))
    return CaseVerdict(case.name, False, case.weight, message, name, sentence, detail, measured)


_FAILURES: dict[str, Callable[[Failure], str]] = {
    "missing": lambda f: f"`{f.message or f.subject}` is not defined yet. Run the cell that defines it, then this one.",
    "unanswered": lambda f: _say_unanswered(f),
    "raised": lambda f: f"`{f.subject}` raised {f.type_name}: {f.message}".rstrip(": "),
    "timeout": lambda f: f"`{f.subject}` did not finish within {f.message} seconds. Is there a loop that never ends?",
    "memory": lambda f: f"`{f.subject}` asked for more memory than there is. How large are the tensors it makes?",
    "no_gradient": lambda f: (
        f"No gradient flows through `{f.subject}`: its result was cut off from its inputs "
        "(by .detach(), .item(), .numpy(), torch.no_grad() or a new torch.tensor)."
    ),
    "weights": lambda f: (
        f"`{f.subject}` cannot take the weights of the check, since its parameters are not the stub's: {f.message}. "
        "Keep `__init__` as it was given."
    ),
    "unreadable": lambda f: f"What `{f.subject}` returned cannot be read: {f.message}.",
    "structure": lambda f: f"`{f.subject}`: {f.message}.",
    "died": lambda f: f"The notebook's process ended while `{f.subject}` ran.",
}


def _say_unanswered(failure: Failure) -> str:
    if 'required "forward" function' in failure.message:  # what torch says of a module without one
        return f"`{failure.subject}` has no method `forward`. Is its name misspelt, or is it indented too little?"
    if failure.message.isidentifier() and failure.message != failure.subject:
        return f"`{failure.subject}` calls `{failure.message}`, which is still to be written: begin there."
    return (
        f"`{failure.subject}` still raises NotImplementedError: put your answer in the place of that line, "
        "and run the cell."
    )


def say_failure(failure: Failure) -> str:
    """A failure in one sentence, with the student's own line where there is one."""
    sentence = _FAILURES[failure.kind](failure)
    if failure.where and failure.kind == "raised":
        sentence += f" ({failure.where.splitlines()[-1]})"
    return sentence


def _headline(cases: Sequence[CaseVerdict]) -> str:
    """The different things that were said, most important first, each once, and how many cases are not spoken of."""
    failed = [c for c in cases if not c.passed]
    said: dict[str, None] = {}
    silent = 0
    for verdict in sorted(failed, key=lambda c: c.misconception is None):
        known = verdict.message in said or (verdict.sentence and any(verdict.sentence in other for other in said))
        if verdict.message and not known and len(said) < MAX_SAID:
            said[verdict.message] = None
        elif verdict.message and not known:
            silent += 1
    more = [f"And {silent} more {'case is' if silent == 1 else 'cases are'} wrong."] if silent else []
    return " ".join([*said, *more])[:1_500]


def _status(outcomes: list[Outcome], score: float, points: float) -> Status:
    kinds = {o.failure.kind for o in outcomes if o.failure and o.case.weight}
    if score == points:
        return "passed"
    if "timeout" in kinds:
        return "timeout"
    if score > 0:
        return "partial"
    if kinds and kinds <= {"missing", "unanswered"}:
        return "missing"
    return "error" if kinds else "failed"


@lru_cache(maxsize=16)
def worked_solution(assignment: Any) -> Worked | None:
    """The worked solution of an assignment, if this copy of the course has it."""
    return Worked(assignment) if assignment.solution_path.exists() else None
