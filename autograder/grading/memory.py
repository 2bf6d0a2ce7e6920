"""How much memory and processor time a grading run takes while it goes: the grader, each worker with its sandbox.

Memory is counted as the kernel's proportional set size: what several processes share counts once among them.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil

LEAST_SECONDS = 1.0
MOST_SHARE = 0.02
"""Reading the memory of a dozen processes takes the kernel a while; no more of the time than this goes to it."""

MIB = 1 << 20
PRELOADED = "autograder.checking.client.preload"


class Size(NamedTuple):
    """Bytes of one process or several.

    Attributes:
        everything: the proportional set size.
        written: what of it the processes have written themselves. The rest, files such as torch's, is the smaller the
            more other programs of this machine have them open, so that it tells nothing about growth.
    """

    everything: int = 0
    written: int = 0

    def plus(self, others: Iterable["Size"]) -> "Size":
        """All of them together."""
        return Size(*(sum(column) for column in zip(self, *others, strict=True)))


@dataclass(frozen=True)
class Sample:
    """Sizes at one moment.

    Attributes:
        grader: the process that collects and enters.
        workers: each judging process, by its process id, with its part of what helps all of them.
        sandboxes: the preloaded process of each worker and the notebook that it runs, by the worker's process id.
    """

    grader: Size
    workers: dict[int, Size]
    sandboxes: dict[int, Size]

    def together(self) -> list[Size]:
        """Each worker with its sandbox."""
        return [self.workers[i].plus([self.sandboxes[i]]) for i in self.workers]


class Sampler:
    """Takes samples of a running ``autograder grade``; call it with the process id, as often as you like.

    Attributes:
        grader_seconds: processor time of the grader itself, at the last sample.
        all_seconds: of all processes, those included that have ended.
    """

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.grader_seconds = self.all_seconds = 0.0
        self._next = 0.0

    def __call__(self, process_id: int) -> None:
        started = time.monotonic()
        if started < self._next:
            return
        try:
            self._take(psutil.Process(process_id))
        except psutil.Error:  # it ended meanwhile
            return
        spent = time.monotonic() - started
        self._next = started + max(LEAST_SECONDS, spent / MOST_SHARE)

    def _take(self, grader: psutil.Process) -> None:
        family = grader.children(recursive=True)
        self.grader_seconds = _seconds(grader, with_ended=False)
        now = sum(_seconds(process) for process in [grader, *family])
        self.all_seconds = max(self.all_seconds, now)  # when workers have gone, so has what they took
        workers, sandboxes = dict[int, Size](), dict[int, Size]()
        for worker in _workers(family):
            inside = _inside(worker)
            workers[worker.pid] = _size(worker)
            sandboxes[worker.pid] = Size().plus(map(_size, inside))
            family = [process for process in family if process != worker and process not in inside]
        rest = Size().plus(map(_size, family))
        part = Size(*(size // max(1, len(workers)) for size in rest))
        self.samples.append(Sample(_size(grader), {i: size.plus([part]) for i, size in workers.items()}, sandboxes))

    def workers(self) -> "History":
        """Every worker with its sandbox."""
        return History.of([sample.together() for sample in self.samples if sample.together()])

    def grader(self) -> "History":
        """The process that collects and enters, while there are workers."""
        return History.of([[sample.grader] for sample in self.samples if sample.together()])


@dataclass(frozen=True)
class History:
    """How memory went in a run, in MiB.

    Attributes:
        median: of all samples.
        max: the largest sample.
        growth: of what was written, from the second tenth of the run to its last, median to median; None with fewer
            than 20 samples. In the first tenth a worker gets to know each task's mistakes, which it keeps.
    """

    median: float
    max: float
    growth: float | None

    @staticmethod
    def of(samples: list[list[Size]]) -> "History":
        everything = [size.everything / MIB for sample in samples for size in sample]
        tenth = len(samples) // 10
        growth = None
        if tenth >= 2:
            early, last = (
                [size.written / MIB for sample in part for size in sample]
                for part in (samples[tenth : 2 * tenth], samples[-tenth:])
            )
            growth = round(median(last) - median(early), 1)
        return History(round(median(everything or [0]), 1), round(max(everything, default=0), 1), growth)


def _workers(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that started a preloaded process."""
    preloaded = {process.pid: process for process in family if _is_preloaded(process)}
    return [p for p in family if p.pid not in preloaded and any(q.ppid() == p.pid for q in preloaded.values())]


def _is_preloaded(process: psutil.Process) -> bool:
    """Whether a process is a preloaded one, or what shuts it in."""
    try:
        return any(PRELOADED in word for word in process.cmdline())
    except psutil.Error:
        return False


def _inside(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return worker.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _seconds(process: psutil.Process, with_ended: bool = True) -> float:
    """Processor time of a process, and of those that it started and that have ended; 0 if it is gone."""
    try:
        spent = process.cpu_times()
    except psutil.Error:
        return 0.0
    ended = spent.children_user + spent.children_system if with_ended else 0.0
    return float(spent.user + spent.system + ended)


def _size(process: psutil.Process) -> Size:
    """The proportional set size of a process (proc_pid_smaps(5)); 0 if it is gone or may not be looked at."""
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return Size()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
    return Size(kib.get("Pss", 0) << 10, (kib.get("Pss_Anon", 0) + kib.get("Pss_Shmem", 0)) << 10)
