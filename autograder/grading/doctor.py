"""What protection this machine gives to who grades here, found out by trying from inside the sandbox."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from autograder.checking.client.confine import Limits, can_filter_system_calls
from autograder.course import Course
from autograder.grading.sandbox import NOBODY, PACKAGE, Sandbox, SandboxError, demand_sandbox, is_unsafe

FREE_DISK = 2 << 30
WORKER_MEMORY = 450 << 20

_PROBE = """
import errno, importlib.util, json, os, resource, socket
def refused(family, kind=socket.SOCK_STREAM):
    try:
        socket.socket(family, kind).close()
    except OSError:
        return True
    return False
def writable(folder):
    try:
        name = os.path.join(folder, "probe")
        open(name, "w").close()
        os.unlink(name)
    except OSError:
        return False
    return True
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
families = {"TCP and UDP": 2, "IPv6": 10, "netlink": 16, "packet": 17, "vsock": 40}
folders = []
for top, below, _ in os.walk("/"):
    folders.append(top)
    if top.count("/") > 2 or top == "/proc":
        below.clear()
print(json.dumps({
    "open_sockets": [name for name, family in families.items() if not refused(family)],
    "seen": [path for path in PATHS if os.path.exists(path)],
    "importable": [name for name in MODULES if importlib.util.find_spec(name)],
    "writable": [folder for folder in folders if writable(folder)],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privs": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(),
    "processes": [name for name in os.listdir("/proc") if name.isdecimal()],
    "host_user": open("/proc/self/uid_map").read().split()[1],
}))
"""
_OURS = ("reference", "tasks", "grading")
_WRITABLE = ("/tmp", "/dev/shm")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        ok: True or False where it bears on safety; None where it is merely worth knowing.
    """

    name: str
    ok: bool | None
    text: str


def examine(course: Course | None, on_step: Callable[[str], None] = lambda step: None) -> list[Finding]:
    """Look at this machine, start a sandbox, and try from inside it what students' code must not be able to do.

    Args:
        course: whose files must not be seen from inside.
        on_step: told what is tried next.
    """
    on_step("Looking at this machine")
    found = [_system(), *_bubblewrap()]
    try:
        on_step("Trying bubblewrap")
        demand_sandbox()
        on_step("Starting a sandbox and looking out of it")
        found += _inside(course)
    except SandboxError as error:
        found.append(Finding("sandbox", False, str(error)))
    if is_unsafe():
        found.append(Finding("unsafe", False, "AUTOGRADER_UNSAFE=1 is set: grading would do without a sandbox."))
    return [*found, *_resources(course), *_programs()]


def is_protected(findings: list[Finding]) -> bool:
    """Whether nothing that bears on safety was found wanting."""
    return all(finding.ok is not False for finding in findings)


def _system() -> Finding:
    is_root = sys.platform == "linux" and os.geteuid() == 0
    who = f"root; students' code runs as user {NOBODY}, who owns nothing" if is_root else "an ordinary user"
    kind = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if sys.platform != "linux":
        return Finding("system", False, f"{kind}. The sandbox needs Linux; a virtual machine or a container will do.")
    return Finding("system", True, f"{kind}, grading as {who}.")


def _bubblewrap() -> list[Finding]:
    path = shutil.which("bwrap")
    if path is None:
        return [Finding("bubblewrap", False, "It is not installed: apt-get install bubblewrap.")]
    version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout.strip()
    found = [Finding("bubblewrap", True, f"{version} at {path}.")]
    for name, wanted, why in (
        ("kernel.unprivileged_userns_clone", "1", "user namespaces are switched off"),
        ("kernel.apparmor_restrict_unprivileged_userns", "0", "AppArmor may restrict user namespaces"),
    ):
        setting = Path("/proc/sys") / name.replace(".", "/")
        if setting.exists() and setting.read_text().strip() != wanted:
            found.append(Finding(name, None, f"{why}; if the sandbox does not start: sudo sysctl -w {name}={wanted}"))
    return found


