"""Scores on their way out: what was written is read back as each system's documentation says, and compared."""

import csv
import html
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import ASSIGNMENT
from nbgrader.api import Gradebook

from autograder.checking.verdict import TaskVerdict, Verdict
from autograder.course import Course, CourseError, graded_cells
from autograder.grading.export import FORMATS, Exported, Options, export, graded_gradebook
from autograder.grading.gradebook import open_gradebook
from autograder.grading.store import keep_verdict

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own

WRITTEN = "permutation_why"
STUDENTS: dict[str, dict[str, str]] = {
    "ada": {"first_name": "Ada", "last_name": "Lovelace", "email": "Ada@uni.example", "lms_user_id": "501"},
    "007": {"first_name": "James", "last_name": "Bond", "email": "bond@uni.example", "lms_user_id": "502"},
    "1e5": {"first_name": "", "last_name": "", "email": "", "lms_user_id": ""},
    'o"brien, m': {"first_name": 'Mary "May", Jr.', "last_name": "O’Brien", "email": "may@uni.example"},
    "=1+1": {"first_name": '=HYPERLINK("http://evil.example","x")', "last_name": "@SUM(A1)", "email": "@a@b"},
    "-jo": {"first_name": "+Jo", "last_name": "Łuk\nasz", "email": "-jo@uni.example"},
    "علي": {"first_name": "علي", "last_name": "حسن", "email": "ali@uni.example"},
    "late": {"first_name": "Lena", "last_name": "Late", "email": "late@uni.example"},
    "too late": {"first_name": "Lars", "last_name": "Later", "email": "later@uni.example"},
    "generous": {"first_name": "Gus", "last_name": "Extra", "email": "gus@uni.example"},
    "replaced": {"first_name": "Rae", "last_name": "Placed", "email": "rae@uni.example"},
    "waiting": {"first_name": "Wim", "last_name": "Waits", "email": "wim@uni.example"},
    "infinite": {"first_name": "Ina", "last_name": "Finite", "email": "ina@uni.example"},
    "absent": {"first_name": "Abs", "last_name": "Ent", "email": "absent@uni.example"},
}
NOT_READY = {"waiting", "infinite", "absent"}
HOSTILE = "=cmd|'/c calc'!A1 <script>alert(1)</script> \"quoted\", and\nbroken \ud800 \x00"


