"""The reference attention against torch's own operators, plain loops and the properties that the chapter claims."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.attention import (
    AdditiveAttention,
    MultiHeadAttention,
    causal_mask,
    merge_heads,
    padding_mask,
    permutation_gap,
    scaled_dot_product_attention,
    split_heads,
)

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
dtypes = st.sampled_from(list(TOLERANCE))
sizes = st.integers(1, 7)
seeds = st.integers(0, 2**31)
property_test = settings(max_examples=60, deadline=None)


def normal(*shape: int, seed: int, dtype: torch.dtype, requires_grad: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_(requires_grad)


def random_mask(*shape: int, seed: int) -> Tensor:
    """True in about half of the places; every row of the last axis may look somewhere."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(*shape, generator=generator) < 0.5
    return mask | nn.functional.one_hot(torch.randint(shape[-1], shape[:-1], generator=generator), shape[-1]).bool()


def assert_close(ours: Tensor, other: Tensor) -> None:
    """Equal within the tolerance of the type, relative to the largest entry where that is above 1."""
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


def same_weights(ours: MultiHeadAttention, torchs: nn.MultiheadAttention) -> None:
    roles = [ours.query_projection, ours.key_projection, ours.value_projection]
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([role.weight for role in roles]))
        torchs.in_proj_bias.copy_(torch.cat([role.bias for role in roles]))
        torchs.out_proj.load_state_dict(ours.output_projection.state_dict())


@property_test
@given(B=sizes, H=sizes, T=sizes, S=sizes, D=sizes, E=sizes, masked=st.booleans(), dtype=dtypes, seed=seeds)
def test_dot_product_agrees_with_torch_in_output_and_gradients(B, H, T, S, D, E, masked, dtype, seed):
    q = normal(B, H, T, D, seed=seed, dtype=dtype, requires_grad=True)
    k = normal(B, H, S, D, seed=seed + 1, dtype=dtype, requires_grad=True)
    v = normal(B, H, S, E, seed=seed + 2, dtype=dtype, requires_grad=True)
    mask = random_mask(B, 1, T, S, seed=seed) if masked else None
    upstream = normal(B, H, T, E, seed=seed + 3, dtype=dtype)

    ours, weights = scaled_dot_product_attention(q, k, v, mask)
    torchs = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert_close(ours, torchs)
    assert_close(weights.sum(dim=-1), torch.ones(B, H, T, dtype=dtype))
    ours_gradients = torch.autograd.grad(ours, [q, k, v], upstream)
    for ours_gradient, torchs_gradient in zip(
        ours_gradients, torch.autograd.grad(torchs, [q, k, v], upstream), strict=True
    ):
        assert_close(ours_gradient, torchs_gradient)


@property_test
@given(
    B=sizes,
    H=st.sampled_from([1, 2, 3]),
    T=sizes,
    S=sizes,
    head_size=st.integers(1, 5),
    masked=st.booleans(),
    dtype=dtypes,
    seed=seeds,
)
def test_multi_head_attention_agrees_with_torch_in_output_weights_and_gradients(
    B, H, T, S, head_size, masked, dtype, seed
):
    torch.manual_seed(seed)
    D = H * head_size
    ours = MultiHeadAttention(D, H).to(dtype)
    torchs = nn.MultiheadAttention(D, H, batch_first=True, dtype=dtype)
    same_weights(ours, torchs)
    q, k, v = (
        normal(B, length, D, seed=seed + i, dtype=dtype, requires_grad=True) for i, length in enumerate([T, S, S])
    )
    mask = random_mask(B, H, T, S, seed=seed) if masked else None
    forbidden = None if mask is None else ~mask.reshape(B * H, T, S)
    upstream = normal(B, T, D, seed=seed + 3, dtype=dtype)

    output, weights = ours(q, k, v, mask)
    torchs_output, torchs_weights = torchs(q, k, v, attn_mask=forbidden, average_attn_weights=False)
    assert_close(output, torchs_output)
    assert_close(weights, torchs_weights)

    roles = [ours.query_projection, ours.key_projection, ours.value_projection]
    parameters = [
        *(role.weight for role in roles),
        *(role.bias for role in roles),
        *ours.output_projection.parameters(),
    ]
    gradients = torch.autograd.grad(output, [q, k, v, *parameters], upstream)
    torchs_parameters = [torchs.in_proj_weight, torchs.in_proj_bias, *torchs.out_proj.parameters()]
    torchs_gradients = torch.autograd.grad(torchs_output, [q, k, v, *torchs_parameters], upstream)
    joined = [*gradients[:3], torch.cat(gradients[3:6]), torch.cat(gradients[6:9]), *gradients[9:]]
    for gradient, torchs_gradient in zip(joined, torchs_gradients, strict=True):
        assert_close(gradient, torchs_gradient)


@property_test
@given(B=sizes, S=sizes, Q=sizes, K=sizes, hidden=sizes, seed=seeds)
def test_additive_attention_agrees_with_a_plain_loop(B, S, Q, K, hidden, seed):
    torch.manual_seed(seed)
    attention = AdditiveAttention(Q, K, hidden).double()
    query, keys = normal(B, Q, seed=seed, dtype=torch.float64), normal(B, S, K, seed=seed + 1, dtype=torch.float64)
    W, U, v = (
        p.tolist() for p in (attention.query_projection.weight, attention.key_projection.weight, attention.score.weight)
    )

    def score(s, h):
        inside = [
            sum(a * b for a, b in zip(W[i], s, strict=True)) + sum(a * b for a, b in zip(U[i], h, strict=True))
            for i in range(hidden)
        ]
        return sum(v[0][i] * math.tanh(inside[i]) for i in range(hidden))

    loop = torch.tensor(
        [[score(query[b].tolist(), keys[b, i].tolist()) for i in range(S)] for b in range(B)], dtype=torch.float64
    )
    assert_close(attention(query, keys), loop)


