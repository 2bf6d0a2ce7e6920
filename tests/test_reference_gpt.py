"""The reference GPT against transformers' GPT-1 and GPT-2, and the properties that chapter 9 claims."""

import math
import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from autograder.reference.gpt import (
    GPT,
    GPT_1,
    GPT_2,
    GPTConfig,
    KeyValueCache,
    language_model_loss,
    load_published_weights,
)
from autograder.reference.rotary import RotaryPositions, rotate

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
layouts = pytest.mark.parametrize("norm_first", [False, True], ids=["gpt1", "gpt2"])
dtypes = pytest.mark.parametrize("dtype", list(TOLERANCE), ids=["float32", "float64"])
seeds = pytest.mark.parametrize("seed", range(4))


def random_config(seed: int, norm_first: bool, positions: str = "learned") -> GPTConfig:
    """Odd sizes, no two of them equal."""
    draw = random.Random(seed)
    num_heads, head_size = draw.choice([1, 2, 3, 5]), draw.choice([4, 6, 8] if positions == "rotary" else [3, 6, 7])
    return GPTConfig(
        vocab_size=draw.randint(41, 60),
        context_size=draw.randint(13, 19),
        d_model=num_heads * head_size,
        num_layers=draw.randint(1, 4),
        num_heads=num_heads,
        norm_first=norm_first,
        positions=positions,
    )


def randomize(model: nn.Module, seed: int) -> None:
    """Weights so wide that no part of the model can hide, and no norm's gain or bias left at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.3 * noise + (parameter.dim() == 1))


def random_gpt(config: GPTConfig, dtype: torch.dtype = torch.float64, seed: int = 0) -> GPT:
    model = GPT(config).to(dtype).eval()
    randomize(model, seed)
    return model


def random_ids(config: GPTConfig, B: int, T: int, seed: int = 0) -> Tensor:
    return torch.randint(config.vocab_size, (B, T), generator=torch.Generator().manual_seed(seed))


def transformers_model(config: GPTConfig, dtype: torch.dtype, seed: int, **more) -> nn.Module:
    """The same layout in transformers, with random weights."""
    kind, described = (GPT2LMHeadModel, GPT2Config) if config.norm_first else (OpenAIGPTLMHeadModel, OpenAIGPTConfig)
    model = kind(
        described(
            vocab_size=config.vocab_size,
            n_positions=config.context_size,
            n_embd=config.d_model,
            n_layer=config.num_layers,
            n_head=config.num_heads,
            **more,
        )
    )
    model.to(dtype).eval()
    randomize(model, seed)
    return model


def pair(seed: int, norm_first: bool, dtype: torch.dtype, **more) -> tuple[GPT, nn.Module]:
    """Our model and transformers' with the same random shape and weights."""
    config = random_config(seed, norm_first)
    theirs = transformers_model(config, dtype, seed, **more)
    ours = GPT(config).to(dtype).eval()
    load_published_weights(ours, theirs.state_dict())
    return ours, theirs


def assert_close(ours: Tensor, other: Tensor) -> None:
    """Equal within the tolerance of the type, relative to the largest entry where that is above 1."""
    assert ours.shape == other.shape
    scale = max(1.0, other.abs().max().item())
    assert (ours - other).abs().max().item() <= TOLERANCE[ours.dtype] * scale


def assert_gradients_close(ours: nn.Module, other: nn.Module) -> None:
    """The same of the gradients of ``ours`` and the weights of ``other``, relative to the largest of all gradients."""
    names = [name for name, _ in ours.named_parameters()]
    assert names == [name for name, _ in other.named_parameters()]
    all_ours = torch.cat([ours.get_parameter(name).grad.flatten() for name in names])
    assert_close(all_ours, torch.cat([other.get_parameter(name).flatten() for name in names]))


@layouts
@dtypes
@seeds
def test_all_hidden_states_and_logits_agree_with_transformers(seed, norm_first, dtype):
    ours, theirs = pair(seed, norm_first, dtype)
    ids = random_ids(ours.config, B=3, T=ours.config.context_size - seed, seed=seed)
    told = theirs(ids, output_hidden_states=True)
    states = ours.hidden_states(ids)
    assert len(states) == len(told.hidden_states) == ours.config.num_layers + 1
    for state, other in zip(states, told.hidden_states, strict=True):
        assert_close(state, other)
    assert_close(ours(ids), told.logits)


