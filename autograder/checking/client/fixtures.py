"""Things that a task hands to the student's code and that cannot travel as values.

A task names a fixture and sends what it is filled with; it is made on the student's side. The code here is public:
a student may read it, and no answer is in it.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

FIXTURES: dict[str, Callable[..., Any]] = {}


def fixture(make: Callable[..., Any]) -> Callable[..., Any]:
    """Register something that ``student.fixture(name, …)`` can make."""
    FIXTURES[make.__name__] = make
    return make


@fixture
def generator(seed: int) -> torch.Generator:
    """A source of random numbers that both sides can make alike."""
    return torch.Generator().manual_seed(seed)


@fixture
class PublicAttention:
    """Single-head attention with given weights, for tasks that receive an attention to examine.

    Args:
        weights: ``query``, ``key`` and ``value``, each (D, D), and, if positions count, ``positions`` (T, D), which
            are added to query and key before they are projected.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from (B, T, D) to (B, T, D); returns output (B, T, D) and weights (B, T, T)."""
        positions = self.weights.get("positions", torch.zeros(()))
        q = (query + positions) @ self.weights["query"]
        k = (key + positions) @ self.weights["key"]
        weights = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1)
        return weights @ (value @ self.weights["value"]), weights


@fixture
class LogBilinear(nn.Module):
    """A small language model for tasks that receive a model to train: the log-bilinear one of Mnih and Hinton (2007).

    The vector of the next word is predicted as the sum of the words before, each turned by a matrix of its place; the
    logit of a word is the dot product of its own vector with that, plus a bias.

    Args:
        vocab_size: number of words, V.
        context_size: number of words that are looked back at, C.
        embedding_size: width of a word's vector, E.
    """

    def __init__(self, vocab_size: int, context_size: int, embedding_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.places = nn.Parameter(torch.zeros(context_size, embedding_size, embedding_size))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, contexts: Tensor) -> Tensor:
        """Predict the next word: (B, C), the nearest word last, to logits (B, V)."""
        predicted = torch.einsum("bce,ced->bd", self.embedding(contexts), self.places)
        return predicted @ self.embedding.weight.T + self.bias


class BudgetSpent(Exception):
    """A training loop asked for more steps than its budget has."""


@fixture
class TrainingBatches:
    """Batches of training data within a budget of steps; iterating again goes on where it stopped.

    Args:
        tensors: any number of tensors with the same first axis, the examples.
        batch_size: examples in a batch.
        steps: how many batches there are in all.
        seed: of the order in which examples come.

    Attributes:
        steps_taken: batches handed out so far.
        tokens_taken: numbers handed out so far in the first tensor, its tokens.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, steps: int, seed: int) -> None:
        self._tensors = tensors
        self._batch_size = batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self.steps = steps
        self.steps_taken = 0
        self.tokens_taken = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if self.steps_taken >= self.steps:
            raise BudgetSpent(f"the budget of {self.steps} steps is spent: go over `batches` once")
        while self.steps_taken < self.steps:
            chosen = torch.randint(len(self._tensors[0]), (self._batch_size,), generator=self._generator)
            batch = tuple(tensor[chosen] for tensor in self._tensors)
            self.steps_taken += 1
            self.tokens_taken += batch[0].numel()
            yield batch


