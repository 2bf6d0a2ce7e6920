"""The command ``autograder``: grading from release to formgrader, the audit of tasks, the data, and benchmarks.

Results go to standard output, progress to standard error. What takes torch is imported inside the commands, so that
help comes at once.
"""

import errno
import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from autograder.live import live_progress
from autograder.tables import (
    MARKS,
    print_comparison,
    print_graded,
    print_leaderboard,
    print_races,
    print_scale,
    race_line,
    shown_path,
)

app = typer.Typer(
    help="Release, check and grade the exercises of Words in Context.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
bench = typer.Typer(help="Measure what grading costs. Let nothing else run meanwhile.", no_args_is_help=True)
app.add_typer(bench, name="bench")
out = Console()
err = Console(stderr=True)

Names = Annotated[list[str] | None, typer.Argument(metavar="[ASSIGNMENT]...", help="All assignments if none is named.")]
CourseOption = Annotated[
    Path | None, typer.Option("--course", metavar="DIR", help="The course directory; by default the one you are in.")
]
Unsafe = Annotated[
    bool,
    typer.Option("--unsafe", help="Grade without a sandbox, if you trust every notebook as you trust yourself."),
]
BenchFolder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Where to make the courses; by default build/bench.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def main() -> None:
    """Run the command; what a person can mend ends in one sentence and a non-zero exit."""
    with plain_errors():
        app()


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn errors that a person can do something about into a sentence."""
    try:
        yield
    except KeyboardInterrupt:
        _fail("Stopped. What was done is kept; run the same command again to go on.", 130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail("The disk is full. Make room and run the same command again; nothing was lost.")
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except Exception as error:
        known = (
            "CourseError",
            "CourseBusy",
            "NbgraderError",
            "SandboxError",
            "NoSandbox",
            "ClusterError",
            "TaskError",
            "BenchError",
            "DataError",
        )
        if type(error).__name__ not in known:
            raise
        _fail(str(error))


def _fail(sentence: str, code: int = 1) -> NoReturn:
    err.print(sentence, markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _print_json(document: Any) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=1))


def _protect(unsafe: bool) -> None:
    """Make sure of the sandbox before any student's code is run, or note that it is to be done without."""
    import os

    from autograder.grading.sandbox import UNSAFE, demand_sandbox

    if unsafe:
        os.environ[UNSAFE] = "1"
        err.print("[yellow]Without a sandbox:[/] the notebooks' code runs with your rights.")
    demand_sandbox()


def _course(folder: Path | None) -> Any:
    from autograder.course import Course

    return Course.default() if folder is None else Course.at(folder)


@app.command()
def release(names: Names = None, course: CourseOption = None, as_json: Json = False) -> None:
    """Make the students' notebooks of the solutions, and enter them in the gradebook."""
    from autograder.grading.release import release as release_one

    opened = _course(course)
    done = []
    for assignment in opened.selected(names or []):
        with err.status(f"Releasing {assignment.name} ..."):
            release_one(opened, assignment)
        done.append({"assignment": assignment.name, "notebook": str(assignment.release_path.relative_to(opened.root))})
    if as_json:
        _print_json({"released": done})
    else:
        for record in done:
            out.print(f"Released [bold]{record['assignment']}[/] to {record['notebook']}")


@app.command()
def tasks(names: Names = None, course: CourseOption = None, as_json: Json = False) -> None:
    """List what the released notebooks ask for."""
    from autograder.course import graded_cells

    listed = [
        {
            "assignment": assignment.name,
            "task": cell.id,
            "points": cell.points,
            "manual": cell.manual,
            "asks_for": [{"name": asked.name, "signature": asked.signature} for asked in cell.asks_for],
            "minutes": cell.minutes,
            "difficulty": cell.difficulty,
        }
        for assignment in _course(course).selected(names or [])
        for cell in graded_cells(assignment.release)
    ]
    if as_json:
        _print_json({"tasks": listed})
        return
    for assignment_name in dict.fromkeys(str(record["assignment"]) for record in listed):
        table = Table(title=assignment_name, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in ("task", "points", "min", "difficulty"):
            table.add_column(column, no_wrap=True)
        table.add_column("asks for", overflow="fold")
        for record in (r for r in listed if r["assignment"] == assignment_name):
            asks = "\n".join(asked["signature"] for asked in record["asks_for"]) or "[dim]a written answer[/]"
            dots = "●" * (record["difficulty"] or 0)
            table.add_row(record["task"], f"{record['points']:g}", str(record["minutes"]), dots, asks)
        out.print(table)


@app.command()
def check(
    notebook: Annotated[Path, typer.Argument(help="The notebook to try, from its first cell.")],
    course: CourseOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Check again whenever the notebook is saved.")] = False,
    as_json: Json = False,
) -> None:
    """Try a notebook as its check cells do, in a fresh process. Exits with 1 if a task is not passed."""
    if not notebook.exists():
        _fail(f"There is no notebook {notebook}.", 2)
    opened = _course(course)
    passed = _check_once(opened, notebook, as_json) if not watch else _check_patiently(opened, notebook, as_json)
    if watch:
        from watchfiles import watch as changes

        err.print(f"Watching {notebook}; Ctrl-C ends it.", markup=False)
        for _ in changes(notebook.parent, watch_filter=lambda _, path: Path(path).name == notebook.name):
            if notebook.exists():
                passed = _check_patiently(opened, notebook, as_json)
    raise typer.Exit(0 if passed else 1)


def _check_patiently(course: Any, notebook: Path, as_json: bool) -> bool:
    """Check a notebook that is being worked on: one that is half saved is said to be so, and waited for."""
    from autograder.course import CourseError

    try:
        return _check_once(course, notebook, as_json)
    except CourseError as error:
        err.print(str(error), markup=False, highlight=False, soft_wrap=True)
        return False


def _check_once(course: Any, notebook: Path, as_json: bool) -> bool:
    from autograder.checking.given import HOME_SEED
    from autograder.course import CourseError
    from autograder.grading.intake import recognize
    from autograder.grading.mend import mend
    from autograder.grading.reading import Unreadable
    from autograder.grading.run import judge_notebook

    assignment_name = recognize(notebook.name, notebook.read_bytes, course.assignments.values())
    if assignment_name is None:
        named = ", ".join(a.release_path.name for a in course.assignments.values())
        raise CourseError(f"{notebook.name} is not the notebook of an assignment. There are: {named}.")
    assignment = course.assignment(assignment_name)
    with err.status("Starting ...") as status:
        try:
            mended = mend(notebook.read_bytes(), assignment)
        except Unreadable as error:
            raise CourseError(f"{notebook} cannot be read: {error}.") from error
        verdict = judge_notebook(
            mended.notebook,
            assignment,
            HOME_SEED,
            on_task=lambda task: status.update(f"Checking {task} ..."),
            at_home=True,
        )
    report = verdict.report(None, mended.repairs)
    if as_json:
        _print_json(report)
    else:
        _print_report(report)
    return all(task["status"] in ("passed", "manual") for task in report["tasks"].values())


def _print_report(report: dict[str, Any]) -> None:
    out.print(f"[bold]{report['assignment']}: {report['score']:g} of {report['max_score']:g} points[/]")
    for name, task in report["tasks"].items():
        points = "by hand" if task["score"] is None else f"{task['score']:g}/{task['max_score']:g}"
        out.print(f"{MARKS.get(task['status'], '[red]✗[/]')} {name}  [dim]{points}[/]", highlight=False)
        if task["message"]:
            out.print(Padding(Text(task["message"]), (0, 0, 0, 4)))
    for line in [*report["repairs"], *report["notes"]]:
        out.print(f"- {line}", markup=False, highlight=False)


@app.command()
def collect(names: Names = None, course: CourseOption = None, as_json: Json = False) -> None:
    """Mend what arrived in received/ into submitted/, and say what was mended."""
    from autograder.grading.files import only_run
    from autograder.grading.grade import ensure_released
    from autograder.grading.intake import collect as collect_all

    opened = _course(course)
    assignments = opened.selected(names or [])
    with only_run(opened.root), err.status("Collecting ...") as status:
        assignments, problems = ensure_released(opened, assignments)
        found = collect_all(opened, assignments, on_file=lambda path: status.update(f"Mending {_short(path)} ..."))
    found.submissions.sort(key=lambda submission: (submission.assignment, submission.student))
    if as_json:
        records = [
            {"student": s.student, "assignment": s.assignment, "repairs": list(s.repairs), "problem": s.problem}
            for s in found.submissions
        ]
        _print_json({"collected": records, "warnings": problems + found.warnings})
    else:
        for submission in found.submissions:
            for line in [*submission.repairs, *([submission.problem] if submission.problem else [])]:
                out.print(f"{submission.student}, {submission.assignment}: {line}", markup=False, highlight=False)
        out.print(f"{len(found.submissions)} submissions collected.")
        _warn(problems + found.warnings)
    if not found.submissions:
        _fail(f"Nothing has arrived: put submissions into {opened.received_directory.name}/.")


def _short(path: str) -> str:
    return path if len(path) < 60 else "…" + path[-59:]


def _warn(warnings: list[str]) -> None:
    for warning in warnings:
        err.print(f"[yellow]Note:[/] {escape(warning)}", highlight=False, soft_wrap=True)


@app.command()
def grade(
    names: Names = None,
    course: CourseOption = None,
    student: Annotated[str | None, typer.Option("--student", metavar="ID", help="Only this student.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default and at most one a core.")] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Let the workers of this Dask scheduler make the verdicts.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Grade again what is graded already.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Change nothing in the gradebook; show which points would change.")
    ] = False,
    unsafe: Unsafe = False,
    as_json: Json = False,
) -> None:
    """Collect, grade in parallel, and let nbgrader write the gradebook and the feedback pages.

    What is graded already is done again only where the submission, its tasks or what grades them has changed. Manual
    grades and comments stay; the gradebook is copied to backups/ before points in it change.

    Exits with 0 when every submission has a verdict, whatever its points, and the gradebook has it, else with 1.
    """
    opened = _course(course)
    chosen = opened.selected(names or [])
    if cluster is None:
        from autograder.grading.forkserver import start_forkserver

        start_forkserver()
        _protect(unsafe)
    from autograder.grading.grade import grade as grade_all

    gc.freeze()  # what was imported stays; to look through it again and again would cost seconds
    with _crew(workers, cluster) as crew, live_progress(err) as progress:
        graded = grade_all(opened, chosen, student, crew, force, dry_run, progress)
    if as_json:
        _print_json(graded.to_json())
    else:
        print_graded(out, graded, dry_run)
        _warn(graded.warnings + graded.not_entered)
    raise typer.Exit(0 if graded.complete else 1)


@contextmanager
def _crew(workers: int | None, cluster: str | None) -> Iterator[Any]:
    """Who makes verdicts: processes of this machine, or a cluster's."""
    from autograder.grading.workers import LocalCrew

    if cluster is None:
        crew = LocalCrew(workers)
        if workers is not None and crew.workers < workers:
            err.print(f"{crew.workers} workers, not {workers}: more than there are cores would be slower.")
        yield crew
        return
    if workers is not None:
        _fail("--workers counts processes of this machine; a --cluster has its own.", 2)
    try:
        from autograder.grading.cluster import DaskCrew
    except ImportError as error:
        _fail(str(error))
    with err.status(f"Preparing the workers at {cluster} ..."):
        team = DaskCrew(cluster)
    with team:
        yield team


@app.command()
def export(
    form: Annotated[str, typer.Argument(metavar="FORMAT", help="canvas, moodle, csv or gradescope.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ASSIGNMENT]...", help="All that are graded if none is named.")
    ] = None,
    course: CourseOption = None,
    output: Annotated[
        Path | None, typer.Option(metavar="PATH", help="A file or a folder; by default the course's exports/.")
    ] = None,
    roster: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What Canvas or Moodle exported; its ids and columns are kept."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="ASSIGNMENT=NAME", help="The other system's column of an assignment."),
    ] = None,
    identifier: Annotated[
        str | None, typer.Option(metavar="KIND", help="Moodle's: username, email or idnumber.")
    ] = None,
    feedback: Annotated[bool, typer.Option("--feedback", help="With a column of feedback (moodle, csv).")] = False,
    include_ungraded: Annotated[
        bool, typer.Option("--include-ungraded", help="Also points of submissions that a person must still grade.")
    ] = False,
    missing_as_zero: Annotated[
        bool, typer.Option("--missing-as-zero", help="0 points where nothing was handed in.")
    ] = False,
    scale: Annotated[bool, typer.Option("--scale", help="Scale scores to the roster's points possible.")] = False,
    as_json: Json = False,
) -> None:
    """Write scores for Canvas, Moodle, Gradescope or a spreadsheet. What is not ready is left blank, and listed."""
    from autograder.grading.export import FORMATS, Options, graded_gradebook
    from autograder.grading.export import export as export_scores

    if form not in FORMATS:
        _fail(f"There is no format {form!r}. There are: {', '.join(FORMATS)}.", 2)
    opened = _course(course)
    columns = dict(_named_column(text) for text in column or [])
    options = Options(roster, columns, identifier, feedback, include_ungraded, missing_as_zero, scale)
    with err.status("Exporting ...") as status, graded_gradebook(opened) as gradebook:
        exported = export_scores(
            opened, gradebook, form, names or [], output, options, lambda what: status.update(f"Writing {what} ...")
        )
    if as_json:
        _print_json(exported.to_json())
        return
    here = Path.cwd()
    files = [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in exported.files]
    _list_some(f"Scores of {exported.students} students written to", files, most=3)
    reasons = dict.fromkeys(record["reason"] for record in exported.left_blank)
    for reason in reasons:
        blank = [r for r in exported.left_blank if r["reason"] == reason]
        _list_some(f"Left blank, {reason}", [f"{r['student']} ({r['assignment']})" for r in blank])
    _list_some("Not in the roster", exported.unmatched if roster else [])
    _list_some("Only in the roster", exported.roster_only)
    _warn(exported.warnings)


