"""Runs a command as a person would and takes the time; nothing that it started outlives it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from autograder.live import Progress

POLL_SECONDS = 0.5
END_SECONDS = 10.0


class BenchError(Exception):
    """A command that was to be measured failed; the message says where its last words are."""


def timed(
    command: list[str],
    folder: Path,
    environment: dict[str, str],
    watch: Callable[[int], None] = lambda process_id: None,
) -> float:
    """Run a command to its end, in a folder; what it prints goes to ``stdout`` and ``stderr`` beside that folder.

    Args:
        watch: called now and then with the command's process id.

    Returns:
        how many seconds it took.

    Raises:
        BenchError: if it did not exit with 0.
    """
    log = folder.with_name(f"{folder.name}.stderr")
    with folder.with_name(f"{folder.name}.stdout").open("wb") as out, log.open("wb") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(POLL_SECONDS)
                    break
                watch(process.pid)
            seconds = time.perf_counter() - started
        finally:
            end_all(process)
    if process.returncode:
        said = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise BenchError(f"A command that was to be measured failed ({said[0]}). See {log} and the .stdout beside it.")
    return seconds


def end_all(process: subprocess.Popen[bytes]) -> None:
    """End a command that is still running, and whatever it started: first by Ctrl-C, then without asking."""
    if process.poll() is not None:
        return
    family = _family(process.pid)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    for member in {*family, *_family(process.pid)}:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def _family(process_id: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(process_id)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def count_folders(folder: Path, progress: Progress) -> Callable[[int], None]:
    """Take a step for each student's folder that has come into being in a folder."""
    seen = 0

    def watch(process_id: int) -> None:
        nonlocal seen
        there = sum(1 for _ in folder.glob("*")) if folder.is_dir() else 0
        for _ in range(there - seen):
            progress.step("")
        seen = max(seen, there)

    return watch


def one_thread_each(**more: str) -> dict[str, str]:
    """This process's environment with one thread a process for numerical libraries, and what is given."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, **threads, **more}


def autograder_command(*arguments: str) -> list[str]:
    """Our command line, in a process of its own."""
    return [sys.executable, "-c", "from autograder.cli import main; main()", *arguments]
