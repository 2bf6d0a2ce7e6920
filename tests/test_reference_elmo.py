"""The reference ELMo, part by part: numpy's arithmetic, torch's LSTM by hand, and what each direction must not see."""

import math
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autograder.reference.elmo import (
    IGNORED,
    NUM_CHARACTERS,
    PADDING,
    WORD_END,
    WORD_START,
    CharacterEncoder,
    ELMo,
    ElmoConfig,
    Highway,
    ScalarMix,
    bilm_loss,
    bilm_targets,
    character_ids,
    elmo_features,
)
from autograder.reference.recurrent import LSTMCell, RecurrentNetwork, load_torch_weights

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])
seeds = pytest.mark.parametrize("seed", range(4))
encoders = pytest.mark.parametrize("with_characters", [False, True], ids=["subwords", "characters"])
projections = pytest.mark.parametrize("projected", [False, True], ids=["plain", "projected"])


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_close(ours: Tensor, other: Tensor | np.ndarray) -> None:
    """Equal within the tolerance of our type, relative to the largest entry where that is above 1."""
    other = torch.as_tensor(other)
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


def randomize(model: nn.Module, seed: int) -> None:
    """Weights so wide that no part of the model can hide, and no bias left at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))


def random_encoder(d_model: int, seed: int) -> CharacterEncoder:
    draw = random.Random(seed)
    widths = draw.sample(range(1, 8), 3)
    filters = dict(zip(widths, draw.sample(range(2, 9), 3), strict=True))
    return CharacterEncoder(d_model, filters, num_highways=1 + seed % 3, character_size=draw.randint(3, 6))


def random_elmo(
    seed: int, with_characters: bool = False, projected: bool = True, dtype: torch.dtype = torch.float64
) -> ELMo:
    draw = random.Random(seed)
    d_model = draw.randint(4, 7)
    config = ElmoConfig(
        vocab_size=draw.randint(31, 40),
        d_model=d_model,
        hidden_size=d_model + draw.randint(2, 5) if projected else d_model,
        num_layers=draw.randint(2, 4),
        tie_embeddings=not with_characters and seed % 2 == 0,
    )
    model = ELMo(config, random_encoder(d_model, seed) if with_characters else None).to(dtype).eval()
    randomize(model, seed)
    return model


def random_tokens(model: ELMo, B: int, T: int, seed: int) -> Tensor:
    """Token ids, or the characters of words of 1 to 6 letters."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(model.token_encoder, nn.Embedding):
        return torch.randint(model.config.vocab_size, (B, T), generator=generator)
    draw = random.Random(seed)
    return character_ids(
        [["".join(draw.choices("abcdéœ水", k=draw.randint(1, 6))) for _ in range(T)] for _ in range(B)]
    )


@seeds
@dtypes
def test_highway_agrees_with_numpy_in_output_and_gradient(seed, dtype):
    torch.manual_seed(seed)
    highway = Highway(5).to(dtype)
    randomize(highway, seed)
    x = normal(3, 4, 5, seed=seed, dtype=dtype).requires_grad_()
    W, b, U, d = (p.detach().double().numpy() for p in highway.parameters())
    data = x.detach().double().numpy()
    inner = data @ W.T + b
    t = 1 / (1 + np.exp(-(data @ U.T + d)))
    output = highway(x)
    assert_close(output, t * np.maximum(inner, 0) + (1 - t) * data)

    upstream = normal(3, 4, 5, seed=seed + 1, dtype=dtype)
    outside = upstream.double().numpy()
    slope = outside * t * (inner > 0)
    gate_slope = outside * (np.maximum(inner, 0) - data) * t * (1 - t)
    gradients = torch.autograd.grad(output, [x, *highway.parameters()], upstream)
    by_hand = [
        slope @ W + gate_slope @ U + outside * (1 - t),
        np.einsum("bto,bti->oi", slope, data),
        slope.sum((0, 1)),
        np.einsum("bto,bti->oi", gate_slope, data),
        gate_slope.sum((0, 1)),
    ]
    for gradient, other in zip(gradients, by_hand, strict=True):
        assert_close(gradient, other)


def test_a_highway_starts_by_passing_most_on():
    torch.manual_seed(0)
    x = normal(100, 30, seed=1, dtype=torch.float32)
    assert (Highway(30)(x) - x).norm() < 0.3 * x.norm()


