"""Tables as files: read as other systems write them, written so that no spreadsheet runs what a student typed."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autograder.course import CourseError
from autograder.grading.export.scores import Student
from autograder.grading.files import write_atomically

_FORMULA = re.compile(r"\s*[=+\-@\t\r\n]")
_PLAIN_IDENTIFIER = re.compile(r"[=+\-@][\w.@+\-]*")


@dataclass(frozen=True)
class Table:
    """A roster: its header, and its rows, each as long as the header."""

    path: Path
    header: list[str]
    rows: list[list[str]]

    def column(self, *names: str) -> int | None:
        """The position of the first column that has one of some names, whatever its case."""
        folded = [fold(heading) for heading in self.header]
        return next((folded.index(fold(name)) for name in names if fold(name) in folded), None)


def read_table(path: Path) -> Table:
    """Read a roster.

    Raises:
        CourseError: if it is not a table with a header.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)]
    except FileNotFoundError:
        raise CourseError(f"There is no roster {path}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise CourseError(f"The roster {path} is not a CSV file in UTF-8: {error}. Export it again.") from error
    if not rows or len(rows[0]) < 2:
        raise CourseError(f"The roster {path} is not a table with a header. Export it again.")
    width = len(rows[0])
    return Table(path, rows[0], [(row + [""] * width)[:width] for row in rows[1:]])


def write_table(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Write a table as RFC 4180 has it, in UTF-8."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    write_atomically(path, file.getvalue().encode("utf-8", "replace"))


def number(points: float) -> str:
    """Points without an exponent, a thousands separator or digits that only binary fractions have."""
    return f"{points:.6f}".rstrip("0").rstrip(".")


def harmless(text: str) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe before what begins like a formula.

    As OWASP's page "CSV Injection" advises. Control characters other than line breaks and tabs are dropped.
    """
    text = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
    return f"'{text}" if _FORMULA.match(text) else text


def identifier(text: str, warnings: list[str]) -> str:
    """An identifier as it is, unless it could do something in a spreadsheet; then harmless, with a warning."""
    if _PLAIN_IDENTIFIER.fullmatch(text):
        return text
    safe = harmless(text)
    if safe != text:
        warnings.append(f"The identifier {text!r} looks like a formula and was written as {safe!r}.")
    return safe


def fold(text: str) -> str:
    """Text for comparing: without case, surplus space and ways of composing characters."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


Key = tuple[Callable[[Student], str], Callable[[list[str]], str]]


def match(students: list[Student], rows: list[list[str]], keys: list[Key]) -> dict[str, list[str]]:
    """The roster's row of each student who has one, by the student's id.

    The keys are tried in their order. One that fits more than one student or more than one row decides nothing.
    """
    found: dict[str, list[str]] = {}
    taken: set[int] = set()
    for of_student, of_row in keys:
        values = [(fold(of_row(row)), row) for row in rows if id(row) not in taken]
        by_value = dict(values)
        in_rows = Counter(value for value, _ in values)
        waiting = [(student, fold(of_student(student))) for student in students if student.id not in found]
        in_students = Counter(value for _, value in waiting)
        for student, value in waiting:
            if value and in_rows[value] == 1 and in_students[value] == 1:
                found[student.id] = by_value[value]
                taken.add(id(by_value[value]))
    return found


def demand_matches(found: dict[str, list[str]], students: list[Student], roster: Path) -> None:
    """Raise if nobody is in the roster.

    Raises:
        CourseError: the message lists who was looked for.
    """
    if not found:
        some = ", ".join(student.id for student in students[:10]) + (", …" if len(students) > 10 else "")
        raise CourseError(
            f"No student of the gradebook is in {roster} (looked for {some}). "
            "Is it this course's? Ids, e-mail addresses and names are compared."
        )


def cell_of(row: list[str], position: int | None) -> str:
    """A cell of a row; empty if there is no such column."""
    return "" if position is None else row[position]


def local_part(address: str) -> str:
    """What stands before the @ of an address; empty if it is none."""
    name, at, _ = address.partition("@")
    return name if at else ""
