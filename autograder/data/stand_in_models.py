"""Stand-ins for pretrained models: the same files in the same formats, tiny, with random weights."""

import json
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from autograder.data.cards import Card
from autograder.data.checks import cache_folder
from autograder.data.datasets import FileDataset, Numbers
from autograder.data.generated import lexicon

CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "hidden_act": "gelu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 128,
    "model_type": "bert",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "type_vocab_size": 2,
}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

GGUF: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 128,
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": 8,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}
MARKS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ALIGNMENT = 32
FLOAT, STRING, ARRAY, WHOLE = 6, 8, 9, 4
"""Numbers of types in GGUF files."""


def minilm(name: str, card: Card, generator: np.random.Generator) -> FileDataset:
    """A BERT encoder that reads the words of the grammar."""
    from safetensors.numpy import save

    pieces = [*SPECIAL, *lexicon.PUNCTUATION, *lexicon.VOCABULARY]
    config = CONFIG | {"vocab_size": len(pieces)}
    weights = {key: _random(shape, generator) for key, shape in _bert_shapes(config)}
    contents = {
        "model.safetensors": save(weights),
        "vocab.txt": "".join(f"{piece}\n" for piece in pieces).encode(),
        "config.json": json.dumps(config, indent=1).encode(),
        "tokenizer.json": json.dumps(_word_pieces(pieces), indent=1).encode(),
    }
    return _written(name, card, contents)


def smollm2(name: str, card: Card, generator: np.random.Generator) -> FileDataset:
    """A Llama over bytes."""
    tokens = [*MARKS, *_visible_bytes()]
    metadata = GGUF | {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.merges": []}
    weights = {key: _random(shape, generator) for key, shape in _llama_shapes(len(tokens))}
    return _written(name, card, {"SmolLM2-135M-Instruct.Q4_1.gguf": gguf(metadata, weights)})


def _written(name: str, card: Card, contents: Mapping[str, bytes]) -> FileDataset:
    folder = cache_folder() / "stand-ins" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        complete = folder / f"{file}.{os.getpid()}"
        complete.write_bytes(content)
        os.replace(complete, folder / file)
    return FileDataset(name, card, "stand-in", {file: folder / file for file in contents})


def _random(shape: tuple[int, ...], generator: np.random.Generator) -> Numbers:
    """A matrix as it is before training; ones for the scale of a norm."""
    return np.ones(shape, np.float32) if len(shape) == 1 else generator.normal(0, 0.02, shape).astype(np.float32)


def _bert_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    wide, inner = config["hidden_size"], config["intermediate_size"]
    yield "embeddings.word_embeddings.weight", (config["vocab_size"], wide)
    yield "embeddings.position_embeddings.weight", (config["max_position_embeddings"], wide)
    yield "embeddings.token_type_embeddings.weight", (config["type_vocab_size"], wide)
    yield from _with_bias("embeddings.LayerNorm", (wide,))
    for layer in range(config["num_hidden_layers"]):
        start = f"encoder.layer.{layer}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            yield from _with_bias(f"{start}attention.{part}", (wide, wide))
        yield from _with_bias(start + "attention.output.LayerNorm", (wide,))
        yield from _with_bias(start + "intermediate.dense", (inner, wide))
        yield from _with_bias(start + "output.dense", (wide, inner))
        yield from _with_bias(start + "output.LayerNorm", (wide,))
    yield from _with_bias("pooler.dense", (wide, wide))


def _with_bias(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _word_pieces(pieces: list[str]) -> dict[str, Any]:
    """A tokenizer in the form of the library *tokenizers*."""
    marks = {"id": 0, "special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    ids = {piece: number for number, piece in enumerate(pieces)}
    return {
        "version": "1.0",
        "added_tokens": [marks | {"id": ids[mark], "content": mark} for mark in SPECIAL],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", ids["[SEP]"]],
            "cls": ["[CLS]", ids["[CLS]"]],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": ids,
        },
    }


def _llama_shapes(vocabulary_size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    wide, inner = GGUF["llama.embedding_length"], GGUF["llama.feed_forward_length"]
    shared = wide * GGUF["llama.attention.head_count_kv"] // GGUF["llama.attention.head_count"]
    yield "token_embd.weight", (vocabulary_size, wide)
    yield "output_norm.weight", (wide,)
    for layer in range(GGUF["llama.block_count"]):
        shapes = {
            "attn_norm": (wide,),
            "attn_q": (wide, wide),
            "attn_k": (shared, wide),
            "attn_v": (shared, wide),
            "attn_output": (wide, wide),
            "ffn_norm": (wide,),
            "ffn_gate": (inner, wide),
            "ffn_up": (inner, wide),
            "ffn_down": (wide, inner),
        }
        yield from ((f"blk.{layer}.{part}.weight", shape) for part, shape in shapes.items())


def _visible_bytes() -> list[str]:
    """The characters by which GPT-2 writes the 256 bytes: themselves where they can be seen, else others."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in visible else next(others)) for byte in range(256)]


def gguf(metadata: Mapping[str, Any], tensors: Mapping[str, Numbers]) -> bytes:
    """A GGUF file of version 3 with float32 tensors."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_string(name) + _typed(value) for name, value in metadata.items())
    body = b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(body))
        body += _padded(tensor.tobytes())
    return _padded(head) + body


def _typed(value: Any) -> bytes:
    if isinstance(value, list):
        return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(_string, value))
    if isinstance(value, str):
        return struct.pack("<I", STRING) + _string(value)
    return struct.pack("<If", FLOAT, value) if isinstance(value, float) else struct.pack("<II", WHOLE, value)


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