def encode_by_hand(encoder: CharacterEncoder, word: list[int]) -> np.ndarray:
    """One word's vector, in numpy, each window laid on by a loop."""
    weights = {name: value.detach().double().numpy() for name, value in encoder.named_parameters()}
    characters = weights["embedding.weight"][word]
    strongest = []
    for i, convolution in enumerate(encoder.convolutions):
        W, b = weights[f"convolutions.{i}.weight"], weights[f"convolutions.{i}.bias"]
        width = convolution.kernel_size[0]
        padded = np.concatenate([characters, np.zeros((width - 1, characters.shape[1]))])
        answers = [[(W[n].T * padded[s : s + width]).sum() + b[n] for n in range(len(b))] for s in range(len(word))]
        strongest.append(np.maximum(answers, 0).max(axis=0))
    x = np.concatenate(strongest)
    for i in range(len(encoder.highways)):
        W, b = weights[f"highways.{i}.transform.weight"], weights[f"highways.{i}.transform.bias"]
        U, d = weights[f"highways.{i}.gate.weight"], weights[f"highways.{i}.gate.bias"]
        t = 1 / (1 + np.exp(-(U @ x + d)))
        x = t * np.maximum(W @ x + b, 0) + (1 - t) * x
    return weights["projection.weight"] @ x + weights["projection.bias"]


@seeds
@dtypes
def test_character_encoder_agrees_with_numpy(seed, dtype):
    encoder = random_encoder(5, seed).to(dtype)
    randomize(encoder, seed)
    draw = random.Random(seed)
    words = [[[draw.randint(1, 258) for _ in range(draw.randint(1, 9))] for _ in range(4)] for _ in range(3)]
    characters = torch.full((3, 4, 11), PADDING)
    for b, sentence in enumerate(words):
        for t, word in enumerate(sentence):
            characters[b, t, : len(word)] = torch.tensor(word)
    by_hand = np.array([[encode_by_hand(encoder, word) for word in sentence] for sentence in words])
    assert_close(encoder(characters), by_hand)
    assert_close(encoder(characters.transpose(0, 1)), by_hand.swapaxes(0, 1))


@seeds
def test_gradients_of_the_character_encoder_agree_with_differences(seed):
    encoder = random_encoder(3, seed).double()
    randomize(encoder, seed)
    characters = character_ids([["a", "bird"], ["sings", "été"]])
    names = [name for name, _ in encoder.named_parameters()]

    def encode(*parameters: Tensor) -> Tensor:
        return torch.func.functional_call(encoder, dict(zip(names, parameters, strict=True)), (characters,))

    assert torch.autograd.gradcheck(encode, tuple(encoder.parameters()), fast_mode=True)


@seeds
def test_how_far_a_word_is_padded_makes_no_difference(seed):
    encoder = random_encoder(5, seed).double()
    randomize(encoder, seed)
    characters = character_ids([["a", "short", "word"]])
    padded = nn.functional.pad(characters, (0, 9), value=PADDING)
    assert_close(encoder(padded), encoder(characters))


def test_a_word_without_characters_has_a_vector_and_finite_gradients():
    encoder = random_encoder(5, 0).double()
    output = encoder(torch.full((1, 2, 4), PADDING))
    assert output.isfinite().all()
    for gradient in torch.autograd.grad(output.sum(), list(encoder.parameters())):
        assert gradient.isfinite().all()


def test_characters_are_the_bytes_of_each_word_between_its_start_and_its_end():
    ids = character_ids([["hé", "a"], ["x"]])
    assert ids.shape == (2, 2, 5)
    assert ids[0, 0].tolist() == [WORD_START, 1 + ord("h"), 1 + 0xC3, 1 + 0xA9, WORD_END]
    assert ids[0, 1].tolist() == [WORD_START, 1 + ord("a"), WORD_END, PADDING, PADDING]
    assert ids[1, 1].tolist() == [PADDING] * 5
    assert ids.max() < NUM_CHARACTERS


def test_a_long_word_is_cut_and_keeps_its_end():
    assert character_ids([["a" * 99]]).shape == (1, 1, 50)
    assert character_ids([["abcdef"]], longest=5)[0, 0].tolist() == [WORD_START, *(1 + ord(c) for c in "abc"), WORD_END]


