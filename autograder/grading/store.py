"""Verdicts that were made, kept under a key, so that none is made twice and none outlives what it depends on."""

import hashlib
import json
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from nbformat import NotebookNode

from autograder.checking.verdict import TaskVerdict, Verdict
from autograder.course import Assignment, Course, graded_cells, nbgrader_metadata
from autograder.grading.files import read_json, secret_seed, write_json
from autograder.grading.intake import is_unreadable
from autograder.grading.run import judge_notebook

PACKAGE = Path(__file__).resolve().parent.parent
GRADES = ("checking", "reference", "grading/run.py", "grading/sandbox.py", "course.py")
"""The files of ours on which a verdict depends, beside the assignment's own tasks."""


def verdict_for(
    course: Course, assignment: Assignment, student: str, notebook: NotebookNode, force: bool = False
) -> Verdict:
    """The verdict on a mended notebook: the one that is kept, or else a new one, which is then kept.

    A verdict that hangs on the machine (a time-out, a failure of ours) is made anew.

    Args:
        force: make it anew in any case.

    Raises:
        OSError: if the verdict cannot be kept.
    """
    seed = secret_seed(course.root)
    key = verdict_key(notebook, assignment, seed)
    kept = None if force else kept_verdict(course, student, assignment, key)
    if kept is not None and kept.is_final:
        return kept
    problem = is_unreadable(notebook)
    verdict = all_missing(assignment, problem) if problem else judge_notebook(notebook, assignment, seed)
    keep_verdict(course, student, assignment, key, verdict)
    return verdict


def verdict_key(notebook: NotebookNode, assignment: Assignment, seed: bytes) -> str:
    """What a verdict depends on, as a hash: the notebook, all that grades it, and the seed of the inputs."""
    cells = [[c.cell_type, nbgrader_metadata(c).get("grade_id"), c.source] for c in notebook.cells]
    parts = [json.dumps([cells, is_unreadable(notebook)]), grader_hash(assignment), hashlib.sha256(seed).hexdigest()]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=64)
def grader_hash(assignment: Assignment) -> str:
    """A hash of everything that grades an assignment."""
    paths = [
        path
        for name in GRADES
        for path in ([PACKAGE / name] if name.endswith(".py") else (PACKAGE / name).rglob("*.py"))
    ]
    paths.append(PACKAGE / "tasks" / f"{assignment.module_name.rpartition('.')[2]}.py")
    digest = hashlib.sha256(f"{torch.__version__} {platform.python_version()}".encode())
    for path in sorted(paths):
        digest.update(path.relative_to(PACKAGE).as_posix().encode())
        digest.update(path.read_bytes() if path.exists() else b"")
    digest.update(assignment.solution_path.read_bytes())
    return digest.hexdigest()


def verdict_path(course: Course, student: str, assignment: str) -> Path:
    """Where a verdict is kept."""
    return course.verdicts_directory / student / f"{assignment}.json"


def kept_verdict(course: Course, student: str, assignment: Assignment, key: str) -> Verdict | None:
    """The verdict kept under a key; None if there is none or it cannot be read any more."""
    record = read_json(verdict_path(course, student, assignment.name))
    if not isinstance(record, dict) or record.get("key") != key:
        return None
    return _verdict_of(record)


def latest_verdict(course: Course, student: str, assignment: str) -> Verdict | None:
    """The verdict that is kept, whatever it depends on; None if there is none."""
    record = read_json(verdict_path(course, student, assignment))
    return _verdict_of(record) if isinstance(record, dict) else None


def keep_verdict(course: Course, student: str, assignment: Assignment, key: str, verdict: Verdict) -> None:
    """Keep a verdict under its key, in the place of an earlier one."""
    write_json(verdict_path(course, student, assignment.name), {"key": key, "verdict": verdict.to_json()})


def mark_entered(course: Course, student: str, assignment: str) -> None:
    """Note that nbgrader has entered this verdict in the gradebook."""
    path = verdict_path(course, student, assignment)
    record = read_json(path)
    if isinstance(record, dict) and "key" in record:
        write_json(path, {**record, "entered": record["key"]})


def is_entered(course: Course, student: str, assignment: str) -> bool:
    """Whether the verdict that is kept is in the gradebook already."""
    record = read_json(verdict_path(course, student, assignment))
    return isinstance(record, dict) and record.get("entered") == record.get("key")


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


def _verdict_of(record: dict[str, Any]) -> Verdict | None:
    try:
        return Verdict.from_json(record["verdict"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
