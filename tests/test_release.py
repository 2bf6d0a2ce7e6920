"""From solutions to exercises."""

import nbformat
import pytest
from conftest import ROOT

from autograder.course import Assignment, Course, CourseError, graded_cells, nbgrader_metadata
from autograder.grading.gradebook import open_gradebook
from autograder.grading.release import release


def test_the_same_solution_gives_the_same_bytes(course: Course, assignment: Assignment) -> None:
    before = assignment.release_path.read_bytes()
    release(course, assignment)
    assert assignment.release_path.read_bytes() == before


@pytest.mark.parametrize("name", list(Course.at(ROOT).assignments))
def test_the_committed_exercise_is_what_release_gives(course: Course, name: str) -> None:
    assignment = course.assignment(name)
    release(course, assignment)
    committed = assignment.release_path.relative_to(course.root)
    assert (ROOT / committed).read_bytes() == assignment.release_path.read_bytes()


@pytest.mark.parametrize("name", list(Course.at(ROOT).assignments))
def test_no_answer_is_in_a_released_notebook(name: str) -> None:
    assignment = Course.at(ROOT).assignment(name)
    released = {c.id: c for c in assignment.release.cells}
    text = assignment.release_path.read_text()
    assert "SOLUTION" not in text
    assert "HIDDEN" not in text
    for cell in assignment.solution.cells:
        about = nbgrader_metadata(cell)
        if cell.cell_type == "code" and about.get("solution"):
            inside = cell.source.split("### BEGIN SOLUTION")[1].split("### END SOLUTION")[0]
            answer = max((line.strip() for line in inside.splitlines()), key=len)
            assert answer not in released[cell.id].source
        assert not released[cell.id].get("outputs")


def test_a_fresh_clone_fills_the_gradebook(course: Course, assignment: Assignment) -> None:
    (course.root / "gradebook.db").unlink()
    release(course, assignment)
    with open_gradebook(course) as gradebook:
        assert gradebook.find_assignment(assignment.name).max_score == 100


def edit(assignment: Assignment, what: str) -> Course:
    """Make one author's mistake in a solution notebook."""
    notebook = assignment.solution
    cells = graded_cells(notebook)
    first = next(cell for cell in cells if not cell.manual)
    check = notebook.cells[first.index]
    if what == "check":
        check.source += "\nprint('more')"
    elif what == "other id":
        check.source = 'check("something_else")'
    elif what == "points":
        check.metadata.nbgrader.points += 1
    elif what == "twice":
        notebook.cells[first.answers[0]].metadata.nbgrader.grade_id = first.id
    elif what == "no answer":
        del notebook.cells[first.answers[0]]
    nbformat.write(notebook, assignment.solution_path)
    return Course.at(assignment.solution_path.parents[2])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("check", "must hold nothing but check('additive_scores')"),
        ("other id", "must hold nothing but check('additive_scores')"),
        ("points", "add up to 101, not 100"),
        ("twice", "'additive_scores' is given 2 times"),
        ("no answer", "'additive_scores' has no solution cell"),
    ],
)
def test_an_authors_mistake_is_told_and_the_old_release_stays(assignment: Assignment, what: str, told: str) -> None:
    before = assignment.release_path.read_bytes()
    course = edit(assignment, what)
    with pytest.raises(CourseError, match="cannot be released") as caught:
        release(course, course.assignment(assignment.name))
    assert told in str(caught.value)
    assert assignment.release_path.read_bytes() == before
