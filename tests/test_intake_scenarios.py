"""Every kind of damage in ``tests/intake/``: what arrives, and what must come out of it.

A scenario is a folder with the submission as it lies in ``received/`` and an ``expected.json``: for each submission that
must come out a part of each sentence that must be said, and the sources of its answer cells; ``kept``, texts that
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
from pathlib import Path
from typing import Any

import nbformat
import pytest

from autograder.course import Course, nbgrader_metadata, read_notebook
from autograder.grading.intake import Submission, collect

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
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                with archive.open(kind["name"], "w", force_zip64=True) as file:
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
    for made, given in zip(there, wanted, strict=True):
        name = given.metadata.nbgrader["grade_id"]
        if given.metadata.nbgrader["locked"]:
            assert made.source == given.source, name
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
