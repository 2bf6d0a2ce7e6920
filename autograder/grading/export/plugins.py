"""The same exports as plug-ins of ``nbgrader export``."""

from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.plugins import ExportPlugin
from traitlets import Bool, Unicode

from autograder.course import Course
from autograder.grading.export.export import export
from autograder.grading.export.scores import Options


class _Export(ExportPlugin):
    """Exports in one format; what nbgrader's command line gives is respected."""

    form = ""
    roster = Unicode("", help="what the other system exported; its columns and identifiers are kept").tag(config=True)
    feedback = Bool(False, help="add a column of feedback").tag(config=True)
    include_ungraded = Bool(False, help="export the points there are where a person must grade").tag(config=True)
    missing_as_zero = Bool(False, help="export 0 where nothing was handed in").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Write what ``--to`` names, or a file in the course's ``exports/``."""
        options = Options(
            roster=Path(self.roster) if self.roster else None,
            feedback=self.feedback,
            include_ungraded=self.include_ungraded,
            missing_as_zero=self.missing_as_zero,
            students=tuple(str(student) for student in self.student),
        )
        course = Course.at(Path(self.parent.coursedir.root))
        names = [str(name) for name in self.assignment]
        exported = export(course, gradebook, self.form, names, Path(self.to) if self.to else None, options)
        for path in exported.files:
            self.log.info("Wrote %s", path)
        for warning in exported.warnings:
            self.log.warning("%s", warning)


class CanvasExport(_Export):
    """Canvas's gradebook import."""

    form = "canvas"


class MoodleExport(_Export):
    """Moodle's grade import."""

    form = "moodle"


class PlainExport(_Export):
    """A plain table."""

    form = "csv"


class GradescopeExport(_Export):
    """Gradescope's results.json."""

    form = "gradescope"