def _inside(course: Course | None) -> list[Finding]:
    """What a notebook sees and can do."""
    paths = [str(PACKAGE / part) for part in _OURS]
    if course is not None:
        kept = (course.source_directory, course.received_directory, course.submitted_directory, course.root)
        paths += [*map(str, kept), str(course.root / ".secret_seed"), str(course.root / "gradebook.db")]
    modules = [f"autograder.{part}" for part in _OURS] + ["nbgrader", "nbformat"]
    probe = f"PATHS, MODULES = {paths!r}, {modules!r}\n{_PROBE}"
    started = time.perf_counter()
    with Sandbox() as sandbox:
        seconds = time.perf_counter() - started
        readiness = []
        for _ in range(5):
            with sandbox.open() as session:
                readiness.append(session.seconds_to_ready)
        with sandbox.open() as session:
            texts: list[str] = []
            session.connection.send({"run": probe}, timeout=10)
            session.connection.receive_reply(30, lambda output: texts.append(str(output.get("text", ""))))
        group = sandbox.control_group
        has_memory_group = group is not None and group.limits_memory
    seen: dict[str, Any] = json.loads("".join(texts))
    ready = 1000 * sorted(readiness)[len(readiness) // 2]
    stray = [folder for folder in seen["writable"] if not folder.startswith(_WRITABLE)]
    limits = Limits()
    ours = ", ".join([*seen["seen"], *seen["importable"]])
    memory = f"{limits.memory >> 30} GiB of memory, {limits.processes} processes and threads"
    return [
        Finding(
            "sandbox", True, f"It starts in {seconds:.1f} s; a notebook's process is shut in within {ready:.0f} ms."
        ),
        _judge(
            not seen["open_sockets"], "network", "None, of any family.", f"Open: {', '.join(seen['open_sockets'])}."
        ),
        _judge(not ours, "files", "Ours, the course's and other students' cannot be seen.", f"Seen inside: {ours}."),
        _judge(not stray, "writing", f"Only in {' and '.join(_WRITABLE)}.", f"Also in {', '.join(stray)}."),
        _judge(len(seen["processes"]) <= 2, "processes", "Only the notebook's own.", "Others can be seen."),
        _judge(
            not seen["capabilities"] and seen["no_new_privs"] == "1" and seen["host_user"] != "0",
            "rights",
            f"User {seen['host_user']} outside, no capabilities, and no way to gain any.",
            "A notebook's process keeps rights that it should not have.",
        ),
        _seccomp(seen["seccomp"]),
        Finding(
            "limits",
            True if has_memory_group else None,
            f"{memory}: by a control group and for each process."
            if has_memory_group
            else f"{memory}: for each process, and the sum is watched twenty times a second; no control group "
            "can be had here, so a burst may pass the limit for a moment.",
        ),
    ]


def _seccomp(mode: str) -> Finding:
    if not can_filter_system_calls():
        return Finding("system calls", None, f"No filter for {platform.machine()}: namespaces alone must hold.")
    return _judge(mode == "2", "system calls", "Filtered (seccomp).", "The filter is not in force.")


def _judge(ok: bool, name: str, good: str, bad: str) -> Finding:
    return Finding(name, ok, good if ok else bad)


def _resources(course: Course | None) -> list[Finding]:
    cores, memory = os.cpu_count() or 1, psutil.virtual_memory()
    fits = memory.available // (WORKER_MEMORY + Limits().memory)
    room = f"{cores} cores, {memory.available / 2**30:.0f} GiB of memory free: {cores} workers by default."
    if fits < cores:
        room += f" Notebooks at their limit leave room for {max(fits, 1)}: use --workers {max(fits, 1)}."
    folder = course.root if course is not None else Path.cwd()
    free = shutil.disk_usage(folder).free
    return [
        Finding("workers", None, room),
        _judge(
            free > FREE_DISK,
            "disk",
            f"{free / 2**30:.0f} GiB free for the course.",
            f"Only {free / 2**20:.0f} MiB free for the course: make room before grading.",
        ),
    ]


def _programs() -> list[Finding]:
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    found = [Finding("versions", None, f"{versions}: another torch makes all verdicts anew.")]
    has_dask = importlib.util.find_spec("distributed") is not None
    found.append(Finding("cluster", None, "dask.distributed is there." if has_dask else "pip install .[cluster]"))
    has_chromium = shutil.which("chromium") is not None
    found.append(
        Finding("chromium", None, "There, for the tests in a browser." if has_chromium else "Tests in a browser wait.")
    )
    return found
