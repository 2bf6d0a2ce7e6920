"""The leaderboard: who reached what, shown by the name that was chosen."""

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from autograder.checking.given import HOME_SEED
from autograder.checking.judge import judge
from autograder.checking.student import LocalTransport, Student
from autograder.checking.tasks import Task, case
from autograder.checking.verdict import CaseVerdict, TaskVerdict, Verdict
from autograder.course import Assignment, Course, CourseError
from autograder.grading.leaderboard import MAX_ALIAS, alias, leaderboard, write_leaderboard
from autograder.grading.release import release
from autograder.grading.store import keep_verdict

NAME = "11-capstone"


@pytest.fixture
def capstone(course: Course) -> Assignment:
    return course.assignment(NAME)


def graded(
    course: Course, student: str, perplexity: float | None, accuracy: float | None, parameters: float | None = 17_632
) -> None:
    """Keep a verdict with these measures."""
    tasks = {}
    for task, measures in {
        "pretrain": {"numbers kept": parameters, "perplexity 80": perplexity},
        "fine_tune": {"numbers kept": parameters, "accuracy 0.35": accuracy},
    }.items():
        cases = tuple(CaseVerdict(name, True, 1.0, measured=value) for name, value in measures.items())
        tasks[task] = TaskVerdict(task, 10.0, 10.0, "passed", cases=cases)
    keep_verdict(course, student, course.assignment(NAME), "a key", Verdict(NAME, tasks))


def submitted(course: Course, student: str, *sources: str) -> None:
    path = course.submitted_directory / student / NAME / "capstone.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)


def test_the_lowest_perplexity_comes_first_and_accuracy_decides_between_equals(
    course: Course, capstone: Assignment
) -> None:
    graded(course, "ada", 33.5, 0.99)
    graded(course, "boris", 31.0, 0.90)
    graded(course, "carla", 31.0, 0.95)
    graded(course, "dara", 31.0, 0.95)
    graded(course, "elif", 31.0, 0.95, 12_000)
    lines = leaderboard(course, capstone)
    ranks = [(line.rank, line.student) for line in lines]
    assert ranks == [(1, "elif"), (2, "carla"), (2, "dara"), (4, "boris"), (5, "ada")]
    assert lines[-1].numbers == {"perplexity": 33.5, "accuracy": 0.99, "parameters": 17_632}


def test_who_has_no_perplexity_stands_at_the_end_without_a_rank(course: Course, capstone: Assignment) -> None:
    graded(course, "ada", None, 0.99)
    graded(course, "boris", 70.0, None)
    assert [(line.rank, line.student) for line in leaderboard(course, capstone)] == [(1, "boris"), (None, "ada")]


def test_a_student_is_shown_by_the_alias_in_the_notebook(course: Course, capstone: Assignment, tmp_path: Path) -> None:
    graded(course, "ada", 33.5, 0.99)
    graded(course, "boris", 35.0, 0.99)
    submitted(course, "ada", "x = 1", 'ALIAS = "  the  quiet\\nreader "')
    assert [line.name for line in leaderboard(course, capstone)] == ["the quiet reader", "boris"]
    path = write_leaderboard(course, capstone, leaderboard(course, capstone), tmp_path / "board.csv")
    rows = list(csv.reader(path.open(newline="")))
    assert rows == [
        ["rank", "name", "perplexity", "accuracy", "parameters"],
        ["1", "the quiet reader", "33.50", "0.990", "17632"],
        ["2", "boris", "35.00", "0.990", "17632"],
    ]
    assert "ada" not in path.read_text()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("ALIAS = 1 / 0", ""),
        ("ALIAS = __import__('os').getcwd()", ""),
        ("ALIAS = (", ""),
        ("%time\nALIAS = 'x'", ""),
        ("if True:\n    ALIAS = 'x'", ""),
        ("ALIAS = ''", ""),
        ("ALIAS = '\\x1b[31m\\u202ered'", "[31m red"),
        (f"ALIAS = '{'x' * 100}'", "x" * MAX_ALIAS),
    ],
)
def test_an_alias_is_read_and_never_run(course: Course, capstone: Assignment, source: str, shown: str) -> None:
    submitted(course, "ada", source)
    assert alias(course, "ada", capstone) == shown