def _named_column(text: str) -> tuple[str, str]:
    assignment, equals, name = text.partition("=")
    if not (assignment and equals and name):
        _fail(f"--column takes ASSIGNMENT=NAME, not {text!r}.", 2)
    return assignment, name


def _list_some(heading: str, names: list[str], most: int = 8) -> None:
    """A heading and the first of some names."""
    if names:
        more = f" and {len(names) - most} more (--json lists all)" if len(names) > most else ""
        out.print(f"{heading}: {', '.join(names[:most])}{more}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def leaderboard(
    name: Annotated[str, typer.Argument(metavar="ASSIGNMENT", help="One that measures, such as 11-capstone.")],
    course: CourseOption = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV file; by default in the course's exports/.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rank a graded class by what was measured, and write the list. Students are shown by the alias they chose."""
    from dataclasses import asdict

    from autograder.grading.leaderboard import columns, write_leaderboard
    from autograder.grading.leaderboard import leaderboard as rank_all

    opened = _course(course)
    assignment = opened.assignment(name)
    with err.status("Reading verdicts ..."):
        lines = rank_all(opened, assignment)
        path = write_leaderboard(opened, assignment, lines, output)
    if as_json:
        _print_json({"assignment": name, "file": str(path), "lines": [asdict(line) for line in lines]})
        return
    print_leaderboard(out, name, lines, columns(assignment))
    out.print(f"Written to {shown_path(path)}", highlight=False, soft_wrap=True)


@app.command()
def explain(
    student: Annotated[str, typer.Argument(help="The student's id.")],
    task: Annotated[str, typer.Argument(help="The task's id.")],
    assignment: Annotated[str | None, typer.Option(help="If more than one assignment has a task of this name.")] = None,
    course: CourseOption = None,
    unsafe: Unsafe = False,
    as_json: Json = False,
) -> None:
    """Replay a verdict, for an appeal: what was kept, and what the same seed gives now."""
    from autograder.grading.explain import explain as explain_one

    _protect(unsafe)
    with err.status("Replaying ..."):
        told = explain_one(_course(course), student, task, assignment)
    if as_json:
        _print_json(told)
        return
    out.print(f"[bold]{told['student']}, {told['assignment']}, {told['task']}[/]")
    for when in ("kept", "replayed"):
        record = told[when]
        score = "by hand" if record["score"] is None else f"{record['score']:g} of {record['max_score']:g} points"
        out.print(f"\n{when}: {score}, {record['status']}")
        if record["carried"]:
            out.print(f"  judged again with the worked {' and '.join(record['carried'])}; its own cases:", markup=False)
        for case in record["cases"]:
            mark = "[green]✓[/]" if case["passed"] else "[red]✗[/]"
            out.print(f"  {mark} {case['name']} (weight {case['weight']:g})", highlight=False)
            for line in filter(None, [case["message"], *case["detail"].splitlines()]):
                out.print(f"      {line}", markup=False, highlight=False)
    out.print("\nThe two agree." if told["agrees"] else "\n[yellow]The two differ.[/] Grade again with --force.")


@app.command()
def audit(
    names: Names = None,
    course: CourseOption = None,
    recording: Annotated[
        bool, typer.Option("--record", help="Afterwards keep what known mistakes answer, for copies without solutions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Prove the checks: stubs, known mistakes, other right answers and mutants. Exits with 1 if any falls short."""
    from dataclasses import asdict

    from autograder.checking.audit import audit as audit_one
    from autograder.checking.audit import too_many_survivors
    from autograder.checking.recorded import record
    from autograder.checking.worked import Worked

    records, problems = [], []
    for assignment in _course(course).selected(names or []):
        with err.status("") as status:
            found = audit_one(assignment, _telling(status, assignment.name))
            if recording:
                record(assignment.module_name, Worked(assignment))
        records += [asdict(one) for one in found]
        problems += [f"{one.task}: {problem}" for one in found for problem in one.problems]
        problems += [f"{assignment.name}: {too_many}" for too_many in [too_many_survivors(found)] if too_many]
    if as_json:
        _print_json({"tasks": records, "problems": problems})
    else:
        _print_audit(records)
        for problem in problems:
            out.print(f"✗ {problem}", markup=False, highlight=False)
        out.print("Nothing falls short." if not problems else "")
    raise typer.Exit(1 if problems else 0)


def _telling(status: Any, assignment: str) -> Callable[[str], None]:
    return lambda task: status.update(f"Auditing {assignment}: {task} ...")


def _print_audit(records: list[dict[str, Any]]) -> None:
    caption = "right, wrong: how far right answers and mistakes are from the worked answer, in tolerances"
    table = Table(title="Audit", caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold")
    for column in ("stub", "solved", "named", "accepted", "alive", "right", "wrong", "s"):
        table.add_column(column, justify="right", no_wrap=True)
    for record in records:
        named = sum(m["caught"] and m["named"] for m in record["misconceptions"])
        accepted = sum(a["accepted"] for a in record["alternatives"])
        table.add_row(
            record["task"],
            "fails" if record["stub_fails"] else "[red]passes[/]",
            "yes" if record["solution_passes"] else "[red]no[/]",
            f"{named}/{len(record['misconceptions'])}",
            f"{accepted}/{len(record['alternatives'])}",
            f"{len(record['survivors'])}/{record['mutants']}",
            f"{record['widest_answer']:.1g}" if record["widest_answer"] is not None else "",
            f"{record['closest_mistake']:.0f}" if record["closest_mistake"] is not None else "",
            f"{record['seconds']:.1f}",
        )
    out.print(table)


@app.command()
def demo(
    everything: Annotated[bool, typer.Option("--all", help="All assignments, not one alone.")] = False,
    as_json: Json = False,
) -> None:
    """Grade a made-up class of 24 students in build/demo, and say where to look."""
    from autograder.grading.demo import make_class, make_course
    from autograder.grading.files import only_run
    from autograder.grading.grade import grade as grade_all
    from autograder.grading.sandbox import NoSandbox

    try:
        _protect(unsafe=False)
    except NoSandbox as error:
        err.print(f"{error}\nThe sample class is of our own making, so that it is graded all the same.", markup=False)
        _protect(unsafe=True)
    source = _course(None)
    root = source.root / "build" / "demo"
    root.parent.mkdir(exist_ok=True)
    with only_run(root.parent):  # the folder itself is made anew
        with err.status("Making up a class of 24 students ..."):
            opened = make_course(source, root)
            chosen = list(opened.assignments.values())
            chosen = chosen if everything else [opened.assignments.get("06-attention", chosen[0])]
            for assignment in chosen:
                make_class(opened, assignment)
        with live_progress(err) as progress:
            graded = grade_all(opened, chosen, progress=progress)
    if as_json:
        _print_json(graded.to_json())
    else:
        print_graded(out, graded)
        _warn(graded.warnings + graded.not_entered)
        _print_where(source.root, opened, graded.reports)
    raise typer.Exit(0 if graded.complete else 1)


def _print_where(root: Path, course: Any, reports: list[dict[str, Any]]) -> None:
    """Where to look now."""
    shown = next((r for r in reports if 0 < r["score"] < r["max_score"]), reports[0])
    feedback = course.feedback_directory / shown["student"] / shown["assignment"]
    page = next(iter(sorted(feedback.glob("*.html"))), feedback)
    book = root / "build" / "_build" / "html" / "index.html"
    out.print(f"\nThe book:        {shown_path(book) if book.exists() else '[dim]not built yet: make book[/]'}")
    out.print(f"A feedback page: {shown_path(page)}")
    out.print("The formgrader:  make formgrader")


@app.command()
def doctor(course: CourseOption = None, as_json: Json = False) -> None:
    """Say what protection this machine gives, tried from inside the sandbox. Exits with 1 if it falls short."""
    from dataclasses import asdict

    from autograder.course import CourseError
    from autograder.grading.doctor import examine, is_protected

    try:
        opened = _course(course)
    except CourseError:
        if course is not None:
            raise
        opened = None
    with err.status("") as status:
        findings = examine(opened, lambda step: status.update(f"{step} ..."))
    protected = is_protected(findings)
    if as_json:
        _print_json({"protected": protected, "findings": [asdict(finding) for finding in findings]})
        raise typer.Exit(0 if protected else 1)
    marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]·[/]"}
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for finding in findings:
        table.add_row(marks[finding.ok], f"[bold]{finding.name}[/]", Text(finding.text))
    out.print(table)
    out.print(
        "\nStudents' code is shut in here."
        if protected
        else "\n[red]Students' code is not safely shut in here.[/] Mend what is marked ✗, and run this again."
    )
    raise typer.Exit(0 if protected else 1)


@app.command()
def data(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="All datasets if none is named.")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Install the packages of what is not here or damaged.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Get the files into the cache instead, and install nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the data and say what is here; with names, show their cards. Exits with 1 if something is damaged."""
    from autograder.data.showing import DAMAGED, get, print_card, print_list, record, sample
    from autograder.data.sources import SOURCES

    if install or download:
        get(names or [], download, err)
    records = [record(name) for name in names or SOURCES]
    if as_json:
        _print_json({"datasets": [one | {"sample": sample(one)} for one in records] if names else records})
    elif names and not (install or download):
        for one in records:
            print_card(out, one)
    else:
        print_list(out, records)
    raise typer.Exit(1 if any(one["source"] == DAMAGED for one in records) else 0)


@app.command()
def formgrader(
    course: CourseOption = None,
    port: Annotated[int, typer.Option(help="The port of the Jupyter server.")] = 8899,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    unsafe: Unsafe = False,
) -> None:
    """Open nbgrader's formgrader on a course; without --course, on the sample class if it was graded."""
    from autograder.grading.formgrader import serve

    _protect(unsafe)
    source = _course(course)
    sample = source.root / "build" / "demo"
    opened = _course(sample) if course is None and (sample / "gradebook.db").exists() else source
    err.print(
        f"The formgrader of {opened.root.name}: http://127.0.0.1:{port}/formgrader (Ctrl-C ends it)", markup=False
    )
    raise typer.Exit(serve(opened.root, port, browser))


@bench.command("grading")
def bench_grading(
    rounds: Annotated[int, typer.Option(min=1, help="How often each of the two grades the class.")] = 3,
    students: Annotated[
        int, typer.Option(min=1, help="How many: some of the sample class of 24, or more like it.")
    ] = 48,
    training: Annotated[bool, typer.Option("--training", help="With the training at the end of the notebook.")] = False,
    folder: BenchFolder = None,
    as_json: Json = False,
) -> None:
    """Grade a made-up class of 06-attention by stock nbgrader and by ours, in turn."""
    from autograder.grading.bench import compare, minutes

    _protect(unsafe=False)
    err.print(f"About {minutes(rounds, students, training):.0f} minutes on two cores.", highlight=False)
    with _bench_folder(folder) as place, live_progress(err) as progress:
        compared = compare(_course(None), place / "grading", rounds, students, training, progress)
    if as_json:
        _print_json(compared.to_json())
    else:
        print_comparison(out, compared.to_json())


@bench.command("scale")
def bench_scale(
    sizes: Annotated[str, typer.Option(metavar="N,...", help="How many submissions.")] = "10,30,100,300,1000",
    workers: Annotated[str, typer.Option(metavar="N,...", help="Never more than there are cores.")] = "1,2",
    folder: BenchFolder = None,
    as_json: Json = False,
) -> None:
    """Grade made-up classes of several sizes: time, memory, and what 100,000 submissions would take."""
    from autograder.grading.scale import ROUGHLY, measure, planned

    plan = planned(_counts("--sizes", sizes), _counts("--workers", workers))
    _protect(unsafe=False)
    seconds = sum(ROUGHLY.seconds(*run) for run in plan)
    err.print(f"About {seconds / 60:.0f} minutes on two cores, in {len(plan)} runs.", highlight=False)
    with _bench_folder(folder) as place, live_progress(err) as progress:
        measured = measure(_course(None), place / "scale", plan, progress)
    if as_json:
        _print_json(measured.to_json())
    else:
        print_scale(out, measured.to_json())


@bench.command("models")
def bench_models(
    kinds: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND]...", help="bert, gpt, word-vectors, tokenizers.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Pairs of times in each race.")] = 15,
    as_json: Json = False,
) -> None:
    """Race the reference models against transformers, gensim and tokenizers, in turn, on one thread each."""
    from autograder.benchmarks.models import KINDS, races, versions

    chosen = kinds or list(KINDS)
    if unknown := [kind for kind in chosen if kind not in KINDS]:
        _fail(f"There are no races of {unknown[0]}; there are {', '.join(KINDS)}.", 2)
    done = []
    with live_progress(err) as progress:
        progress.begin("Racing", 0)
        for race in races(chosen, rounds):
            done.append(race)
            progress.step(race_line(race))
    if as_json:
        _print_json({"versions": versions(), "rounds": rounds, "races": done})
    else:
        print_races(out, done)


@contextmanager
def _bench_folder(folder: Path | None) -> Iterator[Path]:
    """Where benchmarks make their courses, for one of them at a time."""
    from autograder.grading.files import only_run

    folder = folder.resolve() if folder else _course(None).root / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with only_run(folder):
        yield folder


def _counts(option: str, text: str) -> list[int]:
    numbers = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in numbers):
        _fail(f"{option} takes numbers with commas between them, not {text!r}.", 2)
    return [int(word) for word in numbers]
