"""Who makes verdicts: processes of this machine, and the workers of a Dask cluster on the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from conftest import ASSIGNMENT, ROOT, hand_in
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.checking.given import HOME_SEED
from autograder.checking.verdict import Verdict
from autograder.course import Course, nbgrader_metadata
from autograder.grading import cluster, workers
from autograder.grading.cluster import ClusterError, DaskCrew, Prepare
from autograder.grading.demo import make_course
from autograder.grading.release import release
from autograder.grading.store import load
from autograder.grading.workers import DIED, LocalCrew, Outcome, Work, cores

ATTENTION = Course.at(ROOT).assignment(ASSIGNMENT)
RIGHT = "import torch\ndef causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()"
WRONG = "import torch\ndef causal_mask(T):\n    return torch.zeros(T, T, dtype=torch.bool)"
SLOW = "import time\ntime.sleep(30)"
SOURCES = [RIGHT, WRONG, RIGHT, RIGHT, WRONG, RIGHT, RIGHT, RIGHT]
POINTS = {i: 6.0 if source == RIGHT else 0.0 for i, source in enumerate(SOURCES)}


def notebook(source: str) -> NotebookNode:
    """One cell and one check."""
    made = ATTENTION.solution.copy()
    check = next(c for c in made.cells if nbgrader_metadata(c).get("grade_id") == "causal_mask")
    made.cells = [new_code_cell(source), check]
    return made


def work(*sources: str) -> list[Work]:
    return [Work.of(notebook(source), ATTENTION, HOME_SEED) for source in sources]


def points(outcomes: list[tuple[int, Outcome]]) -> dict[int, float | str | None]:
    """Points of the one task, by position; each position once."""
    assert len({index for index, _ in outcomes}) == len(outcomes)
    return {i: o.tasks["causal_mask"].score if isinstance(o, Verdict) else o for i, o in outcomes}


def die_over_wrong_answers(piece: Work) -> dict[str, Any]:
    """What a worker does if the judge has a fault that ends the process."""
    if "torch.zeros" in piece.notebook:
        os._exit(1)
    return original_do(piece)


original_do = workers.do


def test_there_are_never_more_workers_than_cores() -> None:
    assert LocalCrew().workers == cores()
    assert LocalCrew(1000).workers == cores()
    assert LocalCrew(1).workers == 1


def test_the_grader_itself_does_not_wait_for_torch() -> None:
    code = (
        "import sys, autograder.grading.grade, autograder.grading.execute, autograder.grading.workers\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_who_was_prepared_in_vain_is_sent_away() -> None:
    crew = LocalCrew()
    crew.prepare()
    forkserver = next(p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline()))
    wait_until(lambda: len(forkserver.children()) == crew.workers)
    crew.dismiss()
    wait_until(lambda: not forkserver.children())
    assert points(list(crew.outcomes(work(RIGHT)))) == {0: 6.0}


def test_a_worker_that_is_killed_costs_nobody_anything() -> None:
    outcomes = []
    for index, outcome in LocalCrew().outcomes(work(*SOURCES)):
        if not outcomes:
            forkserver = next(p for p in psutil.Process().children() if "forkserver" in " ".join(p.cmdline()))
            forkserver.children()[0].kill()
        outcomes.append((index, outcome))
    assert points(outcomes) == POINTS


def test_our_failure_over_a_notebook_costs_only_that_notebook_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "do", die_over_wrong_answers)
    unreadable = replace(work(RIGHT)[0], notebook="{")
    found = points(list(LocalCrew().outcomes([*work(RIGHT, WRONG), unreadable, *work(RIGHT)])))
    assert str(found.pop(2)).startswith("The grader failed: NotJSONError")
    assert found == {0: 6.0, 1: DIED, 3: 6.0}


def test_work_is_taken_as_there_are_workers_for_it() -> None:
    taken = []
    pieces = (taken.append(index) or piece for index, piece in enumerate(work(*[RIGHT] * 20)))
    outcomes = LocalCrew().outcomes(pieces)
    next(outcomes)
    assert len(taken) <= 2 * cores() + 2
    outcomes.close()


def test_ctrl_c_ends_a_run_at_once_and_keeps_what_is_done(tmp_path: Path) -> None:
    course = make_course(Course.at(ROOT), tmp_path / "course")
    release(course, course.assignment(ASSIGNMENT))
    for student, source in {"ada": RIGHT, "ben": SLOW, "eve": SLOW}.items():
        hand_in(course, student, notebook(source))
    command = [sys.executable, "-c", "from autograder.cli import main; main()", "grade", "--course", str(course.root)]
    with (tmp_path / "told").open("w+") as told:
        run = subprocess.Popen(command, stdout=told, stderr=told, start_new_session=True)
        wait_until(lambda: load(course, "ada", ASSIGNMENT) is not None)
        started = {p.pid for p in psutil.Process(run.pid).children(recursive=True)}
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        run.wait(20)
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in started), seconds=20)
        told.seek(0)
        assert "Traceback" not in told.read()
    assert run.returncode not in (0, 1)
    kept = load(course, "ada", ASSIGNMENT)
    assert kept is not None
    assert kept.verdict.tasks["causal_mask"].score == 6.0
    assert load(course, "ben", ASSIGNMENT) is None


def wait_until(there: Any, seconds: float = 120) -> None:
    for _ in range(int(seconds * 10)):
        if there():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


# A scheduler and workers, each a process of its own, as an instructor would start them.


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no reason for a test to fail."""
    for limit in ("CONNECT_SECONDS", "WORKER_SECONDS", "REPLACEMENT_SECONDS"):
        monkeypatch.setattr(cluster, limit, 120)


