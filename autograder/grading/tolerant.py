"""JSON as people and programs break it: cut off, edited by hand, merged, or printed by Python."""

import json
import re
from typing import Any

MAX_TEXT = 64 << 20
"""Broken text longer than this is not read; it would take minutes."""

_TOKEN = re.compile(r'[{}\[\]:,]|"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?|//[^\n]*|[^\s{}\[\]:,"\']+')
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None, "NaN": None}


class Duplicates:
    """A hook for ``json.loads`` that loses nothing where a key is given twice.

    Attributes:
        found: the keys that were.
    """

    def __init__(self) -> None:
        self.found: set[str] = set()

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                self.found.add(key)
                if key == "cells" and isinstance(made[key], list) and isinstance(value, list):
                    value = made[key] + value
                elif not value:
                    value = made[key]
            made[key] = value
        return made


def parse(text: str) -> tuple[Any, bool]:
    """Read what can be read of broken JSON: commas may be missing or too many, and the end may be.

    Returns:
        what was read (None if nothing), and whether it was cut off at its end.
    """
    root: Any = None
    stack: list[tuple[Any, list[str]]] = []

    def put(value: Any) -> None:
        nonlocal root
        if not stack:
            root = value if root is None else root
            return
        container, pending = stack[-1]
        if isinstance(container, list):
            container.append(value)
        elif pending:
            container[pending.pop()] = value
        elif isinstance(value, str):
            pending.append(value)

    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in "{[":
            made: Any = {} if token == "{" else []
            put(made)
            stack.append((made, []))
        elif token in "}]":
            kind = dict if token == "}" else list
            if any(isinstance(container, kind) for container, _ in stack):
                while not isinstance(stack.pop()[0], kind):
                    pass
            if not stack and root is not None:
                return root, False
        elif token == ",":
            if stack:
                stack[-1][1].clear()
        elif token != ":" and not token.startswith("//"):
            put(_value(token))
    return root, True


def _value(token: str) -> Any:
    if token[0] not in "\"'":
        return _WORDS[token] if token in _WORDS else _number(token)
    mark, inner = token[0], token[1:]
    if len(token) > 1 and token.endswith(mark) and not re.search(r"(?<!\\)(?:\\\\)*\\.$", token):
        inner = inner[:-1]
    if mark == "'":
        inner = re.sub(r'(?<!\\)"', r'\\"', inner).replace("\\'", "'")
    inner = re.sub(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)', lambda m: m[0] if m[1] else "\\\\", inner)
    try:
        return json.loads(f'"{inner}"', strict=False)
    except ValueError:
        return inner


def _number(token: str) -> Any:
    try:
        return float(token) if re.search(r"[.eE]", token) else int(token)
    except ValueError:
        return token
