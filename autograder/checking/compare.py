"""What differs between an answer and what it should be, said in the learner's terms.

The first thing that is wrong is named, in this order: type, shape, dtype or device, NaN or infinity, and at last
the largest difference and where it is.
"""

import math
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autograder.checking.client.wire import Handle

ROUNDING_STEPS = 250
"""How far two right answers may lie apart, in units of rounding (eps) of the largest number expected.

Two orders of summing n numbers differ by about √n · eps of the largest partial sum; the tasks sum at most some
hundred numbers, a few times in a row, which makes about 10 to 25 eps. Ten times that still lies a thousand times
below 1 %, and mistakes are seldom smaller: ``autograder audit`` reports both distances for every task.
"""

_ORDER = ("type", "shape", "dtype", "nan", "value")


@dataclass(frozen=True)
class Difference:
    """One thing that is wrong.

    Attributes:
        kind: type, shape, dtype, nan or value.
        message: a sentence that gives no expected value away.
        detail: what was got and what was expected, for showing at home.
    """

    kind: str
    message: str
    detail: str = ""


@dataclass(frozen=True)
class Naming:
    """How to speak of a value.

    Attributes:
        parts: names of the elements of a returned tuple.
        axes: for each part (or for the one tensor), names of its axes, such as ``"B T D"``.
        subject: what it is.
    """

    parts: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    subject: str = "the result"


def tolerance(expected: Tensor) -> float:
    """How far an answer may be from this expected one, absolutely (see :data:`ROUNDING_STEPS`)."""
    expected = expected.detach()
    finite = expected[torch.isfinite(expected)]
    scale = max(1.0, float(finite.abs().max())) if finite.numel() else 1.0
    return ROUNDING_STEPS * torch.finfo(expected.dtype).eps * scale


def difference(got: Any, expected: Any, naming: Naming = Naming(), allowed: float | None = None) -> Difference | None:
    """The first thing in which an answer differs from what is expected, or None.

    Args:
        got: a value that came over the wire.
        expected: tensors, numbers, strings, None, and tuples, lists, sets and dictionaries of them.
        allowed: absolute tolerance for all numbers; by default it is derived for each tensor.
    """
    found = _differences(got, expected, naming.subject, naming, 0, allowed)
    return min(found, key=lambda d: _ORDER.index(d.kind), default=None)


def is_equal(got: Any, expected: Any, naming: Naming = Naming(), allowed: float | None = None) -> bool:
    """Whether :func:`difference` finds nothing; it stops at the first thing that it finds."""
    return next(iter(_differences(got, expected, "the result", naming, 0, allowed)), None) is None


def _differences(
    got: Any, expected: Any, subject: str, naming: Naming, part: int, allowed: float | None
) -> Iterable[Difference]:
    if isinstance(expected, Tensor):
        axes = naming.axes[part].split() if part < len(naming.axes) else []
        return _tensor_differences(got, expected, subject, axes, allowed)
    if isinstance(expected, (list, tuple)):
        return _sequence_differences(got, expected, subject, naming, allowed)
    if isinstance(expected, dict):
        return _dictionary_differences(got, expected, subject, allowed)
    if isinstance(expected, (bool, str, set)) or expected is None:
        return _plain_differences(got, expected, subject)
    return _number_differences(got, expected, subject, allowed)


