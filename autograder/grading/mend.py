"""What students do to notebooks, undone: from the bytes that arrived to a notebook that can be graded.

Each mend is a small function that takes the notebook a step further and says what it did in a sentence. A cell of
the released notebook is found again by its id, then by nbgrader's metadata, then by what it holds: the names it
defines, or its very text. Nothing here runs anything.
"""

import ast
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from nbformat import NotebookNode

from autograder.course import Assignment, nbgrader_metadata
from autograder.grading.reading import attached_images, kept_metadata, read_submitted

UNREADABLE = "unreadable"


@dataclass
class Mended:
    """A notebook that can be graded.

    Attributes:
        repairs: what was mended, a sentence each; empty if nothing had to be.
    """

    notebook: NotebookNode
    repairs: list[str] = field(default_factory=list)


def mend(data: bytes, assignment: Assignment) -> Mended:
    """Make a gradable notebook of a file as it arrived.

    Raises:
        Unreadable: if it is not a notebook and cannot be made one.
    """
    repairs: list[str] = []
    return mend_notebook(read_submitted(data, repairs), assignment, repairs)


def mend_notebook(notebook: NotebookNode, assignment: Assignment, repairs: list[str] | None = None) -> Mended:
    """Bring the cells of a readable notebook back to what the released one has, keeping the student's answers."""
    mended = Mended(notebook, repairs if repairs is not None else [])
    _drop_extras(mended)
    match = _Match(mended, assignment.release)
    for step in _STEPS:
        step(match)
    match.tell_lost()
    _restore_kernel(mended, assignment.release)
    mended.notebook.nbformat, mended.notebook.nbformat_minor = 4, 5
    return mended


def unanswered(assignment: Assignment, reason: str) -> NotebookNode:
    """The notebook that stands for a file which cannot be read: the released one, marked."""
    notebook = deepcopy(assignment.release)
    notebook.metadata[UNREADABLE] = reason
    return notebook


def _drop_extras(mended: Mended) -> None:
    """Take away what grading does not need: outputs, other metadata, attachments that are not images."""
    for cell in mended.notebook.cells:
        cell.metadata = NotebookNode(kept_metadata(cell.metadata))
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader = NotebookNode(cell.metadata.nbgrader)
        images = attached_images(cell)
        cell.pop("attachments", None)
        if images and cell.cell_type == "markdown":
            cell.attachments = NotebookNode(images)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


@dataclass
class _Match:
    """A submitted notebook beside the released one.

    Attributes:
        found: for each position in the released notebook, the submitted cell that stands for it.
    """

    mended: Mended
    release: NotebookNode
    found: dict[int, NotebookNode] = field(default_factory=dict)
    lost: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wanted = {i: c for i, c in enumerate(self.release.cells) if nbgrader_metadata(c)}

    def say(self, sentence: str) -> None:
        if sentence not in self.mended.repairs:
            self.mended.repairs.append(sentence)

    def say_lost(self, released: NotebookNode, how: str) -> None:
        """Note a cell that had lost its marks; all that were found in one way are told in one sentence."""
        self.lost.setdefault(how, []).append(nbgrader_metadata(released)["grade_id"])

    def tell_lost(self) -> None:
        for how, names in self.lost.items():
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            self.say(f"Cells had lost nbgrader's metadata and were found by {how}: {shown}.")

    def taken(self, cell: NotebookNode) -> bool:
        return any(cell is other for other in self.found.values())

    def free(self) -> list[NotebookNode]:
        return [cell for cell in self.mended.notebook.cells if not self.taken(cell)]

    def open(self) -> dict[int, NotebookNode]:
        return {i: c for i, c in self.wanted.items() if i not in self.found}


def _by_metadata_and_id(match: _Match) -> None:
    """Find cells that still say which they are; of several that do, the one that was answered, else the last."""
    for index, released in match.wanted.items():
        name = released.metadata.nbgrader["grade_id"]
        same = [
            cell
            for cell in match.free()
            if nbgrader_metadata(cell).get("grade_id") == name
            or (cell.id == released.id and not nbgrader_metadata(cell).get("grade_id"))
        ]
        if not same:
            continue
        answered = [cell for cell in same if cell.source.strip() != released.source.strip()] or same
        original = [cell for cell in answered if cell.id == released.id]
        chosen = original[-1] if original else answered[-1]
        match.found[index] = chosen
        if not nbgrader_metadata(chosen):
            match.say_lost(released, "their ids")
        for extra in same:
            if extra is not chosen:
                _demote(match, extra, released)


def _demote(match: _Match, extra: NotebookNode, released: NotebookNode) -> None:
    """A second copy of a cell: an untouched one goes, another one stays as a cell of the student's own."""
    extra.metadata.pop("nbgrader", None)
    if extra.source.strip() == released.source.strip() or not nbgrader_metadata(released).get("solution"):
        match.mended.notebook.cells.remove(extra)
        match.say(f"A second copy of {_call(released)} was taken away.")
    else:
        match.say(f"{_call(released)} was there more than once; the copies were kept as cells of the student's own.")


def _by_content(match: _Match) -> None:
    """Find cells that have lost both id and metadata: by the names they define, or by their very text."""
    for index, released in match.open().items():
        about = nbgrader_metadata(released)
        names = _defines(released.source) if released.cell_type == "code" and about.get("solution") else set()
        for cell in match.free():
            same_text = cell.source.strip() == released.source.strip() and cell.cell_type == released.cell_type
            same_names = bool(names) and cell.cell_type == "code" and names <= _defines(cell.source)
            if same_text or same_names:
                match.found[index] = cell
                match.say_lost(released, "the names they define" if same_names else "their text")
                break


