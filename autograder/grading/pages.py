"""What feedback pages and the formgrader show of a student's notebook: nothing that runs, nothing from another host."""

import importlib.util
import shutil
from functools import lru_cache
from pathlib import Path

import bleach
from bleach.css_sanitizer import CSSSanitizer
from nbconvert.filters import markdown2html

from autograder.course import Course

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
    "*": ["class", "id", "align", "title"],
    "a": ["href"],
    "img": ["src", "alt", "width", "height"],
    "td": ["style", "colspan", "rowspan"],
    "th": ["style", "colspan", "rowspan", "scope"],
    "ol": ["start"],
    "details": ["open"],
}
_CLEANER_STYLE = CSSSanitizer(allowed_css_properties=["text-align"])


@lru_cache(maxsize=1024)
def safe_markdown2html(source: str) -> str:
    """Markdown as HTML without scripts, handlers, frames, forms and styles; images only if they are in the page."""
    return bleach.clean(
        markdown2html(source),
        tags=TAGS,
        attributes=_is_allowed,
        protocols=["http", "https", "mailto", "data"],
        css_sanitizer=_CLEANER_STYLE,
    )


def _is_allowed(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return value.startswith(("data:image/png;", "data:image/jpeg;", "data:image/gif;"))
    if tag == "a" and name == "href":
        return not value.strip().lower().startswith("data:")
    return name in ATTRIBUTES["*"] or name in ATTRIBUTES.get(tag, [])


def place_mathjax(course: Course) -> None:
    """Put MathJax where feedback pages and the formgrader look for it; without the package formulas stay as typed."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    target = course.feedback_directory / "mathjax" / "tex-svg.js"
    if spec is None or spec.origin is None or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(spec.origin).parent / "static" / "mathjax" / "tex-svg.js", target)
