"""The notebook as a student meets it: in a real kernel, from the stub to the last figure."""

import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from autograder.checking.tasks import tasks_of
from autograder.course import Course, graded_cells

ROOT = Path(__file__).resolve().parent.parent
COURSE = Course.at(ROOT)
SETUP = (
    "import math, torch\nimport torch.nn as nn, torch.nn.functional as F\nfrom autograder import check, hint, progress"
)


class Kernel:
    """A notebook's kernel, asked one cell at a time."""

    def __init__(self, folder: Path) -> None:
        notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}})
        self.client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
        self.notebook = notebook

    def run(self, source: str) -> list[Any]:
        cell = new_code_cell(source)
        self.notebook.cells.append(cell)
        self.client.execute_cell(cell, len(self.notebook.cells) - 1)
        return cell.outputs


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    asked = Kernel(ROOT / "exercises" / "06-attention")
    with asked.client.setup_kernel():
        asked.run(SETUP)
        yield asked


def card(outputs: list[Any]) -> dict[str, str]:
    """The one card that a cell shows."""
    shown = [o for o in outputs if o.output_type != "stream"]
    assert [o.output_type for o in shown] == ["display_data"], outputs
    return shown[0].data


def test_a_check_answers_with_a_card_that_is_rich_and_reads_as_plain_text(kernel: Kernel) -> None:
    answer = "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril(-1)"
    data = card(kernel.run(f"{answer}\ncheck('causal_mask')"))
    for kind in ("text/plain", "text/html"):
        assert "The diagonal is left out" in data[kind]
    assert "<script" not in data["text/html"]
    assert "http" not in data["text/html"]
    assert re.search(r"background:rgba\(", data["text/html"])


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("if 'merge_heads' in globals(): del merge_heads", "`merge_heads` is not defined yet"),
        ("def merge_heads(x):\n    raise NotImplementedError()", "still raises NotImplementedError"),
        ("def merge_heads(x):\n    return 3", "is an int; it must be a tensor"),
        ("def merge_heads(x):\n    return x[0]", "it must be (B, T, D) = (2, 5, 12)"),
        ("def merge_heads(x):\n    return x.transpose(1, 2).flatten(2) * float('nan')", "is NaN"),
        ("def merge_heads(x):\n    x += 1; x -= 1\n    return x.transpose(1, 2).flatten(2)", "changed its input `x`"),
        ("def merge_heads(x):\n    return x.nonsense", "has no attribute"),
        ("merge_heads = 7", "'int' object is not callable"),
    ],
)
def test_each_kind_of_fault_gets_its_own_plain_sentence(kernel: Kernel, answer: str, says: str) -> None:
    assert says in card(kernel.run(f"{answer}\ncheck('merge_heads')"))["text/plain"]


def test_an_exception_is_shown_with_the_students_own_line(kernel: Kernel) -> None:
    kernel.run("def split_heads(x, num_heads):\n    B, T, D = x.shape\n    return x.view(B, T, 5, 7)")
    data = card(kernel.run("check('split_heads')"))
    assert "line 3 in split_heads: return x.view(B, T, 5, 7)" in data["text/plain"]
    assert "autograder" not in data["text/plain"]


def test_what_is_wrong_in_what_an_answer_builds_on_is_said_first(kernel: Kernel) -> None:
    names = ("scaled_dot_product_attention", "split_heads", "merge_heads", "multi_head_attention")
    cells = [cell.source for cell in nbformat.read(COURSE.assignment("06-attention").solution_path, 4).cells]
    answers = [
        next(source for source in cells if f"{name}_answer" in source or asks in source)
        for name, asks in (
            (names[0], "def scaled_dot_product_attention"),
            (names[1], "def split_heads"),
            (names[2], "def merge_heads"),
            (names[3], "class MultiHeadAttention"),
        )
    ]
    for answer in answers:
        kernel.run(answer)
    assert "builds on" not in card(kernel.run("check('multi_head_attention')"))["text/plain"]
    kernel.run("def split_heads(x, num_heads):\n    return x.view(len(x), num_heads, x.shape[1], -1)")
    told = card(kernel.run("check('multi_head_attention')"))
    for kind in ("text/plain", "text/html"):
        assert "split_heads" in told[kind]
        assert "is not right yet. Mend it first" in told[kind]
        assert "merge_heads" not in told[kind]
    kernel.run(answers[2].replace("transpose(1, 2)", "transpose(1, 3)"))
    assert "are not right yet. Mend them first" in card(kernel.run("check('multi_head_attention')"))["text/plain"]
    for answer in answers[1:3]:
        kernel.run(answer)


