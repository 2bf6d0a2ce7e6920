"""A plain table: one row for each student and assignment, with all that a score is made of (CSV, RFC 4180, UTF-8)."""

from pathlib import Path

from autograder.course import Course
from autograder.grading.export.feedback import feedback_lines
from autograder.grading.export.scores import Exported, Options, Result
from autograder.grading.export.tables import harmless, identifier, number, write_table

HEADER = [
    "assignment",
    "student",
    "last_name",
    "first_name",
    "email",
    "submitted",
    "automatic",
    "manual",
    "extra_credit",
    "late_penalty",
    "score",
    "max_score",
    "needs_manual_grade",
    "left_blank",
]
"""automatic + manual + extra_credit - late_penalty = score, unless that would be below 0."""


def write_plain(course: Course, results: list[Result], options: Options, path: Path) -> Exported:
    """Write the table."""
    exported = Exported([path])
    tasks = list(dict.fromkeys(task.name for result in results for task in result.tasks))
    rows = [[*HEADER, *(f"task:{name}" for name in tasks), *(["feedback"] if options.feedback else [])]]
    with_score = set()
    for result in results:
        score, reason = result.exported(options)
        if score is None:
            exported.leave_blank(result, reason)
        else:
            with_score.add(result.student.id)
        student = result.student
        parts = [result.automatic, result.manual, result.extra_credit, result.late_penalty]
        points = {task.name: number(task.score) for task in result.tasks if not task.needs_manual}
        row = [
            result.assignment,
            identifier(student.id, exported.warnings),
            *map(harmless, (student.last_name, student.first_name, student.email)),
            result.submitted.isoformat() if result.submitted else "",
            *(number(part) if result.handed_in else "" for part in parts),
            number(score) if score is not None else "",
            number(result.max_score),
            "yes" if result.ungraded else "no",
            reason,
            *(points.get(name, "") for name in tasks),
        ]
        if options.feedback:
            row.append(harmless("\n".join(feedback_lines(course, result))))
        rows.append(row)
    exported.students = len(with_score)
    exported.warnings = list(dict.fromkeys(exported.warnings))
    write_table(path, rows)
    return exported
