"""06-attention: additive and scaled dot-product attention, masks, heads, and what attention cannot see."""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from autograder.checking.client.fixtures import PublicAttention
from autograder.checking.given import Given
from autograder.checking.student import Student
from autograder.checking.tasks import Case, case, expected_gradient, filled, task
from autograder.reference import attention as reference

WITH_WEIGHTS: dict[str, Any] = {"parts": ("output", "weights")}


@task("additive_scores", asks="AdditiveAttention")
def additive_scores(student: Student, given: Given) -> Iterator[Case]:
    """vᵀ tanh(W q + U k) for every key."""
    query_size, key_size, hidden_size = 5, 7, 6
    model = reference.AdditiveAttention(query_size, key_size, hidden_size)
    weights = given.weights(model)
    filled(model, weights)
    theirs = student.AdditiveAttention(query_size, key_size, hidden_size).load(weights)

    query, keys = given.normal(3, query_size), given.normal(3, 4, key_size)
    yield case("four keys", theirs(query, keys), model(query, keys), weight=2, axes="B S")

    query, keys = given.normal(2, query_size), given.normal(2, 9, key_size)
    yield case("nine keys", theirs(query, keys), model(query, keys), weight=2, axes="B S")

    one_query, one_key = given.normal(1, query_size), given.normal(1, 1, key_size)
    yield case("one key", theirs(one_query, one_key), model(one_query, one_key), axes="B S")

    upstream = given.normal(2, 9)
    yield case(
        "gradients",
        theirs.gradient(query, keys, upstream=upstream),
        expected_gradient(model, query, keys, upstream=upstream),
    )


additive_scores.hints(
    "Project the query and the keys first, and look at the shapes: (B, hidden) and (B, S, hidden). "
    "They can be added once the query has an axis of size 1 where the keys have S.",
    "unsqueeze(1) makes the query (B, 1, hidden); adding broadcasts it over all S keys. Then comes tanh, "
    "and after it `self.score`, which gives (B, S, 1).",
    "Take the last axis of size 1 away with squeeze(-1) or [..., 0], and return the scores as they are: no softmax.",
)
additive_scores.misconception_patch(
    "no_tanh",
    "The tanh is missing. Without it the query adds the same number to every score, and the softmax takes it out "
    "again: the query would have no say in where to look.",
    ("torch.tanh(wanted[:, None, :] + offered)", "wanted[:, None, :] + offered"),
)
additive_scores.misconception_patch(
    "adds_over_positions",
    "The sum runs over the wrong axis: vᵀ adds up the hidden features of one key, not the keys of one sentence.",
    ("self.score(hidden)[:, :, 0]", "(hidden * self.score.weight[0]).sum(dim=1)"),
)
additive_scores.misconception_patch(
    "without_score_vector",
    "The hidden features are added up with equal weight. The vector v, the weight of `self.score`, decides how much "
    "each of them counts.",
    ("self.score(hidden)[:, :, 0]", "hidden.sum(dim=-1)"),
)
additive_scores.misconception_patch(
    "tanh_before_adding",
    "tanh is taken of the query and of the keys one by one. Take it of their sum: only there can the two meet.",
    ("torch.tanh(wanted[:, None, :] + offered)", "torch.tanh(wanted)[:, None, :] + torch.tanh(offered)"),
)
additive_scores.misconception_patch(
    "softmax_inside",
    "These are weights; the scores before the softmax are asked for. The softmax comes later, after the mask.",
    ("self.score(hidden)[:, :, 0]", "self.score(hidden)[:, :, 0].softmax(dim=-1)"),
)
additive_scores.misconception_patch(
    "axis_left_over",
    "One axis of size 1 is left over from `self.score`: take it away, so that there is one number for each key.",
    ("self.score(hidden)[:, :, 0]", "self.score(hidden)"),
)
additive_scores.misconception_patch(
    "multiplies",
    "Query and keys are multiplied with each other. In additive attention they are added inside the tanh.",
    ("wanted[:, None, :] + offered", "wanted[:, None, :] * offered"),
)
additive_scores.misconception_patch(
    "sigmoid_for_tanh",
    "There is a sigmoid where Bahdanau et al. have tanh, so that no hidden feature can count against a key.",
    ("torch.tanh(", "torch.sigmoid("),
)
additive_scores.misconception_patch(
    "tanh_outside",
    "The tanh comes last, around the score. It belongs around the sum, before v weighs the hidden features.",
    ("torch.tanh(wanted[:, None, :] + offered)", "wanted[:, None, :] + offered"),
    ("self.score(hidden)[:, :, 0]", "torch.tanh(self.score(hidden)[:, :, 0])"),
)
additive_scores.misconception_patch(
    "squeezes_every_axis",
    "squeeze() without an axis takes away every axis of size 1, the batch too where there is one sentence alone: say "
    "which, squeeze(-1).",
    ("self.score(hidden)[:, :, 0]", "self.score(hidden).squeeze()"),
)
additive_scores.alternative_patch(
    "loop_over_keys",
    (
        "return self.score(hidden)[:, :, 0]",
        "return torch.stack([self.score(hidden[:, s]).squeeze(1) for s in range(keys.shape[1])], dim=1)",
    ),
)
additive_scores.alternative_patch(
    "einsum",
    ("self.score(hidden)[:, :, 0]", 'torch.einsum("bsh,h->bs", hidden, self.score.weight[0])'),
)
additive_scores.alternative_patch(
    "expanded_query",
    ("wanted[:, None, :] + offered", "wanted.unsqueeze(1).expand_as(offered) + offered"),
)
additive_scores.alternative_patch(
    "functional",
    ("self.query_projection(query)", "F.linear(query, self.query_projection.weight)"),
    ("def forward(self, query, keys):", "def forward(self, query, keys, temperature=1.0):"),
)

