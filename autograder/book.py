"""Build the book: ``python -m autograder.book``, which is what ``make book`` calls.

The same file is the Sphinx extension that does what ``_config.yml`` cannot: it names the execution cache after
a hash of our own code, brings MathJax from a pinned package and MathML for readers without JavaScript, writes the
models that run in a page, links exercise notebooks, and keeps the links that are in pictures. So the command itself
builds the very same book::

    jupyter-book build book --config _config.yml --path-output build -W -n --keep-going
"""

import hashlib
import html
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.ext import mathjax
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from autograder.data import NO_STAND_INS
from autograder.in_page import write_models

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "_build"
HTML = OUTPUT / "html"

logger = logging.getLogger(__name__)


def code_fingerprint(root: Path = ROOT) -> str:
    """Hash what can change a chapter's results from outside: our code, recipes' logs, versions, the figures' style."""
    ours = [f"autograder/**/*.{ending}" for ending in ("py", "json", "csv", "safetensors")]
    patterns = [*ours, "requirements.lock", "book/assets/*.mplstyle"]
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cache_path(output: Path = OUTPUT) -> Path:
    """Where executed notebooks are kept. jupyter-cache itself knows a notebook by its cells, and by nothing else."""
    return output / f".jupyter_cache-{code_fingerprint()}"


def _configure(app: Sphinx, config: Config) -> None:
    os.environ[NO_STAND_INS] = "1"
    cache = cache_path(Path(app.outdir).parent)
    for stale in set(cache.parent.glob(".jupyter_cache-*")) - {cache}:
        shutil.rmtree(stale)
    config["nb_execution_cache_path"] = str(cache)
    config["nitpick_ignore"] = [tuple(pair) for pair in config["nitpick_ignore"]]  # YAML has lists alone

    options = config["html_theme_options"]
    repository, branch = options["repository_url"], options["repository_branch"]
    colab = repository.replace("https://github.com", "https://colab.research.google.com/github")
    config["extlinks"] = {
        "repository": (f"{repository}/blob/{branch}/%s", "%s"),
        "colab": (f"{colab}/blob/{branch}/%s", "%s"),
    }


def _finish(app: Sphinx, exception: Exception | None) -> None:
    # The package's name has a dash, so it cannot be imported. tex-svg.js is the one file that needs no fonts beside it.
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("MathJax is missing: pip install sphinx-mathjax-offline")
    target = Path(app.outdir) / "_static" / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(spec.origin).parent / "static" / "mathjax" / "tex-svg.js", target)
    write_models(Path(app.outdir) / "_static" / "live")

    # The theme's hints to fetch its icon fonts early are refused, with an error, when a page is read from a file;
    # a page without JavaScript has no colors unless it names a theme; docutils calls the bibliography a list without
    # list items.
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        text = re.sub(r'<link rel="preload" as="font"[^>]*>', "", text)
        text = text.replace('data-theme="auto"', 'data-theme="light"', 1)
        text = text.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
        page.write_text(text, encoding="utf-8")


# Without JavaScript MathJax never comes: hide the source of a formula, though not its number, and show the MathML.
_WITHOUT_JAVASCRIPT = """<noscript><style>
span.math { display: none !important } div.math { font-size: 0 } div.math .eqno { font-size: 1rem }
</style></noscript>"""


def _append_mathml(visit: Callable[[Any, nodes.Element], None], as_block: bool) -> Callable[[Any, nodes.Element], None]:
    def visit_and_append(translator: Any, node: nodes.Element) -> None:
        try:
            visit(translator, node)
        except nodes.SkipNode:
            try:
                mathml = tex2mathml(node.astext().strip().replace(r"\dots", r"\ldots"), as_block=as_block)
            except MathError as error:
                logger.warning("no MathML for this formula: %s", error, location=node)
            else:
                translator.body.append(f"<noscript>{mathml}</noscript>")
            raise

    return visit_and_append


def _render_formulas_twice(app: Sphinx) -> None:
    app.registry.html_inline_math_renderers["mathjax"] = (_append_mathml(mathjax.html_visit_math, False), None)
    app.registry.html_block_math_renderers["mathjax"] = (_append_mathml(mathjax.html_visit_displaymath, True), None)


def _prepare_pages(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    context["metatags"] = context.get("metatags", "") + _WITHOUT_JAVASCRIPT


class ExerciseNotebook(SphinxRole):
    """``{exercise}`text <06-attention/attention.ipynb>```: a download if the notebook exists, else its public page."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        title, _, target = self.text.rstrip(">").rpartition("<")
        path = ROOT / "exercises" / target
        self.env.note_dependency(str(path))
        if path.exists():
            link: nodes.Element = addnodes.download_reference(
                self.rawtext, refdoc=self.env.docname, reftype="download", reftarget=f"/../exercises/{target}"
            )
        else:
            repository = self.config.html_theme_options["repository_url"]
            link = nodes.reference(self.rawtext, refuri=f"{repository}/tree/main/exercises")
        link += nodes.inline(title.strip(), title.strip())
        return [link], []


class LinksInPictures(SphinxPostTransform):
    """Write a picture of the class ``with-links``, an SVG file, into the page itself: only there do its links work."""

    default_priority = 500
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for picture in list(self.document.findall(nodes.image)):
            if "with-links" in picture["classes"]:
                svg = (Path(self.app.srcdir) / picture["uri"]).read_text(encoding="utf-8")
                label = html.escape(picture["alt"])
                svg = svg.replace("<svg ", f'<svg class="with-links" role="group" aria-label="{label}" ', 1)
                picture.replace_self(nodes.raw("", svg, format="html"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_role("exercise", ExerciseNotebook())
    app.add_post_transform(LinksInPictures)
    app.connect("config-inited", _configure, priority=100)
    app.connect("builder-inited", _render_formulas_twice)
    app.connect("html-page-context", _prepare_pages)
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": True}


def build() -> int:
    """Build the book into ``build/_build/html``; any warning is an error.

    Returns:
        the exit code of jupyter-book.
    """
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [
        jupyter_book,
        "build",
        "book",
        "--config",
        "_config.yml",
        "--path-output",
        "build",
        "-W",
        "-n",
        "--keep-going",
    ]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(build())
