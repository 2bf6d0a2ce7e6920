"""Verdicts made in parallel, by processes of this machine.

What a worker needs is in the work itself, so that a worker may be anywhere (:mod:`autograder.grading.cluster`), and
what comes back is plain JSON. Nobody but the grader writes files.
"""

import contextlib
import gc
import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import nbformat
from nbformat import NotebookNode

from autograder.checking.verdict import Verdict
from autograder.course import Assignment
from autograder.grading.files import NO_ROOM
from autograder.grading.fingerprint import grader_hash
from autograder.grading.forkserver import start_forkserver
from autograder.grading.sandbox import NoSandbox, SandboxError

DIED = "The grader's own process died over this notebook, and again when it was tried once more."

Outcome = Verdict | str
"""A verdict, or why we failed to make one."""


class OtherVersion(Exception):
    """A worker would grade with other code than the grader's."""


@dataclass(frozen=True)
class Work:
    """One mended notebook and all that it takes to judge it.

    Attributes:
        notebook: the mended notebook, as JSON.
        seed: of the inputs; the course's secret, which thus goes to every worker.
        assignment: its name.
        file_name: of its notebook.
        solution: its solution notebook, as JSON.
        release: its released notebook, as JSON.
        grader: hash of all that grades it, on which worker and grader must agree.
    """

    notebook: str
    seed: bytes
    assignment: str
    file_name: str
    solution: str
    release: str
    grader: str

    @staticmethod
    def of(notebook: NotebookNode, assignment: Assignment, seed: bytes) -> "Work":
        return Work(
            nbformat.writes(notebook),
            seed,
            assignment.name,
            assignment.solution_path.name,
            *_texts(assignment),
            grader_hash(assignment),
        )


Piece = tuple[int, Work]
"""Work with its position."""


class Crew(Protocol):
    """Workers, wherever they are."""

    def prepare(self) -> None:
        """Tell that there will be work, for what takes a while to be ready; it does not wait until it is."""
        ...

    def dismiss(self) -> None:
        """Tell that no work will come any more; who was prepared for it in vain is sent away."""
        ...

    def outcomes(self, work: Iterable[Work]) -> Iterator[tuple[int, Outcome]]:
        """What comes of each piece of work, with its position, in the order in which they are finished.

        Work is taken as there are workers for it, so that a class need not fit into memory.
        """
        ...


@lru_cache(maxsize=16)
def _texts(assignment: Assignment) -> tuple[str, str]:
    return assignment.solution_path.read_bytes().decode(), assignment.release_path.read_bytes().decode()


_one_at_a_time = threading.Lock()


def do(work: Work) -> dict[str, Any]:
    """In a worker: the verdict on one notebook, as JSON. A process does one piece of work at a time.

    What judges is imported here and not above, since the grader itself need not wait for torch.

    Raises:
        OtherVersion: if this worker would grade with other code.
    """
    from autograder.grading.run import judge_notebook

    with _one_at_a_time:
        assignment = _assignment(work.assignment, work.file_name, work.solution, work.release)
        if grader_hash(assignment) != work.grader:
            raise OtherVersion
        notebook = nbformat.reads(work.notebook, as_version=4)
        return judge_notebook(notebook, assignment, work.seed).to_json()


