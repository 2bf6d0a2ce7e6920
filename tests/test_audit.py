"""The audit of every assignment, and proof that the audit itself can find what is wrong."""

import copy
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from autograder.checking.audit import MAX_SURVIVORS, AuditedTask, audit, stub_of
from autograder.checking.given import HOME_SEED
from autograder.checking.judge import judge, variant_outcomes
from autograder.checking.mutants import mutants
from autograder.checking.recorded import Replayed, needs_solution
from autograder.checking.student import LocalTransport
from autograder.checking.tasks import Task, Variant, tasks_of
from autograder.checking.worked import Worked
from autograder.course import Assignment, Course, graded_cells

ROOT = Path(__file__).resolve().parent.parent
COURSE = Course.at(ROOT)


@pytest.fixture(scope="module", params=list(COURSE.assignments))
def audited(request: pytest.FixtureRequest) -> list[AuditedTask]:
    return audit(COURSE.assignment(request.param))


def test_nothing_falls_short(audited: list[AuditedTask]) -> None:
    assert {record.task: record.problems for record in audited if record.problems} == {}


def test_stubs_fail_solutions_pass_misconceptions_are_named_alternatives_are_accepted(
    audited: list[AuditedTask],
) -> None:
    for record in audited:
        assert record.stub_fails, record.task
        assert record.solution_passes, record.task
        assert all(m["caught"] and m["named"] for m in record.misconceptions), record.task
        assert all(a["accepted"] for a in record.alternatives), record.task


def test_at_most_one_mutant_in_twenty_survives_and_each_has_a_reason(audited: list[AuditedTask]) -> None:
    survivors = [survivor for record in audited for survivor in record.survivors]
    assert len(survivors) <= MAX_SURVIVORS * sum(record.mutants for record in audited)
    assert all(survivor["reason"] for survivor in survivors)


def test_the_audit_of_an_assignment_takes_less_than_a_minute(audited: list[AuditedTask]) -> None:
    assert sum(record.seconds for record in audited) < 60


def test_points_of_an_assignment_add_up_to_a_hundred() -> None:
    for assignment in COURSE.assignments.values():
        assert sum(cell.points for cell in graded_cells(assignment.solution)) == 100


TRAINING = {
    task.id: (task, Worked(assignment))
    for assignment in COURSE.assignments.values()
    for task in tasks_of(assignment).values()
    if task.trains
}


def passed(variant: Variant, name: str, number: int) -> bool:
    """Whether an answer to a training task passes with the inputs of a seed."""
    task, worked = TRAINING[name]
    outcomes = variant_outcomes(task, variant, bytes([number] * 16), worked)
    return all(outcome.passed for outcome in outcomes if outcome.case.weight)


@pytest.mark.parametrize("name", TRAINING)
def test_the_worked_training_passes_at_each_of_ten_seeds_in_twenty_seconds(name: str) -> None:
    for number in range(10):
        started = time.perf_counter()
        assert passed(Variant("the worked answer", ""), name, number), f"seed {number}"
        assert time.perf_counter() - started < 20


@pytest.mark.parametrize("name", TRAINING)
def test_no_wrong_training_passes(name: str) -> None:  # the audit tries two seeds more
    for variant in TRAINING[name][0].misconceptions:
        assert not passed(variant, name, 0), variant.name


@pytest.mark.parametrize("name", sorted(COURSE.assignments))
def test_a_copy_without_solutions_names_the_same_mistakes(name: str) -> None:
    assignment = COURSE.assignment(name)
    worked = Worked(assignment)
    for task in (task for task in tasks_of(assignment).values() if not task.trains):
        for variant in task.misconceptions:
            if variant.probe is None and needs_solution(task, variant):
                answer = LocalTransport(worked.namespace(task, variant.cell(worked.answer(task))))
                with warnings.catch_warnings(action="ignore"):
                    verdict = judge(task, answer, 1.0, HOME_SEED)
                named = {case.misconception for case in verdict.cases}
                assert variant.name in named, f"{task.id}: {variant.name} (autograder audit {name} --record)"


