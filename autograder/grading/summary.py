"""What a class made of an assignment: how the points fall, and which mistakes to talk about in the next lecture."""

import io
import statistics
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autograder.checking.verdict import TaskVerdict, Verdict
from autograder.course import Assignment, Course
from autograder.grading.files import write_atomically

BINS = 10
WIDTH, MARGIN, NAMES = 8.27, 0.45, 2.5
"""Of the picture, in inches: as wide as a page of A4; what its margins and the names of the tasks take."""

SHOWN = 8
"""How many mistakes the picture shows; the table and ``--json`` have them all."""

SHARES = ("all points", "half or more", "less than half", "none", "not answered", "to be graded by hand")
_FILLS = ("#00204d", "#575d6d", "#a59c74", "#ffea46", "#ffffff", "#ffffff")
_HATCHES = ("", "", "", "", "", "////")
"""From dark to light along one scale that all eyes, and a gray print, keep apart: matplotlib's cividis."""


@dataclass(frozen=True)
class Mistake:
    """A known mistake in a class.

    Attributes:
        name: the misconception's.
        sentence: what is said about it.
        students: how many made it.
    """

    task: str
    name: str
    sentence: str
    students: int


@dataclass(frozen=True)
class TaskPoints:
    """How the points of one task fall.

    Attributes:
        histogram: how many students got up to a tenth, two tenths, … of the points; who got all is in the last.
        students: how many got all points, half or more, and so on: the names in :data:`SHARES`.
    """

    task: str
    max_score: float
    mean: float
    median: float
    histogram: tuple[int, ...]
    students: dict[str, int]


@dataclass(frozen=True)
class Summary:
    """One assignment of a class. Written answers, which a person grades, are not in it."""

    assignment: str
    submissions: int
    max_score: float
    mean: float
    median: float
    histogram: tuple[int, ...]
    tasks: tuple[TaskPoints, ...]
    mistakes: tuple[Mistake, ...]


def summarize(assignment: Assignment, verdicts: Sequence[Verdict]) -> Summary:
    """Add up at least one verdict on an assignment."""
    graded = [name for name, task in verdicts[0].tasks.items() if task.status != "manual"]
    totals = [v.score for v in verdicts]
    max_score = verdicts[0].max_score
    return Summary(
        assignment.name,
        len(verdicts),
        max_score,
        statistics.fmean(totals),
        statistics.median(totals),
        _histogram(totals, max_score),
        tuple(_task_points([v.tasks[name] for v in verdicts]) for name in graded),
        _mistakes(verdicts),
    )


def _task_points(verdicts: Sequence[TaskVerdict]) -> TaskPoints:
    scores = [v.score for v in verdicts if v.score is not None] or [0.0]
    max_score = verdicts[0].max_score
    shares = Counter(_share(v) for v in verdicts)
    return TaskPoints(
        verdicts[0].task,
        max_score,
        statistics.fmean(scores),
        statistics.median(scores),
        _histogram(scores, max_score),
        {name: shares[name] for name in SHARES},
    )


def _share(verdict: TaskVerdict) -> str:
    if verdict.score is None:
        return "to be graded by hand"
    if verdict.score >= verdict.max_score:
        return "all points"
    if verdict.score > 0:
        return "half or more" if 2 * verdict.score >= verdict.max_score else "less than half"
    return "not answered" if verdict.status == "missing" else "none"


def _histogram(scores: Sequence[float], max_score: float) -> tuple[int, ...]:
    counts = Counter(min(int(BINS * score / max_score), BINS - 1) if max_score else BINS - 1 for score in scores)
    return tuple(counts[i] for i in range(BINS))


