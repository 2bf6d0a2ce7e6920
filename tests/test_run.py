"""A notebook on its way through a process of its own: what it shows, and what cannot stop it."""

import subprocess
import sys
import textwrap
from copy import deepcopy
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.checking.given import HOME_SEED
from autograder.checking.verdict import Verdict
from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading import run
from autograder.grading.run import clean_output, judge_notebook

ROOT = Path(__file__).resolve().parent.parent
ATTENTION = Course.at(ROOT).assignment("06-attention")
RIGHT = "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()"


def notebook_with(*sources: str, assignment: Assignment = ATTENTION) -> NotebookNode:
    """Imports, some cells, and the check cells of two tasks behind them."""
    notebook = deepcopy(assignment.solution)
    checks = [c for c in notebook.cells if nbgrader_metadata(c).get("grade_id") in ("causal_mask", "merge_heads")]
    notebook.cells = [new_code_cell("import torch"), *map(new_code_cell, sources), *checks]
    return notebook


def judged(*sources: str) -> Verdict:
    return judge_notebook(notebook_with(*sources), ATTENTION, HOME_SEED)


def test_cells_show_what_they_show_in_a_notebook() -> None:
    verdict = judged(
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "print('printed')\n%timeit -n1 -r1 1\n1 + 1",
        "import asyncio\nawait asyncio.sleep(0)\n1 / 0",
    )
    figure, text, error = (verdict.outputs[i] for i in (1, 2, 3))
    assert [list(o["data"]) for o in figure if o["output_type"] == "display_data"][-1][0] == "image/png"
    assert "printed" in text[0]["text"]
    assert text[-1]["data"] == {"text/plain": "2"}
    assert error[0]["ename"] == "ZeroDivisionError"
    assert verdict.notes == ()


def test_nothing_is_an_execute_result_which_stock_nbgrader_would_count_as_points() -> None:
    verdict = judged("1000")
    assert [o["output_type"] for o in verdict.outputs[1]] == ["display_data"]


def test_tasks_that_are_not_in_the_notebook_get_nothing_and_say_so() -> None:
    verdict = judged(RIGHT)
    assert verdict.tasks["causal_mask"].status == "passed"
    assert verdict.tasks["padding_mask"].status == "missing"
    assert "not run as far" in verdict.tasks["padding_mask"].message
    assert verdict.tasks["permutation_why"].status == "manual"


@pytest.mark.parametrize(
    "killer",
    ["import os; os._exit(1)", "import ctypes; ctypes.string_at(0)", "import os; os.closerange(3, 4096)"],
)
def test_a_cell_that_ends_its_process_is_left_out_and_the_rest_is_graded(killer: str) -> None:
    verdict = judged(RIGHT, killer, "kept = 1")
    assert verdict.tasks["causal_mask"].status == "passed"
    assert "ended the notebook's process" in " ".join(verdict.notes)


def test_a_cell_that_never_ends_is_left_out_and_the_rest_is_graded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "CELL_SECONDS", 1.0)
    verdict = judged(RIGHT, "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass")
    assert verdict.tasks["causal_mask"].status == "passed"
    assert "did not finish within 1 seconds" in " ".join(verdict.notes)


def test_an_answer_that_ends_the_process_costs_its_own_task_alone() -> None:
    killer = "import os\ndef causal_mask(T):\n    os._exit(1)"
    right = "def merge_heads(x):\n    return x.transpose(1, 2).flatten(2)"
    verdict = judged(killer, right)
    assert verdict.tasks["causal_mask"].score == 0
    assert "process ended" in verdict.tasks["causal_mask"].message
    assert verdict.tasks["merge_heads"].status == "passed"


def test_a_notebook_that_kills_its_preloaded_parent_harms_nobody_else() -> None:
    hostile = judged("import os\nos.kill(os.getppid(), 9)\nos._exit(0)", RIGHT)
    assert all(task.status != "passed" or task.task == "causal_mask" for task in hostile.tasks.values())
    assert judged(RIGHT).tasks["causal_mask"].status == "passed"


def test_endless_output_is_cut_off() -> None:
    verdict = judged(RIGHT, "for i in range(200_000):\n    print('x' * 50)")
    text = "".join(o["text"] for o in verdict.outputs[2])
    assert len(text) < 2 * run.MAX_CELL_OUTPUT_BYTES
    assert "cut off" in text
    assert verdict.tasks["causal_mask"].status == "passed"


def test_what_students_put_on_the_wire_cannot_stand_for_a_value() -> None:
    forge = (
        "import torch, gc, socket\n"
        "from autograder.checking.client.wire import Connection\n"
        "wires = [o for o in gc.get_objects() if isinstance(o, Connection)]\n"
        "def causal_mask(T):\n"
        "    for w in wires:\n"
        "        w.send({'reply': {'value': torch.ones(T, T, dtype=torch.bool)}})\n"
        "    return torch.zeros(T, T)\n"
    )
    verdict = judged(forge)
    assert verdict.tasks["causal_mask"].score == 0


@pytest.mark.parametrize(
    ("output", "kept"),
    [
        ("text", None),
        ({"output_type": "nonsense"}, None),
        ({"output_type": "display_data", "data": 3}, None),
        (
            {
                "output_type": "execute_result",
                "data": {"text/html": "<script>", "text/plain": "1", "image/png": "<svg"},
            },
            {"output_type": "display_data", "data": {"text/plain": "1"}, "metadata": {}},
        ),
        ({"output_type": "stream", "name": "x", "text": 3}, {"output_type": "stream", "name": "stdout", "text": "3"}),
        (
            {"output_type": "error", "ename": 1, "evalue": None, "traceback": 3},
            {"output_type": "error", "ename": "1", "evalue": "None", "traceback": []},
        ),
    ],
)
def test_an_output_is_kept_only_as_far_as_it_is_harmless(output: object, kept: object) -> None:
    assert clean_output(output) == kept


def test_an_optimizer_does_not_wait_for_the_compiler_and_who_wants_it_gets_it() -> None:
    code = """
        import sys, torch
        from autograder.checking.client.preload import PostponedCompiler, preload
        preload()
        torch.manual_seed(0)
        for kind in (torch.optim.SGD, torch.optim.AdamW, torch.optim.LBFGS):
            layer = torch.nn.Linear(2, 1)
            optimizer = kind(layer.parameters(), lr=0.1)
            def loss():
                optimizer.zero_grad()
                value = layer(torch.ones(3, 2)).square().mean()
                value.backward()
                return value
            before = loss().item()
            optimizer.step(loss)
            assert loss().item() < before, kind
        assert isinstance(sys.modules["torch._dynamo"], PostponedCompiler)
        compiled = torch.compile(lambda x: x + 1, backend="eager")
        assert compiled(torch.ones(2)).tolist() == [2.0, 2.0]
        import torch._dynamo.config
        assert not isinstance(torch._dynamo, PostponedCompiler) and torch._dynamo.is_compiling() is False
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
