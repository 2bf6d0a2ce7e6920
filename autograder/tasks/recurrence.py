"""04-recurrence: the plain step, the LSTM, padded batches, both directions, clipping, truncation, vanishing "
"gradients."""

import math
from collections.abc import Iterator

import torch
import torch.nn as nn
import torch.nn.functional as F

from autograder.checking.client.fixtures import StatefulModel
from autograder.checking.given import Given
from autograder.checking.student import Answer, Student
from autograder.checking.tasks import Case, case, expected_gradient, filled, task
from autograder.reference import recurrent as reference


def plain_step(x: torch.Tensor, h: torch.Tensor, W_x: torch.Tensor, W_h: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The formula, by einsum."""
    return torch.tanh(torch.einsum("bi,hi->bh", x, W_x) + torch.einsum("bj,hj->bh", h, W_h) + b)


@task("rnn_step")
def rnn_step(student: Student, given: Given) -> Iterator[Case]:
    """tanh(x W_xᵀ + h W_hᵀ + b)."""

    def drawn(B: int, W: int, H: int) -> tuple[torch.Tensor, ...]:
        return given.normal(B, W), given.normal(B, H), given.normal(H, W), given.normal(H, H), given.normal(H)

    for name, B, W, H, weight in (
        ("the state is wider", 3, 2, 5, 2),
        ("the input is wider", 2, 6, 4, 2),
        ("both are equally wide", 4, 3, 3, 2),
        ("one sentence", 1, 2, 3, 1),
    ):
        inputs = drawn(B, W, H)
        yield case(name, student.rnn_step(*inputs), plain_step(*inputs), weight=weight, axes="B H")
    inputs, upstream = drawn(3, 2, 4), given.normal(3, 4)
    yield case(
        "gradients",
        student.rnn_step.gradient(*inputs, upstream=upstream),
        expected_gradient(plain_step, *inputs, upstream=upstream),
        weight=2,
    )


rnn_step.hints(
    "Each sentence is a row: `x @ W_x.T` has shape (B, H), and so has `h @ W_h.T`.",
    "Add the two products and the bias, and take the tanh of the sum.",
)


@rnn_step.misconception(
    "The tanh is missing. Without it the state can grow without bound, and all steps together are linear."
)
def no_tanh(x, h, W_x, W_h, b):
    return x @ W_x.T + h @ W_h.T + b


@rnn_step.misconception("There is a ReLU in the place of the tanh; the plain network of this chapter has the tanh.")
def relu(x, h, W_x, W_h, b):
    return F.relu(x @ W_x.T + h @ W_h.T + b)


@rnn_step.misconception("There is a sigmoid in the place of the tanh: the state could never be negative.")
def sigmoid(x, h, W_x, W_h, b):
    return torch.sigmoid(x @ W_x.T + h @ W_h.T + b)


@rnn_step.misconception("The two matrices have changed places: W_x belongs to the input and W_h to the state.")
def matrices_swapped(x, h, W_x, W_h, b):
    return torch.tanh(x @ W_h.T + h @ W_x.T + b)


@rnn_step.misconception("The bias is left out.")
def no_bias(x, h, W_x, W_h, b):
    return torch.tanh(x @ W_x.T + h @ W_h.T + 0 * b)


@rnn_step.misconception(
    "W_h is not transposed. Rows are sentences here, so the product W h becomes `h @ W_h.T`; without the T it has "
    "the right shape and the wrong numbers."
)
def state_not_transposed(x, h, W_x, W_h, b):
    return torch.tanh(x @ W_x.T + h @ W_h + b)


@rnn_step.misconception("The last state is not used, so that nothing is remembered.")
def no_state(x, h, W_x, W_h, b):
    return torch.tanh(x @ W_x.T + b) + 0 * h + 0 * W_h.sum()


@rnn_step.misconception("The last state is added to the next one. The plain network rewrites its state at every step.")
def added_to_the_state(x, h, W_x, W_h, b):
    return h + torch.tanh(x @ W_x.T + h @ W_h.T + b)


@rnn_step.misconception("The tanh is taken of each product by itself; take it of the sum.")
def tanh_of_each(x, h, W_x, W_h, b):
    return torch.tanh(x @ W_x.T) + torch.tanh(h @ W_h.T + b)


@rnn_step.alternative
def by_linear(x, h, W_x, W_h, b):
    return torch.tanh(F.linear(x, W_x, b) + F.linear(h, W_h))


@rnn_step.alternative
def one_product(x, h, W_x, W_h, b):
    return torch.tanh(torch.cat([x, h], dim=1) @ torch.cat([W_x, W_h], dim=1).T + b)


@rnn_step.alternative
def sentence_by_sentence(x, h, W_x, W_h, b, activation=torch.tanh):
    return torch.stack([activation(W_x @ one + W_h @ state + b) for one, state in zip(x, h, strict=True)])


@task("lstm_cell", asks="LSTMCell")
def lstm_cell(student: Student, given: Given) -> Iterator[Case]:
    """Three gates, a candidate, a memory; torch's order of the four."""
    parts, axes = ("h", "c"), ("B H", "B H")
    for name, B, W, H, weight in (
        ("the state is wider", 3, 2, 5, 2),
        ("the input is wider", 2, 6, 4, 2),
        ("one sentence, one number", 1, 1, 1, 1),
    ):
        cell = reference.LSTMCell(W, H)
        weights = given.weights(cell)
        filled(cell, weights)
        x, state = given.normal(B, W), (given.normal(B, H), 2 * given.normal(B, H))
        theirs = student.LSTMCell(W, H).load(weights)
        yield case(name, theirs(x, state), cell(x, state), weight=weight, parts=parts, axes=axes)
    cell = reference.LSTMCell(3, 4)
    weights = given.weights(cell)
    filled(cell, weights)
    theirs = student.LSTMCell(3, 4).load(weights)
    x, state = given.normal(2, 3), (given.normal(2, 4), given.normal(2, 4))
    with torch.no_grad():
        following, more = cell(x, state), given.normal(2, 3)
        yield case("the next step", theirs(more, following), cell(more, following), parts=parts, axes=axes)
    upstream = given.normal(2, 4)
    for number, name in enumerate(("gradients of h", "gradients of c")):
        yield case(
            name,
            theirs.gradient(x, state, upstream=upstream, output=number),
            expected_gradient(cell, x, state, upstream=upstream, output=number),
        )


lstm_cell.equivalent(
    "i, f, g, o = (self.input_projection(x) + self.hidden_projection(h)).chunk(4, dim=1)",
    "the last of two axes is the second",
)
lstm_cell.hints(
    "Compute all four at once: `self.input_projection(x) + self.hidden_projection(h)` has shape (B, 4H), and "
    "`.chunk(4, dim=-1)` cuts it into i, f, g and o, in this order.",
    "The memory comes first, `sigmoid(f) * c + sigmoid(i) * tanh(g)`, and the state is made of the new memory, "
    "`sigmoid(o) * tanh(c)`.",
)
lstm_cell.misconception_patch(
    "gate_order",
    "The order of the slices is not torch's: i, f, g, o. Here candidate and output gate have changed places.",
    ("i, f, g, o =", "i, f, o, g ="),
)
lstm_cell.misconception_patch(
    "forget_and_input_swapped",
    "Input gate and forget gate have changed places: the first slice is the input gate, the second the forget gate.",
    ("i, f, g, o =", "f, i, g, o ="),
)
lstm_cell.misconception_patch(
    "candidate_in_a_sigmoid",
    "The candidate has a sigmoid; it has a tanh, so that it can also make the memory smaller.",
    ("torch.tanh(g)", "torch.sigmoid(g)"),
)
lstm_cell.misconception_patch(
    "candidate_as_it_is", "The candidate has no tanh around it: it could be any number.", ("torch.tanh(g)", "g")
)
lstm_cell.misconception_patch(
    "memory_heard_as_it_is",
    "The tanh around the memory is missing: the state is σ(o) · tanh(c).",
    ("torch.sigmoid(o) * torch.tanh(c)", "torch.sigmoid(o) * c"),
)
lstm_cell.misconception_patch(
    "old_memory_heard",
    "The state is made of the memory before this step; it must be made of the new one.",
    ("h, c = state\n", "h, c = state\n        old = c\n"),
    ("torch.tanh(c)", "torch.tanh(old)"),
)
lstm_cell.misconception_patch(
    "nothing_forgotten",
    "The forget gate is not used: this is the LSTM of 1997, whose memory can only add.",
    ("torch.sigmoid(f) * c", "c"),
)
lstm_cell.misconception_patch(
    "forget_gate_inverted",
    "The forget gate is turned round. Despite its name, it is open, near 1, when the memory is kept.",
    ("torch.sigmoid(f) * c", "(1 - torch.sigmoid(f)) * c"),
)
lstm_cell.misconception_patch(
    "coupled_gates",
    "The input gate is made of the forget gate, 1 − σ(f). That is a variant with fewer weights; here the input gate "
    "has its own.",
    ("torch.sigmoid(i) * torch.tanh(g)", "(1 - torch.sigmoid(f)) * torch.tanh(g)"),
)
lstm_cell.misconception_patch(
    "state_not_used",
    "The last state h takes no part: the gates are computed from the input and from h, both.",
    (" + self.hidden_projection(h)", ""),
)
lstm_cell.misconception_patch(
    "gates_without_sigmoid",
    "The gates have no sigmoid around them, so they are no shares between 0 and 1.",
    ("torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)", "f * c + i * torch.tanh(g)"),
    ("torch.sigmoid(o) * torch.tanh(c)", "o * torch.tanh(c)"),
)
lstm_cell.misconception_patch(
    "gate_order_ungated",
    "The order of the slices is not torch's: i, f, g, o. Here forget gate and candidate have changed places.",
    ("i, f, g, o =", "i, g, f, o ="),
)
lstm_cell.misconception_patch(
    "forget_gate_first",
    "The order of the slices is not torch's: i, f, g, o. Here it is that of the formulas, f, i, o, g.",
    ("i, f, g, o =", "f, i, o, g ="),
)
lstm_cell.misconception_patch(
    "interleaved",
    "The 4H numbers are cut into H groups of four; they are four groups of H: the first H are for i, the next H for f.",
    (".chunk(4, dim=-1)", ".reshape(len(x), self.hidden_size, 4).unbind(dim=-1)"),
)
lstm_cell.misconception_patch(
    "memory_for_state",
    "The pair is taken apart in the wrong order: the state is `(h, c)`, first h, then c.",
    ("h, c = state", "c, h = state"),
)
lstm_cell.misconception_patch(
    "old_memory_returned",
    "The memory that is returned is the one before the step; the new one is asked for.",
    ("h, c = state\n", "h, c = state\n        old = c\n"),
    ("return h, c", "return h, old"),
)
lstm_cell.misconception_patch(
    "sigmoid_of_all_four",
    "The sigmoid is taken of all four, the candidate among them, before its tanh: only the gates have a sigmoid.",
    ("torch.tanh(g)", "torch.tanh(torch.sigmoid(g))"),
)
lstm_cell.misconception_patch(
    "forget_gate_without_sigmoid",
    "The forget gate has no sigmoid around it, so it is no share between 0 and 1.",
    ("torch.sigmoid(f) * c", "f * c"),
)
lstm_cell.misconception_patch(
    "memory_first",
    "The two have changed places in the pair that is returned: first h, then c.",
    ("return h, c", "return c, h"),
)
lstm_cell.alternative_patch(
    "one_product",
    (
        "(self.input_projection(x) + self.hidden_projection(h))",
        "(torch.cat([x, h], dim=1) @ torch.cat([self.input_projection.weight, self.hidden_projection.weight], "
        "dim=1).T\n            + self.input_projection.bias + self.hidden_projection.bias)",
    ),
)
lstm_cell.alternative_patch(
    "split_by_width",
    (".chunk(4, dim=-1)", ".split(self.hidden_size, dim=1)"),
    ("def forward(self, x, state):", "def forward(self, x, state=None):"),
)
lstm_cell.alternative_patch("tanh_by_sigmoid", ("torch.tanh(g)", "(2 * (2 * g).sigmoid() - 1)"))


def cell_of(student: Student, given: Given, W: int, H: int) -> tuple[Answer, reference.LSTMCell]:
    """One of torch's cells on the student's side, and the reference's with the same weights here."""
    weights = given.weights(nn.LSTMCell(W, H))
    ours = reference.LSTMCell(W, H)
    roles = {"ih": "input_projection", "hh": "hidden_projection"}
    renamed = {
        f"{roles[source]}.{kind}": weights[f"{kind}_{source}"] for source in roles for kind in ("weight", "bias")
    }
    return student.fixture("torch_module", "LSTMCell", weights, W, H), filled(ours, renamed)


def padded(given: Given, B: int, T: int, W: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch with anything in its padding."""
    lengths = given.lengths(B, T)
    x = given.normal(B, T, W)
    behind = torch.arange(T) >= lengths[:, None]
    x[behind] = 20 * given.normal(int(behind.sum()), W)
    return x, lengths


@task("run_lstm")
def run_lstm(student: Student, given: Given) -> Iterator[Case]:
    """Outputs and last states of a padded batch, each sentence to its own end."""
    parts, axes = ("outputs", "(h, c)"), ("B T H",)
    for name, B, T, W, H, weight in (
        ("four sentences", 4, 6, 3, 5, 3),
        ("three sentences", 3, 7, 2, 4, 2),
        ("many short ones", 6, 3, 4, 2, 2),
    ):
        theirs, ours = cell_of(student, given, W, H)
        x, lengths = padded(given, B, T, W)
        right = reference.run(ours, x, lengths)
        yield case(name, student.run_lstm(theirs, x, lengths), right, weight=weight, parts=parts, axes=axes)
    theirs, ours = cell_of(student, given, 3, 4)
    x, lengths = given.normal(2, 5, 3), torch.tensor([5, 5])
    yield case(
        "no padding", student.run_lstm(theirs, x, lengths), reference.run(ours, x, lengths), parts=parts, axes=axes
    )
    x, lengths = given.normal(1, 1, 3), torch.tensor([1])
    yield case(
        "one word", student.run_lstm(theirs, x, lengths), reference.run(ours, x, lengths), parts=parts, axes=axes
    )
    x, lengths = 3 * given.normal(3, 6, 3), torch.tensor([2, 4, 1])
    right = reference.run(ours, x, lengths)
    yield case("a tensor wider than all", student.run_lstm(theirs, x, lengths), right, parts=parts, axes=axes)
    x, lengths, upstream = given.normal(3, 5, 3), torch.tensor([5, 2, 4]), given.normal(3, 5, 4)
    yield case(
        "gradients",
        student.run_lstm.gradient(theirs, x, lengths, upstream=upstream, output=0),
        expected_gradient(reference.run, ours, x, lengths, upstream=upstream, output=0),
        weight=2,
    )


run_lstm.equivalent(
    "h = c = x.new_zeros(len(lengths), cell.hidden_size)",
    "there is a length for each sentence",
)
run_lstm.equivalent(
    "outputs.append(torch.where(inside, new_h, torch.zeros_like(new_c)))",
    "a zero is a zero, whatever the shape and type it was made after",
)
run_lstm.equivalent(
    "outputs.append(torch.where(inside, new_h, torch.zeros_like(inside)))",
    "a zero is a zero, whatever the shape and type it was made after",
)
run_lstm.hints(
    "A loop over t. In each round let the cell read `x[:, t]`, and then decide for each sentence, with `t < lengths`, "
    "whether the new state counts or the old one stays.",
    "`torch.where(inside, new_h, h)` with `inside = (t < lengths)[:, None]` takes the new state where there is a word. "
    "Do this for h and for c.",
    "Collect the outputs in a list, with 0 where there is no word, and `torch.stack(outputs, dim=1)` them.",
)


@run_lstm.misconception(
    "The state keeps moving through the padding: h and c at the end are those after T positions, not after the "
    "sentence's own last word."
)
def through_the_padding(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        h, c = cell(x[:, t], (h, c))
        outputs.append(h * (t < lengths)[:, None])
    return torch.stack(outputs, dim=1), (h, c)


run_lstm.misconception_patch(
    "zeros_are_read",
    "The inputs of the padding are set to 0, and the state still moves: also from an input of 0 the cell makes another "
    "state. Keep h and c as they were.",
    ("cell(x[:, t], (h, c))", "cell(x[:, t] * inside, (h, c))"),
    ("h, c = torch.where(inside, new_h, h), torch.where(inside, new_c, c)", "h, c = new_h, new_c"),
)
run_lstm.misconception_patch(
    "last_column",
    "The last column of the outputs is returned for h, which is 0 in a sentence that is shorter than the tensor: h is "
    "the state after each sentence's own last word.",
    ("return torch.stack(outputs, dim=1), (h, c)", "return torch.stack(outputs, dim=1), (outputs[-1], c)"),
)
run_lstm.misconception_patch(
    "as_long_as_the_longest",
    "The outputs are as long as the longest sentence; they are as long as the tensor, T, with 0 in what is padding "
    "for all.",
    ("range(x.shape[1])", "range(int(lengths.max()))"),
)
run_lstm.misconception_patch(
    "state_detached",
    "The gradient is cut off between one word and the next: the state must be handed on as it is, without `detach`.",
    ("cell(x[:, t], (h, c))", "cell(x[:, t], (h.detach(), c.detach()))"),
)


@run_lstm.misconception(
    "The padding is not treated at all: the outputs there must be 0, and the states must stay as they were at the "
    "end of each sentence."
)
def lengths_ignored(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        h, c = cell(x[:, t], (h, c))
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h, c)


@run_lstm.misconception(
    "The outputs at the padding are not 0: the last states are right, but they, or what comes after them, stand in the "
    "padding, too."
)
def outputs_repeated(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        inside = (t < lengths)[:, None]
        new_h, new_c = cell(x[:, t], (h, c))
        h, c = torch.where(inside, new_h, h), torch.where(inside, new_c, c)
        outputs.append(h)
    return torch.stack(outputs, dim=1), (h, c)


@run_lstm.misconception("h stays at the end of a sentence, and c moves on through the padding: hold both.")
def memory_moves_on(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        inside = (t < lengths)[:, None]
        new_h, c = cell(x[:, t], (h, c))
        h = torch.where(inside, new_h, h)
        outputs.append(new_h * inside)
    return torch.stack(outputs, dim=1), (h, c)


@run_lstm.misconception(
    "One position too many is read: positions are numbered from 0, so the last word of a sentence stands at length − "
    "1, and it is t < length."
)
def one_too_many(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        inside = (t <= lengths)[:, None]
        new_h, new_c = cell(x[:, t], (h, c))
        h, c = torch.where(inside, new_h, h), torch.where(inside, new_c, c)
        outputs.append(new_h * inside)
    return torch.stack(outputs, dim=1), (h, c)


@run_lstm.misconception(
    "The outputs are stacked with the positions in front, (T, B, H); (B, T, H) is asked for: dim=1."
)
def positions_first(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        inside = (t < lengths)[:, None]
        new_h, new_c = cell(x[:, t], (h, c))
        h, c = torch.where(inside, new_h, h), torch.where(inside, new_c, c)
        outputs.append(new_h * inside)
    return torch.stack(outputs), (h, c)


@run_lstm.misconception("Every position is read from the same state, that of the beginning: hand the new h and c on.")
def state_not_handed_on(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs, last = [], (h, c)
    for t in range(x.shape[1]):
        inside = (t < lengths)[:, None]
        new = cell(x[:, t], (h, c))
        last = tuple(torch.where(inside, n, o) for n, o in zip(new, last, strict=True))
        outputs.append(new[0] * inside)
    return torch.stack(outputs, dim=1), last


@run_lstm.misconception("The memory is collected for the outputs; the output of an LSTM is its state h.")
def memory_as_output(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in range(x.shape[1]):
        inside = (t < lengths)[:, None]
        new_h, new_c = cell(x[:, t], (h, c))
        h, c = torch.where(inside, new_h, h), torch.where(inside, new_c, c)
        outputs.append(new_c * inside)
    return torch.stack(outputs, dim=1), (h, c)


@run_lstm.misconception(
    "The sentences are read from their end to their beginning; here the cell reads from left to right."
)
def from_the_end(cell, x, lengths):
    h = c = x.new_zeros(len(x), cell.hidden_size)
    outputs = []
    for t in reversed(range(x.shape[1])):
        inside = (t < lengths)[:, None]
        new_h, new_c = cell(x[:, t], (h, c))
        h, c = torch.where(inside, new_h, h), torch.where(inside, new_c, c)
        outputs.insert(0, new_h * inside)
    return torch.stack(outputs, dim=1), (h, c)


@run_lstm.alternative
def one_sentence_after_the_other(cell, x, lengths):
    outputs, ends = x.new_zeros(*x.shape[:2], cell.hidden_size), []
    for number, length in enumerate(lengths.tolist()):
        state = x.new_zeros(1, cell.hidden_size), x.new_zeros(1, cell.hidden_size)
        for t in range(length):
            state = cell(x[number : number + 1, t], state)
            outputs[number, t] = state[0][0]
        ends.append(state)
    return outputs, (torch.cat([h for h, _ in ends]), torch.cat([c for _, c in ends]))


@run_lstm.alternative
def by_arithmetic(cell, x, lengths):
    h, c = torch.zeros(len(x), cell.hidden_size), torch.zeros(len(x), cell.hidden_size)
    collected = []
    for t in range(x.size(1)):
        word = (t < lengths).float().unsqueeze(1)
        new_h, new_c = cell(x[:, t, :], (h, c))
        h, c = word * new_h + (1 - word) * h, word * new_c + (1 - word) * c
        collected.append(word * h)
    return torch.stack(collected, 1), (h, c)


@run_lstm.alternative
def picked_afterwards(cell, x, lengths, batch_first=True):
    h = c = torch.zeros(len(x), cell.hidden_size)
    all_h, all_c = [], []
    for t in range(x.shape[1]):
        h, c = cell(x[:, t], (h, c))
        all_h.append(h)
        all_c.append(c)
    h, c = torch.stack(all_h, dim=1), torch.stack(all_c, dim=1)
    rows, last = torch.arange(len(x)), lengths - 1
    words = (torch.arange(x.shape[1]) < lengths[:, None]).unsqueeze(2)
    return h.masked_fill(~words, 0.0), (h[rows, last], c[rows, last])


def both_sides(
    one: reference.LSTMCell, other: reference.LSTMCell, x: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """The reference's outputs from both sides, (B, T, 2H)."""
    return torch.cat([reference.run(one, x, lengths)[0], reference.run_backward(other, x, lengths)[0]], dim=-1)


@task("bidirectional")
def bidirectional(student: Student, given: Given) -> Iterator[Case]:
    """Outputs from both sides at each word, each sentence turned round within its own length."""
    for name, B, T, W, H, weight in (
        ("four sentences", 4, 6, 3, 5, 3),
        ("three sentences", 3, 7, 2, 4, 3),
        ("many short ones", 6, 3, 4, 2, 2),
    ):
        their_one, one = cell_of(student, given, W, H)
        their_other, other = cell_of(student, given, W, H)
        x, lengths = padded(given, B, T, W)
        answer = student.bidirectional(their_one, their_other, x, lengths)
        yield case(name, answer, both_sides(one, other, x, lengths), weight=weight, axes="B T 2H")
    their_one, one = cell_of(student, given, 3, 4)
    their_other, other = cell_of(student, given, 3, 4)
    x, lengths = given.normal(2, 5, 3), torch.tensor([5, 5])
    answer = student.bidirectional(their_one, their_other, x, lengths)
    yield case("no padding", answer, both_sides(one, other, x, lengths), axes="B T 2H")
    x, lengths, upstream = given.normal(3, 5, 3), torch.tensor([2, 4, 3]), given.normal(3, 5, 8)
    yield case(
        "gradients",
        student.bidirectional.gradient(their_one, their_other, x, lengths, upstream=upstream),
        expected_gradient(both_sides, one, other, x, lengths, upstream=upstream),
        weight=2,
    )


bidirectional.equivalent(
    "order = torch.where(t <= ends, ends - 1 - t, t)",
    "what is read in the padding is never seen",
)
bidirectional.equivalent(
    "order = torch.where(t < ends, ends - 1 - t, ends)",
    "what is read in the padding is never seen",
)
bidirectional.equivalent(
    "rows = torch.arange(len(lengths))[:, None]",
    "there is a length for each sentence",
)
bidirectional.hints(
    "What does `x.flip(1)` do to a sentence with three places of padding? Which input does the second cell read first?",
    "Make for each sentence an order of its positions, (B, T): `lengths[:, None] - 1 - t` inside the sentence, and `t` "
    "itself in the padding. `x[rows, order]` with `rows = torch.arange(B)[:, None]` puts the words in this order.",
    "The same order turns the outputs back, for turning twice changes nothing.",
)


@bidirectional.misconception(
    "The padding is turned round, too: `x.flip(1)` brings it to the front, and the second cell reads it before the "
    "sentence. Turn each sentence within its own length."
)
def padding_turned_too(forward_cell, backward_cell, x, lengths):
    forward, _ = run_lstm(forward_cell, x, lengths)
    backward, _ = run_lstm(backward_cell, x.flip(1), lengths)
    return torch.cat([forward, backward.flip(1)], dim=-1)


@bidirectional.misconception(
    "The outputs of the second cell are not turned back: they stand in the order in which they were read, and not at "
    "their words."
)
def not_turned_back(forward_cell, backward_cell, x, lengths):
    t, ends = torch.arange(x.shape[1]), lengths[:, None]
    order, rows = torch.where(t < ends, ends - 1 - t, t), torch.arange(len(x))[:, None]
    forward, _ = run_lstm(forward_cell, x, lengths)
    backward, _ = run_lstm(backward_cell, x[rows, order], lengths)
    return torch.cat([forward, backward], dim=-1)


@bidirectional.misconception("The two outputs are added; they are to stand side by side, (B, T, 2H).")
def added(forward_cell, backward_cell, x, lengths):
    t, ends = torch.arange(x.shape[1]), lengths[:, None]
    order, rows = torch.where(t < ends, ends - 1 - t, t), torch.arange(len(x))[:, None]
    forward, _ = run_lstm(forward_cell, x, lengths)
    backward, _ = run_lstm(backward_cell, x[rows, order], lengths)
    return forward + backward[rows, order]


@bidirectional.misconception("The backward outputs come first; the forward ones are to.")
def backward_first(forward_cell, backward_cell, x, lengths):
    t, ends = torch.arange(x.shape[1]), lengths[:, None]
    order, rows = torch.where(t < ends, ends - 1 - t, t), torch.arange(len(x))[:, None]
    forward, _ = run_lstm(forward_cell, x, lengths)
    backward, _ = run_lstm(backward_cell, x[rows, order], lengths)
    return torch.cat([backward[rows, order], forward], dim=-1)


@bidirectional.misconception(
    "Both cells read from left to right: the second one has to read the sentence from its end."
)
def never_turned(forward_cell, backward_cell, x, lengths):
    forward, _ = run_lstm(forward_cell, x, lengths)
    backward, _ = run_lstm(backward_cell, x, lengths)
    return torch.cat([forward, backward], dim=-1)


@bidirectional.misconception("The forward cell reads in both directions; the second direction has a cell of its own.")
def one_cell(forward_cell, backward_cell, x, lengths):
    t, ends = torch.arange(x.shape[1]), lengths[:, None]
    order, rows = torch.where(t < ends, ends - 1 - t, t), torch.arange(len(x))[:, None]
    forward, _ = run_lstm(forward_cell, x, lengths)
    backward, _ = run_lstm(forward_cell, x[rows, order], lengths)
    return torch.cat([forward, backward[rows, order]], dim=-1)


@bidirectional.misconception(
    "The two cells have changed roles: `forward_cell` reads from the left, `backward_cell` from the right."
)
def roles_exchanged(forward_cell, backward_cell, x, lengths):
    t, ends = torch.arange(x.shape[1]), lengths[:, None]
    order, rows = torch.where(t < ends, ends - 1 - t, t), torch.arange(len(x))[:, None]
    forward, _ = run_lstm(backward_cell, x, lengths)
    backward, _ = run_lstm(forward_cell, x[rows, order], lengths)
    return torch.cat([forward, backward[rows, order]], dim=-1)


@bidirectional.misconception(
    "The second cell reads what the first has written. Here both read the words themselves; layers over layers come "
    "later."
)
def one_after_the_other(forward_cell, backward_cell, x, lengths):
    t, ends = torch.arange(x.shape[1]), lengths[:, None]
    order, rows = torch.where(t < ends, ends - 1 - t, t), torch.arange(len(x))[:, None]
    forward, _ = run_lstm(forward_cell, x, lengths)
    width = x.shape[2]
    narrow = forward[..., :width] if forward.shape[2] >= width else F.pad(forward, (0, width - forward.shape[2]))
    backward, _ = run_lstm(backward_cell, narrow[rows, order], lengths)
    return torch.cat([forward, backward[rows, order]], dim=-1)


@bidirectional.alternative
def each_sentence_by_itself(forward_cell, backward_cell, x, lengths):
    turned = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, lengths.tolist(), strict=True)])
    forward = run_lstm(forward_cell, x, lengths)[0]
    backward = run_lstm(backward_cell, turned, lengths)[0]
    back = [torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(backward, lengths.tolist(), strict=True)]
    return torch.cat([forward, torch.stack(back)], dim=2)