@layouts
@dtypes
@seeds
def test_gradients_of_all_weights_agree_with_transformers(seed, norm_first, dtype):
    ours, theirs = pair(seed, norm_first, dtype)
    ids = random_ids(ours.config, B=2, T=11, seed=seed)
    upstream = torch.randn(2, 11, ours.config.vocab_size, dtype=dtype) / 10
    ours(ids).backward(upstream)
    theirs(ids).logits.backward(upstream)
    gradients = GPT(ours.config).to(dtype)
    load_published_weights(gradients, {name: weight.grad for name, weight in theirs.named_parameters()})
    assert_gradients_close(ours, gradients)


@layouts
@dtypes
def test_attention_weights_agree_with_transformers(norm_first, dtype):
    ours, theirs = pair(5, norm_first, dtype, attn_implementation="eager")
    ids = random_ids(ours.config, B=2, T=11)
    for weights, other in zip(ours.attention_weights(ids), theirs(ids, output_attentions=True).attentions, strict=True):
        assert_close(weights, other)


@layouts
@seeds
def test_the_loss_agrees_with_transformers_with_and_without_padding(seed, norm_first):
    ours, theirs = pair(seed, norm_first, torch.float32)  # their loss is float32 whatever the logits are
    ids, lengths = random_ids(ours.config, B=3, T=9, seed=seed), torch.tensor([9, 4, 2])
    padding = torch.arange(9) >= lengths.unsqueeze(1)
    assert_close(language_model_loss(ours(ids), ids), theirs(ids, labels=ids).loss)
    labels = ids.masked_fill(padding, -100)
    assert_close(language_model_loss(ours(ids), ids, lengths), theirs(ids, labels=labels).loss)


def test_a_published_file_without_prefix_and_with_masks_loads():
    ours, theirs = pair(1, True, torch.float64)
    published = {name.removeprefix("transformer."): weight for name, weight in theirs.transformer.state_dict().items()}
    published["h.0.attn.bias"] = torch.ones(1, 1, 5, 5)
    again = GPT(ours.config).double()
    load_published_weights(again, published)
    assert all(torch.equal(again.get_parameter(name), weight) for name, weight in ours.named_parameters())


def test_a_published_file_that_lacks_a_weight_is_refused():
    ours, theirs = pair(1, True, torch.float64)
    published = dict(theirs.state_dict())
    del published["transformer.h.0.ln_2.bias"]
    with pytest.raises(RuntimeError, match=r"layers\.0\.feed_forward_norm\.bias"):
        load_published_weights(ours, published)


@pytest.mark.parametrize(("config", "count"), [(GPT_1, 116_534_784), (GPT_2, 124_439_808)], ids=["gpt1", "gpt2"])
def test_the_published_sizes_have_the_published_number_of_parameters(config, count):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in GPT(config).parameters()) == count


@layouts
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("steps", [[1] * 11, [5, 1, 1, 3, 1], [4, 7]], ids=str)
def test_reading_with_the_cache_equals_reading_all_at_once(norm_first, positions, steps):
    model = random_gpt(random_config(3, norm_first, positions))
    ids = random_ids(model.config, B=3, T=11)
    cache = model.new_cache(batch_size=3)
    with torch.no_grad():
        pieces = [model(piece, cache) for piece in ids.split(steps, dim=1)]
        assert_close(torch.cat(pieces, dim=1), model(ids))
    assert [layer.length for layer in cache] == [11] * model.config.num_layers


def test_a_cache_keeps_what_it_is_given_and_gives_it_back_without_a_copy():
    cache = KeyValueCache(batch_size=2, num_heads=3, capacity=7, head_size=5, like=torch.empty(0))
    keys, values = torch.randn(2, 3, 6, 5), torch.randn(2, 3, 6, 5)
    for piece, other in zip(keys.split([4, 1, 1], dim=2), values.split([4, 1, 1], dim=2), strict=True):
        all_keys, all_values = cache.append(piece, other)
    assert torch.equal(all_keys, keys)
    assert torch.equal(all_values, values)
    assert all_keys.data_ptr() == cache.keys.data_ptr()


@layouts
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_nothing_depends_on_what_comes_later(norm_first, positions):
    model = random_gpt(random_config(2, norm_first, positions))
    ids = random_ids(model.config, B=2, T=10)
    changed = ids.clone()
    changed[:, 6] = (changed[:, 6] + 1) % model.config.vocab_size
    before, after = model(ids), model(changed)
    assert_close(before[:, :6], after[:, :6])
    assert ((before[:, 6:] - after[:, 6:]).abs().amax(dim=-1) > 1e-6).all()


