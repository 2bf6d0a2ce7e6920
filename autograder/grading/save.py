"""nbgrader preprocessor: points from the verdict into the gradebook, and none without one."""

import hashlib
import json
from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Grade
from nbgrader.preprocessors import SaveAutoGrades
from nbgrader.utils import is_grade, is_solution

from autograder.checking.verdict import Verdict
from autograder.course import Course
from autograder.grading.execute import VERDICT
from autograder.grading.store import judged_by_hand, mark_answers


class SaveVerdicts(SaveAutoGrades):
    """Writes the verdict's points. What a notebook put out counts for nothing here.

    What a person gave stays. It is marked for another look where the answer or its points are not those that were
    judged; nbgrader itself would mark it at every run.
    """

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        about = resources["nbgrader"]
        course = Course.at(Path.cwd())
        self._answers = answers_of(nb, resources.get(VERDICT))
        self._judged = judged_by_hand(course, about["student"], about["assignment"])
        self._last = len(nb.cells) - 1
        nb, resources = super().preprocess(nb, resources)
        mark_answers(course, about["student"], about["assignment"], self._answers)
        return nb, resources

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, cell_index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        """All cells in one transaction; nbgrader's own two for each grade make everything be read anew behind each."""
        session = self.gradebook.db
        if cell_index == 0:
            session.commit = session.flush
        cell, resources = super().preprocess_cell(cell, resources, cell_index)
        if cell_index == self._last:
            del session.commit
            session.commit()
        return cell, resources

    def _add_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        name = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(name, self.notebook_id, self.assignment_id, self.student_id)
        marked = grade.needs_manual_grade
        if is_solution(cell):
            super()._add_score(cell, resources)
        else:
            self._add_points(grade, name, resources.get(VERDICT))
        if grade.manual_score is not None and self._judged.get(name) == self._answers[name]:
            grade.needs_manual_grade = marked

    def _add_points(self, grade: Grade, name: str, verdict: Verdict | None) -> None:
        task = verdict.tasks.get(name) if verdict else None
        if task is None:
            grade.auto_score, unsettled = 0.0, True
        else:
            grade.auto_score, unsettled = task.score, task.score is None
        grade.needs_manual_grade = unsettled or grade.manual_score is not None


def answers_of(nb: NotebookNode, verdict: Verdict | None) -> dict[str, str]:
    """What each task's answer is and what it got, as a hash."""
    found: dict[str, str] = {}
    sources: list[str] = []
    for cell in nb.cells:
        if is_solution(cell):
            sources.append(cell.source)
        if is_grade(cell):
            name = cell.metadata["nbgrader"]["grade_id"]
            task = verdict.tasks.get(name) if verdict else None
            judged = json.dumps([sources, task.score if task else None])
            found[name] = hashlib.sha256(judged.encode()).hexdigest()
            sources = []
    return found
