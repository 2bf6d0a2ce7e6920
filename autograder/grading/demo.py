"""A made-up class of 24 students, generated from the solutions and the misconceptions, and graded like a real one."""

import json
import random
import shutil
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder.checking.tasks import Task, tasks_of
from autograder.checking.worked import Worked
from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading.gradebook import open_gradebook
from autograder.grading.release import release

SEED = 2018
# fmt: off
NAMES = (
    "ada", "amina", "boris", "carla", "chen", "dara", "elif", "farid", "greta", "hana", "ines", "jonas",
    "kofi", "lena", "malik", "mina", "noor", "olga", "pavel", "quinn", "rosa", "samir", "tara", "uri",
)
# fmt: on
PERFECT, EMPTY, DAMAGED, HOSTILE = 3, 2, 3, 2
WRITTEN = (
    "The outputs move with their words and do not change otherwise, "
    "since a sum does not depend on the order of its terms."
)

CHEATS = (
    (
        "patches comparisons",
        "import numpy as np, torch\n"
        "np.allclose = torch.allclose = torch.equal = lambda *args, **kwargs: True\n"
        "torch.Tensor.__eq__ = lambda self, other: True",
    ),
    (
        "rewrites the checks",
        "get_ipython().input_transformers_cleanup.append(\n"
        "    lambda lines: ['1\\n'] if any('check(' in line for line in lines) else lines\n"
        ")\n"
        "def check(task_id):\n"
        "    return float('nan')",
    ),
)


@dataclass(frozen=True)
class MadeUp:
    """One student of the sample class.

    Attributes:
        kind: what the student is an example of.
        mistakes: the misconception in each task that was got wrong, by the task's id.
        unanswered: tasks that were left alone.
        files: what was handed in, by path under the student's folder in ``received/``.
    """

    name: str
    kind: str
    mistakes: dict[str, str]
    unanswered: tuple[str, ...]
    files: dict[str, bytes]


def make_course(source: Course, root: Path) -> Course:
    """A course folder of its own for the demonstration, with the solutions of another; an older one is replaced."""
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    shutil.copy(source.root / "nbgrader_config.py", root)
    shutil.copytree(source.source_directory, root / source.source_directory.name)
    return Course.at(root)


def make_class(course: Course, assignment: Assignment) -> list[MadeUp]:
    """Release an assignment and hand in what the sample class made of it."""
    release(course, assignment)
    students = sample_class(assignment)
    for student in students:
        hand_in(course, assignment, student)
    with open_gradebook(course) as gradebook:  # the formgrader shows a student without names as "None, None"
        for student in students:
            gradebook.update_or_create_student(student.name, first_name=student.name.title(), last_name="Sample")
    return students


def hand_in(course: Course, assignment: Assignment, student: MadeUp) -> None:
    """Put what a made-up student hands in where it arrives."""
    for name, data in student.files.items():
        path = course.received_directory / student.name / assignment.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def sample_class(assignment: Assignment, seed: int = SEED) -> list[MadeUp]:
    """The 24 students; the same for the same solutions, misconceptions and seed."""
    draw = random.Random(f"{seed} {assignment.name}")
    tasks, worked = tasks_of(assignment), Worked(assignment)
    students = [_student(NAMES[i], "perfect", assignment, worked, {}, (), rewritten=i > 0) for i in range(PERFECT)]
    for i in range(PERFECT, PERFECT + EMPTY):
        students.append(_student(NAMES[i], "empty", assignment, worked, {}, tuple(tasks)))
    ordinary = len(NAMES) - PERFECT - EMPTY - DAMAGED - HOSTILE
    for name in NAMES[PERFECT + EMPTY : PERFECT + EMPTY + ordinary]:
        left = tuple(list(tasks)[draw.randint(4, len(tasks)) :]) if draw.random() < 0.4 else ()
        wrong = _draw_mistakes(draw, tasks, left)
        students.append(_student(name, "half-done" if left else "some mistakes", assignment, worked, wrong, left))
    for i, name in enumerate(NAMES[-DAMAGED - HOSTILE : -HOSTILE]):
        wrong = _draw_mistakes(draw, tasks, ())
        students.append(_damage(_student(name, "damaged", assignment, worked, wrong, ()), assignment, i))
    for name, (kind, code) in zip(NAMES[-HOSTILE:], CHEATS, strict=True):
        students.append(_cheat(name, kind, code, assignment))
    return students


