"""Writing the likeliest sentence: greedily, one token at a time, or with a beam of several sentences at once.

Beam search keeps the ``beam`` best hypotheses. A finished one holds its place among them unchanged; it costs nothing
more, and it can still be overtaken. So a beam of one is greedy search, and a beam that is wide enough for every
sentence finds the best.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor


class Translates(Protocol):
    """A model that reads a sentence and scores what comes next in another; see the Transformer's methods."""

    config: Any

    def encode(self, source: Tensor) -> Tensor: ...
    def source_mask(self, source: Tensor) -> Tensor | None: ...
    def decode(self, target: Tensor, memory: Tensor, memory_mask: Any) -> Tensor: ...


Step = Callable[[Tensor], Tensor]
"""Logits of the next token, (N, V), after each prefix of token ids, (N, t)."""


@torch.no_grad()
def greedy_decode(model: Translates, source: Tensor, max_length: int) -> Tensor:
    """Write the likeliest token, again and again, until every sentence has its end.

    Args:
        model: in evaluation. source: (B, S).
        max_length: the most tokens to write, the end included.

    Returns:
        (B, T) with T ≤ ``max_length``: the tokens after the start, the end among them, then padding.
    """
    config = model.config
    memory, mask = model.encode(source), model.source_mask(source)
    target = source.new_full((source.size(0), 1), config.start_id)
    finished = torch.zeros_like(target[:, 0], dtype=torch.bool)
    for _ in range(max_length):
        token = model.decode(target, memory, mask)[:, -1].argmax(dim=-1)  # (B,)
        token = token.masked_fill(finished, config.padding_id)
        target = torch.cat([target, token.unsqueeze(1)], dim=1)
        finished |= token == config.end_id
        if finished.all():
            break
    return target[:, 1:]


def length_factor(length: Tensor, penalty: float) -> Tensor:
    """What log-probabilities are divided by: ((5 + length) / 6)^penalty (Wu et al. 2016, eq. 14).

    Args:
        length: number of tokens, the end included.
        penalty: 0 for none; the larger, the longer the sentences. Vaswani et al. (2017, §6.1) had 0.6.
    """
    return ((5.0 + length) / 6.0) ** penalty


@torch.no_grad()
def beam_search(
    step: Step,
    beam: int,
    length_penalty: float,
    start_id: int,
    end_id: int,
    max_length: int,
    batch_size: int = 1,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Find sentences with a high score: log-probability divided by :func:`length_factor`.

    Args:
        step: called with (B · beam, t) prefixes, the start token first; those of one sentence lie together. Each
            call has one token more than the last, and each sentence's hypotheses may have changed places.
        beam: number of hypotheses for each sentence, K.
        length_penalty: see :func:`length_factor`.
        start_id, end_id: the tokens that begin and end a sentence.
        max_length: the most tokens to write, the end included; a hypothesis without an end is then scored as it is.
        batch_size: number of sentences, B.
        device: where to work.

    Returns:
        token ids (B, K, T), the best hypothesis first, without the start and with ends behind the end; and their
        scores (B, K), −∞ where there are fewer than K hypotheses.

    Raises:
        ValueError: if ``beam`` or ``max_length`` is less than 1.
    """
    if beam < 1 or max_length < 1:
        raise ValueError(f"beam is {beam} and max_length {max_length}; both must be at least 1")
    B, K = batch_size, beam
    ids = torch.full((B, K, 1), start_id, device=device)
    finished = torch.zeros(B, K, dtype=torch.bool, device=device)
    lengths = torch.zeros(B, K, dtype=torch.float64, device=device)
    totals = torch.full((B, K), -math.inf, dtype=torch.float64, device=device)  # log-probabilities
    totals[:, 0] = 0.0  # all begin alike: one of them is enough
    for _ in range(max_length):
        log_probabilities = step(ids.flatten(0, 1)).log_softmax(dim=-1).unflatten(0, (B, K))  # (B, K, V)
        V = log_probabilities.size(-1)
        # What is finished goes on with one more end, for nothing, and with no other token.
        unchanged = log_probabilities.new_full((V,), -math.inf)
        unchanged[end_id] = 0.0
        extended = totals.unsqueeze(-1) + torch.where(finished.unsqueeze(-1), unchanged, log_probabilities)
        extended_lengths = lengths + ~finished  # (B, K)
        scores = extended / length_factor(extended_lengths, length_penalty).unsqueeze(-1)  # (B, K, V)
        best = scores.flatten(1).topk(K).indices  # (B, K)
        parent, token = best // V, best % V
        ids = torch.cat([ids.take_along_dim(parent.unsqueeze(-1), dim=1), token.unsqueeze(-1)], dim=-1)
        totals = extended.flatten(1).take_along_dim(best, dim=1)
        lengths = extended_lengths.take_along_dim(parent, dim=1)
        finished = finished.take_along_dim(parent, dim=1) | (token == end_id)
        if (finished | totals.isinf()).all():
            break
    return ids[:, :, 1:], totals / length_factor(lengths, length_penalty)


@torch.no_grad()
def beam_decode(model: Translates, source: Tensor, beam: int, max_length: int, length_penalty: float = 0.6) -> Tensor:
    """The best sentence that :func:`beam_search` finds for each source.

    Args:
        model: in evaluation. source: (B, S).
        beam, max_length, length_penalty: see :func:`beam_search`.

    Returns:
        (B, T) with T ≤ ``max_length``: the tokens after the start, the end among them, then padding.
    """
    config = model.config
    memory = model.encode(source).repeat_interleave(beam, dim=0)  # (B · beam, S, D)
    mask = model.source_mask(source.repeat_interleave(beam, dim=0))
    ids, _ = beam_search(
        lambda prefixes: model.decode(prefixes, memory, mask)[:, -1],
        beam,
        length_penalty,
        config.start_id,
        config.end_id,
        max_length,
        source.size(0),
        source.device,
    )
    best = ids[:, 0]
    after_end = (best == config.end_id).cumsum(dim=1) - (best == config.end_id).int() > 0
    longest = int((~after_end).sum(dim=1).max())
    return best.masked_fill(after_end, config.padding_id)[:, :longest]
