"""Proof that the checks check: every stub, every known mistake, every other right answer and every mutant, judged.

A task is finished when its stub gets nothing, its worked answer and all alternatives get everything, and every
misconception loses points and is met with its own sentence; when no two misconceptions share a sentence or an
outcome; and when at most 5 % of the mutants of the worked answer survive, each with a reason.
"""

import math
import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch

from autograder.checking.compare import tolerance
from autograder.checking.given import HOME_SEED
from autograder.checking.judge import (
    Outcome,
    falls_short,
    judge,
    misconception_outcomes,
    same_outcome,
    variant_outcomes,
)
from autograder.checking.mutants import mutants
from autograder.checking.student import LocalTransport
from autograder.checking.tasks import Task, Variant, tasks_of
from autograder.checking.verdict import TaskVerdict
from autograder.checking.worked import Worked
from autograder.course import Assignment, graded_cells

MIN_MISCONCEPTIONS = 5
MIN_MISCONCEPTIONS_TRAINING = 3
MIN_ALTERNATIVES = 3
MIN_HINTS = 2
MAX_SURVIVORS = 0.05
MUTANT_SECONDS = 1.0


@dataclass
class AuditedTask:
    """What the audit found of one task.

    Attributes:
        survivors: mutants that were let through: the changed line, and the author's reason or an empty string.
        closest_mistake: over all misconceptions, the smallest distance from right to wrong, in tolerances.
        widest_answer: over all alternatives, the largest distance between right answers, in tolerances.
        problems: what falls short, a sentence each; empty if nothing does.
        seconds: of processor time.
    """

    assignment: str
    task: str
    points: float
    stub_fails: bool = False
    solution_passes: bool = False
    misconceptions: list[dict[str, Any]] = field(default_factory=list)
    alternatives: list[dict[str, Any]] = field(default_factory=list)
    mutants: int = 0
    survivors: list[dict[str, str]] = field(default_factory=list)
    closest_mistake: float | None = None
    widest_answer: float | None = None
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def audit(assignment: Assignment, on_task: Callable[[str], None] = lambda _: None) -> list[AuditedTask]:
    """Audit all tasks of an assignment that are graded automatically.

    Args:
        on_task: told the id of each task before it is audited.
    """
    torch.set_num_threads(1)
    worked = Worked(assignment)
    tasks = tasks_of(assignment)
    audited = []
    for cell in graded_cells(assignment.solution):
        if cell.manual:
            continue
        on_task(cell.id)
        record = AuditedTask(assignment.name, cell.id, cell.points)
        started = time.process_time()
        if cell.id in tasks:
            _Audit(tasks[cell.id], cell.points, worked, record).all()
        else:
            record.problems.append(f"{assignment.module_name} has no task of this name")
        record.seconds = round(time.process_time() - started, 3)
        audited.append(record)
    return audited


