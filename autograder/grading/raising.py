"""What stock nbgrader needs of a notebook's ``check``: that it raises.

Stock nbgrader runs a check cell in the student's own kernel and gives its points unless it sees an error. At home
``check`` shows a card and goes on. A kernel that the benchmark starts calls :func:`install` before the first cell.
"""

import sys

import autograder


class NotPassed(Exception):
    """The answer to a task is not right."""


def install() -> None:
    """Let ``check`` raise where a task is not passed, and ``progress`` do nothing, as in our grading."""
    autograder.check = raising_check
    autograder.progress = lambda: None


def raising_check(task_id: str) -> None:
    """The check as at home, and an error if the task is not passed.

    Raises:
        NotPassed: if it is not.
    """
    from autograder.checking import home

    verdict = home.check(task_id, sys._getframe(1).f_globals)
    if verdict is None or verdict.status != "passed":
        raise NotPassed(task_id)