@contextmanager
def program(folder: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])  # what these tests see, workers see
    everything = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment}
    with (folder / f"{arguments[0]}-{time.time_ns()}.log").open("w") as log:
        command = [sys.executable, "-m", f"distributed.cli.{arguments[0]}", *arguments[1:], "--no-dashboard"]
        started = subprocess.Popen(command, cwd=folder, env=everything, stdout=log, stderr=log)
    try:
        yield started
    finally:
        if started.poll() is None:
            for process in psutil.Process(started.pid).children(recursive=True):
                process.kill()
        started.kill()
        started.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dask_scheduler(folder: Path, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-show"]
    with program(folder, "dask_scheduler", *options, **environment) as scheduler:
        yield f"tcp://127.0.0.1:{port}", scheduler


@contextmanager
def dask_worker(address: str, folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with program(folder, "dask_worker", address, "--nthreads", "1", "--host", "127.0.0.1", *options) as worker:
        yield worker


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler that has a worker."""
    folder = tmp_path_factory.mktemp("cluster")
    with dask_scheduler(folder) as (address, _), dask_worker(address, folder):
        yield address


def test_work_of_a_cluster_worker_that_is_killed_is_done_by_another(one_worker: str, tmp_path: Path) -> None:
    with dask_worker(one_worker, tmp_path, "--no-nanny") as doomed:
        with DaskCrew(one_worker) as crew:
            wait_until(lambda: crew.workers() == 2)
            outcomes = []
            for index, outcome in crew.outcomes(work(*SOURCES)):
                outcomes.append((index, outcome))
                if len(outcomes) == 2:
                    doomed.send_signal(signal.SIGKILL)
        assert doomed.wait() == -signal.SIGKILL
    assert points(outcomes) == POINTS


def test_a_cluster_worker_of_another_version_is_refused(one_worker: str) -> None:
    piece = replace(work(RIGHT)[0], grader="another")
    with DaskCrew(one_worker) as crew, pytest.raises(ClusterError, match="another version of the grader"):
        list(crew.outcomes([piece]))


def test_a_notebook_that_brings_cluster_workers_down_is_left_to_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "do", die_over_wrong_answers)
    with (
        dask_scheduler(tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as (address, _),
        dask_worker(address, tmp_path, "--nanny"),
        DaskCrew(address) as crew,
    ):
        assert points(list(crew.outcomes(work(WRONG, RIGHT)))) == {0: DIED, 1: 6.0}


def test_a_scheduler_that_goes_away_is_said_to_have_gone(tmp_path: Path) -> None:
    with (
        dask_scheduler(tmp_path) as (address, scheduler),
        dask_worker(address, tmp_path),
        DaskCrew(address) as crew,
    ):
        outcomes = crew.outcomes(work(RIGHT, SLOW))
        next(outcomes)
        scheduler.kill()
        with pytest.raises(ClusterError, match=r"The scheduler at .* has gone. Run the same command again"):
            next(outcomes)


def test_a_cluster_worker_of_many_threads_is_refused() -> None:
    worker: Any = SimpleNamespace(state=SimpleNamespace(nthreads=4))
    with pytest.raises(ClusterError, match=r"A worker has 4 threads.*--nthreads 1"):
        Prepare("tcp://127.0.0.1:8786").setup(worker)


def test_a_cluster_that_is_not_there_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1)
    with pytest.raises(ClusterError, match=r"No Dask scheduler answers at .* Start one"):
        DaskCrew(f"tcp://127.0.0.1:{free_port()}")
    with pytest.raises(ClusterError, match=r"nowhere is no address of a Dask scheduler, such as tcp://"):
        DaskCrew("nowhere")


def test_a_cluster_without_workers_is_said_to_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 1)
    with (
        dask_scheduler(tmp_path) as (address, _),
        pytest.raises(ClusterError, match=r"has no workers\. Start some: dask worker .* --nthreads 1"),
    ):
        DaskCrew(address)
