"""Canvas: the CSV file that its Gradebook's "Import" takes.

Source: Canvas Instructor Guide, "How do I import grades in the Gradebook?" and "How do I export grades in the
Gradebook?"; where the guide is silent, Canvas's open source (``gradebook_importer.rb``): the first columns are
Student, ID, SIS User ID, SIS Login ID and Section; a row whose first cell says "Points Possible"; a student is found
by ID, then SIS User ID, then SIS Login ID, then name; an assignment by the number in parentheses, then by its title;
an empty cell is no score, and takes away one that is there.
"""

import re
from pathlib import Path

from autograder.course import CourseError
from autograder.grading.export.scores import Exported, Options, Result
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

HEADER = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]
POINTS_POSSIBLE = "    Points Possible"
_NUMBERED = re.compile(r"\s*\(\d+\)\s*$")
_NOT_A_STUDENT = re.compile(r"\s*(Points Possible\b|Student, Test$)")


def write_canvas(results: list[Result], options: Options, path: Path) -> Exported:
    """Write the file for Canvas.

    Raises:
        CourseError: if the roster does not fit.
    """
    if options.roster is None:
        return _without_roster(results, options, path)
    return _with_roster(results, options, path, read_table(options.roster))


def _without_roster(results: list[Result], options: Options, path: Path) -> Exported:
    exported = Exported([path])
    assignments = {result.assignment: result.max_score for result in results}
    header = [*HEADER, *(options.columns.get(name, name) for name in assignments)]
    rows = [header, [POINTS_POSSIBLE, "", "", "", "", *(number(points) for points in assignments.values())]]
    for own in _by_student(results):
        student = own[0].student
        scores = [_score(result, options, exported) for result in own]
        login = identifier(student.id, exported.warnings)
        rows.append([harmless(student.sortable_name), student.lms_id, "", login, "", *scores])
        exported.students += any(scores)
    if exported.left_blank:
        exported.warnings.append(
            "Where a score is left blank, Canvas takes away one that it has. "
            "Give the gradebook that Canvas exported with --roster, and what it has is kept."
        )
    write_table(path, rows)
    return exported


def _with_roster(results: list[Result], options: Options, path: Path, roster: Table) -> Exported:
    exported = Exported([path])
    info = roster.column("Section")
    if info is None or roster.column("ID") is None:
        raise CourseError(f"{roster.path} is not a gradebook that Canvas exported: it has no columns ID and Section.")
    assignments = {result.assignment: result.max_score for result in results}
    columns = {name: _column(roster, name, options) for name in assignments}
    possible = next((row for row in roster.rows if "Points Possible" in row[0]), None)
    factors = {name: _factor(name, points, possible, columns, options) for name, points in assignments.items()}
    people = [row for row in roster.rows if any(row[: info + 1]) and not _NOT_A_STUDENT.match(row[0])]
    students = [own[0].student for own in _by_student(results)]
    found = match(students, people, _keys(roster))
    demand_matches(found, students, roster.path)

    rows = [[*roster.header[: info + 1], *(roster.header[columns[name]] for name in assignments)]]
    if possible is not None:
        rows.append([*possible[: info + 1], *(possible[columns[name]] for name in assignments)])
    written = set()
    for own in _by_student(results):
        student = own[0].student
        row = found.get(student.id)
        if row is None:
            exported.unmatched.append(student.id)
            continue
        written.add(id(row))
        cells = []
        has_score = False
        for result in own:
            there = row[columns[result.assignment]]
            if fold(there) == "ex":
                exported.leave_blank(result, "Canvas has it as excused")
                cells.append(there)
                continue
            score = _score(result, options, exported, factors[result.assignment])
            has_score = has_score or bool(score)
            cells.append(score or there)
        exported.students += has_score
        rows.append([harmless(row[0]), *row[1 : info + 1], *cells])
    exported.roster_only = [row[0] for row in people if id(row) not in written]
    write_table(path, rows)
    return exported


def _by_student(results: list[Result]) -> list[list[Result]]:
    """The results of each student, in the order of assignments."""
    found: dict[str, list[Result]] = {}
    for result in results:
        found.setdefault(result.student.id, []).append(result)
    return list(found.values())


def _score(result: Result, options: Options, exported: Exported, factor: float = 1.0) -> str:
    score, reason = result.exported(options)
    if score is None:
        exported.leave_blank(result, reason)
        return ""
    return number(score * factor)


def _keys(roster: Table) -> list[Key]:
    """What to find a student by, the surest first."""
    number_, user = roster.column("ID"), roster.column("SIS User ID")
    login, name = roster.column("SIS Login ID"), roster.column("Student")
    first, last = roster.column("FirstName"), roster.column("LastName")
    return [
        (lambda s: s.lms_id, lambda row: cell_of(row, number_)),
        (lambda s: s.id, lambda row: cell_of(row, user)),
        (lambda s: s.id, lambda row: cell_of(row, login)),
        (lambda s: s.email, lambda row: cell_of(row, login)),
        (lambda s: s.id, lambda row: cell_of(row, number_)),
        (lambda s: s.id, lambda row: local_part(cell_of(row, login))),
        (lambda s: s.sortable_name, lambda row: cell_of(row, name)),
        (lambda s: s.full_name, lambda row: cell_of(row, name)),
        (lambda s: s.full_name, lambda row: f"{cell_of(row, first)} {cell_of(row, last)}"),
    ]


def _column(roster: Table, assignment: str, options: Options) -> int:
    """The position of an assignment's column.

    Raises:
        CourseError: if there is none.
    """
    wanted = options.columns.get(assignment, assignment)
    exact = roster.column(wanted)
    if exact is not None:
        return exact
    titles = [fold(_NUMBERED.sub("", heading)) for heading in roster.header]
    if titles.count(fold(wanted)) == 1:
        return titles.index(fold(wanted))
    numbered = [heading for heading in roster.header if _NUMBERED.search(heading)]
    raise CourseError(
        f"{roster.path} has no column {wanted!r}. Say which it is with --column '{assignment}=NAME'; "
        f"there are: {', '.join(numbered) or 'none'}."
    )


def _factor(
    assignment: str, points: float, possible: list[str] | None, columns: dict[str, int], options: Options
) -> float:
    """What to multiply a score by for Canvas's points possible.

    Raises:
        CourseError: if it is not 1 and scaling was not asked for.
    """
    try:
        theirs = float(possible[columns[assignment]].replace(",", ".")) if possible is not None else points
    except ValueError:
        return 1.0
    return scaling(assignment, points, theirs, "Canvas", options)


def scaling(assignment: str, ours: float, theirs: float, system: str, options: Options) -> float:
    """The factor from our points to theirs.

    Raises:
        CourseError: if it is not 1 and scaling was not asked for.
    """
    if abs(ours - theirs) < 0.005 or ours <= 0:
        return 1.0
    if not options.scale:
        raise CourseError(
            f"{system} has {theirs:g} points for {assignment}, the gradebook {ours:g}. "
            f"Change it in {system}, or let scores be scaled with --scale."
        )
    return theirs / ours
