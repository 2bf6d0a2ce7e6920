"""Where the student's code runs: a process that holds nothing of ours but the student's half, shut in.

This is the one place that decides how that process is confined. A preloaded process is started inside bubblewrap, as
an ordinary user, with all namespaces its own, no network, and nothing to see but what :mod:`autograder.grading.visible`
lists. For each notebook it forks a child, which shuts itself in once more (:mod:`autograder.checking.client.confine`).
Where there is no bubblewrap there is no sandbox, and grading refuses, unless somebody says ``--unsafe``.
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
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from autograder.checking.client.confine import OUT_OF_MEMORY, Limits, staged
from autograder.grading.cgroups import ControlGroup, make_control_group
from autograder.grading.visible import CLIENT, SITE, hidden, interpreter, links, visible

if TYPE_CHECKING:  # the wire needs torch, which who only asks for a sandbox need not wait for
    from autograder.checking.client.wire import Connection

PACKAGE = Path(__file__).resolve().parent.parent
STUDENTS_HALF = ("__init__.py", "data", "checking/__init__.py", "checking/client")
"""What of our package a student's process may see; all else (reference, tasks, grading, solutions) it cannot import."""

UNSAFE = "AUTOGRADER_UNSAFE"
"""Set to 1 in the environment, grading does without a sandbox; ``--unsafe`` sets it for its own run."""

_WHAT_NOW = "`autograder doctor` says more; --unsafe grades without a sandbox, if you trust every notebook."
START_SECONDS = 120.0
END_SECONDS = 10.0
PRELOADED_BYTES = 1 << 30
NOBODY = 65534


class SandboxError(Exception):
    """The student's process could not be started; nobody's answer is to blame."""


class NoSandbox(SandboxError):
    """This machine gives no sandbox; the message says what is missing."""


def demand_sandbox() -> None:
    """Try whether students' code can be shut in here, which takes a moment.

    Raises:
        NoSandbox: if it cannot, and grading was not told to do without.
    """
    if is_unsafe():
        return
    with tempfile.TemporaryDirectory(prefix="words-in-context-") as folder:
        stage_students_half(Path(folder) / "client")
        command, group = _confined_command(Path(folder), ["/bin/true"], Limits())
        try:
            tried = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.defpath}, timeout=30)
        except subprocess.TimeoutExpired as error:
            raise NoSandbox(f"bubblewrap does not answer here. {_WHAT_NOW}") from error
        finally:
            if group:
                group.close()
    if tried.returncode:
        told = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
        raise NoSandbox(f"Students' code cannot be shut in here ({told}). {_WHAT_NOW}")


def is_unsafe() -> bool:
    """Whether grading was told to do without a sandbox."""
    return os.environ.get(UNSAFE) == "1"


class Sandbox:
    """A preloaded process that makes a fresh child for each notebook. Use it in a ``with`` block.

    Args:
        confined: whether it and its children are shut in; at home, where a student runs a notebook of their own, not.
        limits: what one notebook may use, if it is confined; by default :class:`Limits` as it stands.

    Raises:
        SandboxError: if it does not start.
    """

    def __init__(self, confined: bool = True, limits: Limits | None = None) -> None:
        self.confined = confined
        self.control_group: ControlGroup | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="words-in-context-"))
        self._lock = threading.Lock()
        self._ended: dict[int, int] = {}
        self._unread = b""
        try:
            stage_students_half(self._folder / "client")
            (self._folder / "work").mkdir()
            ours, theirs = socket.socketpair()
            self._log = (self._folder / "log").open("w+")
            command = [sys.executable, *_PRELOAD, str(theirs.fileno())]
            if confined:
                limits = limits or Limits()
                inside = [interpreter(), *_PRELOAD, str(theirs.fileno()), json.dumps(asdict(limits))]
                command, self.control_group = _confined_command(self._folder, inside, limits)
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=_environment(self._folder, confined),
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
        """A fresh child, shut in and ready to run a notebook.

        Raises:
            SandboxError: if there is none to be had.
        """
        from autograder.checking.client.wire import Connection, WireError

        started = time.perf_counter()
        ours, theirs = socket.socketpair()
        with self._lock:
            try:
                socket.send_fds(self._control, [b'{"open": 1}\n'], [theirs.fileno()])
                pid = self._receive("pid")
            except OSError as error:
                raise SandboxError(f"The process for students' code is gone: {error}.") from error
            finally:
                theirs.close()
        session = Session(self, pid, Connection(ours))
        try:
            session.connection.receive_reply(START_SECONDS, lambda output: None)
        except (OSError, EOFError, WireError) as error:
            session.close()
            raise SandboxError(f"A process for a notebook could not be shut in: {self._last_words()}") from error
        session.seconds_to_ready = time.perf_counter() - started
        return session

    def end(self, pid: int) -> int | None:
        """End a child and all that it started, and wait until none of it is left.

        Returns:
            its exit status as ``waitpid`` gives it; None if the preloaded process is gone, and its children with it.
        """
        with self._lock:
            try:
                self._control.sendall(json.dumps({"kill": pid}).encode() + b"\n")
                self._control.settimeout(END_SECONDS)
                while pid not in self._ended:
                    self._receive("ended")
            except (OSError, SandboxError):
                self._stop()
                return None
            finally:
                self._control.settimeout(START_SECONDS)
            return self._ended.pop(pid)

    def close(self) -> None:
        """End the process and remove its folder."""
        if hasattr(self, "_control"):
            self._control.close()
        if hasattr(self, "_process"):
            self._stop()
        if hasattr(self, "_log"):
            self._log.close()
        if self.control_group:
            self.control_group.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _receive(self, wanted: str) -> int:
        """The next message of a kind; how children ended is noted on the way."""
        while True:
            line, newline, rest = self._unread.partition(b"\n")
            if newline:
                self._unread = rest
                message = json.loads(line)
                if "ended" in message:
                    self._ended[message["ended"]] = message["status"]
                if wanted in message:
                    return int(message[wanted])
                continue
            try:
                chunk = self._control.recv(1 << 16)
            except TimeoutError:
                chunk = b""
            if not chunk:
                raise SandboxError(f"The process for students' code did not start: {self._last_words()}")
            self._unread += chunk

    def _last_words(self) -> str:
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["it said nothing"])[-1]


