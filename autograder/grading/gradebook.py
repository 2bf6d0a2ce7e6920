"""nbgrader, driven through its own API: release, autograde, feedback, and reading the gradebook back."""

import contextlib
import errno
import logging
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import nbgrader.api
from nbgrader.api import Assignment, BaseCell, Grade, Gradebook, SubmittedAssignment, SubmittedNotebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import Engine
from traitlets.config import Config

from autograder.course import Course
from autograder.grading.configuration import configure, prepare_environment

_NO_ROOM = re.compile(r"OSError: \[Errno 28\]|[\w.]*OperationalError: .*database or disk is full")
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


@contextlib.contextmanager
def one_engine() -> Iterator[None]:
    """Let all gradebooks that nbgrader opens share an engine for each database, closed ones included.

    nbgrader opens the gradebook ten times for each submission, and every engine compiles all statements anew. Closing
    a gradebook closes its engine's connections; the engine can be used again.
    """
    engines: dict[str, Engine] = {}
    create = nbgrader.api.create_engine

    def shared(url: str, **options: Any) -> Engine:
        if url not in engines:
            engines[url] = create(url, **options)
        return engines[url]

    nbgrader.api.create_engine = shared
    try:
        yield
    finally:
        nbgrader.api.create_engine = create
        for engine in engines.values():
            engine.dispose()


@dataclass(frozen=True)
class Entered:
    """What the gradebook has of a submission.

    Attributes:
        scores: automatic points by task; None where there are none.
        by_hand: points that a person gave in their place, by task.
        due: when it was due, the student's extension included.
    """

    scores: dict[str, float | None] = field(default_factory=dict)
    by_hand: dict[str, float] = field(default_factory=dict)
    due: str = ""


def entered(course: Course, assignment: str) -> defaultdict[str, Entered]:
    """What the gradebook has of an assignment, by student; of others, when it is due."""
    with open_gradebook(course) as gradebook:
        due = str(gradebook.find_assignment(assignment).duedate)
        extensions = (
            gradebook.db.query(SubmittedAssignment.student_id, SubmittedAssignment.extension)
            .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
            .filter(Assignment.name == assignment)
        )
        found = defaultdict(lambda: Entered(due=due))
        for student, extension in extensions:
            found[student] = Entered(due=f"{due} + {extension}" if extension else due)
        grades = (
            gradebook.db.query(SubmittedAssignment.student_id, BaseCell.name, Grade.auto_score, Grade.manual_score)
            .join(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
            .join(Grade, Grade.notebook_id == SubmittedNotebook.id)
            .join(BaseCell, BaseCell.id == Grade.cell_id)
            .join(Assignment, SubmittedAssignment.assignment_id == Assignment.id)
            .filter(Assignment.name == assignment)
        )
        for student, task, auto_score, manual_score in grades:
            found[student].scores[task] = auto_score
            if manual_score is not None:
                found[student].by_hand[task] = manual_score
    return found


def demand(result: dict[str, Any], what: str) -> None:
    """Raise what nbgrader only returned.

    Raises:
        NbgraderError: if it did not succeed.
        KeyboardInterrupt: if a person stopped it.
        OSError: if the disk is full.
    """
    if not result["success"]:
        lines = [line.strip() for line in f"{result.get('error') or ''}\n{result.get('log') or ''}".splitlines()]
        if "KeyboardInterrupt" in lines:
            raise KeyboardInterrupt
        if any(_NO_ROOM.match(line) for line in lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        told = [line for line in lines if _ERROR_LINE.match(line)] or lines[-1:]
        raise NbgraderError(f"{what} failed: {told[-1] or 'nbgrader did not say why'}")


@contextlib.contextmanager
def quiet_logging() -> Iterator[None]:
    """Keep nbgrader's logs off the terminal; what goes wrong comes back as an exception.

    Its applications write to the log of traitlets, and its database to that of tornado.
    """
    loggers = [logging.getLogger(name) for name in ("traitlets", "tornado.application")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [logging.NullHandler()], False
    here = os.getcwd()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nbgrader's own, about its database and its formats
            yield
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
        os.chdir(here)
