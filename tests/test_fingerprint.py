"""What a verdict depends on: when it is made anew, and when it is not."""

import shutil
from copy import deepcopy
from pathlib import Path

import pytest
from conftest import ASSIGNMENT

from autograder.course import Assignment, Course
from autograder.grading import fingerprint
from autograder.grading.fingerprint import grader_hash, grading_files
from autograder.grading.store import verdict_key


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package with a second assignment's tasks and data, which the fingerprint is taken of."""
    folder = tmp_path / "autograder"
    shutil.copytree(fingerprint.PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tasks" / "other.py").write_text("from autograder.reference import other\n")
    (folder / "reference" / "other.py").write_text("from autograder.reference.recipes import training\n")
    (folder / "reference" / "recipes" / "training.py").write_text("")
    (folder / "reference" / "recipes" / "training.json").write_text("{}")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "corpus.json").write_text("{}")
    monkeypatch.setattr(fingerprint, "PACKAGE", folder)
    return folder


def hashes(tmp_path: Path) -> dict[str, str]:
    """The fingerprints of two assignments as a new process would take them."""
    found = {}
    for name in ("attention", "other"):
        solution = tmp_path / f"{name}.ipynb"
        if not solution.exists():
            solution.write_text("{}")
        grader_hash.cache_clear()
        found[name] = grader_hash(Assignment(name, solution, solution))
    grader_hash.cache_clear()
    return found


@pytest.mark.parametrize(
    ("changed", "regraded"),
    [
        ("tasks/attention.py", {"attention"}),
        ("tasks/other.py", {"other"}),
        ("reference/attention.py", {"attention"}),
        ("reference/other.py", {"other"}),
        ("reference/recipes/training.json", {"other"}),
        ("checking/judge.py", {"attention", "other"}),
        ("checking/compare.py", {"attention", "other"}),
        ("checking/client/wire.py", {"attention", "other"}),
        ("checking/client/fixtures.py", {"attention", "other"}),
        ("data/corpus.json", {"attention", "other"}),
        ("grading/run.py", {"attention", "other"}),
        ("grading/sandbox.py", {"attention", "other"}),
        ("grading/carry.py", {"attention", "other"}),
        ("grading/grade.py", set()),
        ("grading/intake.py", set()),
        ("cli.py", set()),
    ],
)
def test_what_is_mended_regrades_what_it_touches_and_nothing_else(
    package: Path, tmp_path: Path, changed: str, regraded: set[str]
) -> None:
    before = hashes(tmp_path)
    assert hashes(tmp_path) == before
    path = package / changed
    path.write_bytes(path.read_bytes() + b"\n# mended\n")
    after = hashes(tmp_path)
    assert {name for name in before if before[name] != after[name]} == regraded


def test_a_mended_solution_and_another_torch_regrade_too(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashes(tmp_path)
    (tmp_path / "other.ipynb").write_text('{"cells": []}')
    after = hashes(tmp_path)
    assert (after["attention"], after["other"] == before["other"]) == (before["attention"], False)
    monkeypatch.setattr(fingerprint.metadata, "version", lambda name: "9.9")
    assert hashes(tmp_path)["attention"] != after["attention"]


def test_the_fingerprint_names_files_that_are_there() -> None:
    named = {str(p.relative_to(fingerprint.PACKAGE)) for p in grading_files("autograder.tasks.attention")}
    assert {"__init__.py", "course.py", "tasks/attention.py", "checking/verdict.py"} <= named
    assert not any("__pycache__" in name for name in named)


def test_a_verdict_made_without_a_sandbox_is_kept_under_a_key_of_its_own(
    released_course: Course, monkeypatch: pytest.MonkeyPatch
) -> None:
    assignment = released_course.assignment(ASSIGNMENT)
    keys = []
    for unsafe in ("0", "1"):
        monkeypatch.setenv("AUTOGRADER_UNSAFE", unsafe)
        keys.append(verdict_key(assignment.release, assignment, b"seed"))
    assert keys[0] != keys[1]


def test_the_key_hangs_on_every_cell_and_on_the_seed(released_course: Course) -> None:
    assignment = released_course.assignment(ASSIGNMENT)
    notebook = assignment.release
    key = verdict_key(notebook, assignment, b"seed")
    assert verdict_key(deepcopy(notebook), assignment, b"seed") == key
    assert verdict_key(notebook, assignment, b"another") != key
    for index in range(len(notebook.cells)):
        changed = deepcopy(notebook)
        changed.cells[index].source += " "
        assert verdict_key(changed, assignment, b"seed") != key
