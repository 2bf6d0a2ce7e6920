"""Texts in which it is known who keeps which company: what is declared is counted again."""

from collections import Counter

import pytest
import torch
from chances import margin

from autograder.data.generated.company import (
    ALMANAC,
    AMBIGUOUS,
    COUNTRIES,
    FILLER_SHARE,
    FILLERS,
    SENTENCE_LENGTH,
    Language,
    drawn,
)

COUNT = 20_000


def made(language: Language, count: int = COUNT) -> list[tuple[list[str], str, int]]:
    """Sentences as words, with the noun and its sense."""
    found = language.sentences(count, torch.Generator().manual_seed(3))
    nouns = list(language.nouns)
    for row, noun, place in zip(found.ids.tolist(), found.nouns.tolist(), found.places.tolist(), strict=True):
        assert language.words[row[place]] == nouns[noun]
    return [
        ([language.words[i] for i in row], nouns[noun], sense)
        for row, noun, sense in zip(found.ids.tolist(), found.nouns.tolist(), found.senses.tolist(), strict=True)
    ]


@pytest.mark.parametrize("language", [ALMANAC, drawn(torch.Generator().manual_seed(1))], ids=["almanac", "drawn"])
def test_a_sentence_has_one_noun_in_the_company_of_its_sense(language: Language) -> None:
    theme_of = {word: theme for theme, words in language.themes.items() for word in words}
    for words, noun, sense in made(language, 2_000):
        assert len(words) == SENTENCE_LENGTH
        assert [word for word in words if word in language.nouns] == [noun]
        themes = list(language.nouns[noun])[sense]
        assert {theme_of[word] for word in words if word in theme_of} <= set(themes)


def test_senses_places_and_small_words_come_as_often_as_declared() -> None:
    sentences = made(ALMANAC)
    for noun, senses in AMBIGUOUS.items():
        mine = [sense for _, other, sense in sentences if other == noun]
        assert abs(len(mine) / COUNT - 1 / len(ALMANAC.nouns)) < margin(COUNT)
        for number, share in enumerate(senses.values()):
            assert abs(mine.count(number) / len(mine) - share) < margin(len(mine))
    beside = [word for words, noun, _ in sentences for word in words if word != noun]
    assert abs(sum(word in FILLERS for word in beside) / len(beside) - FILLER_SHARE) < margin(len(beside))
    small = Counter(word for word in beside if word in FILLERS)
    assert [word for word, _ in small.most_common(3)] == list(FILLERS[:3])


def test_similarity_is_the_company_in_common() -> None:
    assert ALMANAC.similarity("fox", "owl") == 1
    assert ALMANAC.similarity("fox", "violin") == 0
    assert ALMANAC.similarity("paris", "france") == ALMANAC.similarity("paris", "rome") == 0.5
    assert ALMANAC.similarity("bank", "loan") == pytest.approx(0.7)
    assert ALMANAC.similarity("mouse", "fox") == pytest.approx(0.1)
    assert ALMANAC.similarity("bat", "key") == 0


def test_the_countries_are_alike_in_all_that_is_asked_of_them() -> None:
    assert len(COUNTRIES) == 8
    for words in COUNTRIES.values():
        for one, other in ((a, b) for a in words for b in words if a != b):
            assert ALMANAC.similarity(one, other) == 0.5


def test_a_word_with_two_roles_and_themes_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="two roles"):
        Language({"t": ("a", "b")}, {"a": {("t",): 1.0}})
    with pytest.raises(ValueError, match="differ in size"):
        Language({"t": ("a", "b"), "u": ("c",)}, {"n": {("t",): 1.0}})