def _mistakes(verdicts: Sequence[Verdict]) -> tuple[Mistake, ...]:
    """The misconceptions of the class, most frequent first; one counts once for each student."""
    students: Counter[tuple[str, str]] = Counter()
    said: dict[tuple[str, str], str] = {}
    for verdict in verdicts:
        for task in verdict.tasks.values():
            found = {case.misconception: case.sentence for case in task.cases if case.misconception}
            for name, sentence in found.items():
                students[task.task, name] += 1
                said[task.task, name] = sentence
    ranked = sorted(students.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(Mistake(task, name, said[task, name], count) for (task, name), count in ranked)


def picture_path(course: Course, assignment: str) -> Path:
    """Where the picture of a class is put."""
    return course.root / "summaries" / f"{assignment}.png"


def draw(course: Course, summary: Summary) -> Path:
    """Draw a class for one printed page; returns where the picture is.

    Raises:
        OSError: if there is no room for it.
    """
    mistakes = [(mistake, _wrapped(mistake)) for mistake in summary.mistakes[:SHOWN]]
    tasks_height = 0.3 * len(summary.tasks)
    mistakes_height = sum(_row(lines) for _, lines in mistakes)
    page = _Page(1.0 + 1.3 + 0.8 + tasks_height + 1.2 + mistakes_height + 0.1)
    page.figure.text(MARGIN / WIDTH, 1 - 0.35 / page.height, _title(summary), fontsize=13, fontweight="bold")
    _draw_totals(page.axes(0.95, 1.3), summary)
    _draw_tasks(page.axes(3.05, tasks_height, left=NAMES), summary)
    if mistakes:
        _draw_mistakes(page.axes(4.3 + tasks_height, mistakes_height), mistakes)
    image = io.BytesIO()
    page.figure.savefig(image, format="png", dpi=200)
    path = picture_path(course, summary.assignment)
    write_atomically(path, image.getvalue())
    return path


class _Page:
    """A page as wide as A4 with room for axes, all in inches."""

    def __init__(self, height: float) -> None:
        self.height = height
        self.figure = Figure(figsize=(WIDTH, height), facecolor="white")

    def axes(self, top: float, height: float, left: float = MARGIN) -> Axes:
        width = WIDTH - left - MARGIN
        box = (left / WIDTH, 1 - (top + height) / self.height, width / WIDTH, height / self.height)
        axes = self.figure.add_axes(box)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(labelsize=8.5, left=False)
        return axes


def _title(summary: Summary) -> str:
    count = f"{summary.submissions} submission{'s' * (summary.submissions != 1)}"
    return f"{summary.assignment}: {count}, {summary.mean:.0f} of {summary.max_score:g} points on average"


def _heading(axes: Axes, text: str, left: float = 0.0) -> None:
    axes.set_title(text, x=left, loc="left", fontsize=10, fontweight="bold")


def _draw_totals(axes: Axes, summary: Summary) -> None:
    _heading(axes, "How many students got how many points")
    width = summary.max_score / BINS
    lefts = [i * width for i in range(BINS)]
    bars = axes.bar(lefts, summary.histogram, width=0.94 * width, align="edge", color=_FILLS[1])
    axes.bar_label(bars, labels=[str(n) if n else "" for n in summary.histogram], fontsize=8, padding=1)
    axes.set_xticks([*lefts, summary.max_score])
    axes.set_xlim(0, summary.max_score)
    axes.set_yticks([])


def _draw_tasks(axes: Axes, summary: Summary) -> None:
    _heading(
        axes, "What they got in each task (its points in parentheses)", (MARGIN - NAMES) / (WIDTH - NAMES - MARGIN)
    )
    start = [0.0] * len(summary.tasks)
    names = [f"{task.task} ({task.max_score:g})" for task in summary.tasks]
    for i, label in enumerate(SHARES):
        widths = [100 * task.students[label] / summary.submissions for task in summary.tasks]
        if not any(widths):
            continue
        bars = axes.barh(
            names,
            widths,
            0.76,
            start,
            label=label,
            color=_FILLS[i],
            hatch=_HATCHES[i],
            edgecolor="black",
            linewidth=0.5,
        )
        counts = [str(task.students[label]) if w >= 4 else "" for task, w in zip(summary.tasks, widths, strict=True)]
        if label != "to be graded by hand":
            axes.bar_label(bars, labels=counts, label_type="center", fontsize=7.5, color="white" if i < 2 else "black")
        start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_formatter("{x:.0f} %")
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, -0.22 / (0.3 * len(names))), ncols=3, fontsize=8, frameon=False)


def _wrapped(mistake: Mistake) -> list[str]:
    return textwrap.wrap(f"{mistake.task}: {mistake.sentence}".replace("`", "").replace("$", ""), 84)[:3]


def _row(lines: list[str]) -> float:
    return 0.155 * len(lines) + 0.17


def _draw_mistakes(axes: Axes, mistakes: list[tuple[Mistake, list[str]]]) -> None:
    _heading(axes, "The most frequent mistakes, and how many students made them")
    most = max(mistake.students for mistake, _ in mistakes)
    top = 0.0
    for mistake, lines in mistakes:
        middle = top + _row(lines) / 2
        length = 0.2 * mistake.students / most
        axes.barh(middle, length, 0.2, color=_FILLS[1])
        axes.text(length + 0.007, middle, str(mistake.students), fontsize=8.5, va="center")
        axes.text(0.27, middle, "\n".join(lines), fontsize=8.5, va="center", linespacing=1.15)
        top += _row(lines)
    axes.set_ylim(top, 0)
    axes.set_xlim(0, 1)
    axes.axis("off")
