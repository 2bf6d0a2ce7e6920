"""What arrives: found wherever people put it, kept byte for byte in ``received/``, mended into ``submitted/``.

``received/`` may hold nbgrader's layout (STUDENT/ASSIGNMENT/notebook.ipynb), folders named after assignments with one
notebook for each student, notebooks named after students, and zip files of any of these, such as a learning
management system gives. What somebody put straight into ``submitted/`` is moved through here as well.
"""

import hashlib
import re
import shutil
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from nbgrader.utils import parse_utc

from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading.files import read_json, write_atomically, write_json
from autograder.grading.mend import UNREADABLE, mend, unanswered
from autograder.grading.reading import MAX_BYTES, Unreadable

MAX_ZIP_FILES = 20_000
MAX_ZIP_BYTES = 4 << 30
IGNORED = re.compile(r"(^|/)(\.|__MACOSX|Thumbs\.db)|\.ipynb_checkpoints")


@dataclass(frozen=True)
class Arrived:
    """One file that a student handed in.

    Attributes:
        path: where it lies, as a report calls it, from the course's folder on.
        modified: when it was last changed, seconds since 1970.
        remark: what was noted on the way, such as that it came out of a zip file.
    """

    student: str
    path: str
    data: Callable[[], bytes]
    modified: float
    assignment: str | None = None
    remark: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name


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
    names = [a.name for a in course.assignments.values()]
    for arrived in _all_arrived(course.received_directory, names, warnings):
        if student is not None and arrived.student != student:
            continue
        assignment = arrived.assignment or recognize(arrived.name, arrived.data, assignments)
        if assignment is None:
            warnings.append(f"{arrived.path} is of no assignment that is known; it was left in received/.")
        elif assignment in {a.name for a in assignments}:
            candidates[arrived.student, assignment].append(arrived)
    submissions = [
        _collect_one(course, course.assignment(assignment), who, files, on_file)
        for (who, assignment), files in sorted(candidates.items())
    ]
    return Collected(submissions, warnings)


def record_path(course: Course, student: str, assignment: str) -> Path:
    """Where the report of what was mended is kept."""
    return course.verdicts_directory / student / f"{assignment}.intake.json"


def _collect_one(
    course: Course, assignment: Assignment, student: str, files: list[Arrived], on_file: Callable[[str], None]
) -> Submission:
    chosen = _choose(files, assignment)
    on_file(chosen.path)
    data = chosen.data()
    target = course.submitted_directory / student / assignment.name / assignment.release_path.name
    kept = read_json(record_path(course, student, assignment.name))
    key = _hash(data) + _hash(nbformat.writes(assignment.release).encode())
    is_kept = isinstance(kept, dict) and kept.get("key") == key and target.is_file()
    wrong_time = _copy_timestamp(course, student, assignment, target.parent)
    if is_kept and kept.get("mended") == _hash(target.read_bytes()):
        return Submission(student, assignment.name, target, tuple(kept["repairs"]), kept["problem"])
    repairs, problem = [chosen.remark] if chosen.remark else [], ""
    repairs += [wrong_time] if wrong_time else []
    if chosen.name != assignment.release_path.name:
        repairs.append(f"The file was called {chosen.name}; it was renamed to {assignment.release_path.name}.")
    for other in files:
        if other is not chosen and other.name.endswith(".ipynb"):
            repairs.append(f"{other.name} was handed in as well; it was kept and not graded.")
    try:
        mended = mend(data, assignment)
        notebook, repairs = mended.notebook, repairs + mended.repairs
    except Unreadable as error:
        problem = f"{chosen.name} cannot be read: {error}. It was kept and counts as unanswered."
        notebook = unanswered(assignment, problem)
    written = (nbformat.writes(notebook) + "\n").encode("utf-8", "replace")
    _make_room(target)
    write_atomically(target, written)
    record: dict[str, Any] = {"key": key, "mended": _hash(written), "repairs": repairs, "problem": problem}
    write_json(record_path(course, student, assignment.name), {**record, "received": chosen.path})
    return Submission(student, assignment.name, target, tuple(repairs), problem)


def _keep_direct_submissions(course: Course, assignments: list[Assignment]) -> None:
    """Move what somebody put straight into ``submitted/`` to ``received/``; it is collected from there."""
    for assignment in assignments:
        for folder in sorted(course.submitted_directory.glob(f"*/{assignment.name}")):
            student = folder.parent.name
            kept = read_json(record_path(course, student, assignment.name)) or {}
            for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()):
                if path.name == assignment.release_path.name and kept.get("mended") == _hash(path.read_bytes()):
                    continue
                target = course.received_directory / student / assignment.name / path.relative_to(folder)
                if path.name == "timestamp.txt" and not _is_newer(path, target):
                    continue
                if target.exists() and target.read_bytes() != path.read_bytes():
                    replaced = f"{target.name}.{int(target.stat().st_mtime)}.old"
                    target.rename(target.with_name(replaced))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)
                if path.name != "timestamp.txt":
                    path.unlink()


def _is_newer(path: Path, target: Path) -> bool:
    """Whether a file says something else than another, and was written later."""
    if not target.exists():
        return True
    return path.read_bytes() != target.read_bytes() and path.stat().st_mtime > target.stat().st_mtime