def lstm_by_hand(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """One LSTM over one sentence (T, D), step by step, its output projected before it is read back."""
    W, U, b, d = (getattr(lstm, name) for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"))
    h, c, outputs = x.new_zeros(x.size(1)), x.new_zeros(lstm.hidden_size), []
    for step in x:
        i, f, g, o = (W @ step + b + U @ h + d).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        if lstm.proj_size:
            h = lstm.weight_hr_l0 @ h
        outputs.append(h)
    return torch.stack(outputs)


def elmo_by_hand(model: ELMo, tokens: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """All layers and both directions' logits for one text without padding, (T,) or (T, W)."""
    token = model.token_encoder(tokens.unsqueeze(0))[0]
    layers = {}
    for name, x in (("forward", token), ("backward", token.flip(0))):
        first, *others = model.get_submodule(f"{name}_model").lstms
        x = lstm_by_hand(first, x)
        layers[name] = [x]
        for lstm in others:
            x = lstm_by_hand(lstm, x) + x
            layers[name].append(x)
    backward = [layer.flip(0) for layer in layers["backward"]]
    weight = model.token_encoder.weight if model.config.tie_embeddings else model.output_weight
    states = [torch.cat([token, token], 1)]
    states += [torch.cat(both, 1) for both in zip(layers["forward"], backward, strict=True)]
    return (
        states,
        layers["forward"][-1] @ weight.T + model.output_bias,
        backward[-1] @ weight.T + model.output_bias,
    )


@seeds
@encoders
@projections
@dtypes
def test_elmo_agrees_with_each_sentence_alone_by_hand_in_states_logits_and_gradients(
    seed, with_characters, projected, dtype
):
    model = random_elmo(seed, with_characters, projected, dtype)
    tokens, lengths = random_tokens(model, 4, 9, seed), [5, 9, 1, 2]
    states = model.hidden_states(tokens, torch.tensor(lengths))
    logits = model(tokens, torch.tensor(lengths))
    assert len(states) == model.config.num_layers + 1
    ours, by_hand = [], []
    for b, length in enumerate(lengths):
        hand_states, *hand_logits = elmo_by_hand(model, tokens[b, :length])
        ours += [layer[b, :length] for layer in (*states, *logits)]
        by_hand += [*hand_states, *hand_logits]
        assert all(not layer[b, length:].any() for layer in states)
    for one, other in zip(ours, by_hand, strict=True):
        assert_close(one, other)

    upstream = [normal(*one.shape, seed=seed + i, dtype=dtype) for i, one in enumerate(ours)]
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(ours, parameters, upstream)
    for gradient, other in zip(gradients, torch.autograd.grad(by_hand, parameters, upstream), strict=True):
        assert_close(gradient, other)


@seeds
@dtypes
def test_directions_agree_with_torchs_lstm_over_the_sentence_and_the_reversed_sentence(seed, dtype):
    """A stack of one layer is one torch.nn.LSTM with two directions, which torch runs over packed sequences."""
    torch.manual_seed(seed)
    model = ELMo(ElmoConfig(31, d_model=6, hidden_size=6, num_layers=1), None).to(dtype).eval()
    randomize(model, seed)
    both = nn.LSTM(6, 6, batch_first=True, bidirectional=True, dtype=dtype)
    forward, backward = model.forward_model.lstms[0].state_dict(), model.backward_model.lstms[0].state_dict()
    both.load_state_dict(forward | {f"{name}_reverse": weight for name, weight in backward.items()})
    tokens, lengths = random_tokens(model, 4, 9, seed), torch.tensor([5, 9, 1, 2])
    packed = nn.utils.rnn.pack_padded_sequence(model.token_encoder(tokens), lengths, True, enforce_sorted=False)
    torchs = nn.utils.rnn.pad_packed_sequence(both(packed)[0], batch_first=True)[0]
    assert_close(model.hidden_states(tokens, lengths)[1], torchs)


@seeds
@dtypes
def test_elmo_agrees_with_itself_on_our_own_lstm(seed, dtype):
    model = random_elmo(seed, projected=False, dtype=dtype)
    tokens, lengths = random_tokens(model, 3, 7, seed), torch.tensor([7, 2, 5])
    before = [*model.hidden_states(tokens, lengths), *model(tokens, lengths)]
    for direction in (model.forward_model, model.backward_model):
        for i, lstm in enumerate(direction.lstms):
            ours = RecurrentNetwork(LSTMCell, lstm.input_size, lstm.hidden_size).to(dtype)
            load_torch_weights(ours, lstm.state_dict())
            direction.lstms[i] = ours
    for one, other in zip([*model.hidden_states(tokens, lengths), *model(tokens, lengths)], before, strict=True):
        assert_close(one, other)


@seeds
@encoders
def test_no_direction_sees_what_it_is_to_predict(seed, with_characters):
    """Gradients are exactly 0 from what a direction may not see, and not from what it may."""
    model, T = random_elmo(seed, with_characters), 6
    x = normal(2, T, model.config.d_model, seed=seed).requires_grad_()
    model.token_encoder.forward = lambda _: x
    tokens = torch.zeros(2, T, dtype=torch.long)
    D = model.config.d_model
    for layer in model.hidden_states(tokens)[1:]:
        assert_sees(layer[..., :D], x, lambda position: range(position + 1))
        assert_sees(layer[..., D:], x, lambda position: range(position, T))
    forward_logits, backward_logits = model(tokens)
    assert_sees(forward_logits, x, lambda position: range(position + 1))
    assert_sees(backward_logits, x, lambda position: range(position, T))


def assert_sees(outputs: Tensor, x: Tensor, visible) -> None:
    """The first sentence's output at each position depends on the visible positions of its own sentence alone."""
    for position in range(x.size(1)):
        (gradient,) = torch.autograd.grad(outputs[0, position].square().sum(), x, retain_graph=True)
        assert not gradient[1].any()
        seen = {t for t in range(x.size(1)) if gradient[0, t].any()}
        assert seen == set(visible(position))


@seeds
@encoders
def test_changing_a_token_leaves_alone_what_may_not_see_it(seed, with_characters):
    model, T, place = random_elmo(seed, with_characters), 7, 3
    tokens = random_tokens(model, 2, T, seed)
    changed = tokens.clone()
    changed[:, place] = tokens[:, place].roll(1, dims=0) if with_characters else (tokens[:, place] + 1) % 31
    assert not torch.equal(tokens, changed)
    D = model.config.d_model
    for before, after in zip(model.hidden_states(tokens)[1:], model.hidden_states(changed)[1:], strict=True):
        assert_close(after[:, :place, :D], before[:, :place, :D])
        assert_close(after[:, place + 1 :, D:], before[:, place + 1 :, D:])
        assert (after[:, place:, :D] - before[:, place:, :D]).abs().amin(dim=1).max() > 1e-6
        assert (after[:, : place + 1, D:] - before[:, : place + 1, D:]).abs().amin(dim=1).max() > 1e-6
    (forward, backward), (new_forward, new_backward) = model(tokens), model(changed)
    assert_close(new_forward[:, :place], forward[:, :place])
    assert_close(new_backward[:, place + 1 :], backward[:, place + 1 :])


@seeds
@encoders
def test_padding_changes_neither_states_nor_loss(seed, with_characters):
    model = random_elmo(seed, with_characters)
    tokens, lengths = random_tokens(model, 3, 8, seed), torch.tensor([3, 8, 5])
    other = random_tokens(model, 3, 8, seed + 1)
    inside = torch.arange(8) < lengths.unsqueeze(1)
    if with_characters:
        W = max(tokens.size(2), other.size(2))
        tokens, other = (nn.functional.pad(ids, (0, W - ids.size(2))) for ids in (tokens, other))
        inside = inside.unsqueeze(-1)
    padded = torch.where(inside, tokens, other)
    for before, after in zip(model.hidden_states(tokens, lengths), model.hidden_states(padded, lengths), strict=True):
        assert_close(after, before)
    ids = torch.randint(model.config.vocab_size, (3, 8), generator=torch.Generator().manual_seed(seed))
    other_ids = torch.where(torch.arange(8) < lengths.unsqueeze(1), ids, 0)
    assert_close(
        bilm_loss(*model(padded, lengths), other_ids, lengths), bilm_loss(*model(tokens, lengths), ids, lengths)
    )


def test_layer_zero_is_the_tokens_vector_twice():
    model = random_elmo(1)
    tokens = random_tokens(model, 2, 5, 0)
    vectors = model.token_encoder(tokens)
    assert torch.equal(model.hidden_states(tokens)[0], torch.cat([vectors, vectors], dim=-1))


def test_dropout_is_on_the_way_into_each_lstm_and_into_the_softmax_and_in_training_alone():
    config = ElmoConfig(31, d_model=5, hidden_size=7, num_layers=2, dropout=1.0)
    model = ELMo(config).double()
    tokens = random_tokens(model, 2, 4, 0)
    first, second = model.hidden_states(tokens)[1:]
    inputs_and_outputs = zip((torch.zeros_like(first), first), (first, second), strict=True)
    for lstm, (lower, upper) in zip(model.forward_model.lstms, inputs_and_outputs, strict=True):
        fed_nothing = lstm(torch.zeros(2, 4, 5).double())[0]
        assert_close(upper[..., :5], lower[..., :5] + fed_nothing)
    assert_close(model(tokens)[0], model.output_bias.expand(2, 4, 31))
    model.eval()
    assert not torch.allclose(model.hidden_states(tokens)[1], first)


@pytest.mark.parametrize(
    ("hidden_size", "d_model", "num_highways", "published"),
    [(4096, 512, 2, 93.6), (1024, 128, 1, 13.6), (2048, 256, 1, 28.0)],
    ids=["original", "small", "medium"],
)
def test_the_published_models_count_their_published_millions(hidden_size, d_model, num_highways, published):
    """The sizes that https://allennlp.org/elmo gives: without the softmax, and with one bias where torch has two."""
    filters = {1: 32, 2: 32, 3: 64, 4: 128, 5: 256, 6: 512, 7: 1024}
    with torch.device("meta"):
        encoder = CharacterEncoder(d_model, filters, num_highways)
        model = ELMo(ElmoConfig(7, d_model=d_model, hidden_size=hidden_size), encoder)
    second_biases = sum(p.numel() for name, p in model.named_parameters() if "bias_hh" in name)
    count = sum(p.numel() for p in encoder.parameters()) + model.parameters_outside_embeddings - second_biases
    assert round(count / 1e6, 1) == published


@encoders
def test_parameters_are_those_of_the_tokens_of_the_softmax_and_outside(with_characters):
    model = random_elmo(0, with_characters)
    count = model.parameters_outside_embeddings + sum(p.numel() for p in model.token_encoder.parameters())
    count += model.output_bias.numel() + (0 if model.output_weight is None else model.output_weight.numel())
    assert count == sum(p.numel() for p in model.parameters())


def test_tied_embeddings_are_one_tensor_that_both_uses_train():
    torch.manual_seed(0)
    tied, untied = (ELMo(ElmoConfig(31, 5, 7, tie_embeddings=tie)) for tie in (True, False))
    assert len(untied.state_dict()) == len(tied.state_dict()) + 1
    ids = torch.tensor([[3, 4, 5]])
    for model, trained in ((tied, 31), (untied, 3)):
        bilm_loss(*model(ids), ids).backward()
        assert model.token_encoder.weight.grad.any(dim=1).sum() == trained


def test_a_character_encoder_cannot_be_tied():
    with pytest.raises(ValueError, match="set tie_embeddings=False"):
        ELMo(ElmoConfig(31, 5, 7, tie_embeddings=True), random_encoder(5, 0))


def test_a_memory_narrower_than_the_model_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"hidden_size \(4\) must be at least d_model \(5\)"):
        ELMo(ElmoConfig(31, d_model=5, hidden_size=4))


def test_an_encoder_that_is_handed_in_keeps_its_weights_and_an_own_one_starts_at_the_given_spread():
    torch.manual_seed(0)
    given = nn.Embedding(500, 20)
    before = given.weight.detach().clone()
    assert torch.equal(ELMo(ElmoConfig(500, 20, 30), given).token_encoder.weight, before)
    own = ELMo(ElmoConfig(500, 20, 30, initial_std=0.3))
    for weight in (own.token_encoder.weight, own.output_weight):
        assert weight.std().item() == pytest.approx(0.3, rel=0.05)


def test_forget_gates_start_open_and_the_other_gates_do_not():
    torch.manual_seed(0)
    for direction in (model := ELMo(ElmoConfig(31, 5, 7))).forward_model, model.backward_model:
        for lstm in direction.lstms:
            bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).view(4, 7)
            assert (bias[1] > 0.6).all()
            assert (bias[[0, 2, 3]].abs() < 0.8).all()


def test_targets_are_the_neighbors_inside_each_text():
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0], [8, 0, 0, 0]])
    following, before = bilm_targets(ids, torch.tensor([4, 3, 1]))
    no = IGNORED
    assert following.tolist() == [[2, 3, 4, no], [6, 7, no, no], [no] * 4]
    assert before.tolist() == [[no, 1, 2, 3], [no, 5, 6, no], [no] * 4]
    for given, default in zip(bilm_targets(ids), bilm_targets(ids, torch.tensor([4, 4, 4])), strict=True):
        assert torch.equal(given, default)


