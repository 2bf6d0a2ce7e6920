"""What arrives: found wherever people put it, kept byte for byte in ``received/``, mended into ``submitted/``.

``received/`` may hold nbgrader's layout (STUDENT/ASSIGNMENT/notebook.ipynb), folders named after assignments with one
notebook for each student, notebooks named after students, and zip or tar files of any of these, such as a learning
management system gives. What somebody put straight into ``submitted/`` is moved through here as well. Whatever is
there is either a submission or named in a warning.
"""

import hashlib
import os
import re
import shutil
import stat
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from nbgrader.utils import parse_utc

from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading import mend as mending
from autograder.grading import pieces, reading, tolerant
from autograder.grading.archives import OTHER_ARCHIVES, BadArchive, is_archive, members
from autograder.grading.files import read_json, write_atomically, write_json
from autograder.grading.mend import UNREADABLE, Mended, mend, unanswered
from autograder.grading.names import Whose, copy_number, platform_name, whose_and_what
from autograder.grading.pieces import defines
from autograder.grading.reading import Unreadable

MAX_DEPTH = 3
MAX_NESTED = 200
"""How deep archives in archives are opened, and how many of them in one file that arrived."""
SAME_TIME = 120.0
"""Seconds: what was unpacked together is as new as each other."""
MAX_NAMED = 6

_IGNORED = re.compile(r"(^|/)(\._|__MACOSX|Thumbs\.db$|desktop\.ini$|\.DS_Store$|\.git/|\.gitkeep$)|\.old$")
_SPARE = re.compile(r"(^|/)(\.ipynb_checkpoints/|\.~)")
_ARCHIVE = re.compile(r"\.(zip|tar(\.\w+)?|tgz|tbz2?|txz)$", re.IGNORECASE)
_NOTEBOOK = re.compile(r"\.(ipynb|json|txt|py|md)(\.(gz|txt|json))*$|^[^.]+$|\.gz$|ipynb", re.IGNORECASE)


@dataclass(frozen=True)
class Arrived:
    """One file that a student handed in.

    Attributes:
        path: where it lies, as a report calls it, from the course's folder on.
        data: its bytes; raises ``OSError`` or :class:`BadArchive` if they cannot be had.
        modified: when it was last changed, seconds since 1970.
        remark: what was noted on the way, such as that it came out of a zip file.
        is_spare: a copy that a program made, which counts only if there is nothing else.
    """

    whose: Whose
    path: str
    data: Callable[[], bytes]
    modified: float
    assignment: str | None = None
    remark: str = ""
    is_spare: bool = False

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    @property
    def is_notebook(self) -> bool:
        """Whether it is called what a notebook, or an export of one, may be called."""
        return _NOTEBOOK.search(self.name) is not None


@dataclass(frozen=True)
class Submission:
    """One student's submission of one assignment, after collecting.

    Attributes:
        repairs: what was mended, a sentence each.
        problem: why the file could not be read; empty if it could.
    """

    student: str
    assignment: str
    path: Path
    repairs: tuple[str, ...]
    problem: str = ""


@dataclass
class Collected:
    """What a collect found.

    Attributes:
        warnings: files that belong to no submission, a sentence each.
    """

    submissions: list[Submission]
    warnings: list[str]


def collect(
    course: Course,
    assignments: list[Assignment],
    student: str | None = None,
    on_file: Callable[[str], None] = lambda _: None,
) -> Collected:
    """Mend what arrived, and what lies in ``submitted/``, for some assignments; what has not changed is left alone.

    Args:
        student: only this one's.
        on_file: told the path of each notebook before it is mended.
    """
    _keep_direct_submissions(course, assignments)
    warnings: list[str] = []
    candidates: dict[tuple[str, str], list[Arrived]] = defaultdict(list)
    wanted = {a.name for a in assignments}
    known = [a for a in course.assignments.values() if a.name in wanted or a.release_path.is_file()]
    rest: list[Arrived] = []
    for arrived in _tell_apart(list(_Received(course, warnings).everything())):
        if student is not None and arrived.whose.name != student:
            continue
        try:
            guessed = _guess(arrived, known)
        except (OSError, BadArchive) as error:
            warnings.append(f"{arrived.path} {_reason(error)}; it was left alone.")
            continue
        if arrived.assignment is None and guessed is None:
            rest.append(arrived)
        for assignment in dict.fromkeys((arrived.assignment, guessed)):
            if assignment in wanted:
                candidates[arrived.whose.name, str(assignment)].append(arrived)
    for arrived in rest:
        of_student = [files for (who, _), files in candidates.items() if who == arrived.whose.name]
        if len(of_student) == 1 and not arrived.is_notebook:
            of_student[0].append(arrived)
        else:
            warnings.append(f"{arrived.path} is of no assignment that is known; it was left in received/.")
    submissions = [
        _collect_one(course, course.assignment(assignment), who, files, known, on_file)
        for (who, assignment), files in sorted(candidates.items())
    ]
    return Collected(submissions, warnings)


