"""The recipe of chapter 9's road: that all models predict the same pieces, each once."""

import csv
import math
from pathlib import Path

import pytest
import torch

from autograder.reference.neural_ngram import NeuralTraining, log_probs
from autograder.reference.ngrams import END, NgramCounts
from autograder.reference.pretrained import load_gpt, load_tokenizer
from autograder.reference.recipes import road


def test_every_piece_is_judged_once() -> None:
    for length in (2, 5, 64, 65, 66, 128, 129, 130, 193, 194, 257, 1_500, 16 * 64 + 65):
        ids = torch.arange(length)
        found = road.read_losses(lambda x: torch.zeros(*x.shape, 2_000).scatter(2, x.unsqueeze(2) + 1, 50.0), ids)
        assert found.shape == (length - 1,)
        assert found.abs().max() < 1e-5  # each piece is predicted from the one before it


def test_half_a_window_at_least_stands_before_a_piece() -> None:
    seen: list[torch.Tensor] = []

    def uniform(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return torch.zeros(*x.shape, 1_000)

    road.read_losses(uniform, torch.arange(600), length=8, batch=4)
    starts = [row[0].item() for x in seen for row in x]
    assert starts == list(range(0, 600 - 1 - 4, 4))


def test_readers_and_counters_predict_the_same_pieces() -> None:
    tokenizer = load_tokenizer()
    texts = [["the", "city", "of"], ["he", "was", "born", "in", "the", "river"], ["a", "king"]]
    counts = NgramCounts(texts, 3, tokenizer.vocabulary)
    named = [counts.vocabulary[i] for i in counts.windows(texts)[:, -1].tolist()]
    stream = road.as_stream(tokenizer, texts, most=100)[1:].tolist()
    assert [tokenizer.vocabulary[i].replace("[SEP]", END) for i in stream] == named
    assert len(road.as_stream(tokenizer, texts, most=5)) == 6


def test_bengios_network_learns_what_always_follows() -> None:
    texts = [["a", "b", "c", "d"] * 50] * 8
    counts = NgramCounts(texts, road.ORDER, ["a", "b", "c", "d"])
    windows = counts.windows(texts)
    model = road.train_bengio(counts, windows, 0, NeuralTraining(epochs=10, batch_size=64, learning_rate=3e-3))
    assert -log_probs(model, windows).mean() < 0.2


def test_the_log_says_of_gpt_what_is_measured_again() -> None:
    with Path(road.__file__).with_suffix(".csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == road.COLUMNS
    logged = {(row["model"], int(row["seed"])): float(row["nats"]) for row in rows}
    assert [logged[f"Kneser–Ney, n = {n}", 0] for n in (1, 2, 3)] == sorted(
        (logged[f"Kneser–Ney, n = {n}", 0] for n in (1, 2, 3)), reverse=True
    )
    tokenizer = load_tokenizer()
    stream = road.as_stream(tokenizer, road.documents(tokenizer, ("wikipedia",), ("test",))["test"])
    with torch.no_grad():
        found = road.read_losses(load_gpt(), stream).mean().item()
    assert math.exp(found) == pytest.approx(math.exp(logged["GPT", 0]), rel=1e-3)
