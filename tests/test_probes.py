"""Probes: who is asked what, the control task, and that a probe finds what is there and nothing else."""

from collections import Counter

import numpy as np
import torch

from autograder.data import Document
from autograder.reference.recipes import probes
from autograder.reference.recipes.family import KINDS, Sizes
from autograder.reference.recipes.probes import Asked, control_labels, draw, find_words, probe, vectors
from autograder.reference.wordpiece import WordPiece

TEXT = "The river Rhine flows by the town of Basel . It is long . Next to the river stood the old house of Anna ."


def test_words_are_asked_for_what_is_true_of_them() -> None:
    document = Document("a", TEXT, "a", "Geography")
    found = find_words([document], ["Art", "Geography"], ["the", "of"])
    by_word = {word.words[word.place]: word.answers for word in found}
    assert by_word["river"][:2] in ((0, 0), (0, 0))
    assert by_word["rhine"] == (-1, 1, 1)
    assert by_word["anna"] == (1, 1, 1)
    assert "it" not in by_word
    assert "the" in by_word
    assert not any(word.place == 0 for word in found)


def asked(count: int) -> list[Asked]:
    generator = np.random.default_rng(0)
    return [
        Asked(["a", f"w{generator.integers(50)}"], 1, (int(generator.integers(-1, 3)), int(i % 10 == 0), int(i % 7)))
        for i in range(count)
    ]


def test_a_draw_is_balanced_where_it_should_be_and_leaves_out_who_is_not_asked() -> None:
    words = asked(3_000)
    before = draw(words, 0, 300, seed=0)
    assert Counter(word.answers[0] for word in before) == {0: 100, 1: 100, 2: 100}
    assert Counter(word.answers[1] for word in draw(words, 1, 300, seed=0)) == {0: 150, 1: 150}
    assert len(draw(words, 2, 300, seed=0)) == 300
    assert draw(words, 0, 300, seed=1) != before == draw(words, 0, 300, seed=0)


def test_the_control_gives_a_word_the_same_label_everywhere() -> None:
    words = asked(3_000)
    labels = control_labels(words, np.array([0, 0, 0, 1]), seed=0)
    of_word: dict[str, set[int]] = {}
    for word, label in zip(words, labels.tolist(), strict=True):
        of_word.setdefault(word.words[1], set()).add(label)
    assert all(len(found) == 1 for found in of_word.values())
    assert 0.05 < labels.mean() < 0.5
    assert (labels != control_labels(words, np.array([0, 0, 0, 1]), seed=1)).any()


def test_a_probe_finds_what_is_there_and_no_more() -> None:
    generator = np.random.default_rng(0)
    x = {
        part: generator.normal(size=(count, 20)) for part, count in (("train", 800), ("validation", 200), ("test", 400))
    }
    there = {part: (rows[:, 3] + rows[:, 5] > 0).astype(int) for part, rows in x.items()}
    chance = {part: generator.integers(2, size=len(rows)) for part, rows in x.items()}
    assert probe(x, there) > 0.95
    assert 0.4 < probe(x, chance) < 0.6


def test_vectors_are_those_of_the_words_first_pieces() -> None:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = WordPiece([*special, *"abc", *(f"##{letter}" for letter in "abc")], special)
    torch.manual_seed(0)
    model = KINDS["elmo"].make(Sizes(vocab_size=len(tokenizer.vocabulary), lstm_size=6)).eval()
    words = [Asked(["abc", "b", "ca"], 2, (0, 0, 0)), Asked(["a", "b"], 0, (0, 0, 0))]
    found = vectors(model, tokenizer, words)
    for row, (word, place) in enumerate(((words[0], 4), (words[1], 0))):
        ids = torch.tensor([[i for other in word.words for i in tokenizer.encode(other)]])
        with torch.no_grad():
            expected = model.hidden_states(ids)
        for layer, states in zip(found, expected, strict=True):
            np.testing.assert_allclose(layer[row], states[0, place].numpy(), atol=1e-6)


def test_the_course_has_enough_words_for_every_question() -> None:
    words = probes.course_words()
    for number in range(len(probes.QUESTIONS)):
        for part, count in probes.COUNTS.items():
            assert len(draw(words[part], number, count, seed=0)) >= 0.9 * count
