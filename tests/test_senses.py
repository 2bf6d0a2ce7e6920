"""Senses by layer: the first vector does not know them, what a layer knows is found, and the parts stay apart."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from autograder.data.generated.pseudo_words import merged
from autograder.reference.recipes import senses
from autograder.reference.recipes.family import CONTEXT, KINDS, PARTS, Sizes
from autograder.reference.recipes.senses import PAIRS, Reader, Use, difference, find_uses, judge, mean_around, summary
from autograder.reference.wordpiece import WordPiece

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = sorted({word for pair in PAIRS for word in pair} | {"the", "a", "sang", "flowed"})
TOKENIZER = WordPiece([*SPECIAL, *WORDS], SPECIAL)
SIZES = Sizes(vocab_size=len(TOKENIZER.vocabulary), d_model=16, num_layers=2, lstm_size=13)


def test_uses_are_balanced_and_cut_around_the_pseudo_word() -> None:
    documents = [["the"] * 100 + ["music"] + ["a"] * 100, ["river", "the"] * 3, ["the", "river", "music"]]
    uses = find_uses(documents)
    assert sorted(use.sense for use in uses) == [0, 0, 1, 1]
    for use in uses:
        assert use.words[use.place] == merged(PAIRS[use.pair]) == "music|river"
        assert len(use.words) <= CONTEXT


@pytest.mark.parametrize("kind", ["elmo", "bert", "gpt"])
def test_the_first_vector_is_the_mean_and_later_ones_know_the_context(kind: str) -> None:
    torch.manual_seed(0)
    model = KINDS[kind].make(SIZES)
    parent, name = senses._embedding_of(model)
    old = getattr(parent, name).weight.detach().clone()
    reader = Reader.of(model, TOKENIZER)
    both = (old[TOKENIZER.ids["music"]] + old[TOKENIZER.ids["river"]]) / 2
    assert torch.allclose(getattr(parent, name).weight[len(TOKENIZER.vocabulary)], both)
    pseudo = merged(("music", "river"))
    uses = [
        Use(["the", pseudo, "sang"], 1, 0, 0),
        Use(["a", "the", pseudo, "flowed", "the", "the"], 2, 0, 1),
        Use(["a", pseudo, "sang"], 1, 0, 0),
    ]
    layers = reader.vectors(uses, kind)
    assert len(layers) == 3
    assert np.allclose(layers[0][0], layers[0][1], atol=1e-6)
    assert not np.allclose(layers[-1][0], layers[-1][1], atol=1e-3)
    alone = reader.vectors(uses[:1], kind)
    assert np.allclose(layers[-1][0], alone[-1][0], atol=1e-5)  # neither the order nor the padding matters


def test_a_long_text_is_cut_and_the_place_stays_right() -> None:
    reader = Reader.of(KINDS["gpt"].make(SIZES), TOKENIZER)
    pseudo = merged(("music", "river"))
    ids, place = reader.encode(Use(["the"] * 200 + [pseudo] + ["a"] * 5, 200, 0, 0))
    assert len(ids) <= CONTEXT
    assert ids[place] == len(TOKENIZER.vocabulary)


def test_the_mean_of_the_words_around_leaves_the_pseudo_word_out() -> None:
    vectors = {"the": np.array([1.0, 0.0]), "a": np.array([0.0, 1.0]), "x": np.array([9.0, 9.0])}
    rows = mean_around([Use(["the", "x", "a"], 1, 0, 0), Use(["x"], 0, 0, 0)], vectors)
    assert rows.tolist() == [[0.5, 0.5], [0.0, 0.0]]


def test_the_judge_finds_what_is_there_and_nothing_where_there_is_nothing() -> None:
    generator = np.random.default_rng(0)
    uses, knowing, blind = {}, {}, {}
    for part in PARTS:
        uses[part] = [Use([], 0, pair, sense) for pair in range(len(PAIRS)) for sense in (0, 1) for _ in range(40)]
        labels = np.array([use.sense for use in uses[part]])
        blind[part] = generator.normal(size=(len(labels), 150))
        knowing[part] = blind[part] + 3.0 * np.outer(2 * labels - 1, np.eye(150)[0])
    found = summary([*judge("knowing", "1", knowing, uses), *judge("blind", "1", blind, uses)])
    scores = {(line["model"], line["kind"]): line["test"] for line in found}
    assert min(scores["knowing", kind] for kind in ("far", "near", "class")) > 0.85
    assert all(abs(scores["blind", kind] - 0.5) < 0.06 for kind in ("far", "near", "class"))


def test_a_mix_gives_every_layer_the_same_say() -> None:
    train = [np.array([[1.0], [-1.0]]), np.array([[100.0], [-100.0]])]
    assert senses.mixed([np.array([[2.0]]), np.array([[100.0]])], train).tolist() == [[1.5]]


def test_the_layer_is_chosen_on_validation() -> None:
    def row(layer: str, validation: float, test: float) -> dict[str, object]:
        return {"model": "m", "layer": layer, "kind": "far", "strength": 1.0, "validation": validation, "test": test}

    (line,) = summary([row("0", 0.6, 0.99), row("1", 0.8, 0.7), row("1", 0.9, 0.8)])
    assert (line["layer"], line["test"]) == ("1", pytest.approx(0.75))
    assert line["error"] == pytest.approx(0.05)


def test_two_models_are_compared_pair_by_pair() -> None:
    def row(model: str, pair: str, strength: float, validation: float, test: float) -> dict[str, object]:
        of = {"model": model, "layer": "1", "kind": "far", "pair": pair}
        return {**of, "strength": strength, "validation": validation, "test": test}

    rows = [row("a", "x", 1.0, 0.8, 0.9), row("a", "y", 1.0, 0.8, 0.6), row("a", "x", 9.0, 0.7, 0.0)]
    rows += [row("b", "y", 1.0, 0.8, 0.5), row("b", "x", 1.0, 0.8, 0.7)]
    mean, error = difference(rows, "far", ("a", "1"), ("b", "1"))
    assert (mean, error) == (pytest.approx(0.15), pytest.approx(0.05))


def test_a_published_encoder_can_be_read_too() -> None:
    uses = [Use(["the", "water", "of", "the", "music|river", "is", "deep"], 4, 0, 1)]
    from autograder.reference.pretrained import load_minilm

    layers = Reader.of(*load_minilm()).vectors(uses, "minilm")
    assert [layer.shape for layer in layers] == [(1, 384)] * 7
    assert F.cosine_similarity(torch.tensor(layers[0]), torch.tensor(layers[-1])).item() < 0.99