@fixture
def text_supply(texts: Tensor, tokens: int) -> Any:
    """A supply of texts within a budget of tokens; there is nothing behind what the budget buys."""
    from autograder.data.generated.supply import TextSupply  # what few tasks need, no process should wait for

    return TextSupply(texts[: tokens // texts.shape[1]].clone(), tokens)


@fixture
class Listener:
    """Hears what comes from something that is gone over with ``for``, which cannot travel itself."""

    def hear(self, batches: Any, most: int) -> list[Any]:
        """The first so many things that come."""
        if batches is None:
            raise TypeError("it returned None where something to go over was needed: is there a `yield` in it?")
        return list(islice(batches, most))


@fixture
class Rehearsal:
    """Lets a language model learn a few texts by heart, to see whether it can learn at all."""

    def twice(self, model: nn.Module, ids: Tensor) -> list[Any]:
        """What a model says of the same texts, two times."""
        return [model(ids), model(ids)]

    def learn(self, model: nn.Module, ids: Tensor, steps: int, learning_rate: float) -> list[float]:
        """The loss before the first step and after the last.

        Args:
            model: from ids (B, T) to logits (B, T, V).
            ids: (B, T).
        """

        def loss() -> Tensor:
            return nn.functional.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())

        optimizer = torch.optim.AdamW(model.parameters(), learning_rate)
        first = loss()
        for _ in range(steps):
            step = loss()
            optimizer.zero_grad()
            step.backward()
            optimizer.step()
        return [first.item(), loss().item()]


@fixture
class KeptNumbers(nn.Module):
    """A model to be counted: parts that are shared, frozen, kept as buffers, and nested.

    Args:
        vocab_size: V. width: D. table: (rows, columns) of a buffer. shared: whether one table embeds and scores.
    """

    def __init__(self, vocab_size: int, width: int, table: Sequence[int], shared: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.body = nn.Sequential(nn.Linear(width, width + 3), nn.Tanh(), nn.Linear(width + 3, width))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocab_size, bias=False)
        if shared:
            self.output.weight = self.embedding.weight
        self.norm.weight.requires_grad_(False)
        self.register_buffer("table", torch.zeros(*table))


@fixture
class Chunks:
    """A text in chunks, one after the other, within a budget of a single reading.

    Args:
        inputs: (B, N), what is read. targets: (B, N), what is to be said at each position.
        lengths: of the chunks.
    """

    def __init__(self, inputs: Tensor, targets: Tensor, lengths: Sequence[int]) -> None:
        self._inputs, self._targets = inputs, targets
        self._lengths = lengths
        self._begun = False

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._begun:
            raise BudgetSpent("the budget is one reading of the text: go over `chunks` once")
        self._begun = True
        pieces = (text.split(list(self._lengths), dim=1) for text in (self._inputs, self._targets))
        for inputs, targets in zip(*pieces, strict=True):
            yield inputs.clone(), targets.clone()


@fixture
class StatefulModel(nn.Module):
    """A small recurrent model that takes a state in and gives one out, and notes what it was handed.

    Args:
        weights: of its parameters, by name.
        vocab_size: number of symbols, V. embedding_size: width of their vectors. hidden_size: width of the state, H.

    Attributes:
        handed: for each call, ``none`` (no state), ``carried`` (the numbers of the last call's state), ``attached``
            (a state with a graph behind it) or ``other``.
    """

    def __init__(self, weights: dict[str, Tensor], vocab_size: int, embedding_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_size)
        self.reader = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, vocab_size)
        self.load_state_dict(weights)
        self.handed: list[str] = []
        self._last: tuple[Tensor, Tensor] | None = None

    def forward(self, ids: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Take ids (B, T) and the state (h, c) before them to logits (B, T, V) and the state behind them."""
        self.handed.append(self._describe(state))
        outputs, state = self.reader(self.embedding(ids), state)
        self._last = (state[0].detach().clone(), state[1].detach().clone())
        return self.output(outputs), state

    def _describe(self, state: tuple[Tensor, Tensor] | None) -> str:
        if state is None:
            return "none"
        if any(part.grad_fn is not None for part in state):
            return "attached"
        same = self._last is not None and all(map(torch.equal, state, self._last))
        return "carried" if same else "other"

    def optimizer(self, name: str, **options: Any) -> torch.optim.Optimizer:
        """One of torch.optim's, for the parameters of this model."""
        return getattr(torch.optim, name)(self.parameters(), **options)

    def report(self) -> str:
        """What was handed in, call by call."""
        return ", ".join(self.handed)

    def weights(self) -> dict[str, Tensor]:
        """The parameters by name."""
        return {name: value.detach().clone() for name, value in self.state_dict().items()}


@fixture
class ParametersAtHand:
    """Parameters whose gradients have been computed.

    Args:
        values: of the parameters. gradients: one for each; None where no gradient has reached.
    """

    def __init__(self, values: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
        self._parameters = [nn.Parameter(value.clone()) for value in values]
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()

    def once(self) -> Iterator[nn.Parameter]:
        """The parameters as ``model.parameters()`` gives them, to be gone over a single time."""
        yield from self._parameters

    def after(self, returned: Any) -> tuple[Any, list[Tensor | None], list[Tensor]]:
        """What a function returned that was given these parameters, and their gradients and values since."""
        gradients = [None if p.grad is None else p.grad.clone() for p in self._parameters]
        return returned, gradients, [p.detach().clone() for p in self._parameters]


@fixture
class PublicReader(nn.Module):
    """A plain recurrent network that returns its outputs alone, for tasks that examine one.

    Args:
        weights: of ``torch.nn.RNN(input_size, hidden_size)``. input_size: I. hidden_size: H.
    """

    def __init__(self, weights: dict[str, Tensor], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.reader = nn.RNN(input_size, hidden_size, batch_first=True)
        self.reader.load_state_dict(weights)
        for parameter in self.parameters():
            parameter.grad = torch.ones_like(parameter)  # as if a training step were under way

    def forward(self, x: Tensor) -> Tensor:
        """Take x (B, T, I) to outputs (B, T, H)."""
        return self.reader(x)[0]

    def gradients(self) -> list[Tensor | None]:
        """The gradients that the parameters hold now."""
        return [parameter.grad for parameter in self.parameters()]

    def learns(self) -> list[bool]:
        """Which of the parameters ask for gradients."""
        return [parameter.requires_grad for parameter in self.parameters()]


@fixture
def torch_module(name: str, weights: dict[str, Tensor], *sizes: int) -> nn.Module:
    """A module of torch's own, ``torch.nn.name(*sizes)``, with given weights."""
    module = getattr(nn, name)(*sizes)
    module.load_state_dict(weights)
    return module


class Notes(list[str]):
    """What a module notes of its calls; a copy of the module writes into the same notes."""

    def __deepcopy__(self, memo: Any) -> "Notes":
        return self


def said(notes: Sequence[str]) -> str:
    """What was noted, call by call, in words."""
    if len(notes) == 1:
        return f"once, {notes[0]}"
    return "; then ".join(notes) or "not at all"


@fixture
class PublicBilm(nn.Module):
    """A stand-in for a two-direction language model, for tasks that use one: three layers, with dropout.

    Args:
        weights: of its parameters, by name.
        vocab_size: V. width: D of each layer.
    """

    def __init__(self, weights: dict[str, Tensor], vocab_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.upward = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)
        self.load_state_dict(weights)
        self.reads = Notes()

    def forward(self, ids: Tensor, lengths: Tensor) -> list[Tensor]:
        """Take ids (B, T) and lengths (B,) to three layers, each (B, T, D), 0 behind the end of a sentence."""
        self.reads.append("in training mode" if self.training else "in evaluation mode")
        inside = (torch.arange(ids.shape[1]) < lengths[:, None])[..., None]
        layers = [self.embedding(ids)]
        for _ in range(2):
            layers.append(torch.tanh(self.upward(self.dropout(layers[-1]))))
        return [layer * inside for layer in layers]

    def report(self) -> tuple[str, bool, bool]:
        """How it was read, whether it is in training mode now, and whether its parameters ask for gradients."""
        return said(self.reads), self.training, all(parameter.requires_grad for parameter in self.parameters())


@fixture
class PublicMix(nn.Module):
    """A stand-in for a scalar mix: a weighted sum with weights as they are, that notes what it was handed.

    Args:
        weights: (L,), of the layers.
    """

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.clone())
        self.handed: list[str] = []

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Take L tensors of one shape to their weighted sum."""
        attached = any(layer.requires_grad for layer in layers)
        noted = f"with layers that have {'a' if attached else 'no'} graph"
        self.handed.append(noted if torch.is_grad_enabled() else f"{noted}, and without gradients for the mix")
        return torch.stack([weight * layer for weight, layer in zip(self.weights, layers, strict=True)]).sum(dim=0)

    def report(self) -> str:
        """What it was handed, call by call."""
        return said(self.handed)


@fixture
class PublicWriter:
    """A stand-in for a trained encoder and decoder, for tasks that write with one; it counts how often it reads.

    Args:
        weights: of the shapes that :meth:`shapes` gives.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.reads = 0

    @staticmethod
    def shapes(V: int, D: int, T: int) -> dict[str, tuple[int, ...]]:
        """Of the weights, for V tokens, vectors of width D, and T positions at most."""
        return {"read": (V, D), "written": (V, D), "output": (D, V), "bias": (T, V)}

    def encode(self, source: Tensor) -> Tensor:
        """Take the source (B, S) to a memory."""
        self.reads += 1
        return self.weights["read"][source].mean(dim=1)  # (B, D)

    def decode(self, target: Tensor, memory: Tensor) -> Tensor:
        """Take what was written, (B, t), and the memory to logits of the next token, (B, t, V)."""
        vectors = self.weights["written"][target]  # (B, t, D)
        places = torch.arange(1, target.shape[1] + 1)[:, None]
        before = vectors.cumsum(dim=1) / places + 0.5 * torch.sin(places)
        logits = torch.tanh(vectors + before + memory.unsqueeze(1)) @ self.weights["output"]
        return logits + self.weights["bias"][: target.shape[1]]

    def times_read(self) -> int:
        """How often the source was read."""
        return self.reads


@fixture
class PublicStep:
    """A stand-in for a language model, for tasks that search: the next token by the last one and by its place.

    Args:
        after: (V, V), logits by the last token.
        at: (T, V), logits by the number of tokens so far, which are added.
    """

    def __init__(self, after: Tensor, at: Tensor) -> None:
        self.after = after
        self.at = at

    def __call__(self, prefixes: Tensor) -> Tensor:
        """(N, t) → (N, V)."""
        return self.after[prefixes[:, -1]] + self.at[prefixes.shape[1] - 1]


@fixture
class PublicRows(nn.Module):
    """A stand-in for a model of images, for tasks that train one: it reads rows of pixels, and averages over them.

    In training mode it leaves out every second feature, always the same ones, where dropout would leave out others
    each time: so the same steps give everybody the same numbers.

    Args:
        height: rows of an image. width: pixels in a row. d_model: features, D. num_classes: kinds of images, K.
    """

    def __init__(self, height: int, width: int, d_model: int, num_classes: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, d_model)
        self.positions = nn.Parameter(torch.zeros(height, d_model))
        self.classifier = nn.Linear(d_model, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 1, height, width) → (B, K)."""
        features = torch.tanh(self.projection(images[:, 0]) + self.positions).mean(dim=1)  # (B, D)
        if self.training:
            features = features * (torch.arange(features.shape[1]) % 2 == 0)
        return self.classifier(features)


@fixture
def settings(**numbers: Any) -> SimpleNamespace:
    """Named numbers, as the configuration of a model has them."""
    return SimpleNamespace(**numbers)


@fixture
class PublicParameters(nn.Module):
    """Parameters under the names that a model has them, in the same nesting and without a ``forward``.

    Args:
        shapes: of all parameters, by name, such as ``layers.0.norm.weight``.
        row: their numbers, one after the other.
        config: numbers that the model was made with.
    """

    def __init__(self, shapes: dict[str, Sequence[int]], row: Tensor, **config: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)
        parts = row.split([math.prod(shape) for shape in shapes.values()])
        for (name, shape), part in zip(shapes.items(), parts, strict=True):
            value = part.view(*shape)
            *path, last = name.split(".")
            module: nn.Module = self
            for step, following in zip(path, [*path[1:], last], strict=True):
                if step not in module._modules:
                    module.add_module(step, nn.ModuleList() if following.isdigit() else nn.Module())
                module = getattr(module, step)
            module.register_parameter(last, nn.Parameter(value.clone()))
        self._at_first = list(self.parameters())

    def row(self) -> Tensor:
        """The numbers of all parameters, one after the other, in the order of their names."""
        return torch.cat([value.flatten() for _, value in sorted(self.state_dict().items())])

    def trained(self) -> Tensor:
        """As :meth:`row`, after 1 was added to the parameters that were there at first, as an optimizer does it."""
        with torch.no_grad():
            for parameter in self._at_first:
                parameter.add_(1)
        return self.row()


class PublicBody(nn.Module):
    """The mean over a sentence of one small layer."""

    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.norm = nn.LayerNorm(width)
        self.dense = nn.Linear(width, width)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, D)."""
        return torch.tanh(self.dense(self.norm(self.embedding(ids)).mean(dim=1)))


@fixture
class PublicClassifier(nn.Module):
    """A stand-in for a pretrained encoder with a new head, for tasks that fine-tune one; it notes how it was read.

    Args:
        vocab_size: V. width: D. num_labels: C.
    """

    def __init__(self, vocab_size: int, width: int, num_labels: int) -> None:
        super().__init__()
        self.body = PublicBody(vocab_size, width)
        self.head = nn.Linear(width, num_labels)
        self.modes: list[str] = []

    def forward(self, ids: Tensor) -> Tensor:
        """Take ids (B, T) to logits (B, C)."""
        self.modes.append("training" if self.training else "evaluation")
        return self.head(self.body(ids))

    def values(self) -> dict[str, Tensor]:
        """All parameters by name."""
        return {name: value.detach().clone() for name, value in self.state_dict().items()}

    def report(self) -> tuple[str, str]:
        """The modes in which it was read, and the one in which it is now."""
        now = "training" if self.training else "evaluation"
        return " and ".join(sorted(set(self.modes))) or "not at all", now


@fixture
class PublicSpeaker(nn.Module):
    """A stand-in for a GPT, for tasks that write with one: the next token by the last one, by those before it and by
    the number of tokens that were handed in.

    Args:
        after: (V, V), logits by the last token.
        before: (V, V), logits by each token so far, of which the mean is added.
        at: (C, V), logits by the number of tokens, which are added; it reads C tokens at most.
    """

    def __init__(self, after: Tensor, before: Tensor, at: Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(vocab_size=len(after), context_size=len(at))
        self.after, self.before, self.at = after, before, at

    def forward(self, ids: Tensor) -> Tensor:
        """Take ids (B, t) to logits of the next token, (B, t, V).

        Raises:
            ValueError: if there are more than C of them.
        """
        t = ids.shape[1]
        if t > len(self.at):
            raise ValueError(f"{t} tokens were handed to a model that reads {len(self.at)} at most")
        places = torch.arange(1, t + 1)[:, None]
        return self.after[ids] + self.before[ids].cumsum(dim=1) / places + self.at[:t]
