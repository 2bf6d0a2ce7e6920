"""nbgrader preprocessor: nbgrader's check of its own metadata, made once for what is the same in every notebook."""

import hashlib
import json

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.preprocessors import CheckCellMetadata

_passed: set[bytes] = set()


class CheckMetadata(CheckCellMetadata):
    """nbgrader reads its schema anew for every cell. All mended notebooks of an assignment have the same metadata."""

    def preprocess(self, nb: NotebookNode, resources: ResourcesDict) -> tuple[NotebookNode, ResourcesDict]:
        about = [[cell.cell_type, cell.metadata.nbgrader] for cell in nb.cells if "nbgrader" in cell.metadata]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).digest()
        if digest not in _passed:
            nb, resources = super().preprocess(nb, resources)
            _passed.add(digest)
        return nb, resources
