"""Grading a class: collect, make verdicts in parallel, let nbgrader enter them, write feedback pages."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nbgrader.api import MissingEntry

from autograder.checking.verdict import Verdict
from autograder.course import Assignment, Course, CourseError, read_notebook
from autograder.grading.enter import Change, Clerk
from autograder.grading.files import clear_partial, only_run, secret_seed
from autograder.grading.gradebook import one_engine, open_gradebook, quiet_logging
from autograder.grading.intake import Collected, Submission, collect, is_unreadable
from autograder.grading.pages import place_mathjax
from autograder.grading.release import release
from autograder.grading.store import (
    all_missing,
    all_ours,
    is_damaged,
    keep_verdict,
    kept_verdict,
    verdict_key,
    verdict_path,
)
from autograder.grading.summary import Summary, draw, summarize
from autograder.grading.workers import Crew, LocalCrew, Work
from autograder.live import Progress


@dataclass
class Graded:
    """What became of a class.

    Attributes:
        warnings: what a person should know, a sentence each.
        not_entered: submissions whose verdict nbgrader could not enter, a sentence each; the next run tries again.
        changes: points in the gradebook that were replaced, or would be.
        new: how many submissions were not in the gradebook before.
        backup: where the gradebook was copied to, if points in it were replaced.
        summaries: what the class made of each assignment; none if only one student was graded.
        pictures: where the drawings of the summaries are.
    """

    reports: list[dict[str, Any]]
    warnings: list[str]
    not_entered: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    new: int = 0
    backup: Path | None = None
    summaries: list[Summary] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every submission has a verdict that is ours to stand by, and the gradebook has it."""
        is_ours = any(t["status"] == "grader-error" for report in self.reports for t in report["tasks"].values())
        return not is_ours and not self.not_entered

    def to_json(self) -> dict[str, Any]:
        """The run as ``autograder grade --json`` reports it."""
        return {
            "submissions": self.reports,
            "warnings": self.warnings,
            "not_entered": self.not_entered,
            "changes": [asdict(change) for change in self.changes],
            "new": self.new,
            "backup": str(self.backup) if self.backup else None,
            "summaries": [asdict(summary) for summary in self.summaries],
            "pictures": [str(path) for path in self.pictures],
        }


