"""nbgrader with our verdicts in it: the same points by every road, and none that was not earned."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ASSIGNMENT, ROOT, hand_in
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook
from nbgrader.nbgraderformat import ValidationError
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.course import Course
from autograder.grading.configuration import prepare_environment
from autograder.grading.demo import make_course, sample_class
from autograder.grading.execute import VERDICT
from autograder.grading.grade import grade
from autograder.grading.gradebook import demand, one_engine, open_api, open_gradebook, quiet_logging
from autograder.grading.metadata import CheckMetadata
from autograder.grading.release import release
from autograder.grading.store import all_ours, verdict_path

TRICKS = {
    "transformer": (
        "get_ipython().input_transformers_cleanup.append(\n"
        "    lambda lines: ['1\\n'] if any('check(' in line for line in lines) else lines)"
    ),
    "allclose": "import numpy as np, torch\nnp.allclose = torch.allclose = torch.equal = lambda *a, **k: True",
    "equal": (
        "class Always:\n"
        "    def __eq__(self, other): return True\n"
        "    def __getattr__(self, name): return self\n"
        "    def __call__(self, *a, **k): return self\n"
        "scaled_dot_product_attention = padding_mask = causal_mask = split_heads = merge_heads = Always()\n"
        "AdditiveAttention = MultiHeadAttention = Always()"
    ),
    "nan": "import autograder\nautograder.check = check = lambda *a, **k: float('nan')",
}
"""What takes points from stock nbgrader with nothing answered, by the name of the student who tries it."""

SCRIPTS = (
    "from IPython.display import HTML, Javascript, display\n"
    "display(HTML('<script>steal()</script>'), Javascript('steal()'))\n"
    "display({'image/svg+xml': '<svg onload=\"steal()\"></svg>'}, raw=True)"
)
MARKDOWN = "<script>steal()</script><img src='x' onerror='steal()'>[here](javascript:steal())"


def with_cell(notebook: NotebookNode, cell: NotebookNode) -> NotebookNode:
    changed = deepcopy(notebook)
    checks = (i for i, c in enumerate(changed.cells) if c.metadata.get("nbgrader", {}).get("points"))
    changed.cells.insert(next(checks), cell)
    return changed


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Course, dict[str, dict[str, Any]]]:
    """A small class, graded: one who answered all, one with a mistake, four who try tricks, one who shows scripts."""
    course = make_course(Course.at(ROOT), tmp_path_factory.mktemp("tricks") / "course")
    assignment = course.assignment(ASSIGNMENT)
    release(course, assignment)
    students = sample_class(assignment)
    files = {student.name: next(iter(student.files.values())) for student in students}
    mistaken = next(student.name for student in students if student.kind == "some mistakes")
    solved = nbformat.reads(files["ada"].decode(), as_version=4)
    hand_in(course, "mistaken", files[mistaken])
    hand_in(course, "stderr", with_cell(solved, new_code_cell("import sys; print('a warning', file=sys.stderr)")))
    for name, code in TRICKS.items():
        hand_in(course, name, with_cell(assignment.release, new_code_cell(code)))
    shown = with_cell(with_cell(assignment.release, new_code_cell(SCRIPTS)), new_markdown_cell(MARKDOWN))
    hand_in(course, "scripts", shown)
    reports = grade(course, [assignment]).reports
    return course, {report["student"]: report for report in reports}


@pytest.fixture
def copied(graded: tuple[Course, Any], tmp_path: Path) -> Course:
    """The graded course once more, for one test alone."""
    return Course.at(shutil.copytree(graded[0].root, tmp_path / "graded"))


@pytest.fixture
def gradebook(copied: Course) -> Iterator[Gradebook]:
    with quiet_logging(), open_gradebook(copied) as opened:
        yield opened


def autograde(course: Course, student: str, preprocessors: list[Any] | None = None) -> None:
    """Autograde by nbgrader's API, as the formgrader's button does."""
    with quiet_logging():
        api = open_api(course)
        if preprocessors is not None:
            api.config.Autograde.autograde_preprocessors = preprocessors
        demand(api.autograde(ASSIGNMENT, student, force=True), "autograde")


def grades_of(gradebook: Gradebook, student: str) -> dict[str, Any]:
    gradebook.db.expire_all()
    return {g.name: g for g in gradebook.find_submission_notebook("attention", ASSIGNMENT, student).grades}


def page_of(course: Course, student: str) -> str:
    return (course.feedback_directory / student / ASSIGNMENT / "attention.html").read_text()


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_gains_nothing(graded: tuple[Course, dict[str, dict[str, Any]]], trick: str) -> None:
    course, reports = graded
    assert reports[trick]["score"] == 0
    with open_gradebook(course) as gradebook:
        assert gradebook.find_submission(ASSIGNMENT, trick).score == 0


def test_a_line_on_stderr_costs_nothing(graded: tuple[Course, dict[str, dict[str, Any]]]) -> None:
    report = graded[1]["stderr"]
    assert report["score"] == report["max_score"] == 90


def test_the_command_line_of_nbgrader_gives_the_same_points(copied: Course, gradebook: Gradebook) -> None:
    before = {name: g.auto_score for name, g in grades_of(gradebook, "mistaken").items()}
    for entry in grades_of(gradebook, "mistaken").values():
        entry.auto_score = 0.5
    gradebook.db.commit()
    verdict_path(copied, "mistaken", ASSIGNMENT).unlink()
    command = [sys.executable, "-m", "nbgrader", "autograde", ASSIGNMENT, "--student", "mistaken", "--force"]
    done = subprocess.run(command, cwd=copied.root, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: g.auto_score for name, g in grades_of(gradebook, "mistaken").items()} == before
    assert verdict_path(copied, "mistaken", ASSIGNMENT).exists()


def test_nbgrader_takes_the_verdict_that_is_kept(copied: Course) -> None:
    path = verdict_path(copied, "mistaken", ASSIGNMENT)
    before = path.read_bytes()
    autograde(copied, "mistaken")
    assert path.read_bytes() == before


def test_without_a_verdict_there_are_no_points_and_a_person_is_called(copied: Course, gradebook: Gradebook) -> None:
    autograde(copied, "stderr", ["autograder.grading.save.SaveVerdicts"])
    checked = [g for name, g in grades_of(gradebook, "stderr").items() if name != "permutation_why"]
    assert {(g.auto_score, g.needs_manual_grade) for g in checked} == {(0.0, True)}


class OurFault(NbGraderPreprocessor):
    """Puts a verdict in place that says that we failed."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        resources[VERDICT] = all_ours(Course.at(Path.cwd()).assignment(ASSIGNMENT), "We failed.")
        return nb, resources


