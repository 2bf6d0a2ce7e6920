"""Where a course keeps its things, and what its notebooks ask for.

A course is an nbgrader course directory that holds this project's solutions: the repository itself, or a folder
of its own as ``autograder demo`` makes one. Everything here reads notebooks; nothing runs them.
"""

import ast
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from autograder.notebooks import NotebookNode, nbformat

_EFFORT = re.compile(r"(\d+) minutes?\s*·\s*difficulty\s*(●+)")


class CourseError(Exception):
    """Something about the course directory is not as it must be; the message says what to do."""


@dataclass(frozen=True)
class Asked:
    """One name that a task asks for, with its signature as the stub gives it."""

    name: str
    signature: str


@dataclass(frozen=True)
class GradedCell:
    """One graded question of a notebook; ``id`` is its nbgrader ``grade_id``.

    Attributes:
        index: position of the check cell (of the answer itself, for a written question).
        answers: positions of the solution cells that belong to the task.
    """

    id: str
    points: float
    manual: bool
    index: int
    answers: tuple[int, ...]
    asks_for: tuple[Asked, ...]
    minutes: int | None
    difficulty: int | None


def nbgrader_metadata(cell: NotebookNode) -> dict:
    """What nbgrader knows of a cell; empty for a cell that is the student's own."""
    return cell.metadata.get("nbgrader", {})


def graded_cells(notebook: NotebookNode) -> list[GradedCell]:
    """The graded questions of a source or released notebook, in its order."""
    found: list[GradedCell] = []
    answers: list[int] = []
    effort: tuple[int | None, int | None] = (None, None)
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown" and (match := _EFFORT.search(cell.source)):
            effort = int(match[1]), len(match[2])
        about = nbgrader_metadata(cell)
        if about.get("solution"):
            answers.append(index)
        if about.get("grade"):
            manual = bool(about.get("solution"))
            asks_for = () if manual else tuple(a for i in answers for a in asked_by(notebook.cells[i].source))
            found.append(
                GradedCell(about["grade_id"], float(about["points"]), manual, index, tuple(answers), asks_for, *effort)
            )
            answers, effort = [], (None, None)
    return found


def asked_by(source: str) -> list[Asked]:
    """The functions and classes that a stub leaves to be written, as a student sees their signatures."""
    asked = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            asked.append(Asked(node.name, f"{node.name}({ast.unparse(node.args)})"))
        elif isinstance(node, ast.ClassDef):
            methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
            signature = node.name
            if "__init__" in methods:
                signature += f"({_without_self(methods['__init__'])})"
            for name, method in methods.items():
                if not name.startswith("_"):
                    signature += f".{name}({_without_self(method)})"
            asked.append(Asked(node.name, signature))
    return asked


def _without_self(method: ast.FunctionDef) -> str:
    arguments = ast.unparse(method.args)
    return re.sub(r"^self(, )?", "", arguments)


@dataclass(frozen=True)
class Assignment:
    """One assignment, such as ``06-attention``: a solution notebook and the released one made from it."""

    name: str
    solution_path: Path
    release_path: Path

    @property
    def notebook_name(self) -> str:
        """The notebook's file name without ``.ipynb``, which is nbgrader's notebook id."""
        return self.solution_path.stem

    @property
    def module_name(self) -> str:
        """The module of the assignment's tasks, ``autograder.tasks.…``."""
        return f"autograder.tasks.{self.notebook_name.replace('-', '_')}"

    @cached_property
    def solution(self) -> NotebookNode:
        return read_notebook(self.solution_path)

    @cached_property
    def release(self) -> NotebookNode:
        if not self.release_path.exists():
            raise CourseError(f"{self.name} has not been released: run `autograder release {self.name}` first.")
        return read_notebook(self.release_path)


@dataclass(frozen=True)
class Course:
    """An nbgrader course directory.

    Args:
        root: the directory that holds ``solutions/`` (or nbgrader's ``source/``).
    """

    root: Path
    config: Config = field(repr=False, compare=False)

    @staticmethod
    def at(root: Path) -> "Course":
        """Open the course in a directory.

        Raises:
            CourseError: if there is no course there.
        """
        root = root.resolve()
        config_file = root / "nbgrader_config.py"
        config = (
            PyFileConfigLoader(config_file.name, path=str(root)).load_config() if config_file.exists() else Config()
        )
        course = Course(root, config)
        if not course.source_directory.is_dir():
            raise CourseError(
                f"{root} is not a course: it has no {course.source_directory.name}/ folder. "
                "Give the course directory with --course."
            )
        return course

    @staticmethod
    def default() -> "Course":
        """The course that the working directory lies in, or else the repository of this package."""
        repository = Path(__file__).resolve().parent.parent
        here = Path.cwd()
        for folder in [here, *here.parents, repository]:
            if (folder / "nbgrader_config.py").exists():
                return Course.at(folder)
        raise CourseError("No course here: run this inside the course directory or give it with --course.")

    @property
    def source_directory(self) -> Path:
        return self._directory("source_directory", "solutions" if (self.root / "solutions").is_dir() else "source")

    @property
    def release_directory(self) -> Path:
        return self._directory("release_directory", "exercises" if (self.root / "exercises").is_dir() else "release")

    @property
    def submitted_directory(self) -> Path:
        return self._directory("submitted_directory", "submitted")

    @property
    def autograded_directory(self) -> Path:
        return self._directory("autograded_directory", "autograded")

    @property
    def feedback_directory(self) -> Path:
        return self._directory("feedback_directory", "feedback")

    @property
    def received_directory(self) -> Path:
        """What arrived, byte for byte."""
        return self.root / "received"

    @property
    def verdicts_directory(self) -> Path:
        return self.root / "verdicts"

    def _directory(self, option: str, default: str) -> Path:
        value = self.config.get("CourseDirectory", {}).get(option, default)
        return self.root / value

    @cached_property
    def assignments(self) -> dict[str, Assignment]:
        """All assignments by name, in order."""
        found = {}
        for folder in sorted(p for p in self.source_directory.iterdir() if p.is_dir()):
            notebooks = sorted(folder.glob("*.ipynb"))
            if len(notebooks) > 1:
                raise CourseError(f"{folder} must hold one notebook; it holds {', '.join(n.name for n in notebooks)}.")
            for path in notebooks:
                found[folder.name] = Assignment(folder.name, path, self.release_directory / folder.name / path.name)
        return found

    def assignment(self, name: str) -> Assignment:
        """One assignment by name.

        Raises:
            CourseError: if there is none of that name; the message lists those there are.
        """
        if name not in self.assignments:
            there = ", ".join(self.assignments) or "none"
            raise CourseError(f"There is no assignment {name!r}. There are: {there}.")
        return self.assignments[name]

    def selected(self, names: list[str]) -> list[Assignment]:
        """The named assignments, or all of them if none is named."""
        return [self.assignment(name) for name in names] if names else list(self.assignments.values())


def read_notebook(path: Path) -> NotebookNode:
    """Read one of our own notebooks, in the current format."""
    return nbformat.read(path, as_version=4)
