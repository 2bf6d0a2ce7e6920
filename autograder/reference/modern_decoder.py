"""A modern decoder: GPT with the parts that came after it, in the layout of Llama (Touvron et al. 2023, §2.2).

Four things changed. The norm divides by the root mean square and subtracts no mean (Zhang & Sennrich 2019); positions
turn queries and keys (Su et al. 2021); the network at each position has a gate (Shazeer 2020); several query heads
share one head of keys and values (Ainslie et al. 2023). Biases are gone. ``tests/test_reference_modern_decoder.py``
proves it equal to transformers' LlamaForCausalLM, and loads the published SmolLM2-135M into it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.attention import causal_mask, merge_heads, scaled_dot_product_attention, split_heads
from autograder.reference.gguf import GGUFError, GGUFFile
from autograder.reference.gpt import KeyValueCache
from autograder.reference.rotary import RotaryPositions, Rotation, rotate


@dataclass(frozen=True)
class ModernDecoderConfig:
    """The numbers of one modern decoder.

    Args:
        vocab_size: number of tokens, V.
        context_size: the most positions that can be read at once.
        d_model: width, D.
        feed_forward_size: width inside the network at each position, F.
        num_layers: number of layers, L.
        num_heads: query heads per layer, H; must divide ``d_model``.
        num_key_value_heads: heads of keys and values per layer, K; must divide ``num_heads``.
        rotary_base: pair i of a head turns by position · base^(−2i / head size).
        norm_epsilon: added to the mean square.
        initial_std: spread of the weights before training.
    """

    vocab_size: int
    context_size: int
    d_model: int
    feed_forward_size: int
    num_layers: int
    num_heads: int
    num_key_value_heads: int
    rotary_base: float = 10_000.0
    norm_epsilon: float = 1e-6
    initial_std: float = 0.02

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.d_model // self.num_heads


class RMSNorm(nn.Module):
    """x / √(mean(x²) + ε), times a learned gain for each feature (Zhang & Sennrich 2019, eq. 4)."""

    def __init__(self, d_model: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D)."""
        return x * (x.square().mean(dim=-1, keepdim=True) + self.epsilon).rsqrt() * self.weight


class GroupedQueryAttention(nn.Module):
    """Causal attention in which H / K query heads share each head of keys and values (Ainslie et al. 2023, §2.2).

    Raises:
        ValueError: if ``num_heads`` does not divide ``d_model``, or ``num_key_value_heads`` not ``num_heads``.
    """

    def __init__(self, config: ModernDecoderConfig) -> None:
        super().__init__()
        D, H, K = config.d_model, config.num_heads, config.num_key_value_heads
        if D % H:
            raise ValueError(f"num_heads ({H}) must divide d_model ({D})")
        if H % K:
            raise ValueError(f"num_key_value_heads ({K}) must divide num_heads ({H})")
        self.num_heads, self.num_key_value_heads = H, K
        # One product gives the query heads, then the key heads, then the value heads.
        self.query_key_value_projection = nn.Linear(D, (H + 2 * K) * config.head_size, bias=False)
        self.output_projection = nn.Linear(D, D, bias=False)

    def project(self, x: Tensor, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, head size), keys and values (B, K, T, head size) of x (B, T, D)."""
        H, K = self.num_heads, self.num_key_value_heads
        heads = split_heads(self.query_key_value_projection(x), H + 2 * K)
        turning, v = heads.split([H + K, K], dim=1)
        q, k = rotate(turning, rotation).split([H, K], dim=1)
        return q, k, v

    def forward(self, x: Tensor, rotation: Rotation, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, D) → (B, T, D). With a cache, x also sees what was read before, and is kept for what follows."""
        q, k, v = self.project(x, rotation)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, K, S, head size)
        T, S = q.size(2), k.size(2)
        mask = causal_mask(S)[S - T :].to(x.device) if 1 < T < S else None
        context = F.scaled_dot_product_attention(q, k, v, mask, is_causal=T == S, enable_gqa=True)
        return self.output_projection(merge_heads(context))

    def weights(self, x: Tensor, rotation: Rotation) -> Tensor:
        """How much each position looks at each, (B, H, T, T); ``forward`` never holds them."""
        q, k, v = self.project(x, rotation)
        group = self.num_heads // self.num_key_value_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        return scaled_dot_product_attention(q, k, v, causal_mask(x.size(1)).to(x.device))[1]


