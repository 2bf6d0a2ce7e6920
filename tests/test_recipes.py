"""The recipes, with hardly any steps: that they run, resume and say what they measured."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from autograder.reference.recipes import character_gpt, family
from autograder.reference.recipes.family import KINDS, Recipe, Sizes, parameters_outside_embeddings
from autograder.reference.training import evaluating

TEXT = "in the beginning was the word, and the word was with god. " * 40


def test_the_character_recipe_has_the_numbers_of_nanogpt() -> None:
    model = character_gpt.make_model(65)
    assert (character_gpt.CONTEXT, character_gpt.BATCH, character_gpt.TRAINING.steps) == (64, 12, 2000)
    config = model.config
    assert (config.num_layers, config.num_heads, config.d_model, config.dropout) == (4, 4, 128, 0.0)


def test_the_character_recipe_learns_and_holds_out_the_last_tenth(tmp_path: Path) -> None:
    training = replace(character_gpt.TRAINING, steps=40, warmup_steps=5, evaluate_every=20)
    text = TEXT + "z" * (len(TEXT) // 9)  # what is held out was never seen
    _, characters, loss = character_gpt.run(text, tmp_path, training)
    assert characters.decode(characters.encode("the word").tolist()) == "the word"
    assert loss > math.log(len(characters.characters))
    _, _, loss = character_gpt.run(TEXT, tmp_path, training)
    assert loss < 2.5
    again, _, resumed = character_gpt.run(TEXT, tmp_path, training)
    assert resumed == loss
    ids = characters.encode(TEXT[: 64 * 3 + 1])
    with evaluating(again):
        log_probs = again(ids[: 64 * 3].view(3, 64)).log_softmax(dim=-1)
        expected = -log_probs.flatten(0, 1)[torch.arange(192), ids[1:]].mean().item()
        assert character_gpt.held_out_loss(again, ids) == pytest.approx(expected, abs=1e-5)


def test_the_character_recipe_says_what_it_reached_and_writes(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "autograder.reference.recipes.character_gpt", "--corpus", str(corpus)]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path / "run"), "--steps", "3", "--threads", "1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, written = done.stdout.split("\n", 1)
    assert first.startswith("held-out loss: ")
    assert len(written) >= 300
    assert list((tmp_path / "run").glob("seed-0/*.csv"))


def test_a_corpus_that_is_too_short_or_missing_is_said_to_be_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "autograder.reference.recipes.character_gpt", "--corpus"]
    (tmp_path / "short.txt").write_text("too short", encoding="utf-8")
    for path, said in ((tmp_path / "short.txt", "too short"), (tmp_path / "none.txt", "none.txt")):
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr


TEXTS = {
    "train": ["The cat sat on the mat and looked at the dog.", "A dog ran after the cat that sat there."] * 60,
    "validation": ["The dog sat on the mat and looked at the cat."] * 40,
    "test": ["The cat ran after the dog."] * 70,
}
SMALL = Sizes(vocab_size=60, d_model=16, num_layers=2, lstm_size=13)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return Recipe.of(TEXTS, tmp_path_factory.mktemp("recipe"), SMALL)


def test_the_family_has_as_many_parameters_outside_the_embeddings() -> None:
    counts = {name: parameters_outside_embeddings(kind.make(Sizes())) for name, kind in KINDS.items()}
    assert max(counts.values()) <= 1.05 * min(counts.values()), counts
    layer = 4 * (128 * 128 + 128) + 2 * 128 * 512 + 512 + 128 + 2 * 2 * 128
    assert counts["gpt"] == 4 * layer + 2 * 128
    assert counts["elmo"] == 4 * (4 * (2 * 157 * 157 + 2 * 157))
    for name, kind in KINDS.items():
        bytes_in_16_bits = 2 * sum(p.numel() for p in kind.make(Sizes()).parameters())
        assert bytes_in_16_bits < 10e6, name


def test_documents_end_with_a_mark_and_the_tokenizer_has_seen_the_training_part_alone(tmp_path: Path) -> None:
    texts = TEXTS | {"validation": ["The xylophone."] * 40}
    prepared = Recipe.of(texts, tmp_path, SMALL)
    end = prepared.tokenizer.ids["[SEP]"]
    assert [int((prepared.tokens[part] == end).sum()) for part in ("train", "validation", "test")] == [120, 40, 70]
    assert "x" not in prepared.tokenizer.ids
    again = Recipe.of(TEXTS, tmp_path, SMALL)
    assert again.tokenizer.vocabulary == prepared.tokenizer.vocabulary


@pytest.mark.parametrize("name", list(KINDS))
def test_each_of_the_family_learns_and_is_kept(recipe: Recipe, tmp_path: Path, name: str) -> None:
    training = replace(family.TRAINING, steps=12, warmup_steps=2, evaluate_every=6, learning_rate=1e-2)
    about = recipe.pretrain(name, tmp_path, training)
    untrained = math.log(60)
    assert about["validation_loss"] < untrained - 0.3
    assert about["tokens_read"] == 12 * 16 * 128
    assert json.loads((tmp_path / f"{name}.json").read_text())["test_loss"] == about["test_loss"]
    weights = load_file(tmp_path / f"{name}.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float16}
    KINDS[name].make(SMALL).load_state_dict(weights)
    resumed = recipe.pretrain(name, tmp_path, training)
    assert resumed == about


def test_bert_is_asked_for_no_mark_and_for_the_share_it_should_be(recipe: Recipe) -> None:
    seen = []

    class Spy(torch.nn.Module):
        def bert(self, inputs: torch.Tensor) -> torch.Tensor:
            seen.append(inputs)
            return torch.zeros(*inputs.shape, 60)

        def masked_lm_logits(self, hidden: torch.Tensor) -> torch.Tensor:
            seen.append(len(hidden))
            return hidden

    ids = recipe.tokens["train"][: 128 * 8].view(8, 128)
    assert family.bert_loss(Spy(), ids, 0, recipe).item() == pytest.approx(math.log(60), abs=1e-4)
    inputs, asked = seen
    marks = ids == recipe.tokenizer.ids["[SEP]"]
    assert torch.equal(inputs[marks], ids[marks])
    assert asked / (~marks).sum().item() == pytest.approx(0.3, abs=0.06)
    family.bert_loss(Spy(), ids, 0, recipe)
    assert torch.equal(seen[2], inputs)
