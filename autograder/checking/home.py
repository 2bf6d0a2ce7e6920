"""``check``, ``hint`` and ``progress`` in the student's own notebook."""

import inspect
import os
import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

from autograder import tasks as all_tasks
from autograder.checking.card import Card, check_card, hint_card, progress_card, say_names
from autograder.checking.given import HOME_SEED
from autograder.checking.judge import judge, worked_solution
from autograder.checking.student import LocalTransport
from autograder.checking.tasks import Task, tasks_in
from autograder.checking.verdict import TaskVerdict
from autograder.course import Assignment, Course, CourseError, GradedCell, graded_cells, read_notebook

_latest: dict[str, TaskVerdict] = {}
_hints_given: dict[str, int] = {}
_last_module: str | None = None


def check(task_id: str, namespace: dict[str, Any]) -> TaskVerdict | None:
    """Judge one task on the notebook's names and show the card; returns the verdict, None if there is no such task."""
    found = _find(task_id)
    if found is None:
        return None
    task, module_name = found
    verdict = _judge(task, module_name, namespace)
    _latest[task.id] = verdict
    is_wrong = verdict.status not in ("passed", "missing", "grader-error")
    first = _mend_first(task, module_name, namespace) if is_wrong else ""
    _show(check_card(verdict, has_more_hints=_hints_given.get(task_id, 0) < len(task.hint_texts), first=first))
    return verdict


def hint(task_id: str) -> None:
    """Show the next hint of a task; after the last, all of them."""
    found = _find(task_id)
    if found is None:
        return
    texts = found[0].hint_texts
    given = min(_hints_given.get(task_id, 0) + 1, len(texts))
    _hints_given[task_id] = given
    _show(hint_card(task_id, texts[:given], len(texts)))


def progress(namespace: dict[str, Any]) -> None:
    """Judge every task of this notebook and draw how far it is; for one that trains, its last check counts."""
    module_name = _current_module()
    if module_name is None:
        _show(Card.text("Run one `check(…)` of this notebook first; then progress() knows which notebook it is."))
        return
    verdicts = []
    for task in tasks_in(module_name).values():
        if not task.trains or task.id in _latest:
            if not task.trains:
                _latest[task.id] = _judge(task, module_name, namespace)
            verdicts.append(_latest[task.id])
        else:
            verdicts.append(TaskVerdict(task.id, 0.0, _points(module_name).get(task.id, 1.0), "missing", "not tried"))
    _show(progress_card(verdicts))


def _judge(task: Task, module_name: str, namespace: dict[str, Any]) -> TaskVerdict:
    assignment = _assignment(module_name)
    worked = worked_solution(assignment) if assignment else None
    points = _points(module_name).get(task.id, 1.0)
    return judge(task, LocalTransport(namespace), points, HOME_SEED, worked=worked, reveal=True)


def _mend_first(task: Task, module_name: str, namespace: dict[str, Any]) -> str:
    """What an answer builds on and is not right itself, in a sentence; empty if that is nothing."""
    tasks = list(tasks_in(module_name).values())
    reached = names_reached(namespace, task.asks)
    earlier = [other for other in tasks[: tasks.index(task)] if other.asks in reached and not other.trains]
    wrong = [
        other.asks
        for other in earlier
        if _judge(other, module_name, namespace).status not in ("passed", "grader-error")
    ]
    if not wrong:
        return ""
    are, them = ("is", "it") if len(wrong) == 1 else ("are", "them")
    return f"This builds on {say_names(wrong)}, which {are} not right yet. Mend {them} first; then check this again."


def names_reached(namespace: dict[str, Any], start: str) -> set[str]:
    """Names of the notebook that a function or class of it uses, directly or through others of the notebook's."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        new = {name for name in _names_in(namespace.get(waiting.pop()), namespace) if name in namespace} - reached
        reached |= new
        waiting += new
    return reached


def _names_in(value: Any, namespace: dict[str, Any]) -> Iterator[str]:
    for function in vars(value).values() if isinstance(value, type) else [value]:
        function = inspect.unwrap(function) if callable(function) else function
        if inspect.isfunction(function) and function.__globals__ is namespace:
            codes = [function.__code__]
            while codes:
                code = codes.pop()
                yield from code.co_names
                codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _find(task_id: str) -> tuple[Task, str] | None:
    """A task by id; if there is none, say which there are."""
    global _last_module
    current = _current_module()
    known = [f"{all_tasks.__name__}.{m.name}" for m in pkgutil.iter_modules(all_tasks.__path__)]
    for module_name in [m for m in [current, *known] if m]:
        tasks = tasks_in(module_name)
        if task_id in tasks:
            _last_module = module_name
            return tasks[task_id], module_name
    if any(cell.id == task_id and cell.manual for module in known for cell in _graded_cells(module)):
        _show(Card.text(f"{task_id!r} is answered in words, and a person reads it: see the table above the answer."))
        return None
    near = ", ".join(tasks_in(current)) if current else "the names in the check cells"
    _show(Card.text(f"There is no task called {task_id!r}. Try one of these: {near}."))
    return None


def _current_module() -> str | None:
    """The tasks of the notebook that is open: of the last check, or by the notebook's name."""
    if _last_module:
        return _last_module
    session = os.environ.get("JPY_SESSION_NAME", "")
    for name in (Path(session).stem, Path.cwd().name.lstrip("0123456789-")):
        module_name = f"{all_tasks.__name__}.{name.replace('-', '_')}"
        if name and any(
            f"{all_tasks.__name__}.{m.name}" == module_name for m in pkgutil.iter_modules(all_tasks.__path__)
        ):
            return module_name
    return None


@lru_cache(maxsize=32)
def _assignment(module_name: str) -> Assignment | None:
    """The assignment of a module of tasks, if this copy of the course has it."""
    try:
        course = Course.default()
    except CourseError:
        return None
    return next((a for a in course.assignments.values() if a.module_name == module_name), None)


def _points(module_name: str) -> dict[str, float]:
    return {cell.id: cell.points for cell in _graded_cells(module_name)}


@lru_cache(maxsize=32)
def _graded_cells(module_name: str) -> list[GradedCell]:
    """What the notebook of a module of tasks is graded by, if this copy of the course has it."""
    assignment = _assignment(module_name)
    if assignment is None:
        return []
    path = assignment.release_path if assignment.release_path.exists() else assignment.solution_path
    return graded_cells(read_notebook(path))


def _show(card: Card) -> None:
    """In a notebook as a rich card, elsewhere as plain text."""
    try:
        from IPython.core.getipython import get_ipython
    except ModuleNotFoundError:
        print(card.plain)
        return
    if get_ipython() is None:
        print(card.plain)
        return
    from IPython.display import display

    display({"text/plain": card.plain, "text/html": card.html}, raw=True)