class Session:
    """One notebook in one child process. Use it in a ``with`` block; leaving it ends the child.

    Attributes:
        connection: the wire to the child.
        seconds_to_ready: from asking for the child to its being shut in.
    """

    def __init__(self, sandbox: Sandbox, pid: int, connection: "Connection") -> None:
        self._sandbox = sandbox
        self._pid = pid
        self._status: int | None = None
        self._is_open = True
        self.connection = connection
        self.seconds_to_ready = 0.0

    def close(self) -> None:
        """End the child and all that it started."""
        if self._is_open:
            self._is_open = False
            self.connection.close()
            self._status = self._sandbox.end(self._pid)

    def ran_out_of_memory(self) -> bool:
        """Whether the child, which is ended by this, was stopped because it took too much memory."""
        self.close()
        return self._status is not None and os.waitstatus_to_exitcode(self._status) == OUT_OF_MEMORY

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def stage_students_half(folder: Path) -> None:
    """Copy the student's half of the package, and nothing else of it, into a folder."""
    for name in STUDENTS_HALF:
        source, target = PACKAGE / name, folder / PACKAGE.name / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


_PRELOAD = ("-P", "-S", "-m", "autograder.checking.client.preload")
"""Without the site module (-S) no .pth file is read, by which an editable install would bring in all of ours."""


def _confined_command(folder: Path, inside: list[str], limits: Limits) -> tuple[list[str], ControlGroup | None]:
    """How to run a command inside bubblewrap, and the control group that it will join.

    Root starts it by way of a staging folder, in which an ordinary user can reach what it may see: the interpreter
    may well lie in root's own home.

    Args:
        folder: holds the student's half in ``client``.

    Raises:
        NoSandbox: if there is no bubblewrap.
    """
    bubblewrap = shutil.which("bwrap")
    if sys.platform != "linux" or bubblewrap is None:
        missing = "bubblewrap is not installed (apt-get install bubblewrap)" if sys.platform == "linux" else "no Linux"
        raise NoSandbox(f"There is no sandbox for students' code here: {missing}. {_WHAT_NOW}")
    seen = [*visible(), (str(folder / "client"), CLIENT)]
    is_root = os.geteuid() == 0
    staging = folder / "seen"
    if is_root:
        staging.mkdir()
    reachable = [staged(i) if is_root else source for i, (source, _) in enumerate(seen)]
    group = make_control_group(PRELOADED_BYTES + limits.memory, 2 * limits.processes)
    plan: dict[str, Any] = {
        "command": [bubblewrap, *_bubblewrap_options(reachable, [place for _, place in seen]), "--", *inside],
        "groups": group.joined_by if group else [],
        "user": NOBODY if is_root else None,
        "staging": str(staging),
        "sources": [source for source, _ in seen],
    }
    launcher = folder / "client" / PACKAGE.name / "checking" / "client" / "confine.py"
    return [sys.executable, "-I", "-S", str(launcher), "launch", json.dumps(plan)], group


def _bubblewrap_options(sources: list[str], places: list[str]) -> list[str]:
    """A read-only system in namespaces of its own (bwrap(1)); the root and ``/dev`` are made read-only last."""
    options = ["--unshare-user", "--unshare-all", "--cap-drop", "ALL", "--die-with-parent", "--new-session"]
    for source, place in zip(sources, places, strict=True):
        options += ["--ro-bind", source, place]
    for name, target in links():
        options += ["--symlink", target, name]
    for folder in hidden():
        options += ["--tmpfs", folder, "--remount-ro", folder]
    options += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/"]


def _site_packages() -> list[str]:
    return list(dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")))


def _environment(folder: Path, confined: bool) -> dict[str, str]:
    """What the student's process finds in its environment: nothing of the grader's."""
    home = "/tmp" if confined else str(folder / "work")
    paths = [CLIENT, SITE] if confined else [str(folder / "client"), *_site_packages()]
    return {
        "PATH": os.defpath,
        "HOME": home,
        "USER": "student",
        "TMPDIR": home,
        "IPYTHONDIR": home,
        "MPLCONFIGDIR": home,
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "AUTOGRADER_NO_STAND_INS": "1",
        **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
    }
