"""GPT: a Transformer's decoder without an encoder, which looks only back and so can write on.

One class holds the layout of GPT-1 (Radford et al. 2018, §4.1), with the norms after each sublayer, and that of GPT-2
(Radford et al. 2019, §2.3), with the norms before and one more at the end. ``tests/test_reference_gpt.py`` proves both
equal to transformers' OpenAIGPTLMHeadModel and GPT2LMHeadModel.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.attention import causal_mask, merge_heads, scaled_dot_product_attention, split_heads
from autograder.reference.rotary import RotaryPositions, Rotation, rotate

IGNORED = -100
"""A target that cross-entropy does not count."""


@dataclass(frozen=True)
class GPTConfig:
    """The numbers of one GPT.

    Args:
        vocab_size: number of tokens, V.
        context_size: the most positions that can be read at once.
        d_model: width, D.
        num_layers: number of layers, L.
        num_heads: attention heads per layer, H; must divide ``d_model``.
        dropout: share of numbers set to 0 in training: of the embeddings, attention weights and sublayers' outputs.
        norm_first: GPT-2's layout; otherwise GPT-1's.
        positions: a learned vector for each position, or queries and keys turned by their position.
        initial_std: spread of the weights before training.
    """

    vocab_size: int
    context_size: int
    d_model: int
    num_layers: int
    num_heads: int
    dropout: float = 0.0
    norm_first: bool = True
    positions: Literal["learned", "rotary"] = "learned"
    initial_std: float = 0.02


GPT_1 = GPTConfig(40_478, 512, 768, 12, 12, dropout=0.1, norm_first=False)
GPT_2 = GPTConfig(50_257, 1024, 768, 12, 12, dropout=0.1)


class KeyValueCache:
    """The keys and values of one layer at the positions read so far, so that they are computed once.

    Args:
        batch_size: B. num_heads: H, of keys and values. capacity: the most positions it can hold.
        like: a tensor of the type and on the device of the keys to come.
    """

    def __init__(self, batch_size: int, num_heads: int, capacity: int, head_size: int, like: Tensor) -> None:
        self.keys = like.new_empty(batch_size, num_heads, capacity, head_size)
        self.values = torch.empty_like(self.keys)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of T new positions, each (B, H, T, head size).

        Returns:
            all keys and values so far, each (B, H, length, head size), without a copy.
        """
        end = self.length + keys.size(2)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class CausalSelfAttention(nn.Module):
    """Attention with several heads in which a position sees itself and those before it (Vaswani et al. 2017, §3.2).

    Raises:
        ValueError: if ``num_heads`` does not divide ``d_model``.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        D, H = config.d_model, config.num_heads
        if D % H:
            raise ValueError(f"num_heads ({H}) must divide d_model ({D})")
        self.num_heads = H
        self.dropout = config.dropout
        self.query_key_value_projection = nn.Linear(D, 3 * D)  # three projections in one product
        self.output_projection = nn.Linear(D, D)

    def project(self, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of x (B, T, D), each (B, H, T, D/H)."""
        q, k, v = (split_heads(part, self.num_heads) for part in self.query_key_value_projection(x).chunk(3, dim=-1))
        return (q, k, v) if rotation is None else (rotate(q, rotation), rotate(k, rotation), v)

    def forward(self, x: Tensor, rotation: Rotation | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, D) → (B, T, D). With a cache, x also sees what was read before, and is kept for what follows."""
        q, k, v = self.project(x, rotation)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, H, S, D/H)
        T, S = q.size(2), k.size(2)
        mask = causal_mask(S)[S - T :].to(x.device) if 1 < T < S else None
        dropout = self.dropout if self.training else 0.0
        context = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal=T == S)
        return self.output_projection(merge_heads(context))

    def weights(self, x: Tensor, rotation: Rotation | None = None) -> Tensor:
        """How much each position looks at each, (B, H, T, T); ``forward`` never holds them."""
        q, k, v = self.project(x, rotation)
        return scaled_dot_product_attention(q, k, v, causal_mask(x.size(1)).to(x.device))[1]


class Layer(nn.Module):
    """Attention, then a network at each position, each added to its input; the norms after or before."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        D = config.d_model
        self.norm_first = config.norm_first
        self.attention = CausalSelfAttention(config)
        self.attention_norm = nn.LayerNorm(D)
        self.feed_forward = nn.Sequential(nn.Linear(D, 4 * D), nn.GELU(approximate="tanh"), nn.Linear(4 * D, D))
        self.feed_forward_norm = nn.LayerNorm(D)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: Rotation | None = None, cache: KeyValueCache | None = None) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), rotation, cache))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, rotation, cache)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class GPT(nn.Module):
    """A language model that reads from left to right; its output weights are its token embeddings."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_size, config.d_model)
        else:
            self.rotary_positions = RotaryPositions(config.d_model // config.num_heads, config.context_size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.final_norm = nn.LayerNorm(config.d_model) if config.norm_first else nn.Identity()
        self.initialize()

    def initialize(self) -> None:
        """Draw all weights anew: N(0, initial_std²), biases 0.

        In GPT-2's layout what adds to the stream is scaled by 1/√(number of sublayers), so that the sum of all
        sublayers starts no wider than one (Radford et al. 2019, §2.3).
        """
        std = self.config.initial_std
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if self.config.norm_first:
            for name, weight in self.named_parameters():
                if name.endswith(("attention.output_projection.weight", "feed_forward.2.weight")):
                    nn.init.normal_(weight, std=std / (2 * self.config.num_layers) ** 0.5)

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
        x, rotation = self.token_embedding(ids), None  # (B, T, D)
        if self.config.positions == "learned":
            x = x + self.position_embedding.weight[start : start + T]
        else:
            rotation = self.rotary_positions(start, T)
        states = [self.dropout(x)]
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
        rotation = self.rotary_positions(0, ids.size(1)) if self.config.positions == "rotary" else None
        inputs = self.hidden_states(ids)[:-1]
        layers = cast(list[Layer], self.layers)
        return [
            layer.attention.weights(layer.attention_norm(x) if self.config.norm_first else x, rotation)
            for layer, x in zip(layers, inputs, strict=True)
        ]

    def new_cache(self, batch_size: int, capacity: int | None = None) -> list[KeyValueCache]:
        """An empty cache for each layer, with room for ``capacity`` positions, by default all that can be read.

        It is for writing, under ``torch.no_grad()``: gradients do not flow through it.
        """
        capacity = self.config.context_size if capacity is None else capacity
        self._check_fits(capacity)
        H, like = self.config.num_heads, self.token_embedding.weight.detach()
        return [KeyValueCache(batch_size, H, capacity, self.config.d_model // H, like) for _ in self.layers]

    def _check_fits(self, positions: int) -> None:
        if positions > self.config.context_size:
            raise ValueError(
                f"{positions} positions do not fit into a context of {self.config.context_size}: shorten the text"
            )


def language_model_loss(logits: Tensor, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Mean cross-entropy, in nats, of every token given those before it (Radford et al. 2018, eq. 1).

    Args:
        logits: (B, T, V), what the model said when it had read ``ids``. ids: (B, T).
        lengths: (B,), where each text ends; what stands behind it is padding and does not count.

    Returns:
        a scalar; the first token of each text is not predicted.
    """
    targets = F.pad(ids[:, 1:], (0, 1), value=IGNORED)  # what follows each position; nothing follows the last
    if lengths is not None:
        following = torch.arange(1, ids.size(1) + 1, device=ids.device)
        targets = targets.masked_fill(following >= lengths.unsqueeze(1), IGNORED)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


