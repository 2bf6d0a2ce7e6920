"""The student's answers as a task sees them, wherever they live.

A task calls ``student.name(…)``. What comes back is an :class:`Answer`: a value, a handle to something that stayed
on the student's side, or a failure that is the student's. An answer never raises for the student's fault: calling,
indexing or loading a failed answer gives a failed answer, so that each case of a task stands on its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor

from autograder.checking.client.wire import Connection, Handle, WireError, decode, encode, readable
from autograder.checking.client.workbench import Workbench

GRACE_SECONDS = 3.0
MAX_TASK_BYTES = 256 << 20
"""All answers to one task together, since they are kept until it is judged."""

MAX_CHANGED = 16
_FAILURE_KINDS = (
    "missing",
    "unanswered",
    "raised",
    "timeout",
    "memory",
    "no_gradient",
    "weights",
    "unreadable",
    "structure",
    "died",
)


class Transport(Protocol):
    """Something that carries a request to a :class:`Workbench` and brings its reply."""

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Failure:
    """Why there is no value, by the student's fault.

    Attributes:
        kind: missing, unanswered, raised, timeout, memory, no_gradient, weights, unreadable, structure or died.
        subject: the student's name for what failed.
        where: the student's own lines on the way to it.
    """

    kind: str
    subject: str
    type_name: str = ""
    message: str = ""
    where: str = ""


@dataclass(frozen=True)
class Answer:
    """One value of the student's, or why there is none."""

    student: "Student"
    subject: str
    value: Any = None
    failure: Failure | None = None
    changed: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> "Answer":
        """Call what this answer is a handle to."""
        return self.call(None, *args, **kwargs)

    def call(self, method: str | None, *args: Any, **kwargs: Any) -> "Answer":
        """Call a method of what this answer is a handle to."""
        if self.failure:
            return self
        if not isinstance(self.value, Handle):
            return self._fail("structure", f"it gave {type(self.value).__name__} where something to call was needed")
        return self.student._call(self.value, method, self.subject, args, kwargs)

    def gradient(
        self, *args: Any, upstream: Tensor, output: int | None = None, through: Sequence[int] = ()
    ) -> "Answer":
        """Gradients as :func:`autograder.checking.client.workbench.gradients` gives them."""
        if self.failure:
            return self
        wanted = {"upstream": upstream, "output": output, "through": list(through)}
        return self.student._call(self.value, None, self.subject, args, {}, gradient=wanted)

    def load(self, weights: dict[str, Tensor]) -> "Answer":
        """Fill the module that this answer is a handle to, by the parameter names that the stub gives."""
        if self.failure:
            return self
        loaded = self.student._ask("load", self.subject, target=self.value, weights=weights)
        return replace(self, failure=loaded.failure)

    def kinds(self) -> "Answer":
        """Whether the elements of a returned list are numbers or tensors, which a comparison takes for the same."""
        if self.failure:
            return self
        if not isinstance(self.value, (list, tuple)):
            return self._fail("structure", f"it returned a {type(self.value).__name__} where a list was needed")
        return replace(self, value=["tensor" if isinstance(v, Tensor) else "number" for v in self.value])

    def __getitem__(self, key: Any) -> "Answer":
        """One element of a returned tuple, list or dictionary."""
        if self.failure:
            return self
        try:
            return replace(self, value=self.value[key])
        except (TypeError, KeyError, IndexError):
            return self._fail("structure", f"what it returned has no element {key!r}")

    def _fail(self, kind: str, message: str) -> "Answer":
        return replace(self, value=None, failure=Failure(kind, self.subject, message=message))


