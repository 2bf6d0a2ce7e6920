"""A released course to work in, and the sample class graded once for all tests that look at it."""

import random
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from playwright.sync_api import Browser, Page, sync_playwright
from xdist.scheduler import LoadScopeScheduling

from autograder.course import Assignment, Course
from autograder.grading.demo import MadeUp, make_class, make_course
from autograder.grading.grade import Graded, grade
from autograder.grading.release import release
from autograder.in_page import write_models

ROOT = Path(__file__).resolve().parent.parent
ASSIGNMENT = "06-attention"

SLOWEST_FIRST = (
    "test_pages", "test_sample_class", "test_summary", "test_regrade", "test_bench", "test_red_team", "test_book",
    "test_workers", "test_kills", "test_nbgrader", "test_cli", "test_audit", "test_sandbox", "test_intake_scenarios",
)  # fmt: skip
SHARING_THE_SAMPLE_CLASS = ("test_pages", "test_sample_class", "test_summary")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: what the tests start would ignore Ctrl-C as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow files first, so that no process is left with a long one at the end."""
    rank = {name: place for place, name in enumerate(SLOWEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "FilesTogether":
    """Share the tests out among processes by :class:`FilesTogether`."""
    return FilesTogether(config, log)


class FilesTogether(LoadScopeScheduling):
    """A file stays with one process, since its tests share what is slow to make; so do those with the sample class."""

    def _split_scope(self, nodeid: str) -> str:
        name = Path(nodeid.partition("::")[0]).stem
        return "the sample class" if name in SHARING_THE_SAMPLE_CLASS else name


@pytest.fixture(autouse=True)
def _same_draws_in_every_run() -> None:
    """What a test draws without a seed of its own does not depend on which tests ran before it."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@dataclass(frozen=True)
class GradedClass:
    """The sample class and what became of it; look at it, do not change it."""

    course: Course
    assignment: Assignment
    students: list[MadeUp]
    graded: Graded

    def report(self, student: str) -> dict[str, Any]:
        """What one student got."""
        return next(report for report in self.graded.reports if report["student"] == student)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> GradedClass:
    """The sample class, graded in a course folder of its own."""
    course = make_course(Course.at(ROOT), tmp_path_factory.mktemp("class") / "course")
    assignment = course.assignment(ASSIGNMENT)
    students = make_class(course, assignment)
    return GradedClass(course, assignment, students, grade(course, [assignment]))


@pytest.fixture(scope="session")
def released_course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course with a gradebook and without submissions; look at it, do not change it."""
    course = make_course(Course.at(ROOT), tmp_path_factory.mktemp("released") / "course")
    release(course, course.assignment(ASSIGNMENT))
    return course


@pytest.fixture
def course(released_course: Course, tmp_path: Path) -> Course:
    """A released course without submissions, for one test alone."""
    return Course.at(shutil.copytree(released_course.root, tmp_path / "course"))


@pytest.fixture
def assignment(course: Course) -> Assignment:
    return course.assignment(ASSIGNMENT)


def hand_in(course: Course, student: str, notebook: NotebookNode | bytes, name: str = "attention.ipynb") -> Path:
    """Put a notebook, or any bytes, where a student's submission arrives."""
    path = course.received_directory / student / ASSIGNMENT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook if isinstance(notebook, bytes) else nbformat.writes(notebook).encode())
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium, one for all tests: a second one cannot be started beside it."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.fail(
            "Chromium is missing: install it with `sudo apt-get install chromium`, or leave the browser tests out with "
            "WIC_SKIP_BROWSER=1.",
            pytrace=False,
        )
    quiet = ("background-networking", "component-update", "sync", "gpu")
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=arguments)
        yield running
        running.close()


@pytest.fixture(scope="session")
def live_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """From a chapter to the address of a page with nothing but what the chapter has for its model, and the weights."""
    folder = tmp_path_factory.mktemp("live")
    write_models(folder)

    def address(chapter: str) -> str:
        text = (ROOT / "book" / f"{chapter}.md").read_text(encoding="utf-8")
        found = re.search(r"```\{raw\} html\n(.*?)```", text, re.DOTALL)
        assert found
        widget = re.sub(r"_static/live/(\w+-weights\.js)", r"\1", found[1])
        widget = widget.replace("_static/live", (ROOT / "book" / "assets" / "live").as_uri())
        page = folder / f"{chapter}.html"
        page.write_text(f'<!doctype html><meta charset="utf-8">{widget}', encoding="utf-8")
        return page.as_uri()

    return address


@pytest.fixture(scope="session")
def open_live(browser: Browser, live_page: Callable[[str], str]) -> Callable[[str], Page]:
    """From a chapter to such a page in the browser, with its model loaded."""

    def opened(chapter: str) -> Page:
        page = browser.new_page()
        page.goto(live_page(chapter))
        page.locator("button").first.click()
        page.locator("ol li").first.wait_for()
        return page

    return opened
