"""Hostile notebooks: none gains a point, none harms another submission, none leaves anything behind.

What each of them tries stands in ``attacks.py``.
"""

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial

import nbformat
import psutil
import pytest
import torch
from attacks import ATTACKS, Attack
from conftest import ASSIGNMENT, ROOT, hand_in
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.checking import student
from autograder.checking.given import HOME_SEED
from autograder.checking.judge import judge
from autograder.checking.student import LocalTransport
from autograder.checking.tasks import tasks_of
from autograder.checking.verdict import Verdict
from autograder.checking.worked import Worked
from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading import run
from autograder.grading.demo import sample_class
from autograder.grading.grade import grade
from autograder.grading.run import SHOWN, judge_notebook
from autograder.grading.sandbox import PACKAGE, UNSAFE, Limits, NoSandbox, Sandbox, demand_sandbox

pytestmark = pytest.mark.skipif(os.environ.get("WIC_SKIP_SANDBOX") == "1", reason="there is no sandbox here")

ATTENTION = Course.at(ROOT).assignment(ASSIGNMENT)
MERGE = "def merge_heads(x):\n    return x.transpose(1, 2).flatten(2)"
MASK = "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()"
SEED = b"red" * 11
CHECKED, WRITTEN = "causal_mask", "permutation_why"
ALL_THE_WAY = ("halves of characters", "HTML in every field", "an exception named in HTML", "arrays for texts", "exit")
MOST_BYTES_OF_A_VERDICT = 3_000_000
MOST_GROWTH = 300 << 20
HARMLESS_AND_TOLD = (
    "tcp",
    "udp",
    "netlink",
    "abstract socket to the outside",
    "another program",
    "references by any path",
    "other processes",
    "memory without a name",
    "shared memory that was let go",
    "shared memory of a device",
    "typing into the terminal",
)
"""Attacks that do no harm if they work, and say so."""

PLACES = f"PACKAGE, ROOT = {str(PACKAGE)!r}, {str(ROOT)!r}"


def notebook(*sources: str, checks: tuple[str, ...] = ("causal_mask", "merge_heads")) -> NotebookNode:
    made = deepcopy(ATTENTION.solution)
    kept = [c for c in made.cells if nbgrader_metadata(c).get("grade_id") in checks]
    made.cells = [new_code_cell("import torch"), *map(new_code_cell, sources), *kept]
    return made


def judged(*sources: str) -> Verdict:
    return judge_notebook(notebook(*sources), ATTENTION, SEED)


def points(verdict: Verdict) -> dict[str, float | None]:
    return {name: verdict.tasks[name].score for name in ("causal_mask", "merge_heads")}


@pytest.fixture(scope="module", autouse=True)
def one_small_sandbox() -> Iterator[None]:
    """One sandbox for all attacks, so that each meets what the others left; it has little memory and much time."""
    try:
        demand_sandbox()
    except NoSandbox as error:
        pytest.skip(str(error))
    with pytest.MonkeyPatch.context() as patch:
        run.close_sandboxes()
        patch.setenv("RED_TEAM_SECRET", "seen")
        patch.setattr(run, "Sandbox", partial(Sandbox, limits=Limits(memory=500 << 20)))
        patch.setattr(run, "MAX_RESTARTS", 2)
        _set_time(patch, cell=120.0, call=60.0)
        yield
    run.close_sandboxes()


def _set_time(patch: pytest.MonkeyPatch, cell: float, call: float) -> None:
    """How long a cell and the call of an answer may take: long, unless it is bound to take all of it."""
    tasks = {name: replace(task, seconds=call) for name, task in tasks_of(ATTENTION).items()}
    patch.setattr(run, "CELL_SECONDS", cell)
    patch.setattr(run, "tasks_of", lambda assignment: tasks)
    patch.setattr(student, "GRACE_SECONDS", call)


@pytest.fixture(scope="module")
def without_attack() -> dict[str, float | None]:
    return points(judged(MERGE))


@pytest.fixture(scope="module")
def memory_at_first(without_attack: dict[str, float | None]) -> list[int]:
    return memory()


def memory() -> list[int]:
    """Bytes of this worker and of its preloaded process."""
    inside = psutil.Process(run._sandboxes[True]._process.pid).children(recursive=True)
    return [process.memory_info().rss for process in (psutil.Process(), inside[-1])]


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Somebody outside who would answer."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("\0words-in-context-red-team")
        listening.listen()
        listening.setblocking(False)
        yield listening


