"""Every kind of damage in ``tests/intake/``: what arrives, and what must come out of it.

A scenario is a folder with the submission as it lies in ``received/`` and an ``expected.json``: for each submission
that must come out a part of each sentence that must be said, and the sources of its answer cells; ``kept``, texts that
must be in the mended notebook; ``warnings``; ``make``, what is too large or too odd to be committed. The scenarios
are about an assignment of their own, in ``tests/intake/course``.
"""

import errno
import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder.course import Course, nbgrader_metadata, read_notebook
from autograder.grading.intake import Submission, collect
from autograder.grading.mend import mend

HERE = Path(__file__).parent / "intake"
SCENARIOS = sorted(path.name for path in HERE.iterdir() if (path / "expected.json").is_file())
ASSIGNMENT = "01-counting"


def answered() -> bytes:
    """A submission in which everything is answered and nothing is damaged."""
    return (HERE / "undamaged" / "received" / "ann" / ASSIGNMENT / "counting.ipynb").read_bytes()


def make(kind: dict[str, Any], received: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be committed: too large, or something that Git does not keep."""
    path = received / kind["path"]
    path.parent.mkdir(parents=True, exist_ok=True)
    match kind["do"]:
        case "copy":
            path.write_bytes(answered())
        case "folder":
            path.mkdir()
        case "gzip":
            path.write_bytes(gzip.compress(answered()))
        case "tar":
            with tarfile.open(path, "w:gz") as archive:
                member = tarfile.TarInfo(kind["name"])
                member.size = len(answered())
                archive.addfile(member, io.BytesIO(answered()))
        case "outputs":
            content = json.loads(answered())
            text = "x" * (kind["megabytes"] << 20)
            content["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
            path.write_text(json.dumps(content))
        case "bomb":
            with (
                zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
                archive.open(kind["name"], "w", force_zip64=True) as file,
            ):
                for _ in range(kind["megabytes"]):
                    file.write(bytes(1 << 20))
        case "link":
            path.symlink_to(kind["to"])
        case "pipe":
            os.mkfifo(path)
        case "forbid":
            path.write_bytes(answered())
            forbid(path, monkeypatch)
        case "submitted":
            direct = received.parent / "submitted" / kind["path"]
            direct.parent.mkdir(parents=True)
            direct.write_text(kind["text"])
        case other:
            raise AssertionError(f"there is nothing to make that is called {other}")


def forbid(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to read a file, also to root, whom permissions do not stop."""
    real = Path.open

    def refuse(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self.name == path.name and "received" in self.parts:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return real(self, *args, **kwargs)

    path.chmod(0)
    monkeypatch.setattr(Path, "open", refuse)


def contents(folder: Path) -> dict[str, bytes]:
    """All plain files under a folder."""
    plain = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and os.access(p, os.R_OK))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in plain if p.stat().st_mode & 0o400}


def open_scenario(name: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Course, dict[str, Any]]:
    """A course into which a scenario's submission has come."""
    shutil.copytree(HERE / "course", root)
    expected: dict[str, Any] = json.loads((HERE / name / "expected.json").read_text())
    received = root / "received"
    if (HERE / name / "received").is_dir():
        shutil.copytree(HERE / name / "received", received)
    received.mkdir(exist_ok=True)
    for path in received.rglob("*"):
        os.utime(path, (1_790_000_000, 1_790_000_000))
    for kind in expected.get("make", []):
        make(kind, received, monkeypatch)
    return Course.at(root), expected


def demand_cells(submission: Submission, course: Course, cells: dict[str, str]) -> None:
    """All released cells must be there as they were released, and each answer where it belongs."""
    notebook = read_notebook(submission.path)
    nbformat.validate(notebook)
    release = course.assignment(submission.assignment).release
    wanted = [c for c in release.cells if nbgrader_metadata(c)]
    there = [c for c in notebook.cells if nbgrader_metadata(c)]
    assert [c.metadata.nbgrader for c in there] == [c.metadata.nbgrader for c in wanted]
    assert [(c.id, c.cell_type) for c in there] == [(c.id, c.cell_type) for c in wanted]
    for made, released in zip(there, wanted, strict=True):
        name = released.metadata.nbgrader["grade_id"]
        if released.metadata.nbgrader["locked"]:
            assert made.source == released.source, name
        if name in cells:
            assert made.source.strip() == cells[name].strip(), name


