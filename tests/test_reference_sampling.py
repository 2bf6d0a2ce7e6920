"""Sampling against transformers' logits processors and its generate, and writing with the cache."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reference_gpt import pair, random_config, random_gpt, random_ids
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from autograder.reference.gpt import GPT
from autograder.reference.sampling import generate, sample, stream, top_k_filter, top_p_filter

property_test = settings(max_examples=150, deadline=None)
seeds = st.integers(0, 2**31)


def random_logits(B: int, V: int, seed: int, ties: bool, forbidden: bool) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(B, V, generator=generator)
    if ties:
        logits = logits.round()
    if forbidden:
        logits[:, 1:][torch.rand(B, V - 1, generator=generator) < 0.3] = -math.inf
    return logits


batches = st.builds(random_logits, st.integers(1, 4), st.integers(2, 60), seeds, st.booleans(), st.booleans())


@property_test
@given(logits=batches, k=st.integers(1, 70))
def test_top_k_agrees_with_transformers(logits, k):
    assert torch.equal(top_k_filter(logits, k), TopKLogitsWarper(k)(None, logits))


@property_test
@given(logits=batches, p=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 0.9, 1.0])))
def test_top_p_agrees_with_transformers(logits, p):
    assert torch.equal(top_p_filter(logits, p), TopPLogitsWarper(p)(None, logits))


@property_test
@given(logits=batches, temperature=st.floats(0.05, 5), k=st.integers(1, 30), p=st.floats(0.05, 0.99), seed=seeds)
def test_a_draw_agrees_with_transformers_processors_in_their_order(logits, temperature, k, p, seed):
    scores = logits
    for warper in (TemperatureLogitsWarper(temperature), TopKLogitsWarper(k), TopPLogitsWarper(p)):
        scores = warper(None, scores)
    drawn = torch.multinomial(scores.softmax(dim=-1), 1, generator=torch.Generator().manual_seed(seed)).squeeze(-1)
    assert torch.equal(sample(logits, temperature, k, p, torch.Generator().manual_seed(seed)), drawn)


@property_test
@given(logits=batches, p=st.floats(0.01, 0.99))
def test_top_p_keeps_the_fewest_tokens_that_reach_p(logits, p):
    probabilities = logits.double().softmax(dim=-1)
    for row, kept in zip(probabilities, top_p_filter(logits, p) > -math.inf, strict=True):
        assert kept.any()
        assert row[kept].min() >= row[~kept].max() if (~kept).any() else True
        assert row[kept].sum() >= p - 1e-5
        assert row[kept].sum() - row[kept].min() <= p + 1e-5


def test_the_filters_leave_their_input_alone():
    logits = torch.randn(2, 9)
    before = logits.clone()
    top_k_filter(logits, 2)
    top_p_filter(logits, 0.5)
    sample(logits, 0.5, 3, 0.5)
    assert torch.equal(logits, before)


def test_top_k_keeps_all_that_equals_the_last_kept():
    kept = top_k_filter(torch.tensor([[1.0, 3.0, 2.0, 2.0, 0.0]]), 2) > -math.inf
    assert kept.tolist() == [[False, True, True, True, False]]


def test_top_p_of_zero_keeps_the_likeliest():
    assert (top_p_filter(torch.tensor([[1.0, 3.0, 2.0]]), 0.0) > -math.inf).tolist() == [[False, True, False]]


def test_draws_come_as_often_as_their_probability():
    probabilities = torch.tensor([0.4, 0.3, 0.2, 0.07, 0.03])
    draws = 40_000
    drawn = sample(probabilities.log().expand(draws, 5), generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=5) / draws
    allowed = math.sqrt(math.log(2 * 5 / 1e-6) / (2 * draws))  # Hoeffding, for five shares at once
    assert (shares - probabilities).abs().max() < allowed


def test_temperature_zero_takes_the_likeliest_and_a_small_one_almost_always():
    logits = torch.tensor([[0.1, 0.2, 0.15], [5.0, 1.0, 1.0]])
    assert sample(logits, temperature=0).tolist() == [1, 0]
    assert sample(logits, temperature=1e-6).tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature is"):
        sample(torch.zeros(1, 3), temperature)


@pytest.mark.parametrize(
    ("k", "p", "message"), [(0, None, "top_k is 0"), (None, 1.5, "top_p is 1.5"), (None, math.nan, "top_p is nan")]
)
def test_a_filter_out_of_range_is_refused(k, p, message):
    with pytest.raises(ValueError, match=message):
        sample(torch.zeros(1, 3), 1.0, k, p)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("norm_first", [False, True], ids=["gpt1", "gpt2"])
@pytest.mark.parametrize(
    "how", [{"temperature": 0.0}, {"temperature": 0.7, "top_k": 9, "top_p": 0.8}], ids=["greedy", "sampled"]
)
def test_generate_agrees_with_transformers(seed, norm_first, how):
    ours, theirs = pair(seed, norm_first, torch.float64)
    prompt = random_ids(ours.config, B=3, T=4, seed=seed)
    sampled = how["temperature"] > 0
    asked = {"do_sample": True, **how} if sampled else {"do_sample": False}
    torch.manual_seed(seed)
    written = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=9,
        eos_token_id=None,
        pad_token_id=0,
        **asked,
    )
    torch.manual_seed(seed)
    assert torch.equal(generate(ours, prompt, 9, **how), written)


def recomputed(model: GPT, prompt: Tensor, max_new_tokens: int, **how) -> Tensor:
    """Without a cache: read the latest window anew before each token."""
    ids = prompt
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(ids[:, -model.config.context_size :])[:, -1]
        ids = torch.cat([ids, sample(logits, **how).unsqueeze(1)], dim=1)
    return ids


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("length", [1, 5, 13, 30])
def test_writing_with_the_cache_equals_reading_all_anew_also_past_the_context(positions, length):
    model = random_gpt(random_config(7, True, positions))
    assert model.config.context_size < 30
    prompt = random_ids(model.config, B=2, T=length)
    ours = generate(model, prompt, 25, 0.9, top_k=20, generator=torch.Generator().manual_seed(4))
    naive = recomputed(model, prompt, 25, temperature=0.9, top_k=20, generator=torch.Generator().manual_seed(4))
    assert torch.equal(ours, naive)


def test_the_same_seed_writes_the_same_and_another_does_not():
    model = random_gpt(random_config(1, True))
    prompt = random_ids(model.config, B=2, T=3)
    state = torch.get_rng_state()
    one, same, other = (
        generate(model, prompt, 10, 2.0, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_behind_a_stop_a_row_holds_nothing_else_and_writing_ends_when_all_have_stopped():
    model = random_gpt(random_config(1, True))
    prompt = random_ids(model.config, B=4, T=3)
    free = generate(model, prompt, 12, 3.0, generator=torch.Generator().manual_seed(0))
    stop = int(free[0, 5])
    written = generate(model, prompt, 200, 3.0, stop=stop, generator=torch.Generator().manual_seed(0))
    assert written.size(1) < 203
    for row in written[:, 3:].tolist():
        first = row.index(stop)
        assert set(row[first:]) == {stop}
    assert torch.equal(written[0, :6], free[0, :6])
    assert torch.equal(written[:, :3], prompt)


def test_a_stream_gives_each_token_before_it_computes_the_next(monkeypatch):
    model = random_gpt(random_config(1, True))
    prompt = random_ids(model.config, B=2, T=3)
    reads = []
    original = model.hidden_states
    monkeypatch.setattr(model, "hidden_states", lambda *args: reads.append(args[0].shape[1]) or original(*args))
    tokens = stream(model, prompt, 5, temperature=0)
    first = next(tokens)
    assert reads == [3]
    rest = list(tokens)
    assert reads == [3, 1, 1, 1, 1]
    assert torch.equal(torch.stack([first, *rest], dim=1), generate(model, prompt, 5, temperature=0)[:, 3:])


def test_writing_switches_dropout_off_and_back_on_even_when_broken_off():
    model = random_gpt(random_config(1, True)).train()
    tokens = stream(model, random_ids(model.config, 1, 3), 5)
    next(tokens)
    assert not model.training
    tokens.close()
    assert model.training
    generate(model.eval(), random_ids(model.config, 1, 3), 2)
    assert not model.training


def test_no_new_tokens_give_the_prompt_back():
    model = random_gpt(random_config(1, True))
    prompt = random_ids(model.config, 2, 3)
    assert torch.equal(generate(model, prompt, 0), prompt)


@pytest.mark.parametrize("shape", [(3,), (2, 0), (0, 3), (1, 2, 3)], ids=str)
def test_a_prompt_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="the prompt has the shape"):
        generate(random_gpt(random_config(1, True)), torch.zeros(shape, dtype=torch.long), 3)
