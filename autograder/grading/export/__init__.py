"""Scores for other systems: Canvas, Moodle, Gradescope and plain tables, read from nbgrader's gradebook.

``autograder export`` calls :func:`export`; ``nbgrader export --exporter=autograder.grading.export.CanvasExport`` (or
``MoodleExport``, ``PlainExport``, ``GradescopeExport``) does the same through nbgrader's own command.
"""

from autograder.grading.export.export import FORMATS, export, graded_gradebook
from autograder.grading.export.plugins import CanvasExport, GradescopeExport, MoodleExport, PlainExport
from autograder.grading.export.scores import Exported, Options

__all__ = [
    "FORMATS",
    "CanvasExport",
    "Exported",
    "GradescopeExport",
    "MoodleExport",
    "Options",
    "PlainExport",
    "export",
    "graded_gradebook",
]
