"""07-transformer: positions, norms, a layer of the encoder, one of the decoder, a softer target, two ways to write."""

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from autograder.checking.client.fixtures import PublicWriter
from autograder.checking.given import Given
from autograder.checking.student import Student
from autograder.checking.tasks import Case, case, expected_gradient, filled, task
from autograder.reference import transformer as reference
from autograder.reference.attention import padding_mask
from autograder.reference.decoding import beam_search as reference_beam_search
from autograder.reference.transformer_layer import EncoderLayer, FeedForward


@task("sinusoidal_positions")
def sinusoidal_positions(student: Student, given: Given) -> Iterator[Case]:
    """Sines and cosines side by side, of angles that fall from pair to pair."""
    for length, d_model, weight in ((5, 8, 3), (12, 6, 2), (40, 16, 2), (3, 2, 1), (1, 4, 1)):
        name = f"{length} positions of {d_model} features" if length > 1 else "one position"
        answer = student.sinusoidal_positions(length, d_model)
        right = reference.sinusoidal_positions(length, d_model)
        yield case(name, answer, right, weight=weight, axes="length d_model", tolerance=1e-4)


sinusoidal_positions.hints(
    "The even features are `torch.arange(0, d_model, 2)`: that is 2i already. All angles at once: positions as a "
    "column, (length, 1), divided by `10_000 ** (even / d_model)`, (D/2,).",
    "Fill a tensor of zeros: `positions[:, 0::2]` are its even columns, `positions[:, 1::2]` its odd ones.",
)


@sinusoidal_positions.misconception(
    "The sines fill the first half and the cosines the second. Here they alternate: feature 2i is a sine, feature "
    "2i + 1 the cosine of the same angle."
)
def in_halves(length, d_model):
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)


@sinusoidal_positions.misconception("The positions begin at 1; the first is 0, whose sines are 0 and cosines 1.")
def from_one(length, d_model):
    angles = torch.arange(1, length + 1)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)


@sinusoidal_positions.misconception(
    "Sine and cosine have changed places: the even features are the sines. Position 0 is (0, 1, 0, 1, …)."
)
def cosine_first(length, d_model):
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([torch.cos(angles), torch.sin(angles)], dim=-1).flatten(1)


@sinusoidal_positions.misconception(
    "The exponent is i / D where 2i / D is asked for, so that the angles fall only half as fast."
)
def half_the_exponent(length, d_model):
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(d_model // 2) / d_model)
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)


@sinusoidal_positions.misconception(
    "Every feature has an angle of its own. A sine and the cosine behind it share one: the exponent is 2i / D for both "
    "features 2i and 2i + 1."
)
def an_angle_for_each(length, d_model):
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(d_model) / d_model)
    return torch.where(torch.arange(d_model) % 2 == 0, torch.sin(angles), torch.cos(angles))


@sinusoidal_positions.misconception(
    "The exponent grows twice as fast as it should: i counts pairs, and is multiplied by 2 once."
)
def doubled_twice(length, d_model):
    angles = torch.arange(length)[:, None] / 10_000 ** (2 * torch.arange(0, d_model, 2) / d_model)
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)


@sinusoidal_positions.misconception(
    "The position is multiplied by 10000^(2i/D); it is divided by it, so that the angles turn ever more slowly."
)
def multiplied(length, d_model):
    angles = torch.arange(length)[:, None] * 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)


@sinusoidal_positions.misconception("All features are sines; the odd ones are cosines.")
def sines_only(length, d_model):
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([torch.sin(angles), torch.sin(angles)], dim=-1).flatten(1)


@sinusoidal_positions.misconception(
    "The last pair already has the exponent 1: the pairs are spread over 0 to 1 with both ends. The exponent of pair i "
    "is 2i / D, and stays below 1."
)
def stretched(length, d_model):
    exponents = torch.linspace(0, 1, d_model // 2) if d_model > 2 else torch.zeros(1)
    angles = torch.arange(length)[:, None] / 10_000**exponents
    return torch.stack([torch.sin(angles), torch.cos(angles)], dim=-1).flatten(1)


@sinusoidal_positions.alternative
def feature_by_feature(length, d_model):
    positions = torch.zeros(length, d_model)
    for t in range(length):
        for i in range(0, d_model, 2):
            angle = t / 10_000 ** (i / d_model)
            positions[t, i], positions[t, i + 1] = math.sin(angle), math.cos(angle)
    return positions


@sinusoidal_positions.alternative
def by_the_exponential(length, d_model):
    rates = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10_000.0) / d_model))
    angles = torch.outer(torch.arange(length).float(), rates)
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(length, d_model)


@sinusoidal_positions.alternative
def by_a_shift(length, d_model, dtype=torch.float32):
    pair = torch.arange(d_model) // 2 * 2
    angles = torch.arange(length, dtype=torch.float64)[:, None] / torch.pow(10_000, pair / d_model)
    quarter = math.pi / 2 * (torch.arange(d_model) % 2)
    return torch.sin(angles + quarter).to(dtype)


@task("layer_norm", asks="LayerNorm")
def layer_norm(student: Student, given: Given) -> Iterator[Case]:
    """Over the features of each position, with the variance divided by D and ε under the root."""
    for name, shape, scale, weight in (
        ("a batch of sentences", (2, 3, 4), 2.0, 2),
        ("rows that do not have the mean 0", (5, 3), 1.5, 2),
        ("one vector", (6,), 1.0, 1),
        ("features that hardly differ", (3, 4), 0.004, 2),
    ):
        D = shape[-1]
        weights = {"weight": given.normal(D) + 1.5, "bias": given.normal(D)}
        norm = filled(nn.LayerNorm(D), weights)
        x = scale * (given.normal(*shape) + 1.5 * given.normal(*shape[:-1], 1))
        tolerance = 1e-3 if scale >= 1 else None  # where the features differ, the place of ε shows in the last digit
        yield case(name, student.LayerNorm(D).load(weights)(x), norm(x), weight=weight, tolerance=tolerance)
    weights = {"weight": given.normal(5) + 1.5, "bias": given.normal(5)}
    flat = given.normal(3, 1).expand(3, 5).contiguous()
    theirs = student.LayerNorm(5).load(weights)
    yield case("features that are all equal", theirs(flat), weights["bias"].expand(3, 5).clone(), tolerance=3e-4)
    wide = filled(nn.LayerNorm(5, eps=0.5), weights)
    x, upstream = given.normal(4, 5), given.normal(4, 5)
    yield case("another ε", student.LayerNorm(5, eps=0.5).load(weights)(x), wide(x))
    yield case(
        "gradients",
        theirs.gradient(x, upstream=upstream),
        expected_gradient(filled(nn.LayerNorm(5), weights), x, upstream=upstream),
    )


