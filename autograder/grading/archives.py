"""What is in a zip or tar file, looked at without ever writing anything out of it."""

import io
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from time import mktime

from autograder.grading.reading import MAX_BYTES

MAX_FILES = 20_000
MAX_TOTAL_BYTES = 4 << 30
OTHER_ARCHIVES = (".7z", ".rar")
"""Endings of archives that cannot be opened here."""

_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    OSError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
)


class BadArchive(Exception):
    """The archive or something in it cannot be taken; the message says why."""


@dataclass(frozen=True)
class Member:
    """One file in an archive.

    Attributes:
        problem: why it is not taken out; empty if it is.
        data: its bytes; raises :class:`BadArchive` if they are damaged.
    """

    name: str
    modified: float
    problem: str
    data: Callable[[], bytes]


def is_archive(name: str, source: Path | bytes) -> bool:
    """Whether a file is a zip file, whatever it is called, or a tar file that is called one."""
    try:
        if re.search(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$", name, re.IGNORECASE):
            return tarfile.is_tarfile(_open(source))
        return _head(source) == b"PK" and zipfile.is_zipfile(_open(source))
    except _DAMAGE:
        return False


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:2]
    with source.open("rb") as file:
        return file.read(2)


def members(source: Path | bytes) -> Iterator[Member]:
    """The files in an archive.

    Raises:
        BadArchive: if it cannot be opened or is larger than can be taken in.
    """
    try:
        found = _in_zip(source) if zipfile.is_zipfile(_open(source)) else _in_tar(source)
    except _DAMAGE as error:
        raise BadArchive(f"cannot be opened ({error})") from error
    yield from found


def _open(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _in_zip(source: Path | bytes) -> list[Member]:
    with zipfile.ZipFile(_open(source)) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
    _demand_small([info.file_size for info in infos])

    def data(info: zipfile.ZipInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                with zipfile.ZipFile(_open(source)) as archive:
                    return archive.read(info)
            except _DAMAGE as error:
                raise BadArchive("is damaged and cannot be taken out") from error

        return read

    found = []
    for info in infos:
        name = info.filename.replace("\\", "/")
        is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
        problem = "is locked with a password" if info.flag_bits & 1 else _problem(name, is_link, info.file_size)
        try:
            modified = mktime((*info.date_time, 0, 0, -1))
        except (ValueError, OverflowError):
            modified = 0.0
        found.append(Member(name, modified, problem, data(info)))
    return found


def _in_tar(source: Path | bytes) -> list[Member]:
    def opened() -> tarfile.TarFile:
        return tarfile.open(fileobj=io.BytesIO(source)) if isinstance(source, bytes) else tarfile.open(source)

    infos = []
    with opened() as archive:
        total = 0
        for info in archive:
            total += info.size
            if not info.isdir():
                infos.append(info)
            if len(infos) > MAX_FILES or total > MAX_TOTAL_BYTES:
                break
    _demand_small([info.size for info in infos])

    def data(info: tarfile.TarInfo) -> Callable[[], bytes]:
        def read() -> bytes:
            try:
                with opened() as archive:
                    file = archive.extractfile(info)
                    return file.read() if file is not None else b""
            except _DAMAGE as error:
                raise BadArchive("is damaged and cannot be taken out") from error

        return read

    return [
        Member(info.name, float(info.mtime), _problem(info.name, not info.isfile(), info.size), data(info))
        for info in infos
    ]


def _demand_small(sizes: list[int]) -> None:
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_TOTAL_BYTES:
        raise BadArchive(f"is larger than can be taken in ({len(sizes)} files, {sum(sizes) >> 20} MiB)")


def _problem(name: str, is_link: bool, size: int) -> str:
    if is_link:
        return "is a link"
    if name.startswith("/") or ".." in PurePosixPath(name).parts or (len(name) > 1 and name[1] == ":"):
        return "lies outside the archive"
    return f"has {size >> 20} MiB, more than can be read" if size > MAX_BYTES else ""
