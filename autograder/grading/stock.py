"""Stock nbgrader as people run it: its own preprocessors, its own gradebook, the tests in the student's kernel."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from autograder.course import Assignment, Course
from autograder.grading.gradebook import entered
from autograder.grading.timing import one_thread_each, timed

_CONFIG = 'c = get_config()\nc.CourseDirectory.course_id = "stock"\n'
_STARTUP = "from autograder.grading.raising import install\n\ninstall()\n"


class StockCourse:
    """A course folder in nbgrader's own words, with nothing of ours in its configuration.

    Args:
        root: where it lies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def make(root: Path, assignment: Assignment, submitted: Path) -> "StockCourse":
        """A course with one assignment, released by nbgrader, and submissions that it can read."""
        source = root / "source" / assignment.name
        source.mkdir(parents=True)
        shutil.copy(assignment.solution_path, source)
        shutil.copytree(submitted, root / "submitted")
        (root / "nbgrader_config.py").write_text(_CONFIG)
        startup = root / "ipython" / "profile_default" / "startup"
        startup.mkdir(parents=True)
        (startup / "00-check.py").write_text(_STARTUP)
        course = StockCourse(root)
        course._run("generate_assignment", assignment.name)
        return course

    def copy_to(self, root: Path) -> "StockCourse":
        """The same course once more."""
        return StockCourse(shutil.copytree(self.root, root))

    def autograde(self, assignment: str, watch: Callable[[int], None]) -> float:
        """Grade what was submitted; returns the seconds."""
        return self._run("autograde", assignment, watch)

    def generate_feedback(self, assignment: str, watch: Callable[[int], None]) -> float:
        """Make the feedback pages; returns the seconds."""
        return self._run("generate_feedback", assignment, watch)

    def points(self, assignment: str) -> dict[str, dict[str, float | None]]:
        """What its gradebook says: automatic points by student and task."""
        there = entered(Course.at(self.root), assignment)
        return {student: found.scores for student, found in there.items() if found.scores}

    def _run(self, what: str, assignment: str, watch: Callable[[int], None] = lambda process_id: None) -> float:
        command = [sys.executable, "-m", "nbgrader", what, assignment]
        return timed(command, self.root, one_thread_each(IPYTHONDIR=str(self.root / "ipython")), watch)