layer_norm.hints(
    "`x.mean(dim=-1, keepdim=True)` is the mean of each position, with an axis of size 1 in the place of the features, "
    "so that it can be subtracted.",
    "The variance is the mean of the squares of what is left: `(centered**2).mean(dim=-1, keepdim=True)`. (`x.var` "
    "divides by D − 1 unless it is told `unbiased=False`.) ε is added to it before the root is taken.",
)
layer_norm.misconception_patch(
    "divided_by_one_less",
    "The variance is divided by D − 1, which is what `var` and `std` do by themselves; here it is divided by D.",
    (
        "variance = (centered**2).mean(dim=-1, keepdim=True)",
        "variance = x.var(dim=-1, keepdim=True)",
    ),
)
layer_norm.misconception_patch(
    "epsilon_outside",
    "ε is added outside the root; it is added to the variance, before the root is taken.",
    ("torch.sqrt(variance + self.eps)", "(torch.sqrt(variance) + self.eps)"),
)
layer_norm.misconception_patch(
    "no_epsilon",
    "There is no ε under the root: a vector whose features are all equal gives 0/0.",
    ("variance + self.eps", "variance"),
)
layer_norm.misconception_patch(
    "another_epsilon",
    "ε is a number of its own here; it is the one that the layer was made with, `self.eps`.",
    ("variance + self.eps", "variance + 1e-5"),
)
layer_norm.misconception_patch(
    "over_the_first_axis",
    "Mean and variance are taken over the first axis, so that sentences are mixed. They are taken over the features, "
    "`dim=-1`, of each position by itself.",
    ("x.mean(dim=-1, keepdim=True)", "x.mean(dim=0, keepdim=True)"),
    ("(centered**2).mean(dim=-1, keepdim=True)", "(centered**2).mean(dim=0, keepdim=True)"),
)
layer_norm.misconception_patch(
    "over_everything",
    "Mean and variance are taken over all numbers together. They are taken over the features, `dim=-1`, of each "
    "position by itself.",
    ("x.mean(dim=-1, keepdim=True)", "x.mean()"),
    ("(centered**2).mean(dim=-1, keepdim=True)", "(centered**2).mean()"),
)
layer_norm.misconception_patch(
    "not_centered",
    "The mean is not subtracted; only the size is changed.",
    ("centered = x - x.mean(dim=-1, keepdim=True)", "centered = x"),
)
layer_norm.misconception_patch(
    "mean_comes_back",
    "The mean is subtracted for the variance, but it is x itself that is divided: divide what is left of it.",
    ("self.weight * centered / torch", "self.weight * x / torch"),
)
layer_norm.misconception_patch(
    "no_root",
    "What is left is divided by the variance; it is divided by its root.",
    ("torch.sqrt(variance + self.eps)", "(variance + self.eps)"),
)
layer_norm.misconception_patch(
    "no_bias", "The bias is missing: it is added at the end.", (" + self.bias\n        ### END", "\n        ### END")
)
layer_norm.misconception_patch(
    "no_weight", "The weight is missing: each feature is multiplied by its own.", ("self.weight * centered", "centered")
)
layer_norm.misconception_patch(
    "bias_inside",
    "The bias is added before the weight is multiplied; it comes last.",
    (
        "self.weight * centered / torch.sqrt(variance + self.eps) + self.bias",
        "self.weight * (centered / torch.sqrt(variance + self.eps) + self.bias)",
    ),
)
layer_norm.alternative_patch(
    "by_the_library",
    (
        "self.weight * centered / torch.sqrt(variance + self.eps) + self.bias",
        "F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)",
    ),
)
layer_norm.alternative_patch(
    "var_and_rsqrt",
    (
        "variance = (centered**2).mean(dim=-1, keepdim=True)",
        "variance = x.var(dim=-1, unbiased=False, keepdim=True)",
    ),
    (
        "self.weight * centered / torch.sqrt(variance + self.eps)",
        "centered * torch.rsqrt(variance + self.eps) * self.weight",
    ),
    ("def forward(self, x):", "def forward(self, x, mask=None):"),
)
layer_norm.alternative_patch(
    "two_means",
    (
        "variance = (centered**2).mean(dim=-1, keepdim=True)",
        "variance = centered.pow(2).sum(-1, keepdim=True) / x.size(-1)",
    ),
    ("self.weight * centered / torch", "self.bias + self.weight * centered / torch"),
    (" + self.bias\n        ### END", "\n        ### END"),
)


@task("feed_forward", asks="FeedForward")
def feed_forward(student: Student, given: Given) -> Iterator[Case]:
    """W₂ relu(W₁ x + b₁) + b₂."""
    for name, D, d_ff, shape, weight in (
        ("a batch of sentences", 4, 7, (2, 3, 4), 3),
        ("a hidden layer that is narrower", 5, 3, (4, 5), 2),
        ("one vector", 2, 8, (2,), 1),
    ):
        network = FeedForward(D, d_ff)
        weights = given.weights(network)
        filled(network, weights)
        theirs, x = student.FeedForward(D, d_ff).load(weights), 2 * given.normal(*shape)
        yield case(name, theirs(x), network(x), weight=weight)
    network = FeedForward(3, 6)
    weights = given.weights(network)
    filled(network, weights)
    x, upstream = given.normal(4, 3), given.normal(4, 3)
    yield case(
        "gradients",
        student.FeedForward(3, 6).load(weights).gradient(x, upstream=upstream),
        expected_gradient(network, x, upstream=upstream),
    )


feed_forward.hints(
    "`nn.Linear(d_model, d_ff)` has as many inputs as its first number says and as many outputs as its second.",
    "`self.contract(torch.relu(self.expand(x)))`: the ReLU stands between the two, and nowhere else.",
)
feed_forward.misconception_patch(
    "activation_at_the_end",
    "There is a ReLU behind the second layer as well, so that nothing below 0 can come out; it stands between the two.",
    ("return self.contract(hidden)", "return torch.relu(self.contract(hidden))"),
)
feed_forward.misconception_patch(
    "activation_only_at_the_end",
    "The ReLU stands behind the second layer; it stands between the two.",
    ("torch.relu(self.expand(x))", "self.expand(x)"),
    ("return self.contract(hidden)", "return torch.relu(self.contract(hidden))"),
)
feed_forward.misconception_patch(
    "activation_first",
    "The ReLU is taken of the input; it stands between the two layers.",
    ("torch.relu(self.expand(x))", "self.expand(torch.relu(x))"),
)
feed_forward.misconception_patch(
    "no_activation",
    "There is no ReLU: two linear layers behind each other are one linear layer.",
    ("torch.relu(self.expand(x))", "self.expand(x)"),
)
feed_forward.misconception_patch(
    "widths_swapped",
    "The widths are swapped: `expand` goes from d_model to d_ff, `contract` back.",
    ("self.expand = nn.Linear(d_model, d_ff)", "self.expand = nn.Linear(d_ff, d_model)"),
    ("self.contract = nn.Linear(d_ff, d_model)", "self.contract = nn.Linear(d_model, d_ff)"),
)
feed_forward.misconception_patch(
    "no_bias",
    "The layers have no bias; both have one.",
    ("self.expand = nn.Linear(d_model, d_ff)", "self.expand = nn.Linear(d_model, d_ff, bias=False)"),
    ("self.contract = nn.Linear(d_ff, d_model)", "self.contract = nn.Linear(d_ff, d_model, bias=False)"),
)
feed_forward.misconception_patch(
    "residual_inside",
    "The input is added to the result. The residual path belongs to the layer, which adds it once; here it is not.",
    ("return self.contract(hidden)", "return x + self.contract(hidden)"),
)
feed_forward.misconception_patch(
    "smooth_activation",
    "There is a GELU in the place of the ReLU; that came later (chapter 8).",
    ("torch.relu(self.expand(x))", "F.gelu(self.expand(x))"),
)
feed_forward.alternative_patch("clamped", ("torch.relu(self.expand(x))", "self.expand(x).clamp(min=0)"))
feed_forward.alternative_patch(
    "by_hand",
    ("torch.relu(self.expand(x))", "F.relu(x @ self.expand.weight.T + self.expand.bias)"),
    ("return self.contract(hidden)", "return F.linear(hidden, self.contract.weight, self.contract.bias)"),
)
feed_forward.alternative_patch(
    "with_a_module",
    ("        self.expand = nn", "        self.activation = nn.ReLU()\n        self.expand = nn"),
    ("torch.relu(self.expand(x))", "self.activation(self.expand(x))"),
    ("def forward(self, x):", "def forward(self, x, mask=None):"),
)


def layer_weights(given: Given, layer: nn.Module) -> dict[str, torch.Tensor]:
    """Numbers for a layer's parameters, its norms not all alike and not near 1 and 0."""
    weights = given.weights(layer)
    return {name: value + 1.2 if name.endswith("norm.weight") else value for name, value in weights.items()}


@task("encoder_layer", asks="EncoderLayer")
def encoder_layer(student: Student, given: Given) -> Iterator[Case]:
    """Attention and the network, each beside a residual path, the norm behind the sum or at the branch's beginning."""
    for norm_first, name, D, H, d_ff, T in ((False, "post-norm", 6, 2, 8, 4), (True, "pre-norm", 8, 4, 5, 5)):
        sizes = {"d_model": D, "num_heads": H, "d_ff": d_ff, "norm_first": norm_first}
        layer = EncoderLayer(**sizes)  # type: ignore[arg-type]
        weights = layer_weights(given, layer)
        filled(layer, weights)
        theirs, x = student.EncoderLayer(**sizes).load(weights), 2 * given.normal(3, T, D) + 0.5
        yield case(f"{name}, {H} heads", theirs(x), layer(x), weight=3, axes="B T D")
        mask = padding_mask(torch.tensor([1, T, 2]), T)
        yield case(f"{name}, with a mask", theirs(x, mask), layer(x, mask), weight=2, axes="B T D")
        upstream = given.normal(3, T, D)
        yield case(
            f"{name}, gradients",
            theirs.gradient(x, mask, upstream=upstream),
            expected_gradient(layer, x, mask, upstream=upstream),
        )