@pytest.mark.parametrize("name", SCENARIOS)
def test_damage_is_mended_and_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    course, expected = open_scenario(name, tmp_path / "course", monkeypatch)
    before = contents(course.received_directory)
    found = collect(course, list(course.assignments.values()))
    assert before.items() <= contents(course.received_directory).items(), "what arrived was changed"

    by_name = {f"{s.student}/{s.assignment}": s for s in found.submissions}
    if "students" in expected:
        assert len(by_name) == expected["students"]
    else:
        assert set(by_name) == set(expected["submissions"]), found.warnings
    for told in expected.get("warnings", []):
        assert any(told in warning for warning in found.warnings), found.warnings
    assert len(found.warnings) == len(expected.get("warnings", [])), found.warnings
    for which, wanted in expected["submissions"].items():
        submission = by_name[which]
        said = "\n".join(submission.repairs)
        for told in wanted["repairs"]:
            assert told in said, said
        assert bool(submission.problem) == ("problem" in wanted), (submission.problem, said)
        assert wanted.get("problem", "") in submission.problem
        demand_cells(submission, course, wanted["cells"])
        for text in expected.get("kept", []):
            assert text in "\n".join(c.source for c in read_notebook(submission.path).cells)
        if expected.get("silent"):
            assert submission.repairs == ()
    again = collect(course, list(course.assignments.values()))
    assert again == found, "a second collect says something else"


def test_all_scenarios_in_one_class_come_out_one_by_one(tmp_path: Path) -> None:
    course = Course.at(shutil.copytree(HERE / "course", tmp_path / "course"))
    standard = [n for n in SCENARIOS if (HERE / n / "received" / "ann" / ASSIGNMENT).is_dir()]
    for name in standard:
        shutil.copytree(HERE / name / "received" / "ann" / ASSIGNMENT, course.received_directory / name / ASSIGNMENT)
    found = collect(course, [course.assignment(ASSIGNMENT)])
    assert {s.student for s in found.submissions} == set(standard)
    assert len(standard) >= 60


def test_a_stub_that_names_nothing_is_found_by_what_the_solution_defines(tmp_path: Path) -> None:
    course = Course.at(shutil.copytree(HERE / "course", tmp_path / "course"))
    assignment = course.assignment(ASSIGNMENT)
    for cell in assignment.release.cells:
        if nbgrader_metadata(cell).get("solution") and cell.cell_type == "code":
            cell.source = "# YOUR CODE HERE\nraise NotImplementedError()"
    content = json.loads(answered())
    for cell in content["cells"]:
        cell["metadata"] = {}
        cell.pop("id", None)
    mended = mend(json.dumps(content).encode(), assignment)
    there = {nbgrader_metadata(c)["grade_id"]: c.source for c in mended.notebook.cells if nbgrader_metadata(c)}
    for name in ("count_words", "vocabulary", "top_words"):
        assert "return" in there[f"{name}_answer"], mended.repairs


Cells = list[dict[str, Any]]
Pick = Callable[[int], int]


def lose_marks(cells: Cells, pick: Pick) -> None:
    cell = cells[pick(len(cells))]
    cell["metadata"] = {}
    if pick(2):
        cell.pop("id", None)


def lose_all_marks(cells: Cells, pick: Pick) -> None:
    for cell in cells:
        cell["metadata"] = {}
        cell.pop("id", None)


def copy(cells: Cells, pick: Pick) -> None:
    i = pick(len(cells))
    cells.insert(pick(len(cells) + 1), deepcopy(cells[i]))


def move(cells: Cells, pick: Pick) -> None:
    cell = cells.pop(pick(len(cells)))
    cells.insert(pick(len(cells) + 1), cell)


