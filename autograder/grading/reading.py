"""From the bytes of a file that arrived to a notebook of the current format, whatever saved or sent it."""

import codecs
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.grading.pieces import sides
from autograder.grading.tolerant import MAX_TEXT, Duplicates, parse

MAX_BYTES = 512 << 20
MAX_CELLS = 5_000
MAX_SOURCE = 1_000_000
LARGE = 10 << 20
IMAGES = ("image/png", "image/jpeg", "image/gif")
"""Kinds of images that are kept where a student has pasted one: they cannot run anything."""
BASE64 = re.compile(r"[A-Za-z0-9+/=\s]+")
"""What an image in a notebook is written in."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_KINDS = {
    "code": "code",
    "markdown": "markdown",
    "text": "markdown",
    "raw": "raw",
    "heading": "markdown",
    "html": "markdown",
    "1": "markdown",
}
_CELL_LINE = re.compile(r"^# ?(?:In ?\[[ \d]*\]:?|%%|<(?:mark|co)\w+cell>|COMMAND -+)(?P<rest>[^\n]*)$", re.MULTILINE)
_PYTHON = re.compile(r"^(?:def|class|import|from|@\w+)\b[^\n]*", re.MULTILINE)
_FENCED = re.compile(r"^```(?:python3?|py|ipython3?)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_FOREIGN = {
    b"%PDF": "a PDF",
    b"PK": "a damaged zip file or an office document",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"{\\rtf": "a text document (RTF)",
}


class Unreadable(Exception):
    """The file cannot be made a notebook; the message says why in the words of the report."""


def read_submitted(data: bytes, repairs: list[str]) -> NotebookNode:
    """The notebook in a file.

    Args:
        repairs: what had to be mended is added here, a sentence each.

    Raises:
        Unreadable: if it is not a notebook and cannot be made one.
    """
    text = _read_text(_unpack(data, repairs), repairs)
    content = _read_json(text, repairs)
    if content is not None:
        return _as_current_notebook(content, repairs)
    exported = _from_script(text)
    if exported is None:
        raise Unreadable(_why_not_json(text))
    repairs.append("An export of the notebook as text came in its place; the cells were made from it.")
    return exported


def _unpack(data: bytes, repairs: list[str]) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
        try:
            data = unpacker.decompress(data, MAX_BYTES + 1)
        except zlib.error as error:
            raise Unreadable("the file is packed with gzip and damaged") from error
        repairs.append("The file was packed with gzip; it was unpacked.")
    if len(data) > MAX_BYTES:
        raise Unreadable(f"the file has more than {MAX_BYTES >> 20} MiB, which is the most that is read")
    if len(data) > LARGE:
        repairs.append(f"The file has {len(data) >> 20} MiB; what its cells put out was left away.")
    return data


def _read_text(data: bytes, repairs: list[str]) -> str:
    if not data.strip():
        raise Unreadable("the file is empty")
    if not data.strip(b"\0"):
        raise Unreadable("the file holds nothing but zeros: its upload broke off")
    foreign = next((what for start, what in _FOREIGN.items() if data.lstrip().startswith(start)), None)
    if foreign is not None:
        raise Unreadable(f"the file is {foreign}, not a notebook")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            repairs.append("A byte order mark at the beginning was taken away.")
            return data.decode(encoding, "replace")
    if b"\0" in data[:64]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
        repairs.append("The file was in UTF-16, not in UTF-8.")
        return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 3:
            return data[: error.start].decode("utf-8")
        repairs.append("The file was not in UTF-8; it was read as Windows-1252.")
        return data.decode("cp1252", "replace")


def _read_json(text: str, repairs: list[str]) -> dict[str, Any] | None:
    """The notebook as JSON, damaged or not; None if the text is no JSON at all."""
    start = text.lstrip()
    seen = Duplicates()
    try:
        content, end = json.JSONDecoder(strict=False, object_pairs_hook=seen).raw_decode(start)
        if start[end:].strip() and sides(start) is None:
            repairs.append("Text behind the end of the notebook was taken away.")
    except RecursionError as error:
        raise Unreadable("the file is nested too deep to be a notebook") from error
    except ValueError:
        content = _read_broken(start, repairs)
        if content is None:
            return None
    if seen.found:
        names = ", ".join(sorted(seen.found)[:4])
        repairs.append(f"Entries of the file were given twice ({names}); the later one that is not empty was taken.")
    notebook = _notebook_in(content)
    if notebook is None:
        raise Unreadable("the file is JSON, but not a notebook: it has no cells")
    return notebook


def _read_broken(text: str, repairs: list[str]) -> Any:
    """What can be read of JSON that is broken; None if there is nothing of a notebook in it."""
    if len(text) > MAX_TEXT or not re.match(r"[\[{\"<]", text):
        return None
    both = sides(text)
    if both is not None:
        ours, theirs = (_notebook_in(_loads(side)) for side in both)
        if ours is None or theirs is None:
            return ours or theirs
        repairs.append(
            "The file had marks of a merge conflict: of a cell in dispute the first side counts if it is answered; "
            "the second was kept."
        )
        return {**ours, "cells": _merge(ours["cells"], theirs["cells"])}
    if text.startswith("<"):
        return None
    content, is_cut_off = parse(text)
    notebook = _notebook_in(content)
    if notebook is None or not any(isinstance(c, dict) and _source(c, []) for c in notebook["cells"]):
        return None
    if is_cut_off:
        repairs.append("The file is cut off or damaged: it is not JSON to its end. What is there was taken.")
    else:
        repairs.append("The file was not proper JSON, such as a comma too many or too few; it was mended.")
    return notebook


def _loads(text: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return parse(text)[0]


def _merge(ours: list[Any], theirs: list[Any]) -> list[Any]:
    """The cells of one side, each in dispute behind what the other side has for it."""
    merged = list(ours)
    for place, cell in enumerate(theirs):
        if cell in merged or not isinstance(cell, dict):
            continue
        same = [i for i, c in enumerate(merged) if isinstance(c, dict) and cell.get("id") and c.get("id") == cell["id"]]
        merged.insert(same[-1] if same else min(place, len(merged)), cell)
    return merged


def _notebook_in(content: Any, depth: int = 0) -> dict[str, Any] | None:
    """The notebook in what was read: it may be wrapped in what a server or a program put around it."""
    if isinstance(content, str) and depth < 3:
        try:
            return _notebook_in(json.loads(content), depth + 1)
        except (ValueError, RecursionError):
            return None
    if isinstance(content, list) and depth < 3:
        return _notebook_in(content[0], depth + 1) if len(content) == 1 else None
    if not isinstance(content, dict):
        return None
    if isinstance(content.get("worksheets"), list):
        sheets = [sheet.get("cells", []) for sheet in content["worksheets"] if isinstance(sheet, dict)]
        return {**content, "cells": [c for cells in sheets if isinstance(cells, list) for c in cells]}
    if isinstance(content.get("cells"), dict):
        return {**content, "cells": list(content["cells"].values())}
    if isinstance(content.get("cells"), list):
        return content
    inner = (_notebook_in(v, depth + 1) for k in ("content", "notebook", "data", "ipynb") if (v := content.get(k)))
    return next((found for found in inner if found is not None), None) if depth < 3 else None


def _why_not_json(text: str) -> str:
    start = text.lstrip()[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head", "<script")):
        return "the file is a web page, not a notebook: it was saved in place of the notebook's file"
    if sides(text) is not None:
        return "the file has marks of a merge conflict in it"
    if start.startswith("version https://git-lfs"):
        return "the file is a pointer to a file of Git LFS, not the notebook itself"
    if start.startswith(("{", '"')):
        return "the file is cut off or damaged: it is not JSON to its end"
    return "the file is not a notebook: it is not JSON"


def _as_current_notebook(content: dict[str, Any], repairs: list[str]) -> NotebookNode:
    """A notebook of any format, as format 4.5 with nothing in it but what a notebook may hold."""
    is_current = (content.get("nbformat"), content.get("nbformat_minor")) == (4, 5)
    if "worksheets" in content:
        repairs.append("The notebook was in an older format and was brought up to date.")
    elif not is_current and "nbformat" in content:
        repairs.append("The notebook was in another version of the format and was brought up to date.")
    cells = content["cells"]
    if len(cells) > MAX_CELLS:
        raise Unreadable(f"the notebook has {len(cells)} cells; at most {MAX_CELLS} are read")
    metadata = content.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    name = kernel.get("name") if isinstance(kernel, dict) else None
    notebook = new_notebook()
    notebook.metadata["kernelspec"] = {"name": name if isinstance(name, str) else ""}
    told: list[str] = []
    seen: set[str] = set()
    has_lost_ids = False
    for cell in cells:
        made = _as_cell(cell, seen, told)
        if made is None:
            told.append("Something that was not a cell was taken away.")
        else:
            notebook.cells.append(made)
            has_lost_ids |= isinstance(cell, dict) and cell.get("id") != made.id
    if has_lost_ids and is_current:
        told.append("Ids of cells were missing, not allowed or there twice; new ones were made.")
    repairs += dict.fromkeys(told)
    return notebook


def _as_cell(cell: Any, seen: set[str], told: list[str]) -> NotebookNode | None:
    if isinstance(cell, str):
        cell = {"cell_type": "raw", "source": cell}
    if not isinstance(cell, dict):
        return None
    source = _source(cell, told)
    if len(source) > MAX_SOURCE:
        told.append(f"A cell of {len(source)} characters was cut off after {MAX_SOURCE}.")
        source = source[:MAX_SOURCE]
    if "\r" in source:
        told.append("Windows line ends in cells were changed.")
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    source = source.replace("\0", "").encode("utf-8", "replace").decode()
    cell_type = _KINDS.get(str(cell.get("cell_type", cell.get("kind"))).lower(), "code")
    about = cell.get("metadata")
    made = getattr(nbformat.v4, f"new_{cell_type}_cell")(source=source, metadata=kept_metadata(about))
    identity = cell.get("id") or (about.get("id") if isinstance(about, dict) else None)
    if isinstance(identity, str) and re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", identity) and identity not in seen:
        made.id = identity
    seen.add(made.id)
    if cell_type == "markdown" and (images := attached_images(cell)):
        made.attachments = nbformat.from_dict(images)
    return made


def _source(cell: dict[str, Any], told: list[str]) -> str:
    source = next((cell[key] for key in ("source", "input", "value", "text") if cell.get(key)), "")
    if isinstance(source, list):
        parts = [part for part in source if isinstance(part, str)]
        if len(parts) > 1 and not any(part.endswith(("\n", "\r")) for part in parts):
            told.append("Cells had lost the ends of their lines; they were put back.")
            return "\n".join(parts)
        return "".join(parts)
    return source if isinstance(source, str) else ""


def attached_images(cell: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The images attached to a cell, such as a pasted drawing."""
    attached = cell.get("attachments")
    found = {}
    for name, data in attached.items() if isinstance(attached, Mapping) else ():
        kinds = {kind: data.get(kind) for kind in IMAGES} if isinstance(data, Mapping) else {}
        images = {kind: text for kind, text in kinds.items() if isinstance(text, str) and BASE64.fullmatch(text)}
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


