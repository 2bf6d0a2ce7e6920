"""Grading a class: collect, make verdicts in parallel, let nbgrader enter them, write feedback pages."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nbgrader.api import MissingEntry
from nbgrader.apps.api import NbGraderAPI

from autograder.checking.verdict import Verdict
from autograder.course import Assignment, Course, CourseError, read_notebook
from autograder.grading.files import only_run, secret_seed
from autograder.grading.gradebook import NbgraderError, demand, open_api, open_gradebook, quiet_logging
from autograder.grading.intake import Collected, Submission, collect
from autograder.grading.release import release
from autograder.grading.store import (
    all_ours,
    is_entered,
    keep_verdict,
    kept_verdict,
    latest_verdict,
    mark_entered,
    verdict_for,
    verdict_key,
)


@dataclass
class Progress:
    """What a grading run tells while it goes; the default says nothing."""

    begin: Callable[[str, int], None] = lambda stage, total: None
    step: Callable[[str], None] = lambda line: None


@dataclass
class Graded:
    """What became of a class."""

    reports: list[dict[str, Any]]
    warnings: list[str]

    @property
    def complete(self) -> bool:
        """Whether every submission has a verdict that is ours to stand by."""
        return all(t["status"] != "grader-error" for report in self.reports for t in report["tasks"].values())


def grade(
    course: Course,
    assignments: list[Assignment],
    student: str | None = None,
    workers: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Graded:
    """Grade what arrived for some assignments.

    Args:
        student: only this one's.
        workers: processes; as many as there are cores by default.
        force: make verdicts anew that are kept already.

    Raises:
        CourseError: if there is nothing to grade.
        CourseBusy: if another run is grading this course.
        NbgraderError: if nbgrader refuses as a whole.
    """
    progress = progress or Progress()
    with only_run(course.root):
        ensure_released(course, assignments)
        collected = _collect(course, assignments, student, progress)
        secret_seed(course.root)
        verdicts = _make_verdicts(course, collected.submissions, workers or os.cpu_count() or 1, force, progress)
        warnings = collected.warnings + _enter(course, collected.submissions, verdicts, progress)
        reports = [
            {**verdict.report(s.student, [*s.repairs, *([s.problem] if s.problem else [])]), "warnings": []}
            for s, verdict in zip(collected.submissions, verdicts, strict=True)
        ]
        return Graded(reports, warnings)


def ensure_released(course: Course, assignments: Iterable[Assignment]) -> None:
    """Release assignments that are not in the gradebook, as on a fresh clone."""
    for assignment in assignments:
        with quiet_logging(), open_gradebook(course) as gradebook:
            try:
                there = bool(gradebook.find_assignment(assignment.name).notebooks)
            except MissingEntry:
                there = False
        if not there or not assignment.release_path.exists():
            release(course, assignment)


def _collect(course: Course, assignments: list[Assignment], student: str | None, progress: Progress) -> Collected:
    progress.begin("Collecting", 0)
    collected = collect(course, assignments, student, on_file=lambda path: progress.step(""))
    if not collected.submissions:
        whose = f" of {student}" if student else ""
        what = ", ".join(a.name for a in assignments)
        raise CourseError(
            f"There are no submissions{whose} for {what}. Put them into {course.received_directory.name}/ as "
            "STUDENT/ASSIGNMENT/notebook.ipynb, as notebooks named after students, or as a zip file."
        )
    return collected


def _make_verdicts(
    course: Course, submissions: list[Submission], workers: int, force: bool, progress: Progress
) -> list[Verdict]:
    """A verdict for each submission, made in parallel; a worker that dies costs nobody anything."""
    progress.begin("Grading", len(submissions))
    verdicts: dict[int, Verdict] = {}
    for index, submission in enumerate(submissions):
        kept = None if force else kept_for(course, course.assignment(submission.assignment), submission)
        if kept is not None:
            verdicts[index] = kept
            progress.step(_line(submission, kept))
    new = [i for i in range(len(submissions)) if i not in verdicts]
    again = _in_pool(course, submissions, new, workers, force, verdicts, progress) if new else []
    for index in again:  # one by one, so that only who brings a worker down is without a verdict
        if _in_pool(course, submissions, [index], 1, force, verdicts, progress):
            submission = submissions[index]
            reason = "The grader's own process died twice over this notebook; a person must grade it."
            verdicts[index] = _ours(course, submission, reason)
            progress.step(f"{submission.student}: {reason}")
    return [verdicts[i] for i in range(len(submissions))]


def _in_pool(
    course: Course,
    submissions: list[Submission],
    indices: list[int],
    workers: int,
    force: bool,
    verdicts: dict[int, Verdict],
    progress: Progress,
) -> list[int]:
    """Fill in verdicts; returns the indices whose worker died."""
    died = []
    with ProcessPoolExecutor(min(workers, len(indices)), mp_context=get_context("spawn"), initializer=_begin) as pool:
        waiting: dict[Future, int] = {}
        for index in indices:
            s = submissions[index]
            waiting[pool.submit(_grade_one, str(course.root), s.assignment, s.student, str(s.path), force)] = index
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                index = waiting.pop(future)
                submission = submissions[index]
                try:
                    verdicts[index] = Verdict.from_json(future.result())
                except BrokenProcessPool:
                    died.append(index)
                    continue
                except OSError:
                    pool.shutdown(cancel_futures=True)
                    raise
                except Exception as error:  # a bug of ours in one submission must not stop the others
                    verdicts[index] = _ours(course, submission, f"The grader failed: {type(error).__name__}: {error}")
                progress.step(_line(submission, verdicts[index]))
    return died


def kept_for(course: Course, assignment: Assignment, submission: Submission) -> Verdict | None:
    """The final verdict on a collected submission that is kept already, if there is one."""
    key = verdict_key(read_notebook(submission.path), assignment, secret_seed(course.root))
    kept = kept_verdict(course, submission.student, assignment, key)
    return kept if kept is not None and kept.is_final else None


def _begin() -> None:
    import torch

    torch.set_num_threads(1)


def _grade_one(root: str, assignment_name: str, student: str, path: str, force: bool) -> dict[str, Any]:
    """In a worker: the verdict on one collected notebook."""
    course = Course.at(Path(root))
    assignment = course.assignment(assignment_name)
    return verdict_for(course, assignment, student, read_notebook(Path(path)), force).to_json()


def _ours(course: Course, submission: Submission, reason: str) -> Verdict:
    assignment = course.assignment(submission.assignment)
    verdict = all_ours(assignment, reason)
    key = verdict_key(read_notebook(submission.path), assignment, secret_seed(course.root))
    keep_verdict(course, submission.student, assignment, key, verdict)
    return verdict


def _enter(course: Course, submissions: list[Submission], verdicts: list[Verdict], progress: Progress) -> list[str]:
    """Let nbgrader write gradebook, autograded notebooks and feedback pages; returns what it could not do."""
    new = [s for s in submissions if not (is_entered(course, s.student, s.assignment) and _pages_exist(course, s))]
    progress.begin("Writing the gradebook", len(new))
    problems = []
    with quiet_logging():
        api = open_api(course)
        for submission in new:
            try:
                _enter_one(api, submission)
                if latest_verdict(course, submission.student, submission.assignment) is not None:
                    mark_entered(course, submission.student, submission.assignment)
            except NbgraderError as error:
                problems.append(f"{submission.student}: {error}")
            progress.step("")
    return problems


def _enter_one(api: NbGraderAPI, submission: Submission) -> None:
    what = f"Entering {submission.assignment} of {submission.student}"
    demand(api.autograde(submission.assignment, submission.student, force=True, create=True), what)
    demand(api.generate_feedback(submission.assignment, submission.student, force=True), what)


def _pages_exist(course: Course, submission: Submission) -> bool:
    folder = Path(submission.student) / submission.assignment
    stem = submission.path.stem
    return (course.autograded_directory / folder / f"{stem}.ipynb").exists() and (
        course.feedback_directory / folder / f"{stem}.html"
    ).exists()


def _line(submission: Submission, verdict: Verdict) -> str:
    """What to say of a submission as it is graded; nothing if all went its ordinary way."""
    ours = [t.task for t in verdict.tasks.values() if t.status == "grader-error"]
    if ours:
        return f"{submission.student}: {', '.join(ours)} must be graded by hand: {verdict.tasks[ours[0]].message}"
    if submission.problem:
        return f"{submission.student}: {submission.problem}"
    return f"{submission.student}: {verdict.notes[0]}" if verdict.notes else ""
