"""Read one column of words from a Parquet file: just enough of the format for a file that is known in advance.

The format: https://parquet.apache.org/docs/file-format/. A file is a row of pages, each with a header in Thrift's
compact protocol and a body compressed by Snappy. Words that are all different stand in the order in which they come:
the first ones in the dictionary page, and when that is full, the rest in plain pages. What refers to the dictionary
says nothing new and is left out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cramjam import snappy

DATA_PAGE, DICTIONARY_PAGE = 0, 2
PLAIN = 0

PAGE_TYPE, COMPRESSED_SIZE, DATA_HEADER, ENCODING = 1, 3, 5, 2
"""Numbers of fields in a page's header, the last within the header of a data page."""


def distinct_words(path: Path) -> list[str]:
    """The words of a file with one column of words, none of them twice."""
    data = path.read_bytes()
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    place, words = 4, list[str]()
    while place < end:
        header, place = _struct(data, place)
        body = data[place : place + header[COMPRESSED_SIZE]]
        place += len(body)
        if header[PAGE_TYPE] == DICTIONARY_PAGE:
            words += _plain_words(bytes(snappy.decompress_raw(body)), 0)
        elif header[PAGE_TYPE] == DATA_PAGE and header[DATA_HEADER][ENCODING] == PLAIN:
            page = bytes(snappy.decompress_raw(body))
            words += _plain_words(page, 4 + int.from_bytes(page[:4], "little"))  # behind what says that none is missing
    return words


def _plain_words(page: bytes, place: int) -> Iterator[str]:
    """Words, each behind its length in four bytes."""
    while place < len(page):
        start = place + 4
        place = start + int.from_bytes(page[place:start], "little")
        yield page[start:place].decode()


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A whole number, seven bits in a byte, and the place behind it."""
    number = shift = 0
    while True:
        byte = data[place]
        number, shift, place = number | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return number, place


def _struct(data: bytes, place: int) -> tuple[dict[int, Any], int]:
    """The fields of a Thrift struct by their numbers, and the place behind it."""
    fields: dict[int, Any] = {}
    number = 0
    while byte := data[place]:
        place += 1
        number += byte >> 4
        match byte & 15:
            case 1 | 2 as kind:
                fields[number] = kind == 1
            case 4 | 5 | 6:
                coded, place = _varint(data, place)
                fields[number] = (coded >> 1) ^ -(coded & 1)
            case 8:
                length, place = _varint(data, place)
                fields[number], place = data[place : place + length], place + length
            case 12:
                fields[number], place = _struct(data, place)
            case kind:
                raise ValueError(f"The header of a page has a field of type {kind}, which this reader does not know.")
    return fields, place + 1
