"""Intake, sandbox, verdicts, gradebook: what an instructor runs."""

import autograder.notebooks  # noqa: F401, before a module in here imports nbformat
