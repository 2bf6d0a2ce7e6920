"""The reference Transformer and its layers against torch.nn's, in outputs and gradients."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.attention import MultiHeadAttention, causal_mask, padding_mask
from autograder.reference.rotary import RotaryPositions, rotate
from autograder.reference.transformer import (
    DecoderLayer,
    Transformer,
    TransformerConfig,
    label_smoothing_loss,
    noam_rate,
    sinusoidal_positions,
)
from autograder.reference.transformer_layer import Attention, EncoderLayer, FeedForward, attention_weights

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
norms = pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
seeds = st.integers(0, 2**31)
property_test = settings(max_examples=40, deadline=None)

CONFIGS = [
    TransformerConfig(31, 12, 2, 3, 20, dropout=0.0, max_length=17),
    TransformerConfig(67, 40, 3, 5, 33, dropout=0.0, max_length=29),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"d{config.d_model}")


def normal(*shape: int, seed: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def randomize(model: nn.Module, dtype: torch.dtype, seed: int) -> nn.Module:
    """Every parameter different from its neighbor, biases and norms too."""
    generator = torch.Generator().manual_seed(seed)
    model.to(dtype).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(around + 0.2 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model


def assert_close(ours: Tensor, other: Tensor) -> None:
    """Equal within the tolerance of the type, relative to the largest entry where that is above 1."""
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


TORCH_NAMES = {
    "encoder": {
        "attention.output_projection": "self_attn.out_proj",
        "attention_norm": "norm1",
        "feed_forward.expand": "linear1",
        "feed_forward.contract": "linear2",
        "feed_forward_norm": "norm2",
    },
    "decoder": {
        "self_attention.output_projection": "self_attn.out_proj",
        "self_attention_norm": "norm1",
        "cross_attention.output_projection": "multihead_attn.out_proj",
        "cross_attention_norm": "norm2",
        "feed_forward.expand": "linear1",
        "feed_forward.contract": "linear2",
        "feed_forward_norm": "norm3",
    },
}


def torch_parts(ours: nn.Module, theirs: nn.Module, kind: str) -> list[tuple[list[nn.Parameter], nn.Parameter]]:
    """What makes up each parameter of a layer of torch's, out of a layer of ours."""
    parts = []
    attentions = {"self_attn": "attention" if kind == "encoder" else "self_attention"}
    if kind == "decoder":
        attentions["multihead_attn"] = "cross_attention"
    for their_name, our_name in attentions.items():
        for end in ("weight", "bias"):
            roles = [ours.get_parameter(f"{our_name}.{role}_projection.{end}") for role in ("query", "key", "value")]
            parts.append((roles, theirs.get_parameter(f"{their_name}.in_proj_{end}")))
    for our_name, their_name in TORCH_NAMES[kind].items():
        for end in ("weight", "bias"):
            parts.append(([ours.get_parameter(f"{our_name}.{end}")], theirs.get_parameter(f"{their_name}.{end}")))
    assert len(parts) == len(list(theirs.parameters()))
    return parts


def copy_to_torch(parts: list[tuple[list[nn.Parameter], nn.Parameter]]) -> None:
    with torch.no_grad():
        for ours, theirs in parts:
            theirs.copy_(torch.cat(ours))


def assert_same_gradients(
    parts: list[tuple[list[nn.Parameter], nn.Parameter]], our_loss: Tensor, their_loss: Tensor
) -> None:
    flat = [parameter for ours, _ in parts for parameter in ours]
    our_gradients = iter(torch.autograd.grad(our_loss, flat))
    their_gradients = torch.autograd.grad(their_loss, [theirs for _, theirs in parts])
    assert max(gradient.abs().max().item() for gradient in their_gradients) > 1e-3
    for (ours, _), their_gradient in zip(parts, their_gradients, strict=True):
        assert_close(torch.cat([next(our_gradients) for _ in ours]), their_gradient)


