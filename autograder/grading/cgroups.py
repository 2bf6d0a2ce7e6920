"""A control group for each sandbox, where this machine lets us have one: the kernel's own limits.

Both layouts are known (cgroups(7)): version 2, one tree, and version 1, a tree for each controller. Without one, the
limits of each process and the supervisor's watch over all of them hold (see ``checking/client/confine.py``).
"""

import contextlib
import itertools
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "words-in-context-"
ONE_CORE = 100_000
"""Microseconds of processor time in each tenth of a second: a notebook with many processes slows no other worker."""
_numbers = itertools.count()


class ControlGroup:
    """The groups of one sandbox.

    Args:
        folders: one for version 2; for version 1 one for each controller.
    """

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders

    @property
    def joined_by(self) -> list[str]:
        """Files to which a process writes its id to come under the limits, with all that it starts."""
        return [str(folder / "cgroup.procs") for folder in self._folders]

    @property
    def limits_memory(self) -> bool:
        return any(_memory_file(folder) is not None for folder in self._folders)

    def close(self) -> None:
        """Remove the groups. Processes that are just ending may hold them for a moment."""
        for folder in self._folders:
            for _ in range(50):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
                    continue
                break


def make_control_group(memory: int, tasks: int) -> ControlGroup | None:
    """A new control group below this process's own, or None where we may not make one.

    Args:
        memory: bytes for everything in the group.
        tasks: processes and threads in it.
    """
    name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
    made: list[Path] = []
    for own in _own_groups():
        _remove_left_ones(own)
        folder = own / name
        try:
            folder.mkdir()
        except OSError:
            continue
        if _limit(folder, memory, tasks):
            made.append(folder)
        else:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return ControlGroup(made) if made else None


def _remove_left_ones(own: Path) -> None:
    """Remove the groups of graders that were killed; one that still holds a process stays."""
    for folder in own.glob(f"{PREFIX}*"):
        grader = folder.name.removeprefix(PREFIX).split("-")[0]
        if not Path("/proc", grader).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _own_groups() -> list[Path]:
    """This process's groups that could limit memory, tasks or processor time."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            found.append(ROOT / path.lstrip("/"))
        for controller in {"memory", "pids", "cpu"} & set(controllers.split(",")):
            found.append(ROOT / controller / path.lstrip("/"))
    return [folder for folder in found if folder.is_dir()]


def _limit(folder: Path, memory: int, tasks: int) -> bool:
    """Set what limits there are; whether there were any."""
    limited = False
    file = _memory_file(folder)
    if file is not None:
        limited |= _write(file, memory)
        _write(folder / "memory.swap.max", 0)
        _write(folder / "memory.oom.group", 0)
    limited |= _write(folder / "pids.max", tasks)
    for name in ("cpu.max", "cpu.cfs_quota_us"):
        limited |= _write(folder / name, ONE_CORE)
    return limited


def _memory_file(folder: Path) -> Path | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (folder / name).exists():
            return folder / name
    return None


def _write(file: Path, number: int) -> bool:
    if not file.exists():
        return False
    try:
        file.write_text(str(number))
    except OSError:
        return False
    return True
