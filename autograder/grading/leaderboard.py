"""The leaderboard of an assignment whose tasks measure something: who reached what, by the kept verdicts.

The numbers are those that the grader measured on text that no student has seen. A student is shown by the alias that
the notebook gives, ``ALIAS = "…"``, and without one by the id.
"""

import ast
import importlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autograder.checking.tasks import Ranked
from autograder.checking.verdict import Verdict
from autograder.course import Assignment, Course, CourseError, read_notebook
from autograder.grading.export.tables import harmless, write_table
from autograder.grading.store import latest_verdict

MAX_ALIAS = 24


@dataclass(frozen=True)
class Line:
    """What one student reached.

    Attributes:
        rank: 1 for the best; None without the number that ranks.
        name: the alias, or else the student's id.
        numbers: by the column's name; None where there is none.
    """

    rank: int | None
    student: str
    name: str
    numbers: dict[str, float | None]


def columns(assignment: Assignment) -> Mapping[str, Ranked]:
    """What an assignment ranks by, the most important first.

    Raises:
        CourseError: if that is nothing.
    """
    try:
        board: Mapping[str, Ranked] = getattr(importlib.import_module(assignment.module_name), "BOARD", {})
    except ModuleNotFoundError:
        board = {}
    if not board:
        raise CourseError(f"{assignment.name} has no leaderboard: its tasks measure nothing to rank by.")
    return board


def leaderboard(course: Course, assignment: Assignment) -> list[Line]:
    """All students with a verdict, the best first; those without the number that ranks stand at the end.

    Raises:
        CourseError: if nothing of this assignment is graded, or it has no leaderboard.
    """
    board = columns(assignment)
    students = sorted(path.parent.name for path in course.verdicts_directory.glob(f"*/{assignment.name}.json"))
    reached = {}
    for student in students:
        verdict = latest_verdict(course, student, assignment.name)
        if verdict is not None:
            reached[student] = {column: _measured(verdict, ranked) for column, ranked in board.items()}
    if not reached:
        name = assignment.name
        raise CourseError(f"Nothing of {name} is graded yet: run `autograder grade {name}` first.")
    names = _names({student: alias(course, student, assignment) for student in reached})
    first = next(iter(board))

    def place(student: str) -> tuple[float, ...]:
        """Smaller is better; what is not there is worst."""
        numbers = [
            float("inf") if (n := reached[student][column]) is None else n if ranked.smaller_is_better else -n
            for column, ranked in board.items()
        ]
        return tuple(numbers)

    lines: list[Line] = []
    for position, student in enumerate(sorted(reached, key=lambda s: (place(s), names[s])), 1):
        rank: int | None = position
        if reached[student][first] is None:
            rank = None
        elif lines and place(lines[-1].student) == place(student):
            rank = lines[-1].rank
        lines.append(Line(rank, student, names[student], reached[student]))
    return lines


def alias(course: Course, student: str, assignment: Assignment) -> str:
    """The name that a student has chosen to be shown by; empty if there is none that can be shown."""
    path = course.submitted_directory / student / assignment.name / assignment.release_path.name
    chosen = ""
    try:
        cells = [cell.source for cell in read_notebook(path).cells if cell.cell_type == "code"]
    except Exception:  # whatever is wrong with a notebook, it has no alias then
        return ""
    for source in cells:
        if "ALIAS" in source and len(source) < 2_000:
            chosen = _assigned(source) or chosen
    return " ".join("".join(c if c.isprintable() else " " for c in chosen).split())[:MAX_ALIAS].strip()


def _assigned(source: str) -> str:
    """What a cell gives as ALIAS, if that is a plain text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            named = any(isinstance(target, ast.Name) and target.id == "ALIAS" for target in node.targets)
            if named and isinstance(node.value.value, str):
                return node.value.value
    return ""


def _names(aliases: dict[str, str]) -> dict[str, str]:
    """How to show each student; an alias that two have chosen, or that is somebody else's id, is not used."""
    often = Counter(alias.casefold() for alias in aliases.values())
    ids = {student.casefold() for student in aliases}
    return {
        student: alias if alias and often[alias.casefold()] == 1 and alias.casefold() not in ids else student
        for student, alias in aliases.items()
    }


def _measured(verdict: Verdict, ranked: Ranked) -> float | None:
    """A number that the grader measured of the student's own work."""
    task = verdict.tasks.get(ranked.task)
    return next((case.measured for case in task.cases if case.name == ranked.case), None) if task else None


def shown(value: float | None, digits: int) -> str:
    """A number of the board; empty if there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def write_leaderboard(course: Course, assignment: Assignment, lines: list[Line], path: Path | None = None) -> Path:
    """Write the lines as CSV, with no more of a student than the name to be shown.

    Args:
        path: by default in the course's ``exports/``.
    """
    board = columns(assignment)
    path = path or course.root / "exports" / f"leaderboard-{assignment.name}.csv"
    rows = [["rank", "name", *board]]
    for line in lines:
        numbers = [shown(line.numbers[column], ranked.digits) for column, ranked in board.items()]
        rows.append(["" if line.rank is None else str(line.rank), harmless(line.name), *numbers])
    write_table(path, rows)
    return path