@dtypes
@norms
@pytest.mark.parametrize("activation", [F.relu, F.gelu])
def test_an_encoder_layer_agrees_with_torch(norm_first, activation, dtype):
    B, T, D, H = 3, 7, 20, 5
    ours = randomize(EncoderLayer(D, H, 34, 0.0, norm_first, activation, 1e-6), dtype, seed=1)
    theirs = nn.TransformerEncoderLayer(
        D, H, 34, 0.0, activation, 1e-6, batch_first=True, norm_first=norm_first, dtype=dtype
    )
    parts = torch_parts(ours, theirs, "encoder")
    copy_to_torch(parts)
    x = normal(B, T, D, seed=2, dtype=dtype)
    allowed = padding_mask(torch.tensor([7, 3, 1]), T)
    for mask in (None, allowed, causal_mask(T), allowed & causal_mask(T)):
        if mask is None:
            other = theirs(x)
        else:
            forbidden = ~mask.expand(B, H, T, T)
            other = theirs(x, src_mask=forbidden.flatten(0, 1))
        assert_close(ours(x, mask), other)
        assert_same_gradients(parts, ours(x, mask).pow(3).sum(), other.pow(3).sum())


@dtypes
@norms
def test_a_decoder_layer_agrees_with_torch(norm_first, dtype):
    B, T, S, D, H = 3, 6, 8, 12, 3
    ours = randomize(DecoderLayer(D, H, 22, 0.0, norm_first), dtype, seed=3)
    theirs = nn.TransformerDecoderLayer(D, H, 22, 0.0, batch_first=True, norm_first=norm_first, dtype=dtype)
    parts = torch_parts(ours, theirs, "decoder")
    copy_to_torch(parts)
    x, memory = normal(B, T, D, seed=4, dtype=dtype), normal(B, S, D, seed=5, dtype=dtype)
    mask = padding_mask(torch.tensor([8, 2, 5]), S)
    our_output = ours(x, memory, mask)
    their_output = theirs(x, memory, tgt_mask=~causal_mask(T), memory_key_padding_mask=~mask[:, 0, 0])
    assert_close(our_output, their_output)
    assert_same_gradients(parts, our_output.pow(3).sum(), their_output.pow(3).sum())


def torch_transformer(config: TransformerConfig, dtype: torch.dtype) -> nn.Transformer:
    """torch's, which by itself puts a norm after each stack; in the published layout there is none."""
    theirs = nn.Transformer(
        config.d_model,
        config.num_heads,
        config.num_layers,
        config.num_layers,
        config.d_ff,
        0.0,
        batch_first=True,
        norm_first=config.norm_first,
        dtype=dtype,
    )
    if not config.norm_first:
        theirs.encoder.norm = theirs.decoder.norm = None
    return theirs


@dtypes
@norms
@configs
def test_the_whole_model_agrees_with_torch(config, norm_first, dtype):
    config = replace(config, norm_first=norm_first)
    ours = randomize(Transformer(config), dtype, seed=6)
    theirs = torch_transformer(config, dtype)
    parts = []
    for kind, our_layers, their_stack in (
        ("encoder", ours.encoder_layers, theirs.encoder),
        ("decoder", ours.decoder_layers, theirs.decoder),
    ):
        for our_layer, their_layer in zip(our_layers, their_stack.layers, strict=True):
            parts += torch_parts(our_layer, their_layer, kind)
        if norm_first:
            our_norm = ours.get_submodule(f"{kind}_norm")
            parts += [([our_norm.weight], their_stack.norm.weight), ([our_norm.bias], their_stack.norm.bias)]
    assert len(parts) == len(list(theirs.parameters()))
    copy_to_torch(parts)

    generator = torch.Generator().manual_seed(7)
    source = torch.randint(3, config.vocab_size, (4, 13), generator=generator)
    target = torch.randint(3, config.vocab_size, (4, 9), generator=generator)
    for b, length in enumerate([13, 4, 1, 9]):
        source[b, length:] = config.padding_id
    weight = ours.embedding.weight
    root = math.sqrt(config.d_model)
    places = sinusoidal_positions(config.max_length, config.d_model).to(dtype)

    our_logits = ours(source, target)
    out = theirs(
        weight[source] * root + places[:13],
        weight[target] * root + places[:9],
        tgt_mask=~causal_mask(9),
        src_key_padding_mask=source == 0,
        memory_key_padding_mask=source == 0,
    )
    their_logits = out @ weight.T
    assert_close(our_logits, their_logits)
    upstream = normal(*our_logits.shape, seed=8, dtype=dtype)
    our_loss, their_loss = (our_logits * upstream).mean(), (their_logits * upstream).mean()
    assert_close(*(torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (our_loss, their_loss)))
    assert_same_gradients(parts, our_loss, their_loss)


