"""From a mended notebook to a verdict: run it in a process of its own, and judge each task at its check cell."""

import atexit
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbformat import NotebookNode

from autograder.checking.client.wire import WireError, readable
from autograder.checking.judge import judge, worked_solution
from autograder.checking.student import ProcessTransport
from autograder.checking.tasks import Task, tasks_of
from autograder.checking.verdict import TaskVerdict, Verdict
from autograder.course import Assignment, GradedCell, graded_cells, nbgrader_metadata
from autograder.grading.carry import Retrial, plan_retrial, with_better_points
from autograder.grading.sandbox import NoSandbox, Sandbox, SandboxError, Session, is_unsafe

CELL_SECONDS = 60.0
NOTEBOOK_SECONDS = 300.0
MAX_RESTARTS = 8
MAX_OUTPUT_BYTES = 1_000_000
MAX_CELL_OUTPUT_BYTES = 200_000

SHOWN = ("image/png", "image/jpeg", "text/plain")
"""What is kept of a rich output: nothing that a page could run."""

_sandboxes: dict[bool, Sandbox] = {}


def open_session(confined: bool = True) -> Session:
    """A fresh child of this worker's preloaded process, which is started at the first use and after it was killed.

    Args:
        confined: shut in, unless grading was told to do without; at home, never.

    Raises:
        SandboxError: if it cannot be started.
    """
    confined = confined and not is_unsafe()
    there = _sandboxes.get(confined)
    if there is not None:
        try:
            return there.open()
        except SandboxError:
            there.close()
            atexit.unregister(there.close)
    _sandboxes[confined] = Sandbox(confined)
    atexit.register(_sandboxes[confined].close)
    return _sandboxes[confined].open()


def close_sandboxes() -> None:
    """End this worker's preloaded processes."""
    while _sandboxes:
        _, sandbox = _sandboxes.popitem()
        atexit.unregister(sandbox.close)
        sandbox.close()


def judge_notebook(
    notebook: NotebookNode,
    assignment: Assignment,
    seed: bytes,
    on_task: Callable[[str], None] = lambda task: None,
    reveal: bool = False,
    at_home: bool = False,
) -> Verdict:
    """Run a mended notebook and judge each task at its check cell, on the names as they are then.

    Args:
        notebook: with the check cells of the assignment's source; theirs is not run.
        seed: of the inputs: the home seed, or the course's secret one.
        on_task: told the id of each task before it is judged.
        reveal: let the cases show expected values, for the instructor's eyes.
        at_home: a student's own notebook on the student's own machine: not shut in, and no points carried forward.

    Returns:
        the verdict. It never raises for a student's fault; what is ours gives ``grader-error``.

    Raises:
        NoSandbox: if this machine gives none.
    """
    run = _Run(notebook, assignment, seed, on_task, reveal, at_home)
    try:
        run.everything()
    except NoSandbox:
        raise
    except SandboxError as error:
        run.give_up(str(error))
    verdict = run.verdict()
    if at_home:
        return verdict
    retrial = plan_retrial(notebook, assignment, verdict)
    if retrial is None:
        return verdict
    again = _Run(notebook, assignment, seed, on_task, retrial=retrial)
    with contextlib.suppress(SandboxError):
        again.everything()
    return with_better_points(verdict, again.verdicts, retrial)


