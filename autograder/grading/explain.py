"""A verdict replayed, for an appeal: the record that was kept, and the same submission judged again."""

from dataclasses import asdict
from typing import Any

from autograder.course import Course, CourseError, graded_cells, read_notebook
from autograder.grading.files import secret_seed
from autograder.grading.run import judge_notebook
from autograder.grading.store import latest_verdict


def explain(course: Course, student: str, task: str, assignment: str | None = None) -> dict[str, Any]:
    """The kept verdict on a task and the one that the same notebook and seed give now.

    The replay shows expected values: it is for the instructor's eyes.

    Args:
        assignment: needed only where two assignments have a task of this name.

    Raises:
        CourseError: if there is no such task, or no verdict on it.
    """
    having = [a for a in course.selected([assignment] if assignment else []) if task in _task_ids(a)]
    if not having:
        raise CourseError(f"There is no task {task!r}. `autograder tasks` lists them.")
    if len(having) > 1:
        raise CourseError(f"{task!r} is in {' and '.join(a.name for a in having)}: name one with --assignment.")
    (chosen,) = having
    kept = latest_verdict(course, student, chosen.name)
    path = course.submitted_directory / student / chosen.name / chosen.release_path.name
    if kept is None or not path.exists():
        raise CourseError(f"There is no verdict on {chosen.name} of {student}. `autograder grade` makes it.")
    replayed = judge_notebook(read_notebook(path), chosen, secret_seed(course.root), reveal=True)
    before, after = asdict(kept.tasks[task]), asdict(replayed.tasks[task])
    return {
        "student": student,
        "assignment": chosen.name,
        "task": task,
        "kept": before,
        "replayed": after,
        "agrees": (before["score"], before["status"]) == (after["score"], after["status"]),
    }


def _task_ids(assignment: Any) -> set[str]:
    return {cell.id for cell in graded_cells(assignment.solution)}
