"""nbformat, without a second that its import would take for nothing.

It imports jsonschema, and that a module which tests international addresses (RFC 3987), if it is there. That module
builds some forty parsers at once, in every process, and no notebook holds such an address. So it is not there for as
long as jsonschema looks.
"""

import sys

_UNWANTED = "rfc3987_syntax"

_hidden = _UNWANTED not in sys.modules
if _hidden:
    sys.modules[_UNWANTED] = None  # type: ignore[assignment]  # an import of it raises ModuleNotFoundError

import nbformat  # noqa: E402
from nbformat import NotebookNode  # noqa: E402

if _hidden:
    del sys.modules[_UNWANTED]

__all__ = ["NotebookNode", "nbformat"]
