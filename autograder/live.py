"""How far a grading run is: a live bar in a terminal, a plain line now and then in a log file."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

SECONDS_BETWEEN_LINES = 15.0


@dataclass
class Progress:
    """What a grading run tells while it goes; the default says nothing.

    Attributes:
        begin: told the name of a stage and how many steps it has, 0 if that is not known.
        step: told that a step is done, and a line for a person if it went other than it should.
    """

    begin: Callable[[str, int], None] = lambda stage, total: None
    step: Callable[[str], None] = lambda line: None


@contextmanager
def live_progress(console: Console) -> Iterator[Progress]:
    """Show the progress of a run, with the rate and the time left, and a line for whatever is out of the way."""
    if console.is_terminal:
        with _bars(console) as bars:
            yield _in_terminal(bars)
    else:
        yield _Plain(console).progress()


def _bars(console: Console) -> Bars:
    rate = TextColumn("{task.fields[rate]}")
    return Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        rate,
        TimeRemainingColumn(),
        console=console,
    )


def _in_terminal(bars: Bars) -> Progress:
    stages: list[TaskID] = []

    def begin(stage: str, total: int) -> None:
        for earlier in stages[-1:]:
            bars.update(earlier, total=bars.tasks[-1].completed, rate="")
        stages.append(bars.add_task(f"{stage:<22}", total=total or None, rate=""))

    def step(line: str) -> None:
        if line:
            bars.console.print(f"  {line}", markup=False, highlight=False)
        bars.advance(stages[-1])
        speed = bars.tasks[-1].speed
        bars.update(stages[-1], rate=per_minute(speed) if speed else "")

    return Progress(begin, step)


class _Plain:
    """Lines for a log file: the start and the end of a stage, and between them one every quarter of a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage, self._total, self._done = "", 0, 0
        self._began = self._told = 0.0

    def progress(self) -> Progress:
        return Progress(self._begin, self._step)

    def _begin(self, stage: str, total: int) -> None:
        self._stage, self._total, self._done = stage, total, 0
        self._began = self._told = time.monotonic()
        self._print(f"{stage}: {total} submissions ..." if total else f"{stage} ...")

    def _step(self, line: str) -> None:
        self._done += 1
        now = time.monotonic()
        if line:
            self._print(f"  {line}")
        if self._done == self._total or now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            self._print(self._how_far(now - self._began))

    def _how_far(self, seconds: float) -> str:
        if not self._total:
            return f"{self._stage}: {self._done}"
        if seconds < 1:
            return f"{self._stage}: {self._done} of {self._total}"
        speed = self._done / seconds
        minutes = (self._total - self._done) / speed / 60
        left = f", {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left" if minutes else ""
        return f"{self._stage}: {self._done} of {self._total}, {per_minute(speed)}{left}"

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def per_minute(speed: float) -> str:
    """A speed, given in steps a second, for a person."""
    return f"{60 * speed:.0f} a minute"
