"""Where the student's code runs: a process of its own that holds nothing of ours but the student's half.

This is the one place that decides how that process is confined. It is given a staged folder with an allow-list of
our files as its only way to the package ``autograder``, an empty environment and a working directory of its own.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from types import TracebackType

from autograder.checking.client.wire import Connection

PACKAGE = Path(__file__).resolve().parent.parent
STUDENTS_HALF = ("__init__.py", "data", "checking/__init__.py", "checking/client")
"""What of our package a student's process may see; all else (reference, tasks, grading, solutions) it cannot import."""

START_SECONDS = 120.0


class SandboxError(Exception):
    """The student's process could not be started; nobody's answer is to blame."""


class Sandbox:
    """A preloaded process that makes a fresh child for each notebook. Use it in a ``with`` block.

    Raises:
        SandboxError: if it does not start.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="words-in-context-"))
        self._lock = threading.Lock()
        try:
            stage_students_half(self._folder / "client")
            (self._folder / "work").mkdir()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._log = (self._folder / "log").open("w+")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-S", "-m", "autograder.checking.client.preload", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=_environment(self._folder),
                cwd=self._folder / "work",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
            )
            theirs.close()
            self._control = ours
            ours.settimeout(START_SECONDS)
            self._receive("ready")
        except BaseException:
            self.close()
            raise

    def open(self) -> "Session":
        """A fresh child, ready to run a notebook."""
        ours, theirs = socket.socketpair()
        with self._lock:
            try:
                socket.send_fds(self._control, [b'{"open": 1}'], [theirs.fileno()])
                pid = self._receive("pid")
            except OSError as error:
                raise SandboxError(f"The process for students' code is gone: {error}.") from error
            finally:
                theirs.close()
        return Session(self, pid, Connection(ours))

    def kill(self, pid: int) -> None:
        """End a child and what it started."""
        with self._lock:
            try:
                self._control.send(json.dumps({"kill": pid}).encode())
            except OSError:
                return  # the preloaded process is gone, and its children with it

    def close(self) -> None:
        """End the process and remove its folder."""
        if hasattr(self, "_control"):
            self._control.close()
        if hasattr(self, "_process"):
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if hasattr(self, "_log"):
            self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, wanted: str) -> int:
        """The next message of a kind; notices of children that ended are passed over."""
        while True:
            try:
                message = self._control.recv(1 << 16)
            except TimeoutError:
                message = b""
            if not message:
                self._log.seek(0)
                told = self._log.read().strip().splitlines()[-1:] or ["it said nothing"]
                raise SandboxError(f"The process for students' code did not start: {told[0]}")
            told_json = json.loads(message)
            if wanted in told_json:
                return int(told_json[wanted])


class Session:
    """One notebook in one child process. Use it in a ``with`` block; leaving it ends the child.

    Attributes:
        connection: the wire to the child.
    """

    def __init__(self, sandbox: Sandbox, pid: int, connection: Connection) -> None:
        self._sandbox = sandbox
        self._pid = pid
        self.connection = connection

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()
        self._sandbox.kill(self._pid)


def stage_students_half(folder: Path) -> None:
    """Copy the student's half of the package, and nothing else of it, into a folder."""
    for name in STUDENTS_HALF:
        source, target = PACKAGE / name, folder / PACKAGE.name / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


def _site_packages() -> list[str]:
    return list(dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")))


def _environment(folder: Path) -> dict[str, str]:
    """What the student's process finds in its environment: nothing of the grader's."""
    home = str(folder / "work")
    return {
        "PATH": os.defpath,
        "HOME": home,
        "TMPDIR": home,
        "IPYTHONDIR": home,
        "MPLCONFIGDIR": home,
        "LANG": "C.UTF-8",
        # Without the site module (-S) no .pth file is read, by which an editable install would bring in all of ours.
        "PYTHONPATH": os.pathsep.join([str(folder / "client"), *_site_packages()]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
    }
