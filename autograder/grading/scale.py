"""What grading costs, by the number of submissions and of workers: time, memory, and a model to plan with.

The classes are made up: the sample class of 24 again and again, each time with other mistakes and other names. Every
run is a cold ``autograder grade`` of a course of its own. Its time is modelled as

    seconds = start + a · n / workers + b · n

for n submissions: a is what a worker does for each, b what the grader does alone, such as entering points.
"""

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autograder.course import Assignment, Course
from autograder.grading.demo import SEED, hand_in, make_course, sample_class
from autograder.grading.files import write_json
from autograder.grading.memory import History, Sampler
from autograder.grading.release import release
from autograder.grading.sandbox import Sandbox
from autograder.grading.timing import BenchError, autograder_command, count_folders, one_thread_each, timed
from autograder.grading.workers import cores
from autograder.live import Progress

SIZES = (10, 30, 100, 300, 1000)
FORKS = 50
SLOW = 300
"""Larger classes than this are graded with the most workers only: one alone would take most of an hour."""

LARGE = 100_000
SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Model:
    """Seconds that a run takes, see the top of this module; ``error`` is the largest relative one on what was run."""

    start: float
    a: float
    b: float
    error: float = 0.0

    def seconds(self, submissions: int, workers: int) -> float:
        return self.start + self.a * submissions / workers + self.b * submissions

    def workers_for(self, submissions: int, seconds: float) -> int | None:
        """How many workers it takes to be done in so many seconds; None if the grader alone takes longer."""
        left = seconds - self.start - self.b * submissions
        return max(1, ceil(self.a * submissions / left)) if left > 0 else None

    @staticmethod
    def fit(runs: list["Run"]) -> "Model":
        """The model with the least relative errors, and no part of it below zero."""
        rows = np.array([[1.0, run.submissions / run.workers, run.submissions] for run in runs])
        seconds = np.array([run.seconds for run in runs])
        scaled = rows / seconds[:, None]
        used = [0, 1, 2] if len({run.workers for run in runs}) > 1 else [0, 1]
        while True:
            found, *_ = np.linalg.lstsq(scaled[:, used], np.ones(len(runs)), rcond=None)
            if len(used) == 1 or found.min() >= 0:
                break
            del used[int(found.argmin())]
        parts = np.zeros(3)
        parts[used] = found
        error = float(np.abs(rows @ parts / seconds - 1).max())
        start, a, b = parts.tolist()
        return Model(start, a, b, error)


ROUGHLY = Model(start=8.0, a=1.3, b=0.3)
"""What it came to once, on two cores; good enough to say how long a benchmark will take."""


@dataclass(frozen=True)
class Run:
    """One class, graded.

    Attributes:
        cpu_seconds: processor time of all processes.
        grader_seconds: processor time of the process that collects and enters.
        worker: memory of a worker with its sandbox and the notebook that it runs.
        grader: memory of the process that collects and enters.
    """

    submissions: int
    workers: int
    seconds: float
    cpu_seconds: float
    grader_seconds: float
    worker: History
    grader: History

    def to_json(self) -> dict[str, Any]:
        return {
            "submissions": self.submissions,
            "workers": self.workers,
            "seconds": round(self.seconds, 2),
            "seconds_per_submission": round(self.seconds / self.submissions, 4),
            "cpu_seconds_per_submission": round(self.cpu_seconds / self.submissions, 4),
            "grader_cpu_seconds_per_submission": round(self.grader_seconds / self.submissions, 4),
            "worker_mib": asdict(self.worker),
            "grader_mib": asdict(self.grader),
        }


@dataclass
class Scale:
    """What the runs came to.

    Attributes:
        ready_milliseconds: from asking for a notebook's process to its being shut in, many times.
    """

    ready_milliseconds: list[float]
    runs: list[Run] = field(default_factory=list)
    picture: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """The runs as ``autograder bench scale --json`` reports them."""
        ready = sorted(self.ready_milliseconds)
        document = {
            "cores": cores(),
            "ready_milliseconds": {
                "median": round(median(ready), 1),
                "min": round(ready[0], 1),
                "max": round(ready[-1], 1),
            },
            "runs": [run.to_json() for run in self.runs],
            "picture": str(self.picture) if self.picture else None,
        }
        if len(self.runs) < 2:
            return document
        model = Model.fit(self.runs)
        return {
            **document,
            "model": {name: round(value, 4) for name, value in asdict(model).items()},
            "large": {
                "submissions": LARGE,
                "workers": cores(),
                "hours": round(model.seconds(LARGE, cores()) / SECONDS_AN_HOUR, 1),
                "grader_hours": round(model.b * LARGE / SECONDS_AN_HOUR, 1),
                "workers_for_one_hour": model.workers_for(LARGE, SECONDS_AN_HOUR),
                "workers_for_verdicts_in_one_hour": ceil(model.a * LARGE / SECONDS_AN_HOUR),
            },
        }


