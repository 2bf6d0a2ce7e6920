"""A log of many trainings, by which a recipe that was stopped goes on where it was."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path


class RunLog:
    """A CSV file with one or several rows for each training.

    Args:
        path: of the file; its folder is made if need be.
        columns: of the file. The first ones say which training it is.
        key_size: how many of them.
    """

    def __init__(self, path: Path, columns: Sequence[str], key_size: int) -> None:
        self._path, self._columns, self._key = path, columns, columns[:key_size]
        path.parent.mkdir(parents=True, exist_ok=True)
        self._rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self._rows = list(csv.DictReader(file))

    def rows_of(self, *key: object) -> list[dict[str, str]]:
        """The rows of a training; none if it has not been run."""
        wanted = [str(part) for part in key]
        return [row for row in self._rows if [row[column] for column in self._key] == wanted]

    def add(self, key: Sequence[object], values: Iterable[Sequence[object]]) -> list[dict[str, str]]:
        """Write down the rows of a training, each the values of the columns behind the key; returns them."""
        lines = [[str(value) for value in (*key, *row)] for row in values]
        is_new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([self._columns, *lines] if is_new else lines)
        rows = [dict(zip(self._columns, line, strict=True)) for line in lines]
        self._rows += rows
        return rows