def _guess(arrived: Arrived, known: list[Assignment]) -> str | None:
    """The assignment of a file that lies in no assignment's folder, or, to all appearance, in the wrong one."""
    if arrived.assignment is None:
        return recognize(arrived.name, arrived.data, known)
    named = _named_by(arrived.name, known) if arrived.is_notebook else None
    if named is None or named == arrived.assignment:
        return None
    return named if _recognize_by_content(arrived.data(), known) == named else None


def _tell_apart(arrived: list[Arrived]) -> list[Arrived]:
    """Give students of one name, whom their platform tells apart by a number, that number as part of the name."""
    numbers = defaultdict(set)
    for file in arrived:
        if file.whose.number:
            numbers[file.whose.name].add(file.whose.number)
    told = []
    for file in arrived:
        whose = file.whose
        if whose.number and len(numbers[whose.name]) > 1:
            remark = f"Several students are called {whose.called}; this is number {whose.number}. {file.remark}".strip()
            file = replace(file, whose=replace(whose, name=f"{whose.name}-{whose.number}"), remark=remark)
        told.append(file)
    return told


def record_path(course: Course, student: str, assignment: str) -> Path:
    """Where the report of what was mended is kept."""
    return course.verdicts_directory / student / f"{assignment}.intake.json"


@dataclass
class _Looked:
    """A file that may be the submission, as it looks from inside.

    Attributes:
        problem: why it cannot be read; empty if it can.
    """

    file: Arrived
    digest: str
    mended: Mended | None = None
    problem: str = ""

    @property
    def answered(self) -> tuple[str, ...]:
        return self.mended.answered if self.mended else ()


def _collect_one(
    course: Course,
    assignment: Assignment,
    student: str,
    files: list[Arrived],
    known: list[Assignment],
    on_file: Callable[[str], None],
) -> Submission:
    main = [f for f in files if f.is_notebook and not f.is_spare] or [f for f in files if f.is_notebook] or files
    on_file(main[0].path)
    target = course.submitted_directory / student / assignment.name / assignment.release_path.name
    wrong_time = _copy_timestamp(course, main[0].whose.called, assignment, target.parent)
    kept = read_json(record_path(course, student, assignment.name))
    looked = [_digest(file) for file in main]
    about = [_mending(), nbformat.writes(assignment.release), wrong_time, *sorted(f.path + f.remark for f in files)]
    key = _hash("\n".join(about + [one.digest for one in looked]).encode("utf-8", "surrogatepass"))
    is_kept = isinstance(kept, dict) and kept.get("key") == key and target.is_file()
    if is_kept and kept.get("mended") == _hash(target.read_bytes()):
        return Submission(student, assignment.name, target, tuple(kept["repairs"]), kept["problem"])
    for one in looked:
        _look_into(one, assignment)
    chosen = _choose(looked, assignment)
    repairs = [said for said in (chosen.file.remark, wrong_time) if said]
    if chosen.file.whose.called != student and chosen.file.whose.name == student:
        repairs.append(f"It came under the name {chosen.file.whose.called}; the student is called {student} here.")
    if chosen.file.is_spare:
        repairs.append("Only a copy that Jupyter had saved by itself was there; it was taken.")
    if chosen.file.name != assignment.release_path.name and not chosen.problem:
        repairs.append(f"The file was called {chosen.file.name}; it was renamed to {assignment.release_path.name}.")
    repairs += _tell_others(chosen, looked, files)
    if chosen.mended is None:
        problem = f"{chosen.file.name} cannot be read: {chosen.problem}. It was kept and counts as unanswered."
        notebook = unanswered(assignment, problem)
    else:
        problem = ""
        notebook, repairs = chosen.mended.notebook, repairs + chosen.mended.repairs
        if not chosen.mended.recognized:
            repairs.append(_nothing_found(chosen.file, assignment, known))
    written = (nbformat.writes(notebook) + "\n").encode("utf-8", "replace")
    _make_room(target)
    write_atomically(target, written)
    record: dict[str, Any] = {"key": key, "mended": _hash(written), "repairs": repairs, "problem": problem}
    write_json(record_path(course, student, assignment.name), {**record, "received": chosen.file.path})
    return Submission(student, assignment.name, target, tuple(repairs), problem)