PUBLISHED_NAMES = {
    "tokens_embed.": "token_embedding.",
    "wte.": "token_embedding.",
    "positions_embed.": "position_embedding.",
    "wpe.": "position_embedding.",
    "h.": "layers.",
    "attn.c_attn.": "attention.query_key_value_projection.",
    "attn.c_proj.": "attention.output_projection.",
    "ln_1.": "attention_norm.",
    "mlp.c_fc.": "feed_forward.0.",
    "mlp.c_proj.": "feed_forward.2.",
    "ln_2.": "feed_forward_norm.",
    "ln_f.": "final_norm.",
}
"""What the published files of GPT-1 and GPT-2 call the weights, and what :class:`GPT` calls them."""


def load_published_weights(model: GPT, published: dict[str, Tensor]) -> None:
    """Copy the weights of a published GPT-1 or GPT-2, named as in transformers, into a model of the same shape.

    Raises:
        RuntimeError: if a weight is missing, unknown or of another shape.
    """
    weights = {}
    for name, weight in published.items():
        name = name.removeprefix("transformer.")
        if name == "lm_head.weight" or name.endswith((".attn.bias", ".attn.masked_bias", "position_ids")):
            continue  # the token embeddings once more, masks, and 0, 1, 2 …
        if re.search(r"\.c_\w+\.weight$", name):
            weight = weight.T  # stored as (in, out)
        for theirs, ours in PUBLISHED_NAMES.items():
            name = re.sub(rf"(^|\.){re.escape(theirs)}", rf"\1{ours}", name)
        weights[name] = weight
    model.load_state_dict(weights)
