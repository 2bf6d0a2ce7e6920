"""Verdicts into the gradebook, by nbgrader and nobody else: the points, the autograded notebook, the feedback page."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from autograder.checking.verdict import Verdict
from autograder.course import Assignment, Course
from autograder.grading.backup import NoBackup, back_up
from autograder.grading.gradebook import Entered, NbgraderError, demand, entered, open_api, quiet_logging
from autograder.grading.intake import Submission
from autograder.grading.store import entered_stamp, load, mark_entered


@dataclass(frozen=True)
class Change:
    """Points in the gradebook that a verdict would replace; None where a person must grade.

    Attributes:
        by_hand: what a person gave in their place, which stays.
    """

    student: str
    assignment: str
    task: str
    before: float | None
    after: float | None
    by_hand: float | None = None


class Clerk:
    """Enters the verdicts of one run. What is in the gradebook already and has not changed is left alone.

    Attributes:
        backup: where the gradebook was copied to, once something in it was to be changed.
        warnings: what went otherwise than it should, a sentence each.
    """

    def __init__(self, course: Course, assignments: list[Assignment]) -> None:
        self._course = course
        with quiet_logging():
            self._api = open_api(course)
            self._api.config.ExecuteVerdict.retry = False  # it was made in this run, by a worker
            self._api.config.Repair.enabled = False  # it was mended when it was collected
            self._before = {a.name: entered(course, a.name) for a in assignments}
        self.backup: Path | None = None
        self.warnings: list[str] = []
        self._is_backed_up = False

    def enter(self, submission: Submission, verdict: Verdict) -> str:
        """Let nbgrader enter a verdict and make the feedback page; returns what went wrong, in a sentence.

        Raises:
            OSError: if the disk is full.
        """
        course, student, assignment = self._course, submission.student, submission.assignment
        stamp = self._stamp(submission)
        earlier = entered_stamp(course, student, assignment)
        if earlier == stamp and self._pages_exist(submission):
            return ""
        if (earlier is not None and earlier != stamp) or self.changes(submission, verdict):
            self._back_up()
        what = f"Entering {assignment} of {student}"
        try:
            with quiet_logging():
                demand(self._api.autograde(assignment, student, force=True, create=True), what)
                demand(self._api.generate_feedback(assignment, student, force=True), what)
        except NbgraderError as error:
            return str(error)
        mark_entered(course, student, assignment, stamp)
        return ""

    def is_new(self, submission: Submission) -> bool:
        """Whether the gradebook has no points of this submission yet."""
        return not any(s is not None for s in self._there(submission).scores.values())

    def changes(self, submission: Submission, verdict: Verdict) -> list[Change]:
        """The points in the gradebook that a verdict would replace."""
        there = self._there(submission)
        return [
            Change(submission.student, submission.assignment, name, before, task.score, there.by_hand.get(name))
            for name, task in verdict.tasks.items()
            if task.status != "manual" and (before := there.scores.get(name)) is not None and before != task.score
        ]

    def _there(self, submission: Submission) -> Entered:
        return self._before[submission.assignment][submission.student]

    def _stamp(self, submission: Submission) -> str:
        """What an entry depends on: the verdict, when it was handed in, when it was due, and what late costs."""
        kept = load(self._course, submission.student, submission.assignment)
        handed_in = submission.path.with_name("timestamp.txt")
        config = self._course.config
        late = [repr(config.get(name)) for name in ("AssignLatePenalties", "LateSubmissionPlugin")]
        parts = [
            kept.digest if kept else "",
            handed_in.read_bytes().decode("utf-8", "replace") if handed_in.is_file() else "",
            self._there(submission).due,
            *late,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _pages_exist(self, submission: Submission) -> bool:
        folder = Path(submission.student) / submission.assignment
        stem = submission.path.stem
        return (self._course.autograded_directory / folder / f"{stem}.ipynb").exists() and (
            self._course.feedback_directory / folder / f"{stem}.html"
        ).exists()

    def _back_up(self) -> None:
        """Copy the gradebook before the first change of this run to what is in it."""
        if self._is_backed_up:
            return
        self._is_backed_up = True
        try:
            self.backup = back_up(self._course)
        except NoBackup as error:
            self.warnings.append(str(error))
