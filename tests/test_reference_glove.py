"""GloVe against its published objective in numpy, and what its published vectors know."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.data import load
from autograder.reference.counting import cooccurrences
from autograder.reference.glove import GloVe, GloveTraining, glove_loss, glove_weight, harmonic_weights, train_glove
from autograder.reference.similarity import analogy_accuracy, nearest_words, similarity_correlation

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def random_counts(seed, V):
    generator = torch.Generator().manual_seed(seed)
    documents = [torch.randint(V, (60,), generator=generator) for _ in range(4)]
    return cooccurrences(documents, V, harmonic_weights(4))


@settings(max_examples=30, deadline=None)
@given(
    V=st.integers(2, 9),
    D=st.integers(1, 6),
    x_max=st.sampled_from([0.5, 3.0, 100.0]),
    power=st.sampled_from([0.75, 1.0]),
    dtype=st.sampled_from(list(TOLERANCE)),
    seed=st.integers(0, 2**31),
)
def test_the_objective_is_the_published_one_in_value_and_gradients(V, D, x_max, power, dtype, seed):
    torch.manual_seed(seed)
    model = GloVe(V, D).to(dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    counts = random_counts(seed, V).to(dtype)
    (words, contexts), values = counts.indices(), counts.values()
    loss = glove_loss(model(words, contexts), values, x_max, power)
    loss.backward()

    w, w_tilde, b, b_tilde = (parameter.detach().double().numpy() for parameter in model.parameters())
    X = counts.to_dense().double().numpy()
    J, w_gradient, b_tilde_gradient = 0.0, np.zeros_like(w), np.zeros_like(b_tilde)
    for i in range(V):
        for j in range(V):
            if X[i, j] > 0:
                f = (X[i, j] / x_max) ** power if X[i, j] < x_max else 1.0
                error = w[i] @ w_tilde[j] + b[i] + b_tilde[j] - np.log(X[i, j])
                J += f * error**2
                w_gradient[i] += 2 * f * error * w_tilde[j]
                b_tilde_gradient[j] += 2 * f * error
    for ours, by_hand in (
        (loss.detach(), np.array(J)),
        (model.word.grad, w_gradient),
        (model.context_bias.grad, b_tilde_gradient),
    ):
        assert np.abs(ours.double().numpy() - by_hand).max() <= TOLERANCE[dtype] * max(1, np.abs(by_hand).max())


def test_the_weight_rises_to_one_and_stays():
    assert glove_weight(torch.tensor([0.0, 6.25, 100.0, 5000.0])).tolist() == pytest.approx([0, 0.125, 1, 1])


def test_distant_words_count_less():
    counts = cooccurrences([torch.tensor([0, 1, 2, 3])], 4, harmonic_weights(2)).to_dense()
    assert counts.tolist() == [[0, 1, 0.5, 0], [1, 0, 1, 0.5], [0.5, 1, 0, 1], [0, 0.5, 1, 0]]


def test_training_lowers_the_loss_repeats_itself_and_explains_the_counts():
    counts = random_counts(0, 12)
    training = GloveTraining(epochs=60, batch_size=20, x_max=10)
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model = GloVe(12, 8)
        runs.append(list(train_glove(model, counts, training)))
    assert runs[0] == runs[1]
    assert sorted(runs[0][::10], reverse=True) == runs[0][::10]
    assert runs[0][-1] < 0.05 * runs[0][0]
    assert torch.equal(model.vectors(), model.word + model.context)


@pytest.fixture(scope="module")
def published():
    """The 400,000 words and their vectors, 50 wide."""
    glove = load("glove")
    return list(glove.words), torch.from_numpy(np.asarray(glove.vectors))


@pytest.mark.parametrize(("name", "correlation"), [("wordsim353", 0.503), ("simlex999", 0.265)])
def test_the_published_vectors_agree_with_people_as_far_as_is_known(published, name, correlation):
    result = similarity_correlation(*published, load("similarity").pairs(name))
    assert result.score == pytest.approx(correlation, abs=1e-3)
    assert result.covered == result.total


def test_the_published_vectors_know_their_neighbors(published):
    words, matrix = published
    frog = words.index("frog")
    near = [words[number] for number in nearest_words(matrix[frog], matrix, 10, exclude=[frog])[0]]
    assert {"toad", "frogs", "monkey"} & set(near)


def test_the_published_vectors_find_capitals_when_the_inputs_are_excluded(published):
    words, matrix = published[0][:30_000], published[1][:30_000]
    questions = [
        tuple(words) for section, *words in load("similarity").analogies if section == "capital-common-countries"
    ]
    found = analogy_accuracy(words, matrix, questions)
    assert found.score > 0.7
    assert found.covered == found.total == 506
    assert analogy_accuracy(words, matrix, questions, exclude_inputs=False).score < found.score