@property_test
@given(B=sizes, T=sizes, S=sizes, D=sizes, dtype=dtypes, seed=seeds)
def test_a_row_that_may_look_nowhere_gives_zeros_and_finite_gradients(B, T, S, D, dtype, seed):
    q, k, v = (
        normal(B, length, D, seed=seed + i, dtype=dtype, requires_grad=True) for i, length in enumerate([T, S, S])
    )
    mask = random_mask(B, T, S, seed=seed)
    mask[:, -1] = False
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    assert not output[:, -1].any()
    assert not weights[:, -1].any()
    for gradient in torch.autograd.grad(output.square().sum(), [q, k, v]):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("poison", [1e30, math.nan, math.inf])
def test_a_forbidden_key_has_weight_exactly_zero_and_its_content_changes_nothing(poison):
    q, k, v = (normal(2, 5, 4, seed=i, dtype=torch.float64) for i in range(3))
    mask = torch.ones(5, 5, dtype=torch.bool)
    mask[:, 2] = False
    before, weights = scaled_dot_product_attention(q, k, v, mask)
    assert not weights[..., 2].any()
    k[:, 2] = poison
    assert torch.equal(scaled_dot_product_attention(q, k, v, mask)[0], before)


def test_without_the_scale_the_result_would_differ():
    q, k, v = (normal(1, 5, 64, seed=i, dtype=torch.float64) for i in range(3))
    unscaled = (q @ k.transpose(-2, -1)).softmax(dim=-1) @ v
    assert (scaled_dot_product_attention(q, k, v)[0] - unscaled).abs().max() > 0.1


@property_test
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), extra=st.integers(0, 3))
def test_padding_mask_allows_the_words_of_each_sentence_and_no_others(lengths, extra):
    T = max(lengths) + extra
    mask = padding_mask(torch.tensor(lengths), T)
    assert mask.shape == (len(lengths), 1, 1, T)
    assert mask.dtype == torch.bool
    assert mask[:, 0, 0].tolist() == [[position < length for position in range(T)] for length in lengths]


@property_test
@given(T=st.integers(1, 12))
def test_causal_mask_allows_a_position_itself_and_those_before_it(T):
    mask = causal_mask(T)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[s <= t for s in range(T)] for t in range(T)]


@property_test
@given(T=st.integers(2, 7), seed=seeds)
def test_with_a_causal_mask_nothing_depends_on_what_comes_later(T, seed):
    torch.manual_seed(seed)
    attention = MultiHeadAttention(6, 2).double()
    x = normal(1, T, 6, seed=seed, dtype=torch.float64)
    changed = x.clone()
    changed[:, -1] += 1.0
    before, after = attention(x, x, x, causal_mask(T))[0], attention(changed, changed, changed, causal_mask(T))[0]
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


@property_test
@given(B=sizes, T=sizes, H=sizes, head_size=sizes, seed=seeds)
def test_split_heads_takes_slices_and_merge_heads_undoes_it(B, T, H, head_size, seed):
    x = normal(B, T, H * head_size, seed=seed, dtype=torch.float32)
    heads = split_heads(x, H)
    assert heads.shape == (B, H, T, head_size)
    for h in range(H):
        assert torch.equal(heads[:, h], x[..., h * head_size : (h + 1) * head_size])
    assert torch.equal(merge_heads(heads), x)


@property_test
@given(T=st.integers(2, 8), seed=seeds)
def test_permutation_gap_is_zero_without_positions_and_not_with_them(T, seed):
    torch.manual_seed(seed)
    attention = MultiHeadAttention(8, 2).double()
    x, places = (normal(2, T, 8, seed=seed + i, dtype=torch.float64) for i in range(2))
    order = torch.roll(torch.arange(T), 1)
    assert permutation_gap(attention, x, order) < 1e-12
    assert permutation_gap(lambda q, k, v: attention(q + places, k + places, v + places), x, order) > 1e-3
    assert permutation_gap(lambda q, k, v: attention(q, k, v, causal_mask(T)), x, order) > 1e-6


def test_the_number_of_heads_does_not_change_the_number_of_parameters():
    assert {sum(p.numel() for p in MultiHeadAttention(24, heads).parameters()) for heads in (1, 2, 4, 8)} == {
        4 * (24**2 + 24)
    }


def test_heads_that_do_not_divide_the_width_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"num_heads \(5\) must divide d_model \(24\)"):
        MultiHeadAttention(24, 5)


@pytest.mark.parametrize("wrong", ["query", "key", "value"])
def test_a_wrong_width_is_refused_by_name(wrong):
    inputs = {name: torch.zeros(1, 3, 9 if name == wrong else 8) for name in ("query", "key", "value")}
    with pytest.raises(ValueError, match=f"last axis of {wrong} is 9; it must be d_model = 8"):
        MultiHeadAttention(8, 2)(**inputs)
