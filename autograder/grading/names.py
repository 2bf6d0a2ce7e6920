"""Whose a file is, read from where it lies and what it is called, as people and learning platforms name things."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath

from autograder.course import Assignment

MAX_NAME = 80

_PLATFORMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<who>.+?)_(?P<number>\d+)_assignsubmission_",  # Moodle
        r".+?_(?P<who>[^_]+)_attempt_\d{4}-\d\d-\d\d",  # Blackboard
        r"(?P<number>\d+-\d+) - (?P<who>.+?) - ",  # Brightspace
        r".+, .+\((?P<who>[\w.@+-]+)\)$",  # Sakai
        r"(?P<who>[^_]+?)(?:_late)?_(?P<number>\d+)(?:_\d+)?_",  # Canvas
        r"(?P<who>.+?) - .*\w",  # Google Classroom
    )
)
_NOISE = re.compile(
    r"\(\d+\)|(?<![^\W_])(?:copy of|kopie von|copie de|copy|final|submission|resubmission|solution|late|v\d+)"
    r"(?=[\W_]|$)"
    r"|(?:\.(?:ipynb|json|txt|gz|py|md|zip|tar|tgz|bz2|xz))+$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Whose:
    """The student whose file it is.

    Attributes:
        name: an id that is safe as a folder's name.
        called: what the student is called where the file lies.
        number: the platform's own number of the student, if the name gives one.
    """

    name: str
    called: str
    number: str = ""


def whose_and_what(inside: str, assignments: list[Assignment]) -> tuple[Whose, str | None] | None:
    """The student and, where the path says it, the assignment of a file, from its path under ``received/``."""
    parts = PurePosixPath(inside).parts
    names = {a.name.casefold(): a.name for a in assignments}
    for i, part in enumerate(parts[:-1]):
        if part.casefold() in names:
            whose = _of_folder(parts[i - 1]) if i else _of_rest(parts[1:], assignments)
            return (whose, names[part.casefold()]) if whose else None
    whose = _of_rest(parts, assignments)
    return (whose, None) if whose else None


def platform_name(name: str) -> Whose | None:
    """The student in a name that a learning platform gave a file or folder; None if none did."""
    for pattern in _PLATFORMS:
        match = pattern.match(name)
        if match:
            return _safe(match["who"], match.groupdict().get("number") or "")
    return None


def copy_number(name: str) -> int:
    """Which copy a file's name says it is: 2 for ``attention (2).ipynb`` and ``attention-2.ipynb``, else 0."""
    match = re.search(r"(?:\((\d{1,4})\)|[-_ ](\d{1,4}))(?:\.\w+)*$", name)
    return int(match[1] or match[2]) if match else 0


def _of_rest(parts: tuple[str, ...], assignments: list[Assignment]) -> Whose | None:
    return _of_folder(parts[0]) if len(parts) > 1 else _of_file(parts[0], assignments)


def _of_folder(name: str) -> Whose | None:
    return platform_name(name) or _safe(name)


def _of_file(name: str, assignments: list[Assignment]) -> Whose | None:
    """The student in a file's name: what is left of it without the assignment's and without words such as copy."""
    given = platform_name(name)
    known_names = {n.casefold() for a in assignments for n in (a.name, a.notebook_name)}
    if given is not None and given.called.casefold() not in known_names:
        return given
    rest = _NOISE.sub(" ", name)
    for known in sorted({n for a in assignments for n in (a.name, a.notebook_name)}, key=len, reverse=True):
        rest = re.sub(rf"(?<![^\W_]){re.escape(known)}(?![^\W\d_])", " ", rest, flags=re.IGNORECASE)
    rest = re.sub(r"(?<=[ _-])[ _-]+", "", _NOISE.sub(" ", rest)).strip(" _-.")
    return _safe(rest) if rest else None


def _safe(called: str, number: str = "") -> Whose | None:
    """A student under a name that may be a folder's: letters of any script, digits and ``. @ + _ -``."""
    plain = unicodedata.normalize("NFC", called.encode("utf-8", "replace").decode()).strip()
    name = re.sub(r"[^\w.@+-]+", "-", plain).strip("-.")
    if not name:
        return None
    if len(name.encode()) > MAX_NAME:
        short = name.encode()[: MAX_NAME - 9].decode("utf-8", "ignore")
        name = f"{short}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return Whose(name, called, number)