def left_on_the_host() -> list[str]:
    """What attacks would have written, had they reached the machine's own folders."""
    folders = {tempfile.gettempdir(), "/tmp", "/dev/shm"}
    return [
        name
        for folder in folders
        for name in ("daemon", "pickled", "disk", "e0", "0", "loot")
        if os.path.exists(os.path.join(folder, name))
    ]


def processes_of_the_sandbox() -> int:
    sandbox = run._sandboxes[True]
    return len(psutil.Process(sandbox._process.pid).children(recursive=True))


def attacked(attack: Attack) -> Verdict:
    with pytest.MonkeyPatch.context() as patch:
        if attack.is_endless:
            _set_time(patch, cell=2.0, call=1.0)
        return judged(MERGE, f"{PLACES}\n{attack.code}")


def put_out_by(verdict: Verdict) -> str:
    """All that the cell with the attack put out."""
    return "".join(
        str(output.get("text", "")) + str(output.get("evalue", "")) + str(output.get("data", ""))
        for output in verdict.outputs.get(2, ())
    )


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_gains_nothing_and_leaves_nothing(
    attack: Attack, without_attack: dict[str, float | None], memory_at_first: list[int], listener: socket.socket
) -> None:
    quiet = processes_of_the_sandbox()
    verdict = attacked(attack)
    for name, score in points(verdict).items():
        assert score is not None, verdict.tasks[name]
        assert score <= (without_attack[name] or 0), (name, verdict.tasks[name])
    put_out = put_out_by(verdict)
    assert re.search(attack.prints, put_out, re.MULTILINE), put_out
    told = " ".join([*verdict.notes, *(task.message for task in verdict.tasks.values()), put_out])
    assert re.search(attack.says, told), (verdict.notes, {n: t.message for n, t in verdict.tasks.items()})
    kinds = {kind for outputs in verdict.outputs.values() for output in outputs for kind in output.get("data", ())}
    assert kinds <= set(SHOWN)
    assert len(json.dumps(verdict.to_json(), ensure_ascii=False).encode("utf-8")) < MOST_BYTES_OF_A_VERDICT
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert left_on_the_host() == []
    assert processes_of_the_sandbox() == quiet
    innocent = judged(MERGE, MASK, "import os; print(sorted(os.listdir('/tmp')), os.listdir('/dev/shm'))")
    assert points(innocent) == {"causal_mask": 6.0, "merge_heads": without_attack["merge_heads"]}
    assert innocent.outputs[3][0]["text"].startswith("['profile_default']")
    assert not innocent.notes


def test_the_attacks_left_no_weight_behind(memory_at_first: list[int]) -> None:
    grown = [now - first for now, first in zip(memory(), memory_at_first, strict=True)]
    assert max(grown) < MOST_GROWTH, grown


def test_the_same_attacks_work_where_there_is_no_sandbox(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    """Which shows that it is the sandbox that stops them, and not a mistake in the attack."""
    monkeypatch.setenv(UNSAFE, "1")
    for attack in (attack for attack in ATTACKS if attack.name in HARMLESS_AND_TOLD):
        put_out = put_out_by(attacked(attack))
        assert put_out, attack.name
        assert not re.search(attack.prints, put_out, re.MULTILINE), (attack.name, put_out)
    assert listener.accept()


def test_answers_that_are_large_together_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "MAX_TASK_BYTES", 1 << 20)
    verdict = judged("def merge_heads(x):\n    return torch.ones(200_000)")
    assert "more than 1 MiB in all" in verdict.tasks["merge_heads"].message
    assert verdict.tasks["merge_heads"].score == 0


def test_time_that_runs_out_while_a_cell_hangs_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CELL_SECONDS", 1.0)
    monkeypatch.setattr(run, "NOTEBOOK_SECONDS", 1.5)
    verdict = judged("while True: pass", "while True:  pass", MERGE)
    assert "Cut off after 1.5 seconds" in verdict.notes[-1]
    assert verdict.tasks["merge_heads"].score == 0


def test_a_process_that_ends_again_and_again_is_left_alone() -> None:
    verdict = judged(*[f"import os\nos._exit({i})" for i in range(6)], MERGE)
    assert verdict.notes[-1] == "The notebook ended its process 3 times; the rest of it was not run."


def test_there_are_at_least_forty_attacks_with_names_of_their_own() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 40
    assert len({attack.code for attack in ATTACKS}) == len(ATTACKS)


