"""Reading GGUF files: one written here byte by byte, damaged ones, and the published SmolLM2."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from autograder.reference.gguf import GGUFError, GGUFFile

F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


METADATA = {
    "general.architecture": (8, text("llama"), "llama"),
    "a.small": (0, struct.pack("<B", 200), 200),
    "a.negative": (5, struct.pack("<i", -7), -7),
    "a.fraction": (6, struct.pack("<f", 0.25), 0.25),
    "a.truth": (7, b"\x01", True),
    "a.large": (10, struct.pack("<Q", 2**40), 2**40),
    "a.double": (12, struct.pack("<d", 0.1), 0.1),
    "some.words": (9, struct.pack("<IQ", 8, 2) + text("Ġé") + text(""), ["Ġé", ""]),
    "some.numbers": (9, struct.pack("<IQ", 4, 3) + struct.pack("<3I", 5, 6, 7), [5, 6, 7]),
}


def q8_0_block(scale: float, numbers: list[int]) -> tuple[bytes, list[float]]:
    return struct.pack("<e32b", scale, *numbers), [scale * number for number in numbers]


def q4_1_block(scale: float, least: float, numbers: list[int]) -> tuple[bytes, list[float]]:
    pairs = [low | high << 4 for low, high in zip(numbers[:16], numbers[16:], strict=True)]
    return struct.pack("<ee16B", scale, least, *pairs), [scale * number + least for number in numbers]


def tensors() -> dict[str, tuple[int, tuple[int, ...], bytes, np.ndarray]]:
    """By name: encoding, shape as torch orders it, bytes, and the numbers they stand for."""
    draw = np.random.default_rng(0)
    plain = draw.normal(size=(3, 5)).astype("<f4")
    half = draw.normal(size=7).astype("<f2")
    eights = [q8_0_block(0.5 * (i + 1), draw.integers(-128, 128, 32).tolist()) for i in range(4)]
    fours = [q4_1_block(0.25 * (i + 1), -1.5 * i, draw.integers(0, 16, 32).tolist()) for i in range(6)]
    return {
        "plain": (F32, (3, 5), plain.tobytes(), plain),
        "half": (F16, (7,), half.tobytes(), half.astype(np.float32)),
        "eights": (Q8_0, (2, 64), b"".join(b for b, _ in eights), np.reshape([x for _, x in eights], (2, 64))),
        "fours": (Q4_1, (2, 3, 32), b"".join(b for b, _ in fours), np.reshape([x for _, x in fours], (2, 3, 32))),
    }


def gguf(version: int = 3, alignment: int = 32, encoding_of_fours: int = Q4_1) -> bytes:
    metadata = dict(METADATA)
    if alignment != 32:
        metadata["general.alignment"] = (4, struct.pack("<I", alignment), alignment)
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors()), len(metadata))
    for name, (kind, value, _) in metadata.items():
        head += text(name) + struct.pack("<I", kind) + value
    body = b""
    for name, (encoding, shape, numbers, _) in tensors().items():
        encoding = encoding_of_fours if name == "fours" else encoding
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
        head += struct.pack("<IQ", encoding, len(body))
        body += numbers
        body += bytes(-len(body) % alignment)
    return head + bytes(-len(head) % alignment) + body


def written(folder: Path, content: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [32, 64])
def test_metadata_and_tensors_come_back_as_they_were_written(tmp_path, version, alignment):
    file = GGUFFile(written(tmp_path, gguf(version, alignment)))
    assert {name: file.value(name) for name in METADATA} == {name: value for name, (*_, value) in METADATA.items()}
    assert list(file.entries) == list(tensors())
    for name, (_, shape, _, numbers) in tensors().items():
        read = file.tensor(name)
        assert read.dtype == torch.float32
        assert tuple(read.shape) == shape
        assert torch.equal(read, torch.from_numpy(numbers.astype(np.float32)))


def test_what_was_read_can_be_written_into(tmp_path):
    file = GGUFFile(written(tmp_path, gguf()))
    for name in file.entries:
        file.tensor(name).zero_()
        assert file.tensor(name).any()


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    content = gguf()
    for size in [*range(4, 64), *range(64, len(content) - 32, 29)]:
        with pytest.raises(GGUFError, match=f"cut short at byte {size}: download it again"):
            GGUFFile(written(tmp_path, content[:size]))


@pytest.mark.parametrize("content", [b"", b"GG", b"\x80\x02safetensors"], ids=["empty", "two bytes", "other"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    with pytest.raises(GGUFError, match=r"model\.gguf is not a GGUF file"):
        GGUFFile(written(tmp_path, content))


def test_an_unknown_version_is_refused(tmp_path):
    with pytest.raises(GGUFError, match="of version 1: choose one of version 2 or 3"):
        GGUFFile(written(tmp_path, gguf(version=1)))


def test_an_unknown_encoding_is_refused_with_the_tensor_and_what_is_known(tmp_path):
    with pytest.raises(GGUFError, match="holds fours in the encoding number 14: choose a file in F32, F16, Q4_1, Q8_0"):
        GGUFFile(written(tmp_path, gguf(encoding_of_fours=14)))


def test_a_name_that_the_file_does_not_hold_is_refused(tmp_path):
    file = GGUFFile(written(tmp_path, gguf()))
    with pytest.raises(GGUFError, match=r"says nothing of llama\.block_count"):
        file.value("llama.block_count")
    with pytest.raises(GGUFError, match="holds no tensor named token_embd"):
        file.tensor("token_embd")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        GGUFFile(tmp_path / "nowhere.gguf")
