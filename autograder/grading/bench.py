"""Our grading against stock nbgrader's: the same class, in turn, on the same machine.

Both sides start cold in processes of their own, with one thread each, and give the same things: points in a gradebook
and a feedback page for every student. Stock nbgrader grades one submission after another, as it does; ours has a
worker for each core, the sandbox, and errors carried forward. Stock nbgrader gets the submissions as our intake
mended them, since it stops at some files as they arrive.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import nbformat

from autograder.course import Assignment, Course, graded_cells
from autograder.grading.demo import CHEATS, SEED, MadeUp, hand_in, make_course, sample_class
from autograder.grading.intake import collect
from autograder.grading.release import release
from autograder.grading.stock import StockCourse
from autograder.grading.timing import BenchError, autograder_command, count_folders, one_thread_each, timed
from autograder.grading.workers import cores
from autograder.live import Progress

TRAINING = ("train_reverser(use_positions=True)", "train_reverser(use_positions=True, steps=1)")
"""The training at the end of 06-attention, and what is left of it where none is wanted: it costs both sides the same
second or so for each notebook, which says nothing of grading.
"""

ROUGH_SECONDS = {"ours": 0.7, "stock": 9.0, "start": 20.0, "training": 0.8}
"""What it came to once, on two cores; good enough to say how long the benchmark will take."""


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    min: float
    max: float

    @staticmethod
    def of(values: list[float]) -> "Spread":
        return Spread(*(round(number, 4) for number in (median(values), min(values), max(values))))


@dataclass(frozen=True)
class Judged:
    """What both sides say of one answer.

    Attributes:
        left_out: why the two need not agree; empty if they must.
    """

    student: str
    task: str
    stock_points: float | None
    our_points: float | None
    max_points: float
    left_out: str = ""

    @property
    def agrees(self) -> bool:
        """Whether both give all points or neither does; stock nbgrader's tests know no part of the points."""
        return (self.stock_points == self.max_points) == (self.our_points == self.max_points)


@dataclass
class Comparison:
    """What the rounds came to, in seconds for the whole class.

    Attributes:
        stock_autograde: without the feedback pages.
        judged: every answer, in the last round.
    """

    assignment: str
    training: bool
    submissions: int
    workers: int
    stock: list[float] = field(default_factory=list)
    stock_autograde: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    @property
    def differences(self) -> list[Judged]:
        """Answers on which the two should agree and do not."""
        return [judged for judged in self.judged if not judged.left_out and not judged.agrees]

    def to_json(self) -> dict[str, Any]:
        """The comparison as ``autograder bench grading --json`` reports it: seconds are those per submission."""
        count = self.submissions
        return {
            "assignment": self.assignment,
            "training": self.training,
            "submissions": count,
            "workers": self.workers,
            "rounds": len(self.ours),
            "stock_seconds": asdict(Spread.of([seconds / count for seconds in self.stock])),
            "stock_autograde_seconds": asdict(Spread.of([seconds / count for seconds in self.stock_autograde])),
            "our_seconds": asdict(Spread.of([seconds / count for seconds in self.ours])),
            "ratio": asdict(Spread.of([a / b for a, b in zip(self.stock, self.ours, strict=True)])),
            "ratio_to_autograde": asdict(
                Spread.of([a / b for a, b in zip(self.stock_autograde, self.ours, strict=True)])
            ),
            "points_agree": not self.differences,
            "answers_compared": sum(not judged.left_out for judged in self.judged),
            "differences": [asdict(judged) for judged in self.differences],
            "left_out": [asdict(judged) for judged in self.judged if judged.left_out and not judged.agrees],
        }


def minutes(rounds: int, students: int, training: bool) -> float:
    """Roughly how long :func:`compare` takes on two cores."""
    rough = ROUGH_SECONDS
    each = rough["ours"] + rough["stock"] + (1.5 * rough["training"] if training else 0)
    return rounds * (rough["start"] + students * each) / 60