@seeds
def test_rotary_attention_agrees_with_complex_numbers(seed):
    T, head_size, base = 9, 6, 50.0
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, T, head_size, generator=generator, dtype=torch.float64)
    positions = RotaryPositions(head_size, T, base).double()
    pairs = torch.complex(x[..., : head_size // 2], x[..., head_size // 2 :])
    angles = torch.tensor([[t * base ** (-2 * i / head_size) for i in range(head_size // 2)] for t in range(T)])
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    assert (rotate(x, positions(0, T)) - torch.cat([turned.real, turned.imag], dim=-1)).abs().max() < 1e-5


def test_rotary_products_depend_on_the_distance_alone():
    query, key = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    rotation = RotaryPositions(8, 40)(0, 40)
    queries, keys = (rotate(x.expand(1, 1, 40, 8), rotation)[0, 0] for x in (query, key))
    products = queries @ keys.T
    for distance in range(30):
        assert products.diagonal(distance).std() < 1e-5
    assert products[0].std() > 0.01


def test_rotary_positions_need_an_even_head():
    with pytest.raises(ValueError, match="the head size is 7; rotary positions need an even one"):
        RotaryPositions(7, 10)


def test_a_new_model_predicts_all_tokens_alike_and_its_stream_starts_narrow():
    torch.manual_seed(0)
    config = GPTConfig(65, 64, 128, 4, 4)
    model = GPT(config)
    ids = random_ids(config, B=12, T=64)
    assert abs(language_model_loss(model(ids), ids).item() - math.log(65)) < 0.1
    spread = {name: weight.std().item() for name, weight in model.named_parameters() if weight.dim() == 2}
    for name, std in spread.items():
        added = name.endswith(("attention.output_projection.weight", "feed_forward.2.weight"))
        assert std == pytest.approx(0.02 / math.sqrt(8) if added else 0.02, rel=0.05)
    assert not any(weight.any() for name, weight in model.named_parameters() if name.endswith("bias"))


def test_the_initial_spread_is_the_one_asked_for():
    model = GPT(GPTConfig(65, 64, 128, 2, 4, norm_first=False, initial_std=0.05))
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            assert weight.std().item() == pytest.approx(0.05, rel=0.05), name


@layouts
def test_dropout_acts_in_training_alone(norm_first):
    config = GPTConfig(50, 16, 32, 2, 4, dropout=0.3, norm_first=norm_first)
    model = GPT(config)
    ids = random_ids(config, B=2, T=16)
    assert not torch.equal(model(ids), model(ids))
    model.eval()
    assert torch.equal(model(ids), model(ids))
    without = GPT(GPTConfig(50, 16, 32, 2, 4, norm_first=norm_first))
    without.load_state_dict(model.state_dict())
    assert torch.equal(model(ids), without(ids))


def test_a_few_steps_of_training_lower_the_loss():
    torch.manual_seed(0)
    config = GPTConfig(11, 12, 32, 2, 4)
    model = GPT(config)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    ids = (torch.arange(12) + torch.arange(8).unsqueeze(1)) % 11  # counting
    for _ in range(60):
        loss = language_model_loss(model(ids), ids)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2


def test_the_loss_of_certain_right_answers_is_zero_and_of_a_shift_too_many_is_not():
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    logits = 50.0 * F.one_hot(ids.roll(-1, dims=1), 7).double()
    assert language_model_loss(logits, ids) < 1e-10
    assert language_model_loss(50.0 * F.one_hot(ids, 7).double(), ids) > 10


def test_too_long_a_text_is_refused():
    model = random_gpt(random_config(0, True))
    longest = model.config.context_size
    with pytest.raises(ValueError, match=f"{longest + 1} positions do not fit into a context of {longest}"):
        model(random_ids(model.config, 1, longest + 1))
    cache = model.new_cache(1)
    with torch.no_grad():
        model(random_ids(model.config, 1, longest), cache)
        with pytest.raises(ValueError, match="shorten the text"):
            model(random_ids(model.config, 1, 1), cache)


def test_heads_that_do_not_divide_the_width_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"num_heads \(5\) must divide d_model \(24\)"):
        GPT(GPTConfig(50, 16, 24, 2, 5))
