"""Grading again: what is kept, what is done anew, what the gradebook keeps, what a failure of ours leaves behind."""

import errno
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import ASSIGNMENT, ROOT, hand_in

from autograder.checking.verdict import Status, Verdict
from autograder.course import Course, read_notebook
from autograder.grading import files, store
from autograder.grading.demo import make_course, sample_class
from autograder.grading.enter import Clerk
from autograder.grading.files import secret_seed
from autograder.grading.grade import Graded, grade
from autograder.grading.gradebook import open_gradebook, quiet_logging
from autograder.grading.release import release
from autograder.grading.store import (
    all_ours,
    keep_verdict,
    latest_verdict,
    load,
    verdict_key,
    verdict_path,
)

STUDENTS = ("ann", "bob", "cem")
WRITTEN, CHECKED = "permutation_why", "causal_mask"


@pytest.fixture(scope="module")
def small_class(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """Three students, graded: one with all points, one with a mistake, one who answered nothing."""
    course = make_course(Course.at(ROOT), tmp_path_factory.mktemp("regrade") / "course")
    assignment = course.assignment(ASSIGNMENT)
    release(course, assignment)
    made_up = {student.kind: next(iter(student.files.values())) for student in sample_class(assignment)}
    for name, kind in zip(STUDENTS, ("perfect", "some mistakes", "empty"), strict=True):
        hand_in(course, name, made_up[kind])
    assert grade(course, [assignment]).complete
    return course


@pytest.fixture
def course(small_class: Course, tmp_path: Path) -> Course:
    """The graded class once more, for one test alone."""
    return Course.at(shutil.copytree(small_class.root, tmp_path / "course"))


def regrade(course: Course, **options: Any) -> Graded:
    return grade(course, [course.assignment(ASSIGNMENT)], **options)


def key_of(course: Course, student: str) -> str:
    path = course.submitted_directory / student / ASSIGNMENT / "attention.ipynb"
    return verdict_key(read_notebook(path), course.assignment(ASSIGNMENT), secret_seed(course.root))


def judge_otherwise(course: Course, student: str, task: str, score: float | None) -> Verdict:
    """Put another verdict in the place of the one that is kept, as a mended task would make it."""
    verdict = latest_verdict(course, student, ASSIGNMENT)
    assert verdict is not None
    status: Status = "grader-error" if score is None else "partial"
    changed = replace(verdict.tasks[task], score=score, status=status, message="Judged otherwise.")
    other = replace(verdict, tasks={**verdict.tasks, task: changed})
    keep_verdict(course, student, course.assignment(ASSIGNMENT), key_of(course, student), other)
    return other


def grades_of(course: Course, student: str) -> dict[str, dict[str, Any]]:
    with quiet_logging(), open_gradebook(course) as gradebook:
        grades = gradebook.find_submission_notebook("attention", ASSIGNMENT, student).grades
        return {g.name: {**g.to_dict(), "needs_manual_grade": g.needs_manual_grade} for g in grades}


def by_hand(course: Course, student: str, task: str, points: float, comment: str = "") -> None:
    """What an instructor does in the formgrader."""
    with quiet_logging(), open_gradebook(course) as gradebook:
        entry = gradebook.find_grade(task, "attention", ASSIGNMENT, student)
        entry.manual_score, entry.needs_manual_grade = points, False
        if comment:
            gradebook.find_comment(task, "attention", ASSIGNMENT, student).manual_comment = comment
        gradebook.db.commit()


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def dump(course: Course) -> list[str]:
    with sqlite3.connect(course.root / "gradebook.db") as database:
        return list(database.iterdump())


def test_a_damaged_verdict_is_none_whatever_the_damage(course: Course) -> None:
    path = verdict_path(course, "bob", ASSIGNMENT)
    whole = path.read_bytes()
    assert load(course, "bob", ASSIGNMENT) is not None
    damages = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff" + whole,
        whole[: len(whole) // 2],
        whole.replace(b'"score": 10', b'"score": 19'),
    ]
    for damaged in damages:
        path.write_bytes(damaged)
        assert load(course, "bob", ASSIGNMENT) is None, damaged[:40]
        assert store.is_damaged(course, "bob", ASSIGNMENT)


def test_a_damaged_verdict_is_made_anew_and_a_line_says_so(course: Course) -> None:
    before = grades_of(course, "ann")
    path = verdict_path(course, "ann", ASSIGNMENT)
    path.write_bytes(path.read_bytes()[:-30])
    graded = regrade(course)
    assert graded.warnings == [f"The verdict that was kept on {ASSIGNMENT} of ann was damaged; it was made anew."]
    assert graded.complete
    assert latest_verdict(course, "ann", ASSIGNMENT) is not None
    assert {name: g["auto_score"] for name, g in grades_of(course, "ann").items()} == {
        name: g["auto_score"] for name, g in before.items()
    }


def test_force_makes_a_verdict_anew_and_nothing_changes(course: Course) -> None:
    before = load(course, "ann", ASSIGNMENT)
    graded = regrade(course, student="ann", force=True)
    assert graded.changes == []
    after = load(course, "ann", ASSIGNMENT)
    assert after is not None
    assert before is not None
    assert after.key == before.key
    assert after.digest != before.digest, "the seconds that it took are in it"


def test_a_second_run_with_a_deadline_enters_nothing_again(course: Course) -> None:
    with quiet_logging(), open_gradebook(course) as gradebook:
        gradebook.update_or_create_assignment(ASSIGNMENT, duedate=datetime(2026, 1, 1))
    regrade(course)
    before = {p: p.stat().st_mtime_ns for p in course.feedback_directory.rglob("*.html")}
    assert regrade(course).changes == []
    assert {p: p.stat().st_mtime_ns for p in course.feedback_directory.rglob("*.html")} == before


def test_a_regrade_keeps_what_a_person_gave_and_said(course: Course) -> None:
    by_hand(course, "ann", WRITTEN, 7, "Well said.")
    by_hand(course, "ann", CHECKED, 5.5)
    judge_otherwise(course, "ann", "split_heads", 4)
    graded = regrade(course)
    grades = grades_of(course, "ann")
    assert [(c.student, c.task, c.before, c.after) for c in graded.changes] == [("ann", "split_heads", 10, 4)]
    assert (grades["split_heads"]["auto_score"], grades[WRITTEN]["manual_score"]) == (4, 7)
    assert grades[CHECKED]["manual_score"] == 5.5
    assert not grades[WRITTEN]["needs_manual_grade"], "the written answer is the one that was graded"
    assert not grades[CHECKED]["needs_manual_grade"]
    with quiet_logging(), open_gradebook(course) as gradebook:
        assert gradebook.find_comment(WRITTEN, "attention", ASSIGNMENT, "ann").comment == "Well said."
        assert gradebook.find_submission(ASSIGNMENT, "ann").score == 90 - 6 - 0.5 + 7


def test_points_that_a_person_replaced_and_that_change_want_another_look(course: Course) -> None:
    by_hand(course, "ann", CHECKED, 5.5)
    judge_otherwise(course, "ann", CHECKED, 3)
    (change,) = regrade(course).changes
    assert (change.before, change.after, change.by_hand) == (6, 3, 5.5)
    entry = grades_of(course, "ann")[CHECKED]
    assert (entry["auto_score"], entry["manual_score"], entry["needs_manual_grade"]) == (3, 5.5, True)


def test_the_gradebook_and_the_seed_are_backed_up_before_points_change(course: Course) -> None:
    assert not (course.root / "backups").exists()
    before = dump(course)
    judge_otherwise(course, "ann", CHECKED, 3)
    judge_otherwise(course, "bob", CHECKED, 3)
    backup = regrade(course).backup
    assert backup is not None
    assert [p.name for p in (course.root / "backups").iterdir()] == [backup.name], "one run makes one backup"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+Z", backup.name)
    with sqlite3.connect(backup / "gradebook.db") as database:
        assert list(database.iterdump()) == before
    assert (backup / "secret_seed").read_bytes() == secret_seed(course.root)
    for path in (backup.parent, backup, *backup.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert dump(course) != before


def test_a_run_that_changes_nothing_makes_no_backup(course: Course) -> None:
    shutil.rmtree(course.feedback_directory / "ann")
    assert regrade(course).backup is None
    assert not (course.root / "backups").exists()


def test_a_dry_run_shows_what_would_change_and_changes_nothing(course: Course) -> None:
    judge_otherwise(course, "ann", CHECKED, 3)
    hand_in(course, "dee", b"{")
    kept = ("gradebook.db", "autograded", "feedback")
    before = {name: content(course.root / name) if name != "gradebook.db" else dump(course) for name in kept}
    graded = regrade(course, dry_run=True)
    assert [(c.student, c.task, c.before, c.after) for c in graded.changes] == [("ann", CHECKED, 6, 3)]
    assert (graded.new, graded.backup, graded.pictures) == (1, None, [])
    assert {n: content(course.root / n) if n != "gradebook.db" else dump(course) for n in kept} == before
    assert latest_verdict(course, "dee", ASSIGNMENT) is not None
    really = regrade(course)
    assert (really.changes, really.new) == (graded.changes, 1)
    assert grades_of(course, "ann")[CHECKED]["auto_score"] == 3


def test_a_resubmission_takes_the_place_of_the_first(course: Course) -> None:
    by_hand(course, "cem", WRITTEN, 6, "So far, so good.")
    solved = read_notebook(course.submitted_directory / "ann" / ASSIGNMENT / "attention.ipynb")
    earlier = latest_verdict(course, "cem", ASSIGNMENT)
    hand_in(course, "cem", solved)
    graded = regrade(course)
    assert earlier is not None
    assert earlier.score == 0
    assert {c.task for c in graded.changes} == {t for t, v in earlier.tasks.items() if v.status != "manual"}
    grades = grades_of(course, "cem")
    assert sum(g["auto_score"] or 0 for g in grades.values()) == 90
    assert (grades[WRITTEN]["manual_score"], grades[WRITTEN]["needs_manual_grade"]) == (6, True)
    with quiet_logging(), open_gradebook(course) as gradebook:
        assert gradebook.find_comment(WRITTEN, "attention", ASSIGNMENT, "cem").comment == "So far, so good."
        assert len(gradebook.find_assignment(ASSIGNMENT).submissions) == len(STUDENTS)


def due(course: Course, when: datetime, extension: timedelta | None = None) -> None:
    with quiet_logging(), open_gradebook(course) as gradebook:
        gradebook.update_or_create_assignment(ASSIGNMENT, duedate=when)
        if extension:
            gradebook.find_submission(ASSIGNMENT, "ann").extension = extension
            gradebook.db.commit()


def penalty_of(course: Course, student: str) -> float:
    with quiet_logging(), open_gradebook(course) as gradebook:
        return gradebook.find_submission_notebook("attention", ASSIGNMENT, student).late_submission_penalty or 0


def configured(course: Course, lines: str) -> Course:
    config = course.root / "nbgrader_config.py"
    config.write_text(f"{config.read_text()}\n{lines}\n")
    return Course.at(course.root)


def stamped(course: Course, student: str, when: str) -> None:
    (course.received_directory / student / ASSIGNMENT / "timestamp.txt").write_text(when)


def test_late_costs_what_nbgraders_method_says_and_an_extension_gives_it_back(course: Course) -> None:
    course = configured(course, 'c.LateSubmissionPlugin.penalty_method = "zero"')
    due(course, datetime(2026, 1, 1))
    stamped(course, "ann", "2026-01-01 10:00:00 UTC")
    stamped(course, "bob", "2025-12-31 10:00:00 UTC")
    regrade(course)
    assert (penalty_of(course, "ann"), penalty_of(course, "bob")) == (90, 0)
    page = (course.feedback_directory / "ann" / ASSIGNMENT / "attention.html").read_text()
    assert "Late submission penalty" in page
    due(course, datetime(2026, 1, 1), extension=timedelta(days=1))
    regrade(course)
    assert penalty_of(course, "ann") == 0


def test_a_penalty_of_ones_own_is_taken_from_the_points(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    (course.root / "an_hour_costs_two.py").write_text(
        "from nbgrader.plugins import BasePlugin\n\n\n"
        "class AnHourCostsTwo(BasePlugin):\n"
        "    def late_submission_penalty(self, student_id, score, total_seconds_late):\n"
        "        return 2 * total_seconds_late / 3600\n"
    )
    monkeypatch.syspath_prepend(course.root)
    course = configured(course, 'c.AssignLatePenalties.plugin_class = "an_hour_costs_two.AnHourCostsTwo"')
    due(course, datetime(2026, 1, 1))
    stamped(course, "ann", "2026-01-01 03:00:00 UTC")
    regrade(course)
    assert penalty_of(course, "ann") == 6


def test_the_time_of_a_resubmission_counts(course: Course) -> None:
    course = configured(course, 'c.LateSubmissionPlugin.penalty_method = "zero"')
    due(course, datetime(2026, 1, 1))
    folder = course.submitted_directory / "ann" / ASSIGNMENT
    notebook = folder / "attention.ipynb"
    for day, penalty in (("2025-12-30", 0), ("2026-01-02", 90)):
        (folder / "timestamp.txt").write_text(f"{day} 00:00:00 UTC")
        notebook.write_bytes(notebook.read_bytes() + b"\n")  # as `nbgrader collect --update` puts it there
        regrade(course)
        assert penalty_of(course, "ann") == penalty, day


def test_a_time_that_is_none_is_said_and_costs_nothing(course: Course) -> None:
    stamped(course, "ann", "yesterday, I think")
    notebook = read_notebook(course.submitted_directory / "ann" / ASSIGNMENT / "attention.ipynb")
    notebook.cells[0].source += " "
    hand_in(course, "ann", notebook)
    graded = regrade(course)
    assert graded.complete
    repairs = next(r["repairs"] for r in graded.reports if r["student"] == "ann")
    assert any("timestamp.txt does not say when" in repair for repair in repairs)


def test_our_failure_waits_for_a_person_with_its_reason_and_the_next_run_tries_again(course: Course) -> None:
    assignment = course.assignment(ASSIGNMENT)
    keep_verdict(course, "ann", assignment, key_of(course, "ann"), all_ours(assignment, "The disk was on fire."))
    with quiet_logging():
        clerk = Clerk(course, [assignment])
    submission = next(s for s in collected(course) if s.student == "ann")
    ours = latest_verdict(course, "ann", ASSIGNMENT)
    assert ours is not None
    assert clerk.enter(submission, ours) == ""
    grades = grades_of(course, "ann")
    assert {(g["auto_score"], g["needs_manual_grade"]) for n, g in grades.items() if n != WRITTEN} == {(None, True)}
    assert "The disk was on fire." in (course.feedback_directory / "ann" / ASSIGNMENT / "attention.html").read_text()
    assert latest_verdict(course, "ann", ASSIGNMENT) == ours, "entering does not judge again"
    graded = regrade(course)
    assert graded.complete
    assert grades_of(course, "ann")[CHECKED]["auto_score"] == 6
    assert not grades_of(course, "ann")[CHECKED]["needs_manual_grade"]


def collected(course: Course) -> list[Any]:
    from autograder.grading.intake import collect

    return collect(course, [course.assignment(ASSIGNMENT)]).submissions


def test_a_run_with_a_failure_of_ours_is_not_complete(course: Course, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Verdict, "is_final", True)
    judge_otherwise(course, "ann", CHECKED, None)
    graded = regrade(course)
    assert not graded.complete
    assert [(c.before, c.after) for c in graded.changes] == [(6, None)]
    assert grades_of(course, "ann")[CHECKED]["needs_manual_grade"]


def test_who_nbgrader_cannot_enter_is_named_and_costs_nobody_else(course: Course) -> None:
    for student in STUDENTS:
        judge_otherwise(course, student, CHECKED, 1)
    in_the_way = course.autograded_directory / "bob"
    shutil.rmtree(in_the_way)
    in_the_way.write_text("a file where a folder belongs")
    graded = regrade(course)
    assert len(graded.not_entered) == 1
    assert graded.not_entered[0].startswith(f"Entering {ASSIGNMENT} of bob failed: ")
    assert not graded.complete
    assert [grades_of(course, s)[CHECKED]["auto_score"] for s in ("ann", "cem")] == [1, 1]
    in_the_way.unlink()
    assert regrade(course).complete
    assert grades_of(course, "bob")[CHECKED]["auto_score"] == 1


def test_a_gradebook_that_somebody_holds_is_said_and_the_next_run_goes_on(course: Course) -> None:
    judge_otherwise(course, "ann", CHECKED, 1)
    with sqlite3.connect(course.root / "gradebook.db") as held:
        held.execute("BEGIN IMMEDIATE")
        graded = regrade(course, student="ann")
        held.rollback()
    assert len(graded.not_entered) == 1
    assert not graded.complete
    assert regrade(course).complete
    assert grades_of(course, "ann")[CHECKED]["auto_score"] == 1


@pytest.mark.parametrize("fails_at", ["verdicts", "submitted", "summaries", "backups"])
def test_a_full_disk_stops_the_run_and_the_next_completes_it(
    course: Course, monkeypatch: pytest.MonkeyPatch, fails_at: str
) -> None:
    before = {s: grades_of(course, s) for s in STUDENTS}
    judge_otherwise(course, "bob", CHECKED, 1)
    hand_in(course, "dee", b"{")
    really = os.replace, os.rename

    def no_room(way: Any) -> Any:
        def move(source: Any, target: Any) -> None:
            if f"/{fails_at}/" in str(target):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            way(source, target)

        return move

    monkeypatch.setattr(files.os, "replace", no_room(really[0]))
    monkeypatch.setattr(files.os, "rename", no_room(really[1]))
    with pytest.raises(OSError, match="No space left on device"):
        regrade(course)
    monkeypatch.setattr(files.os, "replace", really[0])
    monkeypatch.setattr(files.os, "rename", really[1])
    assert regrade(course).complete
    after = {s: grades_of(course, s) for s in STUDENTS}
    assert after["bob"][CHECKED]["auto_score"] == 1
    assert {s: [g["auto_score"] for g in after[s].values()] for s in ("ann", "cem")} == {
        s: [g["auto_score"] for g in before[s].values()] for s in ("ann", "cem")
    }
    assert grades_of(course, "dee")[CHECKED]["auto_score"] == 0
    assert [p for p in course.root.rglob(".*partial*") if p.exists()] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can make a small disk to fill")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("kilobytes_left", [0, 100, 400])
def test_a_disk_that_is_really_full_is_one_sentence_and_nothing_is_lost(
    course: Course, small_disk: Path, kilobytes_left: int
) -> None:
    for student in STUDENTS:
        judge_otherwise(course, student, CHECKED, 1)
    hand_in(course, "dee", b"{")
    course = Course.at(shutil.copytree(course.root, small_disk / "course"))
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free - 1024 * kilobytes_left
    filler.write_bytes(b"x" * free)
    command = [sys.executable, "-c", "from autograder.cli import main; main()", "grade", "--json"]
    full = subprocess.run([*command, "--course", str(course.root)], capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1].startswith("The disk is full.")
    assert "Traceback" not in full.stderr
    filler.unlink()
    assert regrade(course).complete
    assert [grades_of(course, s)[CHECKED]["auto_score"] for s in (*STUDENTS, "dee")] == [1, 1, 1, 0]