def compare(
    source: Course,
    folder: Path,
    rounds: int,
    students: int,
    training: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Let both grade a made-up class of 06-attention, in turn.

    Args:
        folder: where the courses are made; what an earlier run left there is removed.
        students: how many; fewer than the sample class has are chosen evenly from it.
        training: with the training at the notebook's end, which is otherwise cut to one step.

    Raises:
        BenchError: if one of the two fails.
    """
    progress = progress or Progress()
    shutil.rmtree(folder, ignore_errors=True)
    progress.begin("Making up the class", 0)
    ours = make_course(source, folder / "ours")
    assignment = ours.assignment("06-attention")
    if not training:
        _without_training(assignment)
    release(ours, assignment)
    chosen = class_of(students, assignment)
    for student in chosen:
        hand_in(ours, assignment, student)
    collected = Course.at(shutil.copytree(ours.root, folder / "collected"))
    collect(collected, [collected.assignment(assignment.name)])
    stock = StockCourse.make(folder / "stock", assignment, collected.submitted_directory)
    done = Comparison(assignment.name, training, len(chosen), min(cores(), len(chosen)))
    for number in range(1, rounds + 1):
        called = f"Round {number} of {rounds}"
        place = folder / f"round-{number}-ours"
        our_place = Course.at(shutil.copytree(ours.root, place))
        command = autograder_command("grade", assignment.name, "--course", str(place), "--json")
        progress.begin(f"{called}: ours", len(chosen))
        done.ours.append(
            timed(command, place, one_thread_each(), count_folders(our_place.feedback_directory, progress))
        )
        their_place = stock.copy_to(folder / f"round-{number}-stock")
        progress.begin(f"{called}: stock nbgrader", len(chosen))
        grading = their_place.autograde(assignment.name, count_folders(their_place.root / "autograded", progress))
        progress.begin(f"{called}: its feedback", len(chosen))
        feedback = their_place.generate_feedback(
            assignment.name, count_folders(their_place.root / "feedback", progress)
        )
        done.stock_autograde.append(grading)
        done.stock.append(grading + feedback)
        done.judged = list(_judged(assignment, chosen, their_place, place))
        if number < rounds:
            shutil.rmtree(place)
            shutil.rmtree(their_place.root)
    return done


def _without_training(assignment: Assignment) -> None:
    training, hardly_any = TRAINING
    notebook = assignment.solution
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and training in cell.source]
    if len(cells) != 1:
        raise BenchError(f"{assignment.name} has no cell with {training} any more: mend TRAINING in {__name__}.")
    cells[0].source = cells[0].source.replace(training, hardly_any)
    nbformat.write(notebook, assignment.solution_path)


def class_of(count: int, assignment: Assignment) -> list[MadeUp]:
    """The sample class, or some of it; for more students, others like it whose mistakes are drawn anew."""
    students = sample_class(assignment)
    if count < len(students):
        return [students[i * len(students) // count] for i in range(count)]
    for number in range(1, -(-count // len(students))):
        others = sample_class(assignment, SEED + number)
        students += [replace(student, name=f"{student.name}-{number + 1}") for student in others]
    return students[:count]


def _judged(assignment: Assignment, students: list[MadeUp], stock: StockCourse, ours: Path) -> Iterator[Judged]:
    """Every answer of the class, as both sides have it."""
    theirs = stock.points(assignment.name)
    reports = {r["student"]: r for r in json.loads(ours.with_name(f"{ours.name}.stdout").read_text())["submissions"]}
    hostile = {kind for kind, _ in CHEATS}
    for student in students:
        for cell in graded_cells(assignment.solution):
            if cell.manual:
                continue
            task = reports[student.name]["tasks"][cell.id]
            reason = ""
            if student.kind in hostile:
                reason = f"hostile: it {student.kind}"
            elif task["carried"]:
                reason = f"carried forward from {', '.join(task['carried'])}"
            their_points = theirs.get(student.name, {}).get(cell.id)
            yield Judged(student.name, cell.id, their_points, task["score"], cell.points, reason)
