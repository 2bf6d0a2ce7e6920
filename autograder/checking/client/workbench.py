"""The untrusted end of a check: does with the student's names what it is asked, and reports what came of it.

The same workbench serves at home, inside the notebook's own process, and in grading, at the far end of a wire.
It holds no expected value and its word about itself is never a verdict: all it returns is values.
"""

import inspect
import linecache
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from autograder.checking.client import fixtures
from autograder.checking.client.wire import Handle, WireError, encode

MAX_MESSAGE = 2_000


class TookTooLong(BaseException):
    """Raised inside the student's code when its time is up; no Exception, so that ``except Exception`` passes it."""


class NoGradient(Exception):
    """The result does not depend on its inputs in a way that autograd can follow."""


class NotTheResult(Exception):
    """What was returned has no gradient because it is something else than was asked for; the message says what."""


class Workbench:
    """Operations on a notebook's names.

    Args:
        namespace: the notebook's names, as they are now.
        interruptible: whether Ctrl-C is the user's (at home) and must get through.
    """

    def __init__(self, namespace: dict[str, Any], interruptible: bool = True) -> None:
        self.namespace = namespace
        self.interruptible = interruptible
        self._kept: list[Any] = []

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request.

        Returns:
            ``{"value", "changed"}``, or ``{"failure": {"kind", "type", "message", "traceback"}}`` with kind one of
            missing, unanswered, raised, timeout, memory, no_gradient, weights, structure, unreadable.
        """
        operation = {"call": self._call, "load": self._load, "fixture": self._fixture}[request["op"]]
        _seed_everything(request["seed"])
        try:
            with usual_settings(), time_limit(request["seconds"]):
                reply = operation(request)
        except (TookTooLong, RecursionError, MemoryError, NotImplementedError) as error:
            kind = {
                TookTooLong: "timeout",
                RecursionError: "raised",
                MemoryError: "memory",
                NotImplementedError: "unanswered",
            }
            return _failure(next(kind[t] for t in kind if isinstance(error, t)), error)
        except _Missing as error:
            return _failure("missing", error)
        except NoGradient as error:
            return _failure("no_gradient", error)
        except NotTheResult as error:
            return _failure("structure", error)
        except _WrongWeights as error:
            return _failure("weights", error)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and self.interruptible:
                raise
            return _failure("raised", error)
        try:
            encode(reply)
        except (WireError, RuntimeError, NotImplementedError, TypeError, ValueError, RecursionError) as error:
            return _failure("unreadable", error)
        return reply

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        function = self._find(request["target"], request["method"])
        arguments = self._resolve(request["args"])
        keywords = self._resolve(request["kwargs"])
        before = [_fingerprint(argument) for argument in arguments]
        if request["gradient"] is None:
            value = self._portable(function(*arguments, **keywords))
        else:
            value = gradients(function, arguments, keywords, **request["gradient"])
        changed = [i for i, argument in enumerate(arguments) if _fingerprint(argument) != before[i]]
        return {"value": value, "changed": _parameter_names(function, changed)}

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        module = self._resolve(request["target"])
        try:
            module.load_state_dict(request["weights"])
        except (RuntimeError, AttributeError) as error:
            raise _WrongWeights(_what_weights_differ(module, request["weights"])) from error
        module.eval()
        return {"value": None, "changed": []}

    def _fixture(self, request: dict[str, Any]) -> dict[str, Any]:
        make = fixtures.FIXTURES[request["target"]]
        made = make(*self._resolve(request["args"]), **self._resolve(request["kwargs"]))
        return {"value": self._keep(made), "changed": []}

    def _find(self, target: str | Handle, method: str | None) -> Callable[..., Any]:
        if isinstance(target, Handle):
            found = self._kept[target.number]
        elif target in self.namespace:
            found = self.namespace[target]
        else:
            raise _Missing(target)
        return getattr(found, method) if method else found

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Handle):
            return self._kept[value.number]
        if isinstance(value, (list, tuple)):
            return type(value)(self._resolve(item) for item in value)
        if isinstance(value, dict):
            return {key: self._resolve(item) for key, item in value.items()}
        return value

    def _portable(self, value: Any, depth: int = 0) -> Any:
        """The value with everything that cannot travel replaced by a handle to it."""
        if value is None or isinstance(value, (bool, int, float, str, torch.Tensor, np.ndarray, np.generic)):
            return value
        if depth < 8 and isinstance(value, (list, tuple, set, frozenset)):
            items = [self._portable(item, depth + 1) for item in value]
            return items if isinstance(value, list) else tuple(items) if isinstance(value, tuple) else set(items)
        if depth < 8 and isinstance(value, dict):
            return {key: self._portable(item, depth + 1) for key, item in value.items()}
        return self._keep(value)

    def _keep(self, value: Any) -> Handle:
        self._kept.append(value)
        return Handle(len(self._kept) - 1, type(value).__name__[:200])


class _Missing(Exception):
    pass


class _WrongWeights(Exception):
    pass


def gradients(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    upstream: torch.Tensor,
    output: int | None = None,
    through: Sequence[int] = (),
) -> dict[str, Any]:
    """Gradients of ``(result * upstream).sum()``.

    Args:
        function: a function, or a module, whose parameters then count too.
        upstream: same shape as the result.
        output: which element of a returned tuple is the result; None if it returns one tensor.
        through: which of the arguments are modules whose parameters count as well.

    Returns:
        a gradient for each floating-point argument, also inside a list or tuple, and each parameter, by what it is
        the gradient of; zeros where the result does not depend on something.

    Raises:
        NoGradient: if the result is cut off from all of them.
        NotTheResult: if it is no tensor, or one of another shape.
    """
    leaves: dict[str, torch.Tensor] = {}
    for i, argument in enumerate(arguments, 1):
        several = isinstance(argument, (list, tuple))
        for j, part in enumerate(argument if several else [argument]):
            if isinstance(part, torch.Tensor) and part.is_floating_point():
                leaves[f"gradient of argument {i}" + (f", element {j}" if several else "")] = part.requires_grad_()
    module = function if isinstance(function, torch.nn.Module) else getattr(function, "__self__", None)
    modules = [module, *(arguments[i] for i in through)]
    named = [pair for m in modules if isinstance(m, torch.nn.Module) for pair in m.named_parameters()]
    wanted = {**leaves, **{f"gradient of `{name}`": parameter for name, parameter in named}}
    returned = function(*arguments, **keywords)
    result = _one_result(returned, output, upstream)
    if not result.requires_grad:
        raise NoGradient
    found = torch.autograd.grad((result * upstream).sum(), list(wanted.values()), allow_unused=True)
    for leaf in leaves.values():
        leaf.requires_grad_(False)
    return {
        name: torch.zeros_like(wanted[name]) if gradient is None else gradient
        for name, gradient in zip(wanted, found, strict=True)
    }


def _one_result(returned: Any, output: int | None, upstream: torch.Tensor) -> torch.Tensor:
    if output is not None:
        if not isinstance(returned, (tuple, list)) or len(returned) <= output:
            raise NotTheResult(f"it returned {_what(returned)} where a tuple was needed")
        returned = returned[output]
    if not isinstance(returned, torch.Tensor):
        raise NotTheResult(f"it returned {_what(returned)} where a tensor was needed")
    if returned.shape != upstream.shape:
        raise NotTheResult(f"its result has shape {tuple(returned.shape)}, not {tuple(upstream.shape)}")
    return returned


def _what(value: Any) -> str:
    return "None (is a `return` missing?)" if value is None else f"a {type(value).__name__}"


@contextmanager
def usual_settings() -> Iterator[None]:
    """Gradients on and float32 by default in this block, whatever a notebook has left switched."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise :class:`TookTooLong` in this block after so many seconds, where the system lets us (main thread, Unix)."""
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TookTooLong(f"{seconds:g}")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def trimmed_traceback(error: BaseException) -> str:
    """Where it happened, in the student's own cells only."""
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        if is_cell_file(frame.filename):
            source = (frame.line or linecache.getline(frame.filename, frame.lineno or 0)).strip()
            where = "" if frame.name == "<module>" else f" in {frame.name}"
            lines.append(f"line {frame.lineno}{where}: {source}"[:300])
    return "\n".join(lines[-4:])