@bidirectional.alternative
def by_gathering(forward_cell, backward_cell, x, lengths):
    t = torch.arange(x.size(1)).expand(len(x), -1)
    order = torch.where(t < lengths.unsqueeze(1), lengths.unsqueeze(1) - 1 - t, t).unsqueeze(2)
    forward = run_lstm(forward_cell, x, lengths)[0]
    backward = run_lstm(backward_cell, x.gather(1, order.expand_as(x)), lengths)[0]
    return torch.cat((forward, backward.gather(1, order.expand_as(backward))), dim=-1)


@bidirectional.alternative
def by_rolling(forward_cell, backward_cell, x, lengths, shifts=None):
    T = x.shape[1]

    def turn(tensor):
        flipped = tensor.flip(1)
        return torch.stack([row.roll(int(n) - T, dims=0) for row, n in zip(flipped, lengths, strict=True)])

    forward, backward = run_lstm(forward_cell, x, lengths)[0], run_lstm(backward_cell, turn(x), lengths)[0]
    return torch.cat([forward, turn(backward)], dim=-1)


@task("clip_gradients")
def clip_gradients(student: Student, given: Given) -> Iterator[Case]:
    """All gradients by one factor, if their common norm is too large."""
    parts = ("the norm returned", "the gradients", "the parameters")

    def tried(name: str, gradients: list[torch.Tensor | None], max_norm: float, weight: float = 1) -> Case:
        values = [given.normal(*g.shape) if g is not None else given.normal(3) for g in gradients]
        there = [g for g in gradients if g is not None]
        norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in there))
        factor = min(1.0, max_norm / norm)
        right = (norm, [None if g is None else g * factor for g in gradients], values)
        held = student.fixture("ParametersAtHand", values, gradients)
        returned = student.clip_gradients(held.call("once"), max_norm)
        got = returned if returned.failure else held.call("after", returned)
        return case(name, got, right, weight=weight, parts=parts)

    yield tried("too large", [3 * given.normal(4, 3), 2 * given.normal(5), given.normal(2, 2, 2)], 1.0, 3)
    yield tried("small enough", [0.1 * given.normal(4, 3), 0.1 * given.normal(5)], 5.0, 2)
    small = torch.full((2, 2), 0.4)
    yield tried("each small, together too large", [small, small.clone(), small.clone()], 1.0, 2)
    yield tried("another threshold", [4 * given.normal(3, 3), given.normal(6)], 2.5, 2)
    yield tried("some without a gradient", [None, 3 * given.normal(4), None, given.normal(2)], 0.5, 2)
    yield tried("one parameter", [5 * given.normal(7)], 1.0)


