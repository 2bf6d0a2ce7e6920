"""From ``solutions/`` to ``exercises/``: what students get, made by nbgrader, and the gradebook with it."""

import ast
import contextlib
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from autograder.course import Assignment, Course, CourseError, graded_cells, nbgrader_metadata
from autograder.grading.gradebook import demand, open_api, quiet_logging

TOTAL_POINTS = 100


def release(course: Course, assignment: Assignment) -> None:
    """Make the released notebook of an assignment and enter the assignment in the gradebook.

    The same solution gives the same bytes. The old release stays until the new one is whole.

    Raises:
        CourseError: if the solution notebook is not as it must be; it lists all that is wrong.
        NbgraderError: if nbgrader refuses.
    """
    problems = author_mistakes(assignment)
    if problems:
        raise CourseError(f"{assignment.solution_path.name} cannot be released: " + "; ".join(problems) + ".")
    with tempfile.TemporaryDirectory(dir=course.root, prefix=".release-") as folder:
        with quiet_logging():
            api = open_api(course, release_directory=folder)
            demand(api.generate_assignment(assignment.name, force=True, create=True), f"Releasing {assignment.name}")
        _replace(Path(folder) / assignment.name, assignment.release_path.parent)
    with contextlib.suppress(AttributeError):
        del assignment.release


def author_mistakes(assignment: Assignment) -> list[str]:
    """What an author has to mend before a notebook can be released."""
    notebook = assignment.solution
    problems = []
    ids = Counter(about["grade_id"] for c in notebook.cells if (about := nbgrader_metadata(c)).get("grade_id"))
    problems += [f"the nbgrader id {name!r} is given {n} times" for name, n in ids.items() if n > 1]
    cells = graded_cells(notebook)
    for cell in cells:
        if cell.manual:
            continue
        if _checked_by(notebook.cells[cell.index].source) != cell.id:
            problems.append(f"the check cell {cell.id!r} must hold nothing but check({cell.id!r})")
        if not cell.answers:
            problems.append(f"the task {cell.id!r} has no solution cell before its check cell")
        if cell.minutes is None:
            problems.append(f"the task {cell.id!r} has no line like *10 minutes · difficulty ●●○*")
    total = sum(cell.points for cell in cells)
    if total != TOTAL_POINTS:
        problems.append(f"the points add up to {total:g}, not {TOTAL_POINTS}")
    return problems


def _checked_by(source: str) -> str | None:
    """The task that a check cell checks, if that is all it does."""
    try:
        (statement,) = ast.parse(source).body
        call = statement.value  # type: ignore[attr-defined]
        (argument,) = call.args
        return argument.value if call.func.id == "check" and not call.keywords else None
    except (SyntaxError, ValueError, AttributeError):
        return None


def _replace(new: Path, old: Path) -> None:
    """Put the files of one folder in the place of another's, each at once."""
    old.mkdir(parents=True, exist_ok=True)
    for path in sorted(new.rglob("*")):
        if path.is_file():
            target = old / path.relative_to(new)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(target.name + ".partial")
            shutil.copyfile(path, partial)
            os.replace(partial, target)