encoder_layer.hints(
    "A sublayer with post-norm: `x = self.attention_norm(x + self.attention(x, x, x, mask))`. The next one begins with "
    "this new x.",
    "With pre-norm query, key and value are all the normed x; what is added is x as it came in.",
)
encoder_layer.misconception_patch(
    "order_exchanged",
    "Pre-norm and post-norm have changed places: `norm_first=True` asks for the norm at the beginning of each branch.",
    ("if self.norm_first:", "if not self.norm_first:"),
)
encoder_layer.misconception_patch(
    "always_post_norm",
    "The norms stand behind the sums whatever `norm_first` says.",
    ("if self.norm_first:", "if False:"),
)
encoder_layer.misconception_patch(
    "always_pre_norm",
    "The norms stand at the beginning of the branches whatever `norm_first` says.",
    ("if self.norm_first:", "if True:"),
)
encoder_layer.misconception_patch(
    "residual_after_the_norm",
    "With pre-norm the normed x is on the residual path as well: what a branch gives is added to x as it came in.",
    (
        "x = x + self.attention(normed, normed, normed, mask)",
        "x = normed + self.attention(normed, normed, normed, mask)",
    ),
    (
        "return x + self.feed_forward(self.feed_forward_norm(x))\n        x =",
        "normed = self.feed_forward_norm(x)\n            return normed + self.feed_forward(normed)\n        x =",
    ),
)
encoder_layer.misconception_patch(
    "norm_of_the_branch",
    "With post-norm only what a branch gives is normed, and x is added behind it; the norm is taken of the sum.",
    (
        "self.attention_norm(x + self.attention(x, x, x, mask))",
        "x + self.attention_norm(self.attention(x, x, x, mask))",
    ),
    (
        "return self.feed_forward_norm(x + self.feed_forward(x))",
        "return x + self.feed_forward_norm(self.feed_forward(x))",
    ),
)
encoder_layer.misconception_patch(
    "one_norm_shared",
    "Both sublayers use `attention_norm`; the feed-forward network has a norm of its own.",
    ("x + self.feed_forward(self.feed_forward_norm(x))", "x + self.feed_forward(self.attention_norm(x))"),
    ("self.feed_forward_norm(x + self.feed_forward(x))", "self.attention_norm(x + self.feed_forward(x))"),
)
encoder_layer.misconception_patch(
    "norms_exchanged",
    "The two norms have changed places: `attention_norm` belongs to the attention.",
    ("normed = self.attention_norm(x)", "normed = self.feed_forward_norm(x)"),
    ("x + self.feed_forward(self.feed_forward_norm(x))", "x + self.feed_forward(self.attention_norm(x))"),
    ("x = self.attention_norm(x + self", "x = self.feed_forward_norm(x + self"),
    ("return self.feed_forward_norm(x + self", "return self.attention_norm(x + self"),
)
encoder_layer.misconception_patch(
    "no_residual_around_the_attention",
    "There is no residual path around the attention: add what it gives to x.",
    ("x = x + self.attention(normed, normed, normed, mask)", "x = self.attention(normed, normed, normed, mask)"),
    ("self.attention_norm(x + self.attention(x, x, x, mask))", "self.attention_norm(self.attention(x, x, x, mask))"),
)
encoder_layer.misconception_patch(
    "no_residual_around_the_network",
    "There is no residual path around the feed-forward network: add what it gives to x.",
    ("return x + self.feed_forward(self.feed_forward_norm(x))", "return self.feed_forward(self.feed_forward_norm(x))"),
    ("self.feed_forward_norm(x + self.feed_forward(x))", "self.feed_forward_norm(self.feed_forward(x))"),
)
encoder_layer.misconception_patch(
    "no_residual_at_all",
    "There is no residual path: what each branch gives is to be added to what came in.",
    ("x = x + self.attention(normed, normed, normed, mask)", "x = self.attention(normed, normed, normed, mask)"),
    ("return x + self.feed_forward(self.feed_forward_norm(x))", "return self.feed_forward(self.feed_forward_norm(x))"),
    ("self.attention_norm(x + self.attention(x, x, x, mask))", "self.attention_norm(self.attention(x, x, x, mask))"),
    ("self.feed_forward_norm(x + self.feed_forward(x))", "self.feed_forward_norm(self.feed_forward(x))"),
)
encoder_layer.misconception_patch(
    "mask_lost",
    "The mask is not handed on to the attention.",
    ("normed, normed, normed, mask)", "normed, normed, normed)"),
    ("x, x, x, mask)", "x, x, x)"),
)
encoder_layer.misconception_patch(
    "mask_inverted",
    "The mask is turned round: it is True where looking is allowed already.",
    ("normed, normed, normed, mask)", "normed, normed, normed, None if mask is None else ~mask)"),
    ("x, x, x, mask)", "x, x, x, None if mask is None else ~mask)"),
)
encoder_layer.misconception_patch(
    "only_the_query_normed",
    "With pre-norm only the query is normed; key and value are the normed x, too.",
    ("self.attention(normed, normed, normed, mask)", "self.attention(normed, x, x, mask)"),
)
encoder_layer.misconception_patch(
    "values_not_normed",
    "With pre-norm the values are taken from x before the norm; query, key and value are all the normed x.",
    ("self.attention(normed, normed, normed, mask)", "self.attention(normed, normed, x, mask)"),
)
encoder_layer.misconception_patch(
    "network_beside_the_attention",
    "The feed-forward network reads x as it came into the layer; it reads what the attention has made of it.",
    (
        "            x = x + self.attention(normed, normed, normed, mask)\n"
        "            return x + self.feed_forward(self.feed_forward_norm(x))",
        "            y = x + self.attention(normed, normed, normed, mask)\n"
        "            return y + self.feed_forward(self.feed_forward_norm(x))",
    ),
    (
        "        x = self.attention_norm(x + self.attention(x, x, x, mask))\n"
        "        return self.feed_forward_norm(x + self.feed_forward(x))",
        "        y = self.attention_norm(x + self.attention(x, x, x, mask))\n"
        "        return self.feed_forward_norm(y + self.feed_forward(x))",
    ),
)
encoder_layer.misconception_patch(
    "network_first",
    "The feed-forward network comes before the attention; it comes behind it.",
    (
        "            normed = self.attention_norm(x)\n"
        "            x = x + self.attention(normed, normed, normed, mask)\n"
        "            return x + self.feed_forward(self.feed_forward_norm(x))",
        "            x = x + self.feed_forward(self.feed_forward_norm(x))\n"
        "            normed = self.attention_norm(x)\n"
        "            return x + self.attention(normed, normed, normed, mask)",
    ),
    (
        "        x = self.attention_norm(x + self.attention(x, x, x, mask))\n"
        "        return self.feed_forward_norm(x + self.feed_forward(x))",
        "        x = self.feed_forward_norm(x + self.feed_forward(x))\n"
        "        return self.attention_norm(x + self.attention(x, x, x, mask))",
    ),
)
encoder_layer.alternative_patch(
    "branch_by_branch",
    (
        "        if self.norm_first:\n",
        "        before, after = (lambda f, y: f(y)), (lambda f, y: y)\n"
        "        if not self.norm_first:\n            before, after = after, before\n"
        "        n = before(self.attention_norm, x)\n"
        "        x = after(self.attention_norm, x + self.attention(n, n, n, mask))\n"
        "        x = after(self.feed_forward_norm, x + self.feed_forward(before(self.feed_forward_norm, x)))\n"
        "        return x\n"
        "        if self.norm_first:\n",
    ),
)
encoder_layer.alternative_patch(
    "by_keywords",
    (
        "self.attention(normed, normed, normed, mask)",
        "self.attention(query=normed, key=normed, value=normed, mask=mask)",
    ),
    ("x = self.attention_norm(x + self", "x = self.attention_norm(self"),
    (".attention(x, x, x, mask))", ".attention(x, x, x, mask) + x)"),
)
encoder_layer.alternative_patch(
    "else_written_out",
    (
        "        x = self.attention_norm(x + self.attention(x, x, x, mask))\n"
        "        return self.feed_forward_norm(x + self.feed_forward(x))",
        "        else:\n"
        "            found = self.attention(x, x, x, mask=mask)\n"
        "            x = self.attention_norm(x.add(found))\n"
        "            thought = self.feed_forward(x)\n"
        "            return self.feed_forward_norm(thought + x)",
    ),
    ("def forward(self, x, mask=None):", "def forward(self, x, mask=None, is_causal=False):"),
)