clip_gradients.equivalent(
    "norm = math.sqrt(sum(((gradient ** 2).sum() for gradient in gradients)))",
    "the root of a tensor with one number is a float as well",
)
clip_gradients.hints(
    "Collect the gradients in a list first: `parameters` can be gone over once, and you need them twice. Leave out "
    "those that are None.",
    "One norm for all of them: the square root of the sum of all squares. If it is larger than `max_norm`, multiply "
    "each gradient in place, `gradient.mul_(max_norm / norm)`.",
)
clip_gradients.equivalent("if norm >= max_norm:", "where the norm is just max_norm, the factor is 1")


@clip_gradients.misconception(
    "Each parameter is clipped by its own norm. Then the direction of the step changes; take one norm of all gradients "
    "together, and one factor."
)
def per_tensor(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = math.sqrt(sum((g**2).sum().item() for g in gradients))
    for gradient in gradients:
        norm = gradient.norm().item()
        if norm > max_norm:
            gradient.mul_(max_norm / norm)
    return total


@clip_gradients.misconception(
    "Single numbers are clipped, which changes the direction of the step. Multiply all gradients by the same factor."
)
def clips_values(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = math.sqrt(sum((g**2).sum().item() for g in gradients))
    for gradient in gradients:
        gradient.clamp_(-max_norm, max_norm)
    return total


@clip_gradients.misconception(
    "Small gradients are scaled up to max_norm. Leave them as they are: the factor is never above 1."
)
def scales_up(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = math.sqrt(sum((g**2).sum().item() for g in gradients))
    for gradient in gradients:
        gradient.mul_(max_norm / total)
    return total


@clip_gradients.misconception(
    "The norms of the parameters are added up. The norm of all together is the root of the sum of their squares."
)
def sum_of_norms(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = sum(g.norm().item() for g in gradients)
    if total > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / total)
    return total


@clip_gradients.misconception("The square root is missing: the norm is the root of the sum of the squares.")
def no_root(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = sum((g**2).sum().item() for g in gradients)
    if total > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / total)
    return total


@clip_gradients.misconception("It fails for a parameter without a gradient: leave out those whose `grad` is None.")
def fails_on_none(parameters, max_norm):
    gradients = [p.grad for p in parameters]
    total = math.sqrt(sum((g**2).sum().item() for g in gradients))
    if total > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / total)
    return total


@clip_gradients.misconception(
    "The gradients are as large as before. `model.parameters()` can be gone over once, so that a second loop finds "
    "nothing; and `gradient = gradient * factor` makes a new tensor. Keep the gradients in a list, and change them "
    "in place, `gradient.mul_(factor)`."
)
def gone_over_twice(parameters, max_norm):
    total = math.sqrt(sum((p.grad**2).sum().item() for p in parameters if p.grad is not None))
    if total > max_norm:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(max_norm / total)
    return total


@clip_gradients.misconception("The parameters themselves are scaled; only their gradients are to change.")
def parameters_scaled(parameters, max_norm):
    held = [p for p in parameters if p.grad is not None]
    total = math.sqrt(sum((p.grad**2).sum().item() for p in held))
    if total > max_norm:
        for parameter in held:
            parameter.data.mul_(max_norm / total)
    return total


@clip_gradients.misconception("The norm is computed of the parameters; it is that of their gradients.")
def norm_of_the_parameters(parameters, max_norm):
    held = [p for p in parameters if p.grad is not None]
    total = math.sqrt(sum((p.data**2).sum().item() for p in held))
    if total > max_norm:
        for parameter in held:
            parameter.grad.mul_(max_norm / total)
    return total


@clip_gradients.misconception("The norm after clipping is returned; the one before it is asked for.")
def norm_afterwards(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = math.sqrt(sum((g**2).sum().item() for g in gradients))
    if total > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / total)
    return min(total, max_norm)


@clip_gradients.misconception("The largest of the single norms is taken for the norm of all together.")
def largest_norm(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = max(g.norm().item() for g in gradients)
    if total > max_norm:
        for gradient in gradients:
            gradient.mul_(max_norm / total)
    return total


@clip_gradients.alternative
def torchs_own(parameters, max_norm):
    return nn.utils.clip_grad_norm_(parameters, max_norm)


@clip_gradients.alternative
def norm_of_norms(parameters, max_norm):
    gradients = [p.grad for p in parameters if p.grad is not None]
    total = torch.stack([g.norm() for g in gradients]).norm()
    factor = (max_norm / total).clamp(max=1)
    for gradient in gradients:
        gradient *= factor
    return total


@clip_gradients.alternative
def new_gradients(parameters, max_norm, norm_type=2.0):
    held = [p for p in parameters if p.grad is not None]
    total = torch.cat([p.grad.flatten() for p in held]).norm(norm_type)
    if total > max_norm:
        for parameter in held:
            parameter.grad = parameter.grad * (max_norm / total)
    return float(total)


CHUNKS = (4, 3, 5, 4, 2)
RATE = 0.4


@task("truncated_bptt")
def truncated_bptt(student: Student, given: Given) -> Iterator[Case]:
    """The state goes on from chunk to chunk, the gradient does not."""
    for name, B, V, E, H, weight in (("two readers", 2, 5, 3, 4, 2), ("three readers", 3, 7, 4, 6, 2)):
        ids = given.integers(0, V, B, sum(CHUNKS) + 1)
        parts = {"embedding": nn.Embedding(V, E), "reader": nn.LSTM(E, H), "output": nn.Linear(H, V)}
        weights = {key: 4.0 * value for key, value in given.weights(nn.ModuleDict(parts)).items()}
        model = student.fixture("StatefulModel", weights, V, E, H)
        chunks = student.fixture("Chunks", ids[:, :-1], ids[:, 1:], list(CHUNKS))
        losses = student.truncated_bptt(model, model.call("optimizer", "SGD", lr=RATE), chunks)
        right, after, handed = trained(weights, V, E, H, ids)
        yield case(f"losses, {name}", losses, right, weight=weight, tolerance=2e-4)
        if not losses.failure:
            yield case(f"the kind of losses, {name}", losses.kinds(), ["number"] * len(CHUNKS), subject="the list")
            done = model.call("weights")
            yield case(f"the model afterwards, {name}", done, after, weight=weight, tolerance=2e-4)
            said = "what the model was handed, call by call,"
            yield case(f"what the model was handed, {name}", model.call("report"), handed, subject=said)


def trained(
    weights: dict[str, torch.Tensor], V: int, E: int, H: int, ids: torch.Tensor
) -> tuple[list[float], dict[str, torch.Tensor], str]:
    """Losses, weights and what the model was handed, by the statement."""
    model = StatefulModel(weights, V, E, H)
    state, losses, start = None, [], 0
    for length in CHUNKS:
        inputs, targets = ids[:, start : start + length], ids[:, start + 1 : start + length + 1]
        start += length
        logits, state = model(inputs, state)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        with torch.no_grad():
            for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                parameter.sub_(gradient, alpha=RATE * min(1.0, 1.0 / norm))
        state = (state[0].detach(), state[1].detach())
        losses.append(loss.item())
    return losses, model.weights(), model.report()


truncated_bptt.equivalent(
    "model.zero_grad()",
    "the optimizer has all parameters of the model",
)
truncated_bptt.hints(
    "Begin with `state = None`. Each call of the model gives the logits and the next state; that state goes into the "
    "next call.",
    "`F.cross_entropy` wants the classes on the second axis: `logits.transpose(1, 2)` is (B, V, T), beside targets "
    "(B, T).",
    "Cut the graph between two chunks: `state = tuple(part.detach() for part in state)`.",
)
truncated_bptt.misconception_patch(
    "state_reset",
    "The state is forgotten at the border of each chunk: hand the state behind a chunk to the model with the next one.",
    ("state = tuple(part.detach() for part in state)", "state = None"),
)
truncated_bptt.misconception_patch(
    "not_detached",
    "The graph is not cut: going backward from the second chunk runs into the first one, whose graph is gone. Detach "
    "both parts of the state.",
    ("        state = tuple(part.detach() for part in state)\n", ""),
)
truncated_bptt.misconception_patch(
    "graph_grows",
    "With retain_graph=True the graph of all chunks so far is kept and gone through again and again: work and memory "
    "grow with every chunk. Detach the state, and let the graph go.",
    ("        state = tuple(part.detach() for part in state)\n", ""),
    ("loss.backward()", "loss.backward(retain_graph=True)"),
)
truncated_bptt.misconception_patch(
    "memory_reset",
    "Only h is carried, and the memory c begins anew in each chunk: both parts of the state go on.",
    (
        "state = tuple(part.detach() for part in state)",
        "state = (state[0].detach(), torch.zeros_like(state[1]))",
    ),
)
truncated_bptt.misconception_patch(
    "not_clipped",
    "The step is taken with gradients that are not clipped: `clip_gradients(model.parameters(), 1.0)` belongs behind "
    "`backward`, which makes them, and before the step.",
    ("        clip_gradients(model.parameters(), 1.0)\n", ""),
)
truncated_bptt.misconception_patch(
    "forgets_zero_grad",
    "The old gradients are never taken away, so each step follows the sum of all chunks so far: "
    "`optimizer.zero_grad()`.",
    ("        optimizer.zero_grad()\n", ""),
)
truncated_bptt.misconception_patch(
    "losses_as_tensors",
    "The losses are tensors; numbers are asked for. A tensor keeps the graph of its chunk in memory, and cannot be "
    "drawn: `loss.item()`.",
    ("loss.item()", "loss"),
)
truncated_bptt.misconception_patch(
    "read_twice",
    "The model is called twice for each chunk: one call gives both, the logits and the next state.",
    (
        "logits, state = model(inputs, state)",
        "logits, _ = model(inputs, state)\n        _, state = model(inputs, state)",
    ),
)
truncated_bptt.misconception_patch(
    "softmax_twice",
    "There is a softmax before the cross-entropy, which takes its own: hand it the logits.",
    ("logits.transpose(1, 2), targets", "logits.softmax(dim=-1).transpose(1, 2), targets"),
)
truncated_bptt.misconception_patch(
    "shifted_again",
    "The targets are shifted once more; they already are the letters that follow.",
    (
        "F.cross_entropy(logits.transpose(1, 2), targets)",
        "F.cross_entropy(logits[:, :-1].transpose(1, 2), targets[:, 1:])",
    ),
)
truncated_bptt.misconception_patch(
    "sum_for_mean",
    "The losses of the positions are summed; the mean over all positions of the chunk is asked for.",
    ("targets)", 'targets, reduction="sum")'),
)
truncated_bptt.misconception_patch(
    "last_position_only",
    "Only the last position of each chunk is judged; every position has a target.",
    ("F.cross_entropy(logits.transpose(1, 2), targets)", "F.cross_entropy(logits[:, -1], targets[:, -1])"),
)
truncated_bptt.misconception_patch(
    "axes_mixed_up",
    "The logits are brought to another shape without moving their axes, so that positions and symbols are mixed: "
    "`logits.transpose(1, 2)`, or flatten logits and targets alike.",
    (
        "logits.transpose(1, 2), targets)",
        "logits.reshape(len(logits), logits.shape[2], -1), targets)",
    ),
)
truncated_bptt.misconception_patch(
    "never_steps",
    "The model does not change: either the optimizer never takes a step, or `zero_grad` stands between `backward` and "
    "the step and takes the new gradients away.",
    ("        optimizer.step()\n", ""),
)
truncated_bptt.misconception_patch(
    "targets_are_inputs",
    "The model is asked for what it has just read: the targets are the second tensor of a chunk.",
    ("for inputs, targets in chunks:", "for inputs, _ in chunks:\n        targets = inputs"),
)
truncated_bptt.alternative_patch(
    "flattened",
    ("F.cross_entropy(logits.transpose(1, 2), targets)", "F.cross_entropy(logits.flatten(0, 1), targets.flatten())"),
)
truncated_bptt.alternative_patch(
    "detached_on_the_way_in",
    ("state, losses = None, []", "hidden, losses = None, []"),
    (
        "logits, state = model(inputs, state)",
        "hidden = None if hidden is None else (hidden[0].detach(), hidden[1].detach())\n"
        "        logits, hidden = model(inputs, hidden)",
    ),
    ("        state = tuple(part.detach() for part in state)\n", ""),
)
truncated_bptt.alternative_patch(
    "a_new_leaf",
    (
        "state = tuple(part.detach() for part in state)",
        "state = tuple(part.detach().requires_grad_() for part in state)",
    ),
)
truncated_bptt.alternative_patch(
    "zeroed_at_the_end",
    ("        optimizer.zero_grad()\n", ""),
    ("        optimizer.step()\n", "        optimizer.step()\n        optimizer.zero_grad()\n"),
    ("def truncated_bptt(model, optimizer, chunks):", "def truncated_bptt(model, optimizer, chunks, verbose=False):"),
)


def norms_of(network: nn.RNN, x: torch.Tensor) -> torch.Tensor:
    """One sentence after the other, one distance after the other."""
    rows = []
    for sentence in x:
        words = sentence.clone().requires_grad_()
        network(words[None])[0][0, -1].sum().backward()
        assert words.grad is not None
        rows.append([float(words.grad[place].norm()) for place in reversed(range(len(words)))])
    return torch.tensor(rows).mean(dim=0)


@task("vanishing_gradient", asks="gradient_norms")
def vanishing_gradient(student: Student, given: Given) -> Iterator[Case]:
    """The norm of the last output's gradient by the input at each distance."""
    for name, B, T, W, H, weight in (
        ("five sentences", 5, 7, 3, 4, 3),
        ("a longer text", 4, 12, 4, 3, 3),
        ("one sentence", 1, 5, 2, 6, 2),
    ):
        network = nn.RNN(W, H, batch_first=True)
        weights = {key: 0.8 * value for key, value in given.weights(network).items()}
        filled(network, weights)
        x = 1.5 * given.normal(B, T, W)
        reader = student.fixture("PublicReader", weights, W, H)
        answer = student.gradient_norms(reader, x)
        yield case(name, answer, norms_of(network, x), weight=weight, axes="distance")
        if name == "five sentences" and not answer.failure:
            kept = [torch.ones_like(parameter) for parameter in network.parameters()]
            yield case("the gradients of the parameters", reader.call("gradients"), kept)
            learn = "whether the parameters can still learn"
            yield case(learn, reader.call("learns"), [True] * len(kept), subject=learn)


vanishing_gradient.equivalent(
    "x = x.detach().requires_grad_()",
    "what is detached is a tensor of its own; no number of x is changed",
)
vanishing_gradient.equivalent(
    "return gradient.norm(dim=2).mean(dim=0).flip(-1)",
    "a vector has one axis",
)
vanishing_gradient.hints(
    "Make a copy of x that asks for gradients, `x.detach().clone().requires_grad_()`; the outputs at the last "
    "position are `model(x)[:, -1]`.",
    "`torch.autograd.grad(last.sum(), x)` gives a tuple with one gradient, of shape (B, T, I). Its norm over the "
    "last axis, averaged over the batch, is ordered by position: turn it round.",
)


@vanishing_gradient.misconception(
    "The norms are ordered by position, the farthest first; distance 0, the last position, comes first."
)
def by_position(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return gradient.norm(dim=2).mean(dim=0)


@vanishing_gradient.misconception(
    "All outputs are summed, so that every input also acts on its own output: only the last output counts, "
    "model(x)[:, -1]."
)
def all_outputs(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    return gradient.norm(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception(
    "The output at the first position is taken; it depends on the first input alone. Take the last, `[:, -1]`."
)
def first_output(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    return gradient.norm(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception(
    "The norm is taken over the sentences, too. Take it over the I numbers of an input, dim=2, and average over the "
    "sentences afterwards."
)
def norm_over_the_batch(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return gradient.norm(dim=(0, 2)).flip(0)


@vanishing_gradient.misconception("The sentences are summed; the mean over them is asked for.")
def summed(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return gradient.norm(dim=2).sum(dim=0).flip(0)


@vanishing_gradient.misconception(
    "The gradients are averaged over the sentences before the norm is taken, so that they cancel each other: first "
    "the norm, then the mean."
)
def mean_before_norm(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return gradient.mean(dim=0).norm(dim=1).flip(0)


@vanishing_gradient.misconception(
    "The last outputs are averaged, not summed, so that every gradient is too small by a constant factor."
)
def mean_of_the_outputs(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].mean(), x)
    return gradient.norm(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception("This is the sum of the absolute values; the Euclidean norm is asked for.")
def absolute_values(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return gradient.abs().sum(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception("These are squared norms: the square root is missing.")
def squared(model, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return (gradient**2).sum(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception(
    "`backward` has changed the gradients that the parameters of the model held. Ask `torch.autograd.grad` for the "
    "gradient by x alone."
)
def backward_into_the_parameters(model, x):
    x = x.detach().clone().requires_grad_()
    model(x)[:, -1].sum().backward()
    return x.grad.norm(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception(
    "`zero_grad` has thrown away the gradients that the parameters of the model held. Ask `torch.autograd.grad` for "
    "the gradient by x alone, and nothing has to be cleared."
)
def gradients_thrown_away(model, x):
    x = x.detach().clone().requires_grad_()
    model(x)[:, -1].sum().backward()
    model.zero_grad()
    return x.grad.norm(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.misconception(
    "The parameters of the model can learn no longer: their `requires_grad` was switched off. Ask "
    "`torch.autograd.grad` for the gradient by x alone, and the model stays as it is."
)
def model_frozen(model, x):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].sum(), x)
    return gradient.norm(dim=2).mean(dim=0).flip(0)


@vanishing_gradient.alternative
def norm_by_hand(model, x):
    inputs = x.clone().requires_grad_(True)
    outputs = model(inputs)
    gradient = torch.autograd.grad(outputs[:, outputs.shape[1] - 1, :].sum(), [inputs])[0]
    norms = gradient.pow(2).sum(-1).sqrt().mean(0)
    return torch.flip(norms, dims=[0])


@vanishing_gradient.alternative
def sentence_after_sentence(model, x):
    rows = []
    for sentence in x:
        words = sentence.detach()[None].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(model(words)[0, -1].sum(), words)
        rows.append(gradient[0].norm(dim=1))
    return torch.stack(rows).mean(dim=0)[torch.arange(x.shape[1] - 1, -1, -1)]


@vanishing_gradient.alternative
def backward_for_the_input(model, x, reduce="mean"):
    words = x.detach().clone().requires_grad_()
    model(words)[:, -1].sum().backward(inputs=[words])
    return torch.linalg.vector_norm(words.grad, dim=-1).mean(dim=0).flip(dims=(0,))
