"""The family that comes with the course: ELMo, BERT and GPT, pretrained at one budget by ``recipes/family.py``.

They share a tokenizer, the text (articles of Wikipedia and addresses on the state of the union, in lower case), the
number of tokens read and, within 5 %, the number of parameters outside the embeddings. ``data/pretrained`` holds their
weights in 16 bits, their logs and what they reached.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from autograder.reference.bert import BertForPreTraining
from autograder.reference.elmo import ELMo
from autograder.reference.gpt import GPT
from autograder.reference.recipes.family import KINDS, TOKENIZER, Sizes
from autograder.reference.wordpiece import WordPiece

FOLDER = Path(__file__).parent.parent / "data" / "pretrained"


def load_tokenizer(folder: Path = FOLDER) -> WordPiece:
    """The pieces of words that all three read.

    Raises:
        FileNotFoundError: if it is not there; as for the others below.
    """
    return WordPiece.load(_there(folder, TOKENIZER))


def load_elmo(folder: Path = FOLDER) -> ELMo:
    """Two language models, one for each direction; in evaluation mode."""
    model = _load("elmo", folder)
    assert isinstance(model, ELMo)
    return model


def load_bert(folder: Path = FOLDER) -> BertForPreTraining:
    """The encoder with its head for masked words, in evaluation mode; its head for next sentences was not trained."""
    model = _load("bert", folder)
    assert isinstance(model, BertForPreTraining)
    return model


def load_gpt(folder: Path = FOLDER) -> GPT:
    """The decoder; in evaluation mode."""
    model = _load("gpt", folder)
    assert isinstance(model, GPT)
    return model


def figures(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """How "elmo", "bert" or "gpt" was made and what it reached: sizes, training, losses in nats on held-out text."""
    return json.loads(_there(folder, f"{name}.json").read_text(encoding="utf-8"))


def _load(name: str, folder: Path) -> Any:
    model = KINDS[name].make(Sizes(**figures(name, folder)["sizes"]))
    model.load_state_dict(load_file(_there(folder, f"{name}.safetensors")))
    return model.eval()


def _there(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {name} in {folder}: make it with python -m autograder.reference.recipes.family."
        )
    return path