@pytest.fixture(scope="module")
def graded_class(released_course: Course, tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A class with nasty names, graded by hand; look at it, do not change it."""
    course = Course.at(shutil.copytree(released_course.root, tmp_path_factory.mktemp("nasty") / "course"))
    with open_gradebook(course) as gradebook:
        for student, about in STUDENTS.items():
            gradebook.add_student(student, **about)
            if student != "absent":
                _submit(gradebook, student)
        _grade(gradebook, "late").late_submission_penalty = 5.5
        _grade(gradebook, "too late").late_submission_penalty = 500
        for grade in _grade(gradebook, "generous").grades:
            if grade.name == "causal_mask":
                grade.extra_credit = 60
        for grade in _grade(gradebook, "replaced").grades:
            if grade.name == "padding_mask":
                grade.manual_score, grade.extra_credit = 2.25, 0.5
        for grade in _grade(gradebook, "waiting").grades:
            if grade.name == WRITTEN:
                grade.manual_score, grade.needs_manual_grade = None, True
        for grade in _grade(gradebook, "infinite").grades:
            if grade.name == "padding_mask":
                grade.auto_score = math.inf
        gradebook.db.commit()
    return course


@pytest.fixture
def nasty(graded_class: Course, tmp_path: Path) -> Course:
    """The class with nasty names, for one test alone."""
    return Course.at(shutil.copytree(graded_class.root, tmp_path / "course"))


@pytest.fixture
def gradebook(nasty: Course) -> Iterator[Gradebook]:
    with open_gradebook(nasty) as gradebook:
        yield gradebook


def _submit(gradebook: Gradebook, student: str) -> None:
    gradebook.add_submission(ASSIGNMENT, student, timestamp=datetime(2026, 11, 2, 12, 30))
    for position, grade in enumerate(_grade(gradebook, student).grades):
        share = (len(student) + position) % 4 / 3  # thirds, which no decimal fraction is
        if grade.name == WRITTEN:
            grade.manual_score = round(grade.max_score * share, 2)
        else:
            grade.auto_score = grade.max_score * share
        grade.needs_manual_grade = False
    gradebook.db.commit()


def _grade(gradebook: Gradebook, student: str) -> Any:
    return gradebook.find_submission_notebook("attention", ASSIGNMENT, student)


def score_by_nbgrader(gradebook: Gradebook, student: str) -> float:
    """The final score as nbgrader's own exporter counts it."""
    submission = gradebook.find_submission(ASSIGNMENT, student)
    return max(0.0, submission.score - submission.late_submission_penalty)


def written(course: Course, gradebook: Gradebook, form: str, tmp_path: Path, **options: Any) -> tuple[Exported, Path]:
    path = tmp_path / ("results" if form == "gradescope" else f"{form}.csv")
    return export(course, gradebook, form, [], path, Options(**options)), path


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def canvas_import(path: Path, users: list[dict[str, str]], titles: dict[str, str]) -> dict[tuple[str, str], str]:
    """What Canvas takes from a file: by user's ID and assignment's number, or what it could not place under its name.

    Args:
        users: with ID, SIS User ID, SIS Login ID and name.
        titles: of the course's assignments, by their number.
    """
    header, *rows = rows_of(path)
    assert "Student" in header[0]
    assert "ID" in header[1]
    information = header.index("Section") + 1
    assert information in (3, 4, 5)
    columns = {}
    for position, heading in enumerate(header[information:], information):
        numbered = re.search(r"\((\d+)\)$", heading)
        by_title = [number for number, title in titles.items() if title == heading]
        columns[position] = numbered[1] if numbered and numbered[1] in titles else (by_title or [f"new: {heading}"])[0]
    taken = {}
    for row in rows:
        assert len(row) == len(header)
        if "Points Possible" in row[0]:
            continue
        record = dict(zip(header, row, strict=True))
        for key in ("ID", "SIS User ID", "SIS Login ID"):
            user = next((u for u in users if record.get(key) and u[key] == record[key]), None)
            if user:
                break
        user = user or next((u for u in users if u["name"] == row[0]), None)
        for position, number in columns.items():
            taken[user["ID"] if user else f"new: {row[0]}", number] = row[position]
    return taken


def canvas_users() -> list[dict[str, str]]:
    return [
        {"ID": about.get("lms_user_id") or str(900 + i), "SIS User ID": f"S{i:05}", "SIS Login ID": student}
        | {"name": f"{about['last_name']}, {about['first_name']}"}
        for i, (student, about) in enumerate(STUDENTS.items())
    ]


def moodle_import(path: Path, field: str, known: set[str]) -> dict[str, str]:
    """What Moodle takes from a grade import; a user whom it does not know stops all of it."""
    header, *rows = rows_of(path)
    scores = {}
    for row in rows:
        record = dict(zip(header, row, strict=True))
        assert record[field] in known, f"Moodle stops: {record[field]}"
        assert float(record[header[1]]) >= 0, "an empty score takes away one that is there"
        scores[record[field]] = record[header[1]]
    return scores


def gradescope_read(path: Path) -> dict[str, Any]:
    """A results.json, checked against the specification of its output format."""
    record = json.loads(path.read_text("utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    visibilities = {"hidden", "after_due_date", "after_published", "visible"}
    formats = {"text", "html", "simple_format", "md", "ansi"}
    whole = {"score", "execution_time", "output", "output_format", "test_output_format", "test_name_format"}
    whole |= {"visibility", "stdout_visibility", "extra_data", "tests", "leaderboard"}
    each = {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags"}
    each |= {"visibility", "extra_data"}
    assert set(record) <= whole
    assert isinstance(record["score"], float)
    assert {record["visibility"], record["stdout_visibility"]} <= visibilities
    assert {record["output_format"], record["test_output_format"], record["test_name_format"]} <= formats
    for test in record["tests"]:
        assert set(test) <= each
        assert isinstance(test["score"], float)
        assert isinstance(test["max_score"], float)
        assert test.get("status") in ("passed", "failed", None)
        assert isinstance(test["output"], str)
        assert isinstance(test["number"], str)
        assert test["visibility"] in visibilities
        assert test["output_format"] == "text"  # which alone is not read as markup
    return record


def test_a_plain_table_says_what_nbgraders_gradebook_says(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    exported, path = written(nasty, gradebook, "csv", tmp_path)
    header, *rows = rows_of(path)
    records = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    assert set(records) == set(STUDENTS)
    for student, record in records.items():
        assert (record["score"] == "") == (student in NOT_READY), student
        assert float(record["max_score"]) == 100
        if student in NOT_READY:
            continue
        assert float(record["score"]) == pytest.approx(score_by_nbgrader(gradebook, student), abs=1e-5)
        parts = [float(record[part]) for part in ("automatic", "manual", "extra_credit")]
        raw = sum(parts) - float(record["late_penalty"])
        assert float(record["score"]) == pytest.approx(max(0, raw), abs=1e-5)
        tasks = {name[5:]: float(record[name]) for name in header if name.startswith("task:")}
        points = {grade.name: grade.score for grade in _grade(gradebook, student).grades}
        assert tasks == pytest.approx(points, abs=1e-5)
    assert records["replaced"]["manual"] != records["ada"]["manual"]
    assert (records["late"]["late_penalty"], records["too late"]["score"]) == ("5.5", "0")
    assert float(records["generous"]["score"]) > 100 > float(records["ada"]["score"])
    assert records["waiting"]["needs_manual_grade"] == "yes"
    assert records["ada"]["submitted"] == "2026-11-02T12:30:00"
    blank = {record["student"]: record["reason"] for record in exported.left_blank}
    assert blank == {
        "waiting": f"needs manual grading: {WRITTEN}",
        "infinite": "needs manual grading: padding_mask",
        "absent": "nothing was handed in",
    }
    assert exported.students == len(STUDENTS) - 3


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_ready_is_exported_on_request(
    form: str, nasty: Course, gradebook: Gradebook, tmp_path: Path
) -> None:
    exported, path = written(nasty, gradebook, form, tmp_path, include_ungraded=True, missing_as_zero=True)
    assert exported.left_blank == []
    assert exported.students == len(STUDENTS)
    text = "".join(file.read_text("utf-8") for file in ([path] if path.is_file() else path.rglob("*.json")))
    assert not re.search(r"\b(nan|inf|infinity)\b(?!\")", text, re.IGNORECASE)


def test_canvas_places_every_score_without_a_roster(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    exported, path = written(nasty, gradebook, "canvas", tmp_path)
    taken = canvas_import(path, canvas_users(), {"77": ASSIGNMENT})
    for user, student in zip(canvas_users(), STUDENTS, strict=True):
        score = taken.pop((user["ID"], "77"))
        if student in NOT_READY:
            assert score == ""
        else:
            assert float(score) == pytest.approx(score_by_nbgrader(gradebook, student), abs=1e-5)
    assert taken == {}
    assert rows_of(path)[1] == ["    Points Possible", "", "", "", "", "100"]
    assert any("--roster" in warning for warning in exported.warnings)


def canvas_roster(path: Path, possible: str = "100", score: str = "") -> Path:
    """A gradebook as Canvas exports it."""
    header = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"{ASSIGNMENT} (77)", "Other, quoted (78)"]
    header += ["Current Score", "Final Score"]
    rows = [["", "", "", "", "", "Manual Posting", "", "", ""]]
    rows += [["    Points Possible", "", "", "", "", possible, "10.00", "(read only)", "(read only)"]]
    for user in canvas_users():
        keys = [user["ID"], user["SIS User ID"], f"{user['SIS Login ID']}@uni.example"]
        rows.append([user["name"], *keys, "Mon, 9:00 and Tue", score, "7.00", "70.00", "70.00"])
    rows += [["Visitor, Vera", "990", "", "vera", "Mon", "", "", "", ""]]
    rows += [["Student, Test", "999", "", "abc", "Mon", "", "", "", ""]]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_canvas_roster_is_kept_to_the_letter(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    roster = canvas_roster(tmp_path / "roster.csv", score="55.00")
    exported, path = written(nasty, gradebook, "canvas", tmp_path, roster=roster)
    header, possible, *rows = rows_of(path)
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"{ASSIGNMENT} (77)"]
    assert possible == ["    Points Possible", "", "", "", "", "100"]
    users = {user["ID"]: user for user in canvas_users()}
    for row in rows:
        assert row[2] == users[row[1]]["SIS User ID"]
        assert row[3:5] == [f"{users[row[1]]['SIS Login ID']}@uni.example", "Mon, 9:00 and Tue"]
    by_id = {row[1]: row[5] for row in rows}
    for student, user in zip(STUDENTS, users, strict=True):
        if student in NOT_READY:
            assert by_id[user] == "55.00", "what Canvas has is left alone"
        else:
            assert float(by_id[user]) == pytest.approx(score_by_nbgrader(gradebook, student), abs=1e-5)
    assert (exported.unmatched, exported.roster_only) == ([], ["Visitor, Vera"])


def test_students_and_columns_that_are_not_in_the_roster_are_named(
    nasty: Course, gradebook: Gradebook, tmp_path: Path
) -> None:
    roster = canvas_roster(tmp_path / "roster.csv")
    twice = '"Placed, Rae",{},{},same@uni.example,Mon,,,,'
    lines = re.sub(r".*,late@uni.*|.*,replaced@uni.*", "", roster.read_text("utf-8-sig"))
    lines += f"{twice.format(1, 'A')}\n{twice.format(2, 'B')}\n"
    roster.write_text(lines, "utf-8")
    exported, _ = written(nasty, gradebook, "canvas", tmp_path, roster=roster)
    assert exported.unmatched == ["late", "replaced"], "one name on two rows decides nothing"
    assert exported.roster_only == ["Visitor, Vera", "Placed, Rae", "Placed, Rae"]
    columns = {ASSIGNMENT: "Other, quoted"}
    with pytest.raises(CourseError, match="10 points for 06-attention, the gradebook 100"):
        written(nasty, gradebook, "canvas", tmp_path, roster=roster, columns=columns)
    _, path = written(nasty, gradebook, "canvas", tmp_path, roster=roster, columns=columns, scale=True)
    by_id = {row[1]: row[5] for row in rows_of(path)}
    assert float(by_id["501"]) == pytest.approx(score_by_nbgrader(gradebook, "ada") / 10, abs=1e-5)
    roster.write_text(lines.replace(ASSIGNMENT, "Homework"), "utf-8")
    with pytest.raises(CourseError, match=r"--column '06-attention=NAME'; there are: Homework \(77\), Other"):
        written(nasty, gradebook, "canvas", tmp_path, roster=roster)


def test_an_excused_student_stays_excused_in_canvas(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    roster = canvas_roster(tmp_path / "roster.csv", score="EX")
    exported, path = written(nasty, gradebook, "canvas", tmp_path, roster=roster)
    assert {row[5] for row in rows_of(path)[2:]} == {"EX"}
    assert exported.students == 0


@pytest.mark.parametrize(
    ("kind", "heading", "lacking"),
    [
        ("username", "Username", set()),
        ("email", "Email address", {"1e5"}),
        ("idnumber", "ID number", set()),
    ],
)
def test_moodle_knows_every_student_of_a_grade_import(
    kind: str, heading: str, lacking: set[str], nasty: Course, gradebook: Gradebook, tmp_path: Path
) -> None:
    exported, path = written(nasty, gradebook, "moodle", tmp_path, identifier=kind)
    values = {
        student: {"username": student, "email": about["email"], "idnumber": about.get("lms_user_id") or student}[kind]
        for student, about in STUDENTS.items()
    }
    taken = moodle_import(path, heading, set(values.values()))
    expected = {
        values[student]: pytest.approx(score_by_nbgrader(gradebook, student), abs=1e-5)
        for student in STUDENTS
        if student not in NOT_READY | lacking
    }
    assert {who: float(score) for who, score in taken.items()} == expected
    assert set(exported.unmatched) == lacking
    assert any("Moodle refuses more than 100" in warning for warning in exported.warnings)


def test_a_moodle_roster_gives_the_identifiers(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    roster = tmp_path / "roster.csv"
    header = ["First name", "Last name", "ID number", "Email address", f"Assignment: {ASSIGNMENT} (Real)"]
    people = [
        [about["first_name"], about["last_name"], "", about["email"] or f"{student}@uni.example", "-"]
        for student, about in STUDENTS.items()
        if student != "ada"
    ]
    with roster.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *people, ["Vera", "Visitor", "", "vera@uni.example", "-"]])
    exported, path = written(nasty, gradebook, "moodle", tmp_path, roster=roster)
    taken = moodle_import(path, "Email address", {row[3] for row in people})
    assert rows_of(path)[0] == ["Email address", f"Assignment: {ASSIGNMENT} (Real)"]
    assert float(taken["1e5@uni.example"]) == pytest.approx(score_by_nbgrader(gradebook, "1e5"), abs=1e-5)
    assert len(taken) == len(STUDENTS) - len(NOT_READY) - 1
    assert (exported.unmatched, exported.roster_only) == (["ada"], ["vera@uni.example"])


def test_a_moodle_worksheet_is_filled_in_and_otherwise_left_as_it_was(
    nasty: Course, gradebook: Gradebook, tmp_path: Path
) -> None:
    worksheet = tmp_path / "worksheet.csv"
    header = ["Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade"]
    header += ["Grade can be changed", "Last modified (submission)", "Last modified (grade)", "Feedback comments"]
    filled = []
    for i, (student, about) in enumerate(STUDENTS.items(), 4711):
        who = [f"Participant {i}", f"{about['first_name']} {about['last_name']}"]
        row = [*who, about["email"] or f"{student}@uni.example", "Submitted for grading", "", "50.00"]
        row += ["No" if student == "007" else "Yes", "Monday, 2 November 2026, 12:30 PM", "-", "kept, I hope"]
        filled.append(row)
    with worksheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *filled])
    with pytest.raises(CourseError, match="Moodle has 50 points"):
        written(nasty, gradebook, "moodle", tmp_path, roster=worksheet)
    exported, path = written(nasty, gradebook, "moodle", tmp_path, roster=worksheet, scale=True)
    after = rows_of(path)
    assert after[0] == header
    for student, before, row in zip(STUDENTS, filled, after[1:], strict=True):
        assert row[:4] + row[5:] == before[:4] + before[5:]
        if student in NOT_READY | {"007"}:
            assert row[4] == ""
        else:
            assert float(row[4]) == pytest.approx(score_by_nbgrader(gradebook, student) / 2, abs=1e-5)
    assert {record["student"] for record in exported.left_blank} == NOT_READY | {"007"}


def test_gradescopes_results_follow_its_specification(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    assignment = nasty.assignment(ASSIGNMENT)
    tasks = {c.id: TaskVerdict(c.id, 0.0, c.points, "failed", HOSTILE) for c in graded_cells(assignment.solution)}
    keep_verdict(nasty, "late", assignment, "key", Verdict(ASSIGNMENT, tasks))
    exported, folder = written(nasty, gradebook, "gradescope", tmp_path)
    records = {}
    for path in folder.rglob("results.json"):
        records[path.parent.name] = gradescope_read(path)
    assert set(records) == set(STUDENTS) - NOT_READY
    assert {path.parent.name for path in exported.files} == set(records)
    for student, record in records.items():
        assert record["score"] == pytest.approx(score_by_nbgrader(gradebook, student), abs=1e-5)
        assert record["extra_data"] == {"student": student, "assignment": ASSIGNMENT}
        for test, cell in zip(record["tests"], graded_cells(assignment.solution), strict=True):
            assert (test["name"], test["max_score"]) == (cell.id, cell.points)
            assert (test["status"] == "passed") == (test["score"] >= test["max_score"])
    assert all("<script>alert(1)</script>" in test["output"] for test in records["late"]["tests"])
    assert "5.5 points taken off" in records["late"]["output"]


def test_gradescopes_folders_stay_inside_and_old_results_go(
    nasty: Course, gradebook: Gradebook, tmp_path: Path
) -> None:
    for student in ("../../up", "..", "a/b"):
        gradebook.add_student(student)
        _submit(gradebook, student)
    exported, folder = written(nasty, gradebook, "gradescope", tmp_path, include_ungraded=True)
    assert all(path.resolve().is_relative_to(folder / ASSIGNMENT) for path in exported.files)
    assert len({path.resolve() for path in exported.files}) == len(exported.files)
    assert (folder / ASSIGNMENT / "waiting" / "results.json").exists()
    written(nasty, gradebook, "gradescope", tmp_path)
    assert not (folder / ASSIGNMENT / "waiting" / "results.json").exists()


@pytest.mark.parametrize("form", ["csv", "moodle"])
def test_a_spreadsheet_runs_nothing_that_a_student_wrote(
    form: str, nasty: Course, gradebook: Gradebook, tmp_path: Path
) -> None:
    gradebook.add_student('=HYPERLINK("http://evil.example")', first_name="\t=1", last_name="\r=1")
    _submit(gradebook, '=HYPERLINK("http://evil.example")')
    assignment = nasty.assignment(ASSIGNMENT)
    tasks = {c.id: TaskVerdict(c.id, 0.0, c.points, "failed", HOSTILE) for c in graded_cells(assignment.solution)}
    keep_verdict(nasty, "late", assignment, "key", Verdict(ASSIGNMENT, tasks))
    exported, path = written(nasty, gradebook, form, tmp_path, feedback=True, columns={ASSIGNMENT: "Score"})
    cells = [cell for row in rows_of(path) for cell in row]
    risky = {cell for cell in cells if re.match(r"\s*[=+\-@\t\r]", cell)}
    assert risky <= {"=1+1", "-jo"}, "identifiers that can do nothing are kept, and no more"
    assert any("HYPERLINK" in warning for warning in exported.warnings)
    assert not any(character in cell for cell in cells for character in "\0\r\ud800")
    told = next(cell for cell in cells if "calc" in cell)
    if form == "moodle":  # whose text fields are HTML
        assert "<script>" not in told
        told = html.unescape(told)
    assert "<script>alert(1)</script>" in told


def test_nbgraders_own_command_writes_the_same(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    _, ours = written(nasty, gradebook, "canvas", tmp_path)
    theirs = tmp_path / "theirs.csv"
    plugin = "autograder.grading.export.CanvasExport"
    command = [sys.executable, "-m", "nbgrader", "export", f"--exporter={plugin}", f"--to={theirs}"]
    done = subprocess.run(
        [*command, f"--assignment=['{ASSIGNMENT}']"], cwd=nasty.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert theirs.read_bytes() == ours.read_bytes()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from autograder.cli import main; main()", "export", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_one_json_document(nasty: Course, gradebook: Gradebook) -> None:
    done = run("moodle", ASSIGNMENT, "--course", str(nasty.root), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {"files", "students", "left_blank", "unmatched", "roster_only", "warnings"}
    assert told["files"] == [str(nasty.root / "exports" / f"moodle-{ASSIGNMENT}.csv")]
    assert Path(told["files"][0]).exists()
    assert (told["students"], {record["student"] for record in told["left_blank"]}) == (11, NOT_READY)
    shown = run("moodle", "--course", str(nasty.root))
    assert shown.returncode == 0, shown.stderr
    assert "Scores of 11 students" in shown.stdout
    assert f"needs manual grading: {WRITTEN}: waiting" in shown.stdout


def test_what_cannot_be_exported_is_said_in_a_sentence(nasty: Course, gradebook: Gradebook, tmp_path: Path) -> None:
    at = ("--course", str(nasty.root))
    done = run("excel", *at)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no format 'excel'. There are: canvas, moodle, csv, gradescope." in done.stderr
    with graded_gradebook(nasty) as opened:
        for options, output, sentence in [
            ({"identifier": "shoe size"}, None, "no identifier 'shoe size'"),
            ({"roster": tmp_path / "none.csv"}, None, "There is no roster"),
            ({"columns": {"99-nothing": "x"}}, None, "There is no assignment '99-nothing'"),
            ({}, tmp_path / "nowhere" / "x.csv", "There is no folder .*nowhere: make it first"),
        ]:
            with pytest.raises(CourseError, match=sentence):
                export(nasty, opened, "moodle", [], output, Options(**options))
        stranger = tmp_path / "roster.csv"
        stranger.write_text(f"Student,ID,SIS Login ID,Section,{ASSIGNMENT} (1)\nElse,1,someone,A,\n")
        with pytest.raises(CourseError, match=r"No student of the gradebook is in .*looked for -jo, 007, 1e5"):
            export(nasty, opened, "canvas", [], tmp_path / "x.csv", Options(roster=stranger))
        with pytest.raises(CourseError, match="is the roster itself"):
            export(nasty, opened, "canvas", [], stranger, Options(roster=stranger))
        stranger.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CourseError, match="is not a CSV file in UTF-8"):
            export(nasty, opened, "canvas", [], tmp_path / "x.csv", Options(roster=stranger))


def test_a_class_that_is_not_graded_is_said_so(course: Course, tmp_path: Path) -> None:
    done = run("csv", "--course", str(course.root))
    assert (done.returncode, done.stdout) == (1, "")
    names = ", ".join(course.assignments)
    assert " ".join(done.stderr.split()) == f"Nothing is graded yet for {names}: run `autograder grade` first."
    (course.root / "gradebook.db").unlink()
    done = run("csv", "--course", str(course.root))
    assert "Nothing is graded yet" in done.stderr
    assert not (course.root / "gradebook.db").exists()
