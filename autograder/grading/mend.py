"""What students do to notebooks, undone: from the bytes that arrived to a notebook that can be graded.

Each mend is a small function that takes the notebook a step further and says what it did in a sentence. A cell of
the released notebook is found again by its id, then by nbgrader's metadata, then by what it holds: the names it
defines, or its very text. Marks that the content speaks against are not believed. Nothing here runs anything.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_raw_cell
from nbgrader.utils import compute_checksum

from autograder.course import Assignment, nbgrader_metadata
from autograder.grading.pieces import (
    binds,
    code_of,
    defines,
    is_prose,
    parses,
    pieces,
    same_code,
    says_nothing,
    sides,
    uses,
)
from autograder.grading.reading import attached_images, kept_metadata, read_submitted

UNREADABLE = "unreadable"
MAX_PARTS = 5
"""Into how many cells an answer may have been split."""
MAX_NAMED = 4
MIN_TEXT = 20
"""A shorter text may stand in a student's by chance."""
_STUB_MARKS = ("YOUR CODE HERE", "YOUR ANSWER HERE", "NotImplementedError")
"""What nbgrader puts in the place of a solution."""

Cell = NotebookNode


@dataclass
class Mended:
    """A notebook that can be graded.

    Attributes:
        repairs: what was mended, a sentence each; empty if nothing had to be.
        answered: the answer cells, by grade_id, in which there is more than the stub.
        recognized: how many of the released cells were found again.
    """

    notebook: NotebookNode
    repairs: list[str] = field(default_factory=list)
    answered: tuple[str, ...] = ()
    recognized: int = 0


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
    _settle_conflicts(mended)
    match = _Match(mended, assignment.release, _solved_names(assignment))
    for step in _STEPS:
        step(match)
    match.tell_lists()
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


def _settle_conflicts(mended: Mended) -> None:
    """Take the first side of a merge conflict inside a cell, the second if only that is Python; keep the other."""
    cells = mended.notebook.cells
    for cell in list(cells):
        both = sides(cell.source) if cell.cell_type == "code" else None
        if both is None:
            continue
        ours, theirs = both
        if not parses(ours) and parses(theirs):
            ours, theirs = theirs, ours
        cell.source = ours
        cells.insert(_place(cells, cell) + 1, new_raw_cell(theirs))
        told = "A cell had marks of a merge conflict: one side was taken, the other was kept below it and is not run."
        if told not in mended.repairs:
            mended.repairs.append(told)


def _solved_names(assignment: Assignment) -> dict[str, frozenset[str]]:
    return {about["grade_id"]: defines(c.source) for c in assignment.solution.cells if (about := nbgrader_metadata(c))}


