"""What the subword tokenizers of the course share: text to numbers and back, special tokens, saving and loading.

The tokenizers themselves: ``subwords.BPE``, ``byte_level_bpe.ByteLevelBPE`` and ``wordpiece.WordPiece``.
"""

import json
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Self

import regex

CACHE_SIZE = 200_000
"""Of how many different words a tokenizer remembers the pieces."""


class SubwordTokenizer(ABC):
    """Text to numbers and back. Every tokenizer is a dataclass with these and its own settings, all kept by ``save``.

    Attributes:
        vocabulary: the pieces; a piece's number is its place.
        special_tokens: pieces that are found in the text before anything else, and are never cut.
        ids: the number of each piece.

    Raises:
        ValueError: if a piece stands twice in the vocabulary, or a special token not at all.
    """

    vocabulary: list[str]
    special_tokens: list[str]

    def __post_init__(self) -> None:
        self.ids = {piece: number for number, piece in enumerate(self.vocabulary)}
        if len(self.ids) < len(self.vocabulary):
            twice = next(piece for piece, count in Counter(self.vocabulary).items() if count > 1)
            raise ValueError(f"{twice!r} stands twice in the vocabulary: leave one out.")
        for token in self.special_tokens:
            self.demand(token)
        longest_first = sorted(filter(None, self.special_tokens), key=len, reverse=True)
        self._special = regex.compile("|".join(map(regex.escape, longest_first)) or "(?!)")
        self._known: dict[str, list[int]] = {}

    def demand(self, piece: str) -> int:
        """The number of a piece that has to be there."""
        if piece not in self.ids:
            raise ValueError(f"{piece!r} is not in the vocabulary: add it there, or leave it out here.")
        return self.ids[piece]

    @abstractmethod
    def split(self, text: str) -> list[str]:
        """The words of a text without special tokens."""

    @abstractmethod
    def encode_word(self, word: str) -> list[int]:
        """The numbers of the pieces of one word."""

    @abstractmethod
    def join(self, pieces: list[str]) -> str:
        """The text that pieces stand for."""

    def encode(self, text: str) -> list[int]:
        """The numbers of the pieces of a text."""
        ids: list[int] = []
        start = 0
        for special in self._special.finditer(text):
            self._encode_plain(text[start : special.start()], ids)
            ids.append(self.ids[special[0]])
            start = special.end()
        self._encode_plain(text[start:], ids)
        return ids

    def _encode_plain(self, text: str, ids: list[int]) -> None:
        for word in self.split(text):
            known = self._known.get(word)
            if known is None:
                known = self.encode_word(word)
                if len(self._known) < CACHE_SIZE:
                    self._known[word] = known
            ids += known

    def tokens(self, text: str) -> list[str]:
        """The pieces of a text."""
        return [self.vocabulary[number] for number in self.encode(text)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text that numbers stand for."""
        return self.join([self.vocabulary[number] for number in ids])

    def save(self, path: Path | str) -> None:
        """Write all settings into a JSON file; what stood there is replaced only when all is written."""
        path = Path(path)
        settings = {setting.name: getattr(self, setting.name) for setting in fields(self)}  # type: ignore[arg-type]
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps({"kind": type(self).__name__, **settings}, ensure_ascii=False), encoding="utf-8")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: if it is no such file, or of another kind of tokenizer.
        """
        try:
            settings = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError:
            settings = None
        kind = settings.pop("kind", None) if isinstance(settings, dict) else None
        if kind != cls.__name__:
            raise ValueError(f"{path} holds {kind or 'no tokenizer'}, not {cls.__name__}: choose another file.")
        return cls(**settings)
