"""The reference recurrent networks against torch's, on padded batches, with states handed in and out."""

import math
import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from autograder.reference.recurrent import (
    LSTMCell,
    RecurrentNetwork,
    RNNCell,
    State,
    load_torch_weights,
    reverse,
    run,
)

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
TORCHS = {RNNCell: nn.RNN, LSTMCell: nn.LSTM}
cells = pytest.mark.parametrize("cell_class", list(TORCHS))
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])
directions = pytest.mark.parametrize("bidirectional", [False, True], ids=["one direction", "both directions"])


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def assert_close(ours: Tensor, other: Tensor) -> None:
    """Equal within the tolerance of the type, relative to the largest entry where that is above 1."""
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


def pair(cell_class, input_size, H, L=1, bidirectional=False, dtype=torch.float64, seed=0):
    """Our network and torch's with the same weights."""
    torch.manual_seed(seed)
    torchs = TORCHS[cell_class](input_size, H, L, batch_first=True, bidirectional=bidirectional, dtype=dtype)
    ours = RecurrentNetwork(cell_class, input_size, H, L, bidirectional).to(dtype)
    load_torch_weights(ours, torchs.state_dict())
    return ours, torchs


def torchs_answer(torchs: nn.Module, x: Tensor, lengths: Tensor, state: State | None) -> tuple[Tensor, State]:
    """What torch makes of a packed batch, the plain network's state as a tuple of one."""
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    is_lstm = isinstance(torchs, nn.LSTM)
    outputs, last = torchs(packed, state if is_lstm or state is None else state[0])
    outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.size(1))
    return outputs, last if is_lstm else (last,)


def in_torchs_order(ours: RecurrentNetwork) -> list[Tensor]:
    return [
        parameter
        for cell in ours.cells
        for parameter in (
            cell.input_projection.weight,
            cell.hidden_projection.weight,
            cell.input_projection.bias,
            cell.hidden_projection.bias,
        )
    ]


def assert_agrees(cell_class, B, T, input_size, H, L, bidirectional, dtype, lengths, with_state, seed):
    ours, torchs = pair(cell_class, input_size, H, L, bidirectional, dtype, seed)
    x = normal(B, T, input_size, seed=seed, dtype=dtype).requires_grad_()
    state_shape = (L * (2 if bidirectional else 1), B, H)
    parts = [normal(*state_shape, seed=seed + 1 + i, dtype=dtype).requires_grad_() for i in range(cell_class.num_parts)]
    state = tuple(parts) if with_state else None
    handed_in = [x, *parts] if with_state else [x]

    outputs, last = ours(x, torch.tensor(lengths), state)
    torchs_outputs, torchs_last = torchs_answer(torchs, x, torch.tensor(lengths), state)
    assert_close(outputs, torchs_outputs)
    assert len(last) == len(torchs_last) == cell_class.num_parts
    for part, torchs_part in zip(last, torchs_last, strict=True):
        assert_close(part, torchs_part)

    upstream = [normal(*out.shape, seed=seed + 5 + i, dtype=dtype) for i, out in enumerate([outputs, *last])]
    gradients = torch.autograd.grad([outputs, *last], handed_in + in_torchs_order(ours), upstream)
    torchs_gradients = torch.autograd.grad(
        [torchs_outputs, *torchs_last], handed_in + list(torchs.parameters()), upstream
    )
    for gradient, torchs_gradient in zip(gradients, torchs_gradients, strict=True):
        assert_close(gradient, torchs_gradient)


@cells
@directions
@dtypes
@pytest.mark.parametrize("seed", range(5))
def test_network_agrees_with_torch_on_packed_sequences_in_outputs_states_and_gradients(
    cell_class, bidirectional, dtype, seed
):
    draw = random.Random(seed)
    B, T, input_size, H = draw.sample(range(2, 9), 4)
    lengths = [draw.randint(1, T) for _ in range(B)]
    L, with_state = 1 + seed % 3, seed % 2 == 1
    assert_agrees(cell_class, B, T, input_size, H, L, bidirectional, dtype, lengths, with_state, seed)


@cells
@directions
@dtypes
@pytest.mark.parametrize(
    ("B", "T", "input_size", "H", "lengths"),
    [
        pytest.param(3, 5, 4, 6, [1, 1, 1], id="one word each"),
        pytest.param(3, 5, 4, 6, [5, 5, 5], id="all full"),
        pytest.param(1, 5, 4, 6, [3], id="one sentence"),
        pytest.param(1, 1, 4, 6, [1], id="one word"),
        pytest.param(4, 5, 1, 1, [2, 5, 1, 4], id="one unit"),
    ],
)
def test_network_agrees_with_torch_at_the_edges(cell_class, bidirectional, dtype, B, T, input_size, H, lengths):
    assert_agrees(cell_class, B, T, input_size, H, 2, bidirectional, dtype, lengths, True, seed=7)


@cells
@dtypes
def test_network_agrees_with_torch_over_a_hundred_steps(cell_class, dtype):
    assert_agrees(cell_class, 3, 100, 9, 17, 2, True, dtype, [100, 3, 61], False, seed=8)


@pytest.mark.parametrize(("cell_class", "torchs_class"), [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell)])
@dtypes
def test_cell_agrees_with_torchs_cell(cell_class, torchs_class, dtype):
    torch.manual_seed(0)
    ours, torchs = cell_class(3, 5).to(dtype), torchs_class(3, 5).to(dtype)
    for projection, name in ((ours.input_projection, "ih"), (ours.hidden_projection, "hh")):
        projection.weight, projection.bias = getattr(torchs, f"weight_{name}"), getattr(torchs, f"bias_{name}")
    x = normal(4, 3, seed=1, dtype=dtype)
    state = [normal(4, 5, seed=2 + i, dtype=dtype) for i in range(ours.num_parts)]
    after = ours(x, tuple(state))
    torchs_after = torchs(x, tuple(state) if len(state) == 2 else state[0])
    for part, torchs_part in zip(after, torchs_after if len(state) == 2 else (torchs_after,), strict=True):
        assert_close(part, torchs_part)


