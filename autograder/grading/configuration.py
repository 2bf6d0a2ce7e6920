"""What the grader needs of nbgrader, said in nbgrader's own configuration."""

import os
import sys
from pathlib import Path

from traitlets.config.loader import Config

SANITIZE = [
    "autograder.grading.repair.Repair",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "autograder.grading.metadata.CheckMetadata",
]
AUTOGRADE = [
    "autograder.grading.execute.ExecuteVerdict",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.grading.save.SaveVerdicts",
    "nbgrader.preprocessors.AssignLatePenalties",
]
"""nbgrader's, without a second check of the metadata: nothing behind the first one touches them."""
NBGRADERS_IGNORED = (".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback")
WRITTEN_BY_NOTEBOOKS = ("leaderboard.csv",)
"""Files that a notebook writes beside itself and that are not handed out with it."""

TEMPLATES = Path(__file__).parent / "jupyter"
"""A Jupyter data folder with our parts of nbgrader's page templates."""


def configure(config: Config) -> None:
    """Let nbgrader grade by our verdicts, and its feedback pages load nothing from another host."""
    ignored = config.CourseDirectory.get("ignore", NBGRADERS_IGNORED)
    config.CourseDirectory.ignore = [*ignored, *(name for name in WRITTEN_BY_NOTEBOOKS if name not in ignored)]
    config.Autograde.sanitize_preprocessors = SANITIZE
    config.Autograde.autograde_preprocessors = AUTOGRADE
    config.GenerateFeedback.exporter_class = "autograder.grading.feedback.FeedbackExporter"
    config.HTMLExporter.sanitize_html = True
    config.HTMLExporter.preprocessors = ["autograder.grading.pages.OnlyWhatIsShown"]
    config.HTMLExporter.filters = {
        "markdown2html": "autograder.grading.pages.safe_markdown2html",
        "clean_html": "autograder.grading.pages.safe_html",
    }
    config.Exporter.optimistic_validation = True  # once behind all preprocessors and not behind each
    prepare_environment()


def prepare_environment() -> None:
    """Let nbgrader find what it looks for in the environment: our templates, and the command alembic.

    It calls alembic for a new gradebook, also where no virtual environment is activated.
    """
    _put_first("JUPYTER_PATH", str(TEMPLATES))
    _put_first("PATH", str(Path(sys.executable).parent))


def _put_first(variable: str, folder: str) -> None:
    """Put a folder in front of a search path of this process."""
    there = [entry for entry in os.environ.get(variable, "").split(os.pathsep) if entry and entry != folder]
    os.environ[variable] = os.pathsep.join([folder, *there])
