"""What characters are, as Unicode 8.0 (2015) has it.

BERT cuts a text by the kinds of its characters, and ``tokenizers``, which serves its published vocabulary, knows them
as of Unicode 8.0. Characters that came later have no kind there and no parts. Python's own tables are newer, and newer
in every version of Python; here they are cut back.
"""

import re
import unicodedata

NEWER = (
    "5C8-5C9 61D 7FD 890-8E2 9FD-9FE A76 AFA-AFF B53-B55 C04-C3C C77 C84 D00 D3B-D3C D81 EBA ECE 180F-1886 1ABF-1AF0 "
    "1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E63 A82C A8C5 A8FF A9BD 105C9-105E4 10D24-10F89 11070-11074 110C2-110CD 111CF "
    "1123E-11241 1133B 11383-1145E 11660-1166C 116B9 1182F-11FFF 12FF1-1612F 16D68-16F4F 16FE2-16FE4 1CF00-1D128 "
    "1D25B-1D25C 1E000-1E6F5 1E944-1E95F"
)
"""Where there are newer marks, signs of punctuation, control characters and characters that have parts."""

CHANGED = {"\u166d": "Po", "\u1734": "Mn", "\U000111c9": "Po", "\U0001171e": "Mn"}
"""Characters whose kind has changed since."""

_RANGES = [(place.split("-")[0], place.split("-")[-1]) for place in NEWER.split()]
_NEWER = re.compile("[" + "".join(f"{chr(int(first, 16))}-{chr(int(last, 16))}" for first, last in _RANGES) + "]")


def category(character: str) -> str:
    """The kind of a character: "Mn" is a mark on another character, "P…" punctuation, "Cc", "Cf", "Co" control."""
    if character in CHANGED:
        return CHANGED[character]
    return "Cn" if _NEWER.match(character) else unicodedata.category(character)


def decompose(character: str) -> str:
    """A character cut into the letter and its marks (normal form D): é into e and an acute."""
    return character if _NEWER.match(character) else unicodedata.normalize("NFD", character)
