"""The question that can be put to all three: nobody is shown the answer, and the answers are probabilities."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autograder.reference import pretrained
from autograder.reference.recipes import family
from autograder.reference.recipes.cloze import MARGIN, compare, opinions, questions, token_log_probs
from autograder.reference.recipes.family import CONTEXT, KINDS, Recipe, Sizes
from autograder.reference.training import evaluating

SIZES = Sizes(vocab_size=60, d_model=16, num_layers=2, lstm_size=13)
TEXTS = {
    "train": ["The cat sat on the mat and looked at the dog.", "A dog ran after the cat that sat there."] * 60,
    "validation": ["The dog sat on the mat and looked at the cat."] * 40,
    "test": ["The cat ran after the dog."] * 140,
}


def test_hidden_words_have_text_on_both_sides_and_are_no_marks() -> None:
    tokens = torch.arange(CONTEXT * 50 + 7) % 10
    ids, places = questions(tokens, 30, seed=0, never=3)
    assert ids.shape == (30, CONTEXT)
    assert places.min() >= MARGIN
    assert places.max() < CONTEXT - MARGIN
    assert (ids[torch.arange(30), places] != 3).all()
    again, _ = questions(tokens, 30, seed=0, never=3)
    assert torch.equal(ids, again)


@pytest.mark.parametrize("kind", ["elmo", "bert", "gpt"])
def test_no_model_is_shown_the_hidden_word(kind: str) -> None:
    torch.manual_seed(0)
    model = KINDS[kind].make(SIZES)
    ids, places = torch.randint(5, 60, (4, CONTEXT)), torch.tensor([40, 50, 60, 70])
    rows, prior = torch.arange(4), torch.zeros(60).log_softmax(dim=0)
    with evaluating(model):
        before = opinions(model, ids, places, 4, prior)
        changed = ids.index_put((rows, places), (ids[rows, places] + 1) % 60)
        after = opinions(model, changed, places, 4, prior)
        beside = opinions(model, ids.index_put((rows, places - 1), torch.tensor(7)), places, 4, prior)
    for name, log_probs in before.items():
        assert torch.equal(log_probs, after[name]), name
        assert torch.allclose(log_probs.exp().sum(dim=1), torch.ones(4), atol=1e-5)
    assert not torch.equal(before[kind], beside[kind])


def test_the_opinions_of_both_directions_are_multiplied_over_what_is_known_without_them() -> None:
    prior = torch.tensor([0.5, 0.3, 0.2])

    model = KINDS["elmo"].make(replace(SIZES, vocab_size=3))
    forward, backward = torch.randn(2, 1, CONTEXT, 3).unbind()
    model.forward = lambda ids: (forward, backward)  # type: ignore[method-assign]
    found = opinions(model, torch.zeros(1, CONTEXT, dtype=torch.long), torch.tensor([40]), 0, prior.log())["elmo"]
    product = forward[0, 39].softmax(dim=0) * backward[0, 41].softmax(dim=0) / prior
    assert torch.allclose(found.exp()[0], product / product.sum(), atol=1e-6)


def test_single_words_are_counted() -> None:
    counted = token_log_probs(torch.tensor([0, 0, 0, 2]), 4).exp()
    assert counted.tolist() == pytest.approx([4 / 8, 1 / 8, 2 / 8, 1 / 8])


def test_what_was_pretrained_is_loaded_and_compared(tmp_path: Path) -> None:
    recipe = Recipe.of(TEXTS, tmp_path, SIZES)
    with pytest.raises(FileNotFoundError, match=r"recipes\.family"):
        pretrained.load_bert(tmp_path)
    training = replace(family.TRAINING, steps=30, warmup_steps=2, learning_rate=1e-2)
    losses = {kind: recipe.pretrain(kind, tmp_path, training)["test_loss"] for kind in KINDS}
    loads = {"elmo": pretrained.load_elmo, "bert": pretrained.load_bert, "gpt": pretrained.load_gpt}
    models = {kind: load(tmp_path) for kind, load in loads.items()}
    assert pretrained.load_tokenizer(tmp_path).vocabulary == recipe.tokenizer.vocabulary
    for kind, model in models.items():
        assert not model.training
        assert recipe.held_out(kind, model, "test") == pytest.approx(losses[kind], abs=2e-3)
    found = compare(models, recipe)
    assert list(found) == ["single words", "elmo", "elmo, before", "elmo, behind", "bert", "gpt"]
    assert found["gpt"]["nats"] < found["single words"]["nats"] < math.log(60)
    assert all(scores["nats_error"] > 0 for scores in found.values())
