"""What an instructor and a student look at, in a real browser: the formgrader, and a feedback page."""

import http.server
import os
import re
import runpy
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import nbformat
import pytest
from conftest import ASSIGNMENT, ROOT, GradedClass, hand_in
from hostile_pages import PIXEL, hostile_notebook, with_hostile_outputs
from playwright.sync_api import Browser, Dialog, Page

from autograder.course import Course
from autograder.grading.gradebook import demand, open_api, open_gradebook
from autograder.grading.intake import collect

pytestmark = pytest.mark.skipif(
    os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1: there is no Chromium here"
)


PICTURES = runpy.run_path(str(ROOT / "scripts" / "pictures.py"))
"""What takes the pictures of the README."""


class Watched:
    """A page and what it did that it should not have."""

    def __init__(self, browser: Browser, own: str) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda r: None if r.url.startswith((own, "data:")) else self.foreign.append(r.url))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("dialog", self._close)

    def _close(self, dialog: Dialog) -> None:
        self.errors.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def assert_harmless(self) -> None:
        """Nothing of the hostile notebook ran, loaded anything, could run at a click, or passes for something else."""
        self.page.wait_for_selector("mjx-container")
        self.page.wait_for_load_state("networkidle")
        ask = self.page.evaluate
        assert ask("window.ran") is None
        assert (self.foreign, self.errors) == ([], [])
        links = "[...document.querySelectorAll('#notebook a')].map(a => a.href.baseVal ?? a.href)"
        assert {link.partition(":")[0] for link in ask(links)} <= {"", "http", "https", "mailto", "file"}
        every = "[...document.querySelectorAll('#notebook *')]"
        assert ask(f"{every}.filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length") == 0
        assert ask(f"{every}.filter(e => e.matches('script, iframe, object, embed, form, base, meta')).length") == 0
        images = ask("[...document.querySelectorAll('#notebook img')].map(e => e.getAttribute('src') ?? '')")
        assert {image.partition(",")[0] for image in images} <= {"", "data:image/png;base64"}
        assert f"data:image/png;base64,{PIXEL}" in images, "the student's own drawing is shown"
        spoofed = "e => /spoof/.test(e.textContent) && e.matches('.wic-card, .score, .tabbable, [id=permutation_why]')"
        assert ask(f"{every}.filter({spoofed}).length") == 0


@pytest.fixture(scope="module")
def served(sample: GradedClass, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Course, str]]:
    """The formgrader on a copy of the graded class; its course and address."""
    root = tmp_path_factory.mktemp("served") / "course"
    shutil.copytree(sample.course.root, root)
    course = Course.at(root)
    _grade_hostile(course)
    with PICTURES["formgrader"](root) as address:
        yield course, address


def _grade_hostile(course: Course) -> None:
    """A student whose notebook attacks who looks at it, graded; then worse than a graded notebook can be."""
    assignment = course.assignment(ASSIGNMENT)
    hand_in(course, "mallory", hostile_notebook(assignment.release))
    collect(course, [assignment], "mallory")
    api = open_api(course)
    demand(api.autograde(ASSIGNMENT, "mallory", force=True, create=True), "Grading")
    demand(api.generate_feedback(ASSIGNMENT, "mallory", force=True), "Feedback")
    shutil.copytree(course.feedback_directory / "mallory", course.feedback_directory / "mallory-as-graded")
    graded = course.autograded_directory / "mallory" / ASSIGNMENT / "attention.ipynb"
    nbformat.write(with_hostile_outputs(nbformat.read(graded, as_version=4)), graded)
    demand(api.generate_feedback(ASSIGNMENT, "mallory", force=True), "Feedback")


@pytest.fixture
def formgrader(browser: Browser, served: tuple[Course, str]) -> Iterator[Watched]:
    watched = Watched(browser, served[1])
    watched.page.goto(f"{served[1]}/tree?token=known")
    yield watched
    watched.page.close()


def test_the_pictures_of_the_readme_are_there_and_can_be_taken_anew(
    browser: Browser, served: tuple[Course, str], sample: GradedClass, tmp_path: Path
) -> None:
    shown = re.findall(r'<img src="([^"]+)"[^>]* alt="([^"]+)"', (ROOT / "README.md").read_text(encoding="utf-8"))
    assert [path for path, _ in shown] == [f"pictures/{name}.png" for name in ("book", "card", "formgrader")]
    assert all((ROOT / path).stat().st_size > 2_000 and len(alt) > 40 for path, alt in shown)
    feedback = sample.course.feedback_directory / PICTURES["STUDENT"] / ASSIGNMENT / "attention.html"
    PICTURES["of_a_card"](browser, feedback, tmp_path / "card.png")
    PICTURES["of_the_formgrader"](browser, served[1], tmp_path / "formgrader.png")
    assert all((tmp_path / f"{name}.png").stat().st_size > 2_000 for name in ("card", "formgrader"))


