"""WordPiece, BERT's tokenizer: text cut into words by rule, words into the longest pieces that the vocabulary has.

The words are those of BERT's basic tokenization, the pieces those of Wu et al. (2016, §4.1) as BERT writes them, with
"##" in front of what continues a word (Devlin et al. 2019, §3). Proven equal to the library ``tokenizers``, also with
a published vocabulary, by ``tests/test_reference_wordpiece.py``.
"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from autograder.reference.subword_tokenizer import SubwordTokenizer
from autograder.reference.subwords import count_words, learn_vocabulary
from autograder.reference.unicode_8 import category, decompose

PREFIX = "##"
BERT_SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Chinese characters, which are written without spaces. (0x2B920 is that of ``tokenizers``; BERT's is 0x2B820.)"""


def is_control(character: str) -> bool:
    """Whether a character is invisible and no white space, or stands for what could not be read."""
    if character in "\t\n\r":
        return False
    return character == "\ufffd" or category(character) in ("Cc", "Cf", "Co")


def is_ideograph(character: str) -> bool:
    """Whether a character is Chinese."""
    return any(first <= ord(character) <= last for first, last in IDEOGRAPHS)


def is_punctuation(character: str) -> bool:
    """Whether a character is punctuation, or any sign of ASCII such as "$" and "+"."""
    return character in string.punctuation or category(character).startswith("P")


def strip_accents(text: str) -> str:
    """Letters without the marks on them."""
    return "".join(part for character in text for part in decompose(character) if category(part) != "Mn")


@lru_cache(maxsize=1 << 16)
def tidy(character: str, lowercase: bool) -> str:
    """What becomes of one character: nothing, a space, or a letter or sign, with spaces around it if it is a word.

    BERT does all this character by character: Σ becomes σ even at the end of a word.
    """
    if is_control(character):
        return ""
    if character.isspace():
        return " "
    alone = is_ideograph(character)
    if lowercase:
        character = strip_accents(character).lower()
    return "".join(f" {part} " if alone or is_punctuation(part) else part for part in character)


def basic_tokens(text: str, lowercase: bool = True) -> list[str]:
    """BERT's words: cut at white space, around punctuation and around Chinese characters.

    Args:
        text: any text.
        lowercase: whether capitals and accents are taken off.
    """
    return "".join([tidy(character, lowercase) for character in text]).split()


@dataclass
class WordPiece(SubwordTokenizer):
    """Pieces of words, the longest first (Devlin et al. 2019, §3).

    Attributes:
        vocabulary, special_tokens: see ``SubwordTokenizer``.
        lowercase: whether capitals and accents are taken off.
        unknown: stands for a word that cannot be put together from the vocabulary, however much of it is known.
        max_word_length: a word of more characters is unknown.

    Raises:
        ValueError: if a piece stands twice in the vocabulary, or a special token or ``unknown`` not at all.
    """

    vocabulary: list[str] = field(repr=False)
    special_tokens: list[str] = field(default_factory=lambda: list(BERT_SPECIAL_TOKENS))
    lowercase: bool = True
    unknown: str = "[UNK]"
    max_word_length: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        self._unknown = self.demand(self.unknown)

    def split(self, text: str) -> list[str]:
        return basic_tokens(text, self.lowercase)

    def encode_word(self, word: str) -> list[int]:
        if len(word) > self.max_word_length:
            return [self._unknown]
        ids = []
        start = 0
        while start < len(word):
            prefix = PREFIX if start > 0 else ""
            for end in range(len(word), start, -1):
                if prefix + word[start:end] in self.ids:
                    break
            else:
                return [self._unknown]
            ids.append(self.ids[prefix + word[start:end]])
            start = end
        return ids

    def join(self, pieces: list[str]) -> str:
        """The words with single spaces between, punctuation being words as well."""
        return " ".join(pieces).replace(f" {PREFIX}", "")


def train_wordpiece(
    texts: Iterable[str],
    vocab_size: int,
    *,
    special_tokens: Sequence[str] = BERT_SPECIAL_TOKENS,
    min_frequency: int = 1,
    limit_alphabet: int | None = None,
    lowercase: bool = True,
) -> WordPiece:
    """Learn pieces from texts; see :func:`~autograder.reference.subwords.learn_vocabulary`.

    As in ``tokenizers`` the vocabulary is that of byte-pair encoding with "##" in front of what continues a word: the
    most frequent pair is merged. The original merges the pair that makes the text likeliest (Schuster and Nakajima
    2012, §3), which is frequent for how frequent its parts are; the program that made BERT's vocabulary is not public.
    """
    counts = count_words(texts, partial(basic_tokens, lowercase=lowercase))
    vocabulary, _ = learn_vocabulary(
        counts, vocab_size, special_tokens, min_frequency, limit_alphabet=limit_alphabet, prefix=PREFIX
    )
    return WordPiece(vocabulary, list(special_tokens), lowercase)


def read_vocabulary(path: Path | str) -> list[str]:
    """A vocabulary published as a text file with one piece on a line, as BERT's is."""
    return Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
