"""What an instructor and a student look at, in a real browser: the formgrader, and a feedback page."""

import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from conftest import GradedClass
from playwright.sync_api import Browser, Page

from autograder.course import Course
from autograder.grading.formgrader import command
from autograder.grading.gradebook import open_gradebook

pytestmark = pytest.mark.skipif(
    os.environ.get("WIC_SKIP_BROWSER") == "1", reason="WIC_SKIP_BROWSER=1: there is no Chromium here"
)


class Watched:
    """A page and what it did that it should not have."""

    def __init__(self, browser: Browser, own: str) -> None:
        self.page: Page = browser.new_page(viewport={"width": 1200, "height": 900})
        self.foreign: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda r: None if r.url.startswith((own, "data:")) else self.foreign.append(r.url))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))


@pytest.fixture(scope="module")
def served(sample: GradedClass, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Course, str]]:
    """The formgrader on a copy of the graded class; its course and address."""
    root = tmp_path_factory.mktemp("served") / "course"
    shutil.copytree(sample.course.root, root)
    course = Course.at(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "JUPYTER_TOKEN": "known", "JUPYTER_RUNTIME_DIR": str(root.parent / "runtime")}
    with (root.parent / "log").open("w") as log:
        server = subprocess.Popen(
            command(root, port, browser=False),
            cwd=root,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            _wait_until_up(f"{address}/api/status?token=known", server)
            yield course, address
        finally:
            server.terminate()
            server.wait(20)


def _wait_until_up(url: str, server: subprocess.Popen) -> None:
    for _ in range(300):
        assert server.poll() is None, "the Jupyter server ended"
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError("the Jupyter server did not start")


@pytest.fixture
def formgrader(browser: Browser, served: tuple[Course, str]) -> Iterator[Watched]:
    watched = Watched(browser, served[1])
    watched.page.goto(f"{served[1]}/tree?token=known")
    yield watched
    watched.page.close()


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
    assert formgrader.foreign == []


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


def test_a_feedback_page_renders_its_formulas_and_loads_nothing_from_elsewhere(
    browser: Browser, sample: GradedClass
) -> None:
    handler = partial(_Quiet, directory=str(sample.course.feedback_directory))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = sample.course.feedback_directory / "dara" / "06-attention" / "attention.html"
    for address in (f"http://127.0.0.1:{server.server_port}/dara/06-attention/attention.html", page.as_uri()):
        watched = Watched(browser, "file:" if address.startswith("file:") else "http://127.0.0.1")
        watched.page.goto(address)
        watched.page.wait_for_selector("mjx-container")
        assert watched.page.locator(".wic-card").count() == 8
        assert (watched.foreign, watched.errors) == ([], [])
        watched.page.close()
    server.shutdown()
    server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        if Path(self.path).name == "favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()
