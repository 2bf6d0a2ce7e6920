"""Small changes to a right answer that ought to make it wrong: operators, constants, axes, names, missing lines.

Each mutant changes one place. One that a check lets through shows either a gap in the check or a change that is not
a mistake; ``autograder audit`` lists them all.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_METHODS = {
    "tril": "triu",
    "max": "min",
    "argmax": "argmin",
    "sum": "mean",
    "cos": "sin",
    "exp": "log",
    "append": "clear",
    "tanh": "sigmoid",
}
_METHODS |= {there: here for here, there in _METHODS.items()}
_SYMMETRIC = {"transpose", "swapaxes"}
"""Calls whose arguments may change places."""


@dataclass(frozen=True)
class Mutant:
    """A changed solution cell.

    Attributes:
        line: the line that was changed, as it reads now.
        was: as it read before.
    """

    source: str
    line: str
    was: str


def mutants(source: str, names: frozenset[str] = frozenset()) -> list[Mutant]:
    """All mutants of a solution cell, each once.

    Args:
        source: the cell.
        names: only change what stands in functions and classes of these names; empty: all.
    """
    tree = ast.parse(source)
    original = ast.unparse(tree)
    found: dict[str, Mutant] = {}
    for changed in _changed_trees(tree, names):
        ast.fix_missing_locations(changed)
        text = ast.unparse(changed)
        if text != original and text not in found:
            was, now = _changed_lines(original, text)
            found[text] = Mutant(text, now, was)
    return list(found.values())


def _changed_trees(tree: ast.Module, names: frozenset[str]) -> Iterator[ast.Module]:
    places = [n for top in tree.body if not names or getattr(top, "name", None) in names for n in _bodies(top)]
    indices = {id(node): i for i, node in enumerate(ast.walk(tree))}
    for place in places:
        at = indices[id(place)]
        for change in range(64):
            mutated = copy.deepcopy(tree)
            if not _mutate(mutated, list(ast.walk(mutated))[at], change):
                break
            yield mutated


def _bodies(definition: ast.stmt) -> Iterator[ast.AST]:
    """Everything inside the functions of a definition, except signatures, docstrings and a class's ``__init__``."""
    for node in ast.walk(definition):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            for statement in node.body:
                if not _is_docstring(statement):
                    yield from ast.walk(statement)


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _mutate(tree: ast.Module, node: ast.AST, change: int) -> bool:
    """Make the change-th change there is to make at a node; False if there are fewer."""
    changes = list(_changes(tree, node))
    if change >= len(changes):
        return False
    changes[change]()
    return True


def _changes(tree: ast.Module, node: ast.AST) -> Iterator:
    """The changes to make at one node, as functions without arguments."""
    if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _OPERATORS:
        yield lambda: setattr(node, "op", _OPERATORS[type(node.op)]())
    if isinstance(node, ast.Compare):
        for i, operator in enumerate(node.ops):
            if type(operator) in _OPERATORS:
                yield lambda i=i, operator=operator: node.ops.__setitem__(i, _OPERATORS[type(operator)]())
    if isinstance(node, ast.Constant):
        for value in _other_constants(node.value):
            yield lambda value=value: setattr(node, "value", value)
    if isinstance(node, ast.UnaryOp):
        yield lambda: _replace(tree, node, node.operand)
    if isinstance(node, ast.Subscript):
        yield lambda: _replace(tree, node, node.value)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        for other in _other_locals(tree, node):
            yield lambda other=other: setattr(node, "id", other)
    if isinstance(node, ast.Attribute) and node.attr in _METHODS:
        yield lambda: setattr(node, "attr", _METHODS[node.attr])
    if isinstance(node, ast.Call):
        yield from _call_changes(tree, node)
    if isinstance(node, (ast.If, ast.While)):
        yield lambda: setattr(node, "test", ast.Constant(False))
    if isinstance(node, (ast.Expr, ast.Assign, ast.AugAssign, ast.For, ast.If, ast.Raise, ast.Break, ast.Continue)):
        yield lambda: _replace(tree, node, ast.Pass())
    if isinstance(node, ast.Return) and node.value is not None:
        yield lambda: setattr(node, "value", ast.Constant(None))


def _call_changes(tree: ast.Module, node: ast.Call) -> Iterator:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in list(node.keywords):
        yield lambda keyword=keyword: node.keywords.remove(keyword)
    if len(node.args) >= 2 and name not in _SYMMETRIC:
        yield lambda: node.args.__setitem__(slice(0, 2), [node.args[1], node.args[0]])
    if len(node.args) == 1 and not isinstance(node.args[0], (ast.GeneratorExp, ast.Starred, ast.Constant)):
        yield lambda: _replace(tree, node, node.args[0])
    if isinstance(node.func, ast.Attribute) and not isinstance(node.func.value, ast.Name):
        yield lambda: _replace(tree, node, node.func.value)


def _other_constants(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    if isinstance(value, float):
        return [value + 1.0, value * 0.5 if value else -1.0]
    return []


def _other_locals(tree: ast.Module, node: ast.Name) -> list[str]:
    """Up to two other names to confuse a name with: the next among the arguments and variables of its function."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and any(inner is node for inner in ast.walk(function)):
            names = [a.arg for a in function.args.args if a.arg != "self"]
            stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            names = list(dict.fromkeys([*names, *stored]))
            if node.id in names:
                at = names.index(node.id)
                return [other for other in {*names[at + 1 : at + 2], *names[max(0, at - 1) : at]} if other != node.id]
    return []


def _replace(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                for i, item in enumerate(value):
                    if item is old:
                        value[i] = new


def _changed_lines(before: str, after: str) -> tuple[str, str]:
    """The first line in which two texts differ, in each of them."""
    for was, now in zip(before.splitlines(), after.splitlines(), strict=False):
        if was != now:
            return was.strip(), now.strip()
    return before.splitlines()[-1].strip(), after.splitlines()[-1].strip()
