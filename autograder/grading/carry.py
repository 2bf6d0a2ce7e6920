"""A mistake costs its points once: which tasks to judge again with earlier mistakes put right, and what comes of it.

Where a later task lost points and earlier ones did too, the notebook is run once more. Each of the earlier tasks is
put right by the instructor's worked answer, run behind that task's check cell, so that what follows is built on it.
The later task keeps the better points. Nothing else is kept of the second run, since the solutions are in its memory.
"""

import contextlib
import re
from dataclasses import dataclass, replace

from nbformat import NotebookNode

from autograder.checking.card import say_carried
from autograder.checking.verdict import Status, TaskVerdict, Verdict
from autograder.checking.worked import names_defined, names_used
from autograder.course import Assignment, GradedCell, graded_cells, nbgrader_metadata


@dataclass(frozen=True)
class Retrial:
    """What to do in the second run of a notebook.

    Attributes:
        wanted: the tasks to judge again, each with the earlier tasks, put right, that it seems to be built on.
        worked: sources to run behind a check cell, by the cell's position in the student's notebook.
        last: position of the last check cell that matters.
    """

    wanted: dict[str, tuple[str, ...]]
    worked: dict[int, tuple[str, ...]]
    last: int


def plan_retrial(notebook: NotebookNode, assignment: Assignment, verdict: Verdict) -> Retrial | None:
    """Which tasks of a mended notebook deserve a second look; None if there are none."""
    graded = [cell for cell in graded_cells(assignment.solution) if not cell.manual]
    positions = {str(nbgrader_metadata(cell).get("grade_id")): i for i, cell in enumerate(notebook.cells)}
    wanted: dict[str, tuple[str, ...]] = {}
    worked: dict[int, tuple[str, ...]] = {}
    lost: list[GradedCell] = []
    for cell in graded:
        task = verdict.tasks[cell.id]
        if cell.id not in positions or task.score is None or task.score >= task.max_score:
            continue
        earlier = [other for other in lost if _is_used(other, cell, notebook, positions, assignment)]
        if earlier and _is_answered(cell, notebook, positions, assignment):
            reached = _names_reached(cell, notebook, positions, assignment)
            built_on = [other for other in earlier if any(asked.name in reached for asked in other.asks_for)]
            wanted[cell.id] = tuple(other.id for other in built_on or earlier)
        lost.append(cell)
    if not wanted:
        return None
    last = max(positions[task] for task in wanted)
    for cell in lost:
        if positions[cell.id] < last:
            worked[positions[cell.id]] = _worked_sources(cell, notebook, positions, assignment)
    return Retrial(wanted, worked, last)


def with_better_points(verdict: Verdict, again: dict[str, TaskVerdict], retrial: Retrial) -> Verdict:
    """The verdict with the points of tasks that did better in the second run."""
    tasks = dict(verdict.tasks)
    for task_id, earlier in retrial.wanted.items():
        before, after = tasks[task_id], again.get(task_id)
        if after is None or before.score is None or after.score is None or after.score <= before.score:
            continue
        status: Status = "passed" if after.score == after.max_score else "partial"
        better = replace(before, score=after.score, status=status, carried=earlier)
        tasks[task_id] = replace(better, message=f"{say_carried(better)} {before.message}")
    return replace(verdict, tasks=tasks)


def _is_answered(cell: GradedCell, notebook: NotebookNode, positions: dict[str, int], assignment: Assignment) -> bool:
    """Whether there is more in the answer than the stub."""
    stubs = {str(nbgrader_metadata(c).get("grade_id")): c.source.strip() for c in assignment.release.cells}
    return any(
        notebook.cells[positions[name]].source.strip() != stubs.get(name)
        for name in _answer_ids(cell, assignment)
        if name in positions
    )


def _is_used(
    earlier: GradedCell, later: GradedCell, notebook: NotebookNode, positions: dict[str, int], assignment: Assignment
) -> bool:
    """Whether any cell up to the later check, beside the earlier task's own, so much as names what it asked for."""
    names = "|".join(re.escape(asked.name) for asked in earlier.asks_for)
    own = {positions.get(name) for name in [earlier.id, *_answer_ids(earlier, assignment)]}
    return bool(names) and any(
        cell.cell_type == "code" and i not in own and re.search(rf"\b({names})\b", cell.source)
        for i, cell in enumerate(notebook.cells[: positions[later.id]])
    )


_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


def _names_reached(
    cell: GradedCell, notebook: NotebookNode, positions: dict[str, int], assignment: Assignment
) -> set[str]:
    """The names that an answer uses and, further back, those that every cell uses which defines one of them."""
    own = [positions[name] for name in _answer_ids(cell, assignment) if name in positions]
    before = [c.source for i, c in enumerate(notebook.cells[: positions[cell.id]]) if _is_code(c) and i not in own]
    reached: set[str] = set()
    waiting = [notebook.cells[i].source for i in own]
    while waiting:
        with contextlib.suppress(*_UNREADABLE):  # of a cell that does not run nothing is known
            names = names_used(waiting.pop()) - reached
            reached |= names
            waiting += [source for source in before if names & _names_defined(source)]
    return reached


def _names_defined(source: str) -> frozenset[str]:
    try:
        return names_defined(source)
    except _UNREADABLE:
        return frozenset()


def _worked_sources(
    cell: GradedCell, notebook: NotebookNode, positions: dict[str, int], assignment: Assignment
) -> tuple[str, ...]:
    """The worked answer, and the given code between answer and check again, which may have used the wrong one."""
    sources = [assignment.solution.cells[i].source for i in cell.answers if _is_code(assignment.solution.cells[i])]
    answered = [positions[name] for name in _answer_ids(cell, assignment) if name in positions]
    between = notebook.cells[max(answered, default=positions[cell.id]) + 1 : positions[cell.id]]
    given = [c.source for c in between if _is_code(c) and nbgrader_metadata(c).get("locked")]
    return (*sources, *given)


def _answer_ids(cell: GradedCell, assignment: Assignment) -> list[str]:
    return [str(nbgrader_metadata(assignment.solution.cells[i])["grade_id"]) for i in cell.answers]


def _is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code"