def is_cell_file(filename: str) -> bool:
    """Whether a code object comes from a notebook's cell."""
    return "ipykernel_" in filename or filename.startswith(("<ipython-input", "<cell"))


def _failure(kind: str, error: BaseException) -> dict[str, Any]:
    try:
        message = str(error)[:MAX_MESSAGE]
    except Exception:  # a student's exception may fail even to say what it is
        message = ""
    if kind == "unanswered":
        message = message or _raised_by(error)
    return {
        "failure": {
            "kind": kind,
            "type": type(error).__name__[:100],
            "message": message,
            "traceback": trimmed_traceback(error),
        }
    }


def _raised_by(error: BaseException) -> str:
    """The notebook's function or class in which an exception began; empty if that is none."""
    found = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_cell_file(frame.f_code.co_filename):
            found = frame.f_code.co_qualname.partition(".")[0]
    return found


def _fingerprint(argument: Any) -> Any:
    """Something that changes when the argument does. Objects that stay here (models, generators) may change."""
    try:
        tree, body = encode(argument)
    except WireError:
        return None
    return repr(tree), body


def _parameter_names(function: Callable[..., Any], positions: list[int]) -> list[str]:
    try:
        called = function.forward if isinstance(function, torch.nn.Module) else function
        names = list(inspect.signature(called).parameters)
    except (TypeError, ValueError):
        names = []
    return [names[i] if i < len(names) else f"argument {i + 1}" for i in positions]


def _what_weights_differ(module: Any, weights: dict[str, torch.Tensor]) -> str:
    if not isinstance(module, torch.nn.Module):
        return f"a {type(module).__name__} is not a module"
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    problems = [f"`{name}` is missing" for name in weights if name not in own]
    problems += [f"`{name}` is not in the stub" for name in own if name not in weights]
    problems += [
        f"`{name}` has shape {own[name]}, in the stub it has {tuple(value.shape)}"
        for name, value in weights.items()
        if name in own and own[name] != tuple(value.shape)
    ]
    return "; ".join(problems[:4])


def _seed_everything(seed: int) -> None:
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # without an accelerator this is the same, and torch does not note down where it was called from
        torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
