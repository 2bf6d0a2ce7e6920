"""Dates as people write them, to be written as ISO 8601 asks: 2026-11-23.

A small translation between characters: parts change places, names become numbers, and what is left is copied. The
names of months and days are written out here, since Python's own depend on the machine's language.
"""

import datetime

import numpy as np

from autograder.data.generated.word_lists import MONTHS, WEEKDAYS

FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)

FORMATS = (
    "{day} {month} {year}",
    "{month} {day}, {year}",
    "{day} {short} {year}",
    "{short} {day} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {ordinal}, {year}",
    "the {ordinal} of {month} {year}",
    "{day}.{number}.{year}",
)
"""How a date may be written; each can be read in one way only."""


def dates(count: int, generator: np.random.Generator) -> list[tuple[str, str]]:
    """Pairs such as ("Monday, November 23rd, 2026", "2026-11-23"), every day from 1900 to 2099 as likely as any other.

    Args:
        count: number of pairs.
        generator: what they are made from.
    """
    days = generator.integers((LAST - FIRST).days + 1, size=count).tolist()
    formats = generator.integers(len(FORMATS), size=count).tolist()
    pairs = []
    for days_later, number in zip(days, formats, strict=True):
        date = FIRST + datetime.timedelta(days=days_later)
        pairs.append((_written(date, FORMATS[number]), date.isoformat()))
    return pairs


def _written(date: datetime.date, how: str) -> str:
    month = MONTHS[date.month - 1]
    return how.format(
        day=date.day,
        ordinal=f"{date.day}{_ending(date.day)}",
        month=month,
        short=month[:3],
        number=date.month,
        year=date.year,
        weekday=WEEKDAYS[date.weekday()],
    )


def _ending(day: int) -> str:
    if day in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
