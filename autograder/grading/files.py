"""Files that are there whole or not at all, secrets, and one grading run at a time."""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SEED_BYTES = 32
PARTIAL = ".partial"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""The numbers of errors that mean a full disk."""


class CourseBusy(Exception):
    """Another run is grading this course."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that, whatever happens, either the old or the new one is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PARTIAL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise


def clear_partial(folder: Path) -> None:
    """Remove what a killed run left half written; nobody else may be writing there."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink()


def write_json(path: Path, record: Any) -> None:
    """Write a JSON document atomically."""
    write_atomically(path, json.dumps(record, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass"))


def read_json(path: Path) -> Any:
    """A JSON document, or None if there is none or it is damaged; then it is as if it had not been written."""
    try:
        return json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except (FileNotFoundError, ValueError):
        return None


def seed_path(root: Path) -> Path:
    """Where the course's secret seed is kept."""
    return root / ".secret_seed"


def secret_seed(root: Path) -> bytes:
    """The course's secret seed of inputs: made at the first grading, readable by the grader alone.

    Raises:
        OSError: if it cannot be read or made.
    """
    path = seed_path(root)
    while True:
        with contextlib.suppress(FileNotFoundError):
            seed = path.read_bytes()
            if len(seed) != SEED_BYTES:
                raise OSError(
                    f"{path.name} is damaged: it has {len(seed)} bytes, not {SEED_BYTES}. Restore your backup."
                )
            return seed
        descriptor, partial = tempfile.mkstemp(dir=root, prefix=".secret_seed.")  # made readable by its owner alone
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SEED_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)  # fails if somebody else was first, and then theirs is taken
        os.unlink(partial)


@contextlib.contextmanager
def only_run(root: Path) -> Iterator[None]:
    """Hold the course for one run.

    Raises:
        CourseBusy: if another run holds it.
    """
    path = root / ".grading.lock"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CourseBusy("Another run is grading this course. Wait for it to end, then run this again.") from error
        yield