@dtypes
@property_test
@given(
    B=st.integers(1, 4), T=st.integers(1, 6), S=st.integers(1, 6), H=st.integers(1, 3), masked=st.booleans(), seed=seeds
)
def test_fast_attention_agrees_with_the_attention_of_the_chapter(dtype, B, T, S, H, masked, seed):
    torch.manual_seed(seed)
    D = 4 * H
    plain = MultiHeadAttention(D, H).to(dtype)
    fast = Attention(D, H).to(dtype)
    fast.load_state_dict(plain.state_dict())
    x, memory = normal(B, T, D, seed=seed, dtype=dtype), normal(B, S, D, seed=seed + 1, dtype=dtype)
    # some rows may look nowhere
    mask = torch.rand(B, H, T, S, generator=torch.Generator().manual_seed(seed)) < 0.5 if masked else None
    upstream = normal(B, T, D, seed=seed + 2, dtype=dtype)

    expected, expected_weights = plain(x, memory, memory, mask)
    output = fast(x, memory, mask)
    assert_close(output, expected)
    with attention_weights(fast) as weights:
        assert_close(fast(x, memory, mask), expected)
    assert_close(weights[0], expected_weights)
    assert len(weights) == 1
    expected_gradients = torch.autograd.grad(expected, list(plain.parameters()), upstream)
    for gradient, expected_gradient in zip(
        torch.autograd.grad(output, list(fast.parameters()), upstream), expected_gradients, strict=True
    ):
        assert_close(gradient, expected_gradient)


def test_weights_are_collected_only_while_they_are_asked_for():
    model = randomize(Transformer(CONFIGS[0]), torch.float32, seed=9)
    source, target = torch.full((2, 5), 7), torch.full((2, 4), 8)
    with attention_weights(model) as weights:
        model(source, target)
    model(source, target)
    assert [tuple(w.shape) for w in weights] == [(2, 3, 5, 5)] * 2 + [(2, 3, 4, 4), (2, 3, 4, 5)] * 2
    for each in weights:
        assert_close(each.sum(dim=-1), torch.ones(each.shape[:-1]))


@norms
def test_a_source_of_nothing_but_padding_gives_no_nan(norm_first):
    config = replace(CONFIGS[0], norm_first=norm_first)
    model = randomize(Transformer(config), torch.float32, seed=10)
    source, target = torch.tensor([[5, 6, 7], [0, 0, 0]]), torch.tensor([[1, 5], [1, 6]])
    logits = model(source, target)
    assert logits.isfinite().all()
    for gradient in torch.autograd.grad(logits.square().sum(), list(model.parameters())):
        assert gradient.isfinite().all()
    assert_close(logits[:1], model(source[:1], target[:1]))