additive_scores.equivalent(
    "return self.score(hidden)[:, :, -1]", "The last axis has one element, which is the first and the last."
)


@task("scaled_dot_product_attention")
def scaled_dot_product_attention(student: Student, given: Given) -> Iterator[Case]:
    """softmax(QKᵀ/√D)V; a masked position gets weight exactly zero."""
    attend, right = student.scaled_dot_product_attention, reference.scaled_dot_product_attention
    axes: dict[str, Any] = {**WITH_WEIGHTS, "axes": ("B T E", "B T S")}

    q, k, v = given.normal(2, 5, 6), given.normal(2, 7, 6), given.normal(2, 7, 4)
    yield case("no mask", attend(q, k, v), right(q, k, v), weight=3, **axes)

    mask = given.mask(2, 5, 7)
    yield case("mask", attend(q, k, v, mask), right(q, k, v, mask), weight=3, **axes)

    nowhere = mask.clone()
    nowhere[1, 3] = False
    yield case("a query that may look nowhere", attend(q, k, v, nowhere), right(q, k, v, nowhere), weight=2, **axes)

    heads = given.normal(2, 3, 5, 8), given.normal(2, 3, 7, 8), given.normal(2, 3, 7, 4)
    padding = reference.padding_mask(torch.tensor([7, 4]), 7)
    yield case(
        "heads and a mask that broadcasts",
        attend(*heads, padding),
        right(*heads, padding),
        weight=2,
        **WITH_WEIGHTS,
        axes=("B H T E", "B H T S"),
    )

    q, k, v = given.normal(4, 3), given.normal(6, 3), given.normal(6, 2)
    yield case("no batch", attend(q, k, v), right(q, k, v), **WITH_WEIGHTS, axes=("T E", "T S"))

    q, k = 20 * given.normal(2, 4, 9), 20 * given.normal(2, 6, 9)
    v, mask = given.normal(2, 6, 3), given.mask(2, 4, 6)
    # Scores this large carry rounding errors of 1e-4 into the exponent of the softmax.
    yield case("scores in the hundreds", attend(q, k, v, mask), right(q, k, v, mask), tolerance=1e-2, **axes)

    # Every allowed score lies at −500 or below, every forbidden one at 500 or above.
    q, k, v = 500 + given.normal(2, 3, 1).abs(), given.normal(2, 4, 1).sign(), given.normal(2, 4, 3)
    k[:, 0], k[:, 1] = -1.0, 1.0
    allowed = (k < 0).transpose(-2, -1).expand(2, 3, 4)
    yield case("allowed scores far below 0", attend(q, k, v, allowed), right(q, k, v, allowed), **axes)

    double = [given.normal(2, n, 5).double() for n in (3, 4, 4)]
    yield case("double precision", attend(*double), right(*double), **axes)

    q, k, v = given.normal(2, 5, 6), given.normal(2, 7, 6), given.normal(2, 7, 4)
    upstream = given.normal(2, 5, 4)
    yield case(
        "gradients",
        attend.gradient(q, k, v, nowhere, upstream=upstream, output=0),
        expected_gradient(right, q, k, v, nowhere, upstream=upstream, output=0),
        weight=2,
    )


scaled_dot_product_attention.hints(
    "Four steps: all dot products at once (one matrix product), the scale, the softmax, the weighted sum "
    "(another matrix product). Write the shape beside each line.",
    "q @ k.transpose(-2, -1) has shape (..., T, S). Divide by √D with D = q.shape[-1]. The softmax makes each query's "
    "row of S numbers sum to 1: dim=-1.",
    "Mask the scores, before the softmax: masked_fill(~mask, -math.inf). A row of nothing but −inf gives NaN, since it "
    "is 0/0; fill the weights with 0 there afterwards.",
)