@seeds
def test_loss_agrees_with_a_plain_loop_over_all_predictions(seed):
    draw = random.Random(seed)
    B, T, V = 3, 6, 11
    lengths = [draw.randint(1, T) for _ in range(B - 1)] + [T]
    ids = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(seed))
    forward, backward = normal(B, T, V, seed=seed), normal(B, T, V, seed=seed + 1)
    losses = []
    for b, length in enumerate(lengths):
        for t in range(length):
            if t + 1 < length:
                losses.append(-math.log(forward[b, t].exp()[ids[b, t + 1]] / forward[b, t].exp().sum()))
            if t > 0:
                losses.append(-math.log(backward[b, t].exp()[ids[b, t - 1]] / backward[b, t].exp().sum()))
    loss = bilm_loss(forward, backward, ids, torch.tensor(lengths))
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-10)


def test_a_small_model_learns_a_text_by_heart_in_both_directions():
    torch.manual_seed(0)
    model = ELMo(ElmoConfig(9, d_model=16, hidden_size=24, dropout=0.0, tie_embeddings=True))
    ids = torch.tensor([[0, 1, 2, 3, 1, 4, 5, 1, 6, 7, 8]])  # after 1, and before it, one token does not tell
    optimizer = torch.optim.AdamW(model.parameters(), 0.03)
    for _ in range(100):
        optimizer.zero_grad()
        loss = bilm_loss(*model(ids), ids)
        loss.backward()
        optimizer.step()
    assert loss < 0.05


