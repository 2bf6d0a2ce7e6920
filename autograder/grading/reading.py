"""From the bytes of a file that arrived to a notebook of the current format, whatever saved or sent it."""

import codecs
import json
import re
from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_notebook

MAX_BYTES = 512 << 20
MAX_CELLS = 5_000
MAX_SOURCE = 1_000_000
IMAGES = ("image/png", "image/jpeg", "image/gif")
"""Kinds of images that are kept where a student has pasted one: they cannot run anything."""

_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")


class Unreadable(Exception):
    """The file cannot be made a notebook; the message says why in the words of the report."""


def read_submitted(data: bytes, repairs: list[str]) -> NotebookNode:
    """The notebook in a file.

    Args:
        repairs: what had to be mended is added here, a sentence each.

    Raises:
        Unreadable: if it is not a notebook and cannot be made one.
    """
    return _read_json(_read_text(data, repairs), repairs)


def _read_text(data: bytes, repairs: list[str]) -> str:
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the file has {len(data) >> 20} MiB; at most {MAX_BYTES >> 20} are read")
    if not data.strip():
        raise Unreadable("the file is empty")
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            repairs.append("A byte order mark at the beginning was taken away.")
            return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        repairs.append("The file was not in UTF-8; it was read as Windows-1252.")
        return data.decode("cp1252", "replace")


def _read_json(text: str, repairs: list[str]) -> NotebookNode:
    try:
        content, end = json.JSONDecoder().raw_decode(text.lstrip())
    except RecursionError as error:
        raise Unreadable("the file is nested too deep to be a notebook") from error
    except ValueError as error:
        raise Unreadable(_why_not_json(text)) from error
    if text.lstrip()[end:].strip():
        repairs.append("Text behind the end of the notebook was taken away.")
    if not isinstance(content, dict):
        raise Unreadable("the file is JSON, but not a notebook")
    return _as_current_notebook(content, repairs)


def _why_not_json(text: str) -> str:
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html")):
        return "the file is a web page, not a notebook: it was saved in place of the notebook's file"
    if "<<<<<<<" in text:
        return "the file has marks of a merge conflict in it"
    if start.startswith("%pdf"):
        return "the file is a PDF, not a notebook"
    if start.startswith("{"):
        return "the file is cut off or damaged: it is not JSON to its end"
    return "the file is not a notebook: it is not JSON"


def _as_current_notebook(content: dict[str, Any], repairs: list[str]) -> NotebookNode:
    """A notebook of any format, as format 4.5 with nothing in it but what a notebook may hold."""
    if isinstance(content.get("worksheets"), list):
        repairs.append("The notebook was in an older format and was brought up to date.")
        sheets = [sheet.get("cells", []) for sheet in content["worksheets"] if isinstance(sheet, dict)]
        content = {**content, "cells": [c for cells in sheets if isinstance(cells, list) for c in cells]}
    elif (content.get("nbformat"), content.get("nbformat_minor")) != (4, 5):
        repairs.append("The notebook was in another version of the format and was brought up to date.")
    cells = content.get("cells")
    if not isinstance(cells, list):
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"the notebook has {len(cells)} cells; at most {MAX_CELLS} are read")
    metadata = content.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    name = kernel.get("name") if isinstance(kernel, dict) else None
    notebook = new_notebook()
    notebook.metadata["kernelspec"] = {"name": name if isinstance(name, str) else ""}
    seen: set[str] = set()
    for cell in cells:
        made = _as_cell(cell, seen)
        if made is None:
            repairs.append("Something that was not a cell was taken away.")
        else:
            notebook.cells.append(made)
    return notebook


def _as_cell(cell: Any, seen: set[str]) -> NotebookNode | None:
    if not isinstance(cell, dict):
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    if not isinstance(source, str) or len(source) > MAX_SOURCE:
        return None
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    kind = {"code": "code", "markdown": "markdown", "raw": "raw", "heading": "markdown", "html": "markdown"}
    cell_type = kind.get(str(cell.get("cell_type")), "code")
    metadata = kept_metadata(cell.get("metadata"))
    made = getattr(nbformat.v4, f"new_{cell_type}_cell")(source=source, metadata=metadata)
    if cell_type == "markdown" and (images := attached_images(cell)):
        made.attachments = nbformat.from_dict(images)
    identity = cell.get("id")
    if isinstance(identity, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", identity) and identity not in seen:
        made.id = identity
    seen.add(made.id)
    return made


def attached_images(cell: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The images attached to a cell, such as a pasted drawing."""
    attached = cell.get("attachments")
    found = {}
    for name, data in attached.items() if isinstance(attached, Mapping) else ():
        kinds = {kind: data.get(kind) for kind in IMAGES} if isinstance(data, Mapping) else {}
        images = {kind: text for kind, text in kinds.items() if isinstance(text, str) and _BASE64.fullmatch(text)}
        if images:
            found[str(name)] = images
    return found


def kept_metadata(metadata: Any) -> dict[str, Any]:
    """Of a cell's metadata what nbgrader wrote, as far as it may be that; all else could only trip what comes after."""
    about = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    if not isinstance(about, dict):
        return {}
    plain = {k: v for k, v in about.items() if v is None or isinstance(v, (str, int, float, bool))}
    return {"nbgrader": plain} if plain else {}
