"""The Transformer: an encoder that reads and a decoder that writes (Vaswani et al. 2017).

The layers are post-norm as published, or pre-norm (Xiong et al. 2020). ``tests/test_reference_transformer.py`` proves
both equal to torch.nn.Transformer.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autograder.reference.attention import causal_mask
from autograder.reference.transformer_layer import Attention, EncoderLayer, FeedForward


@dataclass(frozen=True)
class TransformerConfig:
    """The numbers that make a Transformer; as they stand, those of the paper's base model (table 3).

    Attributes:
        vocab_size: number of tokens, V, of both languages together (§5.1).
        d_model: width, D; even.
        num_layers: number of layers of the encoder, and of the decoder.
        num_heads: attention heads in each layer, H; must divide ``d_model``.
        d_ff: width inside the feed-forward networks.
        dropout: share that is set to 0 in training: of embeddings, attention weights and sublayers' outputs (§5.4).
        norm_first: norms inside the branches, and one after each stack, instead of after each sum.
        max_length: the most positions that can be read or written.
        padding_id, start_id, end_id: the tokens that fill up a sentence, begin it and end it.
    """

    vocab_size: int
    d_model: int = 512
    num_layers: int = 6
    num_heads: int = 8
    d_ff: int = 2048
    dropout: float = 0.1
    norm_first: bool = False
    max_length: int = 256
    padding_id: int = 0
    start_id: int = 1
    end_id: int = 2


def sinusoidal_positions(length: int, d_model: int) -> Tensor:
    """A vector for each position, of sines and cosines that turn ever more slowly (§3.5).

    Feature 2i of position t is sin(t / 10000^(2i/D)), feature 2i + 1 the cosine of the same.

    Args:
        length: number of positions, the first of which is 0.
        d_model: width, D; even.

    Returns:
        (length, D).

    Raises:
        ValueError: if ``d_model`` is odd.
    """
    if d_model % 2:
        raise ValueError(f"d_model is {d_model}; it must be even, since each sine has its cosine")
    rates = 10_000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)  # (D/2,)
    angles = torch.arange(length)[:, None] * rates  # (length, D/2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1).float()


def demand_room(ids: Tensor, max_length: int) -> None:
    """Refuse sentences (B, T) of more positions than there may be.

    Raises:
        ValueError: if T is more than ``max_length``.
    """
    if ids.size(1) > max_length:
        raise ValueError(f"{ids.size(1)} positions are more than max_length = {max_length}: shorten the sentence")


class DecoderLayer(nn.Module):
    """One layer of a decoder: attention to what was written, then to what was read (§3.1, figure 1, right).

    Args:
        d_model: width, D.
        num_heads: number of heads; must divide ``d_model``.
        d_ff: width inside the feed-forward network.
        dropout: share that is set to 0 in training, of the attention weights and of what each branch adds.
        norm_first: pre-norm instead of post-norm.
    """

    def __init__(self, d_model: int, num_heads: int, d_ff: int, dropout: float = 0.0, norm_first: bool = False) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.self_attention = Attention(d_model, num_heads, dropout)
        self.self_attention_norm = nn.LayerNorm(d_model)
        self.cross_attention = Attention(d_model, num_heads, dropout)
        self.cross_attention_norm = nn.LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff)
        self.feed_forward_norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, memory_mask: Tensor | None = None) -> Tensor:
        """(B, T, D) → (B, T, D). A position sees itself and those before it, and all of the source.

        Args:
            x: (B, T, D), what was written.
            memory: (B, S, D), what the encoder made of the source.
            memory_mask: (B, 1, 1, S), True where the source may be looked at.
        """
        causal = causal_mask(x.size(1)).to(x.device)
        if self.norm_first:
            x = x + self.dropout(self.self_attention(self.self_attention_norm(x), mask=causal))
            x = x + self.dropout(self.cross_attention(self.cross_attention_norm(x), memory, memory_mask))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.self_attention_norm(x + self.dropout(self.self_attention(x, mask=causal)))
        x = self.cross_attention_norm(x + self.dropout(self.cross_attention(x, memory, memory_mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class Transformer(nn.Module):
    """Reads one sentence and writes another; one matrix embeds both and scores what comes next (§3.4)."""

    positions: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        D, layer = config.d_model, (config.d_model, config.num_heads, config.d_ff, config.dropout, config.norm_first)
        self.embedding = nn.Embedding(config.vocab_size, D)
        self.register_buffer("positions", sinusoidal_positions(config.max_length, D), persistent=False)
        self.encoder_layers = nn.ModuleList(EncoderLayer(*layer) for _ in range(config.num_layers))
        self.decoder_layers = nn.ModuleList(DecoderLayer(*layer) for _ in range(config.num_layers))
        self.encoder_norm = nn.LayerNorm(D) if config.norm_first else nn.Identity()
        self.decoder_norm = nn.LayerNorm(D) if config.norm_first else nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.embedding.weight, std=D**-0.5)  # of about 1 once multiplied by √D
        for parameter in (*self.encoder_layers.parameters(), *self.decoder_layers.parameters()):
            if parameter.dim() == 2:
                nn.init.xavier_uniform_(parameter)

    def source_mask(self, source: Tensor) -> Tensor | None:
        """Where the source (B, S) has tokens: (B, 1, 1, S), or None if there is no padding."""
        mask = source != self.config.padding_id
        return None if mask.all() else mask[:, None, None, :]

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, D): the tokens' embeddings times √D, plus their positions.

        Raises:
            ValueError: if there are more than ``max_length`` positions.
        """
        demand_room(ids, self.config.max_length)
        x = self.embedding(ids) * math.sqrt(self.config.d_model)  # (B, T, D)
        return self.dropout(x + self.positions[: ids.size(1)])

    def encode(self, source: Tensor) -> Tensor:
        """Read the source, (B, S) → (B, S, D)."""
        x, mask = self.embed(source), self.source_mask(source)
        for layer in self.encoder_layers:
            x = layer(x, mask)
        return self.encoder_norm(x)

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor | None) -> Tensor:
        """Score what comes after each position of the target.

        Args:
            target: (B, T), the start token and what was written.
            memory: (B, S, D), from :meth:`encode`. memory_mask: from :meth:`source_mask`.

        Returns:
            logits (B, T, V).
        """
        x = self.embed(target)
        for layer in self.decoder_layers:
            x = layer(x, memory, memory_mask)
        return F.linear(self.decoder_norm(x), self.embedding.weight)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) at each position of the target (B, T), given the source (B, S)."""
        return self.decode(target, self.encode(source), self.source_mask(source))


def label_smoothing_loss(logits: Tensor, targets: Tensor, epsilon: float, ignore_index: int) -> Tensor:
    """Cross-entropy with a target that is not quite sure: 1 − ε on the true token, ε spread over all V (§5.4).

    The true token gets its share of ε too (Szegedy et al. 2016, §7).

    Args:
        logits: (..., V). targets: (...).
        epsilon: 0 ≤ ε < 1.
        ignore_index: the target that does not count, padding.

    Returns:
        the mean over the targets that count, in nats; 0 if there is none.
    """
    counted = targets != ignore_index
    log_probabilities = logits[counted].log_softmax(dim=-1)  # (number counted, V)
    of_the_true = log_probabilities.gather(-1, targets[counted].unsqueeze(-1)).squeeze(-1)
    losses = -(1 - epsilon) * of_the_true - epsilon * log_probabilities.mean(dim=-1)
    return losses.sum() / counted.sum().clamp(min=1)


def noam_rate(step: int, d_model: int, warmup: int) -> float:
    """The learning rate of a step: up in a straight line, then down with the root of the step (§5.3).

    Args:
        step: 1 for the first.
        d_model: width, D.
        warmup: the step at which the rate is highest.

    Raises:
        ValueError: if ``step`` is less than 1.
    """
    if step < 1:
        raise ValueError(f"step is {step}; the first step is 1")
    return d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)
