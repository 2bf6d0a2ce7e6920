"""Copies of the gradebook and of the secret seed, taken before a regrade changes points that are entered."""

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import make_url

from autograder.course import Course
from autograder.grading.files import PARTIAL, seed_path
from autograder.grading.gradebook import database_url

FOLDER = "backups"


class NoBackup(Exception):
    """The gradebook cannot be copied from here; the message says what to do."""


def back_up(course: Course) -> Path:
    """Copy the gradebook and the secret seed into a new folder of ``backups/``, readable by its owner alone.

    The folder's name is the time. SQLite's own backup is used, which waits for whoever is writing.

    Raises:
        NoBackup: if the gradebook is no SQLite file.
        OSError: if there is no room.
    """
    url = make_url(database_url(course))
    if url.get_backend_name() != "sqlite" or not url.database:
        raise NoBackup(f"The gradebook is kept by {url.get_backend_name()}: back it up there before you grade again.")
    parent = course.root / FOLDER
    parent.mkdir(mode=0o700, exist_ok=True)
    for left in parent.glob(f".*{PARTIAL}"):  # by a run that was killed
        shutil.rmtree(left)
    partial = Path(tempfile.mkdtemp(dir=parent, prefix=".", suffix=PARTIAL))  # made for its owner alone
    try:
        _copy_database(Path(url.database), partial / "gradebook.db")
        if seed_path(course.root).exists():
            shutil.copyfile(seed_path(course.root), partial / "secret_seed")
        for path in partial.iterdir():
            path.chmod(0o600)
        target = parent / datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ")
        os.rename(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def _copy_database(source: Path, target: Path) -> None:
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as there,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            there.backup(copy)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise OSError(f"The gradebook could not be backed up ({error}); nothing was changed.") from error
