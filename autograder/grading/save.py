"""nbgrader preprocessor: points from the verdict into the gradebook, and none without one."""

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import SaveAutoGrades
from nbgrader.utils import is_solution

from autograder.checking.verdict import Verdict
from autograder.grading.execute import VERDICT


class SaveVerdicts(SaveAutoGrades):
    """Writes the verdict's points. What a notebook put out counts for nothing here."""

    def _add_score(self, cell: NotebookNode, resources: ResourcesDict) -> None:
        if is_solution(cell):
            super()._add_score(cell, resources)
            return
        name = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(name, self.notebook_id, self.assignment_id, self.student_id)
        verdict: Verdict | None = resources.get(VERDICT)
        task = verdict.tasks.get(name) if verdict else None
        if task is None:
            grade.auto_score, unsettled = 0.0, True
        else:
            grade.auto_score, unsettled = task.score, task.score is None
        grade.needs_manual_grade = unsettled or grade.manual_score is not None
        self.gradebook.db.commit()
