"""What a cell of code defines, and the pieces it can be cut into; also where it is not Python to its end."""

import ast
import re
import warnings
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache

_MAGIC = re.compile(r"^([ \t]*)(?:%%?|!|\?)[^\n]*$", re.MULTILINE)
_DEFINITION = re.compile(r"^(?:async +)?(?:def|class) +(\w+)", re.MULTILINE)
_FENCE = re.compile(r"\A\s*```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Piece:
    """A statement of a cell, with the comments above it.

    Attributes:
        defines: the function or class it defines, if it is one.
    """

    text: str
    defines: str | None


def code_of(text: str) -> str:
    """The code in a text that may have become Markdown: without the fence around it."""
    match = _FENCE.match(text)
    return match[1] if match else text


def sides(text: str) -> tuple[str, str] | None:
    """A text with the marks of a merge conflict as each of the two sides has it; None if it has no such marks."""
    ours: list[str] = []
    theirs: list[str] = []
    both, neither = (ours, theirs), ()
    into: tuple[list[str], ...] = both
    found = False
    for line in text.splitlines(keepends=True):
        if line.startswith("<" * 7) and into is both:
            into, found = (ours,), True
        elif line.startswith("|" * 7) and into is not both:
            into = neither
        elif line.startswith("=" * 7) and into is not both:
            into = (theirs,)
        elif line.startswith(">" * 7) and into is not both:
            into = both
        else:
            for side in into:
                side.append(line)
    return ("".join(ours), "".join(theirs)) if found and into is both else None


def parses(source: str) -> bool:
    """Whether a cell is Python, what IPython adds to it included."""
    return _tree(source) is not None


@lru_cache(maxsize=4096)
def defines(source: str) -> frozenset[str]:
    """Functions and classes that a cell defines, by a statement or by giving a name to another or to a lambda."""
    tree = _tree(source)
    if tree is None:
        return frozenset(_DEFINITION.findall(source))
    return frozenset(name for node in tree.body if (name := _defined(node)) is not None)


@lru_cache(maxsize=4096)
def binds(source: str) -> frozenset[str]:
    """All names that a cell gives a value at its top level, imported ones included."""
    tree = _tree(source)
    if tree is None:
        return defines(source)
    found = set(defines(source))
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(found)


@lru_cache(maxsize=4096)
def uses(source: str) -> frozenset[str]:
    """All names that a cell reads."""
    tree = _tree(source)
    if tree is None:
        return frozenset(re.findall(r"\w+", source))
    return frozenset(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load))


def same_code(source: str, other: str) -> bool:
    """Whether two cells are the same but for white space, comments and docstrings."""
    if source.strip() == other.strip():
        return True
    ours, theirs = _shape(source), _shape(other)
    return ours is not None and ours == theirs


def says_nothing(source: str) -> bool:
    """Whether there is no statement in a cell."""
    tree = _tree(source)
    return tree is not None and not tree.body


def is_prose(source: str) -> bool:
    """Whether a cell of code holds words: it is not Python, or nothing but comments and strings."""
    tree = _tree(source)
    if tree is None:
        return not defines(source)
    return all(isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) for n in tree.body)


@lru_cache(maxsize=256)
def pieces(source: str) -> tuple[Piece, ...]:
    """A cell cut into its statements; put together again they are the cell."""
    tree = _tree(source)
    lines = source.splitlines(keepends=True)
    if tree is None:
        starts = _starts_by_eye(lines)
        names = [found[1] if (found := _DEFINITION.search("".join(lines[s:]))) else None for s in starts]
        if not starts or starts[0] > 0:
            starts, names = [0, *starts], [None, *names]
        ends = [*starts[1:], len(lines)]
    else:
        names = [_defined(node) for node in tree.body] or [None]
        ends = [*[node.end_lineno or node.lineno for node in tree.body[:-1]], len(lines)]
        starts = [0, *ends[:-1]]
        if len(set(starts)) < len(starts):
            return (Piece(source, next((name for name in names if name), None)),)
    return tuple(Piece("".join(lines[s:e]), name) for s, e, name in zip(starts, ends, names, strict=True))


def _starts_by_eye(lines: list[str]) -> list[int]:
    """Where definitions begin in what is not Python to its end, each with its decorators."""
    starts = []
    for number, line in enumerate(lines):
        if _DEFINITION.match(line):
            while number > 0 and lines[number - 1].startswith("@"):
                number -= 1
            starts.append(number)
    return starts


@lru_cache(maxsize=256)
def _tree(source: str) -> ast.Module | None:
    for text in (source, _MAGIC.sub(r"\1pass", source)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return ast.parse(text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue
    return None


@lru_cache(maxsize=4096)
def _shape(source: str) -> str | None:
    try:
        tree = deepcopy(_tree(source))
        if tree is None:
            return None
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                kept = [n for n in body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
                node.body = kept  # type: ignore[attr-defined]
        return ast.dump(tree)
    except RecursionError:
        return None


def _defined(node: ast.stmt) -> str | None:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Lambda, ast.Name, ast.Attribute)):
        target = node.targets[0]
        return target.id if isinstance(target, ast.Name) else None
    return None