def planned(sizes: list[int], workers: list[int]) -> list[tuple[int, int]]:
    """The runs to be made, small ones first: submissions and workers."""
    workers = sorted({min(count, cores()) for count in workers})
    return [(n, w) for n in sorted(set(sizes)) for w in workers if n <= SLOW or w == workers[-1]]


def measure(source: Course, folder: Path, plan: list[tuple[int, int]], progress: Progress | None = None) -> Scale:
    """Grade classes of several sizes with several numbers of workers.

    Args:
        folder: where the courses are made; what an earlier run left there is removed. What is measured is written to
            ``scale.json`` in it after each run, so that it is not lost when a later one is stopped.

    Raises:
        BenchError: if a run fails.
    """
    progress = progress or Progress()
    shutil.rmtree(folder, ignore_errors=True)
    progress.begin("Making up the class", 0)
    course = make_course(source, folder / "course")
    assignment = course.assignment("06-attention")
    release(course, assignment)
    progress.begin("Starting notebooks", 0)
    done = Scale(_milliseconds_to_ready(progress))
    for submissions, workers in plan:
        place = folder / f"{submissions}-{workers}"
        _make_large_class(Course.at(shutil.copytree(course.root, place)), assignment, submissions)
        progress.begin(f"{submissions} submissions, {workers} worker{'s' * (workers > 1)}", submissions)
        done.runs.append(_graded(place, assignment.name, submissions, workers, progress))
        write_json(folder / "scale.json", done.to_json())
        shutil.rmtree(place)
    done.picture = _draw(done, folder / "scale.svg")
    write_json(folder / "scale.json", done.to_json())
    return done


def _milliseconds_to_ready(progress: Progress) -> list[float]:
    found = []
    with Sandbox() as sandbox:
        for _ in range(FORKS):
            with sandbox.open() as session:
                found.append(1000 * session.seconds_to_ready)
            progress.step("")
    return found


def _make_large_class(course: Course, assignment: Assignment, submissions: int) -> None:
    made = 0
    while made < submissions:
        for student in sample_class(assignment, SEED + made)[: submissions - made]:
            hand_in(course, assignment, replace(student, name=f"{student.name}{made:05d}"))
            made += 1


def _graded(place: Path, assignment: str, submissions: int, workers: int, progress: Progress) -> Run:
    sampler, count = Sampler(), count_folders(place / "feedback", progress)

    def watch(process_id: int) -> None:
        sampler(process_id)
        count(process_id)

    command = autograder_command("grade", assignment, "--course", str(place), "--workers", str(workers), "--json")
    seconds = timed(command, place, one_thread_each(), watch)
    graded = len(json.loads(place.with_name(f"{place.name}.stdout").read_text())["submissions"])
    if graded != submissions:
        raise BenchError(f"{graded} of {submissions} submissions were graded in {place}.")
    spent = sampler.all_seconds, sampler.grader_seconds
    return Run(submissions, workers, seconds, *spent, sampler.workers(), sampler.grader())


def _draw(done: Scale, path: Path) -> Path:
    """Draw time by submissions, and memory by submissions."""
    figure = Figure(figsize=(9, 4), layout="constrained", facecolor="white")
    time, memory = figure.subplots(1, 2)
    _draw_time(time, done.runs)
    _draw_memory(memory, done.runs)
    figure.savefig(path)
    return path


def _draw_time(axes: Axes, runs: list[Run]) -> None:
    model = Model.fit(runs) if len(runs) > 1 else None
    sizes = np.geomspace(min(run.submissions for run in runs), max(run.submissions for run in runs), 50)
    for i, workers in enumerate(sorted({run.workers for run in runs})):
        mine = [run for run in runs if run.workers == workers]
        label = f"{workers} worker{'s' * (workers > 1)}"
        axes.plot([r.submissions for r in mine], [r.seconds for r in mine], "os"[i % 2], color=f"C{i}", label=label)
        if model is not None:
            axes.plot(sizes, [model.seconds(size, workers) for size in sizes], color=f"C{i}", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="submissions", ylabel="seconds", title="Time; lines: the model")
    axes.grid(which="both", alpha=0.2)
    axes.legend()


def _draw_memory(axes: Axes, runs: list[Run]) -> None:
    most = max(run.workers for run in runs)
    mine = [run for run in runs if run.workers == most]
    sizes = [run.submissions for run in mine]
    for label, values, style in (
        ("a worker with its sandbox: median", [run.worker.median for run in mine], "C0o-"),
        ("a worker with its sandbox: largest", [run.worker.max for run in mine], "C0^:"),
        ("the grader: largest", [run.grader.max for run in mine], "C1s-"),
    ):
        axes.plot(sizes, values, style, label=label)
    axes.set(xscale="log", xlabel="submissions", ylabel="MiB", title=f"Memory, {most} workers")
    axes.set_ylim(bottom=0)
    axes.grid(which="both", alpha=0.2)
    axes.legend()
