"""Feedback pages as nbconvert makes them, without doing for every student what is the same for all."""

from functools import lru_cache
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket
from nbconvert.exporters import HTMLExporter
from nbconvert.exporters.templateexporter import TemplateExporter
from nbconvert.filters.highlight import Highlight2HTML
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbformat import NotebookNode

NO_TEXT = "No description has been provided for this image"


class FeedbackExporter(HTMLExporter):
    """nbconvert's pages. Templates are compiled once in a process, and a page is not parsed again after it is made.

    nbconvert parses it to give a text to images that have none; here they get theirs before.
    """

    def _create_environment(self) -> Environment:
        environment = super()._create_environment()
        environment.bytecode_cache = _compiled
        return environment

    def from_notebook_node(  # type: ignore[override]
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        for cell in nb.cells:
            for output in cell.get("outputs", ()):
                output.setdefault("metadata", NotebookNode()).setdefault("alt", NO_TEXT)
        resources = self._init_resources(resources)
        datatypes = WidgetsDataTypeFilter(notebook_metadata=self._nb_metadata, parent=self, resources=resources)
        self.register_filter("highlight_code", highlight)
        self.register_filter("filter_data_type", datatypes)
        return TemplateExporter.from_notebook_node(self, nb, resources, **options)


class _Compiled(BytecodeCache):
    """Compiled templates, kept as long as the process runs."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._kept.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._kept[bucket.key, bucket.checksum] = bucket.code


_compiled = _Compiled()


def highlight(source: str, metadata: dict[str, Any] | None = None) -> str:
    """A code cell in color. Most cells are the same in all notebooks of an assignment."""
    return _highlight_python(source)


@lru_cache(maxsize=1024)
def _highlight_python(source: str) -> str:
    return Highlight2HTML(pygments_lexer="ipython3")(source)