def merge(cells: Cells, pick: Pick) -> None:
    i = pick(len(cells) - 1)
    cells[i]["source"] += "\n\n" + cells.pop(i + 1)["source"]


def split(cells: Cells, pick: Pick) -> None:
    i = pick(len(cells))
    lines = cells[i]["source"].split("\n")
    at = pick(len(lines) + 1)
    cells.insert(i + 1, {**deepcopy(cells[i]), "source": "\n".join(lines[at:])})
    cells[i]["source"] = "\n".join(lines[:at])


def change_kind(cells: Cells, pick: Pick) -> None:
    cells[pick(len(cells))]["cell_type"] = ("code", "markdown", "raw")[pick(3)]


def swap_marks(cells: Cells, pick: Pick) -> None:
    one, other = cells[pick(len(cells))], cells[pick(len(cells))]
    one["metadata"], other["metadata"] = other["metadata"], one["metadata"]


def delete_given(cells: Cells, pick: Pick) -> None:
    i = pick(len(cells))
    if not any(line in cells[i]["source"] for line in ANSWER_LINES) and len(cells) > 2:
        del cells[i]


def raise_points(cells: Cells, pick: Pick) -> None:
    about = cells[pick(len(cells))]["metadata"]
    about["nbgrader"] = {**about.get("nbgrader", {}), "points": 1000, "grade": True}


def add_to(cells: Cells, pick: Pick) -> None:
    cells[pick(len(cells))]["source"] += "\n\nmine = 1"


DAMAGES = (
    lose_marks,
    lose_all_marks,
    copy,
    move,
    merge,
    split,
    change_kind,
    swap_marks,
    delete_given,
    raise_points,
    add_to,
)
COURSE = Course.at(HERE / "course")
ANSWER_LINES = {
    line.strip()
    for cell in COURSE.assignment(ASSIGNMENT).solution.cells
    for line in cell.source.splitlines()
    if nbgrader_metadata(cell).get("solution") and line.strip()
}


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_happened_nothing_of_the_student_is_lost(data: st.DataObject) -> None:
    """Damages in any number and order: no exception, each line of an answer kept, the released cells as released."""
    content = json.loads(answered())
    for damage in data.draw(st.lists(st.sampled_from(DAMAGES), max_size=7), label="damages"):
        damage(content["cells"], lambda n: data.draw(st.integers(0, n - 1)))
    there = {line.strip() for cell in content["cells"] for line in cell["source"].splitlines()}
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
    mended = mend(json.dumps(content).encode(encoding), COURSE.assignment(ASSIGNMENT))

    kept = "\n".join(cell.source for cell in mended.notebook.cells)
    assert [line for line in ANSWER_LINES & there if line not in kept] == [], mended.repairs
    nbformat.validate(nbformat.reads(nbformat.writes(mended.notebook), as_version=4))
    release = [c for c in COURSE.assignment(ASSIGNMENT).release.cells if nbgrader_metadata(c)]
    ours = [c for c in mended.notebook.cells if nbgrader_metadata(c)]
    assert [c.metadata.nbgrader for c in ours] == [c.metadata.nbgrader for c in release]
    locked = [i for i, c in enumerate(release) if nbgrader_metadata(c)["locked"]]
    assert [ours[i].source for i in locked] == [release[i].source for i in locked]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(data=st.data())
def test_no_broken_file_stops_the_intake(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Bytes cut out, put in or changed anywhere: a submission comes out, mended or named, and the original is kept."""
    damaged = bytearray(answered())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        end = min(len(damaged), start + data.draw(st.sampled_from([0, 1, 2, 100, 5_000])))
        damaged[start:end] = data.draw(st.binary(max_size=8) | st.sampled_from([b"}", b"]", b'"', b",", b"\\", b"{"]))
    course = Course.at(shutil.copytree(HERE / "course", tmp_path_factory.mktemp("broken") / "course"))
    path = course.received_directory / "ann" / ASSIGNMENT / "counting.ipynb"
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    (submission,) = collect(course, [course.assignment(ASSIGNMENT)]).submissions
    assert path.read_bytes() == bytes(damaged)
    demand_cells(submission, course, {})