@task("decoder_layer", asks="DecoderLayer")
def decoder_layer(student: Student, given: Given) -> Iterator[Case]:
    """Three sublayers: what was written, under a causal mask; what was read, under its own; the network."""
    for norm_first, name, D, H, d_ff, T, S in ((False, "post-norm", 6, 2, 8, 4, 5), (True, "pre-norm", 8, 4, 5, 3, 6)):
        sizes = {"d_model": D, "num_heads": H, "d_ff": d_ff, "norm_first": norm_first}
        layer = reference.DecoderLayer(**sizes)  # type: ignore[arg-type]
        weights = layer_weights(given, layer)
        filled(layer, weights)
        theirs = student.DecoderLayer(**sizes).load(weights)
        x, memory = 2 * given.normal(3, T, D) + 0.5, 2 * given.normal(3, S, D) - 0.5
        yield case(f"{name}, {H} heads", theirs(x, memory), layer(x, memory), weight=3, axes="B T D")
        mask = padding_mask(torch.tensor([1, S, 3]), S)
        right = layer(x, memory, mask)
        yield case(f"{name}, a source with padding", theirs(x, memory, mask), right, weight=2, axes="B T D")
        upstream = given.normal(3, T, D)
        yield case(
            f"{name}, gradients",
            theirs.gradient(x, memory, mask, upstream=upstream),
            expected_gradient(layer, x, memory, mask, upstream=upstream),
        )
    square = given.normal(3, 3, 8)  # as long as what is written, so that no shape tells the two apart
    yield case("a source as long as the target", theirs(x, square), layer(x, square), weight=2, axes="B T D")


decoder_layer.hints(
    "The causal mask of the self-attention is `causal_mask(x.shape[1])`. In the cross-attention the query is x, key "
    "and value are the memory, and the mask is `memory_mask`.",
    "With post-norm each of three lines reads `x = norm(x + branch(x))`; with pre-norm `x = x + branch(norm(x))`.",
)
decoder_layer.misconception_patch(
    "no_causal_mask",
    "The self-attention has no causal mask: a position sees what comes after it, the word that it is to predict too.",
    ("normed, normed, normed, causal)", "normed, normed, normed)"),
    ("x, x, x, causal)", "x, x, x)"),
)
decoder_layer.misconception_patch(
    "causal_mask_turned_round",
    "The causal mask is turned round: a position looks at itself and what comes after it.",
    ("causal = causal_mask(x.shape[1])", "causal = causal_mask(x.shape[1]).T"),
)
decoder_layer.misconception_patch(
    "keys_from_the_decoder",
    "The cross-attention looks at what was written, a second time: its keys and values are the memory.",
    (
        "self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)",
        "self.cross_attention(*[self.cross_attention_norm(x)] * 3)",
    ),
    ("self.cross_attention(x, memory, memory, memory_mask)", "self.cross_attention(x, x, x)"),
)
decoder_layer.misconception_patch(
    "values_from_the_decoder",
    "The values of the cross-attention are what was written; the memory is both its keys and its values.",
    (
        "self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)",
        "self.cross_attention(self.cross_attention_norm(x), memory, F.pad(x, (0, 0, 0, 9))[:, : memory.shape[1]], "
        "memory_mask)",
    ),
    (
        "self.cross_attention(x, memory, memory, memory_mask)",
        "self.cross_attention(x, memory, F.pad(x, (0, 0, 0, 9))[:, : memory.shape[1]], memory_mask)",
    ),
)
decoder_layer.misconception_patch(
    "source_mask_lost",
    "The source's mask is not handed to the cross-attention, so that the padding is looked at.",
    ("self.cross_attention_norm(x), memory, memory, memory_mask)", "self.cross_attention_norm(x), memory, memory)"),
    ("self.cross_attention(x, memory, memory, memory_mask)", "self.cross_attention(x, memory, memory)"),
)
decoder_layer.misconception_patch(
    "source_mask_turned_round",
    "The source's mask is turned round: it is True where looking is allowed already.",
    (
        "        causal = causal_mask(x.shape[1])\n",
        "        causal = causal_mask(x.shape[1])\n"
        "        memory_mask = None if memory_mask is None else ~memory_mask\n",
    ),
)
decoder_layer.misconception_patch(
    "cross_attention_first",
    "The decoder looks at the source before it looks at what was written; it is the other way round.",
    (
        "            normed = self.self_attention_norm(x)\n"
        "            x = x + self.self_attention(normed, normed, normed, causal)\n"
        "            x = x + self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)\n",
        "            x = x + self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)\n"
        "            normed = self.self_attention_norm(x)\n"
        "            x = x + self.self_attention(normed, normed, normed, causal)\n",
    ),
    (
        "        x = self.self_attention_norm(x + self.self_attention(x, x, x, causal))\n"
        "        x = self.cross_attention_norm(x + self.cross_attention(x, memory, memory, memory_mask))\n",
        "        x = self.cross_attention_norm(x + self.cross_attention(x, memory, memory, memory_mask))\n"
        "        x = self.self_attention_norm(x + self.self_attention(x, x, x, causal))\n",
    ),
)
decoder_layer.misconception_patch(
    "no_cross_attention",
    "The decoder never looks at the source: the cross-attention is missing.",
    (
        "            x = x + self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)\n",
        "            x = x + 0 * memory.sum()\n",
    ),
    (
        "        x = self.cross_attention_norm(x + self.cross_attention(x, memory, memory, memory_mask))\n",
        "        x = x + 0 * memory.sum()\n",
    ),
)
decoder_layer.misconception_patch(
    "memory_normed",
    "With pre-norm the memory is normed as well; the encoder has done that, and here only the query is normed.",
    (
        "self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)",
        "self.cross_attention(self.cross_attention_norm(x), *[self.cross_attention_norm(memory)] * 2, memory_mask)",
    ),
)
decoder_layer.misconception_patch(
    "query_not_normed",
    "With pre-norm the query of the cross-attention is not normed: `cross_attention_norm` stands at the beginning of "
    "its branch.",
    (
        "self.cross_attention(self.cross_attention_norm(x), memory, memory, memory_mask)",
        "self.cross_attention(x, memory, memory, memory_mask) + 0 * self.cross_attention_norm(x)",
    ),
)
decoder_layer.misconception_patch(
    "order_exchanged",
    "Pre-norm and post-norm have changed places: `norm_first=True` asks for the norm at the beginning of each branch.",
    ("if self.norm_first:", "if not self.norm_first:"),
)
decoder_layer.misconception_patch(
    "always_post_norm",
    "The norms stand behind the sums whatever `norm_first` says.",
    ("if self.norm_first:", "if False:"),
)
decoder_layer.misconception_patch(
    "one_norm_shared",
    "All sublayers use `self_attention_norm`; each has a norm of its own.",
    (
        "self.cross_attention(self.cross_attention_norm(x), memory",
        "self.cross_attention(self.self_attention_norm(x), memory",
    ),
    ("x + self.feed_forward(self.feed_forward_norm(x))", "x + self.feed_forward(self.self_attention_norm(x))"),
    ("x = self.cross_attention_norm(x + self", "x = self.self_attention_norm(x + self"),
    ("return self.feed_forward_norm(x + self", "return self.self_attention_norm(x + self"),
)
decoder_layer.misconception_patch(
    "no_residual_around_the_cross_attention",
    "There is no residual path around the cross-attention, so that what was written is lost behind it.",
    ("x = x + self.cross_attention(self", "x = self.cross_attention(self"),
    ("self.cross_attention_norm(x + self.cross_attention(x", "self.cross_attention_norm(self.cross_attention(x"),
)
decoder_layer.misconception_patch(
    "no_network",
    "The feed-forward network is missing.",
    ("return x + self.feed_forward(self.feed_forward_norm(x))", "return x"),
    ("return self.feed_forward_norm(x + self.feed_forward(x))", "return x"),
)
decoder_layer.misconception_patch(
    "causal_mask_on_the_source",
    "The causal mask hides a part of the source: position t of the target may look at all of it. The cross-attention "
    "has `memory_mask` alone.",
    (
        "        causal = causal_mask(x.shape[1])\n",
        "        causal = causal_mask(x.shape[1])\n"
        "        seen = torch.ones(x.shape[1], memory.shape[1], dtype=torch.bool).tril()\n"
        "        memory_mask = seen if memory_mask is None else memory_mask & seen\n",
    ),
)
decoder_layer.alternative_patch(
    "longest_mask",
    (
        "causal = causal_mask(x.shape[1])",
        "causal = torch.arange(x.size(1))[:, None] >= torch.arange(x.size(1))[None, :]",
    ),
    ("normed, normed, normed, causal)", "normed, normed, normed, mask=causal)"),
)
decoder_layer.alternative_patch(
    "three_branches",
    (
        "        causal = causal_mask(x.shape[1])\n",
        "        causal = causal_mask(x.shape[1])[None, None]\n"
        "        branches = (\n"
        "            (self.self_attention_norm, lambda y: self.self_attention(y, y, y, causal)),\n"
        "            (self.cross_attention_norm, lambda y: self.cross_attention(y, memory, memory, memory_mask)),\n"
        "            (self.feed_forward_norm, self.feed_forward),\n"
        "        )\n"
        "        for norm, branch in branches:\n"
        "            x = x + branch(norm(x)) if self.norm_first else norm(x + branch(x))\n"
        "        return x\n",
    ),
)
decoder_layer.alternative_patch(
    "kept_apart",
    ("            x = x + self.cross_attention(self", "            found = self.cross_attention(self"),
    (
        "            return x + self.feed_forward(self.feed_forward_norm(x))\n",
        "            x = x + found\n            return self.feed_forward(self.feed_forward_norm(x)) + x\n",
    ),
    (
        "def forward(self, x, memory, memory_mask=None):",
        "def forward(self, x, memory, memory_mask=None, cache=None):",
    ),
)


