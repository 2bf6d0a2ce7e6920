"""Take the pictures of the README anew, from what `make` has built: `make pictures`.

They show a page of the book, a card on which a check has named a mistake, and nbgrader's formgrader with the made-up
class. Needs Chromium.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from autograder.grading.formgrader import command

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "pictures"
PAGE, FIGURE = "bert", "fig-four-tasks"
ASSIGNMENT, STUDENT = "06-attention", "dara"
SECONDS_TO_START = 60


def of_the_book(browser: Browser, html: Path, path: Path) -> None:
    """A chapter as it is on a desk."""
    page = browser.new_page(viewport={"width": 1200, "height": 780}, color_scheme="light")
    page.goto((html / f"{PAGE}.html").as_uri(), wait_until="load")
    page.evaluate("MathJax.startup.promise")
    page.evaluate(f"document.getElementById('{FIGURE}').scrollIntoView({{block: 'center', behavior: 'instant'}})")
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    page.close()


def of_a_card(browser: Browser, feedback: Path, path: Path) -> None:
    """What a check says to a student who has made a known mistake."""
    page = browser.new_page(viewport={"width": 900, "height": 900})
    page.goto(feedback.as_uri(), wait_until="load")
    page.locator(".wic-failed").first.screenshot(path=path)
    page.close()


def of_the_formgrader(browser: Browser, address: str, path: Path) -> None:
    """The class in nbgrader's formgrader."""
    page = browser.new_page(viewport={"width": 1200, "height": 780})
    page.goto(f"{address}/tree?token=known")
    page.goto(f"{address}/formgrader/manage_submissions/{ASSIGNMENT}")
    page.wait_for_selector("text=needs manual grading")
    page.screenshot(path=path)
    page.close()


@contextmanager
def formgrader(root: Path) -> Iterator[str]:
    """The address of a formgrader on a course, which ends with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as runtime:
        server = subprocess.Popen(
            command(root, port, browser=False),
            cwd=root,
            env={**os.environ, "JUPYTER_TOKEN": "known", "JUPYTER_RUNTIME_DIR": runtime},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_until_up(f"{address}/api/status?token=known", server)
            yield address
        finally:
            server.terminate()
            server.wait(20)


def _wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(5 * SECONDS_TO_START):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    sys.exit("The formgrader does not start: `make formgrader` shows what it says.")


def main() -> None:
    html, demo = ROOT / "build/_build/html", ROOT / "build/demo"
    feedback = demo / "feedback" / STUDENT / ASSIGNMENT / "attention.html"
    executable = shutil.which("chromium")
    if not (html.exists() and feedback.exists()):
        sys.exit("Run `make` first: it builds the book and grades the class of which the pictures are taken.")
    if executable is None:
        sys.exit("Chromium is missing: install it with `sudo apt-get install chromium`.")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        of_the_book(browser, html, FOLDER / "book.png")
        of_a_card(browser, feedback, FOLDER / "card.png")
        with formgrader(demo) as address:
            of_the_formgrader(browser, address, FOLDER / "formgrader.png")
        browser.close()
    for path in FOLDER.glob("*.png"):
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(256).save(path, optimize=True)  # a third of the size, and looks the same


if __name__ == "__main__":
    main()
