"""The untrusted end of grading: a process that has torch loaded and forks one child for each notebook.

Started as ``python -m autograder.checking.client.preload CONTROL_FD [LIMITS]``. Over the control socket come requests,
a line of JSON each, with the wire to be used by a new child; back go the child's process id and, when it ends, how it
ended. The child shuts itself in, if limits are given, says that it is ready, runs cells and answers a
:class:`~autograder.checking.client.workbench.Workbench`'s requests until its wire closes.
"""

import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

from autograder.checking.client.confine import Limits, run_confined


class PostponedCompiler(ModuleType):
    """Stands for ``torch._dynamo``, torch's compiler, until somebody wants more of it than an optimizer does.

    Every first optimizer imports it, which takes as long as torch itself, only to say that it is not to be compiled.
    """

    @staticmethod
    def graph_break(msg: str = "") -> None:
        """Nothing is being compiled here."""

    @staticmethod
    def disable(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        """The function as it is: nothing is being compiled here."""
        return fn if fn is not None else _as_it_is

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def _as_it_is(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


def postpone_compiler() -> None:
    """Let torch find the stand-in, if its compiler has not been imported yet."""
    import torch

    if "torch._dynamo" not in sys.modules:
        torch._dynamo = sys.modules["torch._dynamo"] = PostponedCompiler("torch._dynamo")


def preload() -> None:
    """Import what notebooks use, and do once what a first training step and a first figure would do.

    So children start ready: a first figure alone takes a quarter of a second more than any other.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot
    import torch
    import torch.optim
    import torch.utils.data

    import autograder.checking.client.shell
    import autograder.checking.client.workbench  # noqa: F401, the imports are what is wanted

    postpone_compiler()
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()

    figure, axes = matplotlib.pyplot.subplots(layout="constrained")
    figure.colorbar(axes.imshow([[0.0, 1.0]]), label="$x$")
    axes.set_title("title")
    figure.savefig(io.BytesIO(), bbox_inches="tight")
    matplotlib.pyplot.close(figure)
    gc.collect()
    gc.freeze()


def serve_notebook(stream: socket.socket) -> None:
    """Run the cells of one notebook and answer requests about its names, until the other end hangs up."""
    import torch

    from autograder.checking.client.shell import make_shell
    from autograder.checking.client.wire import Connection, WireError
    from autograder.checking.client.workbench import Workbench

    torch.set_num_threads(1)
    _discard_standard_streams()
    connection = Connection(stream)

    def emit(output: dict[str, Any]) -> None:
        try:
            connection.send({"output": output})
        except WireError:  # an output that cannot travel, such as a bundle of objects
            connection.send({"output": {"output_type": "stream", "name": "stderr", "text": "(output not shown)\n"}})

    shell = make_shell(emit)
    workbench = Workbench(shell.user_ns, interruptible=False)
    connection.send({"reply": "ready"})
    while True:
        try:
            message = connection.receive()
        except EOFError:
            return
        if "run" in message:
            shell.run_cell(message["run"], store_history=True)
            connection.send({"reply": {"value": None}})
        else:
            connection.send({"reply": workbench.handle(message["request"])})


def main() -> None:
    """Load everything, say so, and fork a child for every wire that comes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    limits = Limits(**json.loads(sys.argv[2])) if len(sys.argv) > 2 else None
    preload()
    _demand_one_thread()
    _say(control, ready=os.getpid())
    ended, wake = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        readable, _, _ = select.select([control.fileno(), ended], [], [])
        if ended in readable:
            os.read(ended, 4096)
            _report_ended(control)
        if control.fileno() in readable:
            message, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 4)
            if not message:
                return
            for request in map(json.loads, message.splitlines()):
                if "kill" in request:
                    _kill(request["kill"], limits is not None)
                else:
                    _demand_one_thread()
                    pid = _fork_child(control, descriptors[0], (ended, wake), limits)
                    os.close(descriptors[0])
                    _say(control, pid=pid)


def _say(control: socket.socket, **message: int) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")


def _demand_one_thread() -> None:
    """A child of a process with several threads would hang on the locks that these held."""
    threads = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
    if threads != 1:
        raise SystemExit(f"{threads} threads before a fork; a child of this process would hang")


def _fork_child(control: socket.socket, wire: int, own: tuple[int, int], limits: Limits | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        for descriptor in own:
            os.close(descriptor)
        os.setsid()
        work = partial(serve_notebook, socket.socket(fileno=wire))
        if limits is None:
            work()
            status = 0
        else:
            status = run_confined(limits, work)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _discard_standard_streams() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _report_ended(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _say(control, ended=pid, status=status)


def _kill(pid: int, is_supervised: bool) -> None:
    """End a child and all that it started: by its supervisor, or else by its session."""
    ends = [(os.kill, signal.SIGTERM)] if is_supervised else [(os.killpg, signal.SIGKILL), (os.kill, signal.SIGKILL)]
    for end, how in ends:
        try:
            end(pid, how)
        except (ProcessLookupError, PermissionError):
            continue


if __name__ == "__main__":
    main()