def _from_script(text: str) -> NotebookNode | None:
    """The cells of a notebook that was exported as a Python script or as Markdown; None if it is neither."""
    text = text.replace("\r\n", "\n").replace("\0", "")
    notebook = new_notebook()
    if text.lstrip()[:1] in "{<" or len(text) > MAX_SOURCE:
        return None
    if _FENCED.search(text):
        for i, part in enumerate(_FENCED.split(text)):
            if part.strip():
                notebook.cells.append(new_code_cell(part.rstrip("\n")) if i % 2 else new_markdown_cell(part.strip()))
        return notebook
    if not (_CELL_LINE.search(text) or _PYTHON.search(text)):
        return None
    parts = _CELL_LINE.split(text)
    for kind, part in zip(["", *parts[1::2]], parts[0::2], strict=True):
        if re.search(r"\[(markdown|md|raw)\]", kind):
            notebook.cells.append(new_markdown_cell(_uncommented(part)))
        else:
            notebook.cells += _code_and_text(part)
    return notebook


def _code_and_text(part: str) -> list[NotebookNode]:
    """The code between two marks of a script, and the texts behind it, which stand there as comments."""
    blocks = re.split(r"\n[ \t]*\n", part.strip("\n"))
    texts: list[NotebookNode] = []
    while blocks and all(re.match(r"#( |$)", line) for line in blocks[-1].strip("\n").splitlines()):
        texts.insert(0, new_markdown_cell(_uncommented(blocks.pop())))
    code = "\n\n".join(blocks).strip("\n")
    return [*([new_code_cell(code)] if code.strip() else []), *(t for t in texts if t.source)]


def _uncommented(text: str) -> str:
    return re.sub(r"^#( |$)", "", text.strip("\n"), flags=re.MULTILINE).strip()