@dataclass
class _Match:
    """A submitted notebook beside the released one.

    Attributes:
        wanted: the released cells that must be there, by their positions in the released notebook.
        solved: what the solution's cells define, by grade_id, for stubs that name nothing.
        names: what an answer cell of code is asked to define, by the same positions.
        found: the submitted cell that stands for each of them.
        lists: what is told of many cells in one sentence: the sentence, and the cells.
    """

    mended: Mended
    release: NotebookNode
    solved: dict[str, frozenset[str]]
    found: dict[int, Cell] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.wanted = {i: c for i, c in enumerate(self.release.cells) if nbgrader_metadata(c)}
        self.names = {
            i: asked
            for i, c in self.wanted.items()
            if c.cell_type == "code"
            and nbgrader_metadata(c).get("solution")
            and (asked := defines(c.source) or self.solved.get(nbgrader_metadata(c)["grade_id"], frozenset()))
        }
        self.texts = {c.source.strip() for c in self.release.cells}

    @property
    def cells(self) -> list[Cell]:
        cells: list[Cell] = self.mended.notebook.cells
        return cells

    def say(self, sentence: str) -> None:
        if sentence not in self.mended.repairs:
            self.mended.repairs.append(sentence)

    def note(self, sentence: str, released: Cell) -> None:
        """Note something of a cell; all cells of which the same is to be said are told in one sentence."""
        name = nbgrader_metadata(released)["grade_id"]
        if name not in self.lists.setdefault(sentence, []):
            self.lists[sentence].append(name)

    def note_found(self, cell: Cell, released: Cell, how: str) -> None:
        """Note by what a cell was found that does not say any more, or says wrongly, which it is."""
        if nbgrader_metadata(cell):
            self.note("Cells had another cell's name, or none of ours, in nbgrader's metadata", released)
        else:
            self.note(f"Cells had lost nbgrader's metadata and were found by {how}", released)

    def tell_lists(self) -> None:
        order = [nbgrader_metadata(c)["grade_id"] for c in self.wanted.values()]
        for sentence, unordered in self.lists.items():
            names = sorted(unordered, key=order.index)
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            self.say(f"{sentence}: {', '.join(names[:MAX_NAMED])}{more}.")

    def free(self) -> list[Cell]:
        taken = {id(cell) for cell in self.found.values()}
        return [cell for cell in self.cells if id(cell) not in taken]

    def open(self) -> dict[int, Cell]:
        return {i: c for i, c in self.wanted.items() if i not in self.found}

    def is_unanswered(self, index: int) -> bool:
        """Whether an answer is still to be found: its cell is not there, or there is nothing of the student's in it."""
        return index not in self.found or _is_blank(self.found[index], self.wanted[index])

    def check_place(self, index: int) -> int:
        """Where in the submitted notebook the check cell stands that judges an answer; its end if nowhere."""
        checks = (i for i, c in self.wanted.items() if i >= index and nbgrader_metadata(c).get("grade"))
        check = next(checks, None)
        return _place(self.cells, self.found[check]) if check in self.found else len(self.cells)

    def replace(self, cell: Cell, other: Cell) -> None:
        self.cells[_place(self.cells, cell)] = other


def _place(cells: list[Cell], cell: Cell) -> int:
    return next(i for i, other in enumerate(cells) if other is cell)


def _is_untouched(cell: Cell, released: Cell) -> bool:
    """Whether a cell is as some release had it: this one, or an older one whose checksum it still fits."""
    about = nbgrader_metadata(cell)
    if cell.source.strip() == released.source.strip():
        return True
    if not isinstance(about.get("checksum"), str) or not isinstance(about.get("grade_id"), str):
        return False
    if nbgrader_metadata(released).get("solution") and not any(mark in cell.source for mark in _STUB_MARKS):
        return False  # a program may have computed the checksum anew, and an answer must not be lost for that
    try:
        return bool(compute_checksum(cell) == about["checksum"])
    except (KeyError, AttributeError, TypeError, ValueError):
        return False


def _is_blank(cell: Cell, released: Cell) -> bool:
    """Whether there is nothing of the student's in an answer cell."""
    if not cell.source.strip() or _is_untouched(cell, released):
        return True
    if released.cell_type != "code":
        return False
    return same_code(cell.source, released.source) or (cell.cell_type == "code" and says_nothing(cell.source))


def _code(cell: Cell) -> str:
    return cell.source if cell.cell_type == "code" else code_of(cell.source)


def _join_split(match: _Match) -> None:
    """Join a cell that was split where its parts are not Python and the whole is."""
    start = 0
    while start < len(match.cells):
        first = match.cells[start]
        parts = [first.source]
        for cell in match.cells[start + 1 : start + MAX_PARTS] if first.cell_type == "code" else ():
            other = nbgrader_metadata(cell).get("grade_id") not in (None, nbgrader_metadata(first).get("grade_id"))
            if cell.cell_type != "code" or cell.source.strip() in match.texts or other:
                break
            parts.append(cell.source)
            joined = next((j for j in ("\n".join(parts), "".join(parts)) if parses(j)), None)
            if joined is not None:
                if all(map(parses, parts)):
                    break
                match.say("A cell had been split into parts that are not Python by themselves; they were joined.")
                first.source = joined
                del match.cells[start + 1 : start + len(parts)]
                break
        start += 1


def _claims(match: _Match, cell: Cell) -> int | None:
    """The released cell that a cell's id or metadata says it is, unless what it holds belongs to another one."""
    name = nbgrader_metadata(cell).get("grade_id")
    by_id = [i for i, c in match.wanted.items() if c.id == cell.id]
    by_name = [i for i, c in match.wanted.items() if nbgrader_metadata(c)["grade_id"] == name]
    options = list(dict.fromkeys(by_id + by_name))
    fitting = _fitting(match, cell) if options else set()
    believed = [i for i in options if i in fitting] or ([] if fitting else options)
    return believed[0] if believed else None


