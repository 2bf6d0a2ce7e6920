"""What known mistakes come to at home, kept for copies of the course that have no solutions.

A mistake that is written as a patch of the worked solution, or that calls what another task asks for, can only be
tried where the solution is. A student's copy has none; but at home all inputs are drawn from one seed, so that what
each mistake answers there can be kept. An answer is what :mod:`~autograder.checking.client.wire` carries: a JSON text
and the bytes of its tensors. ``autograder audit --record`` writes one archive for each module of tasks, into
``autograder/tasks/recorded/``. Trainings are left out: what they answer is large, and hangs on the machine.
"""

import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from autograder.checking.client.wire import WireError, decode, encode
from autograder.checking.given import HOME_SEED, Given
from autograder.checking.student import LocalTransport, Student, Transport
from autograder.checking.tasks import Task, Variant, tasks_in
from autograder.checking.worked import Worked, names_used

_SIZE = struct.Struct("<I")
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class Replayed:
    """Gives recorded replies, one after the other, whatever is asked.

    Raises:
        LookupError: if more is asked than was recorded: the task has changed since.
    """

    def __init__(self, replies: list[dict[str, Any]]) -> None:
        self._replies = iter(replies)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return next(self._replies)
        except StopIteration:
            raise LookupError(f"no reply to {request.get('target')!r} was recorded") from None


def needs_solution(task: Task, variant: Variant) -> bool:
    """Whether a variant can only be tried beside the worked solution."""
    others = {other.asks for other in tasks_in(task.body.__module__).values() if other.id != task.id}
    return variant.replacement is None or not others.isdisjoint(names_used(variant.replacement))


def replayed(task: Task, variant: Variant) -> Transport | None:
    """The way to a mistake as it was recorded at home, or None if it was not."""
    replies = _archive(task.body.__module__).get(f"{task.id}/{variant.name}")
    return None if replies is None else Replayed(replies)


def record(module_name: str, worked: Worked, on_task: Callable[[str], None] = lambda _: None) -> Path:
    """Try every mistake that needs the solution, and keep what it answers.

    Args:
        module_name: of the tasks.
        worked: their solution.
        on_task: told the id of each task.

    Returns:
        the archive.
    """
    path = _path(module_name)
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for task in (task for task in tasks_in(module_name).values() if not task.trains):
            on_task(task.id)
            for variant in task.misconceptions:
                if variant.probe is None and needs_solution(task, variant):
                    entry = zipfile.ZipInfo(f"{task.id}/{variant.name}", _LONG_AGO)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(entry, _packed(_replies(task, variant, worked)))
    _archive.cache_clear()
    return path


def _replies(task: Task, variant: Variant, worked: Worked) -> list[dict[str, Any]]:
    transport = LocalTransport(worked.namespace(task, variant.cell(worked.answer(task))))
    replies: list[dict[str, Any]] = []

    def noting(request: dict[str, Any]) -> dict[str, Any]:
        replies.append(transport(request))
        return replies[-1]

    with warnings.catch_warnings(action="ignore"):
        task.cases(Student(noting, task.seconds), Given(HOME_SEED, task.id))
    return replies


def _packed(replies: list[dict[str, Any]]) -> bytes:
    tree, body = encode(replies)
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()
    return _SIZE.pack(len(text)) + text + body


def _unpacked(data: bytes) -> list[dict[str, Any]]:
    end = _SIZE.size + _SIZE.unpack_from(data)[0]
    replies: list[dict[str, Any]] = decode(json.loads(data[_SIZE.size : end]), data[end:])
    return replies


def _path(module_name: str) -> Path:
    return Path(str(files("autograder.tasks"))) / "recorded" / f"{module_name.rpartition('.')[2]}.zip"


@lru_cache(maxsize=16)
def _archive(module_name: str) -> dict[str, list[dict[str, Any]]]:
    """All replies of a module of tasks by task and mistake; nothing if there is no archive, or none that is whole."""
    try:
        with zipfile.ZipFile(_path(module_name)) as archive:
            return {name: _unpacked(archive.read(name)) for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile, struct.error, ValueError, WireError):
        return {}