@cache
def _mending() -> str:
    """What mends, as a hash: what was mended otherwise is mended anew."""
    sources = (Path(str(module.__file__)).read_bytes() for module in (mending, reading, pieces, tolerant))
    return _hash(b"".join(sources))


def _digest(file: Arrived) -> _Looked:
    try:
        return _Looked(file, _hash(file.data()))
    except (OSError, BadArchive) as error:
        return _Looked(file, "", problem=f"it {_reason(error)}")


def _reason(error: OSError | BadArchive) -> str:
    return str(error) if isinstance(error, BadArchive) else f"cannot be opened ({error.strerror or error})"


def _look_into(one: _Looked, assignment: Assignment) -> None:
    if one.problem:
        return
    try:
        one.mended = mend(one.file.data(), assignment)
    except Unreadable as error:
        one.problem = str(error)
    except (OSError, BadArchive) as error:
        one.problem = f"it {_reason(error)}"


def _choose(looked: list[_Looked], assignment: Assignment) -> _Looked:
    """Of several files of one submission the one to grade: answered, a notebook, and the newest of those."""

    def worth(one: _Looked) -> tuple[bool, bool, bool, bool]:
        recognized = bool(one.mended and one.mended.recognized)
        return bool(one.answered), recognized, one.mended is not None, ".ipynb" in one.file.name.casefold()

    best = max(map(worth, looked))
    equals = [one for one in looked if worth(one) == best]
    newest = max(one.file.modified for one in equals)
    recent = [one for one in equals if newest - one.file.modified <= SAME_TIME]

    def order(one: _Looked) -> tuple[int, bool, str]:
        return copy_number(one.file.name), one.file.name == assignment.release_path.name, one.file.path

    return max(recent, key=order)


def _tell_others(chosen: _Looked, looked: list[_Looked], files: list[Arrived]) -> list[str]:
    """What to say of the files that are not graded."""
    told = []
    for other in looked:
        if other is chosen or other.digest == chosen.digest or other.file.is_spare:
            continue
        more = [name for name in other.answered if name not in chosen.answered]
        answers = f" It answers what the graded one does not: {', '.join(more)}." if more else ""
        told.append(f"{other.file.name} was handed in as well; it was kept and not graded.{answers}")
    rest = [f.name for f in files if not f.is_spare and not any(f is one.file for one in looked)]
    if rest:
        more_names = f" and {len(rest) - MAX_NAMED} more" if len(rest) > MAX_NAMED else ""
        told.append(f"Other files were kept and are not graded: {', '.join(sorted(rest)[:MAX_NAMED])}{more_names}.")
    return told


def _nothing_found(file: Arrived, assignment: Assignment, known: list[Assignment]) -> str:
    other = _recognize_by_content(file.data(), known)
    if other is not None and other != assignment.name:
        return (
            f"{file.name} is the notebook of {other}, not of {assignment.name}: nothing in it could be graded here. "
            f"If it was meant for {other}, move it to received/{file.whose.called}/{other}/."
        )
    return f"Nothing of {assignment.name} was found in {file.name}: look at what was handed in."