def _by_place(match: _Match) -> None:
    """Find written answers that have lost everything: a cell of their kind where the answer belongs."""
    positions = {id(cell): i for i, cell in enumerate(match.mended.notebook.cells)}
    for index, released in match.open().items():
        if not (nbgrader_metadata(released).get("solution") and released.cell_type == "markdown"):
            continue
        before = max((i for i in match.found if i < index), default=None)
        after = min((i for i in match.found if i > index), default=None)
        low = positions[id(match.found[before])] if before is not None else -1
        high = positions[id(match.found[after])] if after is not None else len(positions)
        between = [c for c in match.mended.notebook.cells[low + 1 : high] if c.cell_type == "markdown"]
        texts = [cell for cell in between if not match.taken(cell)]
        if texts:
            match.found[index] = texts[0]
            match.say_lost(released, "their place")


def _restore_released(match: _Match) -> None:
    """Give each found cell its metadata, kind and id back, and locked ones their text."""
    for index, cell in match.found.items():
        released = match.wanted[index]
        about = nbgrader_metadata(released)
        if cell.cell_type != released.cell_type:
            position = next(i for i, c in enumerate(match.mended.notebook.cells) if c is cell)
            remade = deepcopy(released)
            remade.source = cell.source
            match.mended.notebook.cells[position] = match.found[index] = cell = remade
            match.say(f"{_call(released)} had become a cell of another kind.")
        if about.get("locked") and cell.source != released.source:
            if cell.source.strip() != released.source.strip():
                match.say(f"{_call(released)} was changed; its text was restored.")
            cell.source = released.source
        cell.metadata.nbgrader = deepcopy(released.metadata.nbgrader)
        cell.id = released.id
    for cell in match.free():
        if cell.metadata.pop("nbgrader", None) is not None:
            match.say("A cell with nbgrader's metadata that is not of this assignment was kept as an ordinary cell.")


def _restore_missing(match: _Match) -> None:
    """Put cells that were deleted back: locked ones as they were, answers unanswered."""
    for index, released in match.open().items():
        restored = deepcopy(released)
        if nbgrader_metadata(released).get("solution"):
            names = _defines(released.source) if released.cell_type == "code" else set()
            elsewhere = any(names & _defines(c.source) for c in match.mended.notebook.cells if c.cell_type == "code")
            if names and elsewhere:
                restored.source = "# Answered in another cell."
                match.say(f"{_call(released)} was missing; its answer stands in another cell.")
            else:
                match.say(f"{_call(released)} was missing; it was put back unanswered.")
        else:
            match.say(f"{_call(released)} was missing; it was put back.")
        match.found[index] = restored


def _restore_order(match: _Match) -> None:
    """Bring the released cells into their order; a cell of the student's own stays behind the one it followed."""
    segments: dict[int, list[NotebookNode]] = {i: [cell] for i, cell in match.found.items()}
    places = {id(cell): i for i, cell in match.found.items()}
    first: list[NotebookNode] = []
    current = first
    seen: list[int] = []
    for cell in match.mended.notebook.cells:
        if id(cell) in places:
            seen.append(places[id(cell)])
            current = segments[places[id(cell)]]
        else:
            current.append(cell)
    if seen != sorted(seen):
        match.say("Cells had changed places; they were brought back into the released order.")
    match.mended.notebook.cells = [*first, *(cell for i in sorted(segments) for cell in segments[i])]
    _make_ids_unique(match)


def _make_ids_unique(match: _Match) -> None:
    seen: set[str] = {c.id for c in match.found.values()}
    for cell in match.mended.notebook.cells:
        if not match.taken(cell):
            while cell.id in seen:
                cell.id = f"{cell.id[:48]}-{len(seen)}"
            seen.add(cell.id)


_STEPS: tuple[Callable[[_Match], None], ...] = (
    _by_metadata_and_id,
    _by_content,
    _by_place,
    _restore_released,
    _restore_missing,
    _restore_order,
)


def _restore_kernel(mended: Mended, release: NotebookNode) -> None:
    wanted, there = release.metadata.get("kernelspec", {}), mended.notebook.metadata.get("kernelspec", {})
    name = there.get("name") if isinstance(there, dict) else None
    if name != wanted.get("name"):
        mended.repairs.append("The notebook named another kernel; it was set back to the course's.")
    marked = {UNREADABLE: mended.notebook.metadata[UNREADABLE]} if UNREADABLE in mended.notebook.metadata else {}
    mended.notebook.metadata = NotebookNode({"kernelspec": deepcopy(wanted), **marked})


def _call(released: NotebookNode) -> str:
    """What a report calls a cell of the released notebook."""
    about = nbgrader_metadata(released)
    if about.get("grade") and not about.get("solution"):
        return f"The check cell {about['grade_id']}"
    if about.get("solution"):
        return f"The answer cell {about['grade_id']}"
    return f"The given cell {about['grade_id']}"


def _defines(source: str) -> set[str]:
    """Functions and classes that a cell defines; none if it is not Python."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(re.findall(r"^(?:def|class)\s+(\w+)", source, flags=re.MULTILINE))
    return {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
