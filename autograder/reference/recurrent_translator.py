"""The Transformer's rival: LSTMs that read and write, with attention between them (Luong et al. 2015).

The encoder reads in both directions (Bahdanau et al. 2015, §3.2). The decoder's state asks, attention over the
encoder's states answers, and both together score the next token. It has the methods of
:class:`~autograder.reference.transformer.Transformer`, so that the same code trains both and writes with both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from autograder.reference.transformer import demand_room


@dataclass(frozen=True)
class RecurrentConfig:
    """The numbers that make a recurrent translator.

    Attributes:
        vocab_size: number of tokens, V, of both languages together.
        d_model: width of every vector, D; even, since the encoder gives half of it to each direction.
        num_layers: LSTMs on top of each other in the encoder, and in the decoder.
        dropout: share that is set to 0 in training: of embeddings, between layers, and before the scores.
        max_length: the most positions that can be read or written.
        padding_id, start_id, end_id: the tokens that fill up a sentence, begin it and end it.
    """

    vocab_size: int
    d_model: int
    num_layers: int
    dropout: float = 0.1
    max_length: int = 256
    padding_id: int = 0
    start_id: int = 1
    end_id: int = 2


class RecurrentTranslator(nn.Module):
    """Reads one sentence and writes another; one matrix embeds both and scores what comes next."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        D, layers, between = config.d_model, config.num_layers, config.dropout if config.num_layers > 1 else 0.0
        self.embedding = nn.Embedding(config.vocab_size, D)
        self.encoder = nn.LSTM(D, D // 2, layers, batch_first=True, bidirectional=True, dropout=between)
        self.first_state = nn.Linear(D, 2 * layers * D)
        self.decoder = nn.LSTM(D, D, layers, batch_first=True, dropout=between)
        self.query_projection = nn.Linear(D, D, bias=False)
        self.join = nn.Linear(2 * D, D)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.normal_(self.embedding.weight, std=D**-0.5)

    def source_mask(self, source: Tensor) -> Tensor:
        """Where the source (B, S) has tokens: (B, 1, 1, S)."""
        return (source != self.config.padding_id)[:, None, None, :]

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T) → (B, T, D), of numbers of about 1.

        Raises:
            ValueError: if there are more than ``max_length`` positions.
        """
        demand_room(ids, self.config.max_length)
        return self.dropout(self.embedding(ids) * self.config.d_model**0.5)

    def encode(self, source: Tensor) -> Tensor:
        """Read the source in both directions, (B, S) → (B, S, D), 0 behind the end of a sentence."""
        lengths = (source != self.config.padding_id).sum(dim=1)
        packed = pack_padded_sequence(self.embed(source), lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True, total_length=source.size(1))
        return states

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        """Score what comes after each position of the target.

        Args:
            target: (B, T), the start token and what was written.
            memory: (B, S, D), from :meth:`encode`. memory_mask: from :meth:`source_mask`.

        Returns:
            logits (B, T, V).
        """
        gist = memory.sum(dim=1) / memory_mask.flatten(1).sum(dim=1, keepdim=True)  # (B, D), the mean of the states
        first = self.first_state(gist).tanh().unflatten(1, (2, self.config.num_layers, -1))  # (B, 2, layers, D)
        h, c = (part.transpose(0, 1).contiguous() for part in first.unbind(dim=1))
        states, _ = self.decoder(self.embed(target), (h, c))  # (B, T, D)
        query = self.query_projection(states).unsqueeze(1)  # (B, 1, T, D)
        sides = memory.unsqueeze(1)  # (B, 1, S, D)
        context = F.scaled_dot_product_attention(query, sides, sides, attn_mask=memory_mask).squeeze(1)
        joined = self.join(torch.cat([states, context], dim=-1)).tanh()
        return F.linear(self.dropout(joined), self.embedding.weight)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (B, T, V) at each position of the target (B, T), given the source (B, S)."""
        return self.decode(target, self.encode(source), self.source_mask(source))