@dataclass
class _Run:
    """One notebook on its way through, restarted behind a cell that ends or hangs its process.

    Attributes:
        retrial: given for the second run, of which nothing is kept but points.
    """

    notebook: NotebookNode
    assignment: Assignment
    seed: bytes
    on_task: Callable[[str], None]
    reveal: bool = False
    at_home: bool = False
    retrial: Retrial | None = None
    verdicts: dict[str, TaskVerdict] = field(default_factory=dict)
    outputs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    skipped: set[int] = field(default_factory=set)
    done: int = 0
    _output_bytes: int = 0

    def __post_init__(self) -> None:
        self.graded: dict[str, GradedCell] = {cell.id: cell for cell in graded_cells(self.assignment.solution)}
        self.tasks: dict[str, Task] = tasks_of(self.assignment)
        self.deadline = time.monotonic() + NOTEBOOK_SECONDS

    def everything(self) -> None:
        """Go through the notebook, in as many processes as it takes."""
        for attempt in range(MAX_RESTARTS + 1):
            with open_session(confined=not self.at_home) as session:
                if self._go(session):
                    return
            if attempt == MAX_RESTARTS:
                self.notes.append(f"The notebook ended its process {attempt + 1} times; the rest of it was not run.")

    def give_up(self, reason: str) -> None:
        """Mark what has no verdict yet as our failure."""
        for task_id, graded in self.graded.items():
            if task_id not in self.verdicts and not graded.manual:
                self.verdicts[task_id] = TaskVerdict(task_id, None, graded.points, "grader-error", reason)

    def verdict(self) -> Verdict:
        """All tasks of the assignment in its order; what was not reached gets nothing."""
        tasks = {}
        for task_id, graded in self.graded.items():
            if graded.manual:
                tasks[task_id] = TaskVerdict(task_id, None, graded.points, "manual")
            elif task_id in self.verdicts:
                tasks[task_id] = self.verdicts[task_id]
            else:
                reason = "The notebook was not run as far as this task's check cell."
                tasks[task_id] = TaskVerdict(task_id, 0.0, graded.points, "missing", reason)
        return Verdict(self.assignment.name, tasks, self.outputs, tuple(self.notes))

    def _go(self, session: Session) -> bool:
        """Run on from where the last process ended; False if this one ended too."""
        last = len(self.notebook.cells) if self.retrial is None else self.retrial.last + 1
        for index in range(last):
            cell = self.notebook.cells[index]
            if cell.cell_type != "code" or index in self.skipped:
                continue
            if time.monotonic() > self.deadline:
                self.notes.append(f"Cut off after {NOTEBOOK_SECONDS:g} seconds, at cell {index + 1}.")
                return True
            task_id = self._task_at(cell)
            alive = True
            if task_id is None:
                alive = self._run_cell(session, index, cell.source, is_new=index >= self.done)
            elif index >= self.done and (self.retrial is None or task_id in self.retrial.wanted):
                alive = self._judge(session, task_id)
            if alive and self.retrial is not None:
                alive = self._put_right(session, self.retrial.worked.get(index, ()))
            self.done = max(self.done, index + 1)
            if not alive:
                if task_id is None:
                    self.skipped.add(index)
                return False
        return True

    def _put_right(self, session: Session, sources: Sequence[str]) -> bool:
        """Run the worked answer, behind the check cell of a task that lost points."""
        try:
            for source in sources:
                session.connection.send({"run": source}, timeout=CELL_SECONDS)
                session.connection.receive_reply(CELL_SECONDS, lambda output: None)
        except (EOFError, OSError, WireError):
            return False
        return True

    def _task_at(self, cell: NotebookNode) -> str | None:
        about = nbgrader_metadata(cell)
        return about["grade_id"] if about.get("grade") and about.get("grade_id") in self.graded else None

    def _run_cell(self, session: Session, index: int, source: str, is_new: bool) -> bool:
        if is_new:
            self.outputs[index] = []
        room = [MAX_CELL_OUTPUT_BYTES]

        def keep(output: Any) -> None:
            if is_new:
                self._keep_output(index, output, room)

        limit = max(0.01, min(CELL_SECONDS, self.deadline - time.monotonic()))
        try:
            session.connection.send({"run": source}, timeout=limit)
            session.connection.receive_reply(limit, keep)
            return True
        except TimeoutError:
            self._say_cut_off(index, "CellTimeout", f"this cell did not finish within {CELL_SECONDS:g} seconds")
        except (EOFError, OSError):
            if session.ran_out_of_memory():
                self._say_cut_off(index, "MemoryError", "this cell took more memory than a notebook may have")
            else:
                self._say_cut_off(index, "ProcessEnded", "this cell ended the notebook's process")
        except WireError:
            self._say_cut_off(index, "ProcessEnded", "this cell sent what is not an output")
        return False

    def _judge(self, session: Session, task_id: str) -> bool:
        self.on_task(task_id)
        transport = ProcessTransport(session.connection, lambda: "memory" if session.ran_out_of_memory() else "died")
        graded = self.graded[task_id]
        if task_id in self.tasks:
            verdict = judge(
                self.tasks[task_id],
                transport,
                graded.points,
                self.seed,
                worked=worked_solution(self.assignment),
                reveal=self.reveal,
            )
        else:
            reason = f"There is no task {task_id!r} in {self.assignment.module_name}, which is our fault."
            verdict = TaskVerdict(task_id, None, graded.points, "grader-error", reason)
        if task_id in self.verdicts:
            self.notes.append(f"There is more than one check cell for {task_id}; the first counts.")
        else:
            self.verdicts[task_id] = verdict
        return transport.broken is None

    def _say_cut_off(self, index: int, kind: str, what: str) -> None:
        if index not in self.outputs:
            self.outputs[index] = []
        self.outputs[index].append({"output_type": "error", "ename": kind, "evalue": what, "traceback": [what]})
        self.notes.append(f"Cell {index + 1}: {what}. It was left out and the notebook run again without it.")

    def _keep_output(self, index: int, output: Any, room: list[int]) -> None:
        """Keep an output of a cell if it is one, and if there is room for it."""
        clean = clean_output(output)
        if clean is None:
            return
        size = _size(clean)
        if clean["output_type"] == "clear_output":
            self.outputs[index] = []
        elif size > room[0] or self._output_bytes + size > MAX_OUTPUT_BYTES:
            if room[0] > 0:
                text = "… the rest of this cell's output was cut off.\n"
                self.outputs[index].append({"output_type": "stream", "name": "stderr", "text": text})
            room[0] = 0
        else:
            room[0] -= size
            self._output_bytes += size
            _append(self.outputs[index], clean)


