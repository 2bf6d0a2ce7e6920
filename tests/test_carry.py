"""A mistake costs its points once."""

from copy import deepcopy

import nbformat
import pytest
from conftest import ASSIGNMENT, ROOT
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.checking.given import HOME_SEED
from autograder.checking.tasks import tasks_of
from autograder.checking.verdict import Verdict
from autograder.checking.worked import Worked
from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading import run
from autograder.grading.carry import plan_retrial
from autograder.grading.run import judge_notebook

ATTENTION = Course.at(ROOT).assignment(ASSIGNMENT)
WRONG_SPLIT = (
    "def split_heads(x, num_heads):\n    B, T, D = x.shape\n    return x.view(B, num_heads, T, D // num_heads)"
)
WRONG_MERGE = "def merge_heads(x):\n    B, H, T, D = x.shape\n    return x.reshape(B, T, H * D)"
BUILT_ON_BOTH = "split_heads", "merge_heads"


def answered(assignment: Assignment = ATTENTION, **answers: str | None) -> NotebookNode:
    """The released notebook up to its last check, with the worked answers but for some tasks'; None leaves the stub."""
    notebook = deepcopy(assignment.release)
    del notebook.cells[max(i for i, c in enumerate(notebook.cells) if nbgrader_metadata(c).get("points")) + 1 :]
    worked = Worked(assignment)
    for task in tasks_of(assignment).values():
        source = answers.get(task.id, worked.answer(task))
        if source is not None:
            cell_of(notebook, f"{task.id}_answer").source = source
    return notebook


def cell_of(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    return next(c for c in notebook.cells if nbgrader_metadata(c).get("grade_id") == grade_id)


def judged(notebook: NotebookNode) -> Verdict:
    return judge_notebook(notebook, ATTENTION, HOME_SEED)


def test_what_is_built_on_a_mistake_keeps_the_points_of_its_own_answer() -> None:
    verdict = judged(answered(split_heads=WRONG_SPLIT))
    assert verdict.tasks["split_heads"].status == "partial"
    later = verdict.tasks["multi_head_attention"]
    assert (later.score, later.status, later.carried) == (later.max_score, "passed", ("split_heads",))
    assert later.message.startswith("A mistake costs its points once: with the right `split_heads`")


def test_every_earlier_mistake_is_put_right() -> None:
    verdict = judged(answered(split_heads=WRONG_SPLIT, merge_heads=WRONG_MERGE))
    assert verdict.tasks["multi_head_attention"].carried == BUILT_ON_BOTH
    assert verdict.tasks["multi_head_attention"].score == verdict.tasks["multi_head_attention"].max_score


def test_a_mistake_that_it_is_not_built_on_is_not_blamed() -> None:
    verdict = judged(answered(additive_scores=None, split_heads=WRONG_SPLIT))
    assert verdict.tasks["multi_head_attention"].carried == ("split_heads",)


def test_a_mistake_of_its_own_still_costs_points() -> None:
    wrong = Worked(ATTENTION).answer(tasks_of(ATTENTION)["multi_head_attention"]).replace("return", "return None #")
    verdict = judged(answered(split_heads=WRONG_SPLIT, multi_head_attention=wrong))
    assert verdict.tasks["multi_head_attention"].score == 0
    assert verdict.tasks["multi_head_attention"].carried == ()


def test_an_answer_that_is_not_there_gets_nothing_out_of_the_worked_ones() -> None:
    notebook = answered(split_heads=None, multi_head_attention=None)
    verdict = judged(notebook)
    assert verdict.tasks["multi_head_attention"].score == 0
    assert plan_retrial(notebook, ATTENTION, verdict) is None


def test_an_answer_left_open_is_put_right_for_what_is_built_on_it() -> None:
    verdict = judged(answered(split_heads=None))
    assert verdict.tasks["multi_head_attention"].carried == ("split_heads",)
    assert verdict.tasks["split_heads"].score == 0


def test_a_mistake_that_nothing_is_built_on_asks_for_no_second_run() -> None:
    notebook = answered(additive_scores=None, padding_mask="def padding_mask(lengths, T):\n    return None")
    for cell in notebook.cells:  # leave no cell that names the class but its own
        if nbgrader_metadata(cell).get("grade_id") != "additive_scores_answer":
            cell.source = cell.source.replace("AdditiveAttention", "Another")
    assert plan_retrial(notebook, ATTENTION, judged(notebook)) is None


def test_an_earlier_task_gets_nothing_from_the_second_run() -> None:
    """The worked answer is in the notebook's memory from its check cell on; its own task is judged before."""
    peek = "def split_heads(x, num_heads):\n    return globals()['split_heads'].__wrapped__(x, num_heads)"
    verdict = judged(answered(padding_mask="def padding_mask(lengths, T):\n    return None", split_heads=peek))
    assert verdict.tasks["padding_mask"].score == 0
    assert verdict.tasks["split_heads"].score == 0


def test_nothing_that_the_second_run_puts_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = answered(split_heads=WRONG_SPLIT)
    spy = new_code_cell("import inspect\nprint('SEEN', inspect.getsource(split_heads))", id="spy")
    check = next(i for i, c in enumerate(notebook.cells) if nbgrader_metadata(c).get("grade_id") == "split_heads")
    notebook.cells.insert(check + 1, spy)
    verdict = judged(notebook)
    worked = Worked(ATTENTION).answer(tasks_of(ATTENTION)["split_heads"])
    body = worked.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0].strip()
    assert verdict.tasks["multi_head_attention"].carried == ("split_heads",)
    assert "SEEN" in str(verdict.outputs)
    assert body not in str(verdict.to_json()).replace("\\n", "\n")


def test_a_second_run_that_ends_its_process_takes_nothing_away() -> None:
    trap = "if 'view' not in __import__('inspect').getsource(split_heads):\n    __import__('os')._exit(1)"
    notebook = answered(split_heads=WRONG_SPLIT, causal_mask=None)
    last = next(i for i, c in enumerate(notebook.cells) if nbgrader_metadata(c).get("grade_id") == "merge_heads")
    notebook.cells.insert(last, new_code_cell(trap, id="trap"))
    verdict = judged(notebook)
    assert verdict.tasks["merge_heads"].status == "passed"
    assert verdict.notes == ()
    assert nbformat.validate(notebook) is None


def test_at_home_nothing_is_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "plan_retrial", lambda *_: pytest.fail("a second run at home"))
    verdict = judge_notebook(answered(split_heads=WRONG_SPLIT), ATTENTION, HOME_SEED, at_home=True)
    assert verdict.tasks["multi_head_attention"].score == 0