def test_the_formgrader_lists_the_class_with_its_points(
    formgrader: Watched, served: tuple[Course, str], sample: GradedClass
) -> None:
    formgrader.page.goto(f"{served[1]}/formgrader/manage_submissions/06-attention")
    formgrader.page.wait_for_selector("text=needs manual grading")
    rows = formgrader.page.inner_text("table")
    for report in sample.graded.reports:
        student, score = report["student"], report["score"]
        assert re.search(rf"\b{student}\s.*?\s{re.escape(f'{score:g}')} / 100", rows), student


def test_a_submission_in_the_formgrader_shows_cards_and_formulas_and_loads_nothing_from_elsewhere(
    formgrader: Watched, served: tuple[Course, str]
) -> None:
    with open_gradebook(served[0]) as gradebook:
        submission = gradebook.find_submission_notebook("attention", "06-attention", "dara").id
    formgrader.foreign.clear()
    formgrader.page.goto(f"{served[1]}/formgrader/submissions/{submission}/")
    formgrader.page.wait_for_selector("mjx-container")
    assert formgrader.page.locator(".wic-card").count() == 8
    assert formgrader.page.locator(".wic-failed").count() >= 1
    assert formgrader.page.locator("input.score").count() >= 9
    assert (formgrader.foreign, formgrader.errors) == ([], [])


def test_a_hostile_submission_does_nothing_in_the_formgrader_and_can_be_graded(
    formgrader: Watched, served: tuple[Course, str]
) -> None:
    course, address = served
    with open_gradebook(course) as gradebook:
        submission = gradebook.find_submission_notebook("attention", ASSIGNMENT, "mallory").id
    formgrader.page.goto(f"{address}/formgrader/submissions/{submission}/")
    formgrader.assert_harmless()
    formgrader.page.fill("#permutation_why", "7.5")
    with formgrader.page.expect_response(lambda response: "/api/grade/" in response.url):
        formgrader.page.press("#permutation_why", "Tab")
    with open_gradebook(course) as gradebook:
        assert gradebook.find_grade("permutation_why", "attention", ASSIGNMENT, "mallory").manual_score == 7.5


def test_the_autograde_button_gives_the_points_of_autograder_grade(
    formgrader: Watched, served: tuple[Course, str], sample: GradedClass
) -> None:
    course, address = served
    with open_gradebook(course) as gradebook:
        for grade in gradebook.find_submission_notebook("attention", "06-attention", "dara").grades:
            grade.auto_score = 0
        gradebook.db.commit()
    formgrader.page.goto(f"{address}/formgrader/manage_submissions/06-attention")
    row = formgrader.page.locator("tr", has_text="dara")
    row.locator("td.autograde a, td a:has(.glyphicon-flash)").first.click()
    formgrader.page.wait_for_selector("text=Successfully autograded", timeout=60_000)
    with open_gradebook(course) as gradebook:
        submission = gradebook.find_submission("06-attention", "dara")
        assert submission.score == pytest.approx(sample.report("dara")["score"])


@pytest.fixture
def feedback_address(request: pytest.FixtureRequest) -> Iterator[Callable[[Course, str], str]]:
    """Where a feedback page lies, by HTTP or as a file, as the parameter says."""
    if request.param == "file":
        yield lambda course, page: (course.feedback_directory / page).as_uri()
        return
    servers = []

    def serve(course: Course, page: str) -> str:
        handler = partial(_Quiet, directory=str(course.feedback_directory))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/{page}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


by_both_ways = pytest.mark.parametrize("feedback_address", ["http", "file"], indirect=True)


@by_both_ways
def test_a_feedback_page_renders_its_formulas_and_loads_nothing_from_elsewhere(
    browser: Browser, sample: GradedClass, feedback_address: Callable[[Course, str], str]
) -> None:
    address = feedback_address(sample.course, f"dara/{ASSIGNMENT}/attention.html")
    watched = Watched(browser, address.partition("/dara")[0])
    watched.page.goto(address)
    watched.page.wait_for_selector("mjx-container")
    assert watched.page.locator(".wic-card").count() == 8
    assert (watched.foreign, watched.errors) == ([], [])
    watched.page.close()


@by_both_ways
@pytest.mark.parametrize("student", ["mallory-as-graded", "mallory"])
def test_a_hostile_notebook_does_nothing_on_its_feedback_page(
    student: str, browser: Browser, served: tuple[Course, str], feedback_address: Callable[[Course, str], str]
) -> None:
    address = feedback_address(served[0], f"{student}/{ASSIGNMENT}/attention.html")
    watched = Watched(browser, address.partition("/mallory")[0])
    watched.page.goto(address)
    watched.assert_harmless()
    assert watched.page.locator(".wic-card").count() >= 8
    watched.page.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if Path(self.path).name == "favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()