def test_answers_learned_by_heart_meet_other_inputs() -> None:
    """A table of the right outputs at the home seed passes there and nowhere else."""
    inputs: dict[bytes, list] = {}

    def answer(x: torch.Tensor) -> torch.Tensor:
        made = x.transpose(1, 2).flatten(2)
        inputs[x.detach().numpy().tobytes()] = made.tolist()
        return made

    task = tasks_of(ATTENTION)["merge_heads"]
    assert judge(task, LocalTransport({"merge_heads": answer}), 6.0, HOME_SEED).score == 6.0
    by_heart = f"KNOWN = {inputs!r}\ndef merge_heads(x):\n    return torch.tensor(KNOWN[x.detach().numpy().tobytes()])"
    at_home = judge_notebook(notebook(by_heart), ATTENTION, HOME_SEED)
    graded = judged(by_heart)
    assert (at_home.tasks["merge_heads"].score or 0) > 0
    assert graded.tasks["merge_heads"].score == 0


def test_a_worked_answer_of_the_second_run_cannot_be_carried_off() -> None:
    """Neither to the next submission nor into what is shown."""
    wrong = "def split_heads(x, num_heads):\n    return x"
    thief = (
        "import inspect, os\n"
        "for place in ('/tmp/loot', '/dev/shm/loot', os.path.expanduser('~/loot')):\n"
        "    try: open(place, 'w').write(inspect.getsource(split_heads))\n"
        "    except OSError: pass\n"
        "print(inspect.getsource(split_heads))\n"
        "raise RuntimeError(inspect.getsource(split_heads))"
    )
    using = "def merge_heads(x):\n    split_heads\n    return x"
    first = notebook(wrong, using, checks=("split_heads", "merge_heads"))
    check = next(i for i, c in enumerate(first.cells) if nbgrader_metadata(c).get("grade_id") == "split_heads")
    first.cells.insert(check + 1, new_code_cell(thief))
    verdict = judge_notebook(first, ATTENTION, SEED)
    body = Worked(ATTENTION)._source(
        next(c for c in Worked(ATTENTION)._cells.values() if c.id == "split_heads").answers[0]
    )
    line = max((row.strip() for row in body.splitlines() if "return" in row), key=len)
    assert line not in str(verdict.to_json())
    look = "import glob\nprint(glob.glob('/tmp/l*') + glob.glob('/dev/shm/*'))"
    assert judged(look).outputs[1][0]["text"].strip() == "[]"


def test_hostile_notebooks_go_all_the_way_beside_an_innocent_one(course: Course, assignment: Assignment) -> None:
    """Through collecting, judging, the gradebook and the autograded notebook."""
    perfect = next(student for student in sample_class(assignment) if student.kind == "perfect")
    innocent = nbformat.reads(next(iter(perfect.files.values())).decode(), as_version=4)
    hand_in(course, "innocent", innocent)
    place = next(i for i, c in enumerate(innocent.cells) if nbgrader_metadata(c).get("grade_id") == CHECKED)
    for number, attack in enumerate(attack for attack in ATTACKS if attack.name in ALL_THE_WAY):
        hostile = deepcopy(innocent)
        hostile.cells.insert(place, new_code_cell(f"import torch\n{attack.code}", id="attack"))
        hand_in(course, f"hostile-{number}", hostile)
    reports = {report["student"]: report for report in grade(course, [assignment]).reports}
    assert len(reports) == 1 + len(ALL_THE_WAY)
    for student_id, report in reports.items():
        lost = {name for name, task in report["tasks"].items() if task["score"] != task["max_score"]} - {WRITTEN}
        assert lost <= ({CHECKED} if student_id != "innocent" else set()), report
        graded = course.autograded_directory / student_id / ASSIGNMENT / "attention.ipynb"
        outputs = [o for c in nbformat.read(graded, as_version=4).cells for o in c.get("outputs", ())]
        cards = [o.data["text/html"] for o in outputs if "text/html" in o.get("data", {})]
        assert len(cards) == len(report["tasks"]) - 1
        assert not re.search("<script|<img", "".join(cards))


def test_the_sandbox_ends_with_all_that_was_in_it(without_attack: dict[str, float | None]) -> None:
    sandbox = run._sandboxes[True]
    folder, process = sandbox._folder, psutil.Process(sandbox._process.pid)
    inside = [process, *process.children(recursive=True)]
    run.close_sandboxes()
    assert not psutil.wait_procs(inside, timeout=10)[1]
    assert not folder.exists()