def _tensor_differences(
    got: Any, expected: Tensor, subject: str, axes: Sequence[str], allowed: float | None
) -> list[Difference]:
    expected = expected.detach()
    if isinstance(got, (int, float)) and not isinstance(got, bool) and expected.ndim == 0:
        got = torch.tensor(got, dtype=expected.dtype)
    if not isinstance(got, Tensor):
        wanted = "a tensor" if expected.ndim else "one number: a scalar tensor or a float"
        return [Difference("type", f"{_cap(subject)} is {_what(got)}; it must be {wanted}.{_return_missing(got)}")]
    if got.shape != expected.shape:
        return [Difference("shape", _shape_message(subject, got, expected, axes))]
    if got.dtype != expected.dtype and not (expected.ndim == 0 and got.is_floating_point()):
        message = f"{_cap(subject)} has dtype {_dtype(got)}; it must be {_dtype(expected)}."
        return [Difference("dtype", message)]
    device = getattr(got, "came_from", "cpu")
    if device != "cpu":
        message = f"{_cap(subject)} is on {device}; it must be on the device of the inputs, cpu."
        return [Difference("dtype", message)]
    if not expected.is_floating_point():
        wrong = got != expected if allowed is None else (got.double() - expected.double()).abs() > allowed
        return [_value_difference(got, expected, wrong, wrong.double(), subject, axes)] if wrong.any() else []
    unsound = ~torch.isfinite(got) & ~((got == expected) | (torch.isnan(got) & torch.isnan(expected)))
    if unsound.any():
        where = _place(unsound.nonzero()[0], axes)
        kind = "NaN" if torch.isnan(got[unsound]).any() else "infinite"
        message = f"{_cap(subject)} is {kind}."
        if got.ndim:
            message = f"{_cap(subject)} is {kind} in {int(unsound.sum())} of {got.numel()} places, first {where}."
        return [Difference("nan", message)]
    exact = got.double() - expected.double()
    apart = torch.where(torch.isfinite(expected), exact.abs(), torch.where(got == expected, 0.0, math.inf))
    apart = torch.where(torch.isnan(expected) & torch.isnan(got), 0.0, apart)
    wrong = ~(apart <= (tolerance(expected) if allowed is None else allowed))
    return [_value_difference(got, expected, wrong, apart, subject, axes)] if wrong.any() else []


def _value_difference(
    got: Tensor, expected: Tensor, wrong: Tensor, apart: Tensor, subject: str, axes: Sequence[str]
) -> Difference:
    worst = np.unravel_index(int(apart.argmax()), tuple(apart.shape))  # torch's own would import sympy first
    place = tuple(int(i) for i in worst)
    off = int(wrong.sum())
    counted = "It" if got.ndim == 0 else f"{off} of {got.numel()} numbers of {subject}"
    verb = "is" if off == 1 or got.ndim == 0 else "are"
    if got.dtype is torch.bool:
        message = f"{counted} {verb} wrong (True where it must be False or the reverse), first {_place(place, axes)}."
    elif got.ndim == 0:
        message = f"{_cap(subject)} is off by {float(apart.max()):.3g}."
    elif not got.is_floating_point():
        message = f"{counted} {verb} wrong, first {_place(place, axes)}."
    else:
        message = f"{counted} {verb} off, by {float(apart.max()):.3g} at the most, {_place(place, axes)}."
    detail = f"{_place(place, axes) or 'there'}: got {_number(got[place])}, expected {_number(expected[place])}"
    if 1 < got.numel() <= 16 and got.ndim <= 2:
        detail += f"\ngot\n{_small(got)}\nexpected\n{_small(expected)}"
    return Difference("value", _cap(message), detail)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _sequence_differences(
    got: Any, expected: Sequence[Any], subject: str, naming: Naming, allowed: float | None
) -> Iterator[Difference]:
    names = naming.parts if len(naming.parts) == len(expected) else ()
    wanted = f"{len(expected)} things, ({', '.join(names)})" if names else f"a {type(expected).__name__}"
    if not isinstance(got, (list, tuple)):
        yield Difference("type", f"{_cap(subject)} is {_what(got)}; it must be {wanted}.{_return_missing(got)}")
        return
    if len(got) != len(expected):
        detail = f"got {_short(got)}, expected {_short(expected)}"
        counted = f"{_cap(subject)} has {_counted(len(got), 'element')}"
        if names:
            yield Difference("type", f"{counted}; it must be {wanted}.")
        else:
            yield Difference("shape", f"{counted}; {len(expected)} would be right.", detail)
        return
    for i, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        name = f"`{names[i]}`" if names else f"element {i} of {subject}"
        yield from _differences(mine, theirs, name, _inside(naming, i, theirs) if names else Naming(), i, allowed)


def _inside(naming: Naming, part: int, expected: Any) -> Naming:
    """How to speak of an element: one that is a tuple itself and called "(h, c)" has elements h and c."""
    if not isinstance(expected, (list, tuple)):
        return naming
    return Naming(tuple(name.strip() for name in naming.parts[part].strip("()").split(",")))