def _fitting(match: _Match, cell: Cell) -> set[int]:
    """The released cells that what a cell holds belongs to."""
    text, code = cell.source.strip(), _code(cell)
    held = {piece.text.strip() for piece in pieces(code)} if cell.cell_type == "code" else set()
    there = defines(code) if cell.cell_type == "code" or parses(code) else frozenset()
    return {
        i
        for i, c in match.wanted.items()
        if (text and text == c.source.strip()) or c.source.strip() in held or match.names.get(i, frozenset()) & there
    }


def _by_marks(match: _Match) -> None:
    """Find cells that still say which they are; of several that do, the one in effect at the check."""
    claimed: dict[int, list[Cell]] = {}
    for cell in match.cells:
        index = _claims(match, cell)
        if index is not None:
            claimed.setdefault(index, []).append(cell)
    for index in sorted(claimed, reverse=True):
        same, released = claimed[index], match.wanted[index]
        answered = [cell for cell in same if not _is_blank(cell, released)] or same
        check = match.check_place(index)
        in_time = [cell for cell in answered if _place(match.cells, cell) < check] or answered
        chosen = match.found[index] = in_time[-1]
        if nbgrader_metadata(chosen).get("grade_id") != nbgrader_metadata(released)["grade_id"]:
            match.note_found(chosen, released, "their ids")
        for extra in same:
            if extra is not chosen:
                _demote(match, extra, released)


def _demote(match: _Match, extra: Cell, released: Cell) -> None:
    """A second copy of a cell: an untouched one goes, another one stays as a cell of the student's own."""
    extra.metadata.pop("nbgrader", None)
    if _is_blank(extra, released):
        del match.cells[_place(match.cells, extra)]
        match.say(f"A second copy of the {_call(released)} was taken away.")
    else:
        match.say(
            f"The {_call(released)} was there more than once; the copies were kept as cells of the student's own."
        )


def _part_texts(match: _Match) -> None:
    """Part a given text from what was written into its cell, or merged with it."""
    for index, released in match.wanted.items():
        text = released.source.strip()
        if released.cell_type != "markdown" or not nbgrader_metadata(released).get("locked") or len(text) < MIN_TEXT:
            continue
        own = [match.found[index]] if index in match.found else match.free()
        for cell in own:
            before, there, after = cell.source.partition(text)
            if _is_untouched(cell, released):
                continue
            if cell.cell_type != "markdown" or not there or not (before + after).strip():
                continue
            place = _place(match.cells, cell)
            cell.source = text
            match.cells[place : place + 1] = [
                *([new_markdown_cell(before.strip("\n"))] if before.strip() else []),
                cell,
                *([new_markdown_cell(after.strip("\n"))] if after.strip() else []),
            ]
            match.note("Text had been written into given cells and was parted from them", released)
            break


def _by_content(match: _Match) -> None:
    """Find cells that have lost both id and metadata: by their very text, or by the names they define."""
    for index, released in match.open().items():
        same = [c for c in match.free() if c.source.strip() == released.source.strip() and c.source.strip()]
        alike = [c for c in same if c.cell_type == released.cell_type] or same
        if alike and index not in match.names:
            match.found[index] = alike[0]
            match.note_found(alike[0], released, "their text")
    for index, released in match.open().items():
        alike = [c for c in match.free() if index not in match.names and _is_version(c, released)]
        if alike:
            match.found[index] = alike[0]
            match.note_found(alike[0], released, "what is left of their text")
    for index in match.names.keys() & match.open().keys():
        cell = _best_answer(match, index, blank_too=True)
        if cell is not None and not _others_in(match, cell, index):
            match.found[index] = cell
            match.note_found(cell, match.wanted[index], "the names they define")