class Student:
    """The names of a student's notebook.

    Args:
        transport: the way to them.
        seconds: how long one call may take.
    """

    def __init__(self, transport: Transport, seconds: float | None = 10.0) -> None:
        self._transport = transport
        self._seconds = seconds
        self._timed_out: Failure | None = None

    def __getattr__(self, name: str) -> "Name":
        if name.startswith("_"):
            raise AttributeError(name)
        return Name(self, name)

    def fixture(self, name: str, *args: Any, **kwargs: Any) -> Answer:
        """Make a fixture on the student's side and get a handle to it."""
        return self._ask("fixture", name, target=name, args=args, kwargs=kwargs)

    def _call(
        self, target: str | Handle, method: str | None, subject: str, args: tuple, kwargs: dict, gradient: Any = None
    ) -> Answer:
        for given in [*args, *kwargs.values()]:
            if isinstance(given, Answer) and given.failure:
                return Answer(self, subject, failure=given.failure)
        return self._ask(
            "call",
            subject,
            target=target,
            method=method,
            args=tuple(_bare(a) for a in args),
            kwargs={k: _bare(v) for k, v in kwargs.items()},
            gradient=gradient,
        )

    def _ask(self, operation: str, subject: str, **request: Any) -> Answer:
        if self._timed_out:
            return Answer(self, subject, failure=self._timed_out)
        reply = self._transport({"op": operation, "seed": 0, "seconds": self._seconds, **request})
        failure = _read_failure(reply, subject)
        if failure:
            if failure.kind == "timeout":
                self._timed_out = failure  # the other cases would hang as long again
            return Answer(self, subject, failure=failure)
        changed = reply.get("changed")
        names = tuple(readable(n)[:80] for n in changed[:MAX_CHANGED]) if isinstance(changed, list) else ()
        return Answer(self, subject, reply.get("value"), changed=names)


@dataclass(frozen=True)
class Name:
    """A name of the student's notebook: something to call."""

    student: Student
    name: str

    def __call__(self, *args: Any, **kwargs: Any) -> Answer:
        return self.student._call(self.name, None, self.name, args, kwargs)

    def gradient(self, *args: Any, upstream: Tensor, output: int | None = None, through: Sequence[int] = ()) -> Answer:
        """Gradients as :func:`autograder.checking.client.workbench.gradients` gives them."""
        itself = Answer(self.student, self.name, self.name)
        return itself.gradient(*args, upstream=upstream, output=output, through=through)


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Answer) else value


def _read_failure(reply: Any, subject: str) -> Failure | None:
    """The failure in a reply, which may be anything: it comes from a process that is not to be trusted."""
    if not isinstance(reply, dict) or not ("value" in reply or "failure" in reply):
        return Failure("unreadable", subject, message="the reply is not one")
    if "failure" not in reply:
        return None
    told = reply["failure"] if isinstance(reply["failure"], dict) else {}
    kind = readable(told.get("kind"))
    texts = [readable(told.get(key, ""))[:2_000] for key in ("type", "message", "traceback")]
    return Failure(kind if kind in _FAILURE_KINDS else "raised", subject, *texts)


class LocalTransport:
    """To a workbench in this process. Values still pass through the wire's encoding, so that nothing differs."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._workbench = Workbench(namespace)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        reply = self._workbench.handle(_copied(request))
        return _copied(reply)


def _copied(value: Any) -> Any:
    return decode(*encode(value))


class ProcessTransport:
    """To a workbench in another process, which may lie, hang or die.

    Args:
        connection: the wire to it.
        kind_of_death: asked once the process is gone: the kind of failure that this is.

    Attributes:
        broken: why nothing more can be asked of it, once that is so.
    """

    def __init__(self, connection: Connection, kind_of_death: Callable[[], str] = lambda: "died") -> None:
        self._connection = connection
        self._kind_of_death = kind_of_death
        self.broken: dict[str, Any] | None = None
        self._most = connection.received + MAX_TASK_BYTES

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.broken:
            return self.broken
        try:
            seconds = request["seconds"]
            limit = None if seconds is None else seconds + GRACE_SECONDS
            self._connection.send({"request": request}, timeout=limit)
            reply = self._connection.receive_reply(limit, lambda output: None)
            if self._connection.received <= self._most:
                return reply
            self.broken = _broken("unreadable", f"it is more than {MAX_TASK_BYTES >> 20} MiB in all")
        except TimeoutError:
            self.broken = _broken("timeout", f"{request['seconds']:g}")
        except (EOFError, OSError):
            self.broken = _broken(self._kind_of_death(), "")
        except WireError as error:
            self.broken = _broken("unreadable", str(error))
        return self.broken


def _broken(kind: str, message: str) -> dict[str, Any]:
    return {"failure": {"kind": kind, "type": "", "message": message, "traceback": ""}}
