"""Values between two processes: a JSON tree and the raw bytes of its tensors.

Both ends use this file. Decoding trusts nothing: it can only ever make None, bool, int, float, str, list, tuple,
dict, set, tensor, array and :class:`Handle`, of bounded size, or raise :class:`WireError`. Nothing is pickled.

A frame is two little-endian unsigned 32-bit lengths, the JSON text and the tensor bytes.
"""

import json
import math
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

MAX_DEPTH = 24
MAX_NODES = 200_000
MAX_TENSORS = 10_000
MAX_TEXT_BYTES = 16 << 20
MAX_TENSOR_BYTES = 256 << 20
MAX_AXES = 16

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.complex64,
        torch.complex128,
        torch.int8,
        torch.uint8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.bool,
    )
}
_LENGTHS = struct.Struct("<II")


class WireError(ValueError):
    """What came over the wire is not a value, or is too large."""


@dataclass(frozen=True)
class Handle:
    """An object that stays on the student's side, known here by its number and the name of its type."""

    number: int
    type_name: str


def encode(value: Any) -> tuple[Any, bytes]:
    """Turn a value into a JSON tree and tensor bytes.

    Raises:
        WireError: if it holds something that cannot travel, or too much of it.
    """
    blobs: list[bytes] = []
    tree = _encode(value, blobs, 0)
    return tree, b"".join(blobs)


def _encode(value: Any, blobs: list[bytes], depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise WireError(f"nested more than {MAX_DEPTH} deep")
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if -(2**63) <= value < 2**63 else {"int": str(int(value))}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, Handle):
        return {"handle": [value.number, value.type_name]}
    if isinstance(value, torch.Tensor):
        return _encode_tensor(value, blobs)
    if isinstance(value, np.ndarray):
        return {"array": _encode_tensor(torch.from_numpy(np.array(value, copy=True)), blobs)}
    if isinstance(value, np.generic):
        return {"scalar": _encode(value.item(), blobs, depth + 1)}
    if isinstance(value, (list, tuple)):
        return {"list" if isinstance(value, list) else "tuple": [_encode(v, blobs, depth + 1) for v in value]}
    if isinstance(value, (set, frozenset)):
        return {"set": [_encode(v, blobs, depth + 1) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[_encode(k, blobs, depth + 1), _encode(v, blobs, depth + 1)] for k, v in value.items()]}
    raise WireError(f"a {type(value).__name__} cannot travel")


def _encode_tensor(tensor: torch.Tensor, blobs: list[bytes]) -> Any:
    name = str(tensor.dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise WireError(f"a tensor of dtype {name} cannot travel")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    blobs.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return {"tensor": [name, list(tensor.shape), tensor.device.type]}


def decode(tree: Any, body: bytes) -> Any:
    """The value of a JSON tree and its tensor bytes.

    Raises:
        WireError: for anything that :func:`encode` would not have made.
    """
    decoder = _Decoder(body)
    try:
        value = decoder.decode(tree, 0)
    except WireError:
        raise
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError, RuntimeError, IndexError) as error:
        raise WireError(f"malformed value: {type(error).__name__}") from error
    if decoder.position != len(body):
        raise WireError("bytes left over")
    return value


