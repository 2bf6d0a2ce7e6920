"""Verdicts that were made, kept under a key, so that none is made twice and none outlives what it depends on.

Beside a verdict stands what of it has been entered in the gradebook, and by what it was judged by hand.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from autograder.checking.verdict import TaskVerdict, Verdict
from autograder.course import Assignment, Course, graded_cells, nbgrader_metadata
from autograder.grading.files import read_json, write_json
from autograder.grading.fingerprint import grader_hash
from autograder.grading.intake import is_unreadable
from autograder.grading.sandbox import is_unsafe


@dataclass(frozen=True)
class Kept:
    """A verdict as it is kept.

    Attributes:
        key: what it depends on, see :func:`verdict_key`.
        digest: of the file's content, by which damage shows.
    """

    key: str
    digest: str
    verdict: Verdict


def verdict_key(notebook: NotebookNode, assignment: Assignment, seed: bytes) -> str:
    """What a verdict depends on, as a hash: the notebook, all that grades it, the seed of the inputs, and whether there
    is a sandbox: a verdict made without one is not to be taken for a safe one later.
    """
    cells = [
        [c.cell_type, nbgrader_metadata(c).get("grade_id"), c.source, c.get("attachments")] for c in notebook.cells
    ]
    parts = [json.dumps([cells, is_unreadable(notebook)]), grader_hash(assignment), hashlib.sha256(seed).hexdigest()]
    parts += ["unsafe"] * is_unsafe()
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def verdict_path(course: Course, student: str, assignment: str) -> Path:
    """Where a verdict is kept."""
    return course.verdicts_directory / student / f"{assignment}.json"


def kept_verdict(course: Course, student: str, assignment: Assignment, key: str) -> Verdict | None:
    """The verdict kept under a key; None if there is none or it cannot be read any more."""
    kept = load(course, student, assignment.name)
    return kept.verdict if kept is not None and kept.key == key else None


def latest_verdict(course: Course, student: str, assignment: str) -> Verdict | None:
    """The verdict that is kept, whatever it depends on; None if there is none."""
    kept = load(course, student, assignment)
    return kept.verdict if kept is not None else None


def load(course: Course, student: str, assignment: str) -> Kept | None:
    """What is kept on a submission; None if there is nothing or it is damaged."""
    record = read_json(verdict_path(course, student, assignment))
    try:
        if _digest(record["key"], record["verdict"]) != record["digest"]:
            return None
        return Kept(record["key"], record["digest"], Verdict.from_json(record["verdict"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def is_damaged(course: Course, student: str, assignment: str) -> bool:
    """Whether there is a file for a verdict and no verdict in it."""
    return verdict_path(course, student, assignment).exists() and load(course, student, assignment) is None


def keep_verdict(course: Course, student: str, assignment: Assignment, key: str, verdict: Verdict) -> None:
    """Keep a verdict under its key, in the place of an earlier one."""
    record = verdict.to_json()
    path = verdict_path(course, student, assignment.name)
    write_json(path, {"key": key, "digest": _digest(key, record), "verdict": record})


def _digest(key: str, record: Any) -> str:
    return hashlib.sha256(json.dumps([key, record]).encode()).hexdigest()


def entered_path(course: Course, student: str, assignment: str) -> Path:
    """Where it is kept what the gradebook has of a submission."""
    return course.verdicts_directory / student / f"{assignment}.entered.json"


def entered_stamp(course: Course, student: str, assignment: str) -> str | None:
    """What was entered last, as :func:`mark_entered` was told; None if nothing was."""
    return _entered(course, student, assignment).get("stamp")


def mark_entered(course: Course, student: str, assignment: str, stamp: str) -> None:
    """Note that nbgrader has entered a verdict in the gradebook and made the page for it."""
    record = _entered(course, student, assignment)
    write_json(entered_path(course, student, assignment), {**record, "stamp": stamp})


def judged_by_hand(course: Course, student: str, assignment: str) -> dict[str, str]:
    """What each task's answer and points were, as a hash, when they were entered last; a person judged by these."""
    return _entered(course, student, assignment).get("answers", {})


def mark_answers(course: Course, student: str, assignment: str, answers: dict[str, str]) -> None:
    """Note the answers that are in the gradebook now."""
    record = _entered(course, student, assignment)
    if record.get("answers") != answers:
        write_json(entered_path(course, student, assignment), {**record, "answers": answers})


def _entered(course: Course, student: str, assignment: str) -> dict[str, Any]:
    record = read_json(entered_path(course, student, assignment))
    return record if isinstance(record, dict) else {}


def all_missing(assignment: Assignment, reason: str) -> Verdict:
    """The verdict on a submission that cannot be read."""
    return _same_for_all(assignment, "missing", 0.0, reason)


def all_ours(assignment: Assignment, reason: str) -> Verdict:
    """The verdict where we failed: nothing is lost, a person grades it."""
    return _same_for_all(assignment, "grader-error", None, reason)


def _same_for_all(assignment: Assignment, status: Any, score: float | None, reason: str) -> Verdict:
    tasks = {}
    for cell in graded_cells(assignment.solution):
        if cell.manual:
            tasks[cell.id] = TaskVerdict(cell.id, None, cell.points, "manual")
        else:
            tasks[cell.id] = TaskVerdict(cell.id, score, cell.points, status, reason)
    return Verdict(assignment.name, tasks, notes=(reason,))
