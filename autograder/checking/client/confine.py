"""Shuts a notebook's process in: the part that the process does to itself, and what starts it as an ordinary user.

Two halves. Started as a program, ``python confine.py launch PLAN``, this file runs outside the sandbox: it joins the
control groups, makes what the sandbox may see reachable for an ordinary user, stops being root, and becomes
bubblewrap. Called as :func:`run_confined`, it runs inside: in a freshly forked child it takes new namespaces, mounts
a ``/proc`` and a ``/tmp`` of their own, sets limits, drops all capabilities and puts a filter on system calls, before
a line of the student's code is run. Needs Linux and the standard library alone.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

OUT_OF_MEMORY = 77
"""Exit status of a supervisor that ended its notebook because it took too much memory."""

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_ALL_NAMESPACES = 0x7E020000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 22, 24
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL, _SECCOMP_MODE_FILTER = 4, 2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Limits:
    """What one notebook may use.

    Attributes:
        memory: bytes beyond what the preloaded process has, of each process and of all together.
        processes: processes and threads.
        open_files: open files of each process.
        file_bytes: the size of one file.
        scratch_bytes: all files in ``/tmp``; as much again in ``/dev/shm``.
        scratch_files: how many files these may be.
        cpu_seconds: processor time of each process.
    """

    memory: int = 3 << 30
    processes: int = 48
    open_files: int = 256
    file_bytes: int = 64 << 20
    scratch_bytes: int = 64 << 20
    scratch_files: int = 4096
    cpu_seconds: int = 600


def run_confined(limits: Limits, work: Callable[[], None]) -> int:
    """Run something in a sandbox of its own inside this one, and wait for it.

    The calling process, which must be freshly forked and have one thread, becomes the supervisor: it stays outside of
    the new process namespace, ends everything in it when it is told to (SIGTERM) or when too much memory is used.

    Returns:
        the supervisor's exit status: 0 if the work returned, :data:`OUT_OF_MEMORY`, or 1.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    _new_namespaces()
    confined, said = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(confined)
            os.setsid()  # whoever kills its own process group must not kill the supervisor with it
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
            _mount_own(limits)
            _set_limits(limits)
            _drop_capabilities()
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            filter_system_calls()
            os.write(said, b"1")
            os.close(said)
            work()
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
    os.close(said)
    _close_all_but(confined)
    if os.read(confined, 1) != b"1":
        return 1
    return _supervise(child, limits)


def _close_all_but(kept: int) -> None:
    """Close what the supervisor does not need, the notebook's wire above all: it must end with the notebook."""
    os.closerange(3, kept)
    os.closerange(kept + 1, 4096)


def _supervise(child: int, limits: Limits) -> int:
    """Wait for the notebook's first process, watching what all of them use; with it, all of them end."""
    at_start = _anonymous_memory(child)
    while True:
        told = signal.sigtimedwait({signal.SIGTERM, signal.SIGCHLD}, 0.05)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return 0 if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else 1
        too_much = told is None and _memory_of_all(at_start) > limits.memory
        if too_much or (told is not None and told.si_signo == signal.SIGTERM):
            os.kill(child, signal.SIGKILL)  # the first process of its namespace: the kernel ends the others with it
            os.waitpid(child, 0)
            return OUT_OF_MEMORY if too_much else 1


def _memory_of_all(shared_at_start: int) -> int:
    """Bytes that the processes in the namespace have taken. ``/proc`` here is theirs: it shows them alone."""
    return sum(
        max(0, _anonymous_memory(int(name)) - shared_at_start) for name in os.listdir("/proc") if name.isdecimal()
    )


def _anonymous_memory(pid: int) -> int:
    """Bytes of memory of a process that no file stands behind, swapped out or not; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0
    counted = (b"RssAnon:", b"RssShmem:", b"VmSwap:")
    return sum(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(counted))


def _new_namespaces() -> None:
    user, group = os.getuid(), os.getgid()
    wanted = _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWNET
    _call("unshare", _libc.unshare(wanted))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"1000 {user} 1")
    Path("/proc/self/gid_map").write_text(f"1000 {group} 1")


def _mount_own(limits: Limits) -> None:
    """A ``/proc`` that shows this notebook's processes alone, and scratch space that ends with it."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    scratch = f"size={limits.scratch_bytes},nr_inodes={limits.scratch_files},mode=1777"
    for folder in ("/tmp", "/dev/shm"):
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, scratch)
    _mount("/dev/null", "/dev/zero", None, _MS_BIND)  # which gives shared memory that only a control group counts
    os.chdir("/tmp")


def _set_limits(limits: Limits) -> None:
    address_space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for kind, most in (
        (resource.RLIMIT_AS, address_space + limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_NPROC, limits.processes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 1 << 16),
    ):
        resource.setrlimit(kind, (most, most))