def _dictionary_differences(got: Any, expected: dict, subject: str, allowed: float | None) -> Iterator[Difference]:
    if not isinstance(got, dict):
        yield Difference("type", f"{_cap(subject)} is {_what(got)}; it must be a dictionary.{_return_missing(got)}")
        return
    missing = [key for key in expected if key not in got]
    extra = [key for key in got if key not in expected]
    if missing or extra:
        message = f"{_cap(subject)} has {_counted(len(missing), 'key')} too few and {len(extra)} too many"
        shown = f" ({_short(extra[0])} should not be there)" if extra else ""
        detail = f"missing: {_short(missing[:5])}; too many: {_short(extra[:5])}"
        yield Difference("value", f"{message}{shown}.", detail)
        return
    for key, value in expected.items():
        subject = f"the {key}" if str(key).startswith("gradient of ") else f"the entry {key!r}"
        yield from _differences(got[key], value, subject, Naming(), 0, allowed)


def _plain_differences(got: Any, expected: Any, subject: str) -> list[Difference]:
    if type(got) is not type(expected):
        wanted = "None" if expected is None else f"a {type(expected).__name__}"
        return [Difference("type", f"{_cap(subject)} is {_what(got)}; it must be {wanted}.{_return_missing(got)}")]
    if got != expected:
        detail = f"got {_short(got)}, expected {_short(expected)}"
        return [Difference("value", f"{_cap(subject)} is not right.", detail)]
    return []


def _number_differences(got: Any, expected: Any, subject: str, allowed: float | None) -> list[Difference]:
    if isinstance(got, Tensor) and got.numel() == 1:
        got = got.reshape(()).item()
    if not isinstance(got, (int, float)) or isinstance(got, bool):
        return [Difference("type", f"{_cap(subject)} is {_what(got)}; it must be a number.{_return_missing(got)}")]
    if isinstance(expected, int):
        return (
            []
            if got == expected
            else [Difference("value", f"{_cap(subject)} is wrong.", f"got {got}, expected {expected}")]
        )
    as_tensor = torch.tensor(float(expected))
    return _tensor_differences(torch.tensor(float(got)), as_tensor, subject, [], allowed)


def _shape_message(subject: str, got: Tensor, expected: Tensor, axes: Sequence[str]) -> str:
    named = f"({', '.join(axes)}) = " if len(axes) == expected.ndim and axes else ""
    return f"{_cap(subject)} has shape {_shape(got)}; it must be {named}{_shape(expected)}."


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))}{',' if tensor.ndim == 1 else ''})"


def _place(index: Any, axes: Sequence[str]) -> str:
    numbers = [int(i) for i in index]
    if not numbers:
        return ""
    if len(axes) == len(numbers):
        return "at [" + ", ".join(f"{axis.lower()}={n}" for axis, n in zip(axes, numbers, strict=True)) + "]"
    return f"at {numbers}"


def _what(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"one tensor of shape {_shape(value)}"
    if isinstance(value, np.ndarray):
        return "a numpy array"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Handle):
        return f"an object of type {value.type_name}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def _return_missing(got: Any) -> str:
    return " Is a `return` missing?" if got is None else ""


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _number(value: Tensor) -> str:
    return f"{value.item():.6g}" if value.is_floating_point() else str(value.item())


def _small(tensor: Tensor) -> str:
    numbers = tensor.detach()
    return str((numbers.float().numpy().round(4)) if numbers.is_floating_point() else numbers.numpy())


_spelled_out = reprlib.Repr()
_spelled_out.maxlevel = 2
_spelled_out.maxlist = _spelled_out.maxtuple = _spelled_out.maxset = _spelled_out.maxdict = 70
_spelled_out.maxstring = _spelled_out.maxlong = _spelled_out.maxother = 200


def _short(value: Any) -> str:
    """A value in one line; of a large one only the beginning is spelled out, since that takes time."""
    text = _spelled_out.repr(value)
    return text if len(text) <= 200 else text[:197] + "…"


def _cap(text: str) -> str:
    return text[:1].upper() + text[1:]