@scaled_dot_product_attention.misconception(
    "The scores are not divided by √D. The variance of a dot product grows with D, and the softmax would settle on "
    "one key."
)
def no_scale(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The scores are divided by D; it must be the square root of D, which is what keeps their variance at 1."
)
def divides_by_width(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / q.shape[-1]
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The scores are divided by the root of the number of keys; D is the width of a query, its last axis."
)
def scales_by_number_of_keys(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-2])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The softmax runs over the queries. Each query shares out a weight of 1 among the keys, so each *row* sums to 1: "
    "dim=-1."
)
def softmax_over_queries(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-2)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-2).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The mask comes after the softmax, so what was forbidden still took its share and the rest no longer sums to 1. "
    "Put −inf into the scores before the softmax."
)
def mask_after_softmax(q, k, v, mask=None):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The mask is read the wrong way round: True is where looking is allowed, so fill where it is False (~mask)."
)
def mask_inverted(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(mask, -math.inf).softmax(dim=-1).masked_fill(mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "A query that may look nowhere comes out as NaN: there is nothing among which its weight of 1 could be shared "
    "out, and that is 0/0. Set such weights to 0 afterwards."
)
def nan_where_nothing_is_allowed(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "A large negative number stands for −inf. Where nothing is allowed, all scores are that number and the softmax "
    "looks everywhere equally; the weights must be exactly 0 there."
)
def finite_mask_value(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "A forbidden score becomes 0, and e⁰ = 1 is a weight like any other. It must become −inf, since e to the −inf is 0."
)
def masked_scores_are_zero(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores * mask
    weights = scores.softmax(dim=-1)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The mask is not used at all: forbidden positions get weights as if they were allowed."
)
def mask_ignored(q, k, v, mask=None):
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The scale comes after the softmax, so the weights of a row sum to 1/√D. Divide the scores, before the softmax."
)
def scales_the_weights(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1)
    if mask is None:
        weights = scores.softmax(dim=-1) / math.sqrt(q.shape[-1])
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0) / math.sqrt(q.shape[-1])
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The forbidden scores are filled with a number that is not low enough: where the allowed scores lie below it, they "
    "get no weight at all. Only −inf is below every number."
)
def fill_value_too_high(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -100.0).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "The scores are multiplied by √D; they must be divided by it, which is what keeps their variance at 1."
)
def multiplies_by_the_scale(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) * math.sqrt(q.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "Output and weights are returned in the wrong order: `return output, weights`."
)
def weights_first(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights, weights @ v


@scaled_dot_product_attention.misconception(
    "The inputs are turned into float32. Compute in the dtype that comes in, and return it."
)
def casts_to_float(q, k, v, mask=None):
    q, k, v = q.float(), k.float(), v.float()
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ v, weights


@scaled_dot_product_attention.misconception(
    "Only the output is returned; the weights are asked for as well: `return output, weights`."
)
def output_alone(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v


@scaled_dot_product_attention.misconception(
    "The scores are returned in place of the weights: the second result comes after the softmax, each row summing to 1."
)
def scores_for_weights(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = scores.softmax(dim=-1)
    if mask is not None:
        weights = weights.masked_fill(~mask, 0.0)
    return weights @ v, scores


@scaled_dot_product_attention.alternative
def torch_operator(q, k, v, mask=None, dropout=0.0):
    output = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    each = torch.eye(k.shape[-2], dtype=k.dtype).expand(*k.shape[:-1], k.shape[-2])
    return output, F.scaled_dot_product_attention(q, k, each, attn_mask=mask)


@scaled_dot_product_attention.alternative
def exponentials_by_hand(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-math.inf))
    largest = scores.amax(dim=-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
    exponentials = torch.exp(scores - largest)
    weights = exponentials / exponentials.sum(dim=-1, keepdim=True).clamp(min=1e-30)
    return torch.einsum("...ts,...se->...te", weights, v), weights


@scaled_dot_product_attention.alternative
def query_by_query(q, k, v, mask=None):
    rows = []
    allowed = None if mask is None else mask.expand(*q.shape[:-1], k.shape[-2])
    for t in range(q.shape[-2]):
        scores = (k * q[..., t : t + 1, :]).sum(-1) / q.shape[-1] ** 0.5
        if allowed is not None:
            scores = scores.masked_fill(~allowed[..., t, :], float("-inf"))
        rows.append(
            torch.nan_to_num(torch.softmax(scores, dim=-1)) if allowed is None else torch.softmax(scores, dim=-1)
        )
    weights = torch.stack(rows, dim=-2)
    if allowed is not None:
        weights = torch.where(allowed, weights, torch.zeros_like(weights))
    return (weights.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2), weights


scaled_dot_product_attention.equivalent(
    "scores = q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])", "A key is as wide as a query."
)


@task("padding_mask")
def padding_mask(student: Student, given: Given) -> Iterator[Case]:
    """True at the words, False at the padding behind them."""
    lengths = given.lengths(4, 7)
    yield case(
        "up to the longest", student.padding_mask(lengths, 7), reference.padding_mask(lengths, 7), axes="B 1 1 T"
    )
    lengths = given.lengths(3, 5)
    yield case(
        "padded beyond the longest",
        student.padding_mask(lengths, 9),
        reference.padding_mask(lengths, 9),
        axes="B 1 1 T",
    )
    lengths = given.integers(2, 6, 1)
    yield case("one sentence", student.padding_mask(lengths, 6), reference.padding_mask(lengths, 6), axes="B 1 1 T")


padding_mask.hints(
    "Position j of a sentence holds a word when j < length. torch.arange(T) gives all positions at once.",
    "Compare positions (1, T) with lengths (B, 1): the comparison broadcasts to (B, T) and is boolean already.",
    "Put the two axes of size 1 in the middle by indexing with [:, None, None, :].",
)


@padding_mask.misconception(
    "One position too many is allowed: positions count from 0, so the last word of a sentence of length n stands "
    "at n−1."
)
def padding_off_by_one(lengths, T):
    return (torch.arange(T) <= lengths[:, None])[:, None, None, :]


@padding_mask.misconception("One position too few is allowed: the last word of each sentence counts as padding.")
def padding_one_too_few(lengths, T):
    return (torch.arange(T) < lengths[:, None] - 1)[:, None, None, :]


@padding_mask.misconception("The mask marks the padding; in this course True is where looking is allowed: the words.")
def padding_inverted(lengths, T):
    return (torch.arange(T) >= lengths[:, None])[:, None, None, :]


@padding_mask.misconception(
    "The two axes of size 1 are missing: without them the mask cannot be broadcast over heads and over the positions "
    "that look."
)
def without_broadcast_axes(lengths, T):
    return torch.arange(T) < lengths[:, None]


@padding_mask.misconception("Only one axis of size 1 is there; heads need one and the positions that look another.")
def one_broadcast_axis(lengths, T):
    return (torch.arange(T) < lengths[:, None])[:, None, :]


@padding_mask.misconception(
    "The positions stand on the axis that looks. It is being looked at that the mask forbids, so T is the last axis."
)
def masks_the_queries(lengths, T):
    return (torch.arange(T) < lengths[:, None])[:, None, :, None]


@padding_mask.misconception("The mask is made of numbers; make it boolean, which is what a comparison gives.")
def padding_as_numbers(lengths, T):
    return (torch.arange(T) < lengths[:, None]).long()[:, None, None, :]


@padding_mask.misconception(
    "The mask ends at the longest sentence; it must be T wide, however short the sentences are."
)
def ends_at_the_longest(lengths, T):
    return (torch.arange(int(lengths.max())) < lengths[:, None])[:, None, None, :]


@padding_mask.misconception("Every sentence gets the length of the first; each row has a length of its own.")
def length_of_the_first(lengths, T):
    return (torch.arange(T) < lengths[0]).expand(len(lengths), T)[:, None, None, :]


@padding_mask.misconception(
    "The comparison is the wrong way round, and strict: True is where the position is *below* the length."
)
def padding_behind_the_end(lengths, T):
    return (torch.arange(T) > lengths[:, None])[:, None, None, :]


@padding_mask.misconception("The words are taken to stand at the end of each row; the padding is behind them.")
def padding_in_front(lengths, T):
    return (torch.arange(T) >= T - lengths[:, None])[:, None, None, :]


@padding_mask.alternative
def sentence_by_sentence(lengths, T):
    mask = torch.zeros(len(lengths), 1, 1, T, dtype=torch.bool)
    for b, length in enumerate(lengths.tolist()):
        mask[b, 0, 0, :length] = True
    return mask


@padding_mask.alternative
def counted_with_cumsum(lengths, T):
    places = torch.ones(len(lengths), T, dtype=torch.long).cumsum(dim=1)
    return (places <= lengths.unsqueeze(1)).unsqueeze(1).unsqueeze(1)


@padding_mask.alternative
def stacked_rows(lengths, T, device=None):
    rows = [[j < int(n) for j in range(T)] for n in lengths]
    return torch.tensor(rows, device=device).view(-1, 1, 1, T)


padding_mask.equivalent(
    "positions = torch.arange(T)", "The default device is that of lengths here: checks run on the processor."
)
padding_mask.equivalent("is_word = positions < lengths[:, None]", "(T,) broadcasts like (1, T).")


@task("causal_mask")
def causal_mask(student: Student, given: Given) -> Iterator[Case]:
    """True on and below the diagonal."""
    yield case("five positions", student.causal_mask(5), reference.causal_mask(5), weight=2, axes="T T")
    T = int(given.integers(6, 12))
    yield case("another length", student.causal_mask(T), reference.causal_mask(T), weight=2, axes="T T")
    one = student.causal_mask(1)
    yield case("one position", one, reference.causal_mask(1), weight=0.5, axes="T T", telling=False)


causal_mask.hints(
    "Row t is the position that looks, column s the one looked at. Write the mask for T = 3 on paper first.",
    "Compare two ranges, one as a column and one as a row; or start from a square of True and keep its lower triangle.",
    "The diagonal belongs to it: a position may look at itself.",
)


@causal_mask.misconception(
    "The diagonal is left out. A position may look at itself; without that, the first one could look nowhere."
)
def without_the_diagonal(T):
    return torch.ones(T, T, dtype=torch.bool).tril(-1)


@causal_mask.misconception(
    "Upper and lower are swapped: each position looks at itself and at what comes after it. Keep the lower triangle."
)
def looks_ahead(T):
    return torch.ones(T, T, dtype=torch.bool).triu()


@causal_mask.misconception("True marks what is forbidden here; in this course True is where looking is allowed.")
def causal_inverted(T):
    return torch.ones(T, T, dtype=torch.bool).triu(1)


@causal_mask.misconception("Each position sees one step into the future: the triangle begins one diagonal too high.")
def one_step_ahead(T):
    return torch.ones(T, T, dtype=torch.bool).tril(1)


@causal_mask.misconception("The triangle is made of numbers; make it boolean: dtype=torch.bool, or a comparison.")
def causal_as_numbers(T):
    return torch.ones(T, T).tril()


@causal_mask.misconception(
    "This is a mask to add to the scores, with −inf where looking is forbidden; a boolean mask is asked for."
)
def additive_mask(T):
    return torch.full((T, T), -math.inf).triu(1)


@causal_mask.misconception("Axes of size 1 stand in front; (T, T) is asked for, and it broadcasts as it is.")
def causal_with_batch_axis(T):
    return torch.ones(T, T, dtype=torch.bool).tril()[None, None]


@causal_mask.alternative
def lower_triangle(T):
    return torch.tril(torch.ones(T, T, dtype=torch.bool), diagonal=0)


@causal_mask.alternative
def two_loops(T):
    return torch.tensor([[s <= t for s in range(T)] for t in range(T)], dtype=torch.bool)


@causal_mask.alternative
def not_the_upper(T, device="cpu"):
    return ~torch.triu(torch.ones(T, T, dtype=torch.bool, device=device), diagonal=1)


causal_mask.equivalent("looked_at = torch.arange(T)", "(T,) broadcasts like (1, T).")


@task("split_heads")
def split_heads(student: Student, given: Given) -> Iterator[Case]:
    """(B, T, D) to (B, H, T, D/H), every head its slice of the features."""
    x = given.normal(2, 5, 12)
    yield case("three heads", student.split_heads(x, 3), reference.split_heads(x, 3), weight=2, axes="B H T D/H")
    x = given.normal(3, 4, 10)
    yield case("five heads", student.split_heads(x, 5), reference.split_heads(x, 5), weight=2, axes="B H T D/H")
    yield case("one feature a head", student.split_heads(x, 10), reference.split_heads(x, 10), axes="B H T D/H")
    x = given.normal(1, 3, 8).double()
    yield case(
        "one sentence, double precision",
        student.split_heads(x, 2),
        reference.split_heads(x, 2),
        axes="B H T D/H",
        telling=False,
    )
    x = given.normal(2, 7, 6)
    yield case("one head", student.split_heads(x, 1), reference.split_heads(x, 1), weight=0.5, axes="B H T D/H")
    upstream = given.normal(2, 3, 7, 2)
    yield case(
        "gradients",
        student.split_heads.gradient(x, 3, upstream=upstream),
        expected_gradient(reference.split_heads, x, 3, upstream=upstream),
    )


split_heads.hints(
    "Cut the last axis first: D becomes H groups of D/H features. Only after that may axes change places.",
    "x.view(B, T, H, D // H) cuts (an axis can always be cut in place), and transpose(1, 2) brings the heads in front "
    "of the positions.",
)


@split_heads.misconception(
    "The shape is right and the content is not: viewing (B, T, D) as (B, H, T, D/H) at once mixes positions and heads. "
    "Cut the features first, then exchange the axes of positions and heads."
)
def view_at_once(x, num_heads):
    B, T, D = x.shape
    return x.reshape(B, num_heads, T, D // num_heads)


@split_heads.misconception("The heads are still behind the positions: exchange these two axes with transpose(1, 2).")
def heads_behind_positions(x, num_heads):
    B, T, D = x.shape
    return x.reshape(B, T, num_heads, D // num_heads)


@split_heads.misconception("H and D/H are swapped: there are to be H heads, each of width D/H.")
def width_and_heads_swapped(x, num_heads):
    B, T, D = x.shape
    return x.reshape(B, T, D // num_heads, num_heads).transpose(1, 2)


@split_heads.misconception(
    "Each head takes every H-th feature. It should take a slice of D/H features that stand side by side."
)
def every_hth_feature(x, num_heads):
    B, T, D = x.shape
    return x.reshape(B, T, D // num_heads, num_heads).permute(0, 3, 1, 2)


@split_heads.misconception("The last two axes are the wrong way round: (B, H, T, D/H), positions before features.")
def features_before_positions(x, num_heads):
    B, T, D = x.shape
    return x.reshape(B, T, num_heads, D // num_heads).permute(0, 2, 3, 1)


@split_heads.misconception("The heads are folded into the batch; they get an axis of their own, the second.")
def heads_in_the_batch(x, num_heads):
    B, T, D = x.shape
    return x.reshape(B, T, num_heads, D // num_heads).transpose(1, 2).reshape(B * num_heads, T, D // num_heads)


@split_heads.alternative
def chunks_stacked(x, num_heads):
    return torch.stack(x.chunk(num_heads, dim=-1), dim=1)


@split_heads.alternative
def unflattened(x, num_heads):
    return x.unflatten(-1, (num_heads, -1)).permute(0, 2, 1, 3)


@split_heads.alternative
def slice_by_slice(x, num_heads, copy=True):
    width = x.size(2) // num_heads
    heads = [x[:, :, h * width : (h + 1) * width].unsqueeze(1) for h in range(num_heads)]
    return torch.cat(heads, dim=1)


@task("merge_heads")
def merge_heads(student: Student, given: Given) -> Iterator[Case]:
    """(B, H, T, D/H) to (B, T, D), the inverse of split_heads."""
    x = given.normal(2, 3, 5, 4)
    yield case("three heads", student.merge_heads(x), reference.merge_heads(x), weight=2, axes="B T D")
    x = given.normal(3, 5, 4, 2)
    yield case("five heads", student.merge_heads(x), reference.merge_heads(x), weight=2, axes="B T D")
    x = given.normal(2, 6, 8)
    one = given.normal(1, 2, 3, 4).double()
    merged = student.merge_heads(one)
    yield case("one sentence, double precision", merged, reference.merge_heads(one), axes="B T D", telling=False)
    yield case("after a split", student.merge_heads(x.view(2, 6, 4, 2).transpose(1, 2)), x, weight=2, axes="B T D")
    x = given.normal(2, 3, 5, 4)
    upstream = given.normal(2, 5, 12)
    yield case(
        "gradients",
        student.merge_heads.gradient(x, upstream=upstream),
        expected_gradient(reference.merge_heads, x, upstream=upstream),
    )


merge_heads.hints(
    "The four numbers in the first row of the broken result come from two positions. Which axis must come next to the "
    "features before they are joined?",
    "Bring the heads back behind the positions with transpose(1, 2), then join the last two axes with reshape. After a "
    "transpose, view cannot join them.",
)


@merge_heads.misconception(
    "The heads are still in front of the positions when the axes are joined, so one row holds several positions of "
    "one head. Exchange the axes back with transpose(1, 2) first."
)
def no_transpose_back(x):
    B, H, T, width = x.shape
    return x.reshape(B, T, H * width)


@merge_heads.misconception("The heads are added up; they should stand side by side, D = H · D/H features in all.")
def heads_summed(x):
    return x.sum(dim=1)


@merge_heads.misconception("The heads are averaged; they should stand side by side, D = H · D/H features in all.")
def heads_averaged(x):
    return x.mean(dim=1)


@merge_heads.misconception(
    "The features of the heads are interleaved. All features of head 0 come first, then all of head 1, and so on."
)
def features_interleaved(x):
    B, H, T, width = x.shape
    return x.permute(0, 2, 3, 1).reshape(B, T, H * width)


@merge_heads.misconception("The last two axes are not joined yet: (B, T, H, D/H) has to become (B, T, D).")
def not_joined(x):
    return x.transpose(1, 2)


@merge_heads.misconception("The heads are joined with the positions, not with the features: (B, T, D) is asked for.")
def joined_with_positions(x):
    return x.flatten(1, 2)


@merge_heads.misconception(
    "After a transpose the numbers no longer lie in memory in the order of the axes, and view refuses. Use reshape, or "
    "contiguous() before view."
)
def view_after_transpose(x):
    B, H, T, width = x.shape
    return x.transpose(1, 2).view(B, T, H * width)


@merge_heads.alternative
def concatenated(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


@merge_heads.alternative
def flattened(x):
    return x.permute(0, 2, 1, 3).flatten(2)


@merge_heads.alternative
def contiguous_view(x, num_heads=None):
    B, H, T, width = x.shape
    return x.transpose(1, 2).contiguous().view(B, T, H * width)


@task("multi_head_attention", asks="MultiHeadAttention")
def multi_head_attention(student: Student, given: Given) -> Iterator[Case]:
    """Every head attends on its own slice; a last projection mixes what they found."""
    d_model, num_heads = 12, 3
    model = reference.MultiHeadAttention(d_model, num_heads)
    weights = given.weights(model)
    filled(model, weights)
    theirs = student.MultiHeadAttention(d_model, num_heads).load(weights)
    axes: dict[str, Any] = {**WITH_WEIGHTS, "axes": ("B T D", "B H T S")}

    x = given.normal(2, 5, d_model)
    yield case("self-attention", theirs(x, x, x), model(x, x, x), weight=2, **axes)

    query, key, value = given.normal(2, 4, d_model), given.normal(2, 7, d_model), given.normal(2, 7, d_model)
    yield case(
        "query, key and value all different", theirs(query, key, value), model(query, key, value), weight=3, **axes
    )

    padding = reference.padding_mask(torch.tensor([4, 7]), 7)
    yield case("padding mask", theirs(query, key, value, padding), model(query, key, value, padding), weight=2, **axes)

    causal = reference.causal_mask(5)
    yield case("causal mask", theirs(x, x, x, causal), model(x, x, x, causal), weight=2, **axes)

    nowhere = given.mask(2, 1, 4, 7)
    nowhere[1, 0, 2] = False
    yield case(
        "a query that may look nowhere", theirs(query, key, value, nowhere), model(query, key, value, nowhere), **axes
    )

    each_its_own = given.mask(2, num_heads, 4, 7)
    yield case(
        "a mask for each head",
        theirs(query, key, value, each_its_own),
        model(query, key, value, each_its_own),
        **axes,
    )

    other = reference.MultiHeadAttention(10, 5)
    other_weights = given.weights(other)
    filled(other, other_weights)
    y = given.normal(3, 4, 10)
    yield case("five heads", student.MultiHeadAttention(10, 5).load(other_weights)(y, y, y), other(y, y, y), **axes)

    upstream = given.normal(2, 4, d_model)
    yield case(
        "gradients",
        theirs.gradient(query, key, value, padding, upstream=upstream, output=0),
        expected_gradient(model, query, key, value, padding, upstream=upstream, output=0),
    )


multi_head_attention.hints(
    "Nothing new is needed: project, split, attend, merge, project. Your four functions do all of it; write one line "
    "for each step and note the shape beside it.",
    "Three inputs pass through three projections, then through split_heads(…, self.num_heads). After attention comes "
    "merge_heads, and after that self.output_projection.",
    "scaled_dot_product_attention takes √ of the last axis of q, which is D/H after the split: the scale is right by "
    "itself. Hand the mask on to it.",
)
multi_head_attention.misconception_patch(
    "scales_by_model_width",
    "The scores are divided by √D, the width of the model. Each head has only D/H features: divide by √(D/H).",
    (
        "scaled_dot_product_attention(q, k, v, mask)",
        "scaled_dot_product_attention(q / math.sqrt(self.num_heads), k, v, mask)",
    ),
)
multi_head_attention.misconception_patch(
    "no_output_projection",
    "The output projection is missing: after merging, `self.output_projection` mixes what the heads found.",
    ("self.output_projection(merge_heads(found))", "merge_heads(found)"),
)
multi_head_attention.misconception_patch(
    "key_for_value",
    "The values are made of `key`. What is fetched is made of `value`; in self-attention the two are the same, "
    "and the mistake hides.",
    ("self.value_projection(value)", "self.value_projection(key)"),
)
multi_head_attention.misconception_patch(
    "key_projection_for_value",
    "The values pass through `key_projection`; they have a projection of their own.",
    ("self.value_projection(value)", "self.key_projection(value)"),
)
multi_head_attention.misconception_patch(
    "mask_lost_on_a_head",
    "One head does not get the mask: it holds for every head.",
    (
        "scaled_dot_product_attention(q, k, v, mask)",
        "scaled_dot_product_attention(\n            q, k, v, None if mask is None else mask | "
        "(torch.arange(self.num_heads) == self.num_heads - 1)[:, None, None]\n        )",
    ),
)
multi_head_attention.misconception_patch(
    "mask_not_handed_on",
    "The mask is not handed on to scaled_dot_product_attention, so everybody looks everywhere.",
    ("scaled_dot_product_attention(q, k, v, mask)", "scaled_dot_product_attention(q, k, v)"),
)
multi_head_attention.misconception_patch(
    "mask_of_the_first_head",
    "Every head gets the mask of the first. A mask of shape (B, H, T, S) has one for each head: hand it on as it is.",
    (
        "scaled_dot_product_attention(q, k, v, mask)",
        "scaled_dot_product_attention(q, k, v, None if mask is None or mask.ndim < 4 else mask[:, :1])"
        " if mask is None or mask.ndim > 3 else scaled_dot_product_attention(q, k, v, mask)",
    ),
)
multi_head_attention.misconception_patch(
    "mask_inverted_on_the_way",
    "The mask is turned round on its way to scaled_dot_product_attention. In both, True is where looking is allowed.",
    (
        "scaled_dot_product_attention(q, k, v, mask)",
        "scaled_dot_product_attention(q, k, v, None if mask is None else ~mask)",
    ),
)
multi_head_attention.misconception_patch(
    "value_not_projected",
    "The values are not projected: each of the three inputs passes through its own projection first.",
    ("self.value_projection(value)", "value"),
)
multi_head_attention.misconception_patch(
    "merged_by_reshape",
    "What the heads found is reshaped without bringing positions and heads into order first: use merge_heads.",
    ("merge_heads(found)", "found.reshape(query.shape)"),
)
multi_head_attention.misconception_patch(
    "query_for_all",
    "Key and value are made of `query`. That is right for self-attention alone; here they may be three "
    "different sequences.",
    ("self.key_projection(key)", "self.key_projection(query)"),
    ("self.value_projection(value)", "self.value_projection(query)"),
)
multi_head_attention.misconception_patch(
    "weights_averaged",
    "The weights are averaged over the heads. Return those of every head, (B, H, T, S): each looks elsewhere.",
    ("merge_heads(found)), weights", "merge_heads(found)), weights.mean(dim=1)"),
)
multi_head_attention.misconception_patch(
    "one_projection_for_all",
    "Query, key and value all pass through `query_projection`; each has a projection of its own.",
    ("self.key_projection(key)", "self.query_projection(key)"),
    ("self.value_projection(value)", "self.query_projection(value)"),
)
multi_head_attention.misconception_patch(
    "one_wide_head",
    "There is only one head, as wide as the model: split into `self.num_heads`.",
    ("split_heads(self.query_projection(query), self.num_heads)", "split_heads(self.query_projection(query), 1)"),
    ("split_heads(self.key_projection(key), self.num_heads)", "split_heads(self.key_projection(key), 1)"),
    ("split_heads(self.value_projection(value), self.num_heads)", "split_heads(self.value_projection(value), 1)"),
)
multi_head_attention.misconception_patch(
    "query_and_key_swapped",
    "Query and key have changed places: the positions of `query` look, those of `key` are looked at.",
    ("scaled_dot_product_attention(q, k, v, mask)", "scaled_dot_product_attention(k, q, v, mask)"),
)
multi_head_attention.alternative_patch(
    "torch_operator",
    (
        "found, weights = scaled_dot_product_attention(q, k, v, mask)",
        "found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)\n"
        "        each = torch.eye(k.shape[2]).expand(*k.shape[:3], k.shape[2])\n"
        "        weights = F.scaled_dot_product_attention(q, k, each, attn_mask=mask)",
    ),
)
multi_head_attention.alternative_patch(
    "head_by_head",
    (
        "found, weights = scaled_dot_product_attention(q, k, v, mask)",
        "full = None if mask is None else mask.expand(q.shape[0], self.num_heads, q.shape[2], k.shape[2])\n"
        "        masks = [None if full is None else full[:, h] for h in range(self.num_heads)]\n"
        "        each = [scaled_dot_product_attention(q[:, h], k[:, h], v[:, h], masks[h])\n"
        "                for h in range(self.num_heads)]\n"
        "        found = torch.stack([output for output, _ in each], dim=1)\n"
        "        weights = torch.stack([w for _, w in each], dim=1)",
    ),
)
multi_head_attention.alternative_patch(
    "einsum_output",
    (
        "self.output_projection(merge_heads(found))",
        "F.linear(torch.cat(found.unbind(1), dim=-1), self.output_projection.weight, self.output_projection.bias)",
    ),
    (
        "def forward(self, query, key, value, mask=None):",
        "def forward(self, query, key, value, mask=None, need_weights=True):",
    ),
)


@task("permutation", asks="permutation_gap")
def permutation(student: Student, given: Given) -> Iterator[Case]:
    """0 without positions, not 0 with them."""
    T, D = 6, 8
    weights = {name: 0.5 * given.normal(D, D) for name in ("query", "key", "value")}
    positions = {**weights, "positions": given.normal(T, D)}
    blind, sighted = student.fixture("PublicAttention", weights), student.fixture("PublicAttention", positions)

    gap, right = student.permutation_gap, reference.permutation_gap
    x, order = given.normal(2, T, D), given.permutation(T)
    gaps = [float(right(PublicAttention(positions), sentence[None], order)) for sentence in x]
    if gaps[0] > gaps[1]:  # the largest difference is not to be found in the first sentence alone
        x = x.flip(0)
    yield case("without positions", gap(blind, x, order), right(PublicAttention(weights), x, order), weight=0.5)
    yield case("with positions", gap(sighted, x, order), right(PublicAttention(positions), x, order), weight=2)

    # Turning the values round turns the sign of every difference, so that one of the two is the larger below zero.
    turned = {**positions, "value": -weights["value"]}
    theirs = gap(student.fixture("PublicAttention", turned), x, order)
    yield case("values of the other sign", theirs, right(PublicAttention(turned), x, order), weight=2)

    x, order = given.normal(1, T, D), given.permutation(T)
    yield case("another order", gap(sighted, x, order), right(PublicAttention(positions), x, order))


permutation.hints(
    "Two calls of `attention`: one on the sentence as it is, one on the reordered sentence. x[:, order] reorders the "
    "positions of every sentence.",
    "In each call all three arguments are the same tensor. Reorder the output of the first call, then compare: "
    "the largest absolute difference over everything.",
)


@permutation.misconception(
    "The two outputs are brought together the wrong way round: the output of the sentence as it was has to be "
    "reordered by `order`, as the input was: output[:, order]."
)
def output_reordered_backward(attention, x, order):
    output = attention(x, x, x)[0]
    reordered = x[:, order]
    return (output[:, order.argsort()] - attention(reordered, reordered, reordered)[0]).abs().max()


@permutation.misconception(
    "Only the keys are reordered, so each key carries another word's value. Query, key and value are reordered "
    "together."
)
def keys_alone(attention, x, order):
    return (attention(x, x, x)[0][:, order] - attention(x, x[:, order], x)[0]).abs().max()


@permutation.misconception(
    "The first output is not reordered, so position by position two different words are compared."
)
def output_not_reordered(attention, x, order):
    reordered = x[:, order]
    return (attention(x, x, x)[0] - attention(reordered, reordered, reordered)[0]).abs().max()


@permutation.misconception("The differences are averaged; the largest one is asked for.")
def average_difference(attention, x, order):
    reordered = x[:, order]
    return (attention(x, x, x)[0][:, order] - attention(reordered, reordered, reordered)[0]).abs().mean()


@permutation.misconception("The largest difference is taken with its sign; large negative ones count as well: abs().")
def signed_difference(attention, x, order):
    reordered = x[:, order]
    return (attention(reordered, reordered, reordered)[0] - attention(x, x, x)[0][:, order]).max()


@permutation.misconception(
    "The query is not reordered, only what it looks at: then nothing moves at all, with or without positions."
)
def query_left_in_place(attention, x, order):
    reordered = x[:, order]
    return (attention(x, x, x)[0][:, order] - attention(x, reordered, reordered)[0]).abs().max()


@permutation.misconception(
    "`order` is applied to the first axis, which is the batch. The positions are the second: x[:, order]."
)
def reorders_the_batch(attention, x, order):
    reordered = x[order]
    return (attention(x, x, x)[0][order] - attention(reordered, reordered, reordered)[0]).abs().max()


@permutation.misconception("Only the first sentence is looked at; the largest difference is over the whole batch.")
def first_sentence_alone(attention, x, order):
    reordered = x[:, order]
    return (attention(x, x, x)[0][:, order] - attention(reordered, reordered, reordered)[0])[0].abs().max()


@permutation.misconception("The differences are squared; the absolute difference is asked for.")
def squared_difference(attention, x, order):
    reordered = x[:, order]
    return ((attention(x, x, x)[0][:, order] - attention(reordered, reordered, reordered)[0]) ** 2).max()


@permutation.misconception(
    "The weights are compared, not the outputs: the output is the first of the two things that attention returns."
)
def compares_the_weights(attention, x, order):
    reordered = x[:, order]
    return (attention(x, x, x)[1][:, order][:, :, order] - attention(reordered, reordered, reordered)[1]).abs().max()


@permutation.alternative
def index_select(attention, x, order):
    first, _ = attention(x, x, x)
    moved = x.index_select(1, order)
    second, _ = attention(moved, moved, moved)
    return (first.index_select(1, order) - second).abs().amax().item()


@permutation.alternative
def by_norm(attention, x, order):
    first = attention(query=x, key=x, value=x)[0]
    second = attention(query=x[:, order], key=x[:, order], value=x[:, order])[0]
    return torch.linalg.vector_norm(first[:, order, :] - second, ord=math.inf)


@permutation.alternative
def position_by_position(attention, x, order, verbose=False):
    before = attention(x, x, x)[0]
    after = attention(*[x[:, order]] * 3)[0]
    return max(float((before[:, j] - after[:, i]).abs().max()) for i, j in enumerate(order.tolist()))
