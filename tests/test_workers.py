"""Who makes verdicts: processes of this machine, and the workers of a Dask cluster on the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import ASSIGNMENT, ROOT
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.checking.given import HOME_SEED
from autograder.checking.verdict import Verdict
from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading import workers
from autograder.grading.cluster import ClusterError, DaskCrew
from autograder.grading.workers import DIED, LocalCrew, Outcome, Work, cores

ATTENTION = Course.at(ROOT).assignment(ASSIGNMENT)
RIGHT = "import torch\ndef causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()"
WRONG = "import torch\ndef causal_mask(T):\n    return torch.zeros(T, T, dtype=torch.bool)"


def notebook(source: str, assignment: Assignment = ATTENTION) -> NotebookNode:
    """One cell and one check."""
    made = assignment.solution.copy()
    check = next(c for c in made.cells if nbgrader_metadata(c).get("grade_id") == "causal_mask")
    made.cells = [new_code_cell(source), check]
    return made


def work(*sources: str) -> list[Work]:
    return [Work.of(notebook(source), ATTENTION, HOME_SEED) for source in sources]


def points(outcomes: list[tuple[int, Outcome]]) -> dict[int, float | str | None]:
    """Points of the one task, by position; each position once."""
    assert len({index for index, _ in outcomes}) == len(outcomes)
    return {i: o.tasks["causal_mask"].score if isinstance(o, Verdict) else o for i, o in outcomes}


def test_there_are_never_more_workers_than_cores() -> None:
    assert LocalCrew().workers == cores()
    assert LocalCrew(1000).workers == cores()
    assert LocalCrew(1).workers == 1


def test_each_piece_of_work_comes_back_once() -> None:
    found = points(list(LocalCrew().outcomes(work(RIGHT, WRONG, RIGHT, RIGHT))))
    assert found == {0: 6.0, 1: 0.0, 2: 6.0, 3: 6.0}


def judging_processes() -> list[psutil.Process]:
    """The workers of this process."""
    return [p for p in psutil.Process().children() if "spawn_main" in " ".join(p.cmdline())]


def test_a_worker_that_dies_once_costs_nobody_anything() -> None:
    sources = [RIGHT, WRONG, RIGHT, RIGHT, WRONG, RIGHT]
    outcomes = []
    for index, outcome in LocalCrew().outcomes(work(*sources)):
        if not outcomes:
            judging_processes()[0].kill()
        outcomes.append((index, outcome))
    assert points(outcomes) == {i: 6.0 if source == RIGHT else 0.0 for i, source in enumerate(sources)}


def test_a_notebook_that_brings_every_worker_down_is_left_to_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "do", die_over_wrong_answers)
    found = points(list(LocalCrew().outcomes(work(RIGHT, WRONG, RIGHT, RIGHT))))
    assert found == {0: 6.0, 1: DIED, 2: 6.0, 3: 6.0}


def die_over_wrong_answers(piece: Work) -> dict:
    """What a worker does if the judge has a fault that ends the process."""
    if "torch.zeros" in piece.notebook:
        os._exit(1)
    return original_do(piece)


original_do = workers.do


def test_a_fault_of_the_judge_costs_only_the_notebook_that_shows_it() -> None:
    damaged = Work.of(notebook(RIGHT), ATTENTION, HOME_SEED)
    object.__setattr__(damaged, "notebook", "{")
    found = points(list(LocalCrew().outcomes([*work(RIGHT), damaged])))
    assert found[0] == 6.0
    assert str(found[1]).startswith("The grader failed: NotJSONError")


def test_a_run_that_is_stopped_leaves_no_process() -> None:
    running = LocalCrew().outcomes(work(*["import time; time.sleep(30)"] * 4, RIGHT))
    piece = work("import time; time.sleep(30)")[0]
    running = LocalCrew().outcomes([*work(RIGHT), piece, piece, piece])
    next(running)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 10
    gone = [pid for pid in before if not psutil.pid_exists(pid)]
    assert not judging_processes()
    assert len(gone) >= 2


# A scheduler and two workers, each a process of its own, as an instructor would start them.


@contextmanager
def program(*arguments: str, folder: Path) -> Iterator[subprocess.Popen]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    command = [sys.executable, "-m", *arguments]
    with (folder / f"{arguments[0]}-{time.time_ns()}.log").open("w") as log:
        started = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        yield started
    finally:
        for process in [*psutil.Process(started.pid).children(recursive=True)] if started.poll() is None else []:
            process.kill()
        started.kill()
        started.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    folder = tmp_path_factory.mktemp("scheduler")
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
    with program("distributed.cli.dask_scheduler", *options, folder=folder):
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def dask_worker(address: str, folder: Path) -> Iterator[subprocess.Popen]:
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
    with program("distributed.cli.dask_worker", address, *options, folder=folder) as worker:
        yield worker


def test_work_of_a_worker_that_is_killed_is_done_by_another(scheduler: str, tmp_path: Path) -> None:
    sources = [RIGHT, WRONG, RIGHT, RIGHT, WRONG, RIGHT, RIGHT, RIGHT]
    slow = [f"import time; time.sleep(0.3)\n{source}" for source in sources]
    with dask_worker(scheduler, tmp_path) as first, dask_worker(scheduler, tmp_path), DaskCrew(scheduler) as crew:
        outcomes = []
        for index, outcome in crew.outcomes(work(*slow)):
            outcomes.append((index, outcome))
            if len(outcomes) == 2:
                first.send_signal(signal.SIGKILL)
        assert points(outcomes) == {i: 6.0 if source == RIGHT else 0.0 for i, source in enumerate(sources)}


def test_a_worker_of_another_version_is_refused(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = work(RIGHT)[0]
    object.__setattr__(piece, "grader", "another")
    with (
        dask_worker(scheduler, tmp_path),
        DaskCrew(scheduler) as crew,
        pytest.raises(ClusterError, match="another version of the grader"),
    ):
        list(crew.outcomes([piece]))


def test_a_cluster_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(ClusterError, match=r"No Dask scheduler answers at .* Start one"):
        DaskCrew(f"tcp://127.0.0.1:{free_port()}")