@cells
def test_a_text_read_in_chunks_gives_what_it_gives_in_one_piece(cell_class):
    ours, _ = pair(cell_class, 3, 5, L=2)
    x = normal(4, 9, 3, seed=1)
    whole, last = ours(x)
    state, pieces = None, []
    for chunk in x.split([4, 1, 3, 1], dim=1):
        outputs, state = ours(chunk, state=state)
        pieces.append(outputs)
    assert_close(torch.cat(pieces, dim=1), whole)
    for part, whole_part in zip(state, last, strict=True):
        assert_close(part, whole_part)


@cells
def test_no_gradient_flows_back_through_a_detached_state(cell_class):
    ours, _ = pair(cell_class, 3, 5)
    first, second = (normal(2, 4, 3, seed=i).requires_grad_() for i in range(2))
    state = ours(first)[1]
    carried = ours(second, state=state)[0].sum()
    assert torch.autograd.grad(carried, first, retain_graph=True)[0].abs().sum() > 0
    cut = ours(second, state=tuple(part.detach() for part in state))[0].sum()
    assert torch.equal(cut, carried)
    assert torch.autograd.grad(cut, first, allow_unused=True)[0] is None


@cells
@directions
@pytest.mark.parametrize("padding", [0.0, 1e30, math.inf, math.nan])
def test_what_stands_in_the_padding_changes_nothing(cell_class, bidirectional, padding):
    ours, _ = pair(cell_class, 3, 5, 2, bidirectional)
    x, lengths = normal(3, 6, 3, seed=1), torch.tensor([4, 6, 1])
    outputs, last = ours(x, lengths)
    padded = x.clone()
    padded[0, 4:] = padded[2, 1:] = padding
    padded_outputs, padded_last = ours(padded, lengths)
    assert torch.equal(outputs, padded_outputs)
    assert not outputs[0, 4:].any()
    assert not outputs[2, 1:].any()
    for part, padded_part in zip(last, padded_last, strict=True):
        assert torch.equal(part, padded_part)


@cells
@directions
def test_a_sentence_gives_in_a_padded_batch_what_it_gives_alone(cell_class, bidirectional):
    ours, _ = pair(cell_class, 3, 5, 2, bidirectional)
    x, lengths = normal(3, 6, 3, seed=1), torch.tensor([4, 6, 1])
    outputs, last = ours(x, lengths)
    for b, length in enumerate(lengths.tolist()):
        alone, alone_last = ours(x[b : b + 1, :length])
        assert_close(outputs[b : b + 1, :length], alone)
        for part, alone_part in zip(last, alone_last, strict=True):
            assert_close(part[:, b : b + 1], alone_part)


@cells
def test_the_last_state_is_the_output_at_the_last_word_and_not_at_the_last_position(cell_class):
    cell = cell_class(3, 5).double()
    outputs, state = run(cell, normal(3, 6, 3, seed=1), torch.tensor([4, 6, 1]))
    assert torch.equal(state[0], outputs[torch.arange(3), torch.tensor([3, 5, 0])])


def test_an_lstm_with_open_forget_gates_and_shut_input_gates_keeps_its_memory():
    cell = LSTMCell(3, 5).double()
    with torch.no_grad():
        cell.input_projection.bias.copy_(torch.tensor([-1e4, 1e4, 0.0, 0.0]).repeat_interleave(5))
    memory = normal(2, 5, seed=1)
    _, (_, c) = run(cell, normal(2, 50, 3, seed=2), state=(torch.zeros(2, 5).double(), memory))
    assert_close(c, memory)


def test_reverse_turns_each_sentence_around_and_leaves_the_padding():
    x = torch.arange(1, 13).view(3, 4, 1)
    lengths = torch.tensor([1, 3, 4])
    assert reverse(x, lengths).squeeze(-1).tolist() == [[1, 2, 3, 4], [7, 6, 5, 8], [12, 11, 10, 9]]
    assert torch.equal(reverse(reverse(x, lengths), lengths), x)


@cells
def test_dropout_is_between_the_layers_and_in_training_alone(cell_class):
    torch.manual_seed(0)
    network = RecurrentNetwork(cell_class, 3, 5, num_layers=2, dropout=1.0).double()
    x = normal(2, 4, 3, seed=1)
    nothing_below = run(network.cells[1], torch.zeros(2, 4, 5).double())[0]
    outputs, state = network(x)
    assert_close(outputs, nothing_below)
    assert_close(state[0][0], run(network.cells[0], x)[1][0])
    network.eval()
    assert_close(network(x)[0], run(network.cells[1], run(network.cells[0], x)[0])[0])


@cells
def test_weights_start_spread_as_torchs(cell_class):
    torch.manual_seed(0)
    for parameter in RecurrentNetwork(cell_class, 30, 100, num_layers=2, bidirectional=True).parameters():
        assert parameter.abs().max() <= 0.1
        assert 0.045 < parameter.std() < 0.07


def test_weights_of_another_kind_of_network_are_refused():
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_torch_weights(RecurrentNetwork(RNNCell, 3, 5), nn.LSTM(3, 5).state_dict())
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_torch_weights(RecurrentNetwork(LSTMCell, 3, 5), nn.LSTM(3, 5, bidirectional=True).state_dict())