def test_what_was_recorded_of_another_task_is_no_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    task = tasks_of(COURSE.assignment("06-attention"))["multi_head_attention"]
    variant = next(v for v in task.misconceptions if needs_solution(task, v))
    assert variant_outcomes(task, variant, HOME_SEED, None)
    assert variant_outcomes(task, variant, b"another seed", None) == []
    monkeypatch.setattr("autograder.checking.judge.replayed", lambda *_: Replayed([{"value": 1.0}]))
    assert variant_outcomes(task, variant, HOME_SEED, None) == []


@pytest.fixture
def attention() -> Assignment:
    return COURSE.assignment("06-attention")


def problems_with(change: object, attention: Assignment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the audit says of padding_mask after a change to it."""
    tasks = tasks_of(attention)
    changed = copy.copy(tasks["padding_mask"])
    changed.misconceptions = list(changed.misconceptions)
    changed.alternatives = list(changed.alternatives)
    change(changed)  # type: ignore[operator]
    monkeypatch.setattr("autograder.checking.audit.tasks_of", lambda _: {**tasks, "padding_mask": changed})
    found = audit(attention)
    return next(record.problems for record in found if record.task == "padding_mask")


def test_the_audit_finds_a_right_answer_called_a_mistake(
    attention: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(task: Task) -> None:
        right = task.alternatives[0]
        task.misconceptions.append(Variant("not_a_mistake", "This is wrong.", replacement=right.replacement))

    assert "not_a_mistake loses no points" in problems_with(change, attention, monkeypatch)


def test_the_audit_finds_a_wrong_alternative_shared_sentences_and_missing_hints(
    attention: Assignment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(task: Task) -> None:
        wrong = task.misconceptions[0]
        task.alternatives.append(Variant("not_right", "", replacement=wrong.replacement))
        task.misconceptions.append(Variant("twin", wrong.sentence, replacement=wrong.replacement))
        task.hint_texts = ("One hint.",)

    found = "\n".join(problems_with(change, attention, monkeypatch))
    assert "not_right is right and gets 0" in found
    assert "share a sentence" in found
    assert "cannot be told apart" in found
    assert "there are 1 hints; 2 are needed" in found


def test_the_audit_finds_a_check_that_looks_away(attention: Assignment, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(task: Task) -> None:
        body = task.body
        task.body = lambda student, given: iter(list(body(student, given))[:1])  # type: ignore[assignment]
        task.body.__module__ = body.__module__

    assert any("ends_at_the_longest loses no points" in p for p in problems_with(change, attention, monkeypatch))


def test_a_stub_keeps_everything_but_the_answer() -> None:
    solution = "def f(x):\n    '''Doc.'''\n    ### BEGIN SOLUTION\n    y = x\n    return y\n    ### END SOLUTION"
    assert stub_of(solution) == "def f(x):\n    '''Doc.'''\n    raise NotImplementedError()"


def test_mutants_change_one_place_and_never_the_signature() -> None:
    found = mutants("def f(x, y):\n    '''Doc 1.'''\n    z = x + 1\n    return z * y")
    lines = {m.line for m in found}
    assert {"z = x - 1", "z = x + 2", "z = x + 0", "z = y + 1", "return z / y", "pass", "return None"} <= lines
    assert all(m.source.startswith("def f(x, y):\n    'Doc 1.'") or '"""Doc 1."""' in m.source for m in found)
    assert len({m.source for m in found}) == len(found)


def test_the_worked_answers_agree_with_the_reference_on_the_cases(attention: Assignment) -> None:
    from autograder.checking.given import HOME_SEED
    from autograder.checking.judge import judge
    from autograder.checking.student import LocalTransport
    from autograder.checking.worked import Worked

    worked = Worked(attention)
    for seed in (HOME_SEED, b"another", b"a third"):
        for task in tasks_of(attention).values():
            assert judge(task, LocalTransport(worked.namespace(task)), 10, seed).score == 10


def test_the_sentences_of_the_tasks_need_no_solution_notebook(tmp_path: Path) -> None:
    """A student whose copy has no solutions still hears what whole replacements explain."""
    code = """
import torch
from autograder import check
def padding_mask(lengths, T):
    return (torch.arange(T) <= lengths[:, None])[:, None, None, :]
check("padding_mask")
"""
    (tmp_path / "nbgrader_config.py").write_text("")
    (tmp_path / "solutions").mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "One position too many is allowed" in done.stdout, done.stderr