@norms
def test_the_decoder_does_not_see_what_comes_later(norm_first):
    model = randomize(Transformer(replace(CONFIGS[0], norm_first=norm_first)), torch.float64, seed=11)
    source, target = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[1, 9, 10, 11]])
    changed = torch.tensor([[1, 9, 10, 12]])
    before, after = model(source, target), model(source, changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


def test_padding_behind_the_source_changes_nothing():
    model = randomize(Transformer(CONFIGS[1]), torch.float64, seed=12)
    source, target = torch.tensor([[5, 6, 7]]), torch.tensor([[1, 9, 10]])
    assert_close(model(F.pad(source, (0, 4)), target), model(source, target))


@pytest.mark.parametrize(("length", "d_model"), [(1, 2), (5, 4), (50, 14)])
def test_sinusoidal_positions_are_those_of_the_paper(length, d_model):
    positions = sinusoidal_positions(length, d_model)
    assert positions.shape == (length, d_model)
    for t in range(length):
        for i in range(d_model // 2):
            angle = t / 10_000 ** (2 * i / d_model)
            assert positions[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert positions[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.4])
def test_label_smoothing_agrees_with_torch(epsilon):
    logits = normal(4, 6, 11, seed=13, dtype=torch.float64).requires_grad_()
    targets = torch.randint(1, 11, (4, 6), generator=torch.Generator().manual_seed(14))
    targets[1, 3:] = targets[2, 1:] = 0
    ours = label_smoothing_loss(logits, targets, epsilon, ignore_index=0)
    theirs = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0, label_smoothing=epsilon)
    assert_close(ours, theirs)
    assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)))
    assert label_smoothing_loss(logits, torch.zeros_like(targets), epsilon, ignore_index=0) == 0


def test_the_learning_rate_climbs_for_the_warmup_and_falls_with_the_root_of_the_step():
    rates = [noam_rate(step, 512, 4000) for step in range(1, 16_001)]
    assert max(rates) == rates[3999] == pytest.approx((512 * 4000) ** -0.5)
    assert rates[999] == pytest.approx(rates[3999] / 4)
    assert rates[15_999] == pytest.approx(rates[3999] / 2)
    with pytest.raises(ValueError, match="the first step is 1"):
        noam_rate(0, 512, 4000)


def test_rotating_agrees_with_multiplication_of_complex_numbers():
    T, head_size = 9, 6
    x = normal(2, 3, T, head_size, seed=15, dtype=torch.float64)
    rotation = RotaryPositions(head_size, T + 2).double()(2, T)
    angles = torch.arange(2, T + 2)[:, None] * 10_000.0 ** (-torch.arange(0, head_size, 2) / head_size)
    turned = torch.complex(x[..., :3], x[..., 3:]) * torch.polar(torch.ones(()), angles)
    assert (rotate(x, rotation) - torch.cat([turned.real, turned.imag], dim=-1)).abs().max() < 1e-5


def test_rotated_products_depend_on_the_distance_alone():
    rotary = RotaryPositions(8, 100)
    q, k = normal(2, 1, 1, 1, 8, seed=16, dtype=torch.float32)
    products = [
        (rotate(q, rotary(place + 7, 1)) * rotate(k, rotary(place, 1))).sum().item() for place in (0, 1, 40, 92)
    ]
    assert products == pytest.approx([products[0]] * 4, abs=1e-5)
    other = (rotate(q, rotary(8, 1)) * rotate(k, rotary(0, 1))).sum().item()
    assert abs(other - products[0]) > 1e-3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Attention(10, 3), r"num_heads \(3\) must divide d_model \(10\)"),
        (lambda: sinusoidal_positions(4, 5), "d_model is 5; it must be even"),
        (lambda: RotaryPositions(5, 4), "the head size is 5; rotary positions need an even one"),
        (lambda: Transformer(CONFIGS[0]).encode(torch.ones(1, 18, dtype=torch.long)), "more than max_length = 17"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_feed_forward_treats_every_position_alike():
    network = FeedForward(6, 10).double()
    x = normal(2, 5, 6, seed=17, dtype=torch.float64)
    assert_close(network(x)[:, 3], network(x[:, 3:4])[:, 0])
    by_hand = (x @ network.expand.weight.T + network.expand.bias).clamp(min=0)
    assert_close(network(x), by_hand @ network.contract.weight.T + network.contract.bias)


def test_in_training_dropout_falls_on_weights_and_branches():
    torch.manual_seed(18)
    layer = EncoderLayer(8, 2, 16, dropout=0.5)
    x = normal(1, 4, 8, seed=19, dtype=torch.float32)
    assert not torch.equal(layer(x), layer(x))
    attention = layer.attention
    assert not torch.equal(attention(x), attention(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
