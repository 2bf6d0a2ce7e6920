"""One export: which assignments, where to, in which format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nbgrader.api import Gradebook

from autograder.course import Course, CourseError
from autograder.grading.export.canvas import write_canvas
from autograder.grading.export.gradescope import write_gradescope
from autograder.grading.export.moodle import IDENTIFIERS, write_moodle
from autograder.grading.export.plain import write_plain
from autograder.grading.export.scores import Exported, Options, Result, read_results, submitted_assignments
from autograder.grading.gradebook import database_url, open_gradebook, quiet_logging

FORMATS = ("canvas", "moodle", "csv", "gradescope")


@contextmanager
def graded_gradebook(course: Course) -> Iterator[Gradebook]:
    """The gradebook of a course that was graded.

    Raises:
        CourseError: if there is none yet; none is made.
    """
    kind, _, path = database_url(course).partition(":///")
    if kind == "sqlite" and not Path(path).exists():
        raise CourseError(f"Nothing is graded yet in {course.root}: run `autograder grade` first.")
    with quiet_logging(), open_gradebook(course) as gradebook:
        yield gradebook


def export(
    course: Course,
    gradebook: Gradebook,
    form: str,
    names: list[str],
    output: Path | None = None,
    options: Options | None = None,
    on_file: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the scores of some assignments in one of :data:`FORMATS`.

    Args:
        names: the assignments; all that have submissions if empty.
        output: a file, or a folder; ``exports/`` of the course by default.
        on_file: told what is being written.

    Raises:
        CourseError: if there is nothing to export or nowhere to write to; the message says what to do.
    """
    options = options or Options()
    _check(course, form, options)
    graded = submitted_assignments(gradebook)
    chosen = [assignment.name for assignment in course.selected(names)]
    missing = [name for name in chosen if name not in graded]
    if (names and missing) or not graded.intersection(chosen):
        raise CourseError(f"Nothing is graded yet for {', '.join(missing)}: run `autograder grade` first.")
    chosen = [name for name in chosen if name in graded]
    target = _target(course, form, output, options)
    results = read_results(course, gradebook, chosen, options.students)
    exported = _write(course, form, results, options, target, on_file)
    if exported.left_blank and not exported.students:
        exported.warnings.append(
            "No score is ready. Grade by hand in the formgrader first, or export the points there are with "
            "--include-ungraded."
        )
    return exported


def _write(
    course: Course,
    form: str,
    results: list[Result],
    options: Options,
    target: Path,
    on_file: Callable[[str], None],
) -> Exported:
    if form == "gradescope":
        return write_gradescope(course, results, options, target, on_file)
    if form == "moodle":
        return _one_file_each(course, results, options, target, on_file)
    path = target / f"{'grades' if form == 'csv' else form}.csv" if target.is_dir() else target
    on_file(path.name)
    return write_canvas(results, options, path) if form == "canvas" else write_plain(course, results, options, path)


def _one_file_each(
    course: Course, results: list[Result], options: Options, target: Path, on_file: Callable[[str], None]
) -> Exported:
    """Moodle's files, one for each assignment."""
    assignments = list(dict.fromkeys(result.assignment for result in results))
    if len(assignments) > 1 and (options.roster is not None or not target.is_dir()):
        raise CourseError(
            f"Moodle takes one assignment at a time: name one of {', '.join(assignments)}"
            + ("." if options.roster is not None else ", or give a folder with --output.")
        )
    everything, with_score = Exported(), 0
    for name in assignments:
        own = [result for result in results if result.assignment == name]
        path = target / f"moodle-{name}.csv" if target.is_dir() else target
        on_file(path.name)
        written = write_moodle(course, own, options, path)
        with_score = max(with_score, written.students)
        for part, more in vars(written).items():
            if isinstance(more, list):
                getattr(everything, part).extend(m for m in more if m not in getattr(everything, part))
    return replace(everything, students=with_score)


def _check(course: Course, form: str, options: Options) -> None:
    if form not in FORMATS:
        raise CourseError(f"There is no format {form!r}. There are: {', '.join(FORMATS)}.")
    if options.identifier is not None and options.identifier not in IDENTIFIERS:
        raise CourseError(f"Moodle knows no identifier {options.identifier!r}. There are: {', '.join(IDENTIFIERS)}.")
    if options.roster is not None and form not in ("canvas", "moodle"):
        raise CourseError(f"The format {form} has no roster: leave --roster out.")
    for name in options.columns:
        course.assignment(name)


def _target(course: Course, form: str, output: Path | None, options: Options) -> Path:
    """The file or folder to write to; the folder that a file goes into is there."""
    if output is None:
        folder = course.root / "exports"
        folder.mkdir(exist_ok=True)
        return folder / "gradescope" if form == "gradescope" else folder
    if not output.absolute().parent.is_dir():
        raise CourseError(f"There is no folder {output.absolute().parent}: make it first, or choose another --output.")
    if form == "gradescope" and output.exists() and not output.is_dir():
        raise CourseError(f"{output} is a file: Gradescope's results need a folder.")
    if options.roster is not None and output.exists() and output.samefile(options.roster):
        raise CourseError(f"{output} is the roster itself: choose another --output, so that the roster is kept.")
    return output