def test_our_failure_is_never_a_zero(copied: Course, gradebook: Gradebook) -> None:
    autograde(copied, "stderr", [OurFault, "autograder.grading.save.SaveVerdicts"])
    checked = [g for name, g in grades_of(gradebook, "stderr").items() if name != "permutation_why"]
    assert {(g.auto_score, g.needs_manual_grade) for g in checked} == {(None, True)}


def test_a_manual_grade_and_a_comment_outlive_another_autograde(copied: Course, gradebook: Gradebook) -> None:
    entry = grades_of(gradebook, "stderr")["permutation_why"]
    assert entry.needs_manual_grade
    entry.manual_score = 7
    comment = gradebook.find_comment("permutation_why", "attention", ASSIGNMENT, "stderr")
    comment.manual_comment = "Well said."
    gradebook.db.commit()
    autograde(copied, "stderr")
    assert grades_of(gradebook, "stderr")["permutation_why"].score == 7
    assert gradebook.find_comment("permutation_why", "attention", ASSIGNMENT, "stderr").comment == "Well said."


def test_a_late_submission_pays_its_penalty(copied: Course, gradebook: Gradebook) -> None:
    gradebook.update_or_create_assignment(ASSIGNMENT, duedate=datetime(2026, 1, 1))
    config = copied.root / "nbgrader_config.py"
    config.write_text(config.read_text() + 'c.LateSubmissionPlugin.penalty_method = "zero"\n')
    stamp = copied.submitted_directory / "stderr" / ASSIGNMENT / "timestamp.txt"
    stamp.write_text("2026-01-02 00:00:00 UTC")
    autograde(Course.at(copied.root), "stderr")
    gradebook.db.expire_all()
    notebook = gradebook.find_submission_notebook("attention", ASSIGNMENT, "stderr")
    assert notebook.late_submission_penalty == notebook.score == 90