def _drop_capabilities() -> None:
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    _call("capset", _libc.capset(header, b"\0" * 24))
    _call("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


# Numbers of system calls, x86-64 and arm64; None where there is no such call.
# fmt: off
_REFUSED = {
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "move_mount": (429, 429), "open_tree": (428, 428), "mount_setattr": (442, 442), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225), "mknod": (133, None),
    "mknodat": (259, 33), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219),
    "add_key": (248, 217), "request_key": (249, 218), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_setup": (206, 0), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "acct": (163, 89),
    "reboot": (169, 142), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "syslog": (103, 116), "personality": (135, 92), "migrate_pages": (256, 238),
    "move_pages": (279, 239), "vmsplice": (278, 75), "memfd_create": (319, 279), "memfd_secret": (447, 447),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "uselib": (134, None), "lookup_dcookie": (212, 18),
    "vhangup": (153, 58), "sethostname": (170, 161), "setdomainname": (171, 162),
}
# fmt: on
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_SOCKET, _SOCKETPAIR, _CLONE, _CLONE3, _IOCTL = (41, 198), (53, 199), (56, 220), (435, 435), (16, 29)
_MMAP = (9, 222)
_AF_UNIX, _TIOCSTI = 1, 0x5412
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20
_EPERM, _ENOMEM, _ENOSYS, _EAFNOSUPPORT = 1, 12, 38, 97


def can_filter_system_calls() -> bool:
    """Whether there is a filter for this machine's architecture."""
    return platform.machine() in _ARCHITECTURES


def filter_system_calls() -> None:
    """Refuse, for good, system calls that no notebook needs, and every socket that is not a Unix socket.

    On an architecture that the table does not know this does nothing: namespaces and capabilities must do there.
    """
    if not can_filter_system_calls():
        return
    column, audit = _ARCHITECTURES[platform.machine()]
    program = b"".join(_filter(column, audit))
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _call("seccomp", _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0))


def _filter(column: int, audit: int) -> list[bytes]:
    """The filter as instructions of classic BPF (seccomp(2)); a jump counts the instructions that it passes over."""
    load, equal, at_least, any_bit, leave = 0x20, 0x15, 0x35, 0x45, 0x06
    number, arch, argument = 0, 4, lambda i: 16 + 8 * i
    allow, end_process = 0x7FFF0000, 0x80000000

    def instruction(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_so, if_not, value)

    def refuse(errno: int) -> bytes:
        return instruction(leave, 0x00050000 | errno)

    made = [
        instruction(load, arch),
        instruction(equal, audit, 1, 0),
        instruction(leave, end_process),
        instruction(load, number),
        instruction(at_least, 0x40000000, 0, 1),  # the x32 calls of x86-64
        refuse(_EPERM),
    ]
    for call in (numbers[column] for numbers in _REFUSED.values()):
        if call is not None:
            made += [instruction(equal, call, 0, 1), refuse(_EPERM)]
    # Without clone3, whose flags a filter cannot see, the C library takes clone.
    made += [instruction(equal, _CLONE3[column], 0, 1), refuse(_ENOSYS)]
    for call in (_SOCKET[column], _SOCKETPAIR[column]):
        made += [
            instruction(equal, call, 0, 4),
            instruction(load, argument(0)),
            instruction(equal, _AF_UNIX, 1, 0),
            refuse(_EAFNOSUPPORT),
            instruction(leave, allow),
        ]
    made += [
        instruction(equal, _CLONE[column], 0, 4),
        instruction(load, argument(0)),
        instruction(any_bit, _ALL_NAMESPACES, 0, 1),
        refuse(_EPERM),
        instruction(leave, allow),
        instruction(equal, _IOCTL[column], 0, 4),
        instruction(load, argument(1)),
        instruction(equal, _TIOCSTI, 0, 1),
        refuse(_EPERM),
        instruction(leave, allow),
        # Shared memory without a file can be let go of and yet be kept, in no process's account (see _mount_own).
        instruction(equal, _MMAP[column], 0, 4),
        instruction(load, argument(3)),
        instruction(any_bit, _MAP_ANONYMOUS, 0, 2),
        instruction(any_bit, _MAP_SHARED, 0, 1),
        refuse(_ENOMEM),
        instruction(leave, allow),
    ]
    return made


_STAGED = "/tmp"


def staged(index: int) -> str:
    """Where a launched command finds the source of this index: all of them lie over a folder that all may enter."""
    return os.path.join(_STAGED, str(index))


def launch(plan: dict[str, Any]) -> NoReturn:
    """Become bubblewrap, as an ordinary user.

    Args:
        plan: ``command``, what to become; ``groups``, files to which this process writes its id to join a control
            group; and, where root must drop its rights, ``user``, the id to take, ``staging``, an empty folder, and
            ``sources``, what is to be found as :func:`staged` says, where an ordinary user can reach it.
    """
    for group in plan["groups"]:
        Path(group).write_text(str(os.getpid()))
    if plan["user"] is not None:
        _call("unshare", _libc.unshare(_CLONE_NEWNS))
        _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
        _mount("tmpfs", plan["staging"], "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
        for index, source in enumerate(plan["sources"]):
            place = os.path.join(plan["staging"], str(index))
            if os.path.isdir(source):
                os.mkdir(place)
            else:
                Path(place).touch()
            _mount(source, place, None, _MS_BIND | _MS_REC)
        _mount(plan["staging"], _STAGED, None, _MS_BIND | _MS_REC)
        os.chdir("/")
        os.setgroups([])
        os.setgid(plan["user"])
        os.setuid(plan["user"])
    os.execv(plan["command"][0], plan["command"])


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    done = _libc.mount(
        source.encode() if source is not None else None,
        target.encode(),
        kind.encode() if kind is not None else None,
        ctypes.c_ulong(flags),
        data.encode(),
    )
    _call(f"mount {target}", done)


def _call(what: str, result: int) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


if __name__ == "__main__":
    launch(json.loads(sys.argv[2]))