@seeds
@dtypes
def test_scalar_mix_agrees_with_its_formula_in_output_and_gradients(seed, dtype):
    mix = ScalarMix(3).to(dtype)
    randomize(mix, seed)
    layers = [normal(2, 4, 5, seed=seed + i, dtype=dtype).requires_grad_() for i in range(3)]
    w, gamma = mix.weights.detach().double().numpy(), mix.gamma.item()
    s = np.exp(w) / np.exp(w).sum()
    data = np.stack([layer.detach().double().numpy() for layer in layers])
    output = mix(layers)
    assert_close(output, gamma * np.einsum("l,lbtd->btd", s, data))

    upstream = normal(2, 4, 5, seed=seed + 9, dtype=dtype)
    outside = upstream.double().numpy()
    along = np.einsum("btd,lbtd->l", outside, data)
    gradients = torch.autograd.grad(output, [mix.weights, mix.gamma, *layers], upstream)
    by_hand = [gamma * s * (along - s @ along), np.asarray(s @ along), *(gamma * share * outside for share in s)]
    for gradient, other in zip(gradients, by_hand, strict=True):
        assert_close(gradient, other)


def test_a_new_mix_is_the_mean_of_the_layers():
    layers = [normal(2, 4, 5, seed=i) for i in range(3)]
    assert_close(ScalarMix(3).double()(layers), torch.stack(layers).mean(dim=0))


def test_a_mix_refuses_another_number_of_layers():
    with pytest.raises(ValueError, match="2 layers came to a mix of 3"):
        ScalarMix(3)([torch.zeros(1), torch.zeros(1)])


def test_features_teach_the_mix_and_leave_the_language_model_as_it_is():
    torch.manual_seed(0)
    model = ELMo(ElmoConfig(31, d_model=5, hidden_size=7, dropout=0.5)).double().train()
    mix = ScalarMix(3).double()
    tokens, lengths = random_tokens(model, 2, 6, 0), torch.tensor([6, 4])
    features = elmo_features(model, mix, tokens, lengths)
    assert torch.equal(features, elmo_features(model, mix, tokens, lengths))
    assert model.training
    features.square().sum().backward()
    assert mix.weights.grad.any()
    assert mix.gamma.grad != 0
    assert all(parameter.grad is None for parameter in model.parameters())
    model.eval()
    assert_close(features, mix(model.hidden_states(tokens, lengths)))