@task("label_smoothing", asks="label_smoothing_loss")
def label_smoothing(student: Student, given: Given) -> Iterator[Case]:
    """1 − ε on the true token, ε over all of them, the mean over what is no padding."""
    loss = reference.label_smoothing_loss
    for name, shape, V, epsilon, weight in (
        ("sentences", (3, 5), 6, 0.1, 3),
        ("a row of positions", (7,), 4, 0.3, 2),
        ("ε = 0, the plain cross-entropy", (2, 4), 5, 0.0, 1),
    ):
        logits, targets = 2 * given.normal(*shape, V), given.integers(1, V, *shape)
        targets.view(-1)[given.permutation(targets.numel())[: targets.numel() // 3]] = 0
        answer = student.label_smoothing_loss(logits, targets, epsilon, 0)
        yield case(name, answer, loss(logits, targets, epsilon, 0), weight=weight)
    logits, targets = 2 * given.normal(4, 5), given.integers(0, 5, 4)
    yield case("no padding", student.label_smoothing_loss(logits, targets, 0.2, -100), loss(logits, targets, 0.2, -100))
    nothing = torch.full((3,), 7)
    logits = given.normal(3, 5)
    yield case("nothing but padding", student.label_smoothing_loss(logits, nothing, 0.2, 7), torch.zeros(()))
    logits, targets = 2 * given.normal(3, 5), torch.tensor([7, 2, 7])
    yield case("a single token", student.label_smoothing_loss(logits, targets, 0.2, 7), loss(logits, targets, 0.2, 7))
    logits, targets, upstream = given.normal(2, 3, 4), torch.tensor([[1, 2, -1], [3, -1, -1]]), given.normal(1)[0]
    answer = student.label_smoothing_loss(logits, targets, 0.2, -1)
    yield case("padding of −1", answer, loss(logits, targets, 0.2, -1), weight=2)
    yield case(
        "gradients",
        student.label_smoothing_loss.gradient(logits, targets, 0.2, -1, upstream=upstream),
        expected_gradient(loss, logits, targets, 0.2, -1, upstream=upstream),
    )


label_smoothing.equivalent(
    "log_p = logits[counted].log_softmax(dim=1)", "what counts has two axes, the second of which is the last"
)
label_smoothing.equivalent("V = log_p.shape[1]", "what counts has two axes, the second of which is the last")
label_smoothing.equivalent(
    "return -(q * log_p).sum() / max(1, len(log_p))", "the larger of two numbers does not depend on their order"
)
label_smoothing.hints(
    "Print q for one position with V = 4 and ε = 0.4 and add its numbers up. A probability sums to 1.",
    "`scatter_` writes over what stood there: the true token had its share ε / V of the smoothing, and has lost it.",
)
label_smoothing.misconception_patch(
    "not_one",
    "The target's probabilities sum to 1 − ε / V: the true token has 1 − ε, and its share of what is spread over all "
    "tokens has been written over.",
    ("1 - epsilon + epsilon / V)", "1 - epsilon)"),
)
label_smoothing.misconception_patch(
    "spread_over_the_others",
    "ε is spread over the V − 1 other tokens; here it is spread over all V, the true one among them.",
    ("torch.full_like(log_p, epsilon / V)", "torch.full_like(log_p, epsilon / (V - 1))"),
    ("1 - epsilon + epsilon / V)", "1 - epsilon)"),
)
label_smoothing.misconception_patch(
    "on_top",
    "The true token has the whole probability and ε is spread on top of that, so that the target sums to 1 + ε.",
    (
        "q.scatter_(1, targets[counted][:, None], 1 - epsilon + epsilon / V)",
        "q.scatter_add_(1, targets[counted][:, None], torch.ones(len(log_p), 1))",
    ),
)
label_smoothing.misconception_patch(
    "divided_by_all",
    "The sum leaves the padding out, but it is divided by the number of all positions: divide by those that count.",
    ("max(len(log_p), 1)", "targets.numel()"),
)
label_smoothing.misconception_patch(
    "summed",
    "The losses are summed; the mean over the positions that count is asked for.",
    (" / max(len(log_p), 1)", ""),
)
label_smoothing.misconception_patch(
    "shares_exchanged",
    "ε and 1 − ε have changed places: the true token has the share ε, and the rest is spread.",
    ("torch.full_like(log_p, epsilon / V)", "torch.full_like(log_p, (1 - epsilon) / V)"),
    (
        "q.scatter_(1, targets[counted][:, None], 1 - epsilon + epsilon / V)",
        "q.scatter_add_(1, targets[counted][:, None], torch.full((len(log_p), 1), epsilon))",
    ),
)
label_smoothing.misconception_patch(
    "sign_lost",
    "The sign is lost: the loss is minus the sum of q · ln p, a number of 0 or more.",
    ("return -(q", "return (q"),
)
label_smoothing.misconception_patch(
    "nothing_is_not_a_number",
    "Where nothing counts the mean is 0 divided by 0, which is not a number: the loss is then 0.",
    ("-(q * log_p).sum() / max(len(log_p), 1)", "-(q * log_p).sum(dim=-1).mean()"),
)
label_smoothing.misconception_patch(
    "logits_as_they_are",
    "The logits are used as if they were log-probabilities: take their log_softmax over the tokens first.",
    (".log_softmax(dim=-1)", ""),
)


@label_smoothing.misconception("The padding is counted: its positions are part of the sum, and of the number.")
def padding_counted(logits, targets, epsilon, ignore_index):
    V = logits.shape[-1]
    log_p = logits.reshape(-1, V).log_softmax(dim=-1)
    q = torch.full_like(log_p, epsilon / V)
    q.scatter_(1, (targets.reshape(-1, 1) % V).clamp(max=V - 1), 1 - epsilon + epsilon / V)
    return -(q * log_p).sum() / len(log_p)


@label_smoothing.misconception("This is the plain cross-entropy: ε makes no difference.")
def not_smoothed(logits, targets, epsilon, ignore_index):
    counted = targets != ignore_index
    if not counted.any():
        return logits.sum() * 0
    return F.cross_entropy(logits[counted], targets[counted])


@label_smoothing.alternative
def two_terms(logits, targets, epsilon, ignore_index):
    counted = targets != ignore_index
    log_p = logits[counted].log_softmax(dim=-1)
    true = log_p.gather(1, targets[counted].unsqueeze(1)).squeeze(1)
    each = (1 - epsilon) * true + epsilon * log_p.mean(dim=1)
    return -each.sum() / counted.sum().clamp(min=1)


@label_smoothing.alternative
def by_the_library(logits, targets, epsilon, ignore_index):
    if (targets == ignore_index).all():
        return torch.zeros(())
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=ignore_index, label_smoothing=epsilon)


@label_smoothing.alternative
def by_one_hot(logits, targets, epsilon, ignore_index, reduction="mean"):
    V, counted = logits.shape[-1], (targets != ignore_index).float()
    true = F.one_hot(targets.clamp(0, V - 1), V).float()
    q = (1 - epsilon) * true + epsilon / V
    each = -(q * F.log_softmax(logits, dim=-1)).sum(dim=-1)
    return (each * counted).sum() / counted.sum().clamp(min=1.0)


@task("noam_rate")
def noam_rate(student: Student, given: Given) -> Iterator[Case]:
    """Up in a straight line, down with the root."""
    for name, step, d_model, warmup, weight in (
        ("the first step", 1, 64, 100, 2),
        ("during the warm-up", 37, 64, 100, 2),
        ("at the top", 100, 64, 100, 1),
        ("behind the top", 150, 64, 100, 2),
        ("far behind it", 10_000, 512, 4_000, 2),
        ("a warm-up of one step", 3, 16, 1, 1),
    ):
        yield case(
            name, student.noam_rate(step, d_model, warmup), reference.noam_rate(step, d_model, warmup), weight=weight
        )


noam_rate.equivalent(
    "return d_model ** (-0.5) * min(falling, climbing)", "the smaller of two numbers does not depend on their order"
)
noam_rate.hints(
    "Two numbers, the climbing line `step * warmup**-1.5` and the falling curve `step**-0.5`; take the smaller.",
    "Before the top the line is the smaller of the two, behind it the curve.",
)


@noam_rate.misconception("The larger of the two is taken: the smaller one climbs first and falls later.")
def larger(step, d_model, warmup):
    return d_model**-0.5 * max(step**-0.5, step * warmup**-1.5)


@noam_rate.misconception("The first step is taken for step 0, so that everything comes a step late or early.")
def from_zero(step, d_model, warmup):
    return d_model**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup**-1.5)


