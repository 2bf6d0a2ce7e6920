"""The benchmarks, on classes so small that only their shape can be tested."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ASSIGNMENT, ROOT

from autograder.course import Course
from autograder.grading.bench import Comparison, Judged, Spread, class_of
from autograder.grading.demo import sample_class
from autograder.grading.memory import MIB, History, Size
from autograder.grading.scale import Model, Run, planned
from autograder.grading.timing import BenchError, one_thread_each, timed

BENCH = [sys.executable, "-c", "from autograder.cli import main; main()", "bench"]
SPREAD = {"median", "min", "max"}


def bench(folder: Path, *arguments: str) -> dict:
    command = [*BENCH, *arguments, "--folder", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "About" in done.stderr
    return json.loads(done.stdout)


def test_bench_grading_reports_both_sides_and_that_they_agree(tmp_path: Path) -> None:
    told = bench(tmp_path, "grading", "--rounds", "1", "--students", "2")
    for name in ("stock_seconds", "our_seconds", "ratio"):
        assert set(told[name]) == SPREAD
        assert 0 < told[name]["min"] <= told[name]["median"] <= told[name]["max"]
    assert (told["points_agree"], told["submissions"], told["rounds"]) == (True, 2, 1)
    assert told["workers"] in (1, 2)
    assert told["answers_compared"] > 8


def test_a_larger_class_is_the_sample_class_and_others_like_it() -> None:
    assignment = Course.at(ROOT).assignment(ASSIGNMENT)
    sample, larger, smaller = sample_class(assignment), class_of(30, assignment), class_of(5, assignment)
    assert larger[: len(sample)] == sample
    assert len({student.name for student in larger}) == 30
    assert [student.kind for student in larger[24:]] == [student.kind for student in sample[:6]]
    assert all(student in sample for student in smaller)
    assert len({student.name for student in smaller}) == 5


def test_bench_scale_reports_runs_memory_and_readiness(tmp_path: Path) -> None:
    told = bench(tmp_path, "scale", "--sizes", "2", "--workers", "1")
    (run,) = told["runs"]
    assert (run["submissions"], run["workers"]) == (2, 1)
    assert run["seconds_per_submission"] == pytest.approx(run["seconds"] / 2, abs=0.01)
    assert 0 < run["grader_cpu_seconds_per_submission"] < run["cpu_seconds_per_submission"]
    assert 100 < run["worker_mib"]["max"] < 1000
    assert 50 < run["grader_mib"]["max"] < 1000
    assert told["ready_milliseconds"]["median"] > 0
    assert Path(told["picture"]).stat().st_size > 1000


def test_a_difference_is_found_unless_there_is_a_reason_for_it() -> None:
    def compared(*judged: Judged) -> Comparison:
        return Comparison(ASSIGNMENT, False, 1, 1, [2.0], [1.0], [1.0], list(judged))

    both, neither = Judged("ann", "t", 5, 5, 5), Judged("ann", "t", 0, 2.5, 5)
    carried, unlike = Judged("ann", "t", 0, 5, 5, "carried forward from s"), Judged("ann", "t", 5, 4.5, 5)
    assert compared(both, neither, carried).to_json()["points_agree"]
    told = compared(both, unlike).to_json()
    assert not told["points_agree"]
    assert [d["our_points"] for d in told["differences"]] == [4.5]


def test_the_spread_of_measurements() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)


def test_the_model_is_found_again_and_says_how_many_workers_an_hour_takes() -> None:
    true = Model(start=6.0, a=1.2, b=0.02)
    none = History.of([])
    runs = [Run(n, w, true.seconds(n, w), 1.0, 1.0, none, none) for n in (10, 100, 1000) for w in (1, 2)]
    found = Model.fit(runs)
    assert (found.start, found.a, found.b) == pytest.approx((6.0, 1.2, 0.02))
    assert found.error < 1e-6
    workers = found.workers_for(100_000, 3600)
    assert workers is not None
    assert found.seconds(100_000, workers) <= 3600 < found.seconds(100_000, workers - 1)
    assert Model(0, 1, 1).workers_for(100_000, 3600) is None
    assert min(Model.fit(runs[::2]).a, Model.fit(runs[::2]).b) >= 0


def test_memory_grows_from_the_first_tenth_to_the_last() -> None:
    assert History.of([[Size(999 * MIB, (100 + i) * MIB)] for i in range(100)]).growth == 80
    assert History.of([[Size(MIB, MIB)]] * 5).growth is None


def test_large_classes_are_graded_with_the_most_workers_alone() -> None:
    most = max(workers for _, workers in planned([10], [1, 99]))
    assert planned([1000, 10], [1, 99]) == [*((10, w) for w in sorted({1, most})), (1000, most)]


def test_a_command_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(BenchError, match="no such thing"):
        timed([sys.executable, "-c", "raise SystemExit('no such thing')"], place, one_thread_each())


def test_nothing_is_left_behind_when_a_benchmark_is_stopped(tmp_path: Path) -> None:
    command = [*BENCH, "grading", "--students", "2", "--folder", str(tmp_path)]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        family: list[psutil.Process] = []
        until = time.monotonic() + 120
        while not any("forkserver" in word for p in family for word in _words(p)):
            assert running.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
            family = psutil.Process(running.pid).children(recursive=True)
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert not [process for process in family if process.is_running() and process.status() != "zombie"]
    finally:
        running.kill()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_judging_loads_no_library_that_it_does_not_need() -> None:
    """Each costs every worker tens of MiB and the first wrong answer a second."""
    code = (
        "import sys; from pathlib import Path\n"
        "from autograder.checking.judge import misconception_outcomes, worked_solution\n"
        "from autograder.checking.tasks import tasks_of\n"
        "from autograder.course import Course\n"
        "import autograder.grading.workers\n"
        f"assignment = Course.at(Path({str(ROOT)!r})).assignment({ASSIGNMENT!r})\n"
        "for task in tasks_of(assignment).values():\n"
        "    for variant in task.misconceptions:\n"
        "        misconception_outcomes(task, variant, b'x' * 32, worked_solution(assignment))\n"
        "sys.exit(', '.join({'matplotlib', 'sympy', 'nbgrader', 'torch._dynamo', 'lark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_the_benchmark_stands_on_what_the_notebook_is() -> None:
    from autograder.grading.bench import TRAINING

    sources = [cell.source for cell in Course.at(ROOT).assignment(ASSIGNMENT).solution.cells]
    assert sum(TRAINING[0] in source for source in sources) == 1
