"""nbgrader preprocessor: our verdict and its outputs in the place of a run in a kernel."""

from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool

from autograder.checking.card import feedback_card
from autograder.checking.verdict import TaskVerdict, Verdict
from autograder.course import Assignment, Course, nbgrader_metadata
from autograder.grading.files import secret_seed
from autograder.grading.intake import is_unreadable
from autograder.grading.store import all_missing, keep_verdict, kept_verdict, verdict_key

VERDICT = "autograder_verdict"
"""Under this name the verdict stands in ``resources`` for the preprocessors behind this one."""


class ExecuteVerdict(NbGraderPreprocessor):
    """Takes the verdict that is kept or makes one, and shows in the notebook what its cells put out."""

    retry = Bool(True, help="Whether to make a verdict anew that hung on the machine: a time-out, a failure of ours.")
    retry.tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        course = Course.at(Path.cwd())
        about = resources["nbgrader"]
        verdict = _verdict_for(course, course.assignment(about["assignment"]), about["student"], nb, self.retry)
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


def _verdict_for(
    course: Course,
    assignment: Assignment,
    student: str,
    notebook: NotebookNode,
    retry: bool,
) -> Verdict:
    """The verdict on a mended notebook: the one that is kept, or else a new one, which is then kept.

    Args:
        retry: make it anew if the one that is kept hangs on the machine (a time-out, a failure of ours).

    Raises:
        OSError: if the verdict cannot be kept.
    """
    seed = secret_seed(course.root)
    key = verdict_key(notebook, assignment, seed)
    kept = kept_verdict(course, student, assignment, key)
    if kept is not None and (kept.is_final or not retry):
        return kept
    from autograder.grading.run import judge_notebook  # not above: who only enters verdicts need not wait for torch

    problem = is_unreadable(notebook)
    verdict = all_missing(assignment, problem) if problem else judge_notebook(notebook, assignment, seed)
    keep_verdict(course, student, assignment, key, verdict)
    return verdict