@noam_rate.misconception("The exponents of step and warmup have changed places.")
def exponents_exchanged(step, d_model, warmup):
    return d_model**-0.5 * min(step**-1.5, step * warmup**-0.5)


@noam_rate.misconception("The factor for the width is the root of D; it is one over the root, D^(−1/2).")
def root_of_the_width(step, d_model, warmup):
    return d_model**0.5 * min(step**-0.5, step * warmup**-1.5)


@noam_rate.misconception("The factor for the width, D^(−1/2), is missing.")
def no_width(step, d_model, warmup):
    return min(step**-0.5, step * warmup**-1.5)


@noam_rate.misconception("The factor for the width is 1 / D; it is one over the root of D.")
def one_over_the_width(step, d_model, warmup):
    return min(step**-0.5, step * warmup**-1.5) / d_model


@noam_rate.misconception(
    "The rate climbs to D^(−1/2), as a share of the warm-up; at the top it is D^(−1/2) · warmup^(−1/2)."
)
def climbs_to_one(step, d_model, warmup):
    return d_model**-0.5 * min(step**-0.5, step / warmup)


@noam_rate.misconception("The rate never climbs: the warm-up is missing.")
def no_warmup(step, d_model, warmup):
    return d_model**-0.5 * step**-0.5


@noam_rate.misconception("The rate stays at the top; behind the warm-up it falls with the root of the step.")
def no_fall(step, d_model, warmup):
    return d_model**-0.5 * min(warmup**-0.5, step * warmup**-1.5)


@noam_rate.misconception("The rate falls with the step itself; it falls with the root of the step.")
def falls_too_fast(step, d_model, warmup):
    return d_model**-0.5 * min(warmup**0.5 / step, step * warmup**-1.5)


@noam_rate.alternative
def two_cases(step, d_model, warmup):
    rate = step / warmup**1.5 if step < warmup else 1 / math.sqrt(step)
    return rate / math.sqrt(d_model)


@noam_rate.alternative
def as_a_tensor(step, d_model, warmup):
    step = torch.tensor(float(step))
    return float(d_model**-0.5 * torch.minimum(step.rsqrt(), step * warmup**-1.5))


@noam_rate.alternative
def from_the_top(step, d_model, warmup, factor=1.0):
    top = factor / math.sqrt(d_model * warmup)
    return top * min(step / warmup, math.sqrt(warmup / step))


def writer_weights(given: Given, V: int, T: int, end: int, ends: bool) -> dict[str, torch.Tensor]:
    """Numbers for a :class:`PublicWriter` of T tokens at most, that wants to end the more the longer it has written."""
    weights = {name: given.normal(*shape) for name, shape in PublicWriter.shapes(V, 5, T + 1).items()}
    weights["bias"][:, end] += torch.linspace(-4.0, 4.0, T + 1) if ends else -6.0
    return weights


def greedy_tokens(
    weights: dict[str, torch.Tensor], source: torch.Tensor, start: int, longest: int, seen: slice
) -> torch.Tensor:
    """The likeliest tokens one after the other, (B, longest), whatever has ended; each from those of ``seen`` alone."""
    writer = PublicWriter(weights)
    memory, target = writer.encode(source), torch.full((len(source), 1), start)
    for _ in range(longest):
        target = torch.cat([target, writer.decode(target[:, seen], memory)[:, -1:].argmax(dim=-1)], dim=1)
    return target[:, 1:]


def written(
    weights: dict[str, torch.Tensor],
    source: torch.Tensor,
    start: int,
    end: int,
    longest: int,
    seen: slice = slice(None),
) -> torch.Tensor:
    """As many tokens as there may be, and from the first end on nothing but ends."""
    tokens = greedy_tokens(weights, source, start, longest, seen)
    ended = (tokens == end).cumsum(dim=1) > 0
    return tokens.masked_fill(ended, end)[:, : min(longest, int((~ended).sum(dim=1).max()) + 1)]


