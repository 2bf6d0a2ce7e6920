"""The modern decoder against transformers' Llama, and the published SmolLM2 in it."""

import random
import struct

import pytest
import torch
from test_reference_gguf import text
from test_reference_gpt import assert_close, assert_gradients_close, random_ids, randomize
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from autograder.reference.gguf import GGUFError
from autograder.reference.modern_decoder import (
    ModernDecoder,
    ModernDecoderConfig,
    RMSNorm,
    halves_from_neighbors,
    load_gguf,
    load_published_weights,
)
from autograder.reference.sampling import generate

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
seeds = pytest.mark.parametrize("seed", range(4))


def random_config(seed: int) -> ModernDecoderConfig:
    """Odd sizes, no two of them equal; heads of keys and values shared by 1, 2, 3 or 5 query heads."""
    draw = random.Random(seed)
    num_key_value_heads, shared, head_size = draw.choice([1, 2, 3]), [1, 2, 3, 5][seed % 4], draw.choice([4, 6, 8])
    num_heads = num_key_value_heads * shared
    return ModernDecoderConfig(
        vocab_size=draw.randint(41, 60),
        context_size=draw.randint(13, 19),
        d_model=num_heads * head_size,
        feed_forward_size=draw.randint(61, 80),
        num_layers=draw.randint(1, 4),
        num_heads=num_heads,
        num_key_value_heads=num_key_value_heads,
        rotary_base=draw.choice([10_000.0, 500.0]),
        norm_epsilon=draw.choice([1e-6, 1e-3]),
    )


def llama(config: ModernDecoderConfig, **more) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            intermediate_size=config.feed_forward_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            num_key_value_heads=config.num_key_value_heads,
            max_position_embeddings=config.context_size,
            rms_norm_eps=config.norm_epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": config.rotary_base},
            tie_word_embeddings=True,
            **more,
        )
    )


def pair(seed: int, dtype: torch.dtype, **more) -> tuple[ModernDecoder, LlamaForCausalLM]:
    """Our model and transformers' with the same random shape and weights."""
    config = random_config(seed)
    theirs = llama(config, **more).to(dtype).eval()
    if dtype == torch.float64:
        compute_norms_in_their_own_type(theirs)
    randomize(theirs, seed)
    ours = ModernDecoder(config).to(dtype).eval()
    load_published_weights(ours, theirs.state_dict())
    return ours, theirs


def compute_norms_in_their_own_type(model: LlamaForCausalLM) -> None:
    """Transformers' norm computes in float32 whatever comes in: put torch's own in its place."""
    D, epsilon = model.config.hidden_size, model.config.rms_norm_eps
    for layer in model.model.layers:
        layer.input_layernorm = nn.RMSNorm(D, epsilon, dtype=torch.float64)
        layer.post_attention_layernorm = nn.RMSNorm(D, epsilon, dtype=torch.float64)
    model.model.norm = nn.RMSNorm(D, epsilon, dtype=torch.float64)


@dtypes
@seeds
def test_all_hidden_states_and_logits_agree_with_transformers(seed, dtype):
    ours, theirs = pair(seed, dtype)
    ids = random_ids(ours.config, B=3, T=ours.config.context_size - seed, seed=seed)
    told = theirs(ids, output_hidden_states=True)
    states = ours.hidden_states(ids)
    assert len(states) == len(told.hidden_states) == ours.config.num_layers + 1
    for state, other in zip(states, told.hidden_states, strict=True):
        assert_close(state, other)
    assert_close(ours(ids), told.logits)


@dtypes
@seeds
def test_gradients_of_all_weights_agree_with_transformers(seed, dtype):
    ours, theirs = pair(seed, dtype)
    ids = random_ids(ours.config, B=2, T=11, seed=seed)
    upstream = torch.randn(2, 11, ours.config.vocab_size, dtype=dtype) / 10
    ours(ids).backward(upstream)
    theirs(ids).logits.backward(upstream)
    gradients = ModernDecoder(ours.config).to(dtype)
    load_published_weights(gradients, {name: weight.grad for name, weight in theirs.named_parameters()})
    assert_gradients_close(ours, gradients)


def test_attention_weights_agree_with_transformers():
    ours, theirs = pair(2, torch.float32, attn_implementation="eager")  # their softmax is always float32
    ids = random_ids(ours.config, B=2, T=11)
    for weights, other in zip(ours.attention_weights(ids), theirs(ids, output_attentions=True).attentions, strict=True):
        assert_close(weights, other)


@pytest.mark.parametrize("epsilon", [1e-6, 0.5])
def test_the_norm_agrees_with_its_formula_and_its_gain_counts(epsilon):
    norm, x = RMSNorm(7, epsilon).double(), torch.randn(3, 5, 7, dtype=torch.float64)
    randomize(norm, 0)
    assert_close(norm(x), x / (x.square().mean(dim=-1, keepdim=True) + epsilon).sqrt() * norm.weight)