def _is_version(cell: Cell, released: Cell) -> bool:
    """Whether a cell that has lost its marks is a changed version of a given cell: its heading, or what it defines."""
    if not nbgrader_metadata(released).get("locked") or cell.cell_type != released.cell_type:
        return False
    if released.cell_type == "code":
        given = {piece.text.strip() for piece in pieces(released.source)}
        same = {piece.text.strip() for piece in pieces(cell.source)} & given
        return len(same) * 2 > len(given) or (
            bool(defines(released.source)) and defines(released.source) <= defines(cell.source)
        )
    heading = released.source.strip().partition("\n")[0]
    return heading.startswith("#") and cell.source.strip().partition("\n")[0] == heading


def _best_answer(match: _Match, index: int, blank_too: bool = False) -> Cell | None:
    """Of the student's own cells the one that answers a task: it defines the most of it, best in time."""
    names, released = match.names[index], match.wanted[index]
    check = match.check_place(index)
    best: tuple[tuple[bool, bool, int, bool, int], Cell] | None = None
    taken = {id(cell) for cell in match.found.values()}
    for place, cell in enumerate(match.cells):
        if id(cell) in taken:
            continue
        code = _code(cell)
        covered = names & defines(code)
        blank = _is_blank(cell, released)
        if not covered or (blank and not blank_too) or (cell.cell_type != "code" and not parses(code)):
            continue
        rank = (not blank, cell.cell_type == "code", len(covered), place < check, place)
        if best is None or rank > best[0]:
            best = rank, cell
    return best[1] if best else None


def _others_in(match: _Match, cell: Cell, index: int) -> set[int]:
    """Other answers that a cell holds as well."""
    there = defines(_code(cell))
    return {i for i, names in match.names.items() if i != index and names & there}


def _part_answers(match: _Match) -> None:
    """Give each answer that was written into a cell with others, or into a given one, a cell of its own."""
    for cell in list(match.cells):
        code = _code(cell)
        if cell.cell_type != "code" and not parses(code):
            continue
        home = next((i for i, c in match.found.items() if c is cell), None)
        held = {i for i, names in match.names.items() if names & defines(code) and i != home}
        moved = {i for i in held if match.is_unanswered(i)}
        if home is None and len(held) < 2:
            continue
        parts: dict[int | None, list[str]] = {home: []}
        owner = home if home is not None else min(moved, default=None)
        for piece in pieces(code):
            named = next((i for i, names in match.names.items() if piece.defines in names), None)
            if named is not None:
                owner = named if named in moved else home
            elif home is not None and piece.text.strip() == match.wanted[home].source.strip():
                owner = home
            parts.setdefault(owner, []).append(piece.text)
        for index in sorted(i for i in parts if i is not None and i != home):
            made = new_code_cell("".join(parts[index]).strip("\n"))
            if _is_blank(made, match.wanted[index]):
                continue
            parts[index].clear()
            if index in match.found:
                del match.cells[_place(match.cells, match.found[index])]
            match.cells.insert(_place(match.cells, cell), made)
            match.found[index] = made
            match.note("Answers that stood in one cell with something else were parted from it", match.wanted[index])
        rest = "".join(text for texts in parts.values() for text in texts).strip("\n")
        if home is None and not rest.strip():
            del match.cells[_place(match.cells, cell)]
        elif cell.cell_type == "code" and moved:
            cell.source = rest


def _fetch_answers(match: _Match) -> None:
    """Take an answer that was written in another cell, where its own is missing or was left alone."""
    for index in [i for i in match.names if match.is_unanswered(i)]:
        cell = _best_answer(match, index)
        if cell is None:
            continue
        check = match.check_place(index)
        anchor = check
        if index in match.found:
            stub = match.found.pop(index)
            stub.metadata.pop("nbgrader", None)
            anchor = _place(match.cells, stub)
            if same_code(stub.source, match.wanted[index].source) or not stub.source.strip():
                del match.cells[anchor]
                check -= anchor < check
        if _place(match.cells, cell) >= check:
            _move_before(match, cell, min(anchor, check))
        match.found[index] = cell
        match.note("Answers stood in another cell and were put into their own", match.wanted[index])
    for index, names in match.names.items():
        if index in match.found and not names <= defines(match.found[index].source):
            _fetch_rest(match, index, names - defines(match.found[index].source))


