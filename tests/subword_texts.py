"""Texts on which tokenizers are compared: real ones, and all that is awkward in Unicode."""

import unicodedata

from hypothesis import strategies as st

from autograder.data import load

AWKWARD = (
    *("", " ", "  ", "\t", "\n", "\r\n", "\x0b", "\x1c", "\x85", "\xa0", "\u2003", "\u2028", "\u3000", "\u180e"),
    *("\x00", "\x07", "\x7f", "\xad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufffd", "\ue000"),
    *("é", "e\u0301", "ñ", "n\u0303", "a\u0308\u0323", "\u0301", "Å", "\u212b", "ﬁ", "ǆ", "½", "²", "Ⅻ", "٣"),
    *("ß", "ẞ", "İ", "ı", "ΣΑΣ", "ς", "ΌΣΟΣ", "ÀÉ", "ŉ", "ﬀ", "ʼn", "ꞌ", "\u1e9b\u0323"),
    *("漢字", "日本語です", "한국어", "\u1112\u1161\u11ab", "\uf900", "\U00020000", "\U0002b820", "\U0002b920", "ｶﾞ"),
    *("שָׁלוֹם", "اَلْعَرَبِيَّةُ", "\u202eabc\u202c", "हिन्दी", "ไทย", "தமிழ்", "\U00010400", "\U0001d400"),
    *("👩\u200d👩\u200d👧", "👍🏽", "🇫🇷", "☺\ufe0f", "\U0001fae0", "🤗"),
    *("don't", "DON'T", "it's", "'s", "''ll", "...", "?!", "$5", "a+b", "#", "##", "##ing", "_", "a_b", "-", "–", "—"),
    *("</w>", "Ġ", "Ċ", "▁", "1", "12", "3.14", "1,000", " 7", "x1y2", "\u037e", "\u1fef", "`", "~", "^"),
    *("the", "The", "ing", "of", "a", "aa", "aaa", "abab", "antidisestablishmentarianism", "x" * 99, "y" * 101),
)

known_characters = st.characters(exclude_categories=["Cs", "Cn"])
"""Any character that this Python knows: of later ones one library knows more than the other."""

awkward_texts = st.lists(st.sampled_from(AWKWARD) | known_characters, max_size=25).map("".join)

CORPORA = ("wikipedia", "state_of_the_union", "king_james")


def corpus(name: str, num_words: int, skip: int = 0) -> list[str]:
    """The texts of a dataset from one of its documents on, until there are so many words."""
    texts: list[str] = []
    for document in load(name).documents[skip:]:
        if num_words <= 0:
            break
        texts.append(document.text)
        num_words -= len(document.text.split())
    return texts


def every_known_character() -> list[str]:
    return [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) not in ("Cs", "Cn")]
