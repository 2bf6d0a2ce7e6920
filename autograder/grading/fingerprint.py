"""What grades an assignment, as a hash: when it changes, verdicts are made anew, and only those that hang on it."""

import ast
import hashlib
import platform
from collections.abc import Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from autograder.course import Assignment
from autograder.grading.sandbox import PACKAGE, STUDENTS_HALF

JUDGES = "grading/run.py"
"""The module that makes verdicts. What it and an assignment's tasks import, however far down, grades the assignment."""


@lru_cache(maxsize=64)
def grader_hash(assignment: Assignment) -> str:
    """A hash of the tasks and all that they import, the sandbox with its limits, the solution notebook, and torch.

    It is read once in a process, as the modules themselves are.
    """
    digest = hashlib.sha256(f"{metadata.version('torch')} {platform.python_version()}".encode())
    for path in grading_files(assignment.module_name):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(assignment.solution_path.read_bytes())
    return digest.hexdigest()


def grading_files(tasks_module: str) -> list[Path]:
    """The files of this package on which the verdicts of a module of tasks depend, data files included."""
    files: set[Path] = set()
    waiting = {PACKAGE / JUDGES, *_module_files(tasks_module)}
    while waiting:
        path = waiting.pop()
        files.add(path)
        waiting |= {found for name in _imported(path) for found in _module_files(name)} - files
    beside = {p for path in files if path.stem != "__init__" for p in path.parent.glob(f"{path.stem}.*")}
    students = {p for name in STUDENTS_HALF for p in _all_files(PACKAGE / name)}
    return sorted(files | beside | students)


def _all_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for inside in path.rglob("*") if path.is_dir() else ():
        if inside.is_file() and "__pycache__" not in inside.parts:
            yield inside


def _imported(path: Path) -> Iterator[str]:
    """The modules that a file of ours imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_files(name: str) -> set[Path]:
    """The files that importing a module of ours runs: its own, and those of the packages that it is in."""
    package, *parts = name.split(".")
    if package != PACKAGE.name:
        return set()
    folders = [PACKAGE.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    return {p for folder in folders for p in (folder / "__init__.py", folder.with_suffix(".py")) if p.is_file()}