def _fetch_rest(match: _Match, index: int, missing: frozenset[str]) -> None:
    """Bring what an answer lacks, where a cell behind the check has it, in front of the check."""
    check = match.check_place(index)
    own = {id(cell) for cell in match.free()}
    before = frozenset().union(*(defines(c.source) for c in match.cells[:check] if c.cell_type == "code"))
    for name in sorted(missing - before):
        late = [c for c in match.cells[check:] if id(c) in own and c.cell_type == "code" and name in defines(c.source)]
        if late:
            _move_before(match, late[-1], match.check_place(index))
            match.note("Parts of answers stood behind their checks and were put in front of them", match.wanted[index])


def _move_before(match: _Match, cell: Cell, place: int) -> None:
    """Move a student's cell up, together with the student's own cells that it needs and that stand behind the place."""
    own = {id(c) for c in match.free() if c.cell_type == "code" and c.source.strip() not in match.texts}
    moving = [cell]
    bound = frozenset().union(*(binds(c.source) for c in match.cells[:place] if c.cell_type == "code"))
    needed = set(uses(_code(cell))) - bound
    for other in reversed(match.cells[place : _place(match.cells, cell)]):
        if id(other) in own and binds(other.source) & needed and not _others_in(match, other, -1):
            moving.insert(0, other)
            needed |= uses(other.source) - bound
    for other in moving:
        del match.cells[_place(match.cells, other)]
    match.cells[place:place] = moving


def _by_place(match: _Match) -> None:
    """Find written answers that have lost everything, or were written beside their cell: texts where they belong."""
    match.mended.recognized = len(match.found)
    for index, released in match.wanted.items() if match.found else ():
        if not nbgrader_metadata(released).get("solution") or released.cell_type == "code":
            continue
        if not match.is_unanswered(index):
            continue
        before = max((i for i in match.found if i < index), default=None)
        after = min((i for i in match.found if i > index), default=None)
        low = _place(match.cells, match.found[before]) if before is not None else -1
        high = _place(match.cells, match.found[after]) if after is not None else len(match.cells)
        free = {id(cell) for cell in match.free()}
        texts = [
            cell
            for cell in match.cells[low + 1 : high]
            if id(cell) in free
            and not nbgrader_metadata(cell).get("locked")
            and cell.source.strip()
            and cell.source.strip() not in match.texts
            and (cell.cell_type != "code" or is_prose(cell.source))
        ]
        if not texts:
            continue
        there = match.found.get(index)
        if there is not None:
            del match.cells[_place(match.cells, there)]
            match.note("Written answers stood beside their cell and were put into it", released)
        else:
            match.note_found(texts[0], released, "their place")
        match.found[index] = first = texts[0]
        first.source = "\n\n".join(cell.source.strip("\n") for cell in texts)
        images = {name: data for cell in texts for name, data in attached_images(cell).items()}
        if images and first.cell_type == "markdown":
            first.attachments = NotebookNode(images)
        for cell in texts[1:]:
            del match.cells[_place(match.cells, cell)]


def _restore_released(match: _Match) -> None:
    """Give each found cell its metadata, kind and id back, locked ones their text, stubs of an older release theirs."""
    match.mended.answered = tuple(
        nbgrader_metadata(c)["grade_id"]
        for i, c in match.wanted.items()
        if nbgrader_metadata(c).get("solution") and not match.is_unanswered(i)
    )
    for index, cell in list(match.found.items()):
        released = match.wanted[index]
        about = nbgrader_metadata(cell)
        untouched = _is_untouched(cell, released)
        for key in ("points", "grade", "solution", "locked"):
            if key in about and about[key] != nbgrader_metadata(released).get(key):
                match.note("Points or flags in nbgrader's metadata differed and were set back", released)
        if nbgrader_metadata(released).get("locked"):
            if cell.source.strip() != released.source.strip():
                if untouched:
                    match.note("Cells were of an older release of the assignment and were brought up to date", released)
                else:
                    kept = _keep_additions(match, cell, released)
                    match.say(f"The {_call(released)} was changed; its text was restored{kept}.")
            cell.source = released.source
        elif untouched and cell.source.strip() != released.source.strip():
            match.note("Cells were of an older release of the assignment and were brought up to date", released)
            cell.source = released.source
        if cell.cell_type != released.cell_type:
            remade = deepcopy(released)
            remade.source = code_of(cell.source) if released.cell_type == "code" else cell.source
            match.replace(cell, remade)
            match.found[index] = cell = remade
            match.note("Cells had become cells of another kind", released)
        cell.metadata.nbgrader = deepcopy(released.metadata.nbgrader)
        cell.id = released.id
    for cell in match.free():
        if cell.metadata.pop("nbgrader", None) is not None:
            match.say("A cell with nbgrader's metadata that is not of this assignment was kept as an ordinary cell.")


