"""Recurrent networks from scratch: a state that is carried from word to word.

The plain network of Elman (1990) and the long short-term memory of Hochreiter and Schmidhuber (1997) with the forget
gate of Gers et al. (2000), layer over layer, in one direction or both. ``tests/test_reference_recurrent.py`` proves
them equal to torch.nn.RNN and torch.nn.LSTM on packed sequences. They show what happens, one word after the other in
Python; where speed counts, torch's own do the same. Axes: B batch, T positions, I input width, H hidden width.
"""

from typing import cast

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""What is carried from word to word, (h,) in the plain network and (h, c) in the LSTM. The first part is the output."""


class RNNCell(nn.Module):
    """One step of the plain recurrent network (Elman 1990): h ← tanh(W x + U h + biases).

    Args:
        input_size: width of the input, I.
        hidden_size: width of the state, H.
    """

    num_parts = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.input_projection = nn.Linear(input_size, hidden_size)
        self.hidden_projection = nn.Linear(hidden_size, hidden_size)
        _initialize(self, hidden_size)

    def forward(self, x: Tensor, state: State) -> State:
        """Read x (B, I) in the state (h,), h (B, H); returns the next state."""
        (h,) = state
        return (torch.tanh(self.input_projection(x) + self.hidden_projection(h)),)


class LSTMCell(nn.Module):
    """One step of the long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    The four slices of both projections are, as in torch: input gate i, forget gate f, candidate g, output gate o.

    Args:
        input_size: width of the input, I.
        hidden_size: width of the state and of the memory, H.
    """

    num_parts = 2

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.input_projection = nn.Linear(input_size, 4 * hidden_size)
        self.hidden_projection = nn.Linear(hidden_size, 4 * hidden_size)
        _initialize(self, hidden_size)

    def forward(self, x: Tensor, state: State) -> State:
        """Read x (B, I) in the state (h, c), each (B, H); returns the next state."""
        h, c = state
        i, f, g, o = (self.input_projection(x) + self.hidden_projection(h)).chunk(4, dim=-1)  # each (B, H)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h, c


Cell = RNNCell | LSTMCell


def _initialize(cell: nn.Module, hidden_size: int) -> None:
    """Draw all weights and biases from U(−1/√H, 1/√H), as torch does."""
    for parameter in cell.parameters():
        nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)


def run(cell: Cell, x: Tensor, lengths: Tensor | None = None, state: State | None = None) -> tuple[Tensor, State]:
    """Let a cell read a batch from left to right.

    Args:
        x: (B, T, I).
        lengths: (B,), where each sentence ends; all at T if not given.
        state: the state before the first word; zeros if not given.

    Returns:
        outputs (B, T, H), 0 behind the end of a sentence, and the state after the last word of each.
    """
    B, T, _ = x.shape
    if lengths is None:
        lengths = torch.full((B,), T, device=x.device)
    if state is None:
        state = (x.new_zeros(B, cell.hidden_size),) * cell.num_parts
    outputs = []
    for t in range(T):
        inside = (t < lengths).unsqueeze(1)  # (B, 1)
        following = cell(x[:, t], state)
        outputs.append(following[0].masked_fill(~inside, 0.0))
        # Where a sentence has ended, the state stays as it is.
        state = tuple(torch.where(inside, new, old) for new, old in zip(following, state, strict=True))
    return torch.stack(outputs, dim=1), state


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Turn each sentence around, and leave the padding behind it; doing so twice changes nothing.

    Args:
        x: (B, T, ...). lengths: (B,) whole numbers, at most T.
    """
    B, T = x.shape[:2]
    positions, ends = torch.arange(T, device=x.device), lengths.unsqueeze(1)
    order = torch.where(positions < ends, ends - 1 - positions, positions)  # (B, T)
    return x[torch.arange(B, device=x.device).unsqueeze(1), order]


def run_backward(cell: Cell, x: Tensor, lengths: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Let a cell read each sentence from its last word to its first. Arguments and results as :func:`run`.

    The outputs stand where their words stand; the state is the one after the first word.
    """
    outputs, state = run(cell, reverse(x, lengths), lengths, state)
    return reverse(outputs, lengths), state


class RecurrentNetwork(nn.Module):
    """Layers of cells, each reading the outputs of the one below.

    With two directions, a second cell in each layer reads from the last word of each sentence to the first, and the
    outputs of both are joined at each word (Schuster and Paliwal 1997).

    Args:
        cell_class: ``RNNCell`` or ``LSTMCell``.
        input_size: width of the input, I.
        hidden_size: width of each cell's state, H.
        num_layers: number of layers, L.
        bidirectional: read in both directions.
        dropout: share of the numbers between two layers that is set to 0 in training.
    """

    def __init__(
        self,
        cell_class: type[Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        sizes = [input_size] + [self.directions * hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(cell_class(size, hidden_size) for size in sizes for _ in range(self.directions))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, lengths: Tensor | None = None, state: State | None = None) -> tuple[Tensor, State]:
        """Read a batch of sentences.

        To go on where an earlier call has stopped, hand in its state; detached, no gradient flows back into the
        earlier text (truncated backpropagation through time, Williams and Peng 1990).

        Args:
            x: (B, T, I).
            lengths: (B,), where each sentence ends; all at T if not given.
            state: each part (L · directions, B, H), in the order of torch: for each layer forward, then backward;
                zeros if not given.

        Returns:
            outputs (B, T, H · directions), 0 behind the end of a sentence, and the last state, as ``state``: of the
            forward direction after the last word, of the backward direction after the first.
        """
        B, T, _ = x.shape
        if lengths is None:
            lengths = torch.full((B,), T, device=x.device)
        after: list[State] = []
        for layer in range(len(self.cells) // self.directions):
            x = self.dropout(x) if layer else x
            outputs = []
            for direction in (run, run_backward)[: self.directions]:
                number = len(after)
                start = None if state is None else tuple(part[number] for part in state)
                read, last = direction(cast(Cell, self.cells[number]), x, lengths, start)
                outputs.append(read)
                after.append(last)
            x = torch.cat(outputs, dim=-1)  # (B, T, H · directions)
        return x, tuple(torch.stack(part) for part in zip(*after, strict=True))


def load_torch_weights(network: RecurrentNetwork, weights: dict[str, Tensor]) -> None:
    """Copy the weights of a torch.nn.RNN or torch.nn.LSTM of the same shape, ``weights`` its ``state_dict()``.

    Raises:
        RuntimeError: if a weight is missing, unknown or of another shape.
    """
    renamed = {}
    for name, weight in weights.items():
        kind, source, layer, *backward = name.split("_")  # for example weight_ih_l0_reverse
        role = {"ih": "input_projection", "hh": "hidden_projection"}[source]
        number = int(layer[1:]) * network.directions + len(backward)
        renamed[f"cells.{number}.{role}.{kind}"] = weight
    network.load_state_dict(renamed)
