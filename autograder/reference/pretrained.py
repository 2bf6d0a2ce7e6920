"""Pretrained models: the family that comes with the course, an encoder and a decoder that others published.

ELMo, BERT and GPT of the family were pretrained at one budget by ``recipes/family.py``. They share a tokenizer, the
text (articles of Wikipedia and addresses on the state of the union, in lower case), the number of tokens read and,
within 5 %, the number of parameters outside the embeddings. ``data/pretrained`` holds their weights in 16 bits, their
logs and what they reached.
"""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from autograder.data import load
from autograder.reference.bert import Bert, BertConfig, BertForPreTraining, load_pretrained
from autograder.reference.byte_level_bpe import ByteLevelBPE, from_gguf
from autograder.reference.elmo import ELMo
from autograder.reference.gguf import GGUFFile
from autograder.reference.gpt import GPT
from autograder.reference.modern_decoder import ModernDecoder, load_gguf
from autograder.reference.neural_ngram import NeuralLanguageModel
from autograder.reference.recipes.family import KINDS, TOKENIZER, Sizes
from autograder.reference.recipes.translator import Translator
from autograder.reference.vit import VisionTransformer, ViTConfig
from autograder.reference.wordpiece import BERT_SPECIAL_TOKENS, WordPiece, read_vocabulary

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


def load_neural_ngram(folder: Path = FOLDER) -> NeuralLanguageModel:
    """Bengio's model on the Bible in Basic English, from ``recipes/neural_ngram.py``; in evaluation mode."""
    weights = load_file(_there(folder, "neural_ngram.safetensors"))
    hidden_size, inputs = weights["hidden.weight"].shape
    vocab_size, embedding_size = weights["embedding.weight"].shape
    model = NeuralLanguageModel(vocab_size, inputs // embedding_size, embedding_size, hidden_size)
    model.load_state_dict(weights)
    return model.eval()


def load_translator(name: str = "french", folder: Path = FOLDER) -> Translator:
    """What translates verses from English into French, from ``recipes/translator.py``.

    Args:
        name: "french" for the Transformer, "french_lstm" for its rival.
    """
    _there(folder, f"{name}.safetensors")
    return Translator.load(folder, name)


def load_vit(folder: Path = FOLDER) -> VisionTransformer:
    """What reads handwritten digits, from ``recipes/drawn_digits.py``; in evaluation mode."""
    model = VisionTransformer(ViTConfig(**figures("vit", folder)["config"]))
    model.load_state_dict(load_file(_there(folder, "vit.safetensors")))
    return model.eval()


def load_minilm() -> tuple[Bert, WordPiece]:
    """A published encoder of 6 layers, 384 wide, in our own code, with its tokenizer; in evaluation mode.

    Raises:
        DataError: if it is not here; as for :func:`load_smollm2`.
    """
    files = load("minilm", allow_stand_in=False)
    published = json.loads(files.file("config.json").read_text(encoding="utf-8"))
    config = BertConfig(
        published["vocab_size"],
        published["hidden_size"],
        published["num_hidden_layers"],
        published["num_attention_heads"],
        published["intermediate_size"],
        layer_norm_eps=published["layer_norm_eps"],
    )
    model = Bert(config)
    load_pretrained(model, load_file(files.file("model.safetensors")))
    return model.eval(), WordPiece(read_vocabulary(files.file("vocab.txt")), list(BERT_SPECIAL_TOKENS))


def load_smollm2() -> tuple[ModernDecoder, ByteLevelBPE]:
    """A published decoder of 30 layers, 576 wide, in our own code, with its tokenizer; in evaluation mode."""
    path = load("smollm2", allow_stand_in=False).file("SmolLM2-135M-Instruct.Q4_1.gguf")
    return load_gguf(path).eval(), from_gguf(GGUFFile(path))


def figures(name: str, folder: Path = FOLDER) -> Any:
    """How a model was made and what it reached on held-out text.

    Args:
        name: "elmo", "bert", "gpt", "neural_ngram", "french", "french_lstm" or "vit".
    """
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