def clean_output(output: Any) -> dict[str, Any] | None:
    """An nbformat output made of nothing but strings, or None if what came is not one."""
    if not isinstance(output, dict):
        return None
    kind = readable(output.get("output_type"))
    if kind == "stream":
        name = "stderr" if readable(output.get("name")) == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": readable(output.get("text", ""))}
    if kind in ("display_data", "execute_result"):
        data = output.get("data")
        if not isinstance(data, dict):
            return None
        texts = {kind: readable(data[kind]) for kind in SHOWN if isinstance(data.get(kind), str)}
        shown = {kind: text for kind, text in texts.items() if _is_shown(kind, text)}
        # Shown as display data in either case: an execute_result would count as points in stock nbgrader.
        return {"output_type": "display_data", "data": shown, "metadata": {}}
    if kind == "error":
        lines = output.get("traceback")
        trace = [readable(line) for line in lines[:200]] if isinstance(lines, (list, tuple)) else []
        return {
            "output_type": "error",
            "ename": readable(output.get("ename", ""))[:200],
            "evalue": readable(output.get("evalue", ""))[:4_000],
            "traceback": trace,
        }
    return {"output_type": "clear_output"} if kind == "clear_output" else None


def _is_shown(kind: str, text: str) -> bool:
    """Whether a text is what its kind says: an image is base64 and nothing else."""
    return kind == "text/plain" or re.fullmatch(r"[A-Za-z0-9+/=\s]*", text) is not None


def _size(output: dict[str, Any]) -> int:
    texts: Sequence[Any] = (
        [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", ())]
        if output["output_type"] in ("stream", "error")
        else list(output.get("data", {}).values())
    )
    return 50 + sum(len(text) for text in texts)


def _append(outputs: list[dict[str, Any]], output: dict[str, Any]) -> None:
    """Add an output, joining what one stream writes in pieces."""
    last = outputs[-1] if outputs else {}
    if output["output_type"] == "stream" and last.get("output_type") == "stream" and last["name"] == output["name"]:
        last["text"] += output["text"]
    else:
        outputs.append(output)
