"""nbgrader preprocessor: our verdict and its outputs in the place of a run in a kernel."""

from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool

from autograder.checking.card import feedback_card
from autograder.checking.verdict import TaskVerdict
from autograder.course import Course, nbgrader_metadata
from autograder.grading.store import verdict_for

VERDICT = "autograder_verdict"
"""Under this name the verdict stands in ``resources`` for the preprocessors behind this one."""


class ExecuteVerdict(NbGraderPreprocessor):
    """Takes the verdict that is kept or makes one, and shows in the notebook what its cells put out."""

    retry = Bool(True, help="Whether to make a verdict anew that hung on the machine: a time-out, a failure of ours.")
    retry.tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        course = Course.at(Path.cwd())
        about = resources["nbgrader"]
        verdict = verdict_for(course, course.assignment(about["assignment"]), about["student"], nb, retry=self.retry)
        resources[VERDICT] = verdict
        for index, cell in enumerate(nb.cells):
            if cell.cell_type != "code":
                continue
            task = verdict.tasks.get(str(nbgrader_metadata(cell).get("grade_id")))
            if task is not None:
                cell.outputs = [_card_output(task)]
            else:
                cell.outputs = [NotebookNode(output) for output in verdict.outputs.get(index, [])]
        return nb, resources


def _card_output(task: TaskVerdict) -> NotebookNode:
    # Display data: an execute_result would count as points in stock nbgrader.
    return NotebookNode(output_type="display_data", data=feedback_card(task), metadata={})
