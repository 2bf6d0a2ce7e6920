"""A reader of GGUF files, in which language models are published for machines like the reader's own.

A file holds metadata (names and values), a list of tensors, and their numbers, most of them in blocks of 32 small whole
numbers that share a scale. The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Numbers = np.ndarray[Any, np.dtype[Any]]

BLOCK = 32
"""How many numbers share a scale."""


class GGUFError(ValueError):
    """A file that is no GGUF file, is cut short, or holds what this reader does not know."""


def _plain(kind: str) -> Callable[[Numbers], Numbers]:
    return lambda data: data.view(kind).astype(np.float32)


def _q8_0(data: Numbers) -> Numbers:
    """A block is a scale (float16) and 32 whole numbers from −128 to 127."""
    blocks = data.view(np.dtype([("scale", "<f2"), ("numbers", "i1", BLOCK)]))
    return blocks["scale"][:, None].astype(np.float32) * blocks["numbers"]


def _q4_1(data: Numbers) -> Numbers:
    """A block is a scale, a least value (float16), and 32 whole numbers from 0 to 15, two in a byte, the first half
    of the block in the low bits."""
    blocks = data.view(np.dtype([("scale", "<f2"), ("least", "<f2"), ("pairs", "u1", BLOCK // 2)]))
    numbers = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)
    return blocks["scale"][:, None].astype(np.float32) * numbers + blocks["least"][:, None].astype(np.float32)


@dataclass(frozen=True)
class Encoding:
    """How the numbers of a tensor are written: ``size`` bytes for every ``count`` numbers."""

    name: str
    size: int
    count: int
    decode: Callable[[Numbers], Numbers]


ENCODINGS = {
    0: Encoding("F32", 4, 1, _plain("<f4")),
    1: Encoding("F16", 2, 1, _plain("<f2")),
    3: Encoding("Q4_1", 20, BLOCK, _q4_1),
    8: Encoding("Q8_0", 34, BLOCK, _q8_0),
}
PLAIN_VALUES = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor stands in the file: its shape as torch orders it, its encoding, and its first byte."""

    shape: tuple[int, ...]
    encoding: Encoding
    start: int

    @property
    def num_bytes(self) -> int:
        """How many bytes of the file it takes."""
        return math.prod(self.shape) // self.encoding.count * self.encoding.size


class GGUFFile:
    """A GGUF file, its tensors read when asked for.

    Attributes:
        metadata: names and values; lists for arrays.
        entries: the tensors by name.

    Raises:
        GGUFError: if the file is none, is cut short, or holds what this reader does not know.
        FileNotFoundError: if there is no file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with self.path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise GGUFError(f"{self.path} is not a GGUF file: choose another, or download it again")
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._place = 4
        version = self._number("<I")
        if version not in (2, 3):
            raise GGUFError(f"{self.path} is a GGUF file of version {version}: choose one of version 2 or 3")
        num_tensors, num_values = self._number("<Q"), self._number("<Q")
        self.metadata = {self._string(): self._value(self._number("<I")) for _ in range(num_values)}
        listed = [self._listed() for _ in range(num_tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        first = math.ceil(self._place / alignment) * alignment
        self.entries = {name: TensorEntry(shape, encoding, first + offset) for name, shape, encoding, offset in listed}
        for entry in self.entries.values():
            self._check_holds(entry.start + entry.num_bytes)

    def value(self, name: str) -> Any:
        """One value of the metadata.

        Raises:
            GGUFError: if the file does not hold it.
        """
        if name not in self.metadata:
            raise GGUFError(f"{self.path} says nothing of {name}: choose the file of another model")
        return self.metadata[name]

    def entry(self, name: str) -> TensorEntry:
        """Where one tensor stands.

        Raises:
            GGUFError: if the file does not hold it.
        """
        if name not in self.entries:
            raise GGUFError(f"{self.path} holds no tensor named {name}: choose the file of another model")
        return self.entries[name]

    def tensor(self, name: str) -> Tensor:
        """The numbers of one tensor as float32; errors as for :meth:`entry`."""
        entry = self.entry(name)
        written = np.frombuffer(self._data, np.uint8, entry.num_bytes, entry.start)
        return torch.from_numpy(entry.encoding.decode(written).reshape(entry.shape))

    def _check_holds(self, size: int) -> None:
        if size > len(self._data):
            raise GGUFError(f"{self.path} is cut short at byte {len(self._data)}: download it again")

    def _number(self, kind: str) -> Any:
        start, self._place = self._place, self._place + struct.calcsize(kind)
        self._check_holds(self._place)
        return struct.unpack_from(kind, self._data, start)[0]

    def _string(self) -> str:
        start = self._place + 8
        self._place = start + self._number("<Q")
        self._check_holds(self._place)
        return self._data[start : self._place].decode(errors="replace")

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            item, count = self._number("<I"), self._number("<Q")
            return [self._value(item) for _ in range(count)]
        if kind not in PLAIN_VALUES:
            raise GGUFError(f"{self.path} holds a value of the unknown type {kind}: choose another file")
        return self._number(PLAIN_VALUES[kind])

    def _listed(self) -> tuple[str, tuple[int, ...], Encoding, int]:
        name, num_axes = self._string(), self._number("<I")
        shape = tuple(self._number("<Q") for _ in range(num_axes))[::-1]  # GGUF names the innermost axis first
        kind, offset = self._number("<I"), self._number("<Q")
        if kind not in ENCODINGS:
            known = ", ".join(encoding.name for encoding in ENCODINGS.values())
            raise GGUFError(f"{self.path} holds {name} in the encoding number {kind}: choose a file in {known}")
        return name, shape, ENCODINGS[kind], offset