def _keep_direct_submissions(course: Course, assignments: list[Assignment]) -> None:
    """Move what somebody put straight into ``submitted/`` to ``received/``; it is collected from there."""
    for assignment in assignments:
        for folder in sorted(course.submitted_directory.glob(f"*/{assignment.name}")):
            student = folder.parent.name
            kept = read_json(record_path(course, student, assignment.name)) or {}
            for path in sorted(p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()):
                target = course.received_directory / student / assignment.name / path.relative_to(folder)
                is_plain = path.is_file() and not path.is_symlink()
                is_ours = is_plain and path.name == assignment.release_path.name
                if is_ours and kept.get("mended") == _hash(path.read_bytes()):
                    continue
                if path.name == "timestamp.txt" and is_plain and not _is_newer(path, target):
                    continue
                _set_aside(target, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.name == "timestamp.txt" and is_plain:
                    shutil.copy2(path, target)
                elif is_plain:
                    shutil.copy2(path, target)
                    path.unlink()
                else:
                    path.rename(target)
            _remove_if_renamed(folder, course, assignment)


def _set_aside(target: Path, path: Path) -> None:
    """Give an older file of the same name in ``received/`` another one, unless it is the same file."""
    if target.is_file() and path.is_file() and target.read_bytes() == path.read_bytes():
        return
    if os.path.lexists(target):
        target.rename(target.with_name(f"{target.name}.{int(target.lstat().st_mtime)}.old"))


def _remove_if_renamed(folder: Path, course: Course, assignment: Assignment) -> None:
    """Take away a student's folder that nbgrader would read, and whose student is called otherwise here."""
    named = whose_and_what(f"{folder.parent.name}/{assignment.name}/x", list(course.assignments.values()))
    if named is not None and named[0].name != folder.parent.name:
        (folder / "timestamp.txt").unlink(missing_ok=True)
        for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
            path.rmdir()
        folder.rmdir()
        with suppress(OSError):
            folder.parent.rmdir()


def _is_newer(path: Path, target: Path) -> bool:
    """Whether a file says something else than another, and was written later."""
    if not target.exists():
        return True
    return path.read_bytes() != target.read_bytes() and path.stat().st_mtime > target.stat().st_mtime


def _copy_timestamp(course: Course, called: str, assignment: Assignment, folder: Path) -> str:
    """Put the time of handing in where nbgrader reads it; returns a sentence if it is none, which nbgrader dies on."""
    source, target = course.received_directory / called / assignment.name / "timestamp.txt", folder / "timestamp.txt"
    if not source.is_file():
        return ""
    told = source.read_bytes()
    try:
        parse_utc(told.decode().strip())
    except (ValueError, OverflowError):
        target.unlink(missing_ok=True)
        return "timestamp.txt does not say when it was handed in; it counts as in time."
    if not target.is_file() or target.read_bytes() != told:
        write_atomically(target, told)
    return ""


def _make_room(target: Path) -> None:
    """A folder or link where the notebook belongs goes away; it is in ``received/`` by now."""
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.is_dir():
        shutil.rmtree(target)


@dataclass
class _Received:
    """The folder ``received/``, gone through."""

    course: Course
    warnings: list[str]
    nested: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.assignments = list(self.course.assignments.values())

    def everything(self) -> Iterator[Arrived]:
        """Every file, those in archives included; what belongs to no student is told in a warning."""
        top = self.course.received_directory

        def say(error: OSError) -> None:
            path = Path(str(error.filename)).relative_to(top.parent).as_posix()
            self.warnings.append(f"{path} cannot be opened ({error.strerror}); give the grader the right to read it.")

        for folder, inner, names in os.walk(top, onerror=say):
            inner.sort()
            for name in sorted([*names, *(d for d in inner if os.path.islink(os.path.join(folder, d)))]):
                yield from self._one(Path(folder) / name)
            inside = Path(folder).relative_to(top)
            if not inner and not names and len(inside.parts) > 1:
                self.warnings.append(f"{top.name}/{inside.as_posix()} is an empty folder.")

    def _one(self, path: Path) -> Iterator[Arrived]:
        inside = path.relative_to(self.course.received_directory).as_posix()
        called = f"{self.course.received_directory.name}/{inside}"
        if _IGNORED.search(inside) or path.name == "timestamp.txt":
            return
        try:
            status = path.lstat()
            is_plain = stat.S_ISREG(status.st_mode)
            packed = is_plain and is_archive(path.name, path)
        except OSError as error:
            self.warnings.append(f"{called} {_reason(error)}; it was left alone.")
            return
        if packed:
            self.nested = 0
            yield from self._in_archive(path, called, inside, status.st_mtime)
            return
        data = path.read_bytes
        if not is_plain:
            data = _failing("is a link, and links are not followed" if path.is_symlink() else "is not a plain file")
        elif path.suffix.lower() in OTHER_ARCHIVES:
            data = _failing("is an archive of a kind that cannot be opened here: unpack it, or ask for a zip file")
        yield from self._arrived(inside, called, data, status.st_mtime)

    def _arrived(
        self,
        inside: str,
        called: str,
        data: Callable[[], bytes],
        modified: float,
        owner: tuple[Whose, str | None] | None = None,
        remark: str = "",
    ) -> Iterator[Arrived]:
        named = owner or whose_and_what(inside, self.assignments)
        if named is None:
            self.warnings.append(f"{called}: no student's name was found in its name.")
        else:
            is_spare = _SPARE.search(inside) is not None
            yield Arrived(named[0], called, data, modified, named[1], remark, is_spare)

    def _in_archive(
        self,
        source: Path | bytes,
        called: str,
        inside: str,
        modified: float,
        owner: tuple[Whose, str | None] | None = None,
        depth: int = 1,
    ) -> Iterator[Arrived]:
        """What is in an archive: one student's, if it lies in a student's folder or is called so, else many's."""
        name = PurePosixPath(inside).name
        try:
            found = list(members(source))
        except BadArchive as error:
            yield from self._arrived(inside, called, _failing(str(error)), modified, owner)
            return
        outer = owner or self._owner(inside, [member.name for member in found])
        remark = f"It came out of the {'zip' if name.lower().endswith('.zip') else 'archive'} file {name}."
        for member in found:
            path = f"{called}/{member.name}"
            if _IGNORED.search(member.name) or PurePosixPath(member.name).name == "timestamp.txt":
                continue
            if member.problem and (outer is None or not _NOTEBOOK.search(PurePosixPath(member.name).name)):
                self.warnings.append(f"{called}: {member.name} was not taken out: it {member.problem}.")
                continue
            if _ARCHIVE.search(member.name) and not member.problem:
                yield from self._nested(member.data, path, member.name, member.modified, outer, depth)
                continue
            data = _failing(member.problem) if member.problem else member.data
            whose = outer or whose_and_what(member.name, self.assignments) or self._called_like(inside)
            yield from self._arrived(member.name, path, data, member.modified, whose, remark)

    def _nested(
        self,
        data: Callable[[], bytes],
        called: str,
        inside: str,
        modified: float,
        owner: tuple[Whose, str | None] | None,
        depth: int,
    ) -> Iterator[Arrived]:
        self.nested += 1
        problem = ""
        if depth >= MAX_DEPTH or self.nested > MAX_NESTED:
            problem = "lies too deep, or is one of too many archives in an archive"
        else:
            try:
                packed = data()
                if not is_archive(inside, packed):
                    problem = "is damaged and cannot be opened"
            except BadArchive as error:
                problem = str(error)
        if problem:
            yield from self._arrived(inside, called, _failing(problem), modified, owner)
        else:
            yield from self._in_archive(packed, called, inside, modified, owner, depth + 1)

    def _owner(self, inside: str, names: list[str]) -> tuple[Whose, str | None] | None:
        """The student whose archive it is; None if it holds many students' files."""
        named = whose_and_what(inside, self.assignments)
        parts = PurePosixPath(inside).parts
        of_assignment = len(parts) == 2 and named is not None and named[1] is not None
        if platform_name(parts[-1]) is not None:
            return named
        if len(parts) == 1 or of_assignment:
            one_notebook = sum(name.casefold().endswith(".ipynb") for name in names) == 1
            if not (of_assignment and one_notebook and not any(map(platform_name, names))):
                return None
        return named

    def _called_like(self, inside: str) -> tuple[Whose, str | None] | None:
        """Whose an archive is by its name, where the names in it tell nothing."""
        return whose_and_what(inside, self.assignments)


def _failing(problem: str) -> Callable[[], bytes]:
    """In the place of a file's bytes where they cannot be had."""

    def fail() -> bytes:
        raise BadArchive(problem)

    return fail


def recognize(name: str, data: Callable[[], bytes], assignments: Iterable[Assignment]) -> str | None:
    """The assignment that a notebook belongs to: by its file's name, else by what is in it; None if by neither."""
    assignments = list(assignments)
    return _named_by(name, assignments) or _recognize_by_content(data(), assignments)


def _named_by(name: str, assignments: list[Assignment]) -> str | None:
    """The assignment whose name, the longest if several, is in a file's name."""
    names = [(len(n), n, a.name) for a in assignments for n in (a.name, a.notebook_name)]
    there = [
        (length, found)
        for length, n, found in names
        if re.search(rf"(?<![^\W\d_]){re.escape(n)}(?![^\W\d_])", name, re.IGNORECASE)
    ]
    return max(there)[1] if there else None


def _recognize_by_content(data: bytes, assignments: list[Assignment]) -> str | None:
    text = data.decode("utf-8", "replace").replace("\0", "")
    counts = {a.name: sum(mark in text for mark in _marks(a)) for a in assignments}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def _marks(assignment: Assignment) -> set[str]:
    """What shows in a file that it is of an assignment: names of cells, and of what the answers define."""
    marks = set()
    for cell in assignment.release.cells:
        about = nbgrader_metadata(cell)
        if about:
            marks.add(f'"{about["grade_id"]}"')
        if about.get("solution") and cell.cell_type == "code":
            marks |= {f"{kind} {name}(" for name in defines(cell.source) for kind in ("def", "class")}
    return marks


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_unreadable(notebook: nbformat.NotebookNode) -> str:
    """Why a collected notebook stands for a file that could not be read; empty if it does not."""
    reason = notebook.metadata.get(UNREADABLE, "")
    return reason if isinstance(reason, str) else ""
