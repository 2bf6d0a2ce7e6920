"""Attention: additive, scaled dot-product, masks and several heads side by side.

Every function here is shown in the chapter *Attention* and is proven equal to torch's own operators by
``tests/test_reference_attention.py``. One convention holds throughout the course: a mask is boolean,
True where looking is allowed. Axes: B batch, T positions that look, S positions that are looked at,
D model width, H heads.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class AdditiveAttention(nn.Module):
    """How well a query fits each key, judged by a small network (Bahdanau et al. 2015, §3.1 and A.1.2).

    The score of key h for query s is vᵀ tanh(W s + U h).

    Args:
        query_size: width of the query, Q.
        key_size: width of the keys, K.
        hidden_size: width of the layer in which query and key are compared.
    """

    def __init__(self, query_size: int, key_size: int, hidden_size: int) -> None:
        super().__init__()
        self.query_projection = nn.Linear(query_size, hidden_size, bias=False)
        self.key_projection = nn.Linear(key_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Score every key against one query.

        Args:
            query: (B, Q). keys: (B, S, K).

        Returns:
            scores (B, S), before any softmax.
        """
        compared = torch.tanh(self.query_projection(query).unsqueeze(1) + self.key_projection(keys))  # (B, S, hidden)
        return self.score(compared).squeeze(-1)


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(QKᵀ/√D)V, the softmax over the keys (Vaswani et al. 2017, §3.2.1).

    Args:
        query: (..., T, D). key: (..., S, D). value: (..., S, E).
        mask: boolean, broadcastable to (..., T, S), True where looking is allowed.

    Returns:
        output (..., T, E) and weights (..., T, S); each row of weights sums to 1, or is all 0
        where nothing may be looked at.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))  # (..., T, S)
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        # −inf gives a weight of exactly 0. A row of nothing but −inf has no softmax (0/0): the second fill makes it 0.
        weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)
    return weights @ value, weights


def padding_mask(lengths: Tensor, T: int) -> Tensor:
    """Allow looking at the words of each sentence, not at the padding behind them.

    Args:
        lengths: (B,) whole numbers, 1 ≤ length ≤ T.
        T: length to which the batch was padded.

    Returns:
        boolean (B, 1, 1, T): the two axes of size 1 broadcast over heads and over the positions that look.
    """
    return (torch.arange(T, device=lengths.device) < lengths.unsqueeze(1))[:, None, None, :]


def causal_mask(T: int) -> Tensor:
    """Allow position t to look at positions 0 … t, itself included (Vaswani et al. 2017, §3.2.3).

    Returns:
        boolean (T, T), True on and below the diagonal.
    """
    return torch.ones(T, T, dtype=torch.bool).tril()


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(B, T, D) → (B, H, T, D/H): head h gets the h-th slice of the D features of every position."""
    B, T, D = x.shape
    return x.view(B, T, num_heads, D // num_heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, T, D/H) → (B, T, D), the inverse of :func:`split_heads`."""
    B, H, T, head_size = x.shape
    return x.transpose(1, 2).reshape(B, T, H * head_size)


class MultiHeadAttention(nn.Module):
    """Attention with several heads side by side (Vaswani et al. 2017, §3.2.2).

    Args:
        d_model: width of the input and the output, D.
        num_heads: number of heads, H; must divide ``d_model``.

    Raises:
        ValueError: if ``num_heads`` does not divide ``d_model``.
    """

    def __init__(self, d_model: int, num_heads: int) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"num_heads ({num_heads}) must divide d_model ({d_model})")
        self.num_heads = num_heads
        self.query_projection = nn.Linear(d_model, d_model)
        self.key_projection = nn.Linear(d_model, d_model)
        self.value_projection = nn.Linear(d_model, d_model)
        self.output_projection = nn.Linear(d_model, d_model)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Let every query look at every key, once per head.

        Args:
            query: (B, T, D). key, value: (B, S, D).
            mask: (B, 1, T, S) or broadcastable, True where looking is allowed.

        Returns:
            output (B, T, D) and weights (B, H, T, S); each row of weights sums to 1, or is all 0 where
            nothing may be looked at.

        Raises:
            ValueError: if a last axis is not ``d_model``.
        """
        d_model = self.query_projection.in_features
        for name, x in (("query", query), ("key", key), ("value", value)):
            if x.size(-1) != d_model:
                raise ValueError(f"the last axis of {name} is {x.size(-1)}; it must be d_model = {d_model}")
        q = split_heads(self.query_projection(query), self.num_heads)  # (B, H, T, D/H)
        k = split_heads(self.key_projection(key), self.num_heads)  # (B, H, S, D/H)
        v = split_heads(self.value_projection(value), self.num_heads)  # (B, H, S, D/H)
        context, weights = scaled_dot_product_attention(q, k, v, mask)  # (B, H, T, D/H), (B, H, T, S)
        return self.output_projection(merge_heads(context)), weights


def permutation_gap(
    attention: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]], x: Tensor, order: Tensor
) -> Tensor:
    """How much self-attention notices that its input was reordered.

    Compares attending and then reordering the outputs with reordering first and then attending.
    Without positions the two are the same (Vaswani et al. 2017, §3.5 says why positions are added).

    Args:
        attention: called as ``attention(query, key, value)``, returns ``(output, weights)``.
        x: (B, T, D). order: (T,), a permutation of 0 … T−1.

    Returns:
        the largest absolute difference, a scalar.
    """
    reordered_after = attention(x, x, x)[0][:, order]
    reordered_before = attention(x[:, order], x[:, order], x[:, order])[0]
    return (reordered_after - reordered_before).abs().max()
