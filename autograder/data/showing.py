"""What ``autograder data`` prints, and how it shows its progress."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from autograder.data import CARDS, load
from autograder.data.checks import DataError
from autograder.data.downloads import Told
from autograder.data.downloads import download as download_files
from autograder.data.sources import SOURCES, find, source_of
from autograder.data.wheels import install

DAMAGED, STAND_IN = "damaged", "stand-in"

WHERE = {
    "package": "[green]installed[/]",
    "download": "[green]downloaded[/]",
    STAND_IN: "[yellow]stand-in[/]",
    DAMAGED: "[red]damaged[/]",
}


def where(name: str) -> str:
    """What :func:`autograder.data.load` would read: "package", "download" or "stand-in"; or "damaged"."""
    try:
        found = find(name)
    except DataError:
        source_of(name)
        return DAMAGED
    return found.origin if found else STAND_IN


def record(name: str) -> dict[str, Any]:
    """All about a dataset that needs no reading of it."""
    source, card = source_of(name), CARDS[name]
    return {
        "name": name,
        "title": card.title,
        "source": where(name),
        "origin": card.origin,
        "license": card.license,
        "size": dict(card.size),
        "note": card.note,
        "package": source.package,
        "version": source.version,
        "wheel_sha256": source.wheel_sha256,
        "files": dict(source.files),
        "upstream": source.upstream,
        "optional": source.is_optional,
    }


def sample(one: dict[str, Any]) -> str:
    """A little of a dataset, to look at; nothing where there is only a stand-in."""
    return load(one["name"]).sample() if one["source"] in ("package", "download") else ""


def print_list(out: Console, records: list[dict[str, Any]]) -> None:
    """All datasets in a table."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("what it is", overflow="fold", ratio=3)
    table.add_column("size", justify="right", overflow="fold")
    table.add_column("license", overflow="fold", ratio=1)
    table.add_column("source", no_wrap=True)
    for one in records:
        unit, count = next(iter(one["size"].items()))
        optional = " [dim](optional)[/]" if one["optional"] and one["source"] == STAND_IN else ""
        table.add_row(
            one["name"],
            one["title"],
            f"{count:,} {unit}",
            one["license"].partition(":")[0],
            WHERE[one["source"]] + optional,
        )
    out.print(table)
    missing = [one["name"] for one in records if one["source"] == STAND_IN and not one["optional"]]
    damaged = [one["name"] for one in records if one["source"] == DAMAGED]
    if missing:
        out.print(f"Not here: {', '.join(missing)}. `autograder data --install` gets them.", highlight=False)
    if damaged:
        out.print(f"Damaged: {', '.join(damaged)}. `autograder data --install` mends them.", highlight=False)


def print_card(out: Console, one: dict[str, Any]) -> None:
    """A data card, and a sample where there is one to show."""
    table = Table(title=one["name"], title_style="bold", box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        "what": one["title"],
        "origin": one["origin"],
        "license": one["license"],
        "size": ", ".join(f"{count:,} {unit}" for unit, count in one["size"].items()),
        "note": one["note"],
        "package": f"{one['package']} {one['version']}",
        "sha256": one["wheel_sha256"],
        "published": one["upstream"],
    }
    for heading, text in rows.items():
        if text:
            table.add_row(heading, Text(text))
    for file, sha256 in one["files"].items():
        table.add_row("file", Text(f"{file}\n{sha256}"))
    table.add_row("source", WHERE[one["source"]])
    out.print(table)
    if text := sample(one):
        out.print(Padding(Text(text), (1, 0, 1, 2)))


def get(names: Sequence[str], download: bool, console: Console) -> None:
    """Install or download what is not here.

    Args:
        names: of datasets; if there are none, of all that are not optional.
        download: put the files into the cache, and install nothing.
        console: where to tell how far it is.

    Raises:
        DataError: if there is no such dataset, or if it cannot be had.
    """
    states = {name: where(name) for name in names or SOURCES if names or not SOURCES[name].is_optional}
    wanted = {SOURCES[name].package: name for name, state in states.items() if state in (DAMAGED, STAND_IN)}
    for number, (package, name) in enumerate(wanted.items(), 1):
        doing = "Downloading" if download else "Installing"
        which = f"{package} {SOURCES[name].version} ({number} of {len(wanted)})"
        console.print(f"{doing} {which} ...", highlight=False)
        if download:
            with download_bar(console) as tell:
                download_files(name, tell)
        else:
            install(SOURCES[name], again=states[name] == DAMAGED)
    if not wanted:
        console.print("All of it is here already.")


@contextmanager
def download_bar(console: Console) -> Iterator[Told]:
    """A bar for every file that is downloaded, with the speed and the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}

        def tell(file: str, done: int, total: int) -> None:
            if file not in tasks:
                tasks[file] = bars.add_task(file, total=None)
            bars.update(tasks[file], completed=done, total=total or None)

        yield tell
