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
    "nbgrader.preprocessors.CheckCellMetadata",
]
AUTOGRADE = [
    "autograder.grading.execute.ExecuteVerdict",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.grading.save.SaveVerdicts",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
NO_ADDRESS = "data:text/javascript,"
"""An address that loads nothing: pages of ours ask no other host for anything."""


def configure(config: Config) -> None:
    """Let nbgrader grade by our verdicts, and its feedback pages load nothing from another host."""
    config.Autograde.sanitize_preprocessors = SANITIZE
    config.Autograde.autograde_preprocessors = AUTOGRADE
    # nbgrader's classic template would fetch these three from a CDN.
    config.HTMLExporter.mathjax_url = NO_ADDRESS
    config.HTMLExporter.require_js_url = NO_ADDRESS
    config.HTMLExporter.jquery_url = NO_ADDRESS
    config.HTMLExporter.sanitize_html = True
    _find_commands()


def _find_commands() -> None:
    """Let nbgrader find the command alembic, with which it makes a new gradebook, where no environment is activated."""
    folder = str(Path(sys.executable).parent)
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PATH")]))