class Active(HTMLParser):
    """Collects what a page would run or load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.loads: list[str] = []
        self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")
            if name in ("src", "href") and tag != "a" and re.match(r"\s*(https?:)?//", value or ""):
                self.loads.append(f"{tag} {value}")

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script and "steal" in data:
            self.found.append(data)


def test_a_feedback_page_runs_nothing_of_a_students_and_loads_nothing(graded: tuple[Course, Any]) -> None:
    page = Active(page_of(graded[0], "scripts"))
    assert [f for f in page.found if "steal" in f] == []
    assert page.loads == []


def test_a_feedback_page_says_what_was_wrong(graded: tuple[Course, dict[str, dict[str, Any]]]) -> None:
    course, reports = graded
    page = re.sub(r"\W+", " ", re.sub(r"<[^>]+>", "", page_of(course, "mistaken")))
    wrong = [t for t in reports["mistaken"]["tasks"].values() if t["status"] in ("failed", "partial")]
    assert wrong
    for task in wrong:
        first = re.split(r"[`:*]", task["message"].splitlines()[0])[0]
        assert re.sub(r"\W+", " ", first).strip() in page


def test_a_feedback_page_is_the_one_that_nbconvert_makes_only_sooner(copied: Course) -> None:
    pages = {}
    for exporter in ("autograder.grading.feedback.FeedbackExporter", "nbconvert.exporters.HTMLExporter"):
        for student in ("mistaken", "stderr"):
            with quiet_logging():
                api = open_api(copied)
                api.config.GenerateFeedback.exporter_class = exporter
                demand(api.generate_feedback(ASSIGNMENT, student, force=True), "feedback")
            pages[exporter, student] = str(BeautifulSoup(page_of(copied, student), "html.parser"))
    ours, theirs = ([page for (name, _), page in pages.items() if name.startswith(who)] for who in ("auto", "nbc"))
    assert ours == theirs
    assert any("<img" in page for page in ours)


def test_wrong_metadata_are_refused_also_after_right_ones(graded: tuple[Course, Any]) -> None:
    notebook = deepcopy(graded[0].assignment(ASSIGNMENT).release)
    for _ in range(2):
        assert CheckMetadata().preprocess(notebook, {})[0] is notebook
    checked = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("points")]
    checked[1].metadata.nbgrader.grade_id = checked[0].metadata.nbgrader.grade_id
    for _ in range(2):
        with pytest.raises(ValidationError):
            CheckMetadata().preprocess(notebook, {})


def test_gradebooks_share_an_engine_while_they_are_told_to_and_can_be_opened_again(tmp_path: Path) -> None:
    prepare_environment()
    url = f"sqlite:///{tmp_path / 'gradebook.db'}"
    with one_engine():
        with Gradebook(url) as first:
            first.add_student("ann")
        with Gradebook(url) as second, Gradebook(f"sqlite:///{tmp_path / 'other.db'}") as other:
            assert [student.id for student in second.students] == ["ann"]
            assert second.engine is first.engine is not other.engine
            assert other.students == []
    with Gradebook(url) as third:
        assert third.engine is not first.engine
        assert [student.id for student in third.students] == ["ann"]
