"""What feedback pages and the formgrader show of a student's notebook: nothing that runs, nothing from another host.

Nor anything that passes for what is not the student's: a verdict's card, a field of the formgrader. So of classes only
those that color code are kept, and no ids.
"""

import html
import importlib.util
import re
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import bleach
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import pass_context
from jinja2.runtime import Context
from nbconvert.exporters.exporter import ResourcesDict
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode, from_dict
from pygments.token import STANDARD_TYPES
from traitlets import Bool

from autograder.course import Course
from autograder.grading.reading import IMAGES, attached_images

# fmt: off
TAGS = frozenset((
    "a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl",
    "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img",
    "ins", "kbd", "li", "ol", "p", "pre", "q", "s", "samp", "small", "span",
    "strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr",
    "u", "ul", "var",
))
# fmt: on
ATTRIBUTES = {
    "*": ["align", "title"],
    "a": ["href"],
    "img": ["src", "alt", "width", "height"],
    "td": ["style", "colspan", "rowspan"],
    "th": ["style", "colspan", "rowspan", "scope"],
    "ol": ["start"],
    "details": ["open"],
}
CARD_CLASSES = frozenset(("wic-card", "wic-passed", "wic-partial", "wic-failed", "wic-note"))
CODE_CLASSES = frozenset(("highlight", *filter(None, STANDARD_TYPES.values())))
MAX_CHARACTERS, MAX_MARKS = 20_000, 1_000
"""A longer text, or one with more tags and formulas, is shown as it was typed: cleaning it could take minutes."""

_LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
_IMAGE = re.compile(rf"data:({'|'.join(IMAGES)});base64,[A-Za-z0-9+/=\s]*")
_STYLES = CSSSanitizer(allowed_css_properties=["text-align"])


class OnlyWhatIsShown(Preprocessor):
    """nbconvert preprocessor: of outputs and metadata only what a page shows, whoever wrote the notebook.

    nbconvert puts the width that an image's metadata gives into the page as it is, among other things.
    """

    enabled = Bool(True).tag(config=True)

    def preprocess_cell(
        self, cell: NotebookNode, resources: ResourcesDict, index: int
    ) -> tuple[NotebookNode, ResourcesDict]:
        cell.metadata = NotebookNode({name: cell.metadata[name] for name in ("nbgrader",) if name in cell.metadata})
        if cell.cell_type == "code":
            shown = [_only_shown(output) for output in cell.outputs]
            cell.outputs = [from_dict(output) for output in shown if output.get("data") != {}]
        return cell, resources


def _only_shown(output: NotebookNode) -> dict[str, Any]:
    if output.output_type not in ("display_data", "execute_result"):
        return output
    shown = {}
    for kind in ("text/html", "text/plain", *IMAGES):
        text = output.data.get(kind)
        if isinstance(text, str) and (kind not in IMAGES or _IMAGE.fullmatch(f"data:{kind};base64,{text}")):
            shown[kind] = text
    metadata = {"alt": output.metadata["alt"]} if isinstance(output.metadata.get("alt"), str) else {}
    return {"output_type": "display_data", "data": shown, "metadata": metadata}


@pass_context
def safe_markdown2html(context: Context, source: str) -> str:
    """A jinja filter: Markdown without scripts, handlers, frames, forms and styles; images only from the notebook."""
    images = attached_images(context.get("cell") or {})
    return _convert(source, images) if images else _convert_text(source)


@pass_context
def safe_html(context: Context, source: Any) -> str:
    """A jinja filter in the place of nbconvert's ``clean_html``: our cards; a raw cell as it was typed."""
    text = source.decode("utf-8", "replace") if isinstance(source, bytes) else str(source)
    cell = context.get("cell")
    if cell is not None and cell.get("cell_type") == "raw":
        return _as_typed(text)
    return _clean(text, CARD_CLASSES | CODE_CLASSES)


@lru_cache(maxsize=1024)
def _convert_text(source: str) -> str:
    return _convert(source, {})


def _convert(source: str, images: dict[str, dict[str, str]]) -> str:
    if len(source) > MAX_CHARACTERS or source.count("<") + source.count("\\begin") > MAX_MARKS:
        return _as_typed(source)
    renderer = _Renderer(escape=False, attachments=images, exclude_anchor_links=True)
    try:
        return _clean(MarkdownWithMath(renderer=renderer).render(source), CODE_CLASSES)
    except Exception:  # whatever Markdown a student finds that breaks the parser must not cost the class its pages
        return _as_typed(source)


class _Renderer(IPythonRenderer):
    """nbconvert's, which gives up on a notebook with an image that is not there."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        name = url.removeprefix("attachment:")
        if name != url and name not in self.attachments:
            return f"<em>(an image that is not here: {html.escape(text or name)})</em>"
        return super().image(text, url, title)


def _clean(text: str, classes: frozenset[str]) -> str:
    def is_allowed(tag: str, name: str, value: str) -> bool:
        if name == "class":
            return classes.issuperset(value.split())
        if tag == "img" and name == "src":
            return _IMAGE.fullmatch(value) is not None
        if tag == "a" and name == "href":
            return _LINK.match(value) is not None  # a relative link leads nowhere, or, shortened later, to a script
        return name in ATTRIBUTES["*"] or name in ATTRIBUTES.get(tag, [])

    protocols = ["http", "https", "mailto", "data"]
    return bleach.clean(text, tags=TAGS, attributes=is_allowed, protocols=protocols, css_sanitizer=_STYLES)


def _as_typed(text: str) -> str:
    return f"<pre>{html.escape(text)}</pre>"


def place_mathjax(course: Course) -> None:
    """Put MathJax where feedback pages and the formgrader look for it; without the package formulas stay as typed."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    target = course.feedback_directory / "mathjax" / "tex-svg.js"
    if spec is None or spec.origin is None or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(spec.origin).parent / "static" / "mathjax" / "tex-svg.js", target)