class GatedFeedForward(nn.Module):
    """SwiGLU: one half of a wide layer, through SiLU, decides how much of the other half passes (Shazeer 2020, §2)."""

    def __init__(self, config: ModernDecoderConfig) -> None:
        super().__init__()
        self.gate_and_value_projection = nn.Linear(config.d_model, 2 * config.feed_forward_size, bias=False)
        self.output_projection = nn.Linear(config.feed_forward_size, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) → (..., D)."""
        gate, value = self.gate_and_value_projection(x).chunk(2, dim=-1)  # (..., F) each
        return self.output_projection(F.silu(gate) * value)


class ModernLayer(nn.Module):
    """Attention, then a gated network at each position, each added to its input, each after a norm."""

    def __init__(self, config: ModernDecoderConfig) -> None:
        super().__init__()
        self.attention = GroupedQueryAttention(config)
        self.attention_norm = RMSNorm(config.d_model, config.norm_epsilon)
        self.feed_forward = GatedFeedForward(config)
        self.feed_forward_norm = RMSNorm(config.d_model, config.norm_epsilon)

    def forward(self, x: Tensor, rotation: Rotation, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        x = x + self.attention(self.attention_norm(x), rotation, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))


class ModernDecoder(nn.Module):
    """A language model that reads from left to right; its output weights are its token embeddings."""

    def __init__(self, config: ModernDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.rotary_positions = RotaryPositions(config.head_size, config.context_size, config.rotary_base)
        self.layers = nn.ModuleList(ModernLayer(config) for _ in range(config.num_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_epsilon)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=config.initial_std)

    def hidden_states(self, ids: Tensor, cache: list[KeyValueCache] | None = None) -> list[Tensor]:
        """What each layer makes of the tokens.

        Args:
            ids: (B, T) token ids.
            cache: from :meth:`new_cache`; ``ids`` then go on from what it has read.

        Returns:
            L + 1 tensors (B, T, D): the embeddings, then each layer's output, the last after the final norm.

        Raises:
            ValueError: if there are more positions than ``context_size``.
        """
        start, T = cache[0].length if cache else 0, ids.size(1)
        self._check_fits(start + T)
        rotation = self.rotary_positions(start, T)
        states = [self.token_embedding(ids)]
        for i, layer in enumerate(self.layers):
            states.append(layer(states[-1], rotation, cache[i] if cache else None))
        states[-1] = self.final_norm(states[-1])
        return states

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores of the next token, (..., D) → (..., V), from the last of :meth:`hidden_states`."""
        return F.linear(hidden, self.token_embedding.weight)

    def forward(self, ids: Tensor, cache: list[KeyValueCache] | None = None) -> Tensor:
        """Logits (B, T, V): those at position t are for the token at t + 1. Arguments as :meth:`hidden_states`."""
        return self.logits(self.hidden_states(ids, cache)[-1])

    def attention_weights(self, ids: Tensor) -> list[Tensor]:
        """How much each position looks at each, (B, H, T, T) for each layer."""
        rotation, inputs = self.rotary_positions(0, ids.size(1)), self.hidden_states(ids)[:-1]
        layers = cast(list[ModernLayer], self.layers)
        return [
            layer.attention.weights(layer.attention_norm(x), rotation) for layer, x in zip(layers, inputs, strict=True)
        ]

    def new_cache(self, batch_size: int, capacity: int | None = None) -> list[KeyValueCache]:
        """An empty cache for each layer, with room for ``capacity`` positions, by default all that can be read."""
        capacity = self.config.context_size if capacity is None else capacity
        self._check_fits(capacity)
        K, head_size = self.config.num_key_value_heads, self.config.head_size
        like = self.token_embedding.weight.detach()
        return [KeyValueCache(batch_size, K, capacity, head_size, like) for _ in self.layers]

    def _check_fits(self, positions: int) -> None:
        if positions > self.config.context_size:
            raise ValueError(
                f"{positions} positions do not fit into a context of {self.config.context_size}: shorten the text"
            )


