"""Byte-level byte-pair encoding: no text has unknown characters, for every text is made of bytes.

GPT-2's tokenizer (Radford et al. 2019, §2.2): the same merges as in ``subwords.py``, of bytes in place of characters.
Proven equal to the library ``tokenizers`` by ``tests/test_reference_byte_level_bpe.py``.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import regex

from autograder.reference.gguf import GGUFError, GGUFFile
from autograder.reference.subword_tokenizer import SubwordTokenizer
from autograder.reference.subwords import count_words, learn_vocabulary, merge_by_rank, rank_merges

GPT2_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""The words of GPT-2, each a run of letters, of digits or of other signs, with the space before it; \\p{L} is any
letter and \\p{N} any digit of any script. Every character is in some word: nothing is lost."""

SINGLE_DIGIT_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])|\s+"
"""The words of SmolLM2, the same, but every digit is a word of its own."""

GGUF_WORDS = {"gpt-2": GPT2_WORDS, "smollm": SINGLE_DIGIT_WORDS}
GGUF_CONTROL = 3
"""The type of special tokens in GGUF files."""


def byte_characters() -> list[str]:
    """A visible character for each of the 256 bytes, as GPT-2 writes them into its vocabulary.

    Bytes that are visible in Latin-1 stand for themselves, the others for the characters from number 256 on: the space
    is "Ġ".
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    invisible = [byte for byte in range(256) if byte not in visible]
    return [chr(byte if byte in visible else 256 + invisible.index(byte)) for byte in range(256)]


CHARACTERS = byte_characters()
BYTES = {character: byte for byte, character in enumerate(CHARACTERS)}


def spell_bytes(word: str) -> str:
    """The bytes of a word in UTF-8, each as its character."""
    return "".join([CHARACTERS[byte] for byte in word.encode()])


def bytes_of(piece: str) -> bytes:
    """The bytes whose characters these are; a piece with other characters is itself a piece of text."""
    if any(character not in BYTES for character in piece):
        return piece.encode()
    return bytes([BYTES[character] for character in piece])


@dataclass
class ByteLevelBPE(SubwordTokenizer):
    """Byte-pair encoding on bytes; ``decode(encode(text)) == text`` if the vocabulary has all bytes.

    Attributes:
        vocabulary, special_tokens: see ``SubwordTokenizer``. A byte that is not in the vocabulary is left out, as
            ``tokenizers`` does it; published vocabularies lack some that hardly occur.
        merges: pairs of pieces in the order in which they are applied.
        pattern: a regular expression without groups that says what a word is.

    Raises:
        ValueError: if a piece that is named stands twice in the vocabulary, or not at all.
    """

    vocabulary: list[str] = field(repr=False)
    merges: list[tuple[str, str]] = field(repr=False)
    special_tokens: list[str] = field(default_factory=list)
    pattern: str = GPT2_WORDS

    def __post_init__(self) -> None:
        super().__post_init__()
        self.merges = [(left, right) for left, right in self.merges]
        self._ranks = rank_merges(self, self.merges)
        self._bytes = {piece: bytes_of(piece) for piece in self.vocabulary}
        self._bytes |= {piece: piece.encode() for piece in self.special_tokens}

    def split(self, text: str) -> list[str]:
        return regex.findall(self.pattern, text)

    def encode_word(self, word: str) -> list[int]:
        ids = [self.ids[character] for character in spell_bytes(word) if character in self.ids]
        return merge_by_rank(ids, self._ranks)

    def join(self, pieces: list[str]) -> str:
        """The text whose bytes the pieces are; what is no UTF-8, such as half a character, becomes "�"."""
        return b"".join([self._bytes[piece] for piece in pieces]).decode(errors="replace")


def train_byte_level_bpe(
    texts: Iterable[str],
    vocab_size: int,
    *,
    special_tokens: Sequence[str] = ("<|endoftext|>",),
    min_frequency: int = 1,
    pattern: str = GPT2_WORDS,
) -> ByteLevelBPE:
    """Learn byte-level byte-pair encoding from texts; see :func:`~autograder.reference.subwords.learn_vocabulary`.

    All 256 bytes are in the vocabulary, whether they occur or not.
    """
    word_counts: Counter[str] = Counter()
    for word, count in count_words(texts, partial(regex.findall, pattern)).items():
        word_counts[spell_bytes(word)] += count
    vocabulary, merges = learn_vocabulary(
        word_counts, vocab_size, special_tokens, min_frequency=min_frequency, alphabet=CHARACTERS
    )
    return ByteLevelBPE(vocabulary, merges, list(special_tokens), pattern)


def from_gguf(file: GGUFFile) -> ByteLevelBPE:
    """The tokenizer that a published language model brings along.

    Raises:
        GGUFError: if the file has none, or one of another kind.
    """
    kind, words = file.value("tokenizer.ggml.model"), file.value("tokenizer.ggml.pre")
    if kind != "gpt2" or words not in GGUF_WORDS:
        known = " or ".join(f"gpt2 with {name}" for name in GGUF_WORDS)
        raise GGUFError(f"{file.path} has the tokenizer {kind} with {words}: choose the file of a model with {known}.")
    vocabulary = file.value("tokenizer.ggml.tokens")
    types = file.value("tokenizer.ggml.token_type")
    merges = [(left, right) for left, right in (merge.split(" ") for merge in file.value("tokenizer.ggml.merges"))]
    special = [piece for piece, kind in zip(vocabulary, types, strict=True) if kind == GGUF_CONTROL]
    return ByteLevelBPE(vocabulary, merges, special, GGUF_WORDS[words])