def grade(
    course: Course,
    assignments: list[Assignment],
    student: str | None = None,
    crew: Crew | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Graded:
    """Grade what arrived for some assignments.

    Args:
        student: only this one's.
        crew: who makes verdicts; by default a process of this machine for each core.
        force: make verdicts anew that are kept already.
        dry_run: make verdicts and compare them with the gradebook, and change nothing there nor in any page.

    Raises:
        CourseError: if there is nothing to grade.
        CourseBusy: if another run is grading this course.
        NbgraderError: if nbgrader refuses as a whole.
        OSError: if the disk is full; what was done is kept, and the next run goes on from there.
    """
    progress, crew = progress or Progress(), crew or LocalCrew()
    with only_run(course.root), one_engine(), ExitStack() as leaving:
        leaving.callback(crew.dismiss)
        for folder in (course.verdicts_directory, course.submitted_directory):
            clear_partial(folder)
        if _is_all_new(course):
            crew.prepare()
        not_released: list[str] = []
        if dry_run:
            _demand_released(course, assignments)
        else:
            assignments, not_released = ensure_released(course, assignments)
            place_mathjax(course)
        collected = _collect(course, assignments, student, progress)
        secret_seed(course.root)
        submissions, warnings = collected.submissions, not_released + collected.warnings
        verdicts: dict[int, Verdict] = {}
        refused: list[int] = []
        changes: list[Change] = []
        clerk = Clerk(course, assignments)

        def take(index: int, verdict: Verdict) -> None:
            verdicts[index] = replace(verdict, outputs={})  # they are on the disk, and thousands would fill the memory
            changes.extend(clerk.changes(submissions[index], verdict))
            problem = "" if dry_run else clerk.enter(submissions[index], verdict)
            if problem:
                refused.append(index)
            progress.step(problem or _line(submissions[index], verdict))

        new = []
        progress.begin("Looking for verdicts", len(submissions))
        for index, submission in enumerate(submissions):
            kept = None if force else _kept_for(course, submission, warnings)
            if kept is None:
                new.append(index)
                progress.step("")
            else:
                take(index, kept)
        if new:
            crew.prepare()
        progress.begin("Grading", len(new))
        for index, verdict in _make(course, submissions, new, crew):
            take(index, verdict)
        again = (clerk.enter(submissions[index], verdicts[index]) for index in refused)
        graded = Graded(
            [
                verdicts[i].report(s.student, [*s.repairs, *([s.problem] if s.problem else [])])
                for i, s in enumerate(submissions)
            ],
            warnings + clerk.warnings,
            [problem for problem in again if problem],
            changes,
            sum(clerk.is_new(submission) for submission in submissions),
            clerk.backup,
        )
        if student is None:
            graded.summaries = _summaries(assignments, submissions, verdicts)
            graded.pictures = [] if dry_run else [draw(course, summary) for summary in graded.summaries]
    return graded


def _summaries(
    assignments: list[Assignment], submissions: list[Submission], verdicts: dict[int, Verdict]
) -> list[Summary]:
    by_assignment = {
        assignment.name: [verdicts[i] for i, s in enumerate(submissions) if s.assignment == assignment.name]
        for assignment in assignments
    }
    return [summarize(a, found) for a in assignments if (found := by_assignment[a.name]) and found[0].max_score]


def _demand_released(course: Course, assignments: Iterable[Assignment]) -> None:
    for assignment in assignments:
        if not _is_released(course, assignment):
            raise CourseError(
                f"{assignment.name} has not been released here, so there are no points that could change: "
                "grade without --dry-run."
            )


def ensure_released(course: Course, assignments: Iterable[Assignment]) -> tuple[list[Assignment], list[str]]:
    """Release assignments that are not in the gradebook, as on a fresh clone.

    Returns:
        the assignments that are released, and a sentence for each that cannot be: it keeps nobody else waiting.

    Raises:
        CourseError: if none of them is and can be released.
    """
    released, problems = [], []
    for assignment in assignments:
        try:
            if not _is_released(course, assignment):
                release(course, assignment)
            released.append(assignment)
        except CourseError as error:
            problems.append(str(error))
    if problems and not released:
        raise CourseError(" ".join(problems))
    return released, problems


def _is_released(course: Course, assignment: Assignment) -> bool:
    with quiet_logging(), open_gradebook(course) as gradebook:
        try:
            there = bool(gradebook.find_assignment(assignment.name).notebooks)
        except MissingEntry:
            there = False
    return there and assignment.release_path.exists()


def _is_all_new(course: Course) -> bool:
    """Whether something arrived and nothing was graded yet: there will be work, so nobody need wait to know it."""
    kept, arrived = course.verdicts_directory, course.received_directory
    return arrived.is_dir() and any(arrived.iterdir()) and not (kept.is_dir() and any(kept.iterdir()))


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


def _make(course: Course, submissions: list[Submission], new: list[int], crew: Crew) -> Iterator[tuple[int, Verdict]]:
    """Verdicts that are to be made, each kept as it is ready; made in parallel."""
    seed = secret_seed(course.root)
    readable = []
    for index in new:
        submission = submissions[index]
        assignment = course.assignment(submission.assignment)
        problem = is_unreadable(read_notebook(submission.path))
        if problem:
            yield index, _keep(course, submission, all_missing(assignment, problem))
        else:
            readable.append(index)
    handed_in = (submissions[index] for index in readable)
    work = (Work.of(read_notebook(s.path), course.assignment(s.assignment), seed) for s in handed_in)
    for position, outcome in crew.outcomes(work):
        submission = submissions[readable[position]]
        if isinstance(outcome, str):
            outcome = all_ours(course.assignment(submission.assignment), outcome)
        yield readable[position], _keep(course, submission, outcome)


def _keep(course: Course, submission: Submission, verdict: Verdict) -> Verdict:
    assignment = course.assignment(submission.assignment)
    key = verdict_key(read_notebook(submission.path), assignment, secret_seed(course.root))
    keep_verdict(course, submission.student, assignment, key, verdict)
    return verdict


def _kept_for(course: Course, submission: Submission, warnings: list[str]) -> Verdict | None:
    """The final verdict on a collected submission that is kept already, if there is one."""
    if not verdict_path(course, submission.student, submission.assignment).exists():
        return None
    if is_damaged(course, submission.student, submission.assignment):
        whose = f"{submission.assignment} of {submission.student}"
        warnings.append(f"The verdict that was kept on {whose} was damaged; it was made anew.")
        return None
    assignment = course.assignment(submission.assignment)
    key = verdict_key(read_notebook(submission.path), assignment, secret_seed(course.root))
    kept = kept_verdict(course, submission.student, assignment, key)
    return kept if kept is not None and kept.is_final else None


def _line(submission: Submission, verdict: Verdict) -> str:
    """What to say of a submission as it is graded; nothing if all went its ordinary way."""
    ours = [t.task for t in verdict.tasks.values() if t.status == "grader-error"]
    if ours:
        return f"{submission.student}: {', '.join(ours)} must be graded by hand: {verdict.tasks[ours[0]].message}"
    if submission.problem:
        return f"{submission.student}: {submission.problem}"
    return f"{submission.student}: {verdict.notes[0]}" if verdict.notes else ""
