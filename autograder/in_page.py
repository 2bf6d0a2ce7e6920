"""Models for the reader's browser: weights as a script, which a page can load also when it is read from a file."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from autograder.data import load
from autograder.data.generated.word_uses import WORD_USES
from autograder.reference.pretrained import load_bert, load_elmo, load_gpt, load_tokenizer, load_vit


def weights_script(name: str, weights: Mapping[str, Tensor], vocabulary: list[str], **more: Any) -> str:
    """A script that puts a model where ``book/assets/live/*.js`` look for it.

    Args:
        name: under which it is found, ``pretrained[name]``.
        weights: kept in 16 bits, one behind the other.
        vocabulary: the model's pieces, by their numbers.
        more: what else the page needs to know.
    """
    tensors, start, halves = {}, 0, []
    for key, value in weights.items():
        halves.append(value.detach().half().numpy().ravel())
        tensors[key] = [start, value.numel()]
        start += value.numel()
    packed = base64.b64encode(np.concatenate(halves).astype("<f2").tobytes()).decode()
    about = {"tensors": tensors, "vocabulary": vocabulary, "halves": packed, **more}
    return f"(globalThis.pretrained ??= {{}})[{json.dumps(name)}] = {json.dumps(about, separators=(',', ':'))};\n"


def write_models(folder: Path) -> None:
    """Write a script for each model that runs in a page.

    Args:
        folder: exists, or is made.
    """
    pieces = load_tokenizer().vocabulary
    elmo, bert, gpt, vit = load_elmo(), load_bert(), load_gpt(), load_vit()
    uses = {word: asdict(uses) for word, uses in WORD_USES.items()}
    untrained = ("bert.pooler.", "next_sentence_head.")
    scripts = {
        "elmo": weights_script("elmo", elmo.state_dict(), pieces, uses=uses),
        "bert": weights_script(
            "bert",
            {name: value for name, value in bert.state_dict().items() if not name.startswith(untrained)},
            pieces,
            heads=bert.bert.config.num_heads,
            layers=bert.bert.config.num_layers,
        ),
        "gpt": weights_script(
            "gpt", gpt.state_dict(), pieces, heads=gpt.config.num_heads, context=gpt.config.context_size
        ),
        "vit": weights_script("vit", vit.state_dict(), [], config=asdict(vit.config), examples=digits_to_read()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, script in scripts.items():
        (folder / f"{name}-weights.js").write_text(script, encoding="utf-8")


def digits_to_read() -> list[dict[str, Any]]:
    """Pictures of MNIST's test part that lie ready in the page: the first of each digit, in numbers from 0 to 255."""
    part = load("mnist", allow_stand_in=False).split().test
    first = [list(part.labels).index(digit) for digit in range(10)]
    pixels = [(255 * part.images[k]).round().astype(int).ravel().tolist() for k in first]
    return [{"label": digit, "pixels": numbers} for digit, numbers in enumerate(pixels)]
