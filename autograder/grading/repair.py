"""nbgrader preprocessor: the same mends that ``autograder collect`` makes, for who calls nbgrader directly."""

from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.course import Course
from autograder.grading.mend import mend_notebook


class Repair(NbGraderPreprocessor):
    """Brings a submitted notebook back to the cells of the released one. nbgrader runs it in the course's folder."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        assignment = Course.at(Path.cwd()).assignment(resources["nbgrader"]["assignment"])
        mended = mend_notebook(nb, assignment)
        for repair in mended.repairs:
            self.log.warning("%s: %s", resources["nbgrader"]["student"], repair)
        return mended.notebook, resources
