"""The worked solution as a place to put answers into: what a variant or a mutant of an answer would do.

Only the cells that a task needs are run: its own solution cells and, of those before, the ones whose names they use.
"""

import ast
import contextlib
import io
import symtable
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from IPython.core.inputtransformer2 import TransformerManager

from autograder.checking.tasks import Task, TaskError, Variant
from autograder.course import Assignment, GradedCell, graded_cells

_OURS = frozenset({"check", "hint", "progress"})


@dataclass
class Worked:
    """The solution notebook of an assignment, cell by cell.

    Args:
        assignment: whose solution it is.
    """

    assignment: Assignment
    _cells: dict[str, GradedCell] = field(init=False)

    def __post_init__(self) -> None:
        self._cells = {cell.id: cell for cell in graded_cells(self.assignment.solution)}

    def graded(self, task: Task) -> GradedCell:
        """Where a task stands in the notebook."""
        if task.id not in self._cells:
            raise TaskError(f"{self.assignment.solution_path.name} has no check cell for the task {task.id!r}.")
        return self._cells[task.id]

    def answer(self, task: Task) -> str:
        """The solution cell that defines what the task asks for."""
        return self._source(self._answer_index(task))

    def namespace(self, task: Task, answer: str | None = None) -> dict[str, Any]:
        """The names of the solution notebook at a task's check cell, with another answer in place of the worked one.

        Raises:
            Exception: whatever the answer raises when it is run.
        """
        replaced = self._answer_index(task)
        names: dict[str, Any] = {"__name__": "__main__"}
        needed, wanted = self._needed(task, answer or "")
        for index in needed:
            source = answer if answer is not None and index == replaced else self._source(index)
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
                exec(compile(_without_imports_but(wanted, source), f"<cell {index}>", "exec"), names)
        return names

    def _answer_index(self, task: Task) -> int:
        for index in self.graded(task).answers:
            if task.asks in names_defined(self._source(index)):
                return index
        raise TaskError(f"No solution cell of the task {task.id!r} defines {task.asks}.")

    def _source(self, index: int) -> str:
        return _plain_python(self.assignment.solution.cells[index].source)

    def _needed(self, task: Task, answer: str) -> tuple[list[int], set[str]]:
        """Cells to run, in order, and the names that they use.

        They are the task's answers, and what these and another answer use of the code before.
        """
        graded = self.graded(task)
        code = [i for i, c in enumerate(self.assignment.solution.cells[: graded.index]) if c.cell_type == "code"]
        needed: set[int] = set(graded.answers)
        wanted = {*task.needs, *names_used(answer)}.union(*(names_used(self._source(i)) for i in needed))
        for index in reversed(code):
            source = self._source(index)
            if index in needed or (names_defined(source) & wanted and not _calls_ours(source)):
                needed.add(index)
                wanted |= names_used(source)
        return sorted(i for i in needed if self.assignment.solution.cells[i].cell_type == "code"), wanted


@lru_cache(maxsize=512)
def _plain_python(source: str) -> str:
    """A cell without IPython's own syntax; the cells of a solution are asked for again with every variant."""
    return TransformerManager().transform_cell(source)


def variant_namespace(
    task: Task, variant: Variant, worked: Worked | None, module_names: dict[str, Any]
) -> dict[str, Any]:
    """The names with a variant in the place of the worked answer.

    Args:
        worked: the solution; without it (a copy of the course for students) only whole replacements can be made.
        module_names: the names of the tasks' module, which stand in for the solution's then.

    Raises:
        TaskError: if the variant patches a solution that is not there.
    """
    if worked is not None:
        return worked.namespace(task, variant.cell(worked.answer(task)))
    if variant.replacement is None:
        raise TaskError(f"{variant.name} changes the solution, which is not here")
    names = dict(module_names)
    exec(compile(variant.replacement, f"<cell {variant.name}>", "exec"), names)
    return names


def _without_imports_but(wanted: set[str], source: str) -> ast.Module:
    """A cell without the imports at its top level that nobody uses: a library for pictures takes a while to load."""
    cell = ast.parse(source)
    for node in cell.body:
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__"):
            node.names = [a for a in node.names if a.name == "*" or (a.asname or a.name).split(".")[0] in wanted]
    cell.body = [node for node in cell.body if not isinstance(node, (ast.Import, ast.ImportFrom)) or node.names]
    return cell


@lru_cache(maxsize=1024)
def names_defined(source: str) -> frozenset[str]:
    """Names that a cell binds at its top level."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        else:
            found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(found)


@lru_cache(maxsize=1024)
def names_used(source: str) -> frozenset[str]:
    """Names that a cell takes from the notebook: those that it, or a function in it, reads and does not bind itself."""
    found: set[str] = set()

    def look(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                found.add(symbol.get_name())
        for child in table.get_children():
            look(child)

    look(symtable.symtable(source, "<cell>", "exec"))
    return frozenset(found)


def _calls_ours(source: str) -> bool:
    """Whether a cell checks, hints or shows progress; such cells define nothing that an answer needs."""
    called = {
        n.func.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    return bool(called & _OURS)