def _copy_timestamp(course: Course, student: str, assignment: Assignment, folder: Path) -> str:
    """Put the time of handing in where nbgrader reads it; returns a sentence if it is none, which nbgrader dies on."""
    source, target = course.received_directory / student / assignment.name / "timestamp.txt", folder / "timestamp.txt"
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


def _all_arrived(received: Path, assignments: list[str], warnings: list[str]) -> Iterator[Arrived]:
    """Every notebook under ``received/``, the ones in zip files included."""
    if not received.is_dir():
        return
    for path in sorted(p for p in received.rglob("*") if p.is_file() and not p.is_symlink()):
        inside = path.relative_to(received).as_posix()
        called = f"{received.name}/{inside}"
        if IGNORED.search(inside) or path.suffix == ".old" or path.name == "timestamp.txt":
            continue
        if zipfile.is_zipfile(path):
            yield from _in_zip(path, called, inside, assignments, warnings)
        else:
            named = _who_and_what(inside, assignments)
            if named is None:
                if path.suffix == ".ipynb":
                    warnings.append(f"{called}: no student's name was found in its name.")
                continue
            student, assignment = named
            if path.suffix == ".ipynb" or assignment is not None:
                yield Arrived(student, called, path.read_bytes, path.stat().st_mtime, assignment)


def _in_zip(path: Path, called: str, inside: str, assignments: list[str], warnings: list[str]) -> Iterator[Arrived]:
    """The notebooks in a zip file: one student's, if it lies in a student's folder, else many students'."""
    owner = _who_and_what(inside, assignments) if "/" in inside else None
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        warnings.append(f"{called} cannot be opened as a zip file ({error}); it was left alone.")
        return
    if len(members) > MAX_ZIP_FILES or sum(m.file_size for m in members) > MAX_ZIP_BYTES:
        warnings.append(f"{called} is larger than can be taken in ({len(members)} files); it was left alone.")
        return
    for member in members:
        name = member.filename.replace("\\", "/")
        is_link = (member.external_attr >> 16) & 0o170000 == 0o120000
        is_outside = name.startswith("/") or ".." in PurePosixPath(name).parts
        if member.is_dir() or not name.endswith(".ipynb") or (IGNORED.search(name) and not is_outside):
            continue
        if member.flag_bits & 1:
            warnings.append(f"{called}: {name} was not taken out: it is locked with a password.")
            continue
        if is_link or is_outside or member.file_size > MAX_BYTES:
            warnings.append(f"{called}: {name} was not taken out (a link, too large, or outside the archive).")
            continue
        named = owner or _who_and_what(name, assignments)
        if named is None:
            warnings.append(f"{called}: no student's name was found in {name}.")
            continue

        def read(member: zipfile.ZipInfo = member) -> bytes:
            try:
                with zipfile.ZipFile(path) as archive:
                    return archive.read(member)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError):
                warnings.append(f"{called}: {member.filename} is damaged and cannot be taken out.")
                return b""

        remark = f"It came out of the zip file {path.name}."
        yield Arrived(named[0], f"{called}/{name}", read, path.stat().st_mtime, named[1], remark)


def _who_and_what(inside: str, assignments: list[str]) -> tuple[str, str | None] | None:
    """The student and, where the path says it, the assignment of a file, from its path under ``received/``."""
    parts = PurePosixPath(inside).parts
    for i, part in enumerate(parts[:-1]):
        if part in assignments:
            student = (
                parts[i - 1]
                if i
                else _student_of(PurePosixPath(parts[i + 1]).stem if i + 2 == len(parts) else parts[i + 1])
            )
            return (student, part) if _is_name(student) else None
    student = _student_of(parts[0] if len(parts) > 1 else PurePosixPath(parts[0]).stem)
    return (student, None) if _is_name(student) else None


def _student_of(name: str) -> str:
    """A student's name from a file's or folder's: what stands before the first underscore or space."""
    return re.split(r"[_ ]", name.strip(), maxsplit=1)[0]


def _is_name(student: str) -> bool:
    return bool(re.fullmatch(r"[\w.@+-]{1,100}", student)) and not student.startswith(".")


def recognize(name: str, data: Callable[[], bytes], assignments: Iterable[Assignment]) -> str | None:
    """The assignment that a notebook belongs to: by its file's name, else by the ids in it; None if by neither."""
    assignments = list(assignments)
    for assignment in assignments:
        if assignment.notebook_name in name or assignment.name in name:
            return assignment.name
    text = data().decode("utf-8", "replace")
    counts = {
        a.name: sum(f'"{nbgrader_metadata(c)["grade_id"]}"' in text for c in a.release.cells if nbgrader_metadata(c))
        for a in assignments
    }
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


def _choose(files: list[Arrived], assignment: Assignment) -> Arrived:
    """Of several files of one submission, the notebook: by its name, then a notebook at all, then the newest."""
    return max(
        files,
        key=lambda f: (
            f.name == assignment.release_path.name,
            f.name.endswith(".ipynb"),
            assignment.notebook_name in f.name,
            f.modified,
        ),
    )


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_unreadable(notebook: nbformat.NotebookNode) -> str:
    """Why a collected notebook stands for a file that could not be read; empty if it does not."""
    reason = notebook.metadata.get(UNREADABLE, "")
    return reason if isinstance(reason, str) else ""
