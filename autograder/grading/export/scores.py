"""What the gradebook says of a class: points by task, penalties, and what a person must still grade."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
)
from nbgrader.api import Student as GradebookStudent

from autograder.course import Course, graded_cells


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        roster: what the other system exported: its columns, identifiers and spelling are kept.
        columns: the roster's column of an assignment, where it is not called like the assignment.
        identifier: what Moodle knows a student by: ``username``, ``email`` or ``idnumber``.
        feedback: add a column of feedback.
        include_ungraded: export the points there are where a person must still grade.
        missing_as_zero: export 0 where nothing was handed in.
        scale: scale scores to the roster's points possible.
        students: only these; all if empty.
    """

    roster: Path | None = None
    columns: dict[str, str] = field(default_factory=dict)
    identifier: str | None = None
    feedback: bool = False
    include_ungraded: bool = False
    missing_as_zero: bool = False
    scale: bool = False
    students: tuple[str, ...] = ()


@dataclass
class Exported:
    """What became of an export.

    Attributes:
        students: how many have a score in what was written.
        left_blank: submissions without a score there, each with its reason.
        unmatched: students of the gradebook who are not in the roster.
        roster_only: who is in the roster and not in the gradebook.
    """

    files: list[Path] = field(default_factory=list)
    students: int = 0
    left_blank: list[dict[str, str]] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    roster_only: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As ``autograder export --json`` prints it."""
        return {**vars(self), "files": [str(path) for path in self.files]}

    def leave_blank(self, result: "Result", reason: str) -> None:
        """Note that a submission has no score in what is written."""
        self.left_blank.append({"student": result.student.id, "assignment": result.assignment, "reason": reason})


@dataclass(frozen=True)
class Student:
    """One student of the gradebook; what it does not know is empty."""

    id: str
    first_name: str = ""
    last_name: str = ""
    email: str = ""
    lms_id: str = ""

    @property
    def full_name(self) -> str:
        return " ".join(filter(None, [self.first_name, self.last_name]))

    @property
    def sortable_name(self) -> str:
        return ", ".join(filter(None, [self.last_name, self.first_name])) or self.id


@dataclass(frozen=True)
class TaskPoints:
    """The points of one task; a person's take the place of the automatic ones."""

    name: str
    max_score: float
    automatic: float | None
    manual: float | None
    extra_credit: float
    needs_manual: bool

    @property
    def score(self) -> float:
        points = self.manual if self.manual is not None else self.automatic
        return (points or 0.0) + self.extra_credit


@dataclass(frozen=True)
class Result:
    """One student and one assignment.

    Attributes:
        handed_in: whether the gradebook has a submission.
        submitted: when it was handed in (UTC), if that is known.
        comments: what a person wrote, by the cell's id.
    """

    student: Student
    assignment: str
    max_score: float
    handed_in: bool
    submitted: datetime | None = None
    tasks: tuple[TaskPoints, ...] = ()
    late_penalty: float = 0.0
    comments: dict[str, str] = field(default_factory=dict)

    @property
    def automatic(self) -> float:
        """Points that the verdicts gave and no person replaced."""
        return sum(t.automatic or 0.0 for t in self.tasks if t.manual is None)

    @property
    def manual(self) -> float:
        return sum(t.manual or 0.0 for t in self.tasks)

    @property
    def extra_credit(self) -> float:
        return sum(t.extra_credit for t in self.tasks)

    @property
    def score(self) -> float:
        """All points less the late penalty, never below zero, as nbgrader counts."""
        return max(0.0, sum(t.score for t in self.tasks) - self.late_penalty)

    @property
    def ungraded(self) -> list[str]:
        """The tasks that a person must still grade."""
        return [t.name for t in self.tasks if t.needs_manual]

    def exported(self, options: Options) -> tuple[float | None, str]:
        """The score to export; where there is none, None and the reason."""
        if not self.handed_in:
            return (0.0, "") if options.missing_as_zero else (None, "nothing was handed in")
        if not self.tasks:
            return None, "it was handed in but is not graded yet"
        if self.ungraded and not options.include_ungraded:
            return None, f"needs manual grading: {', '.join(self.ungraded)}"
        return self.score, ""