@dataclass
class _Audit:
    task: Task
    points: float
    worked: Worked
    record: AuditedTask

    def all(self) -> None:
        """Everything, on the home seed and on one that nobody has seen before."""
        self.fresh = secrets.token_bytes(16)
        self._stub_and_solution()
        for variant in self.task.misconceptions:
            self._misconception(variant)
        for variant in self.task.alternatives:
            self._alternative(variant)
        self._misconceptions_differ()
        self._margins()
        self._mutants()
        self._complete()

    def _judge(self, answer: str | None, seed: bytes) -> TaskVerdict:
        """Judge a solution cell."""
        with warnings.catch_warnings(action="ignore"):
            return judge(self.task, self._transport(answer), self.points, seed, worked=self.worked)

    def _transport(self, answer: str | None) -> LocalTransport:
        """To a notebook with this solution cell; one that cannot even be run leaves its names undefined."""
        try:
            return LocalTransport(self.worked.namespace(self.task, answer))
        except Exception:  # the answer of a mutant may raise anything when its cell is run
            return LocalTransport({})

    def _seeds(self) -> tuple[bytes, bytes]:
        return HOME_SEED, self.fresh

    def _stub_and_solution(self) -> None:
        stub = self._judge(stub_of(self.worked.answer(self.task)), HOME_SEED)
        self.record.stub_fails = stub.score == 0
        if not self.record.stub_fails:
            self.record.problems.append(f"the stub gets {stub.score} points ({stub.message or stub.status})")
        verdicts = [self._judge(None, seed) for seed in self._seeds()]
        self.record.solution_passes = all(v.score == self.points for v in verdicts)
        for verdict in verdicts:
            if verdict.score != self.points:
                self.record.problems.append(f"the solution gets {verdict.score}: {verdict.message}")

    def _misconception(self, variant: Variant) -> None:
        cell = variant.cell(self.worked.answer(self.task))
        verdicts = [self._judge(cell, seed) for seed in self._seeds()]
        caught = all(v.score is not None and v.score < self.points for v in verdicts)
        named = all(v.message.find(variant.sentence) >= 0 and _named_first(v, variant) for v in verdicts)
        self.record.misconceptions.append({"name": variant.name, "caught": caught, "named": named})
        if not caught:
            self.record.problems.append(f"{variant.name} loses no points")
        elif not named:
            self.record.problems.append(f"{variant.name} is not named: {verdicts[0].message}")

    def _alternative(self, variant: Variant) -> None:
        cell = variant.cell(self.worked.answer(self.task))
        verdicts = [self._judge(cell, seed) for seed in self._seeds()]
        accepted = all(v.score == self.points for v in verdicts)
        self.record.alternatives.append({"name": variant.name, "accepted": accepted})
        if not accepted:
            wrong = next(v for v in verdicts if v.score != self.points)
            self.record.problems.append(f"{variant.name} is right and gets {wrong.score}: {wrong.message}")

    def _misconceptions_differ(self) -> None:
        sentences = [variant.sentence for variant in self.task.misconceptions]
        for sentence in {s for s in sentences if sentences.count(s) > 1}:
            self.record.problems.append(f"two misconceptions share a sentence: {sentence}")
        by_output = [v for v in self.task.misconceptions if v.probe is None]
        for first, second in combinations(by_output, 2):
            a, b = (misconception_outcomes(self.task, v, HOME_SEED, self.worked) for v in (first, second))
            if len(a) == len(b) and all(map(same_outcome, a, b)):
                self.record.problems.append(f"{first.name} and {second.name} cannot be told apart on the inputs")

    def _margins(self) -> None:
        """How far the tolerance lies from rounding on one side and from mistakes on the other."""
        right = [
            spread
            for v in self.task.alternatives
            for spread in _spreads(variant_outcomes(self.task, v, HOME_SEED, self.worked))
        ]
        wrong = []
        for variant in self.task.misconceptions:
            if variant.probe is None:
                outcomes = misconception_outcomes(self.task, variant, HOME_SEED, self.worked)
                off = [o for o in outcomes if o.difference and o.difference.kind == "value"]
                # Up to 1, the tensors are right, and something else is wrong.
                wrong += [widest for o in off if (widest := max(_spreads([o]), default=0)) > 1]
        widest, closest = max(right, default=0.0), min(wrong, default=math.inf)
        self.record.widest_answer = round(widest, 4)
        self.record.closest_mistake = round(closest, 1) if wrong else None
        if widest > 0.5:
            self.record.problems.append(f"right answers differ by {widest:.2f} of the tolerance: it is too tight")
        if closest < 10:
            self.record.problems.append(f"a mistake is only {closest:.1f} tolerances away: it is too loose")

    def _mutants(self) -> None:
        if self.task.trains:
            return
        for mutant in mutants(self.worked.answer(self.task), frozenset({self.task.asks})):
            self.record.mutants += 1
            with warnings.catch_warnings(action="ignore"):
                wrong = falls_short(self.task, self._transport(mutant.source), HOME_SEED, MUTANT_SECONDS)
            if not wrong:
                reason = self.task.survivors.get(mutant.line, "")
                self.record.survivors.append({"was": mutant.was, "line": mutant.line, "reason": reason})
                if not reason:
                    self.record.problems.append(f"a mutant survives without a reason: {mutant.was} → {mutant.line}")

    def _complete(self) -> None:
        training = self.task.trains
        wanted = MIN_MISCONCEPTIONS_TRAINING if training else MIN_MISCONCEPTIONS
        for what, there, needed in (
            ("misconceptions", len(self.task.misconceptions), wanted),
            ("alternatives", len(self.task.alternatives), MIN_ALTERNATIVES),
            ("hints", len(self.task.hint_texts), MIN_HINTS),
        ):
            if there < needed:
                self.record.problems.append(f"there are {there} {what}; {needed} are needed")


def too_many_survivors(audited: list[AuditedTask]) -> str | None:
    """A sentence if more than 5 % of the mutants of an assignment survive."""
    total, survived = sum(a.mutants for a in audited), sum(len(a.survivors) for a in audited)
    if total and survived / total > MAX_SURVIVORS:
        return f"{survived} of {total} mutants survive, {survived / total:.1%}; at most {MAX_SURVIVORS:.0%} may"
    return None


def stub_of(solution: str) -> str:
    """The solution cell as it is released: what stands between the solution marks is left to be written."""
    lines, inside = [], False
    for line in solution.splitlines():
        if line.strip() == "### BEGIN SOLUTION":
            inside = True
            lines.append(line.replace("### BEGIN SOLUTION", "raise NotImplementedError()"))
        elif line.strip() == "### END SOLUTION":
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines)


def _named_first(verdict: TaskVerdict, variant: Variant) -> bool:
    """Whether no case was put down to another misconception."""
    return {c.misconception for c in verdict.cases if c.misconception} == {variant.name}


def _spreads(outcomes: list[Outcome]) -> list[float]:
    """The largest distance between what came and what was expected, in tolerances, for each tensor to compare."""
    found = []
    for outcome in outcomes:
        if outcome.case.measure is not None:
            continue
        for got, expected in _tensor_pairs(outcome.case.got.value, outcome.case.expected):
            apart = (got.double() - expected.detach().double()).abs()
            sound = apart[torch.isfinite(apart)]
            if sound.numel():
                found.append(float(sound.max()) / (outcome.case.tolerance or tolerance(expected)))
    return found


def _tensor_pairs(got: Any, expected: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if isinstance(expected, torch.Tensor) and expected.is_floating_point():
        if isinstance(got, torch.Tensor) and got.shape == expected.shape:
            return [(got, expected)]
        return []
    if isinstance(expected, (list, tuple)) and isinstance(got, (list, tuple)) and len(got) == len(expected):
        return [pair for g, e in zip(got, expected, strict=True) for pair in _tensor_pairs(g, e)]
    if isinstance(expected, dict) and isinstance(got, dict):
        return [pair for key in expected if key in got for pair in _tensor_pairs(got[key], expected[key])]
    return []
