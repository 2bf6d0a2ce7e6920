"""The neural language model against the paper's formula in numpy, and against torch's own layers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from autograder.reference.neural_ngram import (
    NeuralLanguageModel,
    NeuralTraining,
    log_probs,
    train_epochs,
)
from autograder.reference.ngrams import NgramCounts, add_k

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@settings(max_examples=40, deadline=None)
@given(
    B=st.integers(1, 5),
    V=st.integers(2, 11),
    C=st.integers(1, 5),
    E=st.integers(1, 7),
    hidden=st.integers(1, 9),
    direct=st.booleans(),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=st.integers(0, 2**31),
)
def test_the_model_is_the_papers_formula_in_output_and_gradients(B, V, C, E, hidden, direct, dtype, seed):
    torch.manual_seed(seed)
    model = NeuralLanguageModel(V, C, E, hidden, direct).to(dtype)
    ids, targets = torch.randint(V, (B, C)), torch.randint(V, (B,))
    logits = model(ids)
    F.cross_entropy(logits, targets, reduction="sum").backward()

    weights = {name: parameter.detach().double().numpy() for name, parameter in model.named_parameters()}
    table, H, d = weights["embedding.weight"], weights["hidden.weight"], weights["hidden.bias"]
    U, b = weights["output.weight"], weights["output.bias"]
    expected, table_gradient, H_gradient = np.zeros((B, V)), np.zeros_like(table), np.zeros_like(H)
    for row, (context, target) in enumerate(zip(ids.tolist(), targets.tolist(), strict=True)):
        x = np.concatenate([table[word] for word in context])
        a = np.tanh(d + H @ x)
        y = b + U @ a
        if direct:
            y = y + weights["direct.weight"] @ x
        expected[row] = y
        y_gradient = np.exp(y - y.max()) / np.exp(y - y.max()).sum() - np.eye(V)[target]
        o_gradient = (U.T @ y_gradient) * (1 - a**2)
        H_gradient += np.outer(o_gradient, x)
        x_gradient = H.T @ o_gradient + (weights["direct.weight"].T @ y_gradient if direct else 0)
        for place, word in enumerate(context):
            table_gradient[word] += x_gradient[place * E : (place + 1) * E]
    for ours, by_hand in (
        (logits.detach(), expected),
        (model.embedding.weight.grad, table_gradient),
        (model.hidden.weight.grad, H_gradient),
    ):
        assert np.abs(ours.double().numpy() - by_hand).max() <= TOLERANCE[dtype] * max(1, np.abs(by_hand).max())


def test_the_parameters_are_as_many_as_the_paper_counts():
    """§2: |V|(1 + nm + h) + h(1 + (n − 1)m), its n − 1 being our C, and m our E, with direct connections."""
    V, C, E, hidden = 17, 3, 5, 7
    counted = sum(parameter.numel() for parameter in NeuralLanguageModel(V, C, E, hidden, direct=True).parameters())
    assert counted == V * (1 + (C + 1) * E + hidden) + hidden * (1 + C * E)


def test_log_probs_are_those_of_the_words_that_came():
    torch.manual_seed(0)
    model = NeuralLanguageModel(6, 2, 3, 4)
    windows = torch.randint(6, (11, 3))
    expected = model(windows[:, :2]).softmax(dim=1)[torch.arange(11), windows[:, 2]].log()
    assert torch.allclose(log_probs(model, windows, batch_size=4), expected, atol=1e-6)


def test_training_learns_a_rule_of_two_words_and_repeats_itself():
    """The next word is the sum of the last two, modulo 7: neither of them alone says anything about it.

    That is why it starts from large vectors: near 0, where nothing but single words counts, there is nowhere to go.
    """
    contexts = torch.cartesian_prod(torch.arange(7), torch.arange(7)).repeat(20, 1)
    windows = torch.cat([contexts, contexts.sum(dim=1, keepdim=True) % 7], dim=1)
    training = NeuralTraining(epochs=10, batch_size=49, learning_rate=2e-2, seed=1)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = NeuralLanguageModel(7, 2, 16, 64)
        nn.init.normal_(model.embedding.weight)
        runs.append(list(train_epochs(model, windows, training)))
    assert runs[0] == runs[1]
    assert runs[0][0] > runs[0][-1]
    assert log_probs(model, windows).mean() > -0.1


def test_the_model_reads_the_windows_of_the_ngram_models():
    """It needs one word more than they predict: the start mark, which has a vector and never comes."""
    torch.manual_seed(0)
    sentences = [["a", "b"], ["c"], [], ["b", "a", "c", "c"]] * 50
    counts = NgramCounts(sentences, 3, ["a", "b", "c"])
    windows = counts.windows(sentences)
    model = NeuralLanguageModel(counts.base, 2, 8, 16)
    *_, loss = train_epochs(model, windows, NeuralTraining(epochs=30, batch_size=20, learning_rate=2e-2))
    assert loss == pytest.approx(-add_k(counts, 3, 0).log_probs(sentences).mean().item(), abs=0.05)
