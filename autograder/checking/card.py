"""Verdicts to look at: a card in the notebook and in the feedback page, and the same as plain text.

Cards carry their colors with them and mix them into whatever background they stand on, so that they read well in
light and in dark. Everything that comes from a student is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from autograder.checking.verdict import CaseVerdict, TaskVerdict

_GREEN, _RED, _AMBER, _BLUE = "#1a7f37", "#c62f2f", "#9a6700", "#3a6fc4"
_COLORS = {"passed": _GREEN, "partial": _AMBER, "manual": _BLUE, "grader-error": _BLUE}
MAX_GROUPS = 3
"""How many different things a card says at once; more would be read by nobody."""

_MARKS = {True: "✓", False: "✗"}


@dataclass(frozen=True)
class Card:
    """One thing to show, as HTML and as plain text."""

    html: str
    plain: str

    @staticmethod
    def text(sentence: str) -> "Card":
        return Card(_frame(_BLUE, f"<div>{_inline(sentence)}</div>"), sentence)


def check_card(verdict: TaskVerdict, has_more_hints: bool = False, first: str = "") -> Card:
    """What a check found, at home.

    Args:
        first: what to say before all else.
    """
    passed = sum(case.passed for case in verdict.cases)
    total = len(verdict.cases)
    title = _title(verdict, passed, total)
    groups = _grouped(verdict.cases)
    footer = ""
    if verdict.status not in ("passed", "grader-error") and has_more_hints:
        footer = f'Stuck? hint("{verdict.task}") gives a hint.'
    if verdict.status == "grader-error":
        groups = [([], verdict.message, "")]
    if verdict.carried:
        groups = [([], say_carried(verdict), ""), *groups]
    if first:
        groups = [([], first, ""), *groups]
    body = "".join(_group_html(names, message, detail) for names, message, detail in groups)
    if passed and passed < total:
        good = ", ".join(case.name for case in verdict.cases if case.passed)
        body += f'<div style="margin-top:.4em;opacity:.8">{_MARKS[True]} Right already: {escape(good)}</div>'
    if footer:
        body += f'<div style="margin-top:.4em;opacity:.8">{_inline(footer)}</div>'
    html = _frame(_COLORS.get(verdict.status, _RED), f"<div><b>{escape(title)}</b></div>{body}")
    return Card(
        html, "\n".join([title, *_plain_groups(groups), *_plain_good(verdict, passed, total), *filter(None, [footer])])
    )


def feedback_card(verdict: TaskVerdict, note: str = "") -> dict[str, str]:
    """The same for a feedback page, as a bundle of display data; it holds no expected value."""
    card = check_card(verdict)
    points = "to be graded by hand" if verdict.score is None else f"{verdict.score:g} of {verdict.max_score:g} points"
    line = f"{points}. {note}".strip()
    html = card.html.replace("</b></div>", f"</b> — {escape(line)}</div>", 1)
    first, _, rest = card.plain.partition("\n")
    return {"text/html": html, "text/plain": "\n".join(filter(None, [f"{first} — {line}", rest]))}


def hint_card(task: str, texts: Sequence[str], total: int) -> Card:
    """The hints given so far."""
    if not texts:
        return Card.text(f"There are no hints for {task}.")
    items = "".join(f'<li style="margin:.2em 0">{_inline(text)}</li>' for text in texts)
    left = total - len(texts)
    more = f"{left} more: call hint again." if left else "That was the last hint."
    html = _frame(
        _BLUE,
        f"<div><b>{escape(task)}: hints</b></div><ol style='margin:.3em 0'>{items}</ol>"
        f"<div style='opacity:.8'>{more}</div>",
    )
    lines = [f"  {i}. {text}" for i, text in enumerate(texts, 1)]
    return Card(html, "\n".join([f"{task}: hints", *lines, more]))


def progress_card(verdicts: Sequence[TaskVerdict]) -> Card:
    """Where a student stands: one row for each task, and the points so far."""
    earned = sum(v.score or 0 for v in verdicts)
    total = sum(v.max_score for v in verdicts)
    share = earned / total if total else 0.0
    rows = "".join(_progress_row(v) for v in verdicts)
    bar = _bar(share, _GREEN)
    title = f"{earned:g} of {total:g} points that are graded automatically"
    html = _frame(
        _GREEN if share == 1 else _BLUE,
        f"<div><b>{title}</b></div>{bar}"
        f"<table style='border-collapse:collapse;margin-top:.4em;background:none'><tbody>{rows}</tbody></table>",
    )
    width = max((len(v.task) for v in verdicts), default=0)
    lines = [f"  {_plain_mark(v)} {v.task:<{width}}  {v.score or 0:g}/{v.max_score:g}" for v in verdicts]
    filled = round(20 * share)
    return Card(html, "\n".join([f"[{'█' * filled}{'·' * (20 - filled)}] {title}", *lines]))


def say_names(names: Sequence[str]) -> str:
    """Names of a notebook in a sentence: `a`, `b` and `c`."""
    marked = [f"`{name}`" for name in names]
    return marked[0] if len(marked) == 1 else f"{', '.join(marked[:-1])} and {marked[-1]}"


def say_carried(verdict: TaskVerdict) -> str:
    """Why a task got better points than its answer alone."""
    return (
        f"A mistake costs its points once: with the right {say_names(verdict.carried)} in the place of yours, "
        f"this answer gets {verdict.score:g} of {verdict.max_score:g} points."
    )


def _title(verdict: TaskVerdict, passed: int, total: int) -> str:
    if verdict.carried and verdict.status == "passed":
        return f"{_MARKS[True]} {verdict.task}: right, but for an earlier mistake"
    if verdict.status == "passed":
        return (
            f"{_MARKS[True]} {verdict.task}: all {total} cases pass" if total > 1 else f"{_MARKS[True]} {verdict.task}"
        )
    if verdict.status == "grader-error":
        return f"{verdict.task}: our fault"
    if verdict.status == "missing":
        return f"○ {verdict.task}: not answered yet"
    return f"{_MARKS[False]} {verdict.task}: {passed} of {total} cases pass"


def _grouped(cases: Sequence[CaseVerdict]) -> list[tuple[list[str], str, str]]:
    """Failed cases that say the same, together: their names, what they say, and the first detail.

    Where all cases fail for one reason, they need no names.
    """
    groups: dict[str, tuple[list[str], str]] = {}
    for case in cases:
        if not case.passed:
            names, _ = groups.setdefault(case.message, ([], case.detail))
            names.append(case.name)
    known = {case.message for case in cases if case.misconception}
    ordered = sorted(groups.items(), key=lambda item: item[0] not in known)
    if len(ordered) == 1 and len(ordered[0][1][0]) == len(cases):
        ((message, (_, detail)),) = ordered
        return [([], message, detail)]
    shown = [(names, message, detail) for message, (names, detail) in ordered[:MAX_GROUPS]]
    left = [name for _, (names, _) in ordered[MAX_GROUPS:] for name in names]
    return [*shown, ([], f"And {', '.join(left)}: look again when these are mended.", "")] if left else shown


def _group_html(names: list[str], message: str, detail: str) -> str:
    html = f'<div style="margin-top:.4em">{_MARKS[False] + " " if names else ""}'
    if names:
        html += f"<i>{escape(', '.join(names))}</i>: "
    html += f"{_inline(message)}</div>"
    if detail:
        style = "margin:.2em 0 0 1.2em;font-size:90%;background:none;color:inherit;white-space:pre-wrap"
        html += f'<pre style="{style}">{escape(detail)}</pre>'
    return html


def _plain_groups(groups: list[tuple[list[str], str, str]]) -> list[str]:
    lines = []
    for names, message, detail in groups:
        lines.append(f"  {_MARKS[False] + ' ' + ', '.join(names) + ': ' if names else ''}{message}")
        lines += [f"      {line}" for line in detail.splitlines()]
    return lines


def _plain_good(verdict: TaskVerdict, passed: int, total: int) -> list[str]:
    if not 0 < passed < total:
        return []
    return [f"  {_MARKS[True]} Right already: {', '.join(c.name for c in verdict.cases if c.passed)}"]


def _progress_row(verdict: TaskVerdict) -> str:
    share = (verdict.score or 0) / verdict.max_score if verdict.max_score else 0.0
    color = _COLORS.get(verdict.status, _RED)
    cells = [
        f"<span style='color:{color}'>{_plain_mark(verdict)}</span>",
        f"<code style='background:none;color:inherit'>{escape(verdict.task)}</code>",
        f"<div style='width:8em'>{_bar(share, color)}</div>",
        f"{verdict.score or 0:g} / {verdict.max_score:g}",
    ]
    return (
        "<tr style='background:none'>"
        + "".join(f"<td style='padding:.1em .5em;text-align:left'>{c}</td>" for c in cells)
        + "</tr>"
    )


def _plain_mark(verdict: TaskVerdict) -> str:
    return {"passed": "✓", "partial": "◐", "missing": "○"}.get(verdict.status, "✗")


def _bar(share: float, color: str) -> str:
    return (
        "<div style='background:rgba(128,128,128,.25);border-radius:4px;height:.6em;margin:.3em 0'>"
        f"<div style='background:{color};width:{100 * share:.0f}%;height:100%;border-radius:4px'></div></div>"
    )


_CLASSES = {_GREEN: "wic-passed", _RED: "wic-failed", _AMBER: "wic-partial", _BLUE: "wic-note"}


def _frame(color: str, inner: str) -> str:
    # Feedback pages drop styles and keep classes, for which they have a style sheet.
    style = f"border-left:4px solid {color};background:rgba(128,128,128,.08);padding:.6em .9em;margin:.3em 0"
    more = "border-radius:3px;line-height:1.45;max-width:60em"
    return f'<div class="wic-card {_CLASSES[color]}" style="{style};{more}">{inner}</div>'


def _inline(text: str) -> str:
    """Escaped text with `backticks` as code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    style = "background:rgba(128,128,128,.15);color:inherit;padding:0 .2em"
    return "".join(f'<code style="{style}">{part}</code>' if i % 2 else part for i, part in enumerate(parts))
