"""nbgrader, driven through its own API: release, autograde, feedback, and reading the gradebook back."""

import contextlib
import logging
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.course import Course
from autograder.grading.configuration import configure, prepare_environment

_ERROR_LINE = re.compile(r"[\w.]*(Error|Exception)\b")


class NbgraderError(Exception):
    """nbgrader could not do what it was asked; the message is the last thing it said."""


def open_api(course: Course, **directories: str) -> NbGraderAPI:
    """nbgrader's API on a course, with our verdicts configured whether or not the course's own file does.

    Args:
        directories: folders that take the place of the course's own, such as ``release_directory``.
    """
    config = Config()
    config.merge(course.config)
    configure(config)
    config.CourseDirectory.root = str(course.root)
    config.CourseDirectory.source_directory = course.source_directory.name
    config.CourseDirectory.release_directory = course.release_directory.name
    config.CourseDirectory.update(directories)
    config.CourseDirectory.db_url = database_url(course)
    with quiet_logging():
        coursedir = CourseDirectory(config=config)
        return NbGraderAPI(coursedir=coursedir, config=config)


def database_url(course: Course) -> str:
    """The gradebook's address."""
    return course.config.get("CourseDirectory", {}).get("db_url") or f"sqlite:///{course.root / 'gradebook.db'}"


def open_gradebook(course: Course) -> Gradebook:
    """The gradebook; use it in a ``with`` block."""
    prepare_environment()
    return Gradebook(database_url(course), course.config.get("CourseDirectory", {}).get("course_id", ""))


def demand(result: dict[str, Any], what: str) -> None:
    """Raise what nbgrader only returned.

    Raises:
        NbgraderError: if it did not succeed.
    """
    if not result["success"]:
        lines = [line.strip() for line in f"{result.get('error') or ''}\n{result.get('log') or ''}".splitlines()]
        told = [line for line in lines if _ERROR_LINE.match(line)] or lines[-1:]
        raise NbgraderError(f"{what} failed: {told[-1] or 'nbgrader did not say why'}")


@contextlib.contextmanager
def quiet_logging() -> Iterator[None]:
    """Keep nbgrader's log off the terminal; what goes wrong comes back as an exception."""
    logger = logging.getLogger("traitlets")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [logging.NullHandler()], False
    here = os.getcwd()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nbgrader's own, about its database and its formats
            yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        os.chdir(here)
