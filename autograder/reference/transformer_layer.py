"""What the Transformer's encoder, BERT and the Vision Transformer are stacked from (Vaswani et al. 2017, §3).

One layer is attention of every position to every other, then a small network applied to each position by itself.
Around each of the two lie a residual connection and a layer norm, either after the sum, as published (*post-norm*),
or inside the branch (*pre-norm*; Xiong et al. 2020), which trains without a long warm-up.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.attention import merge_heads, scaled_dot_product_attention, split_heads
from autograder.reference.rotary import Rotation, rotate

Activation = Callable[[Tensor], Tensor]


class Attention(nn.Module):
    """``MultiHeadAttention`` of chapter *Attention*, for models that train: fast, with dropout and rotary positions.

    It has the same parameters under the same names. Since torch's fused operator never forms the weights, they are
    returned only inside :func:`attention_weights`.

    Args:
        d_model: width of the input and the output, D.
        num_heads: number of heads, H; must divide ``d_model``.
        dropout: share of the weights that is set to 0 in training.

    Raises:
        ValueError: if ``num_heads`` does not divide ``d_model``.
    """

    def __init__(self, d_model: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"num_heads ({num_heads}) must divide d_model ({d_model})")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query_projection = nn.Linear(d_model, d_model)
        self.key_projection = nn.Linear(d_model, d_model)
        self.value_projection = nn.Linear(d_model, d_model)
        self.output_projection = nn.Linear(d_model, d_model)
        self.recorded: list[Tensor] | None = None

    def forward(
        self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None, rotation: Rotation | None = None
    ) -> Tensor:
        """Let every position of ``x`` look at every position of ``memory``, or of ``x`` itself if there is none.

        Args:
            x: (B, T, D). memory: (B, S, D).
            mask: (B, 1, T, S) or broadcastable, True where looking is allowed.
            rotation: turns queries and keys by their positions; see ``rotary.py``.

        Returns:
            (B, T, D); where a position may look nowhere, what it has found is 0 before the output projection.
        """
        memory = x if memory is None else memory
        q = split_heads(self.query_projection(x), self.num_heads)  # (B, H, T, D/H)
        k = split_heads(self.key_projection(memory), self.num_heads)  # (B, H, S, D/H)
        v = split_heads(self.value_projection(memory), self.num_heads)  # (B, H, S, D/H)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if self.recorded is None:
            dropout = self.dropout if self.training else 0.0
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        else:
            context, weights = scaled_dot_product_attention(q, k, v, mask)
            self.recorded.append(weights)
        return self.output_projection(merge_heads(context))


@contextmanager
def attention_weights(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the weights of every :class:`Attention` in a model while it computes.

    For a model in evaluation: weights that are collected are without dropout::

        with attention_weights(bert) as weights:
            bert(ids)

    Yields:
        a list that grows by one tensor (B, H, T, S) for each attention, in the order in which they are computed.
    """
    weights: list[Tensor] = []
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    for attention in attentions:
        attention.recorded = weights
    try:
        yield weights
    finally:
        for attention in attentions:
            attention.recorded = None


class FeedForward(nn.Module):
    """Two linear maps with an activation between them, applied to each position by itself (§3.3).

    Args:
        d_model: width of the input and the output, D.
        d_ff: width between the two maps, usually 4 · D.
        activation: ReLU as in the paper, or another.
    """

    def __init__(self, d_model: int, d_ff: int, activation: Activation = F.relu) -> None:
        super().__init__()
        self.expand = nn.Linear(d_model, d_ff)
        self.activation = activation
        self.contract = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) → (B, T, D)."""
        return self.contract(self.activation(self.expand(x)))


class EncoderLayer(nn.Module):
    """One layer of an encoder (§3.1, figure 1, left).

    Args:
        d_model: width, D.
        num_heads: number of heads; must divide ``d_model``.
        d_ff: width inside the feed-forward network.
        dropout: share that is set to 0 in training, of the attention weights and of what each branch adds.
        norm_first: pre-norm instead of post-norm.
        activation: of the feed-forward network.
        layer_norm_eps: added to the variance in the layer norms.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.attention = Attention(d_model, num_heads, dropout)
        self.attention_norm = nn.LayerNorm(d_model, layer_norm_eps)
        self.feed_forward = FeedForward(d_model, d_ff, activation)
        self.feed_forward_norm = nn.LayerNorm(d_model, layer_norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """(B, T, D) → (B, T, D).

        Args:
            x: (B, T, D).
            mask: (B, 1, T, T) or broadcastable, True where looking is allowed.
            rotation: see :class:`Attention`.
        """
        if self.norm_first:
            x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask, rotation=rotation))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, mask=mask, rotation=rotation)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
