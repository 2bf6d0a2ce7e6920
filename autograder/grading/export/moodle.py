"""Moodle: a file for "Grade import > CSV file", or its assignment's offline grading worksheet, filled in.

Source: Moodle documentation, pages "Grade import" and "Assignment settings" (Offline grading worksheet); where they
are silent, Moodle's open source. In a grade import one column says who the student is (username, email address or ID
number), the columns of scores and feedback are mapped by hand; a student whom Moodle does not know stops the whole
import, an empty score takes away one that is there, and a score above 100 is refused unless the site allows it. So
each assignment has a file of its own, with those students alone who have a score. A worksheet is found by its columns
Identifier and Grade; all that is not filled in stays as it was.
"""

import html
from pathlib import Path

from autograder.course import Course, CourseError
from autograder.grading.export.canvas import scaling
from autograder.grading.export.feedback import feedback_lines
from autograder.grading.export.scores import Exported, Options, Result, Student
from autograder.grading.export.tables import (
    Key,
    Table,
    cell_of,
    demand_matches,
    fold,
    harmless,
    identifier,
    local_part,
    match,
    number,
    read_table,
    write_table,
)

IDENTIFIERS = {
    "username": ("Username",),
    "email": ("Email address", "Email"),
    "idnumber": ("ID number", "idnumber"),
}
"""What Moodle knows a student by, and what its exports call the column."""
USUAL_MAXIMUM = 100.0


def write_moodle(course: Course, results: list[Result], options: Options, path: Path) -> Exported:
    """Write the file for one assignment.

    Raises:
        CourseError: if the roster does not fit.
    """
    if options.roster is None:
        return _grade_import(course, results, options, path, None)
    roster = read_table(options.roster)
    if roster.column("Identifier") is not None:
        return _worksheet(course, results, options, path, roster)
    return _grade_import(course, results, options, path, roster)


def _grade_import(
    course: Course, results: list[Result], options: Options, path: Path, roster: Table | None
) -> Exported:
    exported = Exported([path])
    assignment = results[0].assignment
    kind = options.identifier or _known_by(roster)
    who, title = None, options.columns.get(assignment, assignment)
    found: dict[str, list[str]] = {}
    if roster is not None:
        who, found = roster.column(*IDENTIFIERS[kind]), _match(results, roster, exported)
        if who is None:
            raise CourseError(f"{roster.path} has no column {IDENTIFIERS[kind][0]!r}: choose another --identifier.")
        title = _title(roster, title)
    rows = [[IDENTIFIERS[kind][0], title, *([f"{title} (feedback)"] if options.feedback else [])]]
    for result in results:
        score, reason = result.exported(options)
        if roster is not None and result.student.id not in found:
            continue
        if score is None:
            exported.leave_blank(result, reason)
            continue
        known = cell_of(found[result.student.id], who) if roster is not None else _known_as(result.student, kind)
        if not known:
            exported.unmatched.append(result.student.id)
            continue
        known = identifier(known, exported.warnings)
        rows.append([known, number(score), *([_feedback(course, result)] if options.feedback else [])])
        exported.students += 1
        if score > USUAL_MAXIMUM:
            exported.warnings.append(
                f"{result.student.id} has {number(score)} points: Moodle refuses more than 100 unless its site "
                "administration allows unlimited grades."
            )
    if roster is None and exported.unmatched:
        exported.warnings.append(
            f"The gradebook does not know the {kind} of {len(exported.unmatched)} students, who were left out. "
            "Give what Moodle exported with --roster, or choose another --identifier."
        )
    write_table(path, rows)
    return exported


def _worksheet(course: Course, results: list[Result], options: Options, path: Path, roster: Table) -> Exported:
    exported = Exported([path])
    assignment = results[0].assignment
    title = options.columns.get(assignment, "Grade")
    grade, most = roster.column(title), roster.column("Maximum Grade")
    comments, changeable = roster.column("Feedback comments"), roster.column("Grade can be changed")
    if grade is None:
        raise CourseError(
            f"{roster.path} has no column {title!r}. Say which it is with --column '{assignment}=NAME'; "
            f"there are: {', '.join(roster.header)}."
        )
    found = _match(results, roster, exported)
    for result in results:
        row = found.get(result.student.id)
        if row is None:
            continue
        score, reason = result.exported(options)
        if fold(cell_of(row, changeable)) == "no":
            score, reason = None, "Moodle's worksheet says that its grade cannot be changed"
        if score is None:
            exported.leave_blank(result, reason)
            continue
        try:
            theirs = float(cell_of(row, most).replace(",", "."))
        except ValueError:
            theirs = result.max_score
        row[grade] = number(score * scaling(assignment, result.max_score, theirs, "Moodle", options))
        if options.feedback and comments is not None:
            row[comments] = _feedback(course, result)
        exported.students += 1
    write_table(path, [roster.header, *roster.rows])
    return exported


def _match(results: list[Result], roster: Table, exported: Exported) -> dict[str, list[str]]:
    """The roster's rows by student; who has none is noted."""
    students = [result.student for result in results]
    found = match(students, roster.rows, _keys(roster))
    demand_matches(found, students, roster.path)
    exported.unmatched = [student.id for student in students if student.id not in found]
    matched = {id(row) for row in found.values()}
    called = roster.column("Full name", *IDENTIFIERS["email"], *IDENTIFIERS["idnumber"], *IDENTIFIERS["username"])
    exported.roster_only = [cell_of(row, called) or row[0] for row in roster.rows if id(row) not in matched]
    return found


def _keys(roster: Table) -> list[Key]:
    """What to find a student by, the surest first."""
    username, email, idnumber = (roster.column(*names) for names in IDENTIFIERS.values())
    name = roster.column("Full name")
    first, last = roster.column("First name"), roster.column("Last name", "Surname")
    return [
        (lambda s: s.lms_id, lambda row: cell_of(row, idnumber)),
        (lambda s: s.id, lambda row: cell_of(row, username)),
        (lambda s: s.email, lambda row: cell_of(row, email)),
        (lambda s: s.id, lambda row: cell_of(row, idnumber)),
        (lambda s: s.id, lambda row: cell_of(row, email)),
        (lambda s: s.id, lambda row: local_part(cell_of(row, email))),
        (lambda s: s.full_name or s.id, lambda row: cell_of(row, name)),
        (lambda s: s.full_name or s.id, lambda row: f"{cell_of(row, first)} {cell_of(row, last)}"),
    ]


def _known_by(roster: Table | None) -> str:
    """What a roster knows students by; without one their usernames, which are their ids."""
    if roster is None:
        return "username"
    for kind, names in IDENTIFIERS.items():
        position = roster.column(*names)
        if position is not None and all(row[position] for row in roster.rows):
            return kind
    raise CourseError(
        f"{roster.path} knows no student by username, ID number or email address. "
        "Export it from Moodle with one of these columns."
    )


def _known_as(student: Student, kind: str) -> str:
    if kind == "email":
        return student.email or (student.id if "@" in student.id else "")
    return student.id if kind == "username" else student.lms_id or student.id


def _title(roster: Table, wanted: str) -> str:
    """What the roster calls an assignment, such as ``Assignment: NAME (Real)``; the name itself if it has none."""
    for heading in roster.header:
        bare = heading.removeprefix("Assignment:").removesuffix("(Real)")
        if fold(wanted) in (fold(heading), fold(bare)):
            return heading
    return wanted


def _feedback(course: Course, result: Result) -> str:
    """Feedback as Moodle's text fields take it, which is HTML."""
    return harmless("<br>".join(html.escape(line) for line in feedback_lines(course, result)))