def test_no_alias_passes_for_somebody_else(course: Course, capstone: Assignment) -> None:
    for student, chosen in {"ada": "Boris", "boris": "fox", "carla": "owl", "dara": "Owl"}.items():
        graded(course, student, 40.0, 0.5)
        submitted(course, student, f"ALIAS = {chosen!r}")
    assert sorted(line.name for line in leaderboard(course, capstone)) == ["ada", "carla", "dara", "fox"]


def test_what_a_spreadsheet_would_run_is_written_as_text(course: Course, capstone: Assignment, tmp_path: Path) -> None:
    graded(course, "ada", 40.0, 0.5)
    submitted(course, "ada", "ALIAS = '=HYPERLINK(1)'")
    path = write_leaderboard(course, capstone, leaderboard(course, capstone), tmp_path / "board.csv")
    assert list(csv.reader(path.open(newline="")))[1][1] == "'=HYPERLINK(1)"


def test_a_damaged_notebook_or_verdict_stops_nobody(course: Course, capstone: Assignment) -> None:
    graded(course, "ada", 40.0, 0.5)
    graded(course, "boris", 41.0, 0.5)
    (course.verdicts_directory / "boris" / f"{NAME}.json").write_text("{")
    submitted(course, "ada")
    (course.submitted_directory / "ada" / NAME / "capstone.ipynb").write_text("{")
    assert [line.name for line in leaderboard(course, capstone)] == ["ada"]


def test_what_is_not_graded_or_measures_nothing_is_said(course: Course, capstone: Assignment) -> None:
    with pytest.raises(CourseError, match=f"Nothing of {NAME} is graded yet"):
        leaderboard(course, capstone)
    with pytest.raises(CourseError, match="06-attention has no leaderboard"):
        leaderboard(course, course.assignment("06-attention"))


def test_the_command_prints_a_table_or_one_document(course: Course) -> None:
    graded(course, "ada", 33.512, 0.99)
    command = [sys.executable, "-c", "from autograder.cli import main; main()", "leaderboard", NAME]
    command += ["--course", str(course.root)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "33.51" in printed
    assert "17,632" in printed
    document = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)
    numbers = {"perplexity": 33.512, "accuracy": 0.99, "parameters": 17_632}
    assert document["lines"] == [{"rank": 1, "student": "ada", "name": "ada", "numbers": numbers}]
    assert Path(document["file"]).read_text().splitlines()[1] == "1,ada,33.51,0.990,17632"


def measured(value: float) -> TaskVerdict:
    """The verdict on an answer of which a number is made."""

    def body(student: Student, given: object) -> object:
        yield case("a number", student.answer(), measure=float, at_most=10)

    task = Task("measured", "answer", body, 10.0)  # type: ignore[arg-type]
    return judge(task, LocalTransport({"answer": lambda: value}), 1.0, HOME_SEED)


def test_a_verdict_keeps_what_was_measured_and_reads_what_was_kept_without_it() -> None:
    for value in (3.5, 12_345.0):
        verdict = measured(value)
        assert verdict.cases[0].measured == value
        record = json.loads(json.dumps(Verdict(NAME, {"measured": verdict}).to_json()))
        assert Verdict.from_json(record).tasks["measured"].cases[0].measured == value
        del record["tasks"]["measured"]["cases"][0]["measured"]
        assert Verdict.from_json(record).tasks["measured"].cases[0].measured is None
    assert "12,345; at most 10" in measured(12_345.0).message
    assert measured(math.inf).cases[0].measured is None


def test_the_line_that_the_worked_notebook_wrote_is_not_handed_out(course: Course, capstone: Assignment) -> None:
    (capstone.solution_path.parent / "leaderboard.csv").write_text("name\n")
    (capstone.solution_path.parent / "figure.txt").write_text("goes with the notebook")
    release(course, capstone)
    names = {path.name for path in capstone.release_path.parent.iterdir()}
    assert names == {"capstone.ipynb", "figure.txt"}