@seeds
@pytest.mark.parametrize("steps", [[1] * 11, [5, 1, 1, 3, 1], [4, 7]], ids=str)
def test_reading_with_the_cache_equals_reading_all_at_once(seed, steps):
    ours, _ = pair(seed, torch.float64)
    ids = random_ids(ours.config, B=3, T=11)
    cache = ours.new_cache(batch_size=3)
    with torch.no_grad():
        pieces = [ours(piece, cache) for piece in ids.split(steps, dim=1)]
        assert_close(torch.cat(pieces, dim=1), ours(ids))


@seeds
@pytest.mark.parametrize("how", [{"temperature": 0.0}, {"temperature": 0.7, "top_p": 0.8}], ids=["greedy", "sampled"])
def test_generate_agrees_with_transformers(seed, how):
    ours, theirs = pair(seed, torch.float64)
    prompt = random_ids(ours.config, B=3, T=4, seed=seed)
    asked = {"do_sample": True, "top_k": 0, **how} if how["temperature"] else {"do_sample": False}
    torch.manual_seed(seed)
    written = theirs.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=9, eos_token_id=None, pad_token_id=0, **asked
    )
    torch.manual_seed(seed)
    assert torch.equal(generate(ours, prompt, 9, **how), written)


def test_untied_output_weights_and_biases_are_refused():
    ours, theirs = pair(0, torch.float32)
    published = dict(theirs.state_dict())
    with pytest.raises(ValueError, match="choose a model that ties them"):
        load_published_weights(ours, {**published, "lm_head.weight": published["lm_head.weight"] + 1})
    biased = {**published, "model.layers.0.self_attn.q_proj.bias": torch.zeros(ours.config.d_model)}
    with pytest.raises(ValueError, match=r"no place for model\.layers\.0\.self_attn\.q_proj\.bias"):
        load_published_weights(ours, biased)


@pytest.mark.parametrize(
    ("heads", "message"),
    [((5, 5), r"num_heads \(5\) must divide d_model \(24\)"), ((6, 4), r"num_key_value_heads \(4\) must divide")],
)
def test_heads_that_do_not_divide_are_refused(heads, message):
    with pytest.raises(ValueError, match=message):
        ModernDecoder(ModernDecoderConfig(50, 16, 24, 40, 1, *heads))


def neighbors_from_halves(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """The order in which GGUF files store the rows of a projection to queries or keys, row by row."""
    head_size = weight.size(0) // num_heads
    rows = [
        weight[h * head_size + half * head_size // 2 + i]
        for h in range(num_heads)
        for i in range(head_size // 2)
        for half in (0, 1)
    ]
    return torch.stack(rows)


def gguf_of(ours: ModernDecoder, theirs: LlamaForCausalLM, architecture: str = "llama") -> bytes:
    """The file that would publish this model, all numbers float32."""
    config = ours.config
    numbers = {
        "context_length": config.context_size,
        "feed_forward_length": config.feed_forward_size,
        "block_count": config.num_layers,
        "attention.head_count": config.num_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "rope.freq_base": config.rotary_base,
        "attention.layer_norm_rms_epsilon": config.norm_epsilon,
    }
    metadata = text("general.architecture") + struct.pack("<I", 8) + text(architecture)
    for name, value in numbers.items():
        kind = struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)
        metadata += text(f"llama.{name}") + kind
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "model.embed_tokens": "token_embd",
        "model.norm": "output_norm",
        "model.layers": "blk",
    }
    listed, body = b"", b""
    weights = {name: weight.detach() for name, weight in theirs.named_parameters()}
    for name, weight in weights.items():
        for old, new in names.items():
            name = name.replace(old, new)
        if "attn_q" in name or "attn_k" in name:
            weight = neighbors_from_halves(weight, config.num_heads if "_q" in name else config.num_key_value_heads)
        listed += text(name) + struct.pack(f"<I{weight.dim()}Q", weight.dim(), *reversed(weight.shape))
        listed += struct.pack("<IQ", 0, len(body))
        body += weight.contiguous().numpy().tobytes()
        body += bytes(-len(body) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(numbers) + 1) + metadata + listed
    return head + bytes(-len(head) % 32) + body


@seeds
def test_a_gguf_file_gives_the_model_that_was_written_and_agrees_with_transformers(seed, tmp_path):
    ours, theirs = pair(seed, torch.float32)
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_of(ours, theirs))
    loaded = load_gguf(path)
    for name, weight in ours.named_parameters():
        assert torch.equal(loaded.get_parameter(name), weight), name
        assert loaded.get_parameter(name).requires_grad
    ids = random_ids(ours.config, B=2, T=9)
    assert_close(loaded(ids), theirs(ids).logits)


def test_halves_from_neighbors_undoes_the_order_of_gguf():
    weight = torch.arange(2 * 6 * 5).view(12, 5)
    assert not torch.equal(neighbors_from_halves(weight, 2), weight)
    assert torch.equal(halves_from_neighbors(neighbors_from_halves(weight, 2), 2), weight)


def test_a_gguf_file_of_another_kind_of_model_is_refused(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_of(*pair(0, torch.float32), architecture="mamba"))
    with pytest.raises(GGUFError, match="holds no Llama whose output weights are its token embeddings"):
        load_gguf(path)