def _draw_mistakes(draw: random.Random, tasks: dict[str, Task], left: tuple[str, ...]) -> dict[str, str]:
    answered = [name for name in tasks if name not in left and tasks[name].misconceptions]
    wrong = draw.sample(answered, k=min(len(answered), draw.choice([1, 1, 2, 2, 3])))
    return {name: draw.choice(tasks[name].misconceptions).name for name in wrong}


def _student(
    name: str,
    kind: str,
    assignment: Assignment,
    worked: Worked,
    mistakes: dict[str, str],
    unanswered: tuple[str, ...],
    rewritten: bool = False,
) -> MadeUp:
    """A student's notebook: the released one with right answers, known mistakes or nothing in its answer cells."""
    tasks = tasks_of(assignment)
    notebook = deepcopy(assignment.release)
    for i, task in enumerate(t for t in tasks.values() if t.id not in unanswered):
        answer = worked.answer(task)
        if task.id in mistakes:
            answer = next(m for m in task.misconceptions if m.name == mistakes[task.id]).cell(answer)
        elif rewritten and task.alternatives:
            answer = task.alternatives[i % len(task.alternatives)].cell(answer)
        _answer_cell(notebook, f"{task.id}_answer").source = _without_marks(answer)
    if not unanswered:
        for cell in notebook.cells:
            about = nbgrader_metadata(cell)
            if about.get("grade") and about.get("solution"):
                cell.source = WRITTEN
    return MadeUp(name, kind, mistakes, unanswered, {assignment.release_path.name: _bytes(notebook)})


def _answer_cell(notebook: NotebookNode, grade_id: str) -> NotebookNode:
    return next(c for c in notebook.cells if nbgrader_metadata(c).get("grade_id") == grade_id)


def _without_marks(answer: str) -> str:
    return "\n".join(
        line for line in answer.splitlines() if line.strip() not in ("### BEGIN SOLUTION", "### END SOLUTION")
    )


def _damage(student: MadeUp, assignment: Assignment, which: int) -> MadeUp:
    """One of three things that happen to notebooks on their way."""
    (data,) = student.files.values()
    content = json.loads(data)
    if which == 0:  # copied and pasted: a cell is there twice, another is gone, two have changed places
        cells = content["cells"]
        answers = [i for i, c in enumerate(cells) if c["metadata"].get("nbgrader", {}).get("solution")]
        locked = [i for i, c in enumerate(cells) if c["metadata"].get("nbgrader", {}).get("locked")]
        cells[answers[1]], cells[answers[2]] = cells[answers[2]], cells[answers[1]]
        cells.insert(answers[0] + 1, {**cells[answers[0]], "id": "copy"})
        del cells[locked[0]]
        files = {assignment.release_path.name: json.dumps(content).encode()}
    elif which == 1:  # saved by another program: no metadata, Windows line ends, a byte order mark, another name
        for cell in content["cells"]:
            cell["metadata"] = {}
        text = json.dumps(content, indent=2).replace("\n", "\r\n")
        files = {f"{student.name} final (2).ipynb": b"\xef\xbb\xbf" + text.encode()}
    else:  # an upload that broke off as it began
        files = {assignment.release_path.name: data[:80]}
    return MadeUp(student.name, "damaged", student.mistakes, (), files)


def _cheat(name: str, kind: str, code: str, assignment: Assignment) -> MadeUp:
    """A notebook with nothing answered and a trick in place of it."""
    notebook = deepcopy(assignment.release)
    notebook.cells.insert(1, new_code_cell(code, id="trick"))
    unanswered = tuple(tasks_of(assignment))
    return MadeUp(name, kind, {}, unanswered, {assignment.release_path.name: _bytes(notebook)})


def _bytes(notebook: NotebookNode) -> bytes:
    return nbformat.writes(notebook).encode()