PUBLISHED_NAMES = {
    "attention.query_key_value_projection": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.output_projection": ["self_attn.o_proj"],
    "attention_norm": ["input_layernorm"],
    "feed_forward.gate_and_value_projection": ["mlp.gate_proj", "mlp.up_proj"],
    "feed_forward.output_projection": ["mlp.down_proj"],
    "feed_forward_norm": ["post_attention_layernorm"],
}
"""The parts of a layer, and what transformers calls the weights that stand in them one below the other."""

GGUF_NAMES = {
    "attention.query_key_value_projection": ["attn_q", "attn_k", "attn_v"],
    "attention.output_projection": ["attn_output"],
    "attention_norm": ["attn_norm"],
    "feed_forward.gate_and_value_projection": ["ffn_gate", "ffn_up"],
    "feed_forward.output_projection": ["ffn_down"],
    "feed_forward_norm": ["ffn_norm"],
}
"""The same, and what GGUF files call them."""


def load_published_weights(model: ModernDecoder, published: dict[str, Tensor]) -> None:
    """Copy the weights of a published Llama, named as in transformers, into a model of the same shape.

    Raises:
        KeyError: if a weight is missing.
        ValueError: if the output weights are not the token embeddings, or there are weights without a place.
        RuntimeError: if a weight has another shape.
    """
    rest = dict(published)
    weights = {
        "token_embedding.weight": rest.pop("model.embed_tokens.weight"),
        "final_norm.weight": rest.pop("model.norm.weight"),
    }
    if not torch.equal(
        rest.pop("lm_head.weight", weights["token_embedding.weight"]), weights["token_embedding.weight"]
    ):
        raise ValueError("the output weights are not the token embeddings: choose a model that ties them")
    for i in range(model.config.num_layers):
        for ours, theirs in PUBLISHED_NAMES.items():
            parts = [rest.pop(f"model.layers.{i}.{name}.weight") for name in theirs]
            weights[f"layers.{i}.{ours}.weight"] = torch.cat(parts)
    if rest:
        raise ValueError(f"this decoder has no place for {', '.join(rest)}: choose a model without")
    model.load_state_dict(weights)


def halves_from_neighbors(weight: Tensor, num_heads: int) -> Tensor:
    """Put the features of each head in another order: from pairs of neighbors to pairs of halves.

    GGUF files turn features 2i and 2i + 1 together, :func:`~autograder.reference.rotary.rotate` i and
    i + head size / 2.

    Args:
        weight: (heads · head size, D), a projection to queries or keys.
    """
    return weight.unflatten(0, (num_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def load_gguf(path: Path | str) -> ModernDecoder:
    """Build the decoder that a GGUF file describes, and fill it with the file's weights.

    Raises:
        GGUFError: if the file is none, is cut short, or holds another kind of model.
        FileNotFoundError: if there is no file.
    """
    file = GGUFFile(path)
    if file.metadata.get("general.architecture") != "llama" or "output.weight" in file.entries:
        raise GGUFError(f"{path} holds no Llama whose output weights are its token embeddings: choose another file")
    V, D = file.entry("token_embd.weight").shape
    config = ModernDecoderConfig(
        vocab_size=V,
        context_size=file.value("llama.context_length"),
        d_model=D,
        feed_forward_size=file.value("llama.feed_forward_length"),
        num_layers=file.value("llama.block_count"),
        num_heads=file.value("llama.attention.head_count"),
        num_key_value_heads=file.value("llama.attention.head_count_kv"),
        rotary_base=file.value("llama.rope.freq_base"),
        norm_epsilon=file.value("llama.attention.layer_norm_rms_epsilon"),
    )
    weights = {
        "token_embedding.weight": file.tensor("token_embd.weight"),
        "final_norm.weight": file.tensor("output_norm.weight"),
    }
    heads = {"attn_q": config.num_heads, "attn_k": config.num_key_value_heads}
    for i in range(config.num_layers):
        for ours, theirs in GGUF_NAMES.items():
            parts = [file.tensor(f"blk.{i}.{name}.weight") for name in theirs]
            parts = [
                halves_from_neighbors(p, heads[n]) if n in heads else p for n, p in zip(theirs, parts, strict=True)
            ]
            weights[f"layers.{i}.{ours}.weight"] = torch.cat(parts)
    with torch.device("meta"):  # no memory, and no random numbers, for weights that the file has
        model = ModernDecoder(config)
    model.load_state_dict(weights, assign=True)
    model.rotary_positions = RotaryPositions(config.head_size, config.context_size, config.rotary_base)
    return model