@lru_cache(maxsize=16)
def _assignment(name: str, file_name: str, solution: str, release: str) -> Assignment:
    """An assignment made of its notebooks, which are written to a folder of this worker's own."""
    content = sha256(f"{solution}\0{release}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"words-in-context-{os.getpid()}-{content}" / name
    for part, text in (("solution", solution), ("release", release)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / file_name).write_bytes(text.encode())
    return Assignment(name, folder / "solution" / file_name, folder / "release" / file_name)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalCrew:
    """Processes of this machine, each with one thread and a preloaded sandbox of its own.

    Args:
        workers: how many; never more than there are cores.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = min(workers or cores(), cores())
        self._prepared: _Pool | None = None
        start_forkserver()

    def prepare(self) -> None:
        """See :class:`Crew`."""
        if self._prepared is None:
            self._prepared = _Pool(self.workers)
            self._prepared.start()

    def dismiss(self) -> None:
        """See :class:`Crew`."""
        if self._prepared is not None:
            self._prepared.stop()
            self._prepared = None

    def outcomes(self, work: Iterable[Work]) -> Iterator[tuple[int, Outcome]]:
        """See :class:`Crew`. A worker that dies costs nobody else: what was in hand is tried again, one by one.

        Raises:
            NoSandbox: if this machine gives none.
            OSError: if the disk is full.
        """
        coming = enumerate(work)
        queue, suspects = deque(islice(coming, 1)), deque[Piece]()
        while queue or self._prepared:
            pool, self._prepared = self._prepared or _Pool(self.workers), None
            for piece, outcome in pool.outcomes(queue, coming, 2 * self.workers):
                if outcome is None:
                    suspects.append(piece)
                else:
                    yield piece[0], outcome
        while suspects:
            for piece, outcome in _Pool(1).outcomes(suspects, iter(()), 1):
                yield piece[0], DIED if outcome is None else outcome


class _Pool:
    """Processes until one of them dies.

    Args:
        workers: how many.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._scratch = tempfile.TemporaryDirectory(prefix="words-in-context-")
        context = multiprocessing.get_context("forkserver")
        self._executor = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_begin, initargs=(self._scratch.name,)
        )

    def start(self) -> None:
        """Let the processes come into being, each of which starts its sandbox."""
        for _ in range(self._workers):
            self._executor.submit(one_thread)

    def stop(self) -> None:
        """End the processes, whatever they are at."""
        for process in multiprocessing.active_children():
            process.kill()
        self._executor.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    def outcomes(
        self, queue: deque[Piece], coming: Iterator[Piece], most: int
    ) -> Iterator[tuple[Piece, Outcome | None]]:
        """Outcomes until nothing is left or a worker dies; None for what was in hand then. It can be used once.

        At most so much is handed out that no worker waits while an outcome is dealt with, and that few are suspected
        when one of them dies. The queue, which is filled up with what is coming, is empty only when nothing is left.
        """
        with self._scratch, self._executor as pool:
            in_hand: dict[Future[dict[str, Any]], Piece] = {}
            broken = False
            try:
                while in_hand or (queue and not broken):
                    while queue and not broken and len(in_hand) < most:
                        try:
                            in_hand[pool.submit(do, queue[0][1])] = queue[0]
                        except BrokenProcessPool:
                            broken = True
                        else:
                            queue.popleft()
                            queue.extend(islice(coming, 1))
                    for future in wait(in_hand, return_when=FIRST_COMPLETED).done:
                        outcome = _outcome(future)
                        broken = broken or outcome is None
                        yield in_hand.pop(future), outcome
            finally:
                for process in multiprocessing.active_children() if in_hand else ():
                    process.terminate()  # the run was stopped: nobody waits for what is in hand


def _outcome(future: Future[dict[str, Any]]) -> Outcome | None:
    """What became of a piece of work; None if its worker died."""
    try:
        return Verdict.from_json(future.result())
    except BrokenProcessPool:
        return None
    except NoSandbox:
        raise
    except Exception as error:  # a bug of ours in one submission must not stop the others
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            raise
        return f"The grader failed: {type(error).__name__}: {error}"


def _begin(scratch: str) -> None:
    """Prepare a process of this machine: Ctrl-C is the grader's, and what is written goes with the pool.

    The grader, which enters what workers find, comes first where processors are short: no worker waits for it then.
    """
    from autograder.grading.run import open_session

    gc.freeze()  # to look through what was there before the fork would copy it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(5)
    tempfile.tempdir = scratch
    threading.Thread(target=_end_with_grader, daemon=True).start()
    one_thread()
    with contextlib.suppress(SandboxError):  # the first notebook will say it
        open_session().close()


def _end_with_grader() -> None:
    """A grader that is killed leaves nobody behind who waits for work."""
    grader = multiprocessing.parent_process()
    assert grader is not None
    grader.join()
    os.kill(os.getpid(), signal.SIGKILL)


def one_thread() -> None:
    """Let torch use one thread in this process; there is a process for each core."""
    import torch

    torch.set_num_threads(1)
