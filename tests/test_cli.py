"""The command line, as a person and a program use it."""

import errno
import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ASSIGNMENT, hand_in

from autograder.cli import plain_errors
from autograder.course import Course

STATUSES = {"passed", "partial", "failed", "error", "timeout", "missing", "manual", "grader-error"}


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from autograder.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def assert_one_sentence(done: subprocess.CompletedProcess[str], told: str, code: int = 1) -> None:
    assert done.returncode == code, done.stderr
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, autograder.cli; sys.exit('torch' in sys.modules or 'nbgrader' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_wrong_usage_exits_with_2(released_course: Course) -> None:
    assert run("grade", "--workers", "0").returncode == 2
    assert run("nonsense").returncode == 2
    assert run("check", "nowhere.ipynb").returncode == 2


def test_an_unknown_assignment_is_named(released_course: Course) -> None:
    done = run("grade", "99-nothing", "--course", str(released_course.root), "--json")
    assert_one_sentence(
        done, f"There is no assignment '99-nothing'. There are: {', '.join(released_course.assignments)}."
    )


def test_no_submissions_is_said(course: Course) -> None:
    assert_one_sentence(run("grade", "--course", str(course.root)), "There are no submissions")


def test_a_folder_that_is_no_course_is_said(tmp_path: Path) -> None:
    assert_one_sentence(run("grade", "--course", str(tmp_path)), "is not a course")


def test_an_assignment_that_cannot_be_released_keeps_no_other_waiting(course: Course) -> None:
    broken = course.root / "solutions" / "07-broken" / "broken.ipynb"
    broken.parent.mkdir()
    text = course.assignment(ASSIGNMENT).solution_path.read_text()
    broken.write_text(text.replace('check(\\"additive_scores\\")', "True"))
    hand_in(course, "zoe", b"{")
    hand_in(course, "ann", b"{")
    done = run("collect", "--course", str(course.root), "--json")
    told = json.loads(done.stdout)
    assert [found["student"] for found in told["collected"]] == ["ann", "zoe"]
    assert any("broken.ipynb cannot be released" in warning for warning in told["warnings"])
    assert_one_sentence(run("collect", "07-broken", "--course", str(course.root)), "broken.ipynb cannot be released")


def test_a_second_run_waits_its_turn(course: Course) -> None:
    hand_in(course, "ann", b"{")
    with (course.root / ".grading.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_one_sentence(run("grade", "--course", str(course.root)), "Another run is grading this course.")


def test_a_full_disk_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, plain_errors():
        raise OSError(errno.ENOSPC, "No space left on device")
    assert ended.value.code == 1
    assert "The disk is full" in capsys.readouterr().err


def test_grade_reports_one_json_document(course: Course) -> None:
    hand_in(course, "ann", course.assignment(ASSIGNMENT).release_path.read_bytes())
    hand_in(course, "bob", b"{")
    done = run("grade", "--course", str(course.root), "--json")
    assert done.returncode == 0, done.stderr
    reports = {r["student"]: r for r in json.loads(done.stdout)["submissions"]}
    assert set(reports) == {"ann", "bob"}
    for report in reports.values():
        assert (report["score"], report["max_score"], report["manual_max_score"]) == (0, 90, 10)
        assert {t["status"] for t in report["tasks"].values()} <= STATUSES
        assert report["tasks"]["permutation_why"]["score"] is None
    assert any("cannot be read" in repair for repair in reports["bob"]["repairs"])


def test_check_reports_a_stub_and_exits_with_1(released_course: Course) -> None:
    path = released_course.assignment(ASSIGNMENT).release_path
    done = run("check", str(path), "--course", str(released_course.root), "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["student"] is None
    assert report["score"] == 0


def test_tasks_lists_what_the_notebooks_ask_for(released_course: Course) -> None:
    listed = json.loads(run("tasks", ASSIGNMENT, "--course", str(released_course.root), "--json").stdout)["tasks"]
    assert sum(t["points"] for t in listed) == 100
    assert all(t["asks_for"] and t["minutes"] and t["difficulty"] in (1, 2, 3) for t in listed if not t["manual"])


def test_any_nbgrader_course_directory_with_our_solutions_can_be_graded(course: Course, tmp_path: Path) -> None:
    """nbgrader's own folder names, no configuration, the notebook put straight into submitted/."""
    plain = tmp_path / "plain"
    source = course.assignment(ASSIGNMENT).solution_path
    for folder in (plain / "source" / ASSIGNMENT, plain / "submitted" / "zoe" / ASSIGNMENT):
        folder.mkdir(parents=True)
        (folder / source.name).write_bytes(source.read_bytes())
    done = run("grade", "--course", str(plain), "--json")
    (report,) = json.loads(done.stdout)["submissions"]
    assert (done.returncode, report["score"], report["manual_max_score"]) == (0, 90, 10)
    assert (plain / "received" / "zoe" / ASSIGNMENT / source.name).read_bytes() == source.read_bytes()


def test_check_watch_checks_again_when_the_notebook_is_saved(course: Course, tmp_path: Path) -> None:
    notebook = tmp_path / "attention.ipynb"
    notebook.write_bytes(course.assignment(ASSIGNMENT).release_path.read_bytes())
    program = str(Path(sys.executable).parent / "autograder")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        command = [program, "check", str(notebook), "--watch", "--course", str(course.root)]
        watching = subprocess.Popen(command, stdout=out, stderr=err)
    told = lambda name: (tmp_path / name).read_text()  # noqa: E731
    try:
        wait_until(lambda: "Watching" in told("err"))
        assert ": 0 of 90 points" in told("out")
        wait_until(lambda: "cannot be read" in told("err"), meanwhile=lambda: notebook.write_text("{"))
        notebook.write_bytes(course.assignment(ASSIGNMENT).solution_path.read_bytes())
        wait_until(lambda: ": 90 of 90 points" in told("out"))
        assert watching.poll() is None
    finally:
        watching.terminate()
        watching.wait(10)


def wait_until(
    condition: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None, seconds: float = 90
) -> None:
    """Wait for something to come true, doing something every half second."""
    for _ in range(int(2 * seconds)):
        if condition():
            return
        meanwhile()
        time.sleep(0.5)
    raise AssertionError(f"it did not come true in {seconds} seconds")
