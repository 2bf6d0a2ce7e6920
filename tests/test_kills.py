"""Runs that are killed and run again: no verdict is lost, doubled or changed, and nobody is left behind.

``WIC_KILLS=50`` asks for more kills than the ordinary three.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ASSIGNMENT, ROOT, hand_in

from autograder.course import Course
from autograder.grading.demo import make_course, sample_class
from autograder.grading.files import secret_seed
from autograder.grading.gradebook import open_gradebook, quiet_logging
from autograder.grading.release import release
from autograder.grading.store import is_damaged, load, verdict_path

KILLS = int(os.environ.get("WIC_KILLS", "3"))
IN_A_ROW = 4
"""So often a class is killed at most before it is graded to the end."""

STUDENTS = 5
COMMAND = [sys.executable, "-c", "from autograder.cli import main; main()", "grade", "--json"]


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A few students' submissions; nothing is graded, and the seed is made."""
    course = make_course(Course.at(ROOT), tmp_path_factory.mktemp("kills") / "course")
    assignment = course.assignment(ASSIGNMENT)
    release(course, assignment)
    for student in sample_class(assignment)[1 : 1 + STUDENTS - 1]:
        hand_in(course, student.name, next(iter(student.files.values())))
    hand_in(course, "zoe", b"{")
    secret_seed(course.root)
    return course


def run(course: Course) -> subprocess.Popen[bytes]:
    command = [*COMMAND, "--course", str(course.root)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True)


def to_the_end(course: Course) -> float:
    """Grade a class to the end; returns the seconds that it took."""
    began = time.monotonic()
    assert run(course).wait(300) == 0
    return time.monotonic() - began


def copied(course: Course, folder: Path) -> Course:
    return Course.at(shutil.copytree(course.root, folder))


def verdicts(course: Course) -> dict[str, dict[str, Any]]:
    """The points and the words of every verdict, by student."""
    found = {}
    for folder in course.received_directory.iterdir():
        assert not is_damaged(course, folder.name, ASSIGNMENT), folder.name
        kept = load(course, folder.name, ASSIGNMENT)
        if kept is not None:
            tasks = kept.verdict.tasks.values()
            found[folder.name] = {t.task: (t.score, t.status, t.message, t.carried) for t in tasks}
    return found


def digests(course: Course) -> dict[str, str]:
    kept = {folder.name: load(course, folder.name, ASSIGNMENT) for folder in course.received_directory.iterdir()}
    return {student: one.digest for student, one in kept.items() if one is not None}


def points(course: Course) -> dict[str, list[tuple[str, float | None, bool]]]:
    """What the gradebook has, by student; somebody who is in it twice has each task twice."""
    with quiet_logging(), open_gradebook(course) as gradebook:
        found: dict[str, list[tuple[str, float | None, bool]]] = {}
        for submission in gradebook.assignment_submissions(ASSIGNMENT):
            entries = found.setdefault(submission.student_id, [])
            for notebook in submission.notebooks:
                entries += [(g.name, g.auto_score, g.needs_manual_grade) for g in notebook.grades]
        return {student: sorted(entries) for student, entries in found.items()}


def left_behind(session: int) -> list[int]:
    """The processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session and "Z" not in (folder / "stat").read_text().rpartition(")")[2]:
                found.append(int(folder.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return found


@pytest.mark.timeout(60 * (5 + KILLS))
def test_runs_killed_at_random_moments_lose_double_and_change_nothing(handed_in: Course, tmp_path: Path) -> None:
    undisturbed = copied(handed_in, tmp_path / "undisturbed")
    seconds = to_the_end(undisturbed)
    right, entered = verdicts(undisturbed), points(undisturbed)
    assert len(right) == len(entered) == STUDENTS
    draw = random.Random(2018)
    kills, classes, unfinished = 0, 0, 0
    while kills < KILLS:
        course = copied(handed_in, tmp_path / f"class-{classes}")
        classes += 1
        for _ in range(IN_A_ROW):
            before = digests(course)
            running = run(course)
            try:
                assert running.wait(draw.uniform(0.0, seconds)) == 0
                break
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)
                running.wait()
            kills += 1
            assert_nobody_is_left(running.pid)
            kept = digests(course)
            unfinished += len(kept) < STUDENTS
            assert before.items() <= kept.items(), "a verdict was lost or changed"
            assert {student: right[student] for student in kept} == verdicts(course)
            assert_is_part_of(points(course), entered)
            if kills == KILLS:
                break
        to_the_end(course)
        assert (verdicts(course), points(course)) == (right, entered)
        for student in right:
            assert (course.feedback_directory / student / ASSIGNMENT / "attention.html").exists()
            assert (course.autograded_directory / student / ASSIGNMENT / "attention.ipynb").exists()
        partial = [p for p in course.root.rglob(".*") if p.suffix == ".partial" or ".partial-" in p.name]
        assert partial == [], "what was half written when the run was killed is cleared away"
        again = digests(course)
        to_the_end(course) if classes == 1 else None
        assert digests(course) == again
        shutil.rmtree(course.root)
        told = f"{kills} kills in {classes} classes, {unfinished} before all was judged; {seconds:.0f} s a run"
        print(told, flush=True)


def assert_nobody_is_left(session: int) -> None:
    for _ in range(1200):
        if not left_behind(session):
            return
        time.sleep(0.1)
    raise AssertionError(f"processes outlive the run: {left_behind(session)}")


def assert_is_part_of(found: dict[str, list[Any]], whole: dict[str, list[Any]]) -> None:
    """What is entered so far is as it will be; a task that was not come to has no points yet."""
    for student, entries in found.items():
        will_be = {name: score for name, score, _ in whole[student]}
        names = [name for name, _, _ in entries]
        assert len(names) == len(set(names)), student
        for name, score, _ in entries:
            assert score in (None, will_be[name]), (student, name)


def test_a_verdict_is_written_whole_or_not_at_all(handed_in: Course, tmp_path: Path) -> None:
    """What a kill in the middle of writing leaves is beside the file, not in it."""
    course = copied(handed_in, tmp_path / "course")
    path = verdict_path(course, "zoe", ASSIGNMENT)
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / f".{path.name}.abc.partial").write_text('{"key"')
    to_the_end(course)
    assert load(course, "zoe", ASSIGNMENT) is not None
    assert not list(path.parent.glob(".*"))