def test_what_is_still_to_be_written_is_called_by_its_name(kernel: Kernel) -> None:
    kernel.run("def split_heads(x, num_heads):\n    raise NotImplementedError()")
    kernel.run("def merge_heads(x):\n    return split_heads(x, 1)")
    told = card(kernel.run("check('merge_heads')"))["text/plain"]
    assert "`merge_heads` calls `split_heads`, which is still to be written" in told
    kernel.run("def merge_heads(x):\n    return x.transpose(1, 2).flatten(2)")
    assert "✓" in card(kernel.run("check('merge_heads')"))["text/plain"]


def test_what_a_notebook_has_switched_off_makes_no_right_answer_wrong(kernel: Kernel) -> None:
    kernel.run("torch.set_grad_enabled(False)\ntorch.set_default_dtype(torch.float64)")
    kernel.run("def merge_heads(x):\n    return x.transpose(1, 2).flatten(2)")
    assert "✓" in card(kernel.run("check('merge_heads')"))["text/plain"]
    kernel.run("assert torch.get_default_dtype() == torch.float64 and not torch.is_grad_enabled()")
    kernel.run("torch.set_grad_enabled(True)\ntorch.set_default_dtype(torch.float32)")


def test_html_in_a_students_message_is_text(kernel: Kernel) -> None:
    kernel.run("def split_heads(x, num_heads):\n    raise ValueError('<img src=x onerror=alert(1)>')")
    assert "<img" not in card(kernel.run("check('split_heads')"))["text/html"]


def test_hints_come_one_after_another(kernel: Kernel) -> None:
    first = card(kernel.run("hint('causal_mask')"))["text/plain"]
    second = card(kernel.run("hint('causal_mask')"))["text/plain"]
    assert len(second) > len(first)
    assert "more: call hint again" in first


def test_a_wrong_name_is_answered_with_the_right_ones(kernel: Kernel) -> None:
    assert "padding_mask" in card(kernel.run("check('paddingmask')"))["text/plain"]


def test_a_question_that_a_person_grades_is_said_to_be_one(kernel: Kernel) -> None:
    cells = graded_cells(nbformat.read(COURSE.assignment("06-attention").solution_path, 4))
    written = next(cell.id for cell in cells if cell.manual)
    assert "a person reads it" in card(kernel.run(f"hint({written!r})"))["text/plain"]


def test_progress_shows_every_task_with_its_points(kernel: Kernel) -> None:
    kernel.run("def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()")
    data = card(kernel.run("progress()"))
    assert "✓ causal_mask                   6/6" in data["text/plain"]
    assert "of 90 points" in data["text/plain"]


def solved(path: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def seconds(cell: nbformat.NotebookNode) -> float:
    """How long a cell took, by the kernel's messages."""
    began, ended = (
        datetime.fromisoformat(cell.metadata.execution[name]) for name in ("iopub.execute_input", "shell.execute_reply")
    )
    return (ended - began).total_seconds()


@pytest.mark.parametrize("name", list(COURSE.assignments))
def test_the_solution_notebook_runs_within_a_minute_every_check_passes_and_most_in_a_second(name: str) -> None:
    started = time.perf_counter()
    notebook = solved(COURSE.assignment(name).solution_path)
    assert time.perf_counter() - started < 60
    checks = [c for c in notebook.cells if c.cell_type == "code" and c.source.startswith("check(")]
    assert checks
    for cell in checks:
        assert cell.outputs[0].data["text/plain"].startswith("✓"), cell.source
    trains = {task.id for task in tasks_of(COURSE.assignment(name)).values() if task.trains}
    ordinary = sorted(seconds(cell) for cell in checks if cell.metadata.nbgrader.grade_id not in trains)
    assert ordinary[(len(ordinary) - 1) // 2] < 1
    figures = [
        o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "image/png" in o.get("data", {})
    ]
    assert figures


@pytest.mark.parametrize("name", list(COURSE.assignments))
def test_the_released_notebook_runs_to_its_end_unanswered(name: str) -> None:
    notebook = solved(COURSE.assignment(name).release_path)
    checks = [c for c in notebook.cells if c.cell_type == "code" and c.source.startswith("check(")]
    for cell in checks:
        assert "not answered yet" in cell.outputs[0].data["text/plain"], cell.source