def read_results(course: Course, gradebook: Gradebook, assignments: list[str], only: tuple[str, ...]) -> list[Result]:
    """What every student has for every one of some assignments, in the order of assignments and student ids.

    Args:
        only: these students; all if empty.
    """
    db = gradebook.db
    students = [
        Student(*(value or "" for value in row))
        for row in db.query(
            GradebookStudent.id,
            GradebookStudent.first_name,
            GradebookStudent.last_name,
            GradebookStudent.email,
            GradebookStudent.lms_user_id,
        ).order_by(GradebookStudent.id)
        if not only or row[0] in only
    ]
    max_scores = dict(db.query(Assignment.name, Assignment.max_score).all())
    submissions = {
        (name, student): (key, timestamp, _finite(penalty) or 0.0)
        for key, name, student, timestamp, penalty in db.query(
            SubmittedAssignment.id,
            Assignment.name,
            SubmittedAssignment.student_id,
            SubmittedAssignment.timestamp,
            SubmittedAssignment.late_submission_penalty,
        ).join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
    }
    tasks, comments = _tasks(gradebook), _comments(gradebook)
    results = []
    for name in assignments:
        order = {cell.id: i for i, cell in enumerate(graded_cells(course.assignment(name).solution))}
        for student in students:
            key, timestamp, penalty = submissions.get((name, student.id), (None, None, 0.0))
            own = sorted(tasks[key], key=lambda t: (order.get(t.name, len(order)), t.name))
            results.append(
                Result(student, name, max_scores[name], key is not None, timestamp, tuple(own), penalty, comments[key])
            )
    return results


def submitted_assignments(gradebook: Gradebook) -> set[str]:
    """The assignments for which the gradebook has a submission."""
    query = gradebook.db.query(Assignment.name).join(
        SubmittedAssignment, SubmittedAssignment.assignment_id == Assignment.id
    )
    return {name for (name,) in query.distinct()}


def _tasks(gradebook: Gradebook) -> dict[str | None, list[TaskPoints]]:
    """The points of each task, by the submission's key in the database."""
    db = gradebook.db
    worth = dict(db.query(GradeCell.id, GradeCell.max_score).all() + db.query(TaskCell.id, TaskCell.max_score).all())
    found: dict[str | None, list[TaskPoints]] = defaultdict(list)
    for key, cell, name, automatic, manual, extra, needs_manual in (
        db.query(
            SubmittedNotebook.assignment_id,
            BaseCell.id,
            BaseCell.name,
            Grade.auto_score,
            Grade.manual_score,
            Grade.extra_credit,
            Grade.needs_manual_grade,
        )
        .select_from(Grade)
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .join(BaseCell, Grade.cell_id == BaseCell.id)
    ):
        is_wrong = any(points is not None and not math.isfinite(points) for points in (automatic, manual, extra))
        found[key].append(
            TaskPoints(
                name,
                worth.get(cell, 0.0) or 0.0,
                _finite(automatic),
                _finite(manual),
                _finite(extra) or 0.0,
                needs_manual or is_wrong,
            )
        )
    return found


def _comments(gradebook: Gradebook) -> dict[str | None, dict[str, str]]:
    found: dict[str | None, dict[str, str]] = defaultdict(dict)
    for key, name, text in (
        gradebook.db.query(SubmittedNotebook.assignment_id, BaseCell.name, Comment.manual_comment)
        .select_from(Comment)
        .join(SubmittedNotebook, Comment.notebook_id == SubmittedNotebook.id)
        .join(BaseCell, Comment.cell_id == BaseCell.id)
    ):
        if text:
            found[key][name] = text
    return found


def _finite(points: float | None) -> float | None:
    return points if points is not None and math.isfinite(points) else None
