"""Next sentences: who is asked what, that counting finds what is shared, and that the recipe does what its log says."""

import csv

import pytest
import torch

from autograder.data import Document
from autograder.reference.pretrained import load_tokenizer
from autograder.reference.recipes import next_sentence
from autograder.reference.recipes.family import KINDS, Sizes
from autograder.reference.recipes.next_sentence import (
    LOG,
    SEEDS,
    STARTS,
    STEPS,
    SharedPieces,
    logits_of,
    pairs_of,
    prepare,
    run,
    split_sentences,
)
from autograder.reference.wordpiece import WordPiece


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return load_tokenizer()


def test_sentences_are_cut_where_they_end() -> None:
    text = "It rained. Was it cold? In 3.5 hours, e.g. at night, it was! Dr. Who came."
    assert split_sentences(text) == [
        "It rained.", "Was it cold?", "In 3.5 hours, e.g. at night, it was!", "Dr.", "Who came.",
    ]  # fmt: skip


def test_a_pair_is_of_one_article_or_of_two(tokenizer: WordPiece) -> None:
    texts = [f"The {name} is here today. The {name} is there tomorrow. The {name} is gone." for name in ("cat", "dog")]
    pairs = pairs_of([Document(name, text, name, "") for name, text in zip("ab", texts, strict=True)], tokenizer, 0)
    assert len(pairs) == 4
    cat, dog = tokenizer.encode("cat")[0], tokenizer.encode("dog")[0]
    for first, second, label in pairs:
        assert (label == 0) == ((cat in first) == (cat in second)) == ((dog in first) == (dog in second))


def test_the_counter_tells_pairs_by_the_rare_pieces_that_they_share() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for number in range(400):
        rare = 100 + number
        other = rare if number % 2 == 0 else 900 + number
        common = torch.randint(20, (2, 8), generator=generator).tolist()
        pairs.append(([*common[0], rare], [*common[1], other], number % 2))
    assert SharedPieces(pairs[:200]).accuracy(pairs[200:]) > 0.95


def test_a_pair_is_read_with_its_segments_and_without_its_padding(tokenizer: WordPiece) -> None:
    torch.manual_seed(0)
    model = KINDS["bert"].make(Sizes()).eval()
    one, other = ([7, 8, 9], [10, 11], 0), ([12, 13, 14, 15, 16], [17, 18, 19], 1)
    with torch.no_grad():
        alone = logits_of(model, [one], tokenizer)
        assert torch.allclose(alone, logits_of(model, [one, other], tokenizer)[:1], atol=1e-5)
        as_one = logits_of(model, [([*one[0], tokenizer.ids["[SEP]"], *one[1]], [], 0)], tokenizer)
    assert not torch.allclose(alone, as_one, atol=1e-5)


def test_the_recipe_trains_and_is_the_same_twice(tokenizer: WordPiece, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_sentence, "EVERY", 4)
    pairs = {
        part: found[:64] for part, found in prepare(tokenizer, {"train": 60, "validation": 60, "test": 30}).items()
    }
    reached = run("pretrained", 0, 5e-4, pairs, "test", steps=8)
    assert len(reached) == 2
    assert reached == run("pretrained", 0, 5e-4, pairs, "test", steps=8)


def test_the_log_has_every_run_and_what_counting_reaches(tokenizer: WordPiece) -> None:
    with LOG.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tested = {(row["start"], int(row["seed"]), int(row["step"])) for row in rows if row["part"] == "test"}
    assert {(start, seed, STEPS) for start in STARTS for seed in SEEDS} <= tested
    pairs = prepare(tokenizer)
    counted = next(float(row["accuracy"]) for row in rows if row["start"] == "shared pieces")
    assert SharedPieces(pairs["train"]).accuracy(pairs["test"]) == pytest.approx(counted, abs=0.005)
