"""Gradescope: a ``results.json`` for each submission, as its autograders write them.

Source: Gradescope Autograder Documentation, page "Autograder Specifications", section "Output format": a score for
the whole, which overrides the sum of the tests; ``tests`` with ``score``, ``max_score``, ``status`` (passed or
failed), ``name``, ``number``, ``output``, ``visibility``; the output formats text, html, simple_format, md and ansi,
of which text alone is shown as it is.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from autograder.course import Course
from autograder.grading.export.feedback import kept_messages, readable
from autograder.grading.export.scores import Exported, Options, Result, TaskPoints
from autograder.grading.export.tables import number
from autograder.grading.files import write_atomically

UNGRADED = "A person must still grade this task."


def write_gradescope(
    course: Course, results: list[Result], options: Options, folder: Path, on_file: Callable[[str], None]
) -> Exported:
    """Write ``ASSIGNMENT/STUDENT/results.json`` for each submission; one that has no score yet has no file."""
    exported = Exported()
    with_score = set()
    for result in results:
        path = folder / _file_name(result.assignment) / _file_name(result.student.id) / "results.json"
        on_file(f"{result.assignment}, {result.student.id}")
        score, reason = result.exported(options)
        if score is None:
            exported.leave_blank(result, reason)
            path.unlink(missing_ok=True)  # an earlier export must not be taken for this one
            continue
        record = results_json(course, result, score)
        write_atomically(path, json.dumps(record, ensure_ascii=False, indent=1, allow_nan=False).encode())
        exported.files.append(path)
        with_score.add(result.student.id)
    exported.students = len(with_score)
    return exported


def results_json(course: Course, result: Result, score: float) -> dict[str, Any]:
    """The document on one submission."""
    messages = kept_messages(course, result)
    told = [f"Late: {number(result.late_penalty)} points taken off."] if result.late_penalty else []
    told += [f"Comment on {name}: {readable(text)}" for name, text in result.comments.items()]
    if not result.handed_in:
        told.append("Nothing was handed in.")
    return {
        "score": round(score, 6),
        "output": "\n".join(told),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"student": result.student.id, "assignment": result.assignment},
        "tests": [_test(i, task, messages.get(task.name, "")) for i, task in enumerate(result.tasks, 1)],
    }


def _test(position: int, task: TaskPoints, message: str) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": task.name,
        "name_format": "text",
        "number": str(position),
        "score": round(task.score, 6),
        "max_score": round(task.max_score, 6),
        "output": UNGRADED if task.needs_manual else message,
        "output_format": "text",
        "visibility": "visible",
    }
    if not task.needs_manual:
        about["status"] = "passed" if task.score >= task.max_score else "failed"
    return about


def _file_name(name: str) -> str:
    """A name as the name of a folder, whatever it is."""
    safe = quote(name, safe=" !#$&'()+,;=@[]{}~") if "/" in name or "\0" in name else name
    return safe if not safe.startswith(".") else f"%2E{safe[1:]}"
