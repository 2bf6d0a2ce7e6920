"""What a grading run prints for an instructor: students, points, mistakes, changes; and what a benchmark prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from autograder.checking.tasks import Ranked
    from autograder.grading.enter import Change
    from autograder.grading.grade import Graded
    from autograder.grading.leaderboard import Line
    from autograder.grading.summary import Summary

MARKS = {
    "passed": "[green]✓[/]",
    "partial": "[yellow]◐[/]",
    "missing": "[dim]○[/]",
    "manual": "[blue]…[/]",
    "grader-error": "[blue]![/]",
}
MOST_ROWS = 60
MOST_MISTAKES = 10
_LEVELS = " ▁▂▃▄▅▆▇█"


def print_graded(out: Console, graded: "Graded", dry_run: bool = False) -> None:
    """Everything about a run: the class, the changes, how the points fall, the mistakes to talk about."""
    print_class(out, graded.reports)
    for summary in graded.summaries:
        print_points(out, summary)
        print_mistakes(out, summary)
    if dry_run or graded.changes:
        print_changes(out, graded.changes, dry_run)
    if dry_run:
        out.print(f"{graded.new} of {len(graded.reports)} submissions are not in the gradebook yet.")
    for path in graded.pictures:
        out.print(f"A picture of the class: {shown_path(path)}", soft_wrap=True)
    if graded.backup:
        out.print(f"The gradebook as it was before: {shown_path(graded.backup)}", soft_wrap=True)


def print_class(out: Console, reports: Sequence[dict[str, Any]]) -> None:
    """A table of students and tasks, one for each assignment; for a large class only the sums."""
    for assignment in dict.fromkeys(report["assignment"] for report in reports):
        rows = [report for report in reports if report["assignment"] == assignment]
        names = list(rows[0]["tasks"])
        title = f"{assignment}: {len(rows)} submissions, {rows[0]['max_score']:g} points graded automatically"
        table = Table(title=title, caption=_legend(names), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("student", no_wrap=True)
        for heading in [*(str(i) for i in range(1, len(names) + 1)), "points", "mended"]:
            table.add_column(heading, justify="right", no_wrap=True)
        for report in rows if len(rows) <= MOST_ROWS else []:
            cells = [_points(task) for task in report["tasks"].values()]
            total = f"[bold]{report['score']:.1f}[/]"
            table.add_row(escape(report["student"]), *cells, total, str(len(report["repairs"]) or ""))
        means = [sum(r["tasks"][name]["score"] or 0 for r in rows) / len(rows) for name in names]
        overall = sum(r["score"] for r in rows) / len(rows)
        table.add_section()
        table.add_row("mean", *(f"{mean:.1f}" for mean in means), f"{overall:.1f}", "")
        out.print(table)


def print_points(out: Console, summary: "Summary") -> None:
    """How the points fall in each task: a bar for each tenth of them, from none to all."""
    table = Table(
        title=f"{summary.assignment}: how the points fall",
        caption=f"{len(summary.histogram)} bars: students with none to all of the points",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("task", overflow="fold")
    for heading in ("points", "mean", "none → all", "all", "none", "left out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for task in summary.tasks:
        by = task.students
        table.add_row(
            task.task,
            f"{task.max_score:g}",
            f"{task.mean:.1f}",
            bars(task.histogram),
            *(_count(by[name]) for name in ("all points", "none", "not answered")),
        )
    table.add_section()
    table.add_row("together", f"{summary.max_score:g}", f"{summary.mean:.1f}", bars(summary.histogram), "", "", "")
    out.print(table)


def print_mistakes(out: Console, summary: "Summary") -> None:
    """The known mistakes of the class, most frequent first."""
    if not summary.mistakes:
        return
    rest = len(summary.mistakes) - MOST_MISTAKES
    table = Table(
        title=f"{summary.assignment}: the most frequent mistakes",
        caption=f"and {rest} more, see --json" if rest > 0 else None,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("students", justify="right", no_wrap=True)
    table.add_column("task", overflow="fold")
    table.add_column("what is said about it", overflow="fold")
    for mistake in summary.mistakes[:MOST_MISTAKES]:
        table.add_row(str(mistake.students), mistake.task, escape(mistake.sentence))
    out.print(table)


def print_leaderboard(out: Console, name: str, lines: Sequence["Line"], board: Mapping[str, "Ranked"]) -> None:
    """Who reached what, the best first; those who have no number to be ranked by stand at the end."""
    table = Table(title=f"{name}: leaderboard", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("name", overflow="fold")
    for column in board:
        table.add_column(column, justify="right", no_wrap=True)
    for line in lines:
        numbers = [_measured(line.numbers[column], ranked.digits) for column, ranked in board.items()]
        table.add_row("" if line.rank is None else str(line.rank), escape(line.name), *numbers)
    out.print(table)


def _measured(value: float | None, digits: int) -> str:
    return "[dim]–[/]" if value is None else f"{value:,.{digits}f}"


def print_changes(out: Console, changes: Sequence["Change"], dry_run: bool) -> None:
    """Points in the gradebook that a regrade replaced, or would replace."""
    if not changes:
        out.print("No points in the gradebook would change.")
        return
    caption = "by hand: what a person gave, which stays" if any(c.by_hand is not None for c in changes) else None
    title = "Points that would change" if dry_run else "Points that changed"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("student", "assignment", "task"):
        table.add_column(heading, overflow="fold")
    for heading in ("before", "after", "by hand"):
        table.add_column(heading, justify="right", no_wrap=True)
    for change in changes[:MOST_ROWS]:
        after = MARKS["grader-error"] if change.after is None else f"{change.after:g}"
        by_hand = "" if change.by_hand is None else f"{change.by_hand:g}"
        table.add_row(escape(change.student), change.assignment, change.task, f"{change.before:g}", after, by_hand)
    out.print(table)
    if len(changes) > MOST_ROWS:
        out.print(f"… and {len(changes) - MOST_ROWS} more, see --json.")


def print_comparison(out: Console, compared: dict[str, Any]) -> None:
    """What ``autograder bench grading`` found."""
    rounds, workers = compared["rounds"], compared["workers"]
    what = f"{compared['assignment']}{', with a training' if compared['training'] else ''}"
    table = Table(
        title=f"{what}: {compared['submissions']} submissions, seconds for each",
        caption=f"{rounds} round{'s' * (rounds > 1)}, in turn; ours with {workers} worker{'s' * (workers > 1)}",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    for heading in ("median", "least", "most"):
        table.add_column(heading, justify="right")
    for label, name, digits in (
        ("stock nbgrader, with feedback", "stock_seconds", 2),
        ("stock nbgrader, autograde alone", "stock_autograde_seconds", 2),
        ("ours, with feedback", "our_seconds", 2),
        ("times as fast", "ratio", 1),
        ("times as fast as autograde alone", "ratio_to_autograde", 1),
    ):
        table.add_row(label, *(f"{compared[name][part]:.{digits}f}" for part in ("median", "min", "max")))
    out.print(table)
    for judged in compared["differences"]:
        points = f"{judged['stock_points']} points, ours {judged['our_points']}"
        out.print(f"[red]They differ:[/] {judged['student']}, {judged['task']}: stock nbgrader gives {points}.")
    if compared["points_agree"]:
        out.print(f"They agree on all {compared['answers_compared']} answers on which they should.")
    for judged in compared["left_out"]:
        points = f"{judged['stock_points']:g} and {judged['our_points']:g} of {judged['max_points']:g} points"
        out.print(f"[dim]Not counted:[/] {judged['student']}, {judged['task']}: {points} ({judged['left_out']})")


def print_scale(out: Console, measured: dict[str, Any]) -> None:
    """What ``autograder bench scale`` found."""
    table = Table(
        title="What grading costs",
        caption="s: seconds for each submission; MiB: of a worker with its sandbox, and of the grader, at the most; "
        "growth: from the first tenth of a run to the last",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("submissions", "workers", "seconds", "s", "worker MiB", "growth", "grader MiB", "growth"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run in measured["runs"]:
        memory = [
            text
            for part in ("worker_mib", "grader_mib")
            for text in (
                f"{run[part]['max']:.0f}",
                "" if run[part]["growth"] is None else f"{run[part]['growth']:+.0f}",
            )
        ]
        table.add_row(
            str(run["submissions"]),
            str(run["workers"]),
            f"{run['seconds']:.0f}",
            f"{run['seconds_per_submission']:.2f}",
            *memory,
        )
    out.print(table)
    ready = measured["ready_milliseconds"]
    out.print(
        f"A notebook's process is ready after {ready['median']:.0f} ms ({ready['min']:.0f} to {ready['max']:.0f})."
    )
    if "model" in measured:
        model, large = measured["model"], measured["large"]
        out.print(
            f"seconds = {model['start']:.1f} + {model['a']:.2f} · n / workers + {model['b']:.2f} · n, "
            f"within {model['error']:.0%} of what was measured",
            highlight=False,
        )
        needed = large["workers_for_one_hour"]
        within = (
            f"{needed} workers would do it in an hour"
            if needed
            else f"not in an hour by any number: entering points alone takes {large['grader_hours']} hours"
        )
        out.print(
            f"{large['submissions']:,} submissions: {large['hours']} hours with {large['workers']} workers; {within}.",
            highlight=False,
        )
    if measured["picture"]:
        out.print(f"A picture: {shown_path(Path(measured['picture']))}", soft_wrap=True)


def bars(counts: Sequence[int]) -> str:
    """A histogram in one line of text."""
    most = max(counts)
    return "".join(_LEVELS[-(-count * (len(_LEVELS) - 1) // most)] if most else " " for count in counts)


def shown_path(path: Path) -> str:
    """A path as a link, from here on if it lies under the working directory."""
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"[link={path.as_uri()}]{escape(str(shown))}[/link]"


def _count(number: int) -> str:
    return str(number or "")


def _legend(names: Sequence[str]) -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(names, 1)) + "; … by hand, ! our fault"


def _points(task: dict[str, Any]) -> str:
    if task["score"] is None:
        return MARKS[task["status"]]
    color = {"passed": "green", "partial": "yellow", "missing": "dim"}.get(task["status"], "red")
    return f"[{color}]{round(task['score'], 1):g}[/]"


def race_line(race: dict[str, Any]) -> str:
    """One race of ``autograder bench models``, as a line."""
    size = f", d {race['d_model']}, T {race['T']}, B {race['B']}" if "T" in race else ""
    mode = f", {race['mode']}" if "mode" in race else ""
    return f"{race['model']}{mode}{size}: {_ratio(race)}"


def _ratio(race: dict[str, Any]) -> str:
    ratio = race["ratio"]
    return f"{ratio['median']:.2f} ({ratio['lower_bound']:.2f}; {ratio['min']:.2f} to {ratio['max']:.2f})"


def print_races(out: Console, races: list[dict[str, Any]]) -> None:
    """What ``autograder bench models`` found."""
    table = Table(
        title="Our models against the field's",
        caption="ratio: their time divided by ours, above 1 ours is faster: the median (the lower end of its 95 % "
        "interval; the least to the most)",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for heading in ("model", "mode"):
        table.add_column(heading)
    for heading in ("d", "T", "B", "ours", "theirs", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for race in races:
        times = [_seconds(race[side]["median"]) for side in ("our_seconds", "their_seconds")]
        size = [str(race.get(name, "")) for name in ("d_model", "T", "B")]
        table.add_row(race["model"], race.get("mode", ""), *size, *times, _ratio(race))
    out.print(table)
    for race in races:
        for name, found in race.get("similarity", {}).items():
            sides = "; ".join(
                f"{side} {', '.join(f'{score:.3f}' for score in found[side])}" for side in found if side != "covered"
            )
            out.print(f"{race['model']}, {name} ({found['covered']} pairs): {sides}", highlight=False)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"