def sentences_to_write(
    given: Given, B: int, S: int, V: int, T: int, start: int, end: int, ends: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """A :class:`PublicWriter`'s numbers and B sources: sentences that end at different times, or none that ends.

    Where several end, one that goes on behind its end writes another token in the last round; and who sees the first
    or the last token alone writes otherwise, and not the same.
    """
    while True:
        weights, sources = writer_weights(given, V, T, end, ends), given.integers(0, V, 60, S)
        lengths = (written(weights, sources, start, end, T) != end).sum(dim=1).tolist()
        rows = [row for row, length in enumerate(lengths) if (length <= T - 2 if ends else length == T)]
        first_of = {lengths[row]: row for row in reversed(rows)}
        if len(rows) < B or (ends and (len(first_of) < min(B, 3) or max(first_of) <= 2)):
            continue
        longest_first = [first_of[length] for length in sorted(first_of, reverse=True)]
        chosen = sources[sorted([*longest_first, *(row for row in rows if row not in longest_first)][:B])]
        by_seen = [written(weights, chosen, start, end, T, seen) for seen in (slice(None), slice(1), slice(-1, None))]
        alike = any(torch.equal(one, other) for one, other in combinations(by_seen, 2))
        last_round = greedy_tokens(weights, chosen, start, by_seen[0].shape[1], slice(None))[:, -1]
        if not alike and (not ends or B == 1 or (last_round != end).any()):
            return weights, chosen


@task("greedy_decode")
def greedy_decode(student: Student, given: Given) -> Iterator[Case]:
    """One token after the other, to the end of each sentence; the source is read once."""
    for name, B, S, V, longest, start, end, ends, weight in (
        ("four sentences", 4, 3, 7, 8, 0, 1, True, 3),
        ("another start and end", 5, 4, 9, 8, 8, 3, True, 3),
        ("a short limit", 3, 3, 8, 2, 0, 1, False, 2),
        ("one sentence", 1, 2, 6, 9, 2, 0, True, 1),
    ):
        weights, source = sentences_to_write(given, B, S, V, longest, start, end, ends)
        writer = student.fixture("PublicWriter", weights)
        answer = student.greedy_decode(writer, source, start, end, longest)
        yield case(name, answer, written(weights, source, start, end, longest), weight=weight, axes="B L")
        if not answer.failure:
            read = writer.call("times_read")
            yield case(f"how often the source was read, {name}", read, 1, parts=("times",))


greedy_decode.hints(
    "`memory = model.encode(source)` once, before the loop. The target begins as `torch.full((len(source), 1), "
    "start_id)`, and grows by a column in every round.",
    "`model.decode(target, memory)[:, -1].argmax(dim=-1)` is the next token of each sentence, (B,).",
    "Remember which sentences have ended, `ended = ended | (token == end_id)`, and give them `end_id` in later rounds.",
)
greedy_decode.misconception_patch(
    "runs_past_the_end",
    "A sentence that has ended is written on: behind its end there are other tokens. It gets `end_id` again.",
    ("        token = token.masked_fill(ended, end_id)\n", ""),
)
greedy_decode.misconception_patch(
    "stops_at_the_first_end",
    "The writing stops when the first sentence of the batch has ended; it goes on until all have.",
    ("if ended.all():", "if ended.any():"),
)
greedy_decode.misconception_patch(
    "only_ends_that_meet",
    "The writing stops only when all sentences write their end in the same round: remember which have ended before.",
    ("ended = ended | (token == end_id)", "ended = token == end_id"),
    ("        token = token.masked_fill(ended, end_id)\n", ""),
)
greedy_decode.misconception_patch(
    "never_stops_early",
    "The writing goes on to `max_length` though all sentences have ended.",
    ("        if ended.all():\n            break\n", ""),
)
greedy_decode.misconception_patch(
    "start_returned",
    "The start token is returned as well; what is asked for are the tokens behind it.",
    ("return target[:, 1:]", "return target"),
)
greedy_decode.misconception_patch(
    "first_position",
    "The logits at the first position are read; those at the last speak about the next token, `[:, -1]`.",
    ("model.decode(target, memory)[:, -1]", "model.decode(target, memory)[:, 0]"),
)
greedy_decode.misconception_patch(
    "last_token_only",
    "Only the last token is handed to the decoder; it needs all that was written so far.",
    ("model.decode(target, memory)", "model.decode(target[:, -1:], memory)"),
)
greedy_decode.misconception_patch(
    "one_too_few",
    "One token too few is written: the start token does not count among the `max_length`.",
    ("range(max_length)", "range(max_length - 1)"),
)
greedy_decode.misconception_patch(
    "recomputes_the_encoder",
    "The source is read again for every token; it does not change, and is read once before the loop.",
    ("    memory = model.encode(source)\n", ""),
    ("model.decode(target, memory)", "model.decode(target, model.encode(source))"),
)
greedy_decode.misconception_patch(
    "feeds_the_probabilities",
    "The probabilities are put behind what was written; what is fed back is the number of the likeliest token.",
    (
        "token = model.decode(target, memory)[:, -1].argmax(dim=-1)  # (B,)",
        "token = model.decode(target.long(), memory)[:, -1].softmax(dim=-1).amax(dim=-1)",
    ),
    ("return target[:, 1:]", "return target[:, 1:].round().long()"),
)
greedy_decode.misconception_patch(
    "drawn_for_likeliest",
    "The next token is drawn at random from the probabilities; the likeliest is asked for.",
    (
        ".argmax(dim=-1)  # (B,)",
        ".softmax(dim=-1).multinomial(1)[:, 0]",
    ),
)
greedy_decode.misconception_patch(
    "least_likely", "The least likely token is taken; the likeliest is asked for.", ("argmax(", "argmin(")
)
greedy_decode.misconception_patch(
    "end_left_out",
    "The last column, with the last end, is missing: ends belong to what is returned.",
    ("return target[:, 1:]", "return target[:, 1:-1]"),
)
greedy_decode.misconception_patch(
    "zeros_behind_the_end",
    "Behind the end of a sentence there are zeros; it is filled up with `end_id`.",
    ("token.masked_fill(ended, end_id)", "token.masked_fill(ended, 0)"),
)
greedy_decode.alternative_patch(
    "cut_afterwards",
    ("        token = token.masked_fill(ended, end_id)\n", ""),
    (
        "    return target[:, 1:]",
        "    tokens = target[:, 1:]\n"
        "    behind = (tokens == end_id).cumsum(dim=1) > 0\n"
        "    return torch.where(behind, torch.full_like(tokens, end_id), tokens)",
    ),
)
greedy_decode.alternative_patch(
    "a_list_of_columns",
    (
        "    target = torch.full((len(source), 1), start_id)\n",
        "    columns = [torch.full_like(source[:, 0], start_id)]\n",
    ),
    ("model.decode(target, memory)", "model.decode(torch.stack(columns, dim=1), memory)"),
    ("        target = torch.cat([target, token[:, None]], dim=1)\n", "        columns.append(token)\n"),
    ("return target[:, 1:]", "return torch.stack(columns[1:], dim=1)"),
)
greedy_decode.alternative_patch(
    "while_it_grows",
    (
        "    for _ in range(max_length):\n",
        "    while target.shape[1] <= max_length and not ended.all():\n",
    ),
    ("        if ended.all():\n            break\n", ""),
    (".argmax(dim=-1)  # (B,)", ".softmax(dim=-1).max(dim=-1).indices"),
    (
        "def greedy_decode(model, source, start_id, end_id, max_length):",
        "def greedy_decode(model, source, start_id, end_id, max_length, verbose=False):",
    ),
)
greedy_decode.equivalent(
    "token = model.decode(target, memory)[:, -1].argmax(dim=1)",
    "the logits of one position have two axes, the second of which is the last",
)
greedy_decode.equivalent(
    "target = torch.cat([target, token[:, None]], dim=-1)",
    "the second of two axes is the last",
)


def best_of_beam(after: torch.Tensor, at: torch.Tensor, **options: Any) -> list[tuple[list[int], float]]:
    """The best hypothesis of the reference, cut behind its end, for each of N language models.

    Args:
        after: (N, V, V) and at: (N, T, V), of which each makes a :class:`PublicStep`.
    """
    rows = torch.arange(len(after)).repeat_interleave(options["beam"])

    def step(prefixes: torch.Tensor) -> torch.Tensor:
        return after[rows, prefixes[:, -1]] + at[rows, prefixes.shape[1] - 1]

    ids, scores = reference_beam_search(step, **options, batch_size=len(after))
    end, found = options["end_id"], []
    for tokens, score in zip(ids[:, 0].tolist(), scores[:, 0].tolist(), strict=True):
        found.append((tokens[: tokens.index(end) + 1] if end in tokens else tokens, score))
    return found


def searched_otherwise(
    after: torch.Tensor,
    at: torch.Tensor,
    how: str,
    beam: int,
    length_penalty: float,
    start_id: int,
    end_id: int,
    max_length: int,
) -> list[int]:
    """What a search finds that goes wrong in one of the usual ways.

    Args:
        how: "greedy"; "unbranched", each hypothesis with its likeliest token; "dropped" or "grown", which says what
            becomes of finished hypotheses; or "summed", where hypotheses compete by their log-probability, and only
            the last choice is by the score.
    """

    def score(hypothesis: tuple[list[int], float]) -> float:
        return hypothesis[1] / ((4 + len(hypothesis[0])) / 6) ** length_penalty

    kept = [([start_id], 0.0)]
    for t in range(max_length):
        growing = [h for h in kept if not t or how == "grown" or h[0][-1] != end_id]
        if not growing:
            break
        candidates = [] if how == "dropped" else [h for h in kept if h not in growing]
        for tokens, total in growing:
            log_p = (after[tokens[-1]] + at[t]).log_softmax(dim=0).tolist()
            ranked = sorted(enumerate(log_p), key=lambda pair: -pair[1])[: 1 if t and how == "unbranched" else None]
            candidates += [([*tokens, token], total + more) for token, more in ranked]
        by = (lambda h: h[1]) if how == "summed" else score
        kept = sorted(candidates, key=by, reverse=True)[: 1 if how == "greedy" else beam]
    return max(kept, key=score)[0][1:]


@lru_cache(maxsize=64)
def telling_model(seed: int, V: int, **options: Any) -> tuple[torch.Tensor, torch.Tensor, tuple[list[int], float]]:
    """A language model whose best sentence cannot be found by accident, and that sentence with its score."""
    given = Given(seed.to_bytes(8, "big"), "telling_model")
    T, end, penalty = options["max_length"], options["end_id"], options["length_penalty"]
    without = {**options, "length_penalty": 0.0 if penalty else 1.5}
    ways = ["greedy", "unbranched", "dropped", "grown", *(["summed"] if penalty >= 0.8 else [])]
    while True:
        after, at = 1.5 * given.normal(32, V, V), given.normal(32, T, V)
        at[:, :, end] += torch.linspace(-1.0, 1.5, T) if T > 2 else -2.0
        best, unpunished = (best_of_beam(after, at, **how) for how in (options, without))
        for number, (tokens, score) in enumerate(best):
            if options["beam"] == 1 or T <= 2:
                is_telling = len(tokens) > 2 if T > 2 else tokens[-1] != end
            else:
                is_telling = tokens[-1] == end and 2 < len(tokens) < T
                is_telling = is_telling and (not penalty or options["beam"] > V or tokens != unpunished[number][0])
                if is_telling:
                    found = [tokens, *(searched_otherwise(after[number], at[number], way, **options) for way in ways)]
                    is_telling = all(one != other for one, other in combinations(found, 2))
            if is_telling:
                return after[number], at[number], (tokens, score)


@task("beam_search")
def beam_search(student: Student, given: Given) -> Iterator[Case]:
    """The best of several hypotheses, finished ones among them, by log-probability and length."""
    for name, V, beam, longest, penalty, start, end, weight in (
        ("a beam of three", 6, 3, 6, 0.0, 0, 1, 3),
        ("a beam of four with a length penalty", 7, 4, 7, 0.8, 0, 1, 3),
        ("another start and end", 6, 3, 6, 0.6, 5, 2, 2),
        ("a beam of one, which is greedy", 6, 1, 7, 0.6, 0, 1, 1),
        ("a short limit", 7, 3, 2, 0.6, 0, 1, 2),
        ("a beam that is wider than the vocabulary", 4, 9, 5, 0.6, 0, 1, 1),
    ):
        options = {"beam": beam, "length_penalty": penalty, "start_id": start, "end_id": end, "max_length": longest}
        after, at, right = telling_model(given.seed(), V, **options)
        step = student.fixture("PublicStep", after, at)
        answer = student.beam_search(step, start, end, beam, longest, penalty)
        yield case(name, answer, right, weight=weight, parts=("the tokens", "the score"), tolerance=1e-4)


for changed in (
    "for (tokens, log_p), row in zip(growing, logits.log_softmax(dim=-1).tolist()):",
    "for (tokens, log_p), row in zip(growing, logits.log_softmax(dim=-1).tolist(), strict=False):",
):
    beam_search.equivalent(changed, "there is a row of logits for each hypothesis")
beam_search.equivalent(
    "for (tokens, log_p), row in zip(growing, logits.log_softmax(dim=-1), strict=True):",
    "a tensor without axes is as good as a number",
)
beam_search.equivalent(
    "for (tokens, log_p), row in zip(growing, logits.log_softmax(dim=1).tolist(), strict=True):",
    "the logits have two axes, the second of which is the last",
)
beam_search.hints(
    "A hypothesis can be a pair, the list of its tokens and its log-probability. In the beginning there is one, "
    "`([], 0.0)`.",
    "In each round: the finished ones go to the candidates as they are; the others are handed to `step` in one tensor, "
    "and each gives V candidates. Sort all candidates by their score, and keep the first `beam`.",
    "`logits.log_softmax(dim=-1).tolist()` gives the log-probabilities of every continuation as plain numbers, to be "
    "added to that of the hypothesis.",
)
beam_search.misconception_patch(
    "finished_ones_grow",
    "Finished hypotheses are continued behind their end; they are left as they are, and compete with the others.",
    ("for tokens, log_p in kept if tokens[-1:] != [end_id]]", "for tokens, log_p in kept]"),
    ("for tokens, log_p in kept if tokens[-1:] == [end_id]]", "for tokens, log_p in kept if False]"),
)
beam_search.misconception_patch(
    "finished_ones_dropped",
    "Finished hypotheses are lost: they stay among the candidates of the next round.",
    ("candidates = [(tokens, log_p) for tokens, log_p in kept if tokens[-1:] == [end_id]]", "candidates = []"),
)
beam_search.misconception_patch(
    "penalty_multiplied",
    "The log-probability is multiplied by the factor of the length; it is divided by it, so that long sentences gain.",
    ("log_p / ((5 + len(tokens)) / 6) ** length_penalty", "log_p * ((5 + len(tokens)) / 6) ** length_penalty"),
)
beam_search.misconception_patch(
    "no_penalty",
    "The length makes no difference: the log-probability is divided by the factor of the length.",
    ("log_p / ((5 + len(tokens)) / 6) ** length_penalty", "log_p"),
)
beam_search.misconception_patch(
    "mean_for_the_factor",
    "The log-probability is divided by a power of the length itself; the factor is ((5 + length) / 6) to the power α.",
    ("((5 + len(tokens)) / 6) ** length_penalty", "len(tokens) ** length_penalty"),
)
beam_search.misconception_patch(
    "start_counted",
    "The start token is counted in the length; only the tokens behind it are.",
    ("(5 + len(tokens)) / 6", "(6 + len(tokens)) / 6"),
)
beam_search.misconception_patch(
    "end_not_counted",
    "The end token is not counted in the length; it is.",
    ("(5 + len(tokens)) / 6", "(5 + len(tokens) - (tokens[-1:] == [end_id])) / 6"),
)
beam_search.misconception_patch(
    "probabilities_added",
    "Probabilities are added up; add their logarithms, which is to multiply the probabilities.",
    ("logits.log_softmax(dim=-1)", "logits.softmax(dim=-1)"),
)
beam_search.misconception_patch(
    "logits_added",
    "Logits are added up as they are; they are made into log-probabilities first, with `log_softmax`.",
    ("logits.log_softmax(dim=-1)", "logits"),
)
beam_search.misconception_patch(
    "plain_multiplied_into_log",
    "Probabilities are multiplied where their logarithms are to be added: log-probability and probability are mixed.",
    ("log_p + more", "(log_p or 1.0) * more"),
    ("logits.log_softmax(dim=-1)", "logits.softmax(dim=-1)"),
)
beam_search.misconception_patch(
    "greedy",
    "Only one hypothesis is kept, which is greedy search: keep the best `beam` of all candidates.",
    ("reverse=True)[:beam]", "reverse=True)[:1]"),
)
beam_search.misconception_patch(
    "one_child_each",
    "Every hypothesis is continued with its likeliest token alone, so that the hypotheses never branch: all V "
    "continuations are candidates.",
    (
        "candidates += [([*tokens, token], log_p + more) for token, more in enumerate(row)]",
        "likeliest = sorted(range(len(row)), key=lambda token: -row[token])[: beam if not tokens else 1]\n"
        "            candidates += [([*tokens, token], log_p + row[token]) for token in likeliest]",
    ),
)
beam_search.misconception_patch(
    "worst_kept",
    "The worst candidates are kept: a score that is nearer to 0 is better.",
    ("key=score, reverse=True", "key=score"),
)
beam_search.misconception_patch(
    "stops_at_the_first_end",
    "The search stops when the first hypothesis has its end; the others may still become better.",
    ("if not growing:", "if len(growing) < len(kept):"),
)
beam_search.misconception_patch(
    "penalty_only_at_the_end",
    "The factor of the length is used only for the final choice; the hypotheses compete with their scores in every "
    "round.",
    ("sorted(candidates, key=score, reverse=True)", "sorted(candidates, key=lambda h: h[1], reverse=True)"),
    (
        "return kept[0][0], score(kept[0])",
        "best = max(kept, key=score)\n    return best[0], score(best)",
    ),
)
beam_search.misconception_patch(
    "log_probability_returned",
    "The log-probability is returned; the score is asked for, which is divided by the factor of the length.",
    ("return kept[0][0], score(kept[0])", "return kept[0]"),
)
beam_search.misconception_patch(
    "start_returned",
    "The start token is returned as well; what is asked for are the tokens behind it.",
    ("return kept[0][0], score(kept[0])", "return [start_id, *kept[0][0]], score(kept[0])"),
)
beam_search.misconception_patch(
    "end_left_out",
    "The end token is missing from what is returned.",
    (
        "return kept[0][0], score(kept[0])",
        "return [token for token in kept[0][0] if token != end_id], score(kept[0])",
    ),
)
beam_search.misconception_patch(
    "best_of_the_finished",
    "Only hypotheses with an end are considered at last; where the limit cuts the best one off, it is scored as it is.",
    (
        "    return kept[0][0], score(kept[0])",
        "    finished = [h for h in kept if h[0][-1:] == [end_id]] or kept[-1:]\n"
        "    return finished[0][0], score(finished[0])",
    ),
)
beam_search.alternative_patch(
    "heap",
    (
        "kept = sorted(candidates, key=score, reverse=True)[:beam]",
        "import heapq\n        kept = heapq.nlargest(beam, candidates, key=score)",
    ),
    ("logits.log_softmax(dim=-1)", "F.log_softmax(logits.double(), dim=1)"),
)
beam_search.alternative_patch(
    "one_prefix_at_a_time",
    (
        "        logits = step(torch.tensor([[start_id, *tokens] for tokens, _ in growing]))\n",
        "        logits = torch.cat([step(torch.tensor([[start_id, *tokens]])) for tokens, _ in growing])\n",
    ),
    ("return kept[0][0], score(kept[0])", "return list(kept[0][0]), float(score(kept[0]))"),
)


@beam_search.alternative
def with_tensors(step, start_id, end_id, beam, max_length, length_penalty, verbose=False):
    prefixes, totals = torch.tensor([[start_id]]), torch.zeros(1, dtype=torch.float64)
    ended, lengths = torch.tensor([False]), torch.zeros(1)
    for _ in range(max_length):
        if ended.all():
            break
        log_p = step(prefixes).double().log_softmax(dim=-1)
        V = log_p.shape[-1]
        only_end = torch.full((V,), -math.inf, dtype=torch.float64)
        only_end[end_id] = 0.0
        all_totals = totals[:, None] + torch.where(ended[:, None], only_end, log_p)
        all_lengths = (lengths + ~ended)[:, None].expand(-1, V)
        scores = all_totals / ((5 + all_lengths) / 6) ** length_penalty
        best = scores.flatten().topk(min(beam, int((scores > -math.inf).sum()))).indices
        parents, tokens = best // V, best % V
        prefixes = torch.cat([prefixes[parents], tokens[:, None]], dim=1)
        totals, lengths = all_totals.flatten()[best], all_lengths.flatten()[best]
        ended = ended[parents] | (tokens == end_id)
    n = int(lengths[0])
    return prefixes[0, 1 : n + 1].tolist(), float(totals[0] / ((5 + n) / 6) ** length_penalty)