def _keep_additions(match: _Match, cell: Cell, released: Cell) -> str:
    """Keep what a student wrote into a cell that was not theirs; returns what to say of it.

    What was added to a check cell goes in front of it, where it acts on it, all else below.
    """
    place = _place(match.cells, cell)
    if cell.cell_type != "code" or released.cell_type != "code":
        given = {line.strip() for line in released.source.splitlines()}
        added = "\n".join(line for line in cell.source.splitlines() if line.strip() not in given).strip()
        if not added:
            return ""
        match.cells.insert(place + 1, new_markdown_cell(added))
        return ", and what was written into it is kept below it"
    given_pieces = [piece.text for piece in pieces(released.source)]
    kept = [p for p in pieces(cell.source) if not any(same_code(p.text, given) for given in given_pieces)]
    if not parses(cell.source) or any(p.defines in defines(released.source) for p in kept if p.defines):
        match.cells.insert(place + 1, new_raw_cell(cell.source))
        return ", and what it was changed to is kept below it and is not run"
    if not kept:
        return ""
    is_check = bool(nbgrader_metadata(released).get("grade"))
    match.cells.insert(place + (not is_check), new_code_cell("".join(p.text for p in kept).strip("\n")))
    return ", and what was added to it is kept in a cell of the student's own"


def _restore_missing(match: _Match) -> None:
    """Put cells that were deleted back: locked ones as they were, answers unanswered."""
    for index, released in match.open().items():
        if nbgrader_metadata(released).get("solution"):
            match.note("Answer cells were missing and were put back unanswered", released)
        else:
            match.note("Given cells and check cells were missing and were put back", released)
        match.found[index] = deepcopy(released)


def _restore_order(match: _Match) -> None:
    """Bring the released cells into their order; a cell of the student's own stays behind the one it followed.

    One that stood in front of a check stays in front of it.
    """
    segments: dict[int, list[Cell]] = {i: [cell] for i, cell in match.found.items()}
    places = {id(cell): i for i, cell in match.found.items()}
    first: list[Cell] = []
    current = first
    seen: list[int] = []
    for cell in match.cells:
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
    taken = {id(cell) for cell in match.found.values()}
    seen: set[str] = {c.id for c in match.found.values()}
    for cell in match.cells:
        if id(cell) not in taken:
            while cell.id in seen:
                cell.id = f"{cell.id[:48]}-{len(seen)}"
            seen.add(cell.id)


_STEPS: tuple[Callable[[_Match], None], ...] = (
    _join_split,
    _by_marks,
    _part_texts,
    _by_content,
    _part_answers,
    _fetch_answers,
    _by_place,
    _restore_released,
    _restore_missing,
    _restore_order,
)


def _restore_kernel(mended: Mended, release: NotebookNode) -> None:
    wanted, there = release.metadata.get("kernelspec", {}), mended.notebook.metadata.get("kernelspec", {})
    name = there.get("name") if isinstance(there, dict) else None
    if name != wanted.get("name"):
        what = "another kernel; it was set back to" if name else "no kernel; it was given"
        mended.repairs.append(f"The notebook named {what} the course's.")
    marked = {UNREADABLE: mended.notebook.metadata[UNREADABLE]} if UNREADABLE in mended.notebook.metadata else {}
    mended.notebook.metadata = NotebookNode({"kernelspec": deepcopy(wanted), **marked})


def _call(released: Cell) -> str:
    """What a report calls a cell of the released notebook."""
    about = nbgrader_metadata(released)
    kind = "answer" if about.get("solution") else "check" if about.get("grade") else "given"
    return f"{kind} cell {about['grade_id']}"