class _Decoder:
    def __init__(self, body: bytes) -> None:
        self.body = memoryview(body)
        self.position = 0
        self.nodes = 0
        self.tensors = 0

    def decode(self, tree: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise WireError("too many values, or nested too deep")
        if tree is None or type(tree) in (bool, str, float):
            return tree
        if type(tree) is int:
            if not -(2**63) <= tree < 2**63:
                raise WireError("integer out of range")
            return tree
        if type(tree) is not dict or len(tree) != 1:
            raise WireError("not a value")
        ((kind, content),) = tree.items()
        read = getattr(self, f"_{kind}", None) if kind in _KINDS else None
        if read is None:
            raise WireError("unknown kind of value")
        return read(content, depth + 1)

    def _int(self, content: Any, depth: int) -> int:
        if type(content) is not str or len(content) > 100:
            raise WireError("integer too long")
        return int(content)

    def _float(self, content: Any, depth: int) -> float:
        if content not in ("nan", "inf", "-inf"):
            raise WireError("not a float")
        return float(content)

    def _handle(self, content: Any, depth: int) -> Handle:
        number, type_name = content
        if type(number) is not int or type(type_name) is not str or len(type_name) > 200:
            raise WireError("not a handle")
        return Handle(number, readable(type_name))

    def _tensor(self, content: Any, depth: int) -> torch.Tensor:
        self.tensors += 1
        if self.tensors > MAX_TENSORS:
            raise WireError("too many tensors")
        name, shape, device = content
        if type(name) is not str or name not in _DTYPES or type(device) is not str or len(device) > 20:
            raise WireError("unknown kind of tensor")
        if type(shape) is not list or len(shape) > MAX_AXES or any(type(n) is not int or n < 0 for n in shape):
            raise WireError("not a shape")
        dtype = _DTYPES[name]
        size = math.prod(shape) * dtype.itemsize
        if max(shape, default=0) > MAX_TENSOR_BYTES or self.position + size > len(self.body):
            raise WireError("tensor bytes missing")
        chunk = bytearray(self.body[self.position : self.position + size])
        self.position += size
        if dtype is torch.bool:
            # A byte other than 0 and 1 would be a truth value that torch's operators disagree about.
            tensor = torch.frombuffer(chunk, dtype=torch.uint8) != 0 if size else torch.empty(0, dtype=torch.bool)
        else:
            tensor = torch.frombuffer(chunk, dtype=dtype) if size else torch.empty(0, dtype=dtype)
        tensor = tensor.reshape(shape)
        if device != "cpu":
            tensor.came_from = device  # type: ignore[attr-defined]
        return tensor

    def _array(self, content: Any, depth: int) -> np.ndarray:
        tensor = self.decode(content, depth)
        if not isinstance(tensor, torch.Tensor) or tensor.dtype is torch.bfloat16:
            raise WireError("not an array")
        return tensor.numpy()

    def _scalar(self, content: Any, depth: int) -> Any:
        value = self.decode(content, depth)
        if type(value) not in (bool, int, float, str):
            raise WireError("not a number")
        return value

    def _sequence(self, content: Any, depth: int) -> list[Any]:
        if type(content) is not list:
            raise WireError("not a sequence")
        return [self.decode(item, depth) for item in content]

    def _list(self, content: Any, depth: int) -> list[Any]:
        return self._sequence(content, depth)

    def _tuple(self, content: Any, depth: int) -> tuple[Any, ...]:
        return tuple(self._sequence(content, depth))

    def _set(self, content: Any, depth: int) -> set[Any]:
        return set(self._sequence(content, depth))

    def _dict(self, content: Any, depth: int) -> dict[Any, Any]:
        if type(content) is not list or any(type(pair) is not list or len(pair) != 2 for pair in content):
            raise WireError("not a dictionary")
        return {self.decode(key, depth): self.decode(value, depth) for key, value in content}


_KINDS = ("int", "float", "handle", "tensor", "array", "scalar", "list", "tuple", "set", "dict")


def readable(value: Any) -> str:
    """What came over the wire as a text that every file can hold: without halves of characters (surrogates).

    What is neither a text nor a number is not spelled out, which could take long: it is named by its type.
    """
    text = str(value) if value is None or isinstance(value, (str, int, float)) else type(value).__name__
    return text.encode("utf-8", "replace").decode("utf-8")


class Connection:
    """Frames over a stream socket, each a value; bounded in size and, on the trusted end, in time.

    Attributes:
        received: bytes of all values that came so far.
    """

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.received = 0
        self._buffer = bytearray()

    def send(self, value: Any, timeout: float | None = None) -> None:
        """Send one value.

        Raises:
            WireError: if it cannot travel or is too large.
            TimeoutError: if the other end does not take it in time.
        """
        tree, body = encode(value)
        text = json.dumps(tree, allow_nan=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        if len(text) > MAX_TEXT_BYTES or len(body) > MAX_TENSOR_BYTES:
            raise WireError(f"too large to travel: {(len(text) + len(body)) >> 20} MiB")
        self.stream.settimeout(timeout)
        self.stream.sendall(_LENGTHS.pack(len(text), len(body)) + text + body)

    def receive(self, timeout: float | None = None) -> Any:
        """Wait for one value.

        Raises:
            WireError: if what comes is not a value.
            TimeoutError: if nothing whole comes in ``timeout`` seconds.
            EOFError: if the other end is gone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        text_size, body_size = _LENGTHS.unpack(self._read(_LENGTHS.size, deadline))
        if text_size > MAX_TEXT_BYTES or body_size > MAX_TENSOR_BYTES:
            raise WireError("frame too large")
        self.received += text_size + body_size
        text = self._read(text_size, deadline)
        body = self._read(body_size, deadline)
        try:
            tree = json.loads(text.decode("utf-8", "surrogatepass"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise WireError("not JSON") from error
        return decode(tree, body)

    def receive_reply(self, timeout: float | None, on_output: Callable[[Any], None]) -> Any:
        """Wait for the reply to a request, handing on what the student's code puts out meanwhile.

        Raises:
            WireError, TimeoutError, EOFError: as :meth:`receive`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self.receive(None if deadline is None else deadline - time.monotonic())
            if not isinstance(message, dict) or len(message) != 1:
                raise WireError("not a message")
            ((kind, content),) = message.items()
            if kind == "output":
                on_output(content)
            elif kind == "reply":
                return content
            else:
                raise WireError("unknown kind of message")

    def _read(self, size: int, deadline: float | None) -> bytes:
        while len(self._buffer) < size:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self.stream.settimeout(left)
            try:
                chunk = self.stream.recv(1 << 20)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise EOFError
            self._buffer += chunk
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def close(self) -> None:
        self.stream.close()


def _refuse_constant(name: str) -> float:
    raise WireError(f"{name} in JSON")
